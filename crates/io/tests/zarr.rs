//! Zarr stores of both versions, against what Python says they hold.

mod common;

use std::path::Path;

use base64::Engine;
use common::{content, expected, fixture};
use scgraft_cells::Cells;
use scgraft_io::{Error, ReadOptions, Select, WriteOptions, inspect_h5ad, read_cells, read_h5ad, write_h5ad};
use serde_json::{Map, Value};

const STORES: [&str; 4] = ["tables_0.13", "matrices_0.13", "raw_0.13", "uns_0.13"];

/// Makes the folder that a fixture holds packed in one file.
fn unpack(name: &str, into: &Path) {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    let files: Map<String, Value> = serde_json::from_str(&text).unwrap();
    for (name, data) in files {
        let path = into.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = match (data["text"].as_str(), data["base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (_, Some(packed)) => base64::prelude::BASE64_STANDARD.decode(packed).unwrap(),
            _ => panic!("neither a text nor bytes"),
        };
        std::fs::write(path, bytes).unwrap();
    }
}

/// Every store of the list in both versions.
fn each(mut check: impl FnMut(&str, &Path)) {
    for name in STORES {
        for version in [2, 3] {
            let folder = tempfile::tempdir().unwrap();
            let store = folder.path().join("a.zarr");
            unpack(&format!("{name}.zarr{version}.json"), &store);
            check(name, &store);
        }
    }
}

fn read(store: &Path) -> Cells {
    read_cells(store, &ReadOptions::default()).unwrap()
}

#[test]
fn stores_hold_what_the_same_cells_do_in_hdf5() {
    each(|name, store| {
        let cells = read(store);
        assert_eq!(content(&cells), expected(name), "{}", store.display());
        let same = read_h5ad(fixture(&format!("{name}.h5ad")), &ReadOptions::default()).unwrap();
        assert_eq!(content(&cells), content(&same), "{name}");
        let (found, same) = (inspect_h5ad(store).unwrap(), inspect_h5ad(fixture(&format!("{name}.h5ad"))).unwrap());
        assert_eq!((found.n_cells, found.n_genes), (same.n_cells, same.n_genes));
        assert_eq!((found.obs, found.var, found.x, found.arrays), (same.obs, same.var, same.x, same.arrays), "{name}");
        assert!(found.file_size > 1000);
    });
}

#[test]
fn rows_and_slots_are_read_alone() {
    each(|name, store| {
        let whole = read(store);
        for rows in [0..6, 1..3, 5..6, 2..2] {
            let part = read_cells(store, &ReadOptions { rows: Some(rows.clone()), ..ReadOptions::default() }).unwrap();
            let picked = whole.select_cells(&rows.clone().collect::<Vec<_>>());
            assert_eq!(content(&part), content(&picked), "{name} {rows:?}");
        }
        let missing = ReadOptions { layers: Select::only(["other"]), ..ReadOptions::nothing() };
        assert!(matches!(read_cells(store, &missing), Err(Error::Missing { .. })));
    });
}

#[test]
fn what_is_read_from_a_store_is_written_as_h5ad() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.h5ad");
    each(|name, store| {
        let cells = read(store);
        write_h5ad(&path, &cells, &WriteOptions::default()).unwrap();
        assert_eq!(content(&read_h5ad(&path, &ReadOptions::default()).unwrap()), expected(name), "{name}");
    });
}

#[test]
fn chunks_are_read_however_they_are_packed() {
    let values: Value = serde_json::from_str(&std::fs::read_to_string(fixture("packed.json")).unwrap()).unwrap();
    let row = |row: &Value| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect::<Vec<f32>>();
    let values: Vec<f32> = values["values"].as_array().unwrap().iter().flat_map(row).collect();
    for (version, count) in [(2, 26), (3, 18)] {
        let folder = tempfile::tempdir().unwrap();
        unpack(&format!("packed.zarr{version}.json"), folder.path());
        let cells = read(folder.path());
        assert_eq!(cells.layers.len(), count, "{:?}", cells.layers.keys());
        for (name, layer) in &cells.layers {
            let mut found = layer.to_csr().to_dense().values;
            if name == "not_a_number" {
                assert!(found.iter().zip(&values).all(|(f, &v)| f.is_nan() == (v == 0.0)));
                found.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = 0.0);
            }
            assert_eq!(found, values, "version {version}, {name}");
            let options = ReadOptions { layers: Select::only([name]), rows: Some(15..33), ..ReadOptions::nothing() };
            let part = read_cells(folder.path(), &options).unwrap().layers[name].to_csr().to_dense().values;
            let part: Vec<f32> = part.into_iter().map(|v| if v.is_nan() { 0.0 } else { v }).collect();
            assert_eq!(part, values[15 * 23..33 * 23], "version {version}, {name}");
        }
    }
}

#[test]
fn damage_is_named_with_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.zarr");
    let fresh = |version: u32| {
        let _ = std::fs::remove_dir_all(&store);
        unpack(&format!("matrices_0.13.zarr{version}.json"), &store);
    };
    let edit = |file: &str, from: &str, to: &str| {
        let path = store.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let error = || read_cells(&store, &ReadOptions::default()).unwrap_err().to_string();

    fresh(2);
    edit("layers/double/.zarray", "\"blosc\"", "\"bz2\"");
    let found = read_cells(&store, &ReadOptions::default()).unwrap_err();
    assert!(matches!(&found, Error::Compression { slot, filter, .. } if slot == "layers/double" && filter == "bz2"));

    fresh(2);
    edit("layers/double/.zarray", "6,", "6000000000,");
    assert!(error().contains("`layers/double`") && error().contains("more than its files can hold"), "{}", error());

    fresh(2);
    let chunk = store.join("layers/double/0.0");
    let bytes = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, &bytes[..bytes.len() / 2]).unwrap();
    assert!(error().contains("`layers/double`"), "{}", error());

    fresh(3);
    let chunk = store.join("layers/double/c/0/0");
    let mut bytes = std::fs::read(&chunk).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    assert!(error().contains("`layers/double`") && error().contains("checksum"), "{}", error());

    // A name of a column must not lead out of the store.
    fresh(3);
    edit("obs/zarr.json", "\"_index\": \"_index\"", "\"_index\": \"../var/_index\"");
    assert!(error().contains("obs/../var/_index"), "{}", error());
}
