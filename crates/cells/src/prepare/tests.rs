use proptest::prelude::*;
use scgraft_golden::Golden;

use super::*;
use crate::{Array, Column, Frame, Hint, Matrix, OrthologRule, Orthologs, Raw, Setting};

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|&v| v.to_owned()).collect()
}

/// Four cells, three genes; cell `c3` is empty.
fn four_cells() -> Cells {
    let mut obs = Frame::new(texts(&["c0", "c1", "c2", "c3"]));
    obs.set("batch", Column::categorical(&["b", "a", "b", "a"]));
    obs.set("site", Column::categorical(&["x", "x", "y", "y"]));
    obs.set("cell_type", Column::Text(vec![Some("T".into()), Some("B".into()), None, Some("Unknown".into())]));
    obs.set("age", Column::Real(vec![1.0, 2.0, 3.5, 4.0]));
    let x = Dense::new(4, 3, vec![1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
    Cells::new(Matrix::Sparse(x.to_csr()), obs, Frame::new(texts(&["G0", "G1", "G2"])))
}

fn by_batch() -> PrepareOptions {
    PrepareOptions { condition: ConditionSource::Columns(texts(&["batch"])), few_cells: 0, ..Default::default() }
}

fn known(genes: &[&str]) -> Known {
    Known { genes: texts(genes), conditions: texts(&["z", "b"]), ..Known::default() }
}

/// The error, and the settings that would help.
fn told(error: CellsError) -> String {
    let one = |s: &Setting| s.value.as_ref().map_or(s.name.to_owned(), |value| format!("{}={value}", s.name));
    format!("{error} [{}]", error.settings().iter().map(one).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_reference_has_counts_conditions_and_labels() {
    let options = PrepareOptions {
        label: Some("cell_type".into()),
        unlabelled: Some("Unknown".into()),
        covariates: texts(&["site"]),
        continuous: texts(&["age"]),
        ..by_batch()
    };
    let p = Prepared::reference(&four_cells(), None, &options).unwrap();
    assert_eq!(p.library, [3.0, 3.0, 15.0, 0.0]);
    assert_eq!(p.condition, Coded { codes: vec![1, 0, 1, 0], levels: texts(&["a", "b"]) });
    assert_eq!(p.n_known_conditions, 0);
    let labels = p.labels.as_ref().unwrap();
    assert_eq!(labels.codes, [Some(1), Some(0), None, None]);
    assert_eq!(labels.levels, ["B", "T"]);
    assert_eq!(p.covariates[0].1.codes, [0, 0, 1, 1]);
    assert_eq!(p.continuous[0].1, [1.0, 2.0, 3.5, 4.0]);
    assert_eq!(p.report.warnings, [Warning::EmptyCells { n: 1, names: texts(&["c3"]) }]);
    assert_eq!(p.report.new_conditions, ["a", "b"]);
    assert_eq!(p.known().genes, ["G0", "G1", "G2"]);
}

#[test]
fn genes_are_put_in_the_models_order_and_filled_in() {
    // The same genes in another order, then fewer with none extra: both were read in file order by scArches.
    let same = Prepared::query(&four_cells(), &known(&["G2", "G0", "G1"]), &by_batch()).unwrap();
    assert_eq!(same.expression.whole().unwrap().to_dense().row(2), [6.0, 4.0, 5.0]);
    let fewer = Prepared::query(&four_cells(), &known(&["G2", "new", "G0", "G1"]), &by_batch()).unwrap();
    assert_eq!(fewer.expression.whole().unwrap().to_dense().row(2), [6.0, 0.0, 4.0, 5.0]);
    assert_eq!(fewer.report.missing_genes, ["new"]);
    assert_eq!(fewer.report.overlap(), 0.75);
    assert!(matches!(&fewer.report.warnings[0], Warning::MissingGenes { n: 1, n_model: 4, .. }));
}

#[test]
fn the_library_counts_the_genes_of_the_model_only() {
    let p = Prepared::query(&four_cells(), &known(&["G0"]), &by_batch()).unwrap();
    assert_eq!(p.library, [1.0, 0.0, 4.0, 0.0]);
}

#[test]
fn known_conditions_keep_their_number_and_new_ones_follow() {
    let p = Prepared::query(&four_cells(), &known(&["G0", "G1"]), &by_batch()).unwrap();
    assert_eq!(p.condition.levels, ["z", "b", "a"]);
    assert_eq!(p.condition.codes, [1, 2, 1, 2]);
    assert_eq!(p.n_known_conditions, 2);
    assert_eq!(p.report.known_conditions, ["b"]);
    assert_eq!(p.report.new_conditions, ["a"]);
}

#[test]
fn labels_that_the_model_does_not_know_are_named() {
    let known = Known { labels: texts(&["T", "NK"]), ..known(&["G0"]) };
    let options = PrepareOptions { label: Some("cell_type".into()), ..by_batch() };
    let error = told(Prepared::query(&four_cells(), &known, &options).unwrap_err());
    assert!(error.contains("`cell_type`") && error.contains("B, Unknown") && error.contains("T, NK"), "{error}");
    let without = Prepared::query(&four_cells(), &known, &by_batch()).unwrap();
    assert_eq!(without.labels.unwrap().codes, [None; 4]);
}

#[test]
fn several_condition_columns_are_joined() {
    let options =
        PrepareOptions { condition: ConditionSource::Columns(texts(&["batch", "site"])), ..Default::default() };
    let p = Prepared::reference(&four_cells(), None, &options).unwrap();
    assert_eq!(p.condition.levels, ["a | x", "a | y", "b | x", "b | y"]);
    assert!(p.report.warnings.contains(&Warning::FewCells { condition: "a | x".into(), n: 1 }));
    let constant = PrepareOptions { condition: ConditionSource::Constant("Kang".into()), ..Default::default() };
    assert_eq!(Prepared::reference(&four_cells(), None, &constant).unwrap().condition.levels, ["Kang"]);
}

#[test]
fn joined_conditions_that_could_mean_two_things_are_refused() {
    let mut cells = four_cells();
    cells.obs.set("batch", Column::categorical(&["a | b", "a", "q", "q"]));
    cells.obs.set("site", Column::categorical(&["c", "b | c", "q", "q"]));
    let options =
        PrepareOptions { condition: ConditionSource::Columns(texts(&["batch", "site"])), ..Default::default() };
    let error = Prepared::reference(&cells, None, &options).unwrap_err();
    assert!(matches!(error, CellsError::AmbiguousCondition { ref name, .. } if name == "a | b | c"), "{error}");
}

#[test]
fn a_column_that_is_missing_or_empty_is_named() {
    let options = PrepareOptions { condition: ConditionSource::Columns(texts(&["Batch"])), ..Default::default() };
    let error = told(Prepared::reference(&four_cells(), None, &options).unwrap_err());
    assert!(error.contains("no column `Batch`") && error.contains("nearest name first: `batch`"), "{error}");
    let mut cells = four_cells();
    cells.obs.set("batch", Column::Text(vec![Some("a".into()), None, Some(" ".into()), Some("b".into())]));
    let error = told(Prepared::reference(&cells, None, &by_batch()).unwrap_err());
    assert!(error.contains("`batch`") && error.contains("2 cells: `c1`, `c2`"), "{error}");
}

#[test]
fn what_is_no_count_is_named_with_the_remedy() {
    let mut cells = four_cells();
    cells.layers.insert("counts".into(), cells.x.clone().unwrap());
    cells.x = Some(Matrix::Dense(Dense::new(4, 3, (0..12).map(|v| v as f32 * 0.5).collect())));
    let error = told(Prepared::reference(&cells, None, &by_batch()).unwrap_err());
    assert!(error.contains("X must hold raw counts") && error.contains("cell `c0`, gene `G1` has 0.5"), "{error}");
    assert!(error.contains("6 such values among 11") && error.contains("[layer=counts]"), "{error}");
    let counts = PrepareOptions { slot: Slot::Layer("counts".into()), ..by_batch() };
    assert_eq!(Prepared::reference(&cells, None, &counts).unwrap().library[2], 15.0);
    // As given, for a model of log-normalised values.
    let log = PrepareOptions { kind: Kind::LogNormalised, ..by_batch() };
    assert_eq!(
        Prepared::reference(&cells, None, &log).unwrap().expression.whole().unwrap().to_dense().row(1),
        [1.5, 2.0, 2.5]
    );
}

#[test]
fn negative_and_missing_values_are_named() {
    let with = |value: f32, kind| {
        let mut cells = four_cells();
        cells.x = Some(Matrix::Dense(Dense::new(4, 3, [vec![1.0; 7], vec![value], vec![1.0; 4]].concat())));
        Prepared::reference(&cells, None, &PrepareOptions { kind, ..by_batch() })
    };
    let place = |e: CellsError| e.to_string().contains("cell `c2`, gene `G1`");
    assert!(place(with(-1.0, Kind::Counts).unwrap_err()));
    assert!(
        place(with(f32::NAN, Kind::Counts).unwrap_err()) && place(with(f32::NAN, Kind::LogNormalised).unwrap_err())
    );
    assert!(place(with(f32::INFINITY, Kind::LogNormalised).unwrap_err()));
    let scaled = with(-1.5, Kind::LogNormalised).unwrap();
    assert!(matches!(scaled.report.warnings[0], Warning::Negative { n: 1, .. }));
    let counts = with(40.0, Kind::LogNormalised).unwrap();
    assert!(matches!(counts.report.warnings[0], Warning::LooksLikeCounts { max: 40.0, .. }));
}

#[test]
fn gene_names_that_are_empty_or_repeated_matter_when_used() {
    let mut cells = four_cells();
    cells.var = Frame::new(texts(&["G0", "G1", "G1"]));
    let error = Prepared::reference(&cells, None, &by_batch()).unwrap_err();
    assert!(matches!(error, CellsError::DuplicateGenes { n: 1, example: (1, 2), .. }), "{error}");
    assert!(Prepared::query(&cells, &known(&["G1", "G0"]), &by_batch()).is_err());
    let unused = Prepared::query(&cells, &known(&["G0"]), &by_batch()).unwrap();
    assert!(unused.report.warnings.contains(&Warning::UnusedGeneNames { n: 1, slot: "X".into() }));
    cells.var = Frame::new(texts(&["G0", "", "G2"]));
    let error = Prepared::reference(&cells, None, &by_batch()).unwrap_err();
    assert!(matches!(error, CellsError::EmptyGeneNames { n: 1, first: 1, .. }), "{error}");
}

#[test]
fn a_small_overlap_is_refused_with_a_way_out() {
    let mut cells = four_cells();
    cells.var.set("symbol", Column::Text(vec![Some("CD8A".into()), Some("CD4".into()), None]));
    let model = known(&["CD8A", "CD4", "MS4A1"]);
    let error = told(Prepared::query(&cells, &model, &by_batch()).unwrap_err());
    assert!(error.contains("0 of the model's 3 genes") && error.contains("[gene_column=symbol]"), "{error}");
    let options = PrepareOptions { gene_column: Some("symbol".into()), ..by_batch() };
    let p = Prepared::query(&cells, &model, &options).unwrap();
    assert_eq!(p.expression.whole().unwrap().to_dense().row(1), [0.0, 3.0, 0.0]);
    // Nothing in common is never accepted.
    let allowed = PrepareOptions { min_overlap: 0.0, ..by_batch() };
    let error = Prepared::query(&cells, &model, &allowed).unwrap_err();
    assert!(matches!(error, CellsError::LowOverlap { found: 0, .. }), "{error}");
}

#[test]
fn raw_has_genes_of_its_own() {
    let mut cells = four_cells();
    let x = Dense::new(4, 2, vec![7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    cells.raw = Some(Raw { x: Matrix::Dense(x), var: Frame::new(texts(&["R0", "R1"])), varm: Default::default() });
    let options = PrepareOptions { slot: Slot::Raw, ..by_batch() };
    assert_eq!(Prepared::reference(&cells, None, &options).unwrap().genes, ["R0", "R1"]);
    let error = Prepared::reference(&cells, None, &PrepareOptions { slot: Slot::Layer("l".into()), ..by_batch() });
    let told = error.unwrap_err().to_string();
    assert!(
        told.starts_with("the data has no layer `l`; it has: `X`, `raw.X`; X holds whole numbers, 3 genes"),
        "{told}"
    );
}

#[test]
fn a_querys_covariates_are_the_models() {
    let model =
        Known { covariates: vec![("site".into(), texts(&["y", "w"]))], continuous: texts(&["age"]), ..known(&["G0"]) };
    let p = Prepared::query(&four_cells(), &model, &by_batch()).unwrap();
    assert_eq!(p.covariates[0].1.levels, ["y", "w", "x"]);
    assert_eq!(p.continuous[0].0, "age");
    let other = PrepareOptions { covariates: texts(&["batch"]), ..by_batch() };
    assert!(matches!(Prepared::query(&four_cells(), &model, &other), Err(CellsError::CovariatesDiffer { .. })));
    let text = PrepareOptions { continuous: texts(&["site"]), ..by_batch() };
    assert!(matches!(Prepared::reference(&four_cells(), None, &text), Err(CellsError::NotNumeric { .. })));
}

#[test]
fn proteins_are_aligned_and_absent_ones_known_per_condition() {
    let mut cells = four_cells();
    let counts = Dense::new(4, 2, vec![5.0, 0.0, 0.0, 9.0, 6.0, 0.0, 1.0, 2.0]);
    cells.obsm.insert("adt".into(), Array::Dense(counts));
    cells.uns.insert("adt_names".into(), crate::Uns::Texts(texts(&["CD3", "CD19"])));
    let source = ProteinSource { obsm: "adt".into(), names: Some("adt_names".into()) };
    let options = PrepareOptions { proteins: Some(source), ..by_batch() };
    let p = Prepared::reference(&cells, None, &options).unwrap().proteins.unwrap();
    assert_eq!(p.present, [[true, true], [true, false]]);
    let model = Known { proteins: texts(&["CD19", "CD20"]), ..known(&["G0"]) };
    let q = Prepared::query(&cells, &model, &options).unwrap();
    assert_eq!(q.proteins.as_ref().unwrap().counts.column(0), [0.0, 9.0, 0.0, 2.0]);
    assert_eq!(q.proteins.unwrap().present, [[false, false], [false, false], [true, false]]);
    assert!(q.report.warnings.contains(&Warning::MissingProteins {
        n: 1,
        names: texts(&["CD20"]),
        alike: String::new(),
        hint: Hint::default()
    }));
    let unnamed = ProteinSource { obsm: "adt".into(), names: None };
    let q = Prepared::query(&cells, &model, &PrepareOptions { proteins: Some(unnamed), ..by_batch() }).unwrap();
    let missing = q.report.warnings.iter().find(|w| matches!(w, Warning::MissingProteins { n: 2, .. })).unwrap();
    assert_eq!(missing.settings(), [Setting::to("protein_names", "adt_names")]);
    assert!(missing.to_string().contains("obsm `adt` have no names; uns `adt_names`"), "{missing}");
    for (theirs, ours) in [
        ("cd19", "CD19"),
        ("CD19_TotalSeqB", "CD19"),
        ("CD19-1", "CD19"),
        ("anti-human CD19", "CD19_prot"),
        ("CD19.1-TotalSeqC", "CD19.1"),
        ("HLA_DR", "ADT-HLA-DR"),
    ] {
        cells.uns.insert("adt_names".into(), crate::Uns::Texts(texts(&["CD3", theirs])));
        let named = |others: &[&str]| Known { proteins: texts(&[&[ours], others].concat()), ..known(&["G0"]) };
        let pair = format!("`{theirs}` for `{ours}`");
        let refused = Prepared::query(&cells, &named(&[]), &options).unwrap_err().to_string();
        assert!(refused.contains("none of the model's 1 proteins") && refused.contains(&pair), "{refused}");
        let partly = Prepared::query(&cells, &named(&["CD3"]), &options).unwrap().report.warnings;
        assert!(partly.iter().any(|w| w.to_string().contains(&pair)), "{partly:?}");
    }
    let without = Prepared::query(&four_cells(), &model, &by_batch()).unwrap();
    assert_eq!(without.proteins.unwrap().present, [[false, false]; 3]);
}

#[test]
fn nothing_to_work_with_is_an_error() {
    let none = four_cells().select_cells(&[]);
    let error = Prepared::reference(&none, None, &by_batch()).unwrap_err();
    assert_eq!(error, CellsError::Nothing { what: "cells" });
    let genes: [String; 0] = [];
    let error = Prepared::reference(&four_cells(), Some(&genes), &by_batch()).unwrap_err();
    assert_eq!(error, CellsError::Nothing { what: "genes" });
}

fn prepared(codes: &[u32], n_levels: u32) -> Prepared {
    let mut obs = Frame::new((0..codes.len()).map(|i| format!("c{i}")).collect());
    obs.set("batch", Column::Integer(codes.iter().map(|&c| Some(i64::from(c))).collect()));
    let x = Matrix::Dense(Dense::new(codes.len(), 1, vec![1.0; codes.len()]));
    let known =
        Known { genes: texts(&["G"]), conditions: (0..n_levels).map(|l| l.to_string()).collect(), ..Known::default() };
    Prepared::query(&Cells::new(x, obs, Frame::new(texts(&["G"]))), &known, &by_batch()).unwrap()
}

proptest! {
    #[test]
    fn alignment_does_not_depend_on_the_order_of_the_datas_genes(
        order in Just((0usize..12).collect::<Vec<_>>()).prop_shuffle(),
        values in prop::collection::vec(0u8..4, 36),
    ) {
        let names: Vec<String> = (0..12).map(|g| format!("G{g}")).collect();
        let x = Dense::new(3, 12, values.iter().map(|&v| f32::from(v)).collect());
        let mixed: Vec<Option<usize>> = order.iter().map(|&g| Some(g)).collect();
        let obs = Frame::new(texts(&["a", "b", "c"]));
        let plain = Cells::new(Matrix::Dense(x.clone()), obs.clone(), Frame::new(names.clone()));
        let var = Frame::new(order.iter().map(|&g| names[g].clone()).collect());
        let shuffled = Cells::new(Matrix::Sparse(x.to_csr().select_columns(&mixed)), obs, var);
        let options = PrepareOptions::default();
        let known = Known { genes: names[2..9].to_vec(), ..Known::default() };
        let expected = Prepared::query(&plain, &known, &options).unwrap();
        let shuffled = Prepared::query(&shuffled, &known, &options).unwrap();
        prop_assert_eq!(shuffled.expression.whole().unwrap(), expected.expression.whole().unwrap());
        let dense = expected.expression.whole().unwrap().to_dense();
        prop_assert_eq!(dense.row(1), &x.row(1)[2..9]);
    }

    #[test]
    fn a_split_holds_every_cell_once_and_each_conditions_share(
        codes in prop::collection::vec(0u32..4, 1..200),
        fraction in 0.1f64..=1.0,
        seed in any::<u64>(),
    ) {
        let p = prepared(&codes, 4);
        let s = split(&p, fraction, seed).unwrap();
        let mut all = [s.train.clone(), s.validation.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..codes.len()).collect::<Vec<_>>());
        for level in 0..4 {
            let count = |rows: &[usize]| rows.iter().filter(|&&r| codes[r] == level).count();
            let n = count(&s.train) + count(&s.validation);
            let expected = ((n as f64 * (1.0 - fraction)).round() as usize).min(n.saturating_sub(1));
            prop_assert_eq!(count(&s.validation), expected);
        }
        prop_assert_eq!(split(&p, fraction, seed).unwrap(), s);
    }

    #[test]
    fn a_shuffled_epoch_holds_every_row_once(n in 1usize..300, seed in any::<u64>()) {
        let rows: Vec<usize> = (0..n).map(|r| 3 * r).collect();
        let batches = Minibatches::shuffled(&rows, 32, seed).unwrap();
        let mut order = batches.epoch(5);
        prop_assert_eq!(order.chunks(32).count(), batches.per_epoch());
        prop_assert_eq!(&order, &batches.epoch(5));
        order.sort_unstable();
        prop_assert_eq!(order, rows);
    }

    #[test]
    fn a_stratified_epoch_is_even_over_conditions(codes in prop::collection::vec(0u32..3, 1..120), seed in any::<u64>()) {
        let coded = Coded { codes: codes.clone(), levels: texts(&["a", "b", "c"]) };
        let rows: Vec<usize> = (0..codes.len()).collect();
        let order = Minibatches::stratified(&rows, &coded, 16, seed).unwrap().epoch(1);
        prop_assert_eq!(order.len(), codes.len());
        let drawn: Vec<usize> = (0..3).map(|l| order.iter().filter(|&&r| codes[r] == l).count()).collect();
        let there: Vec<usize> = (0..3usize).filter(|&l| codes.contains(&(l as u32))).map(|l| drawn[l]).collect();
        prop_assert!(there.iter().max().unwrap() - there.iter().min().unwrap() <= 1, "{:?}", drawn);
    }

    #[test]
    fn of_each_label_as_many_as_asked_for_or_all_there_are(
        codes in prop::collection::vec(prop::option::of(0u32..4), 1..120), most in 1usize..20, seed in any::<u64>()
    ) {
        prop_assume!(codes.iter().any(Option::is_some));
        let labels = Labels { codes: codes.clone(), levels: texts(&["a", "b", "c", "d"]), unlabelled: None };
        // Every second cell trains.
        let rows: Vec<usize> = (0..codes.len()).filter(|r| r % 2 == 0 || codes.len() < 40).collect();
        prop_assume!(rows.iter().any(|&r| codes[r].is_some()));
        let batches = Minibatches::labelled(&rows, &labels, Some(most), 8, seed).unwrap();
        for epoch in 0..3 {
            let mut order = batches.epoch(epoch);
            prop_assert_eq!(order.chunks(8).count(), batches.per_epoch());
            for label in 0..4 {
                let there = rows.iter().filter(|&&r| codes[r] == Some(label)).count();
                prop_assert_eq!(order.iter().filter(|&&r| codes[r] == Some(label)).count(), there.min(most));
            }
            let drawn = order.len();
            order.sort_unstable();
            order.dedup();
            prop_assert!(order.len() == drawn && order.iter().all(|r| rows.contains(r) && codes[*r].is_some()));
        }
    }
}

#[test]
fn epochs_and_seeds_give_other_orders() {
    let rows: Vec<usize> = (0..50).collect();
    let batches = |seed| Minibatches::shuffled(&rows, 8, seed).unwrap();
    assert_ne!(batches(1).epoch(0), batches(1).epoch(1));
    assert_ne!(batches(1).epoch(0), batches(2).epoch(0));
    assert!(Minibatches::shuffled(&rows, 0, 1).is_err() && Minibatches::shuffled(&[], 8, 1).is_err());
}

#[test]
fn the_split_is_not_in_file_order() {
    let p = prepared(&[0; 100], 1);
    let s = split(&p, 0.9, 1).unwrap();
    assert_ne!(s.validation, (90..100).collect::<Vec<_>>());
    assert_ne!(split(&p, 0.9, 2).unwrap(), s);
    assert!(split(&p, 0.0, 1).is_err());
}

#[test]
fn chosen_genes_are_variable_and_in_programs_that_stay_large_enough() {
    let simulated =
        crate::simulate(&crate::SimulateOptions { n_reference: 400, n_query: 10, ..crate::SimulateOptions::default() })
            .unwrap();
    let (cells, sets) = (&simulated.reference, &simulated.gene_sets);
    let options =
        PrepareOptions { condition: ConditionSource::Columns(texts(&["batch"])), ..PrepareOptions::default() };
    let (all, programs) = choose_genes(cells, sets, &options, &GeneChoice::default()).unwrap();
    assert_eq!((all.len(), programs.len()), (programs.genes_in_programs().len(), 40));
    for flavor in [crate::HvgFlavor::SeuratV3, crate::HvgFlavor::Seurat] {
        let variable = Some(crate::HvgOptions { n_top: 400, flavor, ..crate::HvgOptions::default() });
        let choice = GeneChoice { variable, ..GeneChoice::default() };
        let (genes, programs) = choose_genes(cells, sets, &options, &choice).unwrap();
        assert!(genes.len() <= 400 && genes.len() > 200, "{}", genes.len());
        assert!(programs.members.iter().all(|m| m.len() >= crate::PAPER_MIN_GENES));
        assert!(programs.genes_in_programs().len() == genes.len() && programs.genes == genes);
        // What responds to nothing varies less: programs of decoys lose more genes than those of cell types.
        assert!(programs.names.iter().any(|n| n.starts_with("CELL_")), "{:?}", programs.names);
        assert!(programs.names.iter().filter(|n| n.starts_with("DECOY_")).count() < 9, "{:?}", programs.names);
        assert!(Prepared::reference(cells, Some(&genes), &options).unwrap().report.missing_genes.is_empty());
        let outside = GeneChoice { keep_outside_programs: true, ..choice.clone() };
        assert_eq!(choose_genes(cells, sets, &options, &outside).unwrap().0.len(), 400);
        let logged = PrepareOptions { kind: Kind::LogNormalised, ..options.clone() };
        assert_eq!(choose_genes(cells, sets, &logged, &choice).is_err(), flavor == crate::HvgFlavor::SeuratV3);
    }
}

#[test]
fn names_that_differ_by_a_trifle_are_told_and_matched_when_asked() {
    let mut cells = four_cells();
    cells.var =
        Frame::new(texts(&["GRCh38_ENSG00000000001.4", "GRCh38_ENSG00000000002.1", "GRCh38_ENSG00000000009.9"]));
    let model = known(&["ENSG00000000002.7", "ENSG00000000001", "ENSG00000000003"]);
    for min_overlap in [0.5, 0.0] {
        let options = PrepareOptions { min_overlap, ..by_batch() };
        let error = told(Prepared::query(&cells, &model, &options).unwrap_err());
        assert!(
            error.contains("would find 2 of them") && error.contains("[gene_names=strip-prefix,strip-version]"),
            "{error}"
        );
    }
    let options = PrepareOptions { gene_names: "strip-prefix,strip-version".parse().unwrap(), ..by_batch() };
    let p = Prepared::query(&cells, &model, &options).unwrap();
    assert_eq!(p.genes, model.genes);
    assert_eq!(p.expression.whole().unwrap().to_dense().row(2), [5.0, 4.0, 0.0]);
    let reference = Prepared::reference(&cells, None, &options).unwrap();
    assert_eq!(reference.genes, ["ENSG00000000001", "ENSG00000000002", "ENSG00000000009"]);
    // Two names that become one: the one that is written as the model has it, or none.
    cells.var = Frame::new(texts(&["G0", "g0", "G2"]));
    let upper = PrepareOptions { gene_names: "upper".parse().unwrap(), ..by_batch() };
    let p = Prepared::query(&cells, &known(&["G0", "G2"]), &upper).unwrap();
    assert_eq!(p.expression.whole().unwrap().to_dense().row(2), [4.0, 6.0]);
    let error = Prepared::reference(&cells, None, &upper).unwrap_err();
    assert!(matches!(error, CellsError::DuplicateGenes { .. }), "{error}");
}

#[test]
fn the_slot_that_holds_counts_is_named_with_its_genes() {
    let mut cells = four_cells();
    let counts = cells.x.take().unwrap();
    cells.layers.insert("counts".into(), counts.clone());
    let error = told(Prepared::reference(&cells, None, &by_batch()).unwrap_err());
    assert!(error.contains("no X") && error.contains("[layer=counts]") && error.contains("3 genes"), "{error}");
    let zeros = Matrix::Dense(Dense::zeros(4, 3));
    cells.x = Some(zeros);
    let error = Prepared::query(&cells, &known(&["G0", "G2", "other"]), &by_batch()).unwrap_err();
    assert!(matches!(error, CellsError::AllZero { .. }), "{error}");
    assert!(
        error.to_string().contains("2 of the 3 genes") && error.settings() == [Setting::to("layer", "counts")],
        "{error}"
    );
    // Few genes in X, all of them in raw.
    let var = cells.var.clone();
    cells = Cells::new(Matrix::Dense(Dense::new(4, 1, vec![0.5, 0.0, 1.5, 2.5])), cells.obs, var.select(&[0]));
    cells.raw = Some(Raw { x: counts, var, varm: Default::default() });
    let error = told(Prepared::query(&cells, &known(&["G0", "G1", "G2"]), &by_batch()).unwrap_err());
    assert!(
        error.contains("1 of the model's 3") && error.contains("3 of the 3 genes") && error.contains("[raw]"),
        "{error}"
    );
}

#[test]
fn counts_that_are_not_whole_are_judged() {
    let with = |values: Vec<f32>, fractions| {
        let mut cells = four_cells();
        cells.x = Some(Matrix::Dense(Dense::new(4, 3, values)));
        Prepared::reference(&cells, None, &PrepareOptions { fractions, ..by_batch() })
    };
    let corrected = vec![1.0, 0.0, 20.4, 0.0, 2.7, 0.0, 4.2, 5.0, 6.0, 0.4, 0.0, 0.0];
    let p = with(corrected.clone(), Fractions::Judge).unwrap();
    assert!(p.report.warnings.iter().any(|w| matches!(w, Warning::NotWhole { n: 4, n_stored: 7, rounded: false, .. })));
    assert_eq!(p.expression.whole().unwrap().to_dense().row(1), [0.0, 2.7, 0.0]);
    let p = with(corrected.clone(), Fractions::Round).unwrap();
    assert_eq!(p.expression.whole().unwrap().to_dense().row(0), [1.0, 0.0, 20.0]);
    assert_eq!(p.expression.whole().unwrap().nnz(), 6);
    assert!(matches!(with(corrected, Fractions::Refuse), Err(CellsError::NotCounts { .. })));
    // Logarithms, and sums that are all the same, are normalised values.
    let logs: Vec<f32> = (0..12).map(|i| i as f32 / 2.0).collect();
    let error = with(logs.clone(), Fractions::Judge).unwrap_err();
    assert!(error.settings() == [Setting::to("fractions", "accept")], "{error}");
    assert!(with(logs, Fractions::Accept).is_ok());
    let scaled = vec![99.5, 0.25, 0.25, 50.5, 49.5, 0.0, 100.0, 0.0, 0.0, 33.3, 33.3, 33.4];
    assert!(matches!(with(scaled, Fractions::Judge), Err(CellsError::NotCounts { .. })));
    let negative = vec![-1.5; 12];
    assert!(matches!(with(negative, Fractions::Accept), Err(CellsError::NotCounts { .. })));
}

#[test]
fn words_for_no_label_are_no_labels() {
    let mut cells = four_cells();
    let labels = ["T", "NA", "Unknown", ""].map(|l| Some(l.to_owned()));
    cells.obs.set("cell_type", Column::Text(labels.to_vec()));
    let options = PrepareOptions { label: Some("cell_type".into()), ..by_batch() };
    let p = Prepared::reference(&cells, None, &options).unwrap();
    assert_eq!(p.labels.unwrap().codes, [Some(0), None, Some(1), None]);
    let words = vec![("NA".to_owned(), 1)];
    assert!(p.report.warnings.contains(&Warning::MissingWords { column: "cell_type".into(), words }));
    let unlabelled = Warning::LooksUnlabelled { column: "cell_type".into(), label: "Unknown".into(), n: 1 };
    assert!(p.report.warnings.contains(&unlabelled) && unlabelled.settings() == [Setting::to("unlabelled", "Unknown")]);
    cells.obs.set("batch", Column::categorical(&["b", "nan", "b", "a"]));
    let error = told(Prepared::reference(&cells, None, &by_batch()).unwrap_err());
    assert!(error.contains("empty for 1 cell") && error.contains("`nan` (1)"), "{error}");
}

/// Counts of another species' genes become those of the model's by a product with the 0/1 table of the pairs that a rule
/// allows, which numpy made (`tools/golden/options.py`).
#[test]
fn counts_of_orthologs_are_the_product_with_the_pairs() {
    let golden = Golden::of("cells", "orthologs");
    let pairs = golden.codes("pairs");
    let (counts, shape) = (golden.singles("counts"), golden.shape("counts"));
    let (cells, mouse) = (shape[0], shape[1]);
    let human = golden.shape("all")[1];
    let named = |letter: &str, n: usize| -> Vec<String> { (0..n).map(|i| format!("{letter}{i}")).collect() };
    let mut obs = Frame::new(named("cell", cells));
    obs.set("batch", Column::categorical(&vec!["b"; cells]));
    let x = Matrix::Dense(Dense::new(cells, mouse, counts));
    let data = Cells::new(x, obs, Frame::new(named("m", mouse)));
    let known = Known { genes: named("h", human), ..Known::default() };
    let column = |letter: &str, at: usize| pairs.chunks_exact(2).map(|p| format!("{letter}{}", p[at])).collect();
    let columns = vec![("mouse".to_owned(), column("m", 0)), ("human".to_owned(), column("h", 1))];
    let support = Some(golden.values("support").to_vec());
    for (name, rule) in
        [("one-to-one", OrthologRule::OneToOne), ("best", OrthologRule::Best), ("all", OrthologRule::All)]
    {
        let (columns, support) = (columns.clone(), support.clone());
        let table = Orthologs { columns, one_to_one: None, support, rule, optional: false };
        let orthologs = Some(std::sync::Arc::new(table));
        let options = PrepareOptions { orthologs, min_overlap: 0.0, ..by_batch() };
        let found = Prepared::query(&data, &known, &options).unwrap().expression.whole().unwrap().to_dense();
        assert_eq!(found.values, golden.singles(name), "{name}");
    }
}
