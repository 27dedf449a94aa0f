//! A bar for the epochs of a fit.

use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressStyle};
use scgraft::models::EpochRecord;

use super::{Global, stop};

/// A bar over epochs; hidden when quiet or when standard error is no terminal.
pub(crate) struct Epochs {
    bar: ProgressBar,
    quiet: bool,
    total: usize,
}

impl Epochs {
    pub fn new(what: &str, epochs: usize, global: &Global) -> Self {
        let bar = if global.quiet { ProgressBar::hidden() } else { ProgressBar::new(epochs as u64) };
        let template = "{prefix} {wide_bar:.cyan/blue} epoch {pos}/{len}  {msg}  {elapsed} (at most {eta} left)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        Epochs { bar, quiet: global.quiet, total: epochs }
    }

    /// Told of every epoch; stops the fit when the user asked to.
    pub fn look(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        let sum = |terms: &[(String, f64)]| terms.iter().map(|t| t.1).sum::<f64>();
        let mut message = format!("loss {:.1}", sum(&record.train));
        if let Some(loss) = record.validation_loss {
            message.push_str(&format!(", validation {loss:.1}"));
        }
        let every = (self.total / 10).max(1);
        if self.bar.is_hidden() && !self.quiet && (record.epoch + 1).is_multiple_of(every) {
            tracing::info!("{}: epoch {} of {}: {message}", self.bar.prefix(), record.epoch + 1, self.total);
        }
        self.bar.set_message(message);
        self.bar.inc(1);
        if stop::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Drop for Epochs {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
