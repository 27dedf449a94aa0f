//! Who watches a fit: told of every epoch, keeper of its checkpoints.

use std::ops::ControlFlow;

use scgraft_models::EpochRecord;

/// Watches a fit. Any closure over epoch records does; checkpoints need the other methods.
pub trait Progress {
    /// Told of every epoch; may stop the fit.
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()>;

    /// Asked between the steps of an epoch: may stop the fit there. What the epoch did is lost.
    fn step(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Asked before every epoch: whether the state before it is held in memory, to be [saved](Progress::save) when a
    /// [`step`](Progress::step) stops it.
    fn holds_start(&mut self) -> bool {
        false
    }

    /// Asked before the first epoch: the checkpoint to go on from, as [`Progress::save`] got it.
    fn resume(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Asked before the first epoch: the checkpoint of an earlier fit, which this one does not go on from though it is in the
    /// place of its own.
    fn earlier(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Told in what that fit was another, in words; nothing where it has the same settings, names and sizes. `None`: what it
    /// was of cannot be read off it.
    fn compared(&mut self, differences: Option<&[String]>) {
        let _ = differences;
    }

    /// Whether there may be checkpoints; what they are of is noted before the first epoch.
    fn keeps_checkpoints(&self) -> bool {
        false
    }

    /// Asked after every epoch, and when the fit is stopped: whether a checkpoint is wanted now.
    fn wants_checkpoint(&mut self) -> bool {
        false
    }

    /// Keeps a checkpoint: the whole state of the fit between two epochs.
    ///
    /// # Errors
    /// When it cannot be kept. The fit goes on without, and warns.
    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        let _ = checkpoint;
        Ok(())
    }
}

impl<F: FnMut(&EpochRecord) -> ControlFlow<()>> Progress for F {
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        self(record)
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn epoch(&mut self, _: &EpochRecord) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
