//! What goes wrong in practice: each mistake is named, with a way out, and leaves no half-made file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scgraft::cells::{Array, Cells, Column, Dense, Frame, Matrix, log1p, normalize_total};
use scgraft::models::Model;

use super::{command, folder_with, names, read, scgraft, train, write};

#[test]
fn a_zarr_store_is_no_output() {
    let folder = super::analysis::mapped();
    scgraft(folder.path(), &["pca", "mapped.h5ad", "-o", "more.zarr"]).says(&["more.zarr", "end the name in .h5ad"]);
    assert!(!folder.path().join("more.zarr").exists());
}

#[test]
fn what_cannot_be_kept_is_said_before_the_work_with_the_option() {
    let folder = folder_with(&["reference.scgraft"]);
    let at = folder.path();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../io/tests/fixtures");
    std::fs::copy(fixtures.join("regions.h5ad"), at.join("regions.h5ad")).unwrap();
    let map = ["map", "reference.scgraft", "regions.h5ad", "--condition", "kind", "-o", "out.h5ad"];
    // Its genes are none of the model's: that would be said by the work.
    let run = scgraft(at, &map);
    run.says(&["`uns/where`", "cannot be copied", "(--drop-unreadable)"]);
    scgraft(at, &[&map[..], &["--drop-unreadable"]].concat()).says(&["0 of the model's"]);
    // Nothing is written, so nothing is lost: the work begins, and finds a group of one cell.
    let markers = ["markers", "regions.h5ad", "--groups", "kind"];
    scgraft(at, &[&markers[..], &["-o", "out.h5ad"]].concat()).says(&["(--drop-unreadable)"]);
    scgraft(at, &[&markers[..], &["--no-update"]].concat()).says(&["at least 2 needed"]);
}

#[test]
fn wrong_usage_is_2() {
    let folder = folder_with(&[]);
    for arguments in [&["train"][..], &["sing"], &["map", "a"], &["train", "a", "-o", "b", "--epochs", "many"]] {
        assert_eq!(scgraft(folder.path(), arguments).code, 2, "{arguments:?}");
    }
    assert_eq!(scgraft(folder.path(), &["--help"]).code, 0);
}

#[test]
fn every_subcommand_has_examples() {
    let folder = folder_with(&[]);
    let commands = [
        "demo",
        "train",
        "map",
        "annotate",
        "predict",
        "enrich",
        "differential",
        "expression",
        "likelihood",
        "programs",
        "import",
        "export",
        "inspect",
        "models",
        "plot",
        "report",
        "simulate",
        "trial",
    ];
    for command in commands {
        let help = scgraft(folder.path(), &[command, "--help"]).good().stdout;
        assert!(help.contains(&format!("scgraft {command}")) && help.contains("Example"), "{help}");
    }
}

#[test]
fn a_wrong_column_lists_the_columns_nearest_first() {
    let folder =
        folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft", "reference_out.h5ad"]);
    let at = folder.path();
    let train = ["train", "reference.h5ad", "--programs", "programs.gmt", "--condition", "Batches", "-o", "out"];
    scgraft(at, &train).says(&["`Batches`", "nearest name first: `batch`"]);
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "bacth", "-o", "out"];
    scgraft(at, &map).says(&["`bacth`", "nearest name first: `batch`"]);
    scgraft(at, &["enrich", "reference_out.h5ad", "--groups", "celltype", "--no-update"]).says(&["`cell_type`"]);
    scgraft(at, &["enrich", "reference_out.h5ad", "--groups", "cell_type", "--versus", "type_9"]).says(&["type_9"]);
    assert!(!at.join("out").exists());
}

#[test]
fn no_condition_says_how_to_give_one() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft"]);
    scgraft(folder.path(), &["train", "reference.h5ad", "--programs", "programs.gmt", "-o", "out"])
        .says(&["--condition-name"]);
    let mut query = read(&folder, "query.h5ad");
    query.obs.columns.retain(|(n, _)| n != "batch");
    write(&folder, "bare.h5ad", &query);
    scgraft(folder.path(), &["map", "reference.scgraft", "bare.h5ad", "-o", "out"])
        .says(&["`cell_type`", "--condition-name"]);
}

#[test]
fn normalised_values_are_not_taken_for_counts() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let mut cells = read(&folder, "reference.h5ad");
    let counts = cells.x.take().unwrap();
    cells.x = Some(Matrix::Sparse(log1p(&normalize_total(&counts.to_csr(), Some(1e4)))));
    cells.layers.insert("counts".into(), counts);
    write(&folder, "normalised.h5ad", &cells);
    let at = folder.path();
    scgraft(at, &train("normalised.h5ad", &["-o", "out"])).says(&["raw counts", "counts"]);
    assert!(!at.join("out").exists());
    scgraft(at, &train("normalised.h5ad", &["-o", "out", "--layer", "counts"])).good();
    scgraft(at, &train("normalised.h5ad", &["-o", "mse", "--likelihood", "mse"])).good();
}

#[test]
fn a_query_with_too_few_genes_is_refused() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft"]);
    let query = read(&folder, "query.h5ad");
    let fewer = |n: usize| {
        let kept: Vec<usize> = (0..n).collect();
        let columns: Vec<Option<usize>> = kept.iter().map(|&g| Some(g)).collect();
        let x = query.x.as_ref().unwrap().to_csr().select_columns(&columns);
        Cells::new(Matrix::Sparse(x), query.obs.clone(), query.var.select(&kept))
    };
    write(&folder, "few.h5ad", &fewer(200));
    write(&folder, "most.h5ad", &fewer(350));
    let map = |query: &'static str| {
        scgraft(folder.path(), &["map", "reference.scgraft", query, "--epochs", "1", "-o", "out.h5ad"])
    };
    map("few.h5ad").says(&["of the model's", "genes"]);
    assert!(!folder.path().join("out.h5ad").exists());
    assert!(map("most.h5ad").good().stderr.contains("count as 0"));
}

#[test]
fn a_program_with_most_genes_missing_is_marked_in_tests() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft", "programs.gmt"]);
    let at = folder.path();
    let sets = std::fs::read_to_string(at.join("programs.gmt")).unwrap();
    let mut fields = sets.lines().next().unwrap().split('\t');
    let name = fields.next().unwrap();
    let genes: Vec<&str> = fields.skip(1).collect();
    // Of the genes of that program every fourth is left.
    let query = read(&folder, "query.h5ad");
    let gone = |gene: &str| genes.iter().position(|g| *g == gene).is_some_and(|at| at % 4 != 0);
    let kept: Vec<usize> = (0..query.n_genes()).filter(|&g| !gone(&query.var.index[g])).collect();
    let columns: Vec<Option<usize>> = kept.iter().map(|&g| Some(g)).collect();
    let x = query.x.as_ref().unwrap().to_csr().select_columns(&columns);
    write(&folder, "less.h5ad", &Cells::new(Matrix::Sparse(x), query.obs.clone(), query.var.select(&kept)));
    let map = ["map", "reference.scgraft", "less.h5ad", "--epochs", "1", "-o", "out.h5ad"];
    assert!(scgraft(at, &map).good().stderr.contains(&format!("`{name}`")));
    let enrich = ["enrich", "out.h5ad", "--groups", "condition", "--tsv", "t.tsv", "--top", "100"];
    let told = scgraft(at, &enrich).good().stdout;
    assert!(told.contains("genes found") && told.contains("their scores say little"), "{told}");
    let model = Model::load(at.join("reference.scgraft")).unwrap();
    let mine = model.header.programs().find(|(_, p)| p.name == name).unwrap().1;
    let found = mine.members.iter().filter(|&&g| !gone(&model.header.genes[g as usize])).count();
    let share = found as f64 / mine.members.len() as f64;
    assert!(share < 0.5, "{share}");
    let table = std::fs::read_to_string(at.join("t.tsv")).unwrap();
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let (program, column) = (column("program"), column("genes_found"));
    let mut marked = 0;
    for line in lines.filter(|line| line[program] == name) {
        assert!((line[column].parse::<f64>().unwrap() - share).abs() < 1e-12, "{line:?}");
        marked += 1;
    }
    assert!(marked > 0, "{table}");
    // A query with all genes has no such column.
    let map = ["map", "reference.scgraft", "query.h5ad", "--epochs", "1", "-o", "all.h5ad"];
    scgraft(at, &map).good();
    let told = scgraft(at, &["enrich", "all.h5ad", "--groups", "condition", "--tsv", "t.tsv"]).good().stdout;
    assert!(!told.contains("genes found"), "{told}");
    assert!(!std::fs::read_to_string(at.join("t.tsv")).unwrap().contains("genes_found"));
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_the_work() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let run = scgraft(at, &train("reference.h5ad", &["-o", "no/such/folder/out.scgraft"]));
    run.says(&["no/such/folder/out.scgraft"]);
    assert!(!run.stderr.contains("reading"), "{}", run.stderr);
    scgraft(at, &train("reference.h5ad", &["-o", "reference.h5ad"])).says(&["would replace the input"]);
    scgraft(at, &train("missing.h5ad", &["-o", "out"])).says(&["missing.h5ad", "no such file"]);
    assert_eq!(names(at), ["programs.gmt", "reference.h5ad"]);
}

#[test]
fn wrong_files_are_told_apart() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft"]);
    let at = folder.path();
    scgraft(at, &train("programs.gmt", &["-o", "out"])).says(&["programs.gmt"]);
    scgraft(at, &["map", "reference.h5ad", "query.h5ad", "-o", "out"]).says(&["reference.h5ad", "it holds cells"]);
    scgraft(at, &["annotate", "reference.h5ad", "query.h5ad", "--labels", "cell_type"])
        .says(&["X_scgraft", "train --embed"]);
    let bytes = std::fs::read(at.join("reference.scgraft")).unwrap();
    std::fs::write(at.join("cut.scgraft"), &bytes[..bytes.len() / 2]).unwrap();
    scgraft(at, &["inspect", "cut.scgraft"]).says(&["cut.scgraft"]);
    scgraft(at, &train("reference.h5ad", &["-o", "out", "--set", "depth=3"])).says(&["depth"]);
    scgraft(at, &train("reference.h5ad", &["-o", "out", "--model", "expimop"])).says(&["expimap"]);
    assert!(!at.join("out").exists());
}

#[test]
fn an_older_result_stays_until_the_new_one_is_whole() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    std::fs::write(at.join("out"), "old").unwrap();
    scgraft(at, &train("reference.h5ad", &["-o", "out", "--set", "hidden=[]"])).says(&["hidden"]);
    assert_eq!(std::fs::read_to_string(at.join("out")).unwrap(), "old");
    scgraft(at, &train("reference.h5ad", &["-o", "out"])).good();
    assert_ne!(std::fs::read(at.join("out")).unwrap(), b"old");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_made_file() {
    let folder = folder_with(&["query.h5ad", "reference.scgraft"]);
    // Files may not grow past 8 KiB, and the signal about it is ignored: writes fail as on a full disk.
    let line = format!(
        "trap '' XFSZ; ulimit -f 8; exec {} map reference.scgraft query.h5ad --epochs 1 -o out.h5ad --save-model out.scgraft",
        env!("CARGO_BIN_EXE_scgraft")
    );
    let run = Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("out.h5ad"), "{stderr}");
    assert_eq!(names(folder.path()), ["query.h5ad", "reference.scgraft"]);
}

/// A picture and a page that take minutes, and a cluster that asks between its parts: the first signal ends each.
#[cfg(unix)]
#[test]
fn the_first_signal_is_heard_whatever_is_done() {
    const CELLS: usize = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..CELLS).map(|i| format!("cell {i}")).collect();
    let mut cells = Cells::empty(Frame::new(names.clone()), Frame::new(Vec::new()));
    cells.obs.set("own", Column::categorical(&names));
    let spread = |k: usize| (0..CELLS * k).map(|i| (i as f32 * 0.754_877_7).fract()).collect();
    cells.obsm.insert("X_umap".into(), Array::Dense(Dense::new(CELLS, 2, spread(2))));
    cells.obsm.insert("X_scgraft".into(), Array::Dense(Dense::new(CELLS, 8, spread(8))));
    write(&folder, "many.h5ad", &cells);
    for (arguments, signal) in [
        (&["plot", "umap", "many.h5ad", "--color", "own", "-o", "out.svg"][..], "-INT"),
        (&["report", "many.h5ad", "-o", "out.html"], "-TERM"),
        (&["evaluate", "many.h5ad", "--batch", "own", "--labels", "own", "-o", "out.svg"], "-INT"),
    ] {
        let child = command(folder.path(), arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let start = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(130), "{arguments:?}: {said}");
        assert!(said.contains("stopped; nothing was"), "{arguments:?}: {said}");
        // Two seconds, and as many for a machine that does other things.
        assert!(start.elapsed() < Duration::from_secs(4), "{arguments:?}: {:?}", start.elapsed());
        assert_eq!(super::names(folder.path()), ["many.h5ad"]);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_training_and_leaves_nothing() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let long = ["--epochs", "1000000", "--no-early-stopping", "-o", "out"];
    let arguments: Vec<&str> =
        train("reference.h5ad", &[]).into_iter().filter(|a| *a != "--epochs" && *a != "4").collect();
    let child = command(folder.path(), &[&arguments[..], &long].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It listens from its first moments on.
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(names(folder.path()), ["programs.gmt", "reference.h5ad"]);
}

/// Numbers that no run can mean are refused, with the bound and the option.
#[test]
fn numbers_beyond_all_bounds_are_refused() {
    let folder =
        folder_with(&["reference.h5ad", "reference_out.h5ad", "reference.scgraft", "programs.gmt", "query.h5ad"]);
    let at = folder.path();
    let beyond = "1000000000000000000";
    let says = |command: &[&str], option: &str, value: &str, words: &[&str]| {
        let given = format!("{option}={value}");
        let run = scgraft(at, &[command, &[&given]].concat());
        run.says(&[&[option], words].concat());
    };
    let pca = ["pca", "reference.h5ad", "-o", "x.h5ad"];
    for k in ["0", "240", beyond] {
        says(&pca, "--components", k, &["expected more than 0 and at most 239"]);
    }
    let umap = ["umap", "reference_out.h5ad", "-o", "x.h5ad"];
    for n in ["0", beyond] {
        says(&umap, "--epochs", n, &["expected 1 to 1,000,000"]);
    }
    says(&umap, "--k", "0", &["at least one neighbour"]);
    says(&umap, "--approximate", "2", &["a share above 0, at most 1"]);
    says(&["cluster", "reference_out.h5ad", "-o", "x.h5ad"], "--k", beyond, &["240 cells to choose from"]);
    let train = ["train", "reference.h5ad", "--programs", "programs.gmt", "--condition", "batch", "-o", "x.scgraft"];
    says(&train, "--epochs", beyond, &["expected 1 to 1,000,000"]);
    for option in ["--epochs", "--query-epochs"] {
        says(&["demo", "-o", "x.demo"], option, "0", &["expected 1 to 1,000,000"]);
    }
    says(&train, "--free", beyond, &["expected more than 0 and at most 500"]);
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "-o", "x.h5ad"];
    says(&map, "--new-programs", beyond, &["expected more than 0 and at most"]);
    let of_model = ["reference.scgraft", "reference.h5ad"];
    let expression = [&["expression"], &of_model[..], &["-o", "x.h5ad"]].concat();
    says(&expression, "--samples", beyond, &["at most 100,000 draws"]);
    for size in ["0", "-1", "nan", "inf"] {
        says(&expression, "--library-size", size, &["a finite number above 0"]);
    }
    let likelihood = [&["likelihood"], &of_model[..]].concat();
    says(&likelihood, "--marginal", beyond, &["at most 100,000 draws"]);
    for share in ["-1", "nan", "1.5"] {
        says(&likelihood, "--min-overlap", share, &["a share from 0 to 1"]);
    }
    let evaluate = ["evaluate", "reference_out.h5ad", "--batch", "batch", "--labels", "cell_type"];
    for resolution in ["-1", "nan"] {
        says(&evaluate, "--resolution", resolution, &["at least 0"]);
    }
    says(&evaluate, "--kbet-k", "1", &["at least 2"]);
    // A start of another kind is no setting that is not known.
    let other = ["train", "reference.h5ad", "--model", "scvi", "--condition", "batch", "-o", "x.scgraft"];
    says(&other, "--from", "reference.scgraft", &["a model scvi cannot start from a expimap"]);
    assert!(!names(at).iter().any(|n| n.starts_with("x.")), "{:?}", names(at));
}
