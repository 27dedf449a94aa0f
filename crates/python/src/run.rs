//! Work without the interpreter's lock, which Ctrl-C ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use scgraft::Error;
use scgraft::models::EpochRecord;
use scgraft::train::with_threads;
use scgraft::watch::{Front, Kept, Watch};

use crate::error::raise;
use crate::log;

/// How often Python is asked whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Told of every epoch by the work.
#[derive(Clone)]
pub struct Teller {
    epochs: Sender<EpochRecord>,
    stop: Arc<AtomicBool>,
}

impl Teller {
    /// Says whether to go on.
    pub fn goes_on(&self) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Watches a fit: tells of its epochs, keeps its checkpoints.
    pub fn watch(&self, kept: Option<Kept>) -> Watch<Teller> {
        Watch::new(self.clone(), kept)
    }
}

impl Front for Teller {
    const GOES_ON: &str = "resume=True";
    const WORTH: Duration = Duration::ZERO;

    fn epoch(&mut self, record: &EpochRecord) {
        // Nobody listens any more after a stop.
        self.epochs.send(record.clone()).unwrap_or_default();
    }

    fn goes_on(&mut self) -> ControlFlow<()> {
        Teller::goes_on(self)
    }
}

/// Runs `work` on a thread of its own with so many threads (0: one a core). This thread lets go of the interpreter,
/// passes epochs on to `callback` (epoch, train loss, validation loss or None; `True` stops), and looks for Ctrl-C: then it
/// returns at once, and the work ends by itself at its next epoch. What the work reads is its own.
pub fn run<T: Send + 'static>(
    py: Python<'_>,
    threads: usize,
    callback: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Teller) -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut epochs) = channel();
    let teller = Teller { epochs: told, stop: stop.clone() };
    let (done, mut result) = channel();
    let builder = std::thread::Builder::new().name("scgraft".into());
    let worker = move || {
        let out = with_threads(threads, || work(&teller)).map_err(Error::from).and_then(|r| r);
        drop(teller);
        done.send(out).unwrap_or_default();
    };
    builder.spawn(worker).map_err(|e| PyRuntimeError::new_err(format!("could not start a thread: {e}")))?;
    let mut stopped = None;
    loop {
        // Ends with the work, which holds the other end.
        let waiting = &mut epochs;
        match py.detach(move || waiting.recv_timeout(LOOK)) {
            Ok(record) => {
                if let (Some(callback), None) = (callback, &stopped) {
                    let train: f64 = record.train.iter().map(|t| t.1).sum();
                    match callback.call1((record.epoch, train, record.validation_loss)).and_then(|r| r.is_truthy()) {
                        Ok(false) => {}
                        Ok(true) => stop.store(true, Ordering::Relaxed),
                        Err(error) => stopped = Some(error),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        log::pass_on(py)?;
        if let Err(error) = py.check_signals() {
            stopped = Some(error);
        }
        if let Some(error) = stopped {
            stop.store(true, Ordering::Relaxed);
            return Err(error);
        }
    }
    let waiting = &mut result;
    let out = py.detach(move || waiting.recv());
    log::pass_on(py)?;
    match out {
        Ok(out) => out.map_err(raise),
        Err(_) => Err(PyRuntimeError::new_err(
            "the work ended without a result; this is a fault of scgraft: please report it",
        )),
    }
}

/// Runs short `work` on one thread of its own, without the interpreter's lock: no thread is left behind that a forked process
/// would wait for.
pub fn briefly<T: Send, E: Into<Error>>(py: Python<'_>, work: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T> {
    let work = || work().map_err(Into::into);
    py.detach(|| with_threads(1, work)).map_err(Error::from).and_then(|r| r).map_err(raise)
}
