//! Links in HDF5 files are followed as HDF5 follows them; what claims more than its file can hold takes no memory.

use std::io::Write;
use std::path::{Path, PathBuf};

use scgraft_cells::{Cells, Column, Matrix, Uns};
use scgraft_io::{Error, ReadOptions, Select, inspect_h5ad, read_cells, read_gmt, read_h5ad};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn rows(matrix: Option<&Matrix>) -> Vec<f32> {
    matrix.unwrap().to_csr().to_dense().values
}

const X: [f32; 12] = [0.0, 3.0, 0.0, 1.0, 2.0, 0.0, 5.0, 0.0, 1.0, 1.0, 1.0, 1.0];

#[test]
fn soft_links_are_followed_and_others_left_out() {
    let read = |name: &str| -> Cells { read_h5ad(fixture(name), &ReadOptions::default()).unwrap() };
    let cells = read("links_old.h5ad");
    assert_eq!(rows(cells.x.as_ref()), X);
    assert_eq!(cells.layers.keys().collect::<Vec<_>>(), ["again", "counts"]);
    assert_eq!(rows(cells.layers.get("again")), X);
    assert_eq!(cells.obs.column("kind").unwrap().text(1).as_deref(), Some("b"));
    assert_eq!(cells.uns.keys().collect::<Vec<_>>(), ["nothing"]);
    assert_eq!(cells.uns["nothing"], Uns::Null);

    let cells = read("links_new.h5ad");
    assert_eq!(cells.layers.keys().collect::<Vec<_>>(), ["same"]);
    assert_eq!(rows(cells.layers.get("same")), X);
    assert_eq!(cells.uns.len(), 11);
    assert_eq!(cells.uns["near"], Uns::Int(3));
}

#[test]
fn a_group_that_holds_itself_is_refused_by_whoever_looks() {
    for (name, link) in [("back_hard", "uns/loop"), ("back_soft", "uns/a/b"), ("back_root", "uns/deep/er/up")] {
        let path = fixture(&format!("{name}.h5ad"));
        let told = [
            inspect_h5ad(&path).unwrap_err().to_string(),
            read_cells(&path, &ReadOptions::tables()).unwrap_err().to_string(),
            read_h5ad(&path, &ReadOptions::default()).unwrap_err().to_string(),
        ];
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert!(told[0].contains("a link back to a group that it is in"), "{}", told[0]);
        assert!(told.iter().all(|t| *t == told[0]), "{told:?}");
        assert!(told[0].contains(link) || name == "back_soft" && told[0].contains("obsm/c"), "{}", told[0]);
    }
}

/// The most memory that the process had, in kB.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_claims_more_than_its_file_holds_takes_no_memory() {
    let error = |path: &Path| read_cells(path, &ReadOptions::default()).unwrap_err().to_string();
    for (name, word) in [
        ("claims_many.h5ad", "claim more than it can hold"),
        ("claims_rows.h5ad", "claim more than it can hold"),
        ("claims_chunk.loom", "past the end of the file"),
    ] {
        let error = error(&fixture(name));
        assert!(error.contains(word) && error.contains(name), "{error}");
    }
    // Sizes of a matrix are checked against the names beside it before a row is made.
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n4294967295 1 1\n1 1 1\n");
    write("barcodes.tsv", "c\n");
    write("features.tsv", "g\tg\n");
    let error = error(folder.path());
    assert!(error.contains("1 features × 1 barcodes"), "{error}");
    #[cfg(target_os = "linux")]
    assert!(peak() < 1_000_000, "{} kB", peak());
}

#[test]
fn text_that_unfolds_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.gmt.gz");
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::best());
    let block = vec![b'A'; 1 << 20];
    for _ in 0..200 {
        packed.write_all(&block).unwrap();
    }
    packed.finish().unwrap();
    let error = read_gmt(&[&path]).unwrap_err();
    assert!(error.to_string().contains("times its size"), "{error}");
    assert!(matches!(error, Error::Io { .. }));
}

#[test]
fn what_the_newest_hdf5_writes_is_read() {
    for name in ["newest_layout.h5ad", "newest_index.h5ad"] {
        let cells = read_h5ad(fixture(name), &ReadOptions::default()).unwrap();
        assert_eq!(rows(cells.x.as_ref()), X, "{name}");
    }
    let values: Vec<f32> = (0..31 * 20).map(|i| (i % 7) as f32).collect();
    for name in ["newest_chunks.h5ad", "newest_chunks_1.14.h5ad"] {
        let cells = read_h5ad(fixture(name), &ReadOptions::default()).unwrap();
        assert_eq!(cells.layers.len(), 11, "{name}");
        for (layer, matrix) in &cells.layers {
            let mut expected = values.clone();
            if matches!(layer.as_str(), "hardly_any" | "none_at_all") {
                expected.fill(0.0);
            }
            if layer == "hardly_any" {
                expected[8 * 20 + 13] = 5.0;
            }
            assert_eq!(rows(Some(matrix)), expected, "{name} {layer}");
            let options = ReadOptions { layers: Select::only([layer]), rows: Some(5..12), ..ReadOptions::nothing() };
            let part = read_h5ad(fixture(name), &options).unwrap();
            assert_eq!(rows(part.layers.get(layer)), expected[100..240], "{name} {layer}");
        }
        assert_eq!(cells.obs.columns.len(), 30);
        for i in 0..30 {
            let expected = Column::Integer((0..31).map(|j| Some(i + j)).collect());
            assert_eq!(cells.obs.column(&format!("column{i}")), Some(&expected), "{name}");
        }
    }
}

#[test]
fn values_in_other_files_are_named_with_the_remedy() {
    let error = read_h5ad(fixture("virtual.h5ad"), &ReadOptions::default()).unwrap_err().to_string();
    for word in ["`X`", "virtual dataset", "elsewhere.h5", "h5repack", "write_h5ad"] {
        assert!(error.contains(word), "{error}");
    }
}
