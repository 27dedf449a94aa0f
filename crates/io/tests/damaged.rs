//! Damaged files give errors (or, where the damage does not show, cells), never a panic.

use std::path::PathBuf;

use proptest::prelude::*;
use scgraft_io::{ReadOptions, inspect_h5ad, read_cells, read_gmt, read_h5ad, read_list, read_table};

const FILES: [&str; 6] =
    ["layout_0.6.h5ad", "layout_0.7.h5ad", "matrices_0.12.h5ad", "raw_0.12.h5ad", "tables_0.12.h5ad", "uns_0.12.h5ad"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.h5ad");
    std::fs::write(&path, bytes).unwrap();
    for result in [
        read_h5ad(&path, &ReadOptions::default()).map(drop),
        read_h5ad(&path, &ReadOptions { rows: Some(1..3), ..ReadOptions::default() }).map(drop),
        read_cells(&path, &ReadOptions::default()).map(drop),
        inspect_h5ad(&path).map(drop),
    ] {
        if let Err(error) = result {
            assert!(error.to_string().contains("damaged.h5ad"), "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_short(file in 0..FILES.len(), share in 0.0..1.0f64) {
        let bytes = std::fs::read(fixture(FILES[file])).unwrap();
        open(&bytes[..(bytes.len() as f64 * share) as usize]);
    }

    #[test]
    fn bytes_that_changed(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let mut bytes = std::fs::read(fixture(FILES[file])).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        open(&bytes);
    }

    #[test]
    fn a_stretch_that_was_lost(file in 0..FILES.len(), at in any::<prop::sample::Index>(), len in 1..600usize, fill in 0..2u8) {
        let mut bytes = std::fs::read(fixture(FILES[file])).unwrap();
        let at = at.index(bytes.len());
        let end = (at + len).min(bytes.len());
        bytes[at..end].fill(fill * 255);
        open(&bytes);
    }

    #[test]
    fn text_of_any_kind(text in "([a-zA-Z0-9,;\\t\"%. é-]{0,12}\r?\n?){0,12}", packed in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.h5ad");
        let text = if packed { format!("%%MatrixMarket matrix coordinate real general\n{text}") } else { text };
        std::fs::write(&path, text).unwrap();
        for error in [
            read_gmt(&[&path]).err(),
            read_table(&path).err(),
            read_list(&path).err(),
            read_cells(&path, &ReadOptions::default()).err(),
        ]
        .into_iter()
        .flatten()
        {
            let folder = folder.path().to_string_lossy().into_owned();
            prop_assert!(error.to_string().contains(&folder), "{}", error);
        }
    }
}
