//! What the libraries say is for every front end.

use std::path::{Path, PathBuf};

/// Every Rust source below a folder, tests left out.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
            out.push(path);
        }
    }
}

/// Whether a line of code has an option of a command line in it, or a command of ours.
fn names_an_option(line: &str) -> bool {
    let option = line.match_indices("--").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + 2..].chars().next();
        // Custom properties of CSS.
        if line[..at].ends_with("var(") {
            return false;
        }
        before.is_none_or(|c| " `(['\"".contains(c)) && after.is_some_and(|c| c.is_ascii_lowercase())
    });
    option
        || ["map", "train", "annotate", "predict", "models", "import"]
            .iter()
            .any(|c| line.contains(&format!("`scgraft {c}")))
}

#[test]
fn no_library_names_an_option() {
    assert!(names_an_option("use it (--layer counts)") && names_an_option("see `scgraft map`"));
    assert!(!names_an_option("a -- b, var(--ink), ---"));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut seen = 0;
    for library in ["numeric", "engine", "cells", "io", "models", "hub", "train", "analysis", "report", "scgraft"] {
        let mut files = Vec::new();
        sources(&crates.join(library).join("src"), &mut files);
        for file in files {
            // A model's card is a page of commands; h5repack's options are not ours.
            if file.ends_with("hub/src/card.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for (i, line) in code.lines().enumerate() {
                seen += 1;
                if !line.trim_start().starts_with("//") && !line.contains("h5repack") && names_an_option(line) {
                    found.push(format!("{}:{}: {}", file.display(), i + 1, line.trim()));
                }
            }
        }
    }
    assert!(seen > 10_000, "{seen}");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
