//! Files that mean harm, and files that are damaged: an error, soon, and nothing run.
//!
//! `SCGRAFT_MUTATIONS=1000000 cargo test --release -p scgraft-hub mutations -- --nocapture` for a longer run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::zip::{Zip, write};
use crate::{Files, ImportOptions, import_files};

/// A model file whose pickle this is, with a store of 16 bytes.
fn file(pickle: &[u8]) -> Files {
    let model = write(&[("m/data.pkl", pickle), ("m/data/0", &[0; 16]), ("../../etc/passwd", b"root")]).unwrap();
    Files { place: "hostile".into(), model, ..Files::default() }
}

fn error(pickle: &[u8]) -> String {
    let start = Instant::now();
    let error = import_files(&file(pickle), &ImportOptions::default()).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(120), "{error}: {:?}", start.elapsed());
    assert!(error.len() < 1000, "{error}");
    error
}

/// A dictionary of a model whose state has one tensor, described by what stands between its store and its end.
fn with_tensor(key: &str, description: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}X\x10\0\0\0model_state_dict}X\x04\0\0\0px_rctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    out.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX");
    out.extend((key.len() as u32).to_le_bytes());
    out.extend(key.as_bytes());
    out.extend(b"X\x03\0\0\0cpuK\x04tQ");
    out.extend(description);
    out.extend(b"tRss.");
    out
}

#[test]
fn nothing_is_called() {
    let mark = std::env::temp_dir().join(format!("scgraft-called-{}", std::process::id()));
    let command = format!("touch {}", mark.display());
    for name in ["cos\nsystem\n", "cposix\nsystem\n", "csubprocess\ncall\n", "cbuiltins\neval\n"] {
        let mut call = b"\x80\x02}X\x10\0\0\0model_state_dict".to_vec();
        call.extend(name.as_bytes());
        call.extend(b"X");
        call.extend((command.len() as u32).to_le_bytes());
        call.extend(command.as_bytes());
        call.extend(b"\x85Rs.");
        let error = error(&call);
        assert!(error.contains("expected a dictionary, found an object of"), "{error}");
        assert!(error.contains(name[1..].split('\n').next().unwrap()), "{error}");
    }
    assert!(!mark.exists());
}

#[test]
fn values_that_hold_themselves() {
    error(b"\x80\x02]q\0h\0a.");
    error(b"\x80\x02}q\0X\x10\0\0\0model_state_dicth\0s.");
    error(b"\x80\x02}q\0X\x10\0\0\0model_state_dict}sX\x09\0\0\0attr_dicth\0sX\x09\0\0\0var_names]q\x01h\x01as.");
}

#[test]
fn values_that_grow_in_reading() {
    // Names that are a list of 30,000 times the same list of 30,000 times the same name.
    let mut pickle = b"\x80\x02}X\x10\0\0\0model_state_dict}sX\x09\0\0\0attr_dict}X\x09\0\0\0registry_}ss".to_vec();
    pickle.extend(b"X\x09\0\0\0var_names](X\x01\0\0\0gq\0");
    pickle.extend(b"h\0".repeat(4_000_000));
    pickle.extend(b"es.");
    error(&pickle);
    // A text that is made into bytes again and again.
    let mut pickle = b"\x80\x02(X\0\0\x10\0".to_vec();
    pickle.extend(vec![b'a'; 1 << 20]);
    pickle.extend(b"X\x06\0\0\0latin1\x86q\0c_codecs\nencode\nq\x01");
    pickle.extend(b"h\x01h\0R".repeat(100_000));
    pickle.extend(b"t.");
    assert!(error(&pickle).contains("again and again"));
    // More marks, numbered values and texts than any model has.
    error(&b"(".repeat(1 << 22));
    error(&b"]\x94".repeat(1 << 21));
    error(&b"]2222".repeat(1 << 20));
}

#[test]
fn lengths_that_lie() {
    for start in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\0\0\0\0\0\0\0\x80",
        b"\x8b\xff\xff\xff\x7f",
    ] {
        assert!(error(&[b"\x80\x02", start, b"abc."].concat()).contains("cut off"));
    }
}

#[test]
fn tensors_that_lie() {
    let good = with_tensor("0", b"K\0K\x04\x85K\x01\x85");
    assert!(error(&good).contains("attr_dict"), "the tensor itself is fine");
    for (key, description, told) in [
        ("0", &b"K\x01K\x04\x85K\x01\x85"[..], "larger"),
        ("0", b"K\0K\x05\x85K\x01\x85", "larger"),
        ("0", b"K\0K\x04\x85J\xff\xff\xff\x7f\x85", "larger"),
        ("0", b"K\0K\x04\x85J\xff\xff\xff\xff\x85", "damaged"),
        ("0", b"K\0J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86K\0K\0\x86", "larger"),
        ("0", b"K\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85K\0\x85", "larger"),
        ("0", b"K\0K\x04\x85)", "damaged"),
        ("../../../etc/passwd", b"K\0K\x04\x85K\x01\x85", "missing"),
    ] {
        let error = error(&with_tensor(key, description));
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn other_files_are_told_apart() {
    for bytes in [&b""[..], b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"{}"] {
        let files = Files { place: "other".into(), model: bytes.to_vec(), ..Files::default() };
        import_files(&files, &ImportOptions::default()).unwrap_err();
    }
}

/// A small generator (xorshift).
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

/// Operations of pickles, and bytes that lengths are made of.
const TELLING: &[u8] =
    b".(012NGJKMXCB]})ltdeasubqhrjcRQ\x80\x81\x85\x86\x87\x88\x8a\x8c\x8d\x8e\x90\x92\x93\x94\x95\0\x01\x7f\xff";

fn mutate(bytes: &mut Vec<u8>, draw: &mut Draw) {
    for _ in 0..1 + draw.below(6) {
        let (at, n) = (draw.below(bytes.len()), 1 + draw.below(12));
        let end = (at + n).min(bytes.len());
        match draw.below(6) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = TELLING[draw.below(TELLING.len())],
            2 => bytes.insert(at, TELLING[draw.below(TELLING.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = draw.below(bytes.len());
                bytes.splice(to..to, part);
            }
            _ => {
                let from = draw.below(bytes.len().saturating_sub(n));
                let part = bytes[from..(from + end - at)].to_vec();
                bytes[at..end].copy_from_slice(&part);
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// The committed models.
fn models() -> Vec<Files> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    folders.iter().filter(|f| f.is_dir()).map(|f| Files::open(f).unwrap()).collect()
}

#[test]
fn mutations() {
    let count: usize = std::env::var("SCGRAFT_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let models = models();
    let mut draw = Draw(0x2545_f491_4f6c_dd1d);
    let (mut read, mut slowest) = (0, Duration::ZERO);
    for i in 0..count {
        let mut files = models[i % models.len()].clone();
        match (draw.below(4), &mut files.attributes) {
            (0, _) => mutate(&mut files.model, &mut draw),
            (1, Some(attributes)) => mutate(attributes, &mut draw),
            _ => {
                let whole = Zip::new(&files.model, "whole").unwrap();
                let mut parts: Vec<(String, Vec<u8>)> =
                    whole.entries().map(|(name, data)| (name.to_owned(), data.to_vec())).collect();
                let pickle = parts.iter_mut().find(|p| p.0.ends_with("data.pkl")).unwrap();
                mutate(&mut pickle.1, &mut draw);
                files.model = write(&parts.iter().map(|(n, d)| (n.as_str(), &d[..])).collect::<Vec<_>>()).unwrap();
            }
        }
        let start = Instant::now();
        read += usize::from(import_files(&files, &ImportOptions::default()).is_ok());
        slowest = slowest.max(start.elapsed());
    }
    #[expect(clippy::print_stdout, reason = "the figure of a long run")]
    {
        println!("{count} mutations: {read} still read, the slowest took {slowest:?}");
    }
    assert!(slowest < Duration::from_secs(60), "{slowest:?}");
}
