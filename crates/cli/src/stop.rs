//! Ctrl-C: the first asks the work to stop where it leaves nothing half-made, the second ends the program.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a run that is stopped now leaves, in words.
static LEFT: Mutex<Option<String>> = Mutex::new(None);

/// Exit code of a program stopped by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The user asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped; {}", left())]
pub(crate) struct Stopped;

/// What a stopped run leaves.
fn left() -> String {
    LEFT.lock().ok().and_then(|left| left.clone()).unwrap_or_else(|| "nothing was written".to_owned())
}

/// Takes note of the checkpoint that there is; none when it has done its work.
pub(crate) fn note_checkpoint(file: Option<&Path>) {
    note(file.map(|file| {
        format!("the state so far is in {}: the same command with --resume goes on from it", file.display())
    }));
}

/// Takes note of a table that has what was found so far.
pub(crate) fn note_table(file: &Path) {
    note(Some(format!("what was found so far is in {}", file.display())));
}

fn note(words: Option<String>) {
    if let Ok(mut left) = LEFT.lock() {
        *left = words;
    }
}

/// Listens for Ctrl-C (and for the request to end).
pub(crate) fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
}

/// Whether the user asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Whether a step of the library goes on.
pub(crate) fn ask() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// An error when the user asked to stop: called between stages.
pub(crate) fn check() -> Result<(), Stopped> {
    if asked() { Err(Stopped) } else { Ok(()) }
}
