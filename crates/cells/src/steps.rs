//! How far a long step is, told as it goes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The target of the events that say how far a step is; their fields are `step`, `done` and `of`.
pub const STEPS: &str = "scgraft::steps";

/// A step of so many parts, which may be done on any thread. Its beginning (`done` = 0) and each part that is done are events of
/// the target [`STEPS`] and the level TRACE, and cost nothing where no one listens; a step that ends before all are done says
/// `done` = `of` too.
#[derive(Debug)]
pub struct Steps {
    step: &'static str,
    of: usize,
    done: AtomicUsize,
}

impl Steps {
    /// A step of `of` parts. `step` says what is going on, as `laying cells out`.
    pub fn new(step: &'static str, of: usize) -> Steps {
        let steps = Steps { step, of, done: AtomicUsize::new(0) };
        steps.tell(0);
        steps
    }

    /// A part is done.
    pub fn done(&self) {
        self.tell(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// So many parts are done, of a step whose parts are done in order.
    pub fn reach(&self, done: usize) {
        self.done.store(done, Ordering::Relaxed);
        self.tell(done);
    }

    fn tell(&self, done: usize) {
        tracing::trace!(target: STEPS, step = self.step, done, of = self.of);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if *self.done.get_mut() < self.of {
            self.tell(self.of);
        }
    }
}
