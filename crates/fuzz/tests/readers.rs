//! Every reader against damaged files: so many cases each as `SCGRAFT_FUZZ` says, or a few hundred.

#![allow(clippy::print_stderr)]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use scgraft_cells::{Column, Dense, Frame, Known, OrthologRule};
use scgraft_fuzz::{Target, run};
use scgraft_hub::{Contents, Files, Hub, ImportOptions, Settings, import_files};
use scgraft_io::{
    Input, ReadOptions, Select, WriteOptions, inspect_h5ad, read_cells, read_gmt, read_h5ad, read_list, read_orthologs,
    read_table, write_h5ad,
};
use scgraft_models::{Adaptor, Header, Model, Newcomers, ReferenceCells, Surgery};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

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

/// With the last of them packed as well.
fn packed(mut seeds: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let (name, bytes) = seeds.last().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    seeds.push((format!("{name}.gz"), gzip.finish().unwrap()));
    seeds
}

fn hold(name: &str, seeds: Vec<(String, Vec<u8>)>, read: &dyn Fn(&str, Vec<u8>)) {
    assert!(!seeds.is_empty(), "{name}: no sound file to change");
    let asked = |variable: &str| std::env::var(variable).ok().and_then(|n| n.parse().ok());
    let cases = asked("SCGRAFT_FUZZ").unwrap_or(FEW);
    // A long run begins where an earlier one ended.
    let first = asked("SCGRAFT_FUZZ_FIRST").unwrap_or(0);
    let found = run(&Target { name, seeds, read }, first..first + cases);
    let (slowest, number) = found.slowest;
    let each = found.cases as f64 / found.whole.as_secs_f64();
    let failures = found.failures.len();
    eprintln!("{name}: {cases} cases, {failures} failures, {each:.0} a second, slowest {slowest:?} (case {number})");
    assert!(found.failures.is_empty(), "{name}: {:?}", &found.failures[..failures.min(10)]);
}

#[test]
fn h5ad() {
    let few = ReadOptions { rows: Some(1..3), ..ReadOptions::default() };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.h5ad");
    hold("h5ad", files(&[".h5ad"]), &|name, bytes| {
        let input = Input::bytes(name, bytes);
        let _ = read_h5ad(input.clone(), &few);
        let _ = inspect_h5ad(input.clone());
        // What can be read can be written over a copy, or is refused.
        if let Ok(cells) = read_h5ad(input, &ReadOptions::default()) {
            let _ = write_h5ad(&copy, &cells, &WriteOptions::default());
        }
    });
}

#[test]
fn other_containers() {
    hold("other containers", files(&[".h5", ".loom", ".h5mu"]), &|name, bytes| {
        let _ = read_cells(Input::bytes(name, bytes), &ReadOptions::default());
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
    hold("zarr", seeds, &|name, bytes| {
        let name = name.replace('+', "/");
        let store = folder.path().join(name.split('/').next().unwrap());
        let place = folder.path().join(&name);
        let sound = std::fs::read(&place).unwrap();
        std::fs::write(&place, bytes).unwrap();
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
    let parts = ["matrix.mtx", "barcodes.tsv", "genes.tsv"];
    let sound = |name: &str| std::fs::read(fixtures().join("tenx_mtx_v2").join(name)).unwrap();
    parts.iter().for_each(|name| std::fs::write(folder.path().join(name), sound(name)).unwrap());
    let seeds = parts.iter().map(|name| ((*name).to_owned(), sound(name))).collect();
    hold("matrix.mtx", seeds, &|name, bytes| {
        let place = folder.path().join(name);
        let sound = std::fs::read(&place).unwrap();
        std::fs::write(&place, bytes).unwrap();
        let _ = read_cells(folder.path(), &ReadOptions::default());
        std::fs::write(&place, sound).unwrap();
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
    hold("gene sets", packed(seeds), &|name, bytes| {
        let _ = read_gmt(&[Input::bytes(name, bytes)]);
    });
}

#[test]
fn tables() {
    let seeds = texts(&[
        ("a.csv", "cell,type,n,ok\nc1,\"T, \"\"x\"\"\",1,TRUE\nc2,B,,FALSE\n"),
        ("a.tsv", "type\tn\nc1\tT\t1.5\nc2\tB\tNA\n"),
        ("semicolon.csv", "a;b\n1;2\n"),
    ]);
    hold("tables", packed(seeds), &|name, bytes| {
        let input = Input::bytes(name, bytes);
        let _ = read_table(input.clone());
        let _ = read_list(input);
    });
}

#[test]
fn orthologs() {
    let biomart = "Gene stable ID\tGene name\tMouse gene name\tMouse homology type\t%id. target Mouse\n\
                   E1\tA\ta\tortholog_one2one\t90.1\nE2\tB\tb\tortholog_one2many\t80\n";
    let hcop = "human_symbol\tmouse_symbol\tsupport\nA\ta\tEnsembl,Inparanoid\nB\t-\tHomologene\n";
    let seeds = texts(&[("biomart.tsv", biomart), ("hcop.tsv", hcop), ("pairs.csv", "A,a\nB,b\nB,c\n")]);
    hold("orthologs", packed(seeds), &|name, bytes| {
        let _ = read_orthologs(Input::bytes(name, bytes), OrthologRule::Best);
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
    for bytes in ours() {
        // A checksum stops most damage at the door; whoever means harm makes it anew or leaves it out.
        seeds.extend([unsigned(&bytes), bytes].map(|bytes| ("own.scgraft".to_owned(), bytes)));
    }
    if let Some(folder) = std::env::var_os("SCGRAFT_MODELS") {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            seeds.push(("real.scgraft".to_owned(), std::fs::read(path).unwrap()));
        }
    }
    let reference = reference();
    hold("models and adaptors", seeds, &|_, bytes| {
        if let Ok(model) = Model::from_bytes(&bytes) {
            let _ = model.to_bytes();
        }
        if let Ok(adaptor) = Adaptor::from_bytes(&bytes) {
            let _ = reference.attach(std::slice::from_ref(&adaptor));
        }
        let _ = Contents::of(&bytes, "a file");
    });
}

/// The cells in a model's file, their checksums made anew after the damage.
#[test]
fn cells_of_models() {
    let model = unsigned(&reference().to_bytes().unwrap());
    let (mut head, data) = split(&model);
    let start = head["cells"]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut entry: Value = serde_json::from_str(head["__metadata__"]["scgraft"].as_str().unwrap()).unwrap();
    let mut with = |cells: &[u8]| {
        entry["cells"] = Sha256::digest(cells).iter().map(|b| format!("{b:02x}")).collect::<String>().into();
        head["__metadata__"]["scgraft"] = entry.to_string().into();
        let dtype = head["cells"]["dtype"].clone();
        head["cells"] =
            serde_json::json!({ "dtype": dtype, "shape": [cells.len()], "data_offsets": [start, start + cells.len()] });
        let head = head.to_string();
        Model::from_bytes(&[&(head.len() as u64).to_le_bytes(), head.as_bytes(), &data[..start], cells].concat())
    };
    with(&data[start..]).unwrap();
    let with = RefCell::new(with);
    hold("cells of models", vec![("cells".to_owned(), data[start..].to_vec())], &|_, bytes| {
        let _ = (with.borrow_mut())(&bytes);
    });
}

/// The head of a file of ours, and what follows it.
fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), &bytes[8 + length..])
}

/// A file of ours without its checksum, as older ones are.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let (mut head, data) = split(bytes);
    let entry = head["__metadata__"]["scgraft"].as_str().unwrap();
    let (said, _) = entry.rsplit_once(",\"sha256\":").unwrap();
    head["__metadata__"]["scgraft"] = format!("{said}}}").into();
    let head = head.to_string();
    let out = [&(head.len() as u64).to_le_bytes(), head.as_bytes(), data].concat();
    assert!(Model::from_bytes(&out).is_ok() || Adaptor::from_bytes(&out).is_ok());
    out
}

/// A model with its cells.
fn reference() -> Model {
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect();
    let known = Known { genes: names("G", 12), conditions: names("study_", 2), ..Known::default() };
    let settings = serde_json::json!({ "hidden": [4], "latent": 2 });
    let mut model = Model::new("scvi", &settings, Header { known, ..Header::default() }, 7).unwrap();
    let mut obs = Frame::new(names("cell", 3));
    obs.set("type", Column::categorical(&["T", "B", "T"]));
    let mean = Dense::new(3, 2, vec![0.5, -1.0, 0.0, 2.0, 1.5, 0.25]);
    let variance = Dense::new(3, 2, vec![0.5, 1.0, 0.1, 2.0, 1.5, 0.25]);
    model.cells = Some(ReferenceCells::new(obs, &mean, Some(&variance), Some(&mean)).unwrap());
    model
}

/// A model with its cells, the model grafted, and the graft's adaptor.
fn ours() -> [Vec<u8>; 3] {
    let model = reference();
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
    let mut models: Vec<(String, Files)> = Vec::new();
    let mut seeds = Vec::new();
    for folder in folders.iter().filter(|f| f.is_dir()) {
        let model = folder.file_name().unwrap().to_string_lossy().into_owned();
        let files = Files::open(folder).unwrap();
        let (attributes, genes) = (files.attributes.clone(), files.genes.clone());
        seeds.push((format!("{model} model"), files.model.clone()));
        seeds.extend(attributes.map(|bytes| (format!("{model} attributes"), bytes)));
        seeds.extend(genes.map(|bytes| (format!("{model} genes"), bytes)));
        models.push((model, Files { cells: None, ..files }));
    }
    assert!(seeds.len() > 10, "{}", seeds.len());
    let mark = tempfile::tempdir().unwrap();
    let called = mark.path().join("called");
    let command = format!("touch {}", called.display());
    let size = (command.len() as u32).to_le_bytes();
    for name in ["os\nsystem\n", "posix\nsystem\n", "subprocess\ngetoutput\n", "builtins\nexec\n"] {
        let call =
            [b"\x80\x02}X\x05\0\0\0attr_c", name.as_bytes(), b"X", &size, command.as_bytes(), b"\x85Rs."].concat();
        seeds.push(("expimap_hard attributes".to_owned(), call));
    }
    hold("published models", seeds, &|name, bytes| {
        let (model, part) = name.rsplit_once(' ').unwrap();
        let mut files = models.iter().find(|m| m.0 == model).unwrap().1.clone();
        match part {
            "model" => files.model = bytes,
            "attributes" => files.attributes = Some(bytes),
            _ => files.genes = Some(bytes),
        }
        let _ = import_files(&files, &ImportOptions::default());
    });
    assert!(!called.exists(), "a pickle was run");
}

/// What services answer when they are asked what lies at an address, and what the cache remembers of it.
#[test]
fn index_files() {
    let hash = "a".repeat(64);
    let zenodo = format!(
        r#"{{"id": 7, "metadata": {{"title": "T", "version": "1", "publication_date": "2026-01-01", "license": {{"id": "cc-by-4.0"}},
        "access_right": "open"}}, "doi": "10.5281/zenodo.7", "files": [{{"key": "a.scgraft", "size": 9, "checksum": "md5:{}"}},
        {{"key": "b/model.pt", "size": 12}}]}}"#,
        "b".repeat(32)
    );
    let huggingface = format!(
        r#"{{"sha": "{}", "lastModified": "2026-01-01T00:00:00.000Z", "cardData": {{"license": "mit"}}, "siblings": [
        {{"rfilename": "a.scgraft", "size": 9, "lfs": {{"sha256": "{hash}", "size": 9}}}}, {{"rfilename": "b/model.pt", "size": 12, "blobId": "{}"}}]}}"#,
        "c".repeat(40),
        "d".repeat(40)
    );
    let folder = tempfile::tempdir().unwrap();
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("http://{}", listener.local_addr().unwrap());
    let body = Arc::clone(&answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), body) = (stream, Arc::clone(&body)) else { continue };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                // Questions of one connection, each of which ends with an empty line.
                while lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).count() > 0 {
                    let body = body.lock().unwrap().clone();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all(&[head.as_bytes(), &body].concat())?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    let settings = Settings::from_words(&|name| match name {
        "SCGRAFT_ZENODO_URL" | "SCGRAFT_HF_URL" => Some(service.clone()),
        "SCGRAFT_CACHE" => Some(folder.path().display().to_string()),
        _ => None,
    });
    let hub = Hub::new(settings.unwrap()).unwrap();
    hold("answers of services", texts(&[("zenodo:7", &zenodo), ("hf:o/m", &huggingface)]), &|name, bytes| {
        *answer.lock().unwrap() = bytes;
        let _ = hub.list(&name.parse().unwrap(), &mut |_| ControlFlow::Continue(()));
    });
}
