//! h5ad files of every version of anndata, against what Python says they hold.

mod common;

use common::{content, expected, fixture};
use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, Matrix, Origin};
use scgraft_io::{Error, ReadOptions, Select, WriteOptions, inspect_h5ad, read_h5ad, write_h5ad};

const FIXTURES: [&str; 15] = [
    "layout_0.6",
    "layout_0.7",
    "layout_0.13",
    "tables_0.10",
    "tables_0.12",
    "tables_0.13",
    "matrices_0.10",
    "matrices_0.12",
    "matrices_0.13",
    "raw_0.10",
    "raw_0.12",
    "raw_0.13",
    "uns_0.10",
    "uns_0.12",
    "uns_0.13",
];

fn read(name: &str) -> Cells {
    read_h5ad(fixture(&format!("{name}.h5ad")), &ReadOptions::default()).unwrap()
}

#[test]
fn files_hold_what_anndata_says() {
    for name in FIXTURES {
        assert_eq!(content(&read(name)), expected(name), "{name}");
    }
}

#[test]
fn what_is_written_reads_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        // Without where they came from, all of them is written from memory.
        let cells = Cells { origin: Origin::default(), ..read(name) };
        for compression in [None, Some(1)] {
            let path = folder.path().join("copy.h5ad");
            write_h5ad(&path, &cells, &WriteOptions { compression, ..WriteOptions::default() }).unwrap();
            let mut copy = read_h5ad(&path, &ReadOptions::default()).unwrap();
            if name == "layout_0.13" {
                // A text of which some is missing is written as categories.
                let note = copy.obs.column("note").unwrap().clone();
                assert!(matches!(note, Column::Categorical { .. }));
                copy.obs.set("note", Column::Text(note.texts()));
            }
            assert_eq!(content(&copy), expected(name), "{name}");
        }
    }
}

#[test]
fn rows_are_the_rows_of_the_whole() {
    for name in FIXTURES {
        let whole = read(name);
        for rows in [0..6, 0..1, 2..5, 5..6, 3..3] {
            let options = ReadOptions { rows: Some(rows.clone()), ..ReadOptions::default() };
            let part = read_h5ad(fixture(&format!("{name}.h5ad")), &options).unwrap();
            let picked = whole.select_cells(&rows.clone().collect::<Vec<_>>());
            assert_eq!(content(&part), content(&picked), "{name} {rows:?}");
        }
    }
    let options = ReadOptions { rows: Some(4..7), ..ReadOptions::default() };
    assert!(matches!(read_h5ad(fixture("tables_0.12.h5ad"), &options), Err(Error::Content { .. })));
}

#[test]
fn only_what_was_asked_for_is_read() {
    let path = fixture("matrices_0.12.h5ad");
    let options = ReadOptions { layers: Select::only(["whole"]), ..ReadOptions::nothing() };
    let cells = read_h5ad(&path, &options).unwrap();
    assert_eq!(cells.layers.keys().collect::<Vec<_>>(), ["whole"]);
    assert!(cells.x.is_none() && cells.obsm.is_empty() && cells.varp.is_empty());
    let options = ReadOptions { layers: Select::only(["whol"]), ..ReadOptions::nothing() };
    let message = read_h5ad(&path, &options).unwrap_err().to_string();
    assert!(message.contains("`layers` `whol`; did you mean `whole`?"), "{message}");
    let options = ReadOptions { obs: Select::only(["btach"]), ..ReadOptions::nothing() };
    let message = read_h5ad(fixture("tables_0.12.h5ad"), &options).unwrap_err().to_string();
    assert!(message.contains("did you mean `batch`?"), "{message}");
}

#[test]
fn a_filter_that_is_not_built_in_is_named_with_the_way_out() {
    let path = fixture("odd.h5ad");
    let message = read_h5ad(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("layers/packed") && message.contains("Blosc") && message.contains("gzip"), "{message}");
    // What cannot be represented is left out, the rest is read.
    let cells = read_h5ad(&path, &ReadOptions { layers: Select::Nothing, ..ReadOptions::default() }).unwrap();
    assert_eq!((cells.n_cells(), cells.n_genes()), (6, 5));
    assert!(cells.uns.is_empty() && cells.obsm.is_empty());
}

/// Larger than a block and than a chunk, sparse and dense, so that every way of writing is taken.
#[test]
fn large_matrices_are_written_in_blocks() {
    let (n, g) = (1500, 1100);
    let mut x = Csr { n_rows: n, n_cols: g, indptr: vec![0], ..Csr::default() };
    let mut state = 1u32;
    for _ in 0..n {
        for j in 0..g as u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 30 != 0 {
                x.indices.push(j);
                x.values.push((state >> 20) as f32);
            }
        }
        x.indptr.push(x.indices.len());
    }
    assert!(x.nnz() > 1 << 20);
    let names = |n: usize, what: &str| Frame::new((0..n).map(|i| format!("{what}{i}")).collect());
    let mut cells = Cells::new(Matrix::Sparse(x.clone()), names(n, "c"), names(g, "g"));
    cells.layers.insert("dense".to_owned(), Matrix::Dense(x.to_dense()));
    let wide = Dense::new(n, 3, (0..3 * n).map(|i| i as f32).collect());
    cells.obsm.insert("X_pca".to_owned(), Array::Dense(wide));
    let folder = tempfile::tempdir().unwrap();
    for compression in [None, Some(1)] {
        let path = folder.path().join("large.h5ad");
        write_h5ad(&path, &cells, &WriteOptions { compression, ..WriteOptions::default() }).unwrap();
        assert!(read_h5ad(&path, &ReadOptions::default()).unwrap() == cells, "compression {compression:?}");
        let rows: Vec<usize> = (700..1300).collect();
        let part = read_h5ad(&path, &ReadOptions { rows: Some(700..1300), ..ReadOptions::default() }).unwrap();
        assert!(part == cells.select_cells(&rows), "compression {compression:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_table_of_very_many_columns_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.h5ad");
    let names = Frame::new(vec!["c".into()]);
    let mut wide = names.clone();
    wide.columns = (0..5000).map(|j| (format!("protein {j}"), Column::Real(vec![f64::from(j)]))).collect();
    let mut cells = Cells::empty(names, Frame::new(vec!["g".into()]));
    cells.obsm.insert("wide".to_owned(), Array::Frame(wide));
    write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
    assert_eq!(read_h5ad(&path, &ReadOptions::default()).unwrap(), cells);
}

#[test]
fn empty_data_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.h5ad");
    for (n, g) in [(0, 0), (0, 3), (2, 0)] {
        let names = |n: usize| Frame::new((0..n).map(|i| i.to_string()).collect());
        let mut cells = Cells::new(Matrix::Sparse(Csr::zeros(n, g)), names(n), names(g));
        cells.layers.insert("d".to_owned(), Matrix::Dense(Dense::zeros(n, g)));
        cells.obs.set("text", Column::Text(vec![Some(String::new()); n]));
        cells.obs.set("c", Column::Categorical { codes: vec![-1; n], categories: vec![], ordered: false });
        write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
        assert_eq!(read_h5ad(&path, &ReadOptions::default()).unwrap(), cells);
    }
}

#[test]
fn slots_that_do_not_fit_are_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.h5ad");
    let names = |n: usize| Frame::new((0..n).map(|i| i.to_string()).collect());
    let mut cells = Cells::new(Matrix::Sparse(Csr::zeros(2, 4)), names(2), names(3));
    let message = write_h5ad(&path, &cells, &WriteOptions::default()).unwrap_err().to_string();
    assert!(message.contains("`X`") && message.contains("2 × 3") && message.contains("2 × 4"), "{message}");
    cells.x = None;
    cells.obsm.insert("a/b".to_owned(), Array::Dense(Dense::zeros(2, 1)));
    let message = write_h5ad(&path, &cells, &WriteOptions::default()).unwrap_err().to_string();
    assert!(message.contains("`a/b`") && message.contains("rename"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn files_that_are_no_hdf5_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5ad");
    for (bytes, word) in
        [(&b""[..], "empty"), (b"\x1f\x8b\x08", "gzip"), (b"<html>404", "web page"), (b"a,b\n", "text")]
    {
        std::fs::write(&path, bytes).unwrap();
        let message = read_h5ad(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("x.h5ad"), "{message}");
    }
    let missing = read_h5ad(folder.path().join("none.h5ad"), &ReadOptions::default()).unwrap_err();
    assert!(matches!(missing, Error::Io { action: "open", .. }), "{missing}");
}

#[test]
fn inspection_lists_what_reading_finds() {
    for name in FIXTURES {
        let cells = read(name);
        let found = inspect_h5ad(fixture(&format!("{name}.h5ad"))).unwrap();
        assert_eq!((found.n_cells, found.n_genes), (cells.n_cells(), cells.n_genes()), "{name}");
        assert_eq!(found.x.map(|x| (x.n_rows, x.n_cols)), cells.x.as_ref().map(Matrix::shape), "{name}");
        for (columns, frame) in [(&found.obs, &cells.obs), (&found.var, &cells.var)] {
            assert_eq!(columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), frame.names(), "{name}");
            for column in columns {
                let levels = match frame.column(&column.name) {
                    Some(Column::Categorical { categories, .. }) => Some(categories.len()),
                    _ => None,
                };
                assert_eq!(column.levels, levels, "{name} {}", column.name);
            }
        }
        let raw_arrays = cells.raw.as_ref().map_or(0, |raw| 1 + raw.varm.len());
        let arrays = cells.layers.len() + cells.obsm.len() + cells.varm.len() + cells.obsp.len() + cells.varp.len();
        assert_eq!(found.arrays.len(), arrays + raw_arrays, "{name}");
    }
    let text = inspect_h5ad(fixture("tables_0.12.h5ad")).unwrap().to_string();
    assert!(
        text.contains("tables_0.12.h5ad: 6 cells × 5 genes") && text.contains("stage: categorical, 4 levels"),
        "{text}"
    );
    assert!(text.contains("X: 6 × 5 CSR float32, 13 stored (43.3 %)"), "{text}");
}
