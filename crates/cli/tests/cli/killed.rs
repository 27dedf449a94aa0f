//! Runs that die: a training killed at any moment goes on to the bytes of one that was not, and leaves nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{command, folder_with, names, scgraft};

const EPOCHS: &str = "60";

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", "reference.h5ad", "--programs", "programs.gmt", "--condition", "batch", "--hidden", "32,32"];
    let epochs = ["--epochs", EPOCHS, "--checkpoint-every", "0", "-o", "model.scgraft"];
    fixed.into_iter().chain(epochs).chain(more.iter().copied()).collect()
}

/// Starts a run and kills it after so long, unless it is done before; whether it was killed.
fn killed(at: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut run = command(at, arguments).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < after {
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    true
}

/// `SCGRAFT_KILLS=100 cargo test -p scgraft-cli --test cli killed` for more of them.
#[test]
fn a_killed_training_goes_on_to_the_same_bytes() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let start = Instant::now();
    scgraft(at, &train(&["-q"])).good();
    let usual = start.elapsed();
    let whole = std::fs::read(at.join("model.scgraft")).unwrap();
    let before = names(at);
    let wanted: usize = std::env::var("SCGRAFT_KILLS").map_or(6, |n| n.parse().unwrap());
    let (mut kills, mut random) = (0, 12345u64);
    while kills < wanted {
        std::fs::remove_file(at.join("model.scgraft")).unwrap();
        loop {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let share = (random >> 40) as f64 / f64::from(1 << 24);
            let threads = if random & (1 << 35) == 0 { "1" } else { "3" };
            let mut arguments = train(&["-q", "--threads", threads]);
            if at.join("model.scgraft.checkpoint").exists() {
                arguments.push("--resume");
            }
            if !killed(at, &arguments, usual.mul_f64(0.7 * share)) {
                break;
            }
            kills += 1;
        }
        if !at.join("model.scgraft").exists() {
            let mut last = train(&["-q"]);
            if at.join("model.scgraft.checkpoint").exists() {
                last.push("--resume");
            }
            scgraft(at, &last).good();
        }
        assert!(std::fs::read(at.join("model.scgraft")).unwrap() == whole, "other bytes after {kills} kills");
        assert_eq!(names(at), before);
    }
}

/// The first Ctrl-C ends a long training with its state kept, and says where.
#[cfg(unix)]
#[test]
fn a_stopped_training_says_where_its_state_is() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let mut long = train(&["-q"]);
    let epochs = long.iter().position(|a| *a == EPOCHS).unwrap();
    long[epochs] = "100000";
    let run = command(at, &long).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !at.join("model.scgraft.checkpoint").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("model.scgraft.checkpoint") && said.contains("--resume"), "{said}");
    assert!(!said.contains("nothing was written") && !at.join("model.scgraft").exists());
}

/// A checkpoint of other settings is neither left nor used without a word, which says what differs.
#[test]
fn a_checkpoint_of_another_run_is_told_from_ones_own() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt"]);
    let at = folder.path();
    let checkpoint = at.join("model.scgraft.checkpoint");
    let run = command(at, &train(&["-q"])).spawn();
    while !checkpoint.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut run = run.unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    let state = std::fs::read(&checkpoint).unwrap();
    let other = ["--kl-weight", "0.25", "--batch-size", "64"];
    scgraft(at, &[&train(&["--resume"])[..], &other].concat()).says(&["kl_weight was 0.5, is 0.25", "batch_size was"]);
    assert_eq!(std::fs::read(&checkpoint).unwrap(), state);
    let never = ["--epochs", "1", "--checkpoint-every", "1000"];
    let run = |more: &[&str]| {
        let mut arguments = train(more);
        arguments.drain(8..12);
        scgraft(at, &[&arguments[..], &never].concat()).good().stderr
    };
    let said = run(&other);
    assert!(said.contains("of other settings: ") && said.contains("epochs was 60, is 1"), "{said}");
    std::fs::remove_file(at.join("model.scgraft")).unwrap();
    // Of another version, and no checkpoint at all.
    std::fs::write(&checkpoint, "scgraft checkpoint 0\n").unwrap();
    assert!(run(&[]).contains("the state of an earlier run; what this one keeps takes its place"));
    std::fs::write(&checkpoint, "something").unwrap();
    scgraft(at, &train(&[])).says(&["model.scgraft.checkpoint", "would replace this file"]);
    assert_eq!(std::fs::read_to_string(&checkpoint).unwrap(), "something");
}

#[test]
fn what_there_is_to_go_on_from_is_said() {
    let folder = folder_with(&["reference.h5ad", "programs.gmt", "query.h5ad", "reference.scgraft"]);
    let at = folder.path();
    scgraft(at, &train(&["--resume"])).says(&["no checkpoint", "model.scgraft.checkpoint"]);
    std::fs::write(at.join("model.scgraft.checkpoint"), "scgraft checkpoint 0\n").unwrap();
    scgraft(at, &train(&["--resume"])).says(&["no checkpoint of this version"]);
    let map = ["map", "reference.scgraft", "query.h5ad", "--condition", "batch", "-o", "mapped.h5ad"];
    scgraft(at, &[&map[..], &["--resume"]].concat()).says(&["no checkpoint", "mapped.h5ad.checkpoint"]);
    let clash = [&map[..], &["--checkpoint", "query.h5ad"]].concat();
    scgraft(at, &clash).says(&["query.h5ad", "would replace the input"]);
}
