//! Work without the interpreter's lock, which Ctrl-C ends.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use scgraft::Error;
use scgraft::models::EpochRecord;
use scgraft::train::{Progress, earlier_fit, with_threads};

use crate::error::raise;
use crate::log;

/// How often Python is asked whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(100);

/// An epoch of so much is stopped before its end.
const LONG: Duration = Duration::from_secs(1);

/// Told of every epoch by the work.
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
    pub fn keeping(&self, kept: Option<Checkpoints>) -> Watch {
        Watch {
            epochs: self.epochs.clone(),
            stop: self.stop.clone(),
            kept,
            began: Instant::now(),
            long: false,
            held: true,
        }
    }
}

/// Where a fit keeps its state.
pub struct Checkpoints {
    file: PathBuf,
    every: Duration,
    last: Instant,
    resume: Option<Vec<u8>>,
    earlier: Option<Vec<u8>>,
    written: bool,
}

impl Checkpoints {
    /// In a file, so much time between two; `there` is what it holds, to go on from where one is to `resume`.
    pub fn new(file: PathBuf, every: Duration, there: Option<Vec<u8>>, resume: bool) -> Self {
        let (resume, earlier) = if resume { (there, None) } else { (None, there) };
        Checkpoints { file, every, last: Instant::now(), written: resume.is_some(), resume, earlier }
    }
}

/// Watches one fit.
pub struct Watch {
    epochs: Sender<EpochRecord>,
    stop: Arc<AtomicBool>,
    kept: Option<Checkpoints>,
    /// When the epoch began, whether the one before was long, and whether the state before this one is held.
    began: Instant,
    long: bool,
    held: bool,
}

impl Watch {
    /// The fit is over: the checkpoint has done its work.
    pub fn done(self) {
        if let Some(kept) = self.kept.filter(|k| k.written)
            && let Err(error) = std::fs::remove_file(&kept.file)
        {
            tracing::warn!("{}: could not be removed: {error}", kept.file.display());
        }
    }

    fn asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Progress for Watch {
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        // Nobody listens any more after a stop.
        self.epochs.send(record.clone()).unwrap_or_default();
        self.long = self.began.elapsed() >= LONG;
        (self.began, self.held) = (Instant::now(), false);
        if self.asked_to_stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn step(&mut self) -> ControlFlow<()> {
        let stops = (self.kept.is_none() || self.held) && self.began.elapsed() >= LONG && self.asked_to_stop();
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn holds_start(&mut self) -> bool {
        self.held = self.long;
        self.held
    }

    fn resume(&mut self) -> Option<Vec<u8>> {
        self.kept.as_mut().and_then(|k| k.resume.take())
    }

    fn earlier(&mut self) -> Option<Vec<u8>> {
        self.kept.as_mut().and_then(|k| k.earlier.take())
    }

    fn compared(&mut self, differences: Option<&[String]>) {
        if let Some(kept) = &self.kept {
            tracing::warn!("{}", earlier_fit(&kept.file, differences, "resume=True"));
        }
    }

    fn keeps_checkpoints(&self) -> bool {
        self.kept.is_some()
    }

    fn wants_checkpoint(&mut self) -> bool {
        let stopping = self.asked_to_stop();
        self.kept.as_ref().is_some_and(|k| stopping || k.last.elapsed() >= k.every)
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        scgraft::io::write_bytes(&kept.file, checkpoint).map_err(|e| e.to_string())?;
        kept.last = Instant::now();
        kept.written = true;
        Ok(())
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
