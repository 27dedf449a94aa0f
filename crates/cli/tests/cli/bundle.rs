//! A reference that annotates by itself.

use scgraft::cells::{Array, Cells};
use scgraft::io::{ReadOptions, read_h5ad};
use scgraft::models::Model;

use super::{folder_with, scgraft};

fn read(path: std::path::PathBuf) -> Cells {
    read_h5ad(path, &ReadOptions::default()).unwrap()
}

#[test]
fn a_model_with_its_cells_annotates_as_the_file_of_the_reference() {
    let folder =
        folder_with(&["reference.h5ad", "reference_out.h5ad", "reference.scgraft", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    scgraft(at, &["umap", "reference_out.h5ad"]).good();
    let bundle = ["bundle", "reference.scgraft", "reference_out.h5ad", "--columns", "cell_type", "-o", "all.scgraft"];
    let told = scgraft(at, &[&bundle[..], &["--json"]].concat()).good().json();
    assert_eq!(told["cells"], 240);
    let names = std::fs::read(at.join("all.scgraft")).unwrap();
    let cell = read(at.join("reference_out.h5ad")).obs.index[0].clone();
    assert!(!names.windows(cell.len()).any(|w| w == cell.as_bytes()), "a cell is named");
    let inspected = scgraft(at, &["inspect", "all.scgraft"]).good().stdout;
    assert!(inspected.contains("cells: 240") && inspected.contains("no counts"), "{inspected}");

    // The model itself is the same: a query is mapped on it to the same adaptor.
    let map = |model: &str, out: &str, adaptor: &str| {
        let fixed = ["map", model, "query.h5ad", "--condition", "batch", "--epochs", "3", "--name", "q"];
        scgraft(at, &[&fixed[..], &["-o", out, "--adaptor-out", adaptor, "--save-model", "m.scgraft"]].concat()).good();
    };
    map("reference.scgraft", "a.h5ad", "a.adaptor");
    map("all.scgraft", "b.h5ad", "b.adaptor");
    let adaptors = ["a.adaptor", "b.adaptor"].map(|f| std::fs::read(at.join(f)).unwrap());
    assert!(adaptors[0] == adaptors[1]);
    assert!(Model::load(at.join("m.scgraft")).unwrap().cells.is_some(), "the mapped model brings them on");

    // Labels, probabilities, novelty and distances, to the bit.
    for (reference, mapped) in [("reference_out.h5ad", "a.h5ad"), ("all.scgraft", "b.h5ad")] {
        let more = ["--labels", "cell_type", "--across", "batch", "--coverage", "0.9"];
        scgraft(at, &[&["annotate", reference, mapped][..], &more].concat()).good();
        scgraft(at, &["umap", mapped, "--reference", reference]).good();
    }
    let (a, b) = (read(at.join("a.h5ad")), read(at.join("b.h5ad")));
    assert_eq!(a.obs, b.obs);
    assert!(a.obs.column("cell_type_novelty").is_some() && a.obs.column("cell_type_set").is_some());
    assert_eq!(a.obsm["cell_type_probabilities"], b.obsm["cell_type_probabilities"]);
    let (Array::Dense(a), Array::Dense(b)) = (&a.obsm["X_scgraft_umap"], &b.obsm["X_scgraft_umap"]) else { panic!() };
    let close = a.values.iter().zip(&b.values).filter(|(x, y)| (**x - **y).abs() < 0.5).count();
    assert!(close >= a.values.len() * 95 / 100, "{close} of {} placed alike", a.values.len());
    scgraft(at, &["report", "b.h5ad", "--reference", "all.scgraft", "-o", "report.html"]).good();

    // Made in training, the same.
    let train = super::train("reference.h5ad", &["--with-cells", "cell_type", "-o", "own.scgraft"]);
    scgraft(at, &train).good();
    let own = Model::load(at.join("own.scgraft")).unwrap();
    assert_eq!(own.cells.unwrap().mean, Model::load(at.join("all.scgraft")).unwrap().cells.unwrap().mean);
}

#[test]
fn what_cannot_be_bundled_is_named() {
    let folder =
        folder_with(&["reference.h5ad", "reference_out.h5ad", "reference.scgraft", "query.h5ad", "programs.gmt"]);
    let at = folder.path();
    let bundle = |cells: &str, column: &str| {
        scgraft(at, &["bundle", "reference.scgraft", cells, "--columns", column, "-o", "x.scgraft"])
    };
    bundle("reference_out.h5ad", "cell_typ").says(&["`cell_typ`", "`cell_type`"]);
    bundle("reference.h5ad", "cell_type").says(&["X_scgraft"]);
    let train = super::train("reference.h5ad", &["-o", "other.scgraft", "--embed", "other.h5ad", "--seed", "5"]);
    scgraft(at, &train).good();
    bundle("other.h5ad", "cell_type").says(&["other.h5ad", "not this model's"]);
    let alone = ["annotate", "reference.scgraft", "other.h5ad", "--labels", "cell_type"];
    scgraft(at, &alone).says(&["does not bring its cells", "scgraft bundle"]);
    let damaged = {
        scgraft(at, &["bundle", "reference.scgraft", "reference_out.h5ad", "-o", "all.scgraft"]).good();
        let mut bytes = std::fs::read(at.join("all.scgraft")).unwrap();
        let last = bytes.len() - 40;
        bytes[last] ^= 1;
        std::fs::write(at.join("damaged.scgraft"), bytes).unwrap();
        scgraft(at, &["inspect", "damaged.scgraft"])
    };
    damaged.says(&["checksum"]);
}
