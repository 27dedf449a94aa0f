//! Every reader against damaged files: so many cases each as `SCGRAFT_FUZZ` says, or a few hundred.

#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use base64::Engine;
use scgraft_cells::{Column, Dense, Frame, Known};
use scgraft_fuzz::{Target, run};
use scgraft_hub::{ImportOptions, import};
use scgraft_io::{
    GmtOptions, ReadOptions, Select, TableOptions, WriteOptions, inspect_h5ad, read_cells, read_gmt, read_h5ad,
    read_list, read_table, write_h5ad,
};
use scgraft_models::{Adaptor, Header, Model, Newcomers, ReferenceCells, Surgery};
use serde_json::{Map, Value};

/// Cases of each reader when nothing else is asked for.
const FEW: u64 = 300;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../io/tests/fixtures")
}

/// The fixtures with these endings.
fn files(endings: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
    let fits = |p: &&PathBuf| p.is_file() && endings.iter().any(|e| name(p).ends_with(e));
    paths.iter().filter(fits).map(|p| (name(p), std::fs::read(p).unwrap())).collect()
}

fn texts(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn hold(name: &str, seeds: Vec<(String, Vec<u8>)>, read: &dyn Fn(&Path)) {
    assert!(!seeds.is_empty(), "{name}: no sound file to change");
    let cases = std::env::var("SCGRAFT_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(FEW);
    let folder = tempfile::tempdir().unwrap();
    // A long run begins where an earlier one ended.
    let first = std::env::var("SCGRAFT_FUZZ_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let found = run(&Target { name, seeds, read }, first..first + cases, folder.path()).unwrap();
    eprintln!("{name}: {} cases, {} failures, slowest {:?}", found.cases, found.failures.len(), found.slowest);
    assert!(found.failures.is_empty(), "{name}: {:?}", &found.failures[..found.failures.len().min(10)]);
}

#[test]
fn cells() {
    let few = ReadOptions { rows: Some(1..3), ..ReadOptions::default() };
    hold("h5ad", files(&[".h5ad"]), &|path| {
        let _ = read_h5ad(path, &few);
        let _ = inspect_h5ad(path);
        // What can be read can be written over a copy, or is refused.
        if let Ok(cells) = read_h5ad(path, &ReadOptions::default()) {
            let _ = write_h5ad(path.with_extension("copy"), &cells, &WriteOptions::default());
        }
    });
    hold("other containers", files(&[".h5", ".loom", ".h5mu"]), &|path| {
        let _ = read_cells(path, &ReadOptions::default());
    });
}

/// A store in a folder, of which one file is damaged at a time.
#[test]
fn zarr() {
    let folder = tempfile::tempdir().unwrap();
    let mut seeds = Vec::new();
    for store in ["tables_0.13.zarr2", "uns_0.13.zarr3", "packed.zarr2", "packed.zarr3"] {
        let text = std::fs::read_to_string(fixtures().join(format!("{store}.json"))).unwrap();
        let files: Map<String, Value> = serde_json::from_str(&text).unwrap();
        for (name, data) in files {
            let path = folder.path().join(store).join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let bytes = match (data["text"].as_str(), data["base64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (_, Some(packed)) => base64::prelude::BASE64_STANDARD.decode(packed).unwrap(),
                _ => panic!("neither a text nor bytes"),
            };
            std::fs::write(path, &bytes).unwrap();
            // Names of files without folders, which a `+` stands for.
            seeds.push((format!("{store}/{name}").replace('/', "+"), bytes));
        }
    }
    hold("zarr", seeds, &|path| {
        let name = path.file_name().unwrap().to_str().unwrap().replace('+', "/");
        let store = folder.path().join(name.split('/').next().unwrap());
        let place = folder.path().join(&name);
        let sound = std::fs::read(&place).unwrap();
        std::fs::copy(path, &place).unwrap();
        // What is not damaged need not be read: the entry and the tables.
        let parts: Vec<&str> = name.split('/').collect();
        let only = |slot: &str| match parts[..] {
            [_, found, entry, ..] if found == slot && parts.len() > 3 => Select::only([entry]),
            [_, found, ..] if found == slot => Select::All,
            _ => Select::Nothing,
        };
        let options = ReadOptions {
            x: parts[1] == "X",
            layers: only("layers"),
            uns: only("uns"),
            obsm: only("obsm"),
            ..ReadOptions::tables()
        };
        let _ = read_cells(&store, &options);
        let _ = inspect_h5ad(&store);
        std::fs::write(&place, sound).unwrap();
    });
}

#[test]
fn matrix_market() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["barcodes.tsv", "genes.tsv"] {
        std::fs::copy(fixtures().join("tenx_mtx_v2").join(name), folder.path().join(name)).unwrap();
    }
    let seed = std::fs::read(fixtures().join("tenx_mtx_v2/matrix.mtx")).unwrap();
    hold("matrix.mtx", vec![("matrix.mtx".into(), seed)], &|path| {
        std::fs::copy(path, folder.path().join("matrix.mtx")).unwrap();
        let _ = read_cells(folder.path(), &ReadOptions::default());
    });
}

#[test]
fn gene_sets() {
    let seeds = texts(&[
        ("a.gmt", "S1\tna\tA\tB\tC\nS2\thttp://x\tB\tD\n"),
        ("weights.gmt", "S1\t\tA,1.0\tB,0.5\nS2\t\tB,1.0\tD,3\n"),
        ("a.gmx", "S1\tS2\nna\tna\nA\tB\nB\tD\nC\t\n"),
        ("a.grp", "S1\n> http://x\nA\nB\n"),
        ("table.csv", "gene,S1,S2\nA,1,0\nB,1,1\n"),
        ("long.tsv", "S1\tA\nS1\tB\nS2\tB\n"),
        ("a.json", r#"{"S1": {"geneSymbols": ["A","B"], "exactSource": "x"}, "S2": ["B"]}"#),
        ("a.xml", "<MSIGDB><GENESET STANDARD_NAME=\"S1\" MEMBERS_SYMBOLIZED=\"A,B&amp;C\"/></MSIGDB>"),
    ]);
    hold("gene sets", seeds, &|path| {
        let _ = read_gmt(&[path], &GmtOptions::default());
    });
}

#[test]
fn tables() {
    let seeds = texts(&[
        ("a.csv", "cell,type,n,ok\nc1,\"T, \"\"x\"\"\",1,TRUE\nc2,B,,FALSE\n"),
        ("a.tsv", "type\tn\nc1\tT\t1.5\nc2\tB\tNA\n"),
        ("semicolon.csv", "a;b\n1;2\n"),
    ]);
    hold("tables", seeds, &|path| {
        let _ = read_table(path, &TableOptions::default());
        let _ = read_list(path);
    });
}

#[test]
fn models() {
    let safe = |json: &str, values: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.extend(std::iter::repeat_n(0u8, values));
        bytes
    };
    let json = r#"{"__metadata__":{"scgraft":"{\"format\":1,\"model\":\"expimap\"}"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let mut seeds = vec![("a.scgraft".to_owned(), safe(json, 24))];
    seeds.extend(ours().map(|bytes| ("own.scgraft".to_owned(), bytes)));
    if let Some(folder) = std::env::var_os("SCGRAFT_MODELS") {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            seeds.push(("real.scgraft".to_owned(), std::fs::read(path).unwrap()));
        }
    }
    hold("models and adaptors", seeds, &|path| {
        let _ = Model::load(path);
        let _ = Adaptor::load(path);
    });
}

/// A model with its cells, the model grafted, and the graft's adaptor.
fn ours() -> [Vec<u8>; 3] {
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect();
    let known = Known { genes: names("G", 12), conditions: names("study_", 2), ..Known::default() };
    let settings = serde_json::json!({ "hidden": [4], "latent": 2 });
    let mut model = Model::new("scvi", &settings, Header { known, ..Header::default() }, 7).unwrap();
    let mut obs = Frame::new(names("cell", 3));
    obs.set("type", Column::categorical(&["T", "B", "T"]));
    let mean = Dense::new(3, 2, vec![0.5, -1.0, 0.0, 2.0, 1.5, 0.25]);
    let variance = Dense::new(3, 2, vec![0.5, 1.0, 0.1, 2.0, 1.5, 0.25]);
    model.cells = Some(ReferenceCells::new(obs, &mean, Some(&variance), Some(&mean)).unwrap());
    let grafted = model.surgery(&Surgery::adaptor("query"), &Newcomers::of(["new"]), 1).unwrap();
    let adaptor = grafted.adaptors(&model.reference_hash()).unwrap().remove(0);
    [model.to_bytes().unwrap(), grafted.to_bytes().unwrap(), adaptor.to_bytes().unwrap()]
}

/// Models of scvi-tools and scArches, beside their other files, and pickles that would run a command.
#[test]
fn published_models() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../hub/tests/golden");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(golden).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    // Files of a model have its name before theirs, so that a changed one lies beside the sound others.
    let (mut seeds, mut beside) = (Vec::new(), Vec::new());
    for folder in folders.iter().filter(|f| f.is_dir()) {
        let model = folder.file_name().unwrap().to_string_lossy().into_owned();
        for file in ["model.pt", "model_params.pt", "attr.pkl", "var_names.csv"] {
            if let Ok(bytes) = std::fs::read(folder.join(file)) {
                beside.push((model.clone(), file, bytes.clone()));
                seeds.push((format!("{model}_{file}"), bytes));
            }
        }
    }
    assert!(seeds.len() > 10, "{}", seeds.len());
    let mark = tempfile::tempdir().unwrap();
    let called = mark.path().join("called");
    let command = format!("touch {}", called.display());
    let size = (command.len() as u32).to_le_bytes();
    for name in ["os\nsystem\n", "posix\nsystem\n", "subprocess\ngetoutput\n", "builtins\nexec\n"] {
        let call =
            [b"\x80\x02}X\x05\0\0\0attr_c", name.as_bytes(), b"X", &size, command.as_bytes(), b"\x85Rs."].concat();
        seeds.push(("expimap_hard_attr.pkl".to_owned(), call));
    }
    hold("published models", seeds, &|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        for (model, file, bytes) in beside.iter().filter(|b| name.starts_with(&b.0)) {
            let other = path.with_file_name(format!("{model}_{file}"));
            if !other.exists() {
                std::fs::write(other, bytes).unwrap();
            }
        }
        let _ = import(path, &ImportOptions::default());
    });
    assert!(!called.exists(), "a pickle was run");
}
