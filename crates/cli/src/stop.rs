//! Ctrl-C: the first asks the work to stop where it leaves nothing half-made, the second ends the program.
//!
//! Work that does not answer within moments is ended where it is: what it was writing is removed, and what is complete stays.
//! Only a fit, which looks up between its steps and may keep a checkpoint, is waited for as long as it goes on looking up.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long work may take to answer.
const MOMENTS: Duration = Duration::from_millis(1200);

/// When a fit looked up last, and the longest that it was away; none where nothing is fitted.
static FIT: Mutex<Option<(Instant, Duration)>> = Mutex::new(None);

fn fit() -> MutexGuard<'static, Option<(Instant, Duration)>> {
    FIT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fit looks up.
pub(crate) fn looks_up() {
    let now = Instant::now();
    let mut fit = fit();
    let longest = fit.map_or(Duration::ZERO, |(last, longest)| longest.max(now - last));
    *fit = Some((now, longest));
}

/// A fit is over.
pub(crate) fn fit_is_over() {
    *fit() = None;
}

/// Does something that is not to be ended half way.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let _held = fit();
    work()
}

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
            end();
        }
        std::thread::spawn(end_what_does_not_answer);
    })
}

/// Ends the program where it is.
fn end() -> ! {
    scgraft::io::abandon();
    std::process::exit(i32::from(INTERRUPTED))
}

/// Ends the program if it goes on for moments after it was asked to stop.
fn end_what_does_not_answer() {
    std::thread::sleep(MOMENTS);
    loop {
        // Held until the end, so that no checkpoint begins to be written.
        let fit = fit();
        if fit.is_none_or(|(last, longest)| last.elapsed() > MOMENTS.max(2 * longest)) {
            let words = LEFT.lock().ok().and_then(|left| left.clone());
            // Nothing is left to do when even this cannot be written.
            let words = words.as_deref().unwrap_or("nothing was left half-made");
            let _ = writeln!(std::io::stderr(), "error: stopped; {}", super::output::shown(words));
            end();
        }
        drop(fit);
        std::thread::sleep(MOMENTS / 10);
    }
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
