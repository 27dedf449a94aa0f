//! Another species: a query, and gene sets, whose genes a table of orthologs turns.

use scgraft::cells::{Array, Cells, Csr, Matrix};

use super::{folder_with, read, scgraft, train, write};

fn latent(at: &std::path::Path, name: &str) -> Vec<f32> {
    match read(at, name).obsm.remove("X_scgraft") {
        Some(Array::Dense(z)) => z.values,
        other => panic!("{other:?}"),
    }
}

/// `G12` as the other species has it.
fn other(gene: &str) -> String {
    format!("m{}", gene.to_lowercase())
}

/// The query with other names, and the counts of its first gene shared between two paralogs.
fn other_species(query: &Cells) -> Cells {
    let mut cells = query.clone();
    cells.var.index.iter_mut().for_each(|name| *name = other(name));
    let first = cells.var.index[0].clone();
    cells.var.index.push(format!("{first}b"));
    cells.var.columns.clear();
    cells.varm.clear();
    cells.layers.clear();
    let x = query.x.as_ref().unwrap().to_csr();
    let mut out = Csr { n_rows: x.n_rows, n_cols: x.n_cols + 1, indptr: vec![0], ..Csr::default() };
    for i in 0..x.n_rows {
        let (at, values) = x.row(i);
        let mut second = 0.0;
        for (&c, &v) in at.iter().zip(values) {
            let kept = if c == 0 { (v / 2.0).floor() } else { v };
            second += v - kept;
            out.indices.push(c);
            out.values.push(kept);
        }
        out.indices.push(x.n_cols as u32);
        out.values.push(second);
        out.indptr.push(out.indices.len());
    }
    cells.x = Some(Matrix::Sparse(out));
    cells
}

#[test]
fn a_query_of_another_species_is_mapped_as_if_it_were_of_this_one() {
    let folder = folder_with(&["query.h5ad", "reference.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let query = read(at, "query.h5ad");
    write(at, "other.h5ad", &other_species(&query));
    // As BioMart writes them; the first gene has two orthologs, the second none.
    let mut table = "Gene name,Mouse gene name,Mouse homology type\n".to_owned();
    for (i, gene) in query.var.index.iter().enumerate() {
        table += &match i {
            0 => format!("{gene},{0},ortholog_one2many\n{gene},{0}b,ortholog_one2many\n", other(gene)),
            1 => format!("{gene},,\n"),
            _ => format!("{gene},{},ortholog_one2one\n", other(gene)),
        };
    }
    std::fs::write(at.join("mart.csv"), table).unwrap();
    let map = |file: &str, out: &str, more: &[&str]| {
        let fixed = ["map", "reference.scgraft", file, "--condition", "batch", "--epochs", "1", "-o", out, "--json"];
        scgraft(at, &[&fixed[..], more].concat())
    };
    map("other.h5ad", "o.h5ad", &[]).says(&["0 of the model's"]);
    let known = read(at, "other.h5ad").var.index;
    assert_eq!(known.len(), query.var.index.len() + 1);

    let table = ["--orthologs", "mart.csv"];
    let all = map(
        "other.h5ad",
        "all.h5ad",
        &[&table[..], &["--ortholog-rule", "all", "--save-model", "m.scgraft", "--adaptor-out", "m.adaptor"]].concat(),
    );
    let told = all.good().json()["queries"][0]["orthologs"].clone();
    let one = map("other.h5ad", "one.h5ad", &table).good().json()["queries"][0]["orthologs"].clone();
    // The same query without its second gene, which is lost in turning.
    let genes: Vec<usize> = (0..query.var.index.len()).filter(|&g| g != 1).collect();
    let columns: Vec<Option<usize>> = genes.iter().map(|&g| Some(g)).collect();
    let mut without = query.clone();
    without.x = without.x.map(|x| Matrix::Sparse(x.to_csr().select_columns(&columns)));
    without.var = without.var.select(&genes);
    without.varm.clear();
    without.layers.clear();
    write(at, "without.h5ad", &without);
    let same = map("without.h5ad", "same.h5ad", &["--name", "other"]).good().json()["queries"][0].clone();
    assert!(same["orthologs"].is_null());
    assert_eq!(told["turned"], same["genes_found"]);
    let n = |told: &serde_json::Value, what: &str| told[what].as_u64().unwrap();
    assert_eq!(n(&told, "as_written"), 0);
    assert_eq!(latent(at, "all.h5ad"), latent(at, "same.h5ad"), "sums of paralogs are the gene again");
    let in_model = ["turned", "ambiguous", "lost"].map(|what| n(&told, what)).iter().sum::<u64>();
    assert_eq!(in_model, n(&one, "turned") + n(&one, "ambiguous") + n(&one, "lost"));
    assert_eq!(n(&told, "turned") - n(&one, "turned"), n(&one, "ambiguous") - n(&told, "ambiguous"));

    // Later commands on the same query, and on the reference, need not be told again.
    for (file, out) in [("other.h5ad", "of_query.h5ad"), ("reference.h5ad", "of_reference.h5ad")] {
        let n = scgraft(at, &["expression", "m.scgraft", file, "--condition", "batch", "-o", out]).good();
        assert!(!n.stderr.contains("are not in the data") || file == "other.h5ad", "{}", n.stderr);
    }
    // So does the adaptor alone.
    let again = ["--attach", "m.adaptor", "--name", "again"];
    map("other.h5ad", "again.h5ad", &again).good();
    assert_eq!(latent(at, "again.h5ad"), latent(at, "all.h5ad"), "an adaptor remembers the pairs");
    let weights = |name: &str| match read(at, name).varm.remove("scgraft_weights") {
        Some(Array::Dense(w)) => w,
        other => panic!("{other:?}"),
    };
    let (of_all, of_same) = (weights("all.h5ad"), weights("same.h5ad"));
    assert_eq!(of_all.row(0), of_same.row(0));
    assert_eq!(of_all.row(500), of_same.row(0), "both paralogs");
    assert_eq!(of_all.row(2), of_same.row(1));
    assert!(of_all.row(1).iter().all(|&w| w == 0.0));
}

#[test]
fn gene_sets_of_another_species_train_the_same_programs() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt", "reference.scgraft"]);
    let at = folder.path();
    let genes = read(at, "reference.h5ad").var.index;
    let pairs: Vec<String> = genes.iter().map(|g| format!("{g}\t{}", other(g))).collect();
    std::fs::write(at.join("pairs.tsv"), pairs.join("\n")).unwrap();
    let gmt = std::fs::read_to_string(at.join("programs.gmt")).unwrap();
    let turned: Vec<String> = gmt
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let genes: Vec<String> = fields[2..].iter().map(|g| other(g)).collect();
            format!("{}\t{}\t{}", fields[0], fields[1], genes.join("\t"))
        })
        .collect();
    std::fs::write(at.join("programs.gmt"), turned.join("\n")).unwrap();
    let mut command = train("reference.h5ad", &["-o", "again.scgraft", "--orthologs", "pairs.tsv"]);
    let run = scgraft(at, &command).good();
    assert!(run.stderr.contains("genes turned by orthologs"), "{}", run.stderr);
    let programs =
        |model: &str, more: &[&str]| scgraft(at, &[&["programs", model, "--all", "--json"], more].concat()).good();
    assert_eq!(programs("again.scgraft", &[]).json(), programs("reference.scgraft", &[]).json());
    let against = ["--program", "program_1", "--against", "programs.gmt", "--orthologs", "pairs.tsv"];
    let first = programs("reference.scgraft", &[]).json()["programs"][0]["name"].as_str().unwrap().to_owned();
    let against: Vec<&str> = against.iter().map(|a| if *a == "program_1" { first.as_str() } else { a }).collect();
    assert_eq!(programs("reference.scgraft", &against).json()["against"][0]["sets"][0]["set"], first);
    command.truncate(command.len() - 2);
    scgraft(at, &command).says(&["none of"]);
}
