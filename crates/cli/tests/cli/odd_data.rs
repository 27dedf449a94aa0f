//! Data as people have it: labels that say "none" in words, names that differ by a trifle, counts in another slot.

use scgraft::cells::{Array, Cells, Column, Matrix, Raw, log1p, normalize_total};

use super::{folder_with, read, scgraft, train, write};

/// The labels of the reference, every fourth replaced.
fn with_labels(cells: &Cells, replacement: Option<&str>) -> Cells {
    let mut cells = cells.clone();
    let mut labels = cells.obs.column("cell_type").unwrap().texts();
    labels.iter_mut().step_by(4).for_each(|label| *label = replacement.map(str::to_owned));
    cells.obs.set("cell_type", Column::Text(labels));
    cells
}

#[test]
fn a_word_for_no_label_is_no_label() {
    let folder = folder_with(&["reference_out.h5ad", "query.h5ad", "reference.scgraft"]);
    let reference = read(&folder, "reference_out.h5ad");
    write(&folder, "none.h5ad", &with_labels(&reference, None));
    let evaluate = |file: &str| {
        scgraft(folder.path(), &["evaluate", file, "--batch", "batch", "--labels", "cell_type", "--json"]).good()
    };
    let wanted = evaluate("none.h5ad").json();
    for word in ["", "  ", "NA", "nan", "None"] {
        write(&folder, "word.h5ad", &with_labels(&reference, Some(word)));
        let mut found = evaluate("word.h5ad");
        found.stdout = found.stdout.replace("word.h5ad", "none.h5ad");
        assert_eq!(found.json(), wanted, "{word:?}");
    }
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "1", "-o", "mapped.h5ad"];
    scgraft(folder.path(), &map).good();
    let annotate = ["annotate", "word.h5ad", "mapped.h5ad", "--labels", "cell_type", "-o", "labelled.h5ad"];
    assert!(scgraft(folder.path(), &annotate).good().stderr.contains("`None` ("));
    // What may be a type is told, with the option that makes it none.
    let told = |reference: &str, more: &[&str]| {
        let fixed = ["annotate", reference, "mapped.h5ad", "--labels", "cell_type", "-o", "labelled.h5ad"];
        let run = scgraft(folder.path(), &[&fixed[..], more].concat()).good();
        (run.stdout, run.stderr)
    };
    write(&folder, "unassigned.h5ad", &with_labels(&reference, Some("not_assigned")));
    let (_, said) = told("unassigned.h5ad", &[]);
    assert!(said.contains("`not_assigned`") && said.contains("--unlabelled not_assigned"), "{said}");
    assert_eq!(told("unassigned.h5ad", &["--unlabelled", "not_assigned"]).0, told("none.h5ad", &[]).0);
}

#[test]
fn labels_that_hdf5_cannot_hold_keep_their_columns() {
    let folder = folder_with(&["reference_out.h5ad", "query.h5ad", "reference.scgraft"]);
    let mut reference = read(&folder, "reference_out.h5ad");
    let labels = reference.obs.column("cell_type").unwrap().labels();
    let mut kinds: Vec<String> = labels.iter().flatten().cloned().collect();
    kinds.sort();
    kinds.dedup();
    let odd = ["T/x", "T_x", "."];
    let renamed: Vec<&str> =
        labels.iter().flatten().map(|l| odd[kinds.iter().position(|k| k == l).unwrap() % 3]).collect();
    reference.obs.set("cell_type", Column::categorical(&renamed));
    write(&folder, "odd.h5ad", &reference);
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "1", "-o", "mapped.h5ad"];
    scgraft(folder.path(), &map).good();
    scgraft(folder.path(), &["annotate", "odd.h5ad", "mapped.h5ad", "--labels", "cell_type"]).good();
    let mapped = read(&folder, "mapped.h5ad");
    let Some(Array::Frame(table)) = mapped.obsm.get("cell_type_probabilities") else { panic!() };
    assert_eq!(table.names(), ["dot", "T_x (2)", "T_x"]);
    for i in 0..table.len() {
        let sum: f64 = table.columns.iter().filter_map(|(_, c)| c.number(i)).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
    let names = scgraft::slots::table_names(&mapped, "cell_type_probabilities").unwrap();
    assert_eq!(names, [".", "T/x", "T_x"]);
}

#[test]
fn the_slot_with_counts_is_named() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft"]);
    let at = folder.path();
    let mut cells = read(&folder, "reference.h5ad");
    let counts = cells.x.take().unwrap();
    cells.layers.insert("counts".into(), counts.clone());
    write(&folder, "none.h5ad", &cells);
    scgraft(at, &train("none.h5ad", &["-o", "out"])).says(&["has no X", "--layer counts", "500 genes"]);
    cells.x = Some(Matrix::Sparse(log1p(&normalize_total(&counts.to_csr(), Some(1e4)))));
    write(&folder, "layer.h5ad", &cells);
    scgraft(at, &train("layer.h5ad", &["-o", "out"])).says(&["--layer counts"]);
    cells.layers.clear();
    cells.raw = Some(Raw { x: counts, var: cells.var.clone(), varm: Default::default() });
    let few: Vec<usize> = (0..100).collect();
    let columns: Vec<Option<usize>> = few.iter().map(|&g| Some(g)).collect();
    cells.x = cells.x.map(|x| Matrix::Sparse(x.to_csr().select_columns(&columns)));
    cells.var = cells.var.select(&few);
    cells.varm.clear();
    write(&folder, "raw.h5ad", &cells);
    scgraft(at, &train("raw.h5ad", &["-o", "out"])).says(&["raw.X holds whole numbers", "--raw"]);
    scgraft(at, &["map", "reference.scgraft", "raw.h5ad", "--condition", "batch", "-o", "out"]).says(&["--raw"]);
    assert!(!at.join("out").exists());
}

#[test]
fn trifles_in_names_are_told_looked_past_and_remembered() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let mut query = read(&folder, "query.h5ad");
    query.var.index.iter_mut().for_each(|name| *name = format!("GRCh38_{name}.3"));
    write(&folder, "trifles.h5ad", &query);
    let map = |more: &[&'static str]| {
        let fixed =
            ["map", "reference.scgraft", "trifles.h5ad", "--condition", "batch", "--epochs", "1", "-o", "m.h5ad"];
        scgraft(at, &[&fixed[..], more].concat())
    };
    map(&[]).says(&["--gene-names strip-prefix,strip-version"]);
    map(&["--min-overlap", "0"]).says(&["0 of the model's", "--gene-names"]);
    map(&["--gene-names", "strip-prefix,strip-version", "--save-model", "m.scgraft"]).good();
    let mapped = read(&folder, "m.h5ad");
    let Some(Array::Dense(weights)) = mapped.varm.get("scgraft_weights") else { panic!() };
    assert!(weights.values.iter().any(|w| *w != 0.0));
    // The model knows how the query's genes are named.
    scgraft(at, &["likelihood", "m.scgraft", "m.h5ad", "--condition", "batch"]).good();
    // R writes a dot for what may stand in no name of a column.
    query.var.index.iter_mut().for_each(|name| *name = name.replace("GRCh38_", "X-").replace(".3", ""));
    let mut reference = read(&folder, "query.h5ad");
    reference.var.index.iter_mut().for_each(|name| *name = format!("X.{name}"));
    write(&folder, "trifles.h5ad", &query);
    write(&folder, "dotted.h5ad", &reference);
    let train = ["train", "dotted.h5ad", "--model", "scvi", "--all-genes", "--condition", "batch", "--epochs", "1"];
    scgraft(at, &[&train[..], &["-o", "dotted.scgraft"]].concat()).good();
    let map = ["map", "dotted.scgraft", "trifles.h5ad", "--condition-name", "new", "--epochs", "1", "-o", "d.h5ad"];
    scgraft(at, &map).says(&["--gene-names punctuation"]);
    scgraft(at, &[&map[..], &["--gene-names", "punctuation"]].concat()).good();
}

#[test]
fn mapped_cells_know_which_condition_they_are_of() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft"]);
    let at = folder.path();
    let mut query = read(&folder, "query.h5ad");
    // The reference's column is there too, with something else in it.
    query.obs.set("site", query.obs.column("batch").unwrap().clone());
    query.obs.set("batch", Column::categorical(&vec!["elsewhere"; query.n_cells()]));
    write(&folder, "query.h5ad", &query);
    for more in [["--condition", "site"], ["--condition-name", "Kang"]] {
        let map =
            ["map", "reference.scgraft", "query.h5ad", "--epochs", "1", "-o", "m.h5ad", "--save-model", "m.scgraft"];
        scgraft(at, &[&map[..], &more[..]].concat()).good();
        scgraft(at, &["likelihood", "m.scgraft", "m.h5ad"]).good();
        // Other cells than those of the file have to say.
        let run = scgraft(at, &["likelihood", "m.scgraft", "query.h5ad"]);
        assert_eq!(run.code, 1, "{}", run.stderr);
    }
}

#[test]
fn what_could_only_go_wrong_is_refused() {
    let files = ["reference.h5ad", "reference_out.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft"];
    let folder = folder_with(&files);
    let at = folder.path();
    for (option, value) in [
        ("--epochs", "0"),
        ("--batch-size", "0"),
        ("--learning-rate", "-1"),
        ("--kl-weight", "nan"),
        ("--lasso-weight", "-0.5"),
        ("--train-fraction", "NaN"),
    ] {
        let option = format!("{option}={value}");
        let fixed = ["train", "reference.h5ad", "--programs", "programs.gmt", "--condition", "batch", "-o", "out"];
        scgraft(at, &[&fixed[..], &[&option]].concat()).says(&["expected"]);
    }
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "-o", "out", "--min-overlap=nan"];
    scgraft(at, &map).says(&["--min-overlap"]);
    // A number below 0 is no option, also with a blank before it; nor is one too large for any memory a panic.
    let train = ["train", "reference.h5ad", "--programs", "programs.gmt", "--condition", "batch", "-o", "out"];
    scgraft(at, &[&train[..], &["--kl-weight", "-1"]].concat()).says(&["--kl-weight -1: expected 0"]);
    let most = u64::MAX.to_string();
    let enrich = ["enrich", "reference_out.h5ad", "--groups", "batch", "--no-update", "--samples", &most];
    scgraft(at, &enrich).says(&["expected at most"]);
    let differential =
        ["differential", "reference.scgraft", "reference_out.h5ad", "--groups", "batch", "--samples", &most];
    scgraft(at, &differential).says(&["expected at most"]);
    assert!(!at.join("out").exists());
}

#[test]
fn what_a_model_cannot_do_comes_with_the_option_that_it_can() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    scgraft(at, &train("reference.h5ad", &["--set", "output=softplus", "-o", "plus.scgraft"])).good();
    let expression = ["expression", "plus.scgraft", "reference.h5ad", "-o", "out.h5ad"];
    scgraft(at, &expression).says(&["knows no library size", "--own-library"]);
    scgraft(at, &[&expression[..], &["--own-library"]].concat()).good();
    let scvi = ["train", "reference.h5ad", "--model", "scvi", "--condition", "batch", "--epochs", "1", "--all-genes"];
    scgraft(at, &[&scvi[..], &["--set", "encode_covariates=false", "-o", "deaf.scgraft"]].concat()).good();
    let map = ["map", "deaf.scgraft", "query.h5ad", "--condition-name", "new", "--epochs", "1", "-o", "mapped.h5ad"];
    scgraft(at, &map).says(&["cannot move the query", "--surgery first-layers"]);
    scgraft(at, &[&map[..], &["--surgery", "first-layers"]].concat()).good();
}

#[test]
fn many_conditions_of_few_cells_are_one_line_and_escapes_are_not_sent() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft"]);
    let mut query = read(&folder, "query.h5ad");
    let names: Vec<String> = (0..query.n_cells()).map(|i| format!("\u{1b}[31m\u{202e}cell{i}")).collect();
    query.obs.set("barcode", Column::categorical(&names));
    write(&folder, "barcodes.h5ad", &query);
    let map =
        ["map", "reference.scgraft", "barcodes.h5ad", "--condition", "barcode", "--epochs", "1", "-o", "out.h5ad"];
    let run = scgraft(folder.path(), &map).good();
    assert!(run.stderr.contains("100 conditions have only a few cells"), "{}", run.stderr);
    let steers = |text: &str| text.contains(['\u{1b}', '\u{202e}']);
    assert!(!steers(&run.stderr) && !steers(&run.stdout), "{:?}", run.stderr);
    let json = scgraft(folder.path(), &["inspect", "out.h5ad", "--json"]).good();
    assert!(!steers(&json.stdout) && json.json().is_object());
    assert!(run.stderr.lines().filter(|l| l.contains("WARN")).count() < 6, "{}", run.stderr);
}

#[test]
fn a_value_that_is_no_number_is_named_with_its_cell_and_gene() {
    let folder = folder_with(&["query.h5ad"]);
    let mut query = read(&folder, "query.h5ad");
    let Some(Matrix::Sparse(x)) = &mut query.x else { panic!("not sparse") };
    let (row, gene) = (7, x.indices[x.indptr[7]] as usize);
    let at = x.indptr[row];
    x.values[at] = f32::NAN;
    let (cell, gene) = (query.obs.index[row].clone(), query.var.index[gene].clone());
    write(&folder, "nan.h5ad", &query);
    for command in [&["markers", "nan.h5ad", "--groups", "cell_type"][..], &["pca", "nan.h5ad", "-o", "o.h5ad"]] {
        scgraft(folder.path(), command).says(&["NaN", &cell, &gene, "repair"]);
    }
}

#[test]
fn nested_labels_may_begin_with_one() {
    let folder = folder_with(&["reference_out.h5ad", "query.h5ad", "reference.scgraft"]);
    let mut reference = read(&folder, "reference_out.h5ad");
    reference.obs.set("everything", Column::categorical(&vec!["cell"; reference.n_cells()]));
    write(&folder, "nested.h5ad", &reference);
    let at = folder.path();
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "1", "-o", "mapped.h5ad"];
    scgraft(at, &map).good();
    let nested = ["annotate", "nested.h5ad", "mapped.h5ad", "--labels", "cell_type,everything", "--nested"];
    let run = scgraft(at, &nested).good();
    assert!(run.stderr.contains("`everything` has one label only"), "{}", run.stderr);
    let mapped = read(&folder, "mapped.h5ad");
    assert!(mapped.obs.column("cell_type_novelty").is_some() && mapped.obs.column("everything_novelty").is_none());
}

/// Cells of a query as a model takes them only where it is told how: values that look normalised, names of genes with a
/// prefix, four genes in ten.
fn awkward(cells: &Cells, part: usize) -> Cells {
    let rows: Vec<usize> = (0..cells.n_cells()).filter(|i| i % 2 == part).collect();
    let keep: Vec<usize> = (0..cells.n_genes()).filter(|g| g % 5 < 2).collect();
    let mut out = cells.select_cells(&rows);
    let mut x = out.x.take().unwrap().to_csr().select_columns(&keep.iter().map(|&g| Some(g)).collect::<Vec<_>>());
    let most = x.values.iter().fold(0f32, |m, &v| m.max(v));
    x.values.iter_mut().for_each(|v| *v = *v * 7.3 / most);
    let mut var = cells.var.select(&keep);
    var.index.iter_mut().for_each(|name| *name = format!("GRCh38_{name}"));
    let mut awkward = Cells::new(Matrix::Sparse(x), out.obs, var);
    awkward.obs.set("study", Column::categorical(&vec![["A", "B"][part]; rows.len()]));
    awkward
}

#[test]
fn how_a_query_was_taken_is_remembered_by_every_command() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad"]);
    let at = folder.path();
    super::proteins::add_proteins(&at.join("reference.h5ad"));
    let query = read(&folder, "query.h5ad");
    write(&folder, "a.h5ad", &awkward(&query, 0));
    write(&folder, "b.h5ad", &awkward(&query, 1));
    let options = ["--fractions", "accept", "--min-overlap", "0.3", "--gene-names", "strip-prefix"];
    for (model, more) in
        [("scanvi", &["--labels", "cell_type"][..]), ("totalvi", &["--set", "decoder_hidden=[12]"][..])]
    {
        let train = ["train", "reference.h5ad", "--batch", "batch", "--model", model, "--epochs", "1", "--hvg", "200"];
        let train = [&train[..], &["--hidden", "16,12", "--set", "latent=4", "-o", "r.scgraft"], more].concat();
        scgraft(at, &train).good();
        let map = ["map", "r.scgraft", "a.h5ad", "b.h5ad", "--condition", "study", "--epochs", "1"];
        let outputs = ["-o", "am.h5ad", "-o", "bm.h5ad", "--save-model", "m.scgraft"];
        let adaptors = ["--adaptor-out", "a.adaptor", "--adaptor-out", "b.adaptor"];
        scgraft(at, &[&map[..], &outputs, &adaptors].concat()).says(&["--gene-names"]);
        scgraft(at, &[&map[..], &outputs, &adaptors, &options].concat()).good();
        let commands: &[&[&str]] = match model {
            "scanvi" => &[
                &["predict", "-o", "out.h5ad"],
                &["differential", "--groups", "cell_type", "--samples", "20"],
                &["expression", "-o", "out.h5ad"],
                &["likelihood"],
            ],
            _ => &[&["proteins", "-o", "out.h5ad"], &["likelihood"]],
        };
        let attached = ["--attach", "a.adaptor", "--attach", "b.adaptor"];
        for command in commands {
            // The model of both queries; the reference with their adaptors; a file that was mapped.
            for (model, cells, more) in [
                ("m.scgraft", "a.h5ad", &[][..]),
                ("r.scgraft", "b.h5ad", &attached[..]),
                ("m.scgraft", "bm.h5ad", &[][..]),
            ] {
                let run = [&[command[0], model, cells, "--condition", "study"][..], &command[1..], more].concat();
                let said = scgraft(at, &run).good().stderr;
                assert!(said.contains("prepared as these cells were before"), "{run:?}: {said}");
                assert!(options.chunks(2).all(|o| said.contains(&o.join(" "))), "{run:?}: {said}");
            }
            // What is said counts.
            let stricter = [&[command[0], "m.scgraft", "a.h5ad", "--condition", "study"][..], &command[1..]].concat();
            scgraft(at, &[&stricter[..], &["--min-overlap", "0.9"]].concat()).says(&["at least 90 %"]);
        }
    }
}

#[test]
fn corrected_counts_are_taken_by_analyses_too() {
    let folder = folder_with(&["reference.h5ad"]);
    let at = folder.path();
    let mut cells = read(&folder, "reference.h5ad");
    let Some(Matrix::Sparse(x)) = &mut cells.x else { panic!() };
    x.values.iter_mut().for_each(|v| *v *= 9.7);
    write(&folder, "corrected.h5ad", &cells);
    let markers = ["markers", "corrected.h5ad", "--groups", "cell_type"];
    assert!(scgraft(at, &markers).good().stderr.contains("(--fractions round)"));
    scgraft(at, &[&markers[..], &["--fractions", "refuse"]].concat()).says(&["expected raw counts"]);
    scgraft(at, &["pca", "corrected.h5ad", "--components", "3", "-o", "out.h5ad"]).good();
}
