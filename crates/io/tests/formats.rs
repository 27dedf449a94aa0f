//! Every format through one door.

mod common;

use common::{content, expected, fixture};
use scgraft_io::{Error, ReadOptions, Select, read_cells, read_h5ad};

const FILES: [(&str, &str); 7] = [
    ("tenx_v3.h5", "tenx_v3"),
    ("tenx_v2.h5", "tenx_v2"),
    ("tenx_mtx_v3", "tenx_mtx_v3"),
    ("tenx_mtx_v2", "tenx_mtx_v2"),
    ("tenx_mtx_v2/matrix.mtx", "tenx_mtx_v2"),
    ("small.loom", "small_loom"),
    ("small.h5mu", "small_h5mu"),
];

#[test]
fn files_hold_what_was_put_in() {
    for (file, name) in FILES {
        let cells = read_cells(fixture(file), &ReadOptions::default()).unwrap();
        assert_eq!(content(&cells), expected(name), "{file}");
    }
}

#[test]
fn h5ad_goes_through_the_same_door() {
    let path = fixture("tables_0.12.h5ad");
    let options = ReadOptions::default();
    assert_eq!(content(&read_cells(&path, &options).unwrap()), content(&read_h5ad(&path, &options).unwrap()));
}

#[test]
fn options_hold_for_every_format() {
    for (file, _) in FILES {
        let whole = read_cells(fixture(file), &ReadOptions::default()).unwrap();
        let part = read_cells(fixture(file), &ReadOptions { rows: Some(1..3), ..ReadOptions::default() }).unwrap();
        assert_eq!(content(&part), content(&whole.select_cells(&[1, 2])), "{file}");
        let names = read_cells(fixture(file), &ReadOptions::nothing()).unwrap();
        assert_eq!((names.obs.index.clone(), names.var.index.clone()), (whole.obs.index, whole.var.index), "{file}");
        assert!(names.x.is_none() && names.obs.columns.is_empty() && names.obsm.is_empty(), "{file}");
        let options = ReadOptions { layers: Select::only(["none"]), ..ReadOptions::default() };
        assert!(matches!(read_cells(fixture(file), &options), Err(Error::Missing { .. })), "{file}");
    }
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &std::path::Path| read_cells(path, &ReadOptions::default()).unwrap_err().to_string();
    let text = folder.path().join("counts.csv");
    std::fs::write(&text, "a,b\n").unwrap();
    assert!(message(&text).contains("expected cells (.h5ad") && message(&text).contains("a text file"));
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(message(&empty).contains("no file `matrix.mtx[.gz]`"), "{}", message(&empty));
    std::fs::write(empty.join(".zgroup"), "{}").unwrap();
    assert!(message(&empty).contains("zarr"), "{}", message(&empty));
}

#[test]
fn a_folder_whose_files_do_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["matrix.mtx", "genes.tsv", "barcodes.tsv"] {
        std::fs::copy(fixture("tenx_mtx_v2").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("barcodes.tsv"), "AAAC-1\n").unwrap();
    let message = read_cells(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("4 features × 1 barcodes") && message.contains("4 × 3"), "{message}");
}
