use super::*;
use crate::{GeneCase, GenePrograms, ProgramOptions};

fn small() -> SimulateOptions {
    SimulateOptions { n_reference: 600, n_query: 600, ..SimulateOptions::default() }
}

fn texts(cells: &Cells, column: &str) -> Vec<String> {
    cells.obs.column(column).unwrap().texts().into_iter().flatten().collect()
}

/// Cells × programs: the mean of log(1 + 10⁴ x / ℓ) over the responding genes, centred within batches.
fn scores(cells: &Cells, truth: &Truth) -> Dense {
    let x = cells.x.as_ref().unwrap().to_csr();
    let library = x.row_sums();
    let dense = x.to_dense();
    let programs: Vec<&TrueProgram> = truth.programs.iter().chain([&truth.hidden]).collect();
    let mut out = Dense::zeros(cells.n_cells(), programs.len());
    for (i, total) in library.iter().enumerate() {
        for (j, program) in programs.iter().enumerate() {
            let sum: f32 =
                program.loadings.iter().map(|&(g, _)| (1e4 * dense.row(i)[g as usize] / total).ln_1p()).sum();
            out.row_mut(i)[j] = sum / program.loadings.len().max(1) as f32;
        }
    }
    let batches = texts(cells, "batch");
    for batch in batches.iter().collect::<std::collections::BTreeSet<_>>() {
        let rows: Vec<usize> = (0..batches.len()).filter(|&i| batches[i] == *batch).collect();
        for j in 0..programs.len() {
            let mean = rows.iter().map(|&i| out.row(i)[j]).sum::<f32>() / rows.len() as f32;
            rows.iter().for_each(|&i| out.row_mut(i)[j] -= mean);
        }
    }
    out
}

/// The chance that a value of the first group is above one of the second.
fn auroc(values: &[f32], first: impl Fn(usize) -> bool) -> f64 {
    let (mut above, mut pairs) = (0.0, 0.0);
    for i in (0..values.len()).filter(|&i| first(i)) {
        for j in (0..values.len()).filter(|&j| !first(j)) {
            above += if values[i] > values[j] {
                1.0
            } else if values[i] == values[j] {
                0.5
            } else {
                0.0
            };
            pairs += 1.0;
        }
    }
    above / pairs
}

#[test]
fn the_same_seed_gives_the_same_data_on_any_number_of_threads() {
    let options = SimulateOptions { n_reference: 80, n_query: 40, ..SimulateOptions::default() };
    let on = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| simulate(&options).unwrap())
    };
    let one = on(1);
    assert_eq!(one, on(3));
    let other = simulate(&SimulateOptions { seed: 1, ..options }).unwrap();
    assert_ne!(one.reference.x, other.reference.x);
}

#[test]
fn counts_are_whole_sparse_and_of_the_library_asked_for() {
    let simulated = simulate(&small()).unwrap();
    let x = simulated.reference.x.as_ref().unwrap().to_csr();
    assert!(x.values.iter().all(|&v| v >= 1.0 && v.fract() == 0.0));
    let filled = x.nnz() as f64 / (x.n_rows * x.n_cols) as f64;
    assert!((0.3..0.8).contains(&filled), "share of non-zeros: {filled}");
    let mut library = x.row_sums();
    library.sort_by(f32::total_cmp);
    let median = f64::from(library[library.len() / 2]);
    assert!((0.6..1.7).contains(&(median / small().library)), "median library size {median}");
}

#[test]
fn gene_sets_fit_the_genes_and_none_is_the_hidden_program() {
    let simulated = simulate(&small()).unwrap();
    let options = ProgramOptions { case: GeneCase::Exact, ..ProgramOptions::default() };
    let programs = GenePrograms::new(&simulated.gene_sets, &simulated.reference.var.index, &options).unwrap();
    assert_eq!(programs.len(), 40);
    assert!(programs.dropped.is_empty());
    let hidden = &simulated.truth.hidden.loadings;
    assert!(hidden.iter().all(|&(g, _)| programs.programs_per_gene()[g as usize] == 1));
    assert!(programs.members.iter().all(|m| hidden.iter().filter(|(g, _)| m.contains(g)).count() <= 1));
    assert!(programs.genes_in_programs().len() < programs.genes.len());
    for (set, program) in programs.members.iter().zip(&simulated.truth.programs) {
        assert_eq!(set.len(), 24);
        assert!(program.loadings.iter().all(|(g, _)| set.contains(g)), "{}", program.name);
    }
}

#[test]
fn stimulation_moves_the_programs_it_should_and_no_other() {
    let simulated = simulate(&small()).unwrap();
    let condition = texts(&simulated.query, "condition");
    let stimulated = |i: usize| condition[i] == "stimulated";
    assert_eq!((0..600).filter(|&i| stimulated(i)).count(), 300);
    assert!(texts(&simulated.reference, "condition").iter().all(|c| c == "control"));
    let scores = scores(&simulated.query, &simulated.truth);
    for (j, program) in simulated.truth.programs.iter().enumerate() {
        let found = auroc(&scores.column(j), stimulated);
        match program.role {
            Role::StimulationUp => assert!(found > 0.95, "{}: {found}", program.name),
            Role::StimulationDown => assert!(found < 0.05, "{}: {found}", program.name),
            // The softmax takes from all genes what the stimulation gives to some.
            _ => assert!((0.2..0.6).contains(&found), "{}: {found}", program.name),
        }
    }
    assert!(auroc(&scores.column(40), stimulated) > 0.95, "the hidden program");
}

#[test]
fn cell_types_are_their_programs_and_one_is_new() {
    let simulated = simulate(&small()).unwrap();
    let truth = &simulated.truth;
    let types = texts(&simulated.query, "cell_type");
    assert!(types.contains(&truth.novel_type));
    assert!(!texts(&simulated.reference, "cell_type").contains(&truth.novel_type));
    let scores = scores(&simulated.query, truth);
    for (j, program) in truth.programs.iter().enumerate() {
        if let Role::CellType(name) = &program.role {
            let found = auroc(&scores.column(j), |i| types[i] == *name);
            assert!(found > 0.95, "{}: {found}", program.name);
        }
    }
}

/// With the scores of the programs that a reference can know as an embedding, neighbours name known types and
/// disagree about the new one: the task that a demo sets is solvable.
#[test]
fn the_new_type_lies_between_known_ones() {
    let simulated = simulate(&small()).unwrap();
    let truth = &simulated.truth;
    let (reference, query) = (scores(&simulated.reference, truth), scores(&simulated.query, truth));
    let learnable: Vec<usize> = (0..truth.programs.len())
        .filter(|&j| match &truth.programs[j].role {
            Role::CellType(name) => *name != truth.novel_type,
            Role::Lineage(_) => true,
            _ => false,
        })
        .collect();
    let (known, types) = (texts(&simulated.reference, "cell_type"), texts(&simulated.query, "cell_type"));
    let mut uncertainty = Vec::new();
    let mut right = 0;
    for (i, cell_type) in types.iter().enumerate() {
        let distance =
            |r: usize| learnable.iter().map(|&j| (reference.row(r)[j] - query.row(i)[j]).powi(2)).sum::<f32>();
        let mut order: Vec<usize> = (0..known.len()).collect();
        order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        let mut votes = std::collections::BTreeMap::new();
        order[..15].iter().for_each(|&r| *votes.entry(&known[r]).or_insert(0) += 1);
        let (best, n) = votes.into_iter().max_by_key(|&(_, n)| n).unwrap();
        right += usize::from(best == cell_type);
        uncertainty.push(1.0 - n as f32 / 15.0);
    }
    let n_known = types.iter().filter(|t| **t != truth.novel_type).count();
    let accuracy = right as f64 / n_known as f64;
    assert!(accuracy > 0.95, "accuracy on known types: {accuracy}");
    let found = auroc(&uncertainty, |i| types[i] == truth.novel_type);
    assert!(found > 0.9, "AUROC of the uncertainty: {found}");
}

#[test]
fn batches_differ_and_sizes_are_checked() {
    let simulated = simulate(&small()).unwrap();
    let batches = |c: &Cells| texts(c, "batch").into_iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((batches(&simulated.reference), batches(&simulated.query)), (3, 2));
    let refused = |options: SimulateOptions| simulate(&options).unwrap_err().to_string();
    assert!(refused(SimulateOptions { n_genes: 300, ..small() }).contains("genes"));
    assert!(refused(SimulateOptions { n_programs: 12, ..small() }).contains("programs"));
    // Before any memory is asked for.
    assert!(refused(SimulateOptions { n_reference: usize::MAX / 2, ..small() }).contains("cells × genes"));
    assert!(refused(SimulateOptions { n_programs: usize::MAX / 2, ..small() }).contains("at most 1,048,576"));
    assert!(refused(SimulateOptions { n_cell_types: usize::MAX / 2, ..small() }).contains("one a cell type"));
    for batch_effect in [f64::NAN, -1.0, 1e30] {
        assert!(refused(SimulateOptions { batch_effect, ..small() }).contains("batch effects"));
    }
    assert!(refused(SimulateOptions { n_query: 0, ..small() }).contains("cells"));
    assert!(refused(SimulateOptions { n_cell_types: 1, ..small() }).contains("cell types"));
}
