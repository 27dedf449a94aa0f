//! Ctrl-C: the first asks the work to stop where it leaves nothing half-made, the second ends the program.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The checkpoint that a run which is stopped now can go on from.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Exit code of a program stopped by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The user asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped; {}", left())]
pub(crate) struct Stopped;

/// What a stopped run leaves.
fn left() -> String {
    match CHECKPOINT.lock().ok().and_then(|kept| kept.clone()) {
        Some(file) => {
            format!("the state so far is in {}: the same command with --resume goes on from it", file.display())
        }
        None => "nothing was written".to_owned(),
    }
}

/// Takes note of the checkpoint that there is; none when it has done its work.
pub(crate) fn note_checkpoint(file: Option<&Path>) {
    if let Ok(mut kept) = CHECKPOINT.lock() {
        *kept = file.map(Path::to_owned);
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
