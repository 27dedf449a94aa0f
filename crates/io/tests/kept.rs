//! Cells that were read and are written again keep what did not change as it stands in their file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdf5_pure::File;
use scgraft_cells::{Array, Cells, Column, Dense, Matrix, Origin, Uns};
use scgraft_io::{Error, ReadOptions, WriteOptions, can_keep, read_h5ad, write_h5ad};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn read(path: &Path) -> Cells {
    read_h5ad(path, &ReadOptions::default()).unwrap()
}

/// What cells hold, where NaN is NaN, without where they came from.
fn shown(cells: &Cells) -> String {
    format!("{:?}", Cells { origin: Origin::default(), ..cells.clone() })
}

/// Type, shape and bytes of every dataset, by path; of texts the texts.
fn datasets(path: &Path) -> BTreeMap<String, String> {
    fn walk(group: &hdf5_pure::Group, at: &str, out: &mut BTreeMap<String, String>) {
        for (name, dataset) in group.iter_datasets().unwrap() {
            let kind = dataset.datatype().unwrap();
            let content = match &kind {
                hdf5_pure::Datatype::VariableLength { .. } => format!("{:?}", dataset.read_string().unwrap()),
                // Records hold where their texts stand in the file.
                hdf5_pure::Datatype::Compound { .. } if kind.to_string().contains("vlen") => {
                    "texts elsewhere".to_owned()
                }
                _ => format!("{:?}", dataset.read_raw().unwrap()),
            };
            let shape = dataset.shape().unwrap();
            out.insert(format!("{at}{name}"), format!("{kind} {shape:?} {content}"));
        }
        for (name, inner) in group.iter_groups().unwrap() {
            walk(&inner, &format!("{at}{name}/"), out);
        }
    }
    let mut out = BTreeMap::new();
    walk(&File::open(path).unwrap().root(), "", &mut out);
    out
}

#[test]
fn what_did_not_change_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.h5ad"), folder.path().join("second.h5ad"));
    let before = datasets(&fixture("kept.h5ad"));
    let mut cells = read(&fixture("kept.h5ad"));
    for slot in ["obs/factor", "obsm/three", "obsm/complex", "uns/wave", "uns/largest", "other_program"] {
        assert!(cells.origin.left_out.iter().any(|s| s == slot), "{slot}: {:?}", cells.origin.left_out);
    }
    cells.obs.set("new", Column::categorical(&["x", "y", "x", "y", "x", "y"]));
    cells.obs.set("half", Column::Real(vec![0.25; 6]));
    cells.obsm.insert("X_new".into(), Array::Dense(Dense::new(6, 2, vec![1.0; 12])));
    cells.obsm.remove("X_pca");
    let Some(Uns::Map(nested)) = cells.uns.get_mut("nested") else { panic!() };
    nested.insert("more".into(), Uns::Int(3));
    write_h5ad(&first, &cells, &WriteOptions::default()).unwrap();

    let after = datasets(&first);
    for (at, content) in &before {
        match at.as_str() {
            "obs/half" => assert_ne!(after[at], *content),
            "obsm/X_pca" => assert!(!after.contains_key(at)),
            _ => assert_eq!(after.get(at), Some(content), "{at}"),
        }
    }
    let mut added: Vec<&String> = after.keys().filter(|at| !before.contains_key(*at)).collect();
    added.sort();
    assert_eq!(added, ["obs/new/categories", "obs/new/codes", "obsm/X_new", "uns/nested/more"]);
    let again = read(&first);
    assert_eq!(shown(&again), shown(&cells));
    assert_eq!(again.obs.names(), cells.obs.names());

    // Once more, over itself, with the columns that are not understood still there.
    write_h5ad(&second, &again, &WriteOptions::default()).unwrap();
    assert_eq!(datasets(&second), after);
    let mut twice = read(&second);
    twice.x = Some(Matrix::Sparse(cells.x.clone().unwrap().to_csr().select_rows(&[5, 4, 3, 2, 1, 0])));
    write_h5ad(&second, &twice, &WriteOptions::default()).unwrap();
    assert_eq!(shown(&read(&second)), shown(&twice));
    assert_eq!(datasets(&second)["layers/counts/data"], before["layers/counts/data"]);
}

#[test]
fn files_of_every_age_can_be_added_to() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["layout_0.6", "layout_0.7", "layout_0.13", "tables_0.10", "matrices_0.12", "raw_0.12", "uns_0.12", "links_new"]
    {
        let path = folder.path().join("copy.h5ad");
        let mut cells = read(&fixture(&format!("{name}.h5ad")));
        let n = cells.n_cells();
        cells.obs.set("new", Column::Real(vec![0.5; n]));
        cells.obsm.insert("X_new".into(), Array::Dense(Dense::zeros(n, 2)));
        let options = WriteOptions { drop_unreadable: true, ..WriteOptions::default() };
        write_h5ad(&path, &cells, &options).unwrap();
        let mut copy = read(&path);
        if let Some(note) = copy.obs.column("note").filter(|_| name == "layout_0.13").cloned()
            && matches!(note, Column::Categorical { .. })
        {
            copy.obs.set("note", Column::Text(note.texts()));
        }
        for slot in ["x", "obs", "var", "layers", "obsm", "varm", "obsp", "uns", "raw"] {
            let same = match slot {
                "x" => copy.x == cells.x,
                "obs" => format!("{:?}", copy.obs) == format!("{:?}", cells.obs),
                "var" => format!("{:?}", copy.var) == format!("{:?}", cells.var),
                "layers" => copy.layers == cells.layers,
                "obsm" => format!("{:?}", copy.obsm) == format!("{:?}", cells.obsm),
                "varm" => format!("{:?}", copy.varm) == format!("{:?}", cells.varm),
                "obsp" => copy.obsp == cells.obsp,
                "uns" => format!("{:?}", copy.uns) == format!("{:?}", cells.uns),
                _ => format!("{:?}", copy.raw) == format!("{:?}", cells.raw),
            };
            assert!(same, "{name}: {slot}\n{:?}\n{:?}", copy.obs, cells.obs);
        }
    }
}

#[test]
fn what_cannot_be_kept_is_refused_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.h5ad");
    let cells = read(&fixture("links_new.h5ad"));
    assert!(!cells.origin.lost.is_empty());
    let error = write_h5ad(&path, &cells, &WriteOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Unkept { .. }) && error.to_string().contains("have them left out"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let options = WriteOptions { drop_unreadable: true, ..WriteOptions::default() };
    write_h5ad(&path, &cells, &options).unwrap();
    assert_eq!(shown(&read(&path)), shown(&cells));
}

#[test]
fn what_cannot_be_kept_is_told_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["regions.h5ad", "regions_links.h5ad"];
    for name in names {
        let path = folder.path().join(name);
        std::fs::copy(fixture(name), &path).unwrap();
        let cells = read(&path);
        let written = write_h5ad(folder.path().join("out.h5ad"), &cells, &WriteOptions::default());
        for error in [can_keep(&cells, true), written] {
            let Err(Error::Unkept { slots, .. }) = error else { panic!("{name}: {error:?}") };
            assert_eq!(slots, "`uns/where`, `types and packing of all others`");
        }
    }
    // Of a large file with links the structures are enough.
    let large = folder.path().join("large.h5ad");
    std::fs::copy(fixture("regions_large.h5ad"), &large).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&large).unwrap();
    file.set_len(file.metadata().unwrap().len() + (5 << 28)).unwrap();
    let Err(Error::Unkept { slots, .. }) = can_keep(&read(&large), true) else { panic!("nothing is said") };
    assert!(slots.contains("`uns/where`"), "{slots}");
    std::fs::remove_file(large).unwrap();
    assert!(matches!(can_keep(&read(&fixture("links_new.h5ad")), true), Err(Error::Unkept { .. })));
    // Of odd slots nothing is lost but where the cells become others.
    let odd = read(&fixture("kept.h5ad"));
    can_keep(&odd, true).unwrap();
    assert!(matches!(can_keep(&odd, false), Err(Error::Unkept { n, .. }) if n == odd.origin.left_out.len()));
    // Tables of older versions, which are written anew, and cells that come from no file.
    can_keep(&read(&fixture("layout_0.7.h5ad")), true).unwrap();
    can_keep(&Cells { origin: Origin::default(), ..odd }, false).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, names);
}

/// What links lead to comes along byte for byte, under the links' names, and nothing else of the file is written anew.
#[test]
fn soft_links_and_new_layouts_keep_types_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.h5ad");
    for (name, led) in [
        ("links_old.h5ad", &[("X", "layers/counts"), ("layers/again", "layers/counts"), ("obs/kind", "obs/type")][..]),
        ("links_new.h5ad", &[("layers/same", "X"), ("uns/near", "uns/value3")]),
        ("newest_layout.h5ad", &[]),
        ("newest_index.h5ad", &[]),
        ("newest_chunks.h5ad", &[]),
    ] {
        let mut cells = read(&fixture(name));
        cells.obs.set("new", Column::Real(vec![0.5; cells.n_cells()]));
        let options = WriteOptions { drop_unreadable: !led.is_empty(), ..WriteOptions::default() };
        write_h5ad(&out, &cells, &options).unwrap();
        let after = datasets(&out);
        let again = read(&out);
        assert_eq!(shown(&again), shown(&cells), "{name}");
        for (link, to) in led {
            let inner = |at: &str| -> Vec<(String, String)> {
                let of = after.iter().filter_map(|(k, v)| Some((k.strip_prefix(at)?.to_owned(), v.clone())));
                of.filter(|(k, _)| k.is_empty() || k.starts_with('/')).collect()
            };
            assert!(!inner(link).is_empty() && inner(link) == inner(to), "{name}: {link}");
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["out.h5ad"], "{name}");
    }
}
