//! A fit that is watched: it may be stopped, and keeps its state in a file, so that little is lost when it is stopped or killed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scgraft_io::write_bytes;
use scgraft_models::EpochRecord;
use scgraft_train::{Progress, is_checkpoint};

use crate::Error;

/// An epoch of so much is stopped before its end.
const LONG: Duration = Duration::from_secs(1);

/// Who wants to know of a fit: a front end.
pub trait Front {
    /// The setting that goes on from a checkpoint, in words of the front end.
    const GOES_ON: &'static str;
    /// A fit that was stopped before so much is as soon done again: it leaves no checkpoint.
    const WORTH: Duration;

    /// Told of every epoch.
    fn epoch(&mut self, record: &EpochRecord);

    /// Asked between the steps of a fit whether to go on.
    fn goes_on(&mut self) -> ControlFlow<()>;

    /// Told of the checkpoint that a fit which is stopped now leaves; none once it has done its work.
    fn leaves(&mut self, file: Option<&Path>) {
        let _ = file;
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write(&mut self, file: &Path, checkpoint: &[u8]) -> Result<(), scgraft_io::Error> {
        write_bytes(file, checkpoint)
    }
}

/// Where a fit keeps its state.
pub struct Kept {
    file: PathBuf,
    every: Duration,
    last: Instant,
    resume: Option<Vec<u8>>,
    earlier: Option<Vec<u8>>,
    written: bool,
}

impl Kept {
    /// In a file, so much time between two; goes on from what the file holds where it is to `resume`.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    pub fn new(file: PathBuf, every: Duration, resume: bool) -> Result<Kept, Error> {
        let read = |source| scgraft_io::Error::Io { path: file.clone(), action: "read", source };
        let there = file.exists().then(|| std::fs::read(&file).map_err(read)).transpose()?;
        if there.as_deref().is_some_and(|there| !is_checkpoint(there)) {
            return Err(Error::NoCheckpoint { file });
        }
        let (resume, earlier) = if resume { (there, None) } else { (None, there) };
        Ok(Kept { file, every, last: Instant::now(), written: resume.is_some(), resume, earlier })
    }
}

/// Watches one fit for a front end.
pub struct Watch<F> {
    /// The front end.
    pub front: F,
    kept: Option<Kept>,
    /// When the epoch began, whether the one before was long, and whether the state before this one is held.
    began: Instant,
    long: bool,
    held: bool,
}

impl<F: Front> Watch<F> {
    /// Watches a fit from now on.
    pub fn new(mut front: F, kept: Option<Kept>) -> Self {
        if let Some(kept) = &kept {
            front.leaves(kept.written.then_some(&kept.file));
        }
        Watch { front, kept, began: Instant::now(), long: false, held: true }
    }

    /// The result is there: the checkpoint has done its work.
    pub fn done(mut self) {
        self.front.leaves(None);
        if let Some(kept) = self.kept.filter(|k| k.written)
            && let Err(error) = std::fs::remove_file(&kept.file)
        {
            tracing::warn!("{}: could not be removed: {error}", kept.file.display());
        }
    }
}

impl<F: Front> Progress for Watch<F> {
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        self.front.epoch(record);
        self.long = self.began.elapsed() >= LONG;
        (self.began, self.held) = (Instant::now(), false);
        self.front.goes_on()
    }

    /// Stops a long epoch too, where no more than that epoch is lost.
    fn step(&mut self) -> ControlFlow<()> {
        let asked = self.front.goes_on();
        let loses_one_epoch = self.kept.is_none() || self.held;
        if loses_one_epoch && self.began.elapsed() >= LONG { asked } else { ControlFlow::Continue(()) }
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
            tracing::warn!("{}", earlier_fit(&kept.file, differences, F::GOES_ON));
        }
    }

    fn keeps_checkpoints(&self) -> bool {
        self.kept.is_some()
    }

    fn wants_checkpoint(&mut self) -> bool {
        let stopped = self.front.goes_on().is_break();
        let due = |k: &Kept| k.last.elapsed() >= if stopped { k.every.min(F::WORTH) } else { k.every };
        self.kept.as_ref().is_some_and(due)
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        // What failed is tried again when the next one is due, not after every epoch.
        kept.last = Instant::now();
        self.front.write(&kept.file, checkpoint).map_err(|e| e.to_string())?;
        kept.written = true;
        self.front.leaves(Some(&kept.file));
        Ok(())
    }
}

/// What is said of the checkpoint of an earlier fit in `file`, of [`Progress::compared`]; `goes_on` is the setting that goes
/// on from it.
fn earlier_fit(file: &Path, differences: Option<&[String]>, goes_on: &str) -> String {
    let (file, replaced) = (file.display(), "what this one keeps takes its place");
    match differences {
        Some([]) => format!("{file}: the state of an earlier run of these settings; {goes_on} goes on from it"),
        Some(some) => {
            format!("{file}: the state of an earlier run, of other settings: {}; {replaced}", some.join("; "))
        }
        None => format!("{file}: the state of an earlier run; {replaced}"),
    }
}
