//! The same inputs give the same numbers as before: a script of runs over every model, held against what is recorded.
//!
//! Where the record was made on a machine with these instruction sets and caches (both cut sums into pieces), every bit has
//! to agree; on other machines sums over each result have to, to a part in a thousand. A change that is meant to change
//! numbers is recorded anew: `SCGRAFT_RECORD=1 cargo test -p scgraft-cli --test cli bits`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use scgraft::cells::{Array, Column, Matrix};
use scgraft::io::{ReadOptions, read_h5ad};
use sha2::{Digest, Sha256};

use super::{folder_with, proteins, scgraft};

/// Everything a result consists of, as bytes and as numbers.
#[derive(Default)]
struct Content {
    hash: Sha256,
    n: usize,
    sum: f64,
    weighted: f64,
}

impl Content {
    fn text(&mut self, text: &str) {
        self.hash.update(text.as_bytes());
        self.hash.update([0]);
    }

    fn numbers(&mut self, values: impl IntoIterator<Item = f64>) {
        for v in values {
            self.hash.update(v.to_le_bytes());
            if v.is_finite() {
                self.n += 1;
                self.sum += v.abs();
                // A weight that differs from place to place, so that exchanged values show.
                self.weighted += v.abs() * (1.0 + (self.n % 97) as f64 / 97.0);
            }
        }
    }

    fn line(self, name: &str) -> String {
        let hash: String = self.hash.finalize().iter().take(12).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        format!("{name}\t{hash}\t{}\t{:.6e}\t{:.6e}", self.n, self.sum, self.weighted)
    }
}

/// What stands in a file: tensors of a model or adaptor, slots of an h5ad, the text of a table.
fn content(path: &Path) -> Content {
    let mut out = Content::default();
    match path.extension().and_then(|e| e.to_str()) {
        Some("scgraft" | "adaptor") => {
            let bytes = std::fs::read(path).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let mut tensors: Vec<_> = file.iter().collect();
            tensors.sort_by_key(|t| t.0);
            for (name, view) in tensors {
                out.text(&format!("{name} {:?}", view.shape()));
                out.numbers(view.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))));
            }
        }
        Some("h5ad") => slots(path, &mut out),
        _ => {
            for field in std::fs::read_to_string(path).unwrap().split(['\t', '\n']) {
                match field.parse() {
                    Ok(number) => out.numbers([number]),
                    Err(_) => out.text(field),
                }
            }
        }
    }
    out
}

fn slots(path: &Path, out: &mut Content) {
    let cells = read_h5ad(path, &ReadOptions::default()).unwrap();
    let frame = |out: &mut Content, columns: &[(String, Column)]| {
        for (name, column) in columns {
            out.text(name);
            match column {
                Column::Categorical { .. } | Column::Text(_) => {
                    column.texts().iter().for_each(|t| out.text(t.as_deref().unwrap_or("")));
                }
                other => out.numbers((0..other.len()).map(|i| other.number(i).unwrap_or(f64::NAN))),
            }
        }
    };
    frame(out, &cells.obs.columns);
    match &cells.x {
        Some(Matrix::Dense(x)) => out.numbers(x.values.iter().map(|&v| f64::from(v))),
        Some(Matrix::Sparse(x)) => out.numbers(x.values.iter().map(|&v| f64::from(v))),
        None => {}
    }
    for (name, array) in cells.obsm.iter().chain(&cells.varm) {
        out.text(name);
        match array {
            Array::Dense(m) => out.numbers(m.values.iter().map(|&v| f64::from(v))),
            Array::Sparse(m) => out.numbers(m.values.iter().map(|&v| f64::from(v))),
            Array::Frame(f) => frame(out, &f.columns),
        }
    }
}

/// The runs: what each is called, its arguments, the files that it makes.
fn script(at: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut run = |name: &str, arguments: &str, files: &[&str]| {
        scgraft(at, &arguments.split(' ').collect::<Vec<_>>()).good();
        lines.extend(files.iter().map(|f| content(&at.join(f)).line(&format!("{name} {f}"))));
    };
    let fit = "--hidden 16,16 --epochs 3";
    let train = format!("train reference.h5ad --programs programs.gmt --condition batch {fit} -o expimap.scgraft");
    run("train expimap", &format!("{train} --embed e.h5ad"), &["expimap.scgraft", "e.h5ad"]);
    let soft =
        format!("train reference.h5ad --programs programs.gmt --condition batch {fit} --soft --labels cell_type");
    run("train soft expimap", &format!("{soft} -o soft.scgraft"), &["soft.scgraft"]);
    let stratified =
        format!("{train} --stratified --compat scarches --threads 1").replace("-o expimap", "-o published");
    run("train published expimap", &stratified, &["published.scgraft"]);
    let map = "map expimap.scgraft query.h5ad --condition-name q --epochs 3";
    run("map expimap", &format!("{map} -o q.h5ad --adaptor-out q.adaptor"), &["q.h5ad", "q.adaptor"]);
    let free = format!("{map} --new-programs 2 -o n.h5ad --save-model n.scgraft");
    run("map with new programs", &free, &["n.h5ad", "n.scgraft"]);
    run("annotate", "annotate e.h5ad q.h5ad --labels cell_type", &["q.h5ad"]);
    run("enrich", "enrich q.h5ad --groups condition --versus control --tsv t.tsv", &["t.tsv"]);
    run("cluster", "cluster e.h5ad --labels cell_type", &["e.h5ad"]);
    run("umap", "umap e.h5ad", &["e.h5ad"]);
    run("umap of a query", "umap q.h5ad --reference e.h5ad", &["q.h5ad"]);
    run("pca", "pca query.h5ad -o pca.h5ad", &["pca.h5ad"]);
    let evaluate = "evaluate q.h5ad --reference e.h5ad --batch batch --labels cell_type --tsv m.tsv";
    run("evaluate", evaluate, &["m.tsv"]);
    for (model, more) in [
        ("scvi", "--set latent=4"),
        ("scvi-linear", "--set latent=4"),
        ("scvi-per-cell", "--set latent=4"),
        ("scanvi", "--set latent=4 --labels cell_type"),
        ("trvae", "--set latent=4"),
        ("cvae", "--set latent=4"),
        ("totalvi", "--set latent=4 --set decoder_hidden=[12]"),
    ] {
        let (of, mapped) = (format!("{model}.scgraft"), format!("{model}.h5ad"));
        let train = format!("train reference.h5ad --batch batch --model {model} --hvg 200 {fit} {more} -o {of}");
        run(&format!("train {model}"), &train, &[&of]);
        let map = format!("map {of} query.h5ad --epochs 3 -o {mapped} --save-model m.{of}");
        run(&format!("map {model}"), &map, &[&mapped, &format!("m.{of}")]);
    }
    let expression = "expression m.scvi.scgraft query.h5ad --as-condition all -o x.h5ad";
    run("expression", expression, &["x.h5ad"]);
    let differential = "differential m.scvi.scgraft query.h5ad --groups condition --versus control --samples 200";
    run("differential", &format!("{differential} --tsv d.tsv"), &["d.tsv"]);
    run("proteins", "proteins m.totalvi.scgraft query.h5ad -o p.h5ad", &["p.h5ad"]);
    run("predict", "predict m.scanvi.scgraft query.h5ad -o y.h5ad", &["y.h5ad"]);
    lines
}

/// What sums are cut by on this machine: instruction sets and cache sizes.
fn machine() -> String {
    let size = |i: usize| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/size"));
    let caches: Vec<String> = (0..4).map_while(|i| size(i).ok()).map(|s| s.trim().to_owned()).collect();
    format!("{} {}", scgraft::instruction_set(), caches.join(" "))
}

/// Results that a last bit may turn into another of the same worth: what is beside their numbers counts, not these.
fn may_turn(name: &str) -> bool {
    ["cluster", "umap", "annotate", "evaluate"].iter().any(|n| name.starts_with(n))
}

#[test]
fn the_same_inputs_give_the_same_numbers_as_before() {
    let folder = folder_with(&["reference.h5ad", "query.h5ad", "programs.gmt"]);
    proteins::add_proteins(&folder.path().join("reference.h5ad"));
    let now = script(folder.path());
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/bits.tsv"));
    if std::env::var_os("SCGRAFT_RECORD").is_some() {
        std::fs::write(&path, format!("{}\n{}\n", machine(), now.join("\n"))).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    let mut recorded = recorded.lines();
    let same_machine = recorded.next() == Some(machine().as_str());
    let recorded: Vec<&str> = recorded.collect();
    assert_eq!(recorded.len(), now.len());
    let mut different = Vec::new();
    for (before, now) in recorded.iter().zip(&now) {
        let [old, new] = [before, now.as_str()].map(|l| l.split('\t').collect::<Vec<_>>());
        let number = |of: &[&str], j: usize| of[j].parse::<f64>().unwrap();
        let close = |j| (number(&old, j) - number(&new, j)).abs() <= 1e-3 * number(&old, j).abs();
        let alike = old[2] == new[2] && close(3) && close(4);
        let fits = if same_machine { before == now } else { old[0] == new[0] && (may_turn(old[0]) || alike) };
        if !fits {
            different.push(format!("was {before}\nis  {now}"));
        }
    }
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), now.len(), different.join("\n"));
}
