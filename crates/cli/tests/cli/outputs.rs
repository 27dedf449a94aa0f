//! Outputs: one door to the disk, whatever is written; never one in the place of another.

use std::process::Command;

use super::{folder_with, names, scgraft, train};

const WORLD: [&str; 4] = ["reference.h5ad", "query.h5ad", "programs.gmt", "reference.scgraft"];

/// A run of `map` that writes a model, an adaptor and an h5ad.
const MAP: [&str; 7] = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "--epochs", "1"];

fn map<'a>(more: &[&'a str]) -> Vec<&'a str> {
    MAP.iter().copied().chain(more.iter().copied()).collect()
}

#[cfg(unix)]
#[test]
fn links_and_permissions_are_kept_by_every_kind_of_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder_with(&WORLD);
    let at = folder.path();
    std::fs::create_dir(at.join("real")).unwrap();
    let files = ["m.scgraft", "a.adaptor", "c.h5ad", "t.tsv", "p.svg", "r.html", "e.h5ad"];
    for name in files {
        std::fs::write(at.join("real").join(name), "before").unwrap();
        std::fs::set_permissions(at.join("real").join(name), std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(format!("real/{name}"), at.join(name)).unwrap();
    }
    scgraft(at, &map(&["-o", "c.h5ad", "--save-model", "m.scgraft", "--adaptor-out", "a.adaptor"])).good();
    scgraft(at, &["programs", "m.scgraft", "--tsv", "t.tsv"]).good();
    scgraft(at, &["plot", "umap", "c.h5ad", "--color", "cell_type", "-o", "p.svg"]).good();
    scgraft(at, &["report", "c.h5ad", "-o", "r.html"]).good();
    scgraft(at, &train("reference.h5ad", &["-o", "new.scgraft", "--embed", "e.h5ad"])).good();
    for name in files {
        let real = at.join("real").join(name);
        assert!(at.join(name).is_symlink(), "{name}");
        assert_ne!(std::fs::read(&real).unwrap(), b"before", "{name}");
        assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640, "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_of_any_kind_of_file() {
    let folder = folder_with(&WORLD);
    let at = folder.path();
    scgraft(at, &map(&["-o", "c.h5ad"])).good();
    let before = names(at);
    let runs = [
        "map reference.scgraft query.h5ad --condition batch --epochs 1 -o out.h5ad",
        "train reference.h5ad --programs programs.gmt --condition batch --hidden 32,32 --epochs 1 -o out.scgraft",
        "programs reference.scgraft --tsv out.tsv",
        "plot umap c.h5ad --color cell_type -o out.svg",
        "report c.h5ad -o out.html",
    ];
    for run in runs {
        // Files may not grow past 8 KiB, and the signal about it is ignored: writes fail as on a full disk.
        let line = format!("trap '' XFSZ; ulimit -f 8; exec {} {run}", env!("CARGO_BIN_EXE_scgraft"));
        let done = Command::new("bash").args(["-c", &line]).current_dir(at).output().unwrap();
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{run}: {stderr}");
        assert!(stderr.contains("out."), "{run}: {stderr}");
        assert_eq!(names(at), before, "{run}");
    }
}

#[test]
fn outputs_that_would_take_each_others_place_are_refused_before_the_work() {
    let folder = folder_with(&WORLD);
    let at = folder.path();
    scgraft(at, &map(&["-o", "mapped.h5ad"])).good();
    let refused = |arguments: &[&str]| {
        let run = scgraft(at, arguments);
        run.says(&["two outputs would be this file"]);
        assert!(!run.stderr.contains("reading"), "{}", run.stderr);
        assert!(!at.join("same").exists());
    };
    refused(&train("reference.h5ad", &["-o", "same", "--embed", "same"]));
    refused(&map(&["-o", "same", "--save-model", "./same"]));
    refused(&map(&["-o", "same", "--adaptor-out", "same"]));
    refused(&["map", "reference.scgraft", "query.h5ad", "reference.h5ad", "-o", "same", "-o", "same"]);
    refused(&["evaluate", "mapped.h5ad", "--batch", "batch", "--labels", "cell_type", "--tsv", "same", "-o", "same"]);
    refused(&["enrich", "mapped.h5ad", "--groups", "condition", "-o", "same", "--tsv", "same"]);
    refused(&["enrich", "mapped.h5ad", "--groups", "condition", "--tsv", "mapped.h5ad"]);
    refused(&["annotate", "reference.h5ad", "mapped.h5ad", "--labels", "cell_type", "--tsv", "mapped.h5ad"]);
    refused(&["programs", "reference.scgraft", "--tsv", "same", "--against", "programs.gmt", "--against-tsv", "same"]);
    refused(&["plot", "umap", "mapped.h5ad", "--color", "a/b,a_b", "-o", "same.svg"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("same", at.join("link")).unwrap();
        refused(&map(&["-o", "link", "--save-model", "same"]));
    }
    let as_input = |arguments: &[&str]| scgraft(at, arguments).says(&["would replace the input"]);
    as_input(&map(&["-o", "x.h5ad", "--save-model", "query.h5ad"]));
    as_input(&["enrich", "mapped.h5ad", "--groups", "condition", "-o", "x.h5ad", "--tsv", "mapped.h5ad"]);
    as_input(&["enrich", "mapped.h5ad", "--groups", "condition", "--no-update", "--tsv", "mapped.h5ad"]);
    as_input(&["programs", "reference.scgraft", "--against", "programs.gmt", "--against-tsv", "programs.gmt"]);
    as_input(&["plot", "umap", "mapped.h5ad", "--color", "cell_type", "-o", "mapped.h5ad"]);
    std::fs::hard_link(at.join("query.h5ad"), at.join("twin.h5ad")).unwrap();
    as_input(&map(&["-o", "twin.h5ad"]));
}
