//! The program as its users meet it: whole runs, and bad days.

#![allow(clippy::print_stderr)]

mod against;
mod analysis;
mod bad_days;
mod bits;
mod bundle;
mod evaluate;
mod import;
mod inspect;
mod killed;
mod models;
mod odd_data;
mod outputs;
mod programs;
mod proteins;
mod real_data;
mod remote;
#[path = "../../../hub/tests/server/mod.rs"]
mod server;
mod sharing;
mod species;
mod tables;
mod trial;
mod words;
mod workflow;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use scgraft::cells::Cells;
use scgraft::io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

/// A run of the program in a folder of its own.
pub(crate) struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scgraft"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn scgraft(folder: &Path, arguments: &[&str]) -> Run {
    Run::of(&mut command(folder, arguments))
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        Run { code: status.code().unwrap_or(-1), stdout, stderr }
    }

    pub fn good(self) -> Run {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// The run failed as a user's mistake does, and says all of these.
    pub fn says(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// Simulated data with a reference trained for a few epochs, made once.
pub(crate) struct World {
    _keep: tempfile::TempDir,
    pub folder: PathBuf,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let keep = tempfile::tempdir().unwrap();
    let folder = keep.path().to_owned();
    let sizes = ["--cells", "240", "--query-cells", "100", "--genes", "500", "--programs", "20", "--cell-types", "3"];
    let simulate: Vec<&str> = ["simulate", "-o", "."].into_iter().chain(sizes).collect();
    scgraft(&folder, &simulate).good();
    scgraft(&folder, &train("reference.h5ad", &["-o", "reference.scgraft", "--embed", "reference_out.h5ad"])).good();
    World { _keep: keep, folder }
});

/// A short training.
pub(crate) fn train<'a>(reference: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["--programs", "programs.gmt", "--condition", "batch", "--hidden", "32,32", "--epochs", "4"];
    ["train", reference].into_iter().chain(fixed).chain(more.iter().copied()).collect()
}

/// A folder of its own that holds copies of the world's files.
pub(crate) fn folder_with(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        std::fs::copy(WORLD.folder.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// The cells of a file in a folder.
pub(crate) fn read(folder: impl AsRef<Path>, name: &str) -> Cells {
    read_h5ad(folder.as_ref().join(name), &ReadOptions::default()).unwrap()
}

pub(crate) fn write(folder: impl AsRef<Path>, name: &str, cells: &Cells) {
    write_h5ad(folder.as_ref().join(name), cells, &WriteOptions::default()).unwrap();
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
