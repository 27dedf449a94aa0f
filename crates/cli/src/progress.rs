//! Bars: for the epochs of a fit, with its checkpoints, and for other long steps.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use scgraft::io::write_bytes;
use scgraft::models::EpochRecord;
use scgraft::train::{Progress, earlier_fit, is_checkpoint};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Global, stop};

/// All bars: what else is written on standard error makes them step aside.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes to standard error while the bars stand aside.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// A bar with a look; none when quiet, or where standard error is no terminal.
pub(crate) fn bar(length: u64, template: &str, quiet: bool) -> ProgressBar {
    let bar = if quiet { ProgressBar::hidden() } else { BARS.add(ProgressBar::new(length)) };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar over epochs; hidden when quiet or when standard error is no terminal.
pub(crate) struct Epochs {
    bar: ProgressBar,
    quiet: bool,
    total: usize,
    /// Epochs of this run.
    done: u32,
    kept: Option<Kept>,
    /// When the epoch began, whether the one before was long, and whether the state before this one is held.
    began: Instant,
    long: bool,
    held: bool,
}

/// Where a long fit keeps its state, so that little is lost when it is stopped or killed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Training")]
pub(crate) struct Checkpoints {
    /// Where a fit of some minutes keeps its state [default: the output's name with .checkpoint]; removed at the end
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Seconds between two checkpoints; 0: after every epoch
    #[arg(long, default_value_t = 120, value_name = "N")]
    pub checkpoint_every: u64,
    /// Keep no checkpoints
    #[arg(long, conflicts_with_all = ["checkpoint", "resume"])]
    pub no_checkpoint: bool,
    /// Go on from the checkpoint of a run that was stopped or killed, to the same result as in one go
    #[arg(long)]
    pub resume: bool,
}

/// The checkpoints of one fit.
struct Kept {
    file: PathBuf,
    every: Duration,
    last: Instant,
    resume: Option<Vec<u8>>,
    earlier: Option<Vec<u8>>,
    written: bool,
}

impl Checkpoints {
    /// The file of a fit whose result goes to `output`; none where none is wanted.
    pub fn file(&self, output: &Path) -> Option<PathBuf> {
        let usual = || {
            let mut name = output.as_os_str().to_owned();
            name.push(".checkpoint");
            PathBuf::from(name)
        };
        (!self.no_checkpoint).then(|| self.checkpoint.clone().unwrap_or_else(usual))
    }
}

impl Epochs {
    pub fn new(what: &str, epochs: usize, global: &Global) -> Self {
        let template = "{prefix} {bar:16.cyan/blue} epoch {pos}/{len}  {elapsed}{wide_msg}";
        let bar = bar(epochs as u64, template, global.quiet);
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_secs(1));
        Epochs {
            bar,
            quiet: global.quiet,
            total: epochs,
            done: 0,
            kept: None,
            began: Instant::now(),
            long: false,
            held: true,
        }
    }

    /// Keeps checkpoints of a fit whose result goes to `output`, and goes on from the last one where that is asked for.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn keeping(mut self, options: &Checkpoints, output: &Path) -> Result<Self> {
        let Some(file) = options.file(output) else { return Ok(self) };
        let there = match file.exists() {
            true => Some(std::fs::read(&file).with_context(|| file.display().to_string())?),
            false => None,
        };
        if there.as_deref().is_some_and(|there| !is_checkpoint(there)) {
            bail!(
                "{}: the state of the fit would replace this file, which is none; name another (--checkpoint)",
                file.display()
            );
        }
        let (resume, earlier) = if options.resume { (there, None) } else { (None, there) };
        let every = Duration::from_secs(options.checkpoint_every);
        stop::note_checkpoint(resume.is_some().then_some(file.as_path()));
        self.kept = Some(Kept { file, every, last: Instant::now(), written: resume.is_some(), resume, earlier });
        Ok(self)
    }

    /// The fit is over: the bar goes.
    pub fn clear(&self) {
        stop::fit_is_over();
        self.bar.finish_and_clear();
    }

    /// The result is written: the checkpoint has done its work.
    pub fn done(mut self) {
        stop::note_checkpoint(None);
        if let Some(kept) = self.kept.take().filter(|k| k.written)
            && let Err(error) = std::fs::remove_file(&kept.file)
        {
            tracing::warn!("{}: could not be removed: {error}", kept.file.display());
        }
    }
}

impl Progress for Epochs {
    /// Stops the fit when the user asked to.
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        stop::looks_up();
        let sum = |terms: &[(String, f64)]| terms.iter().map(|t| t.1).sum::<f64>();
        let loss = format!("loss {:.1}", sum(&record.train));
        let validation = record.validation_loss.map(|loss| format!("validation {loss:.1}"));
        let every = (self.total / 10).max(1);
        if self.bar.is_hidden() && !self.quiet && (record.epoch + 1).is_multiple_of(every) {
            let both = validation.iter().fold(loss.clone(), |both, v| both + ", " + v);
            tracing::info!("{}: epoch {} of {}: {both}", self.bar.prefix(), record.epoch + 1, self.total);
        }
        // A fit that goes on from a checkpoint did not do its first epochs now.
        self.done += 1;
        self.bar.set_position(record.epoch as u64 + 1);
        let left = match self.total.saturating_sub(record.epoch + 1) {
            0 => String::new(),
            n => format!(", {:#} left", HumanDuration(self.bar.elapsed() * n as u32 / self.done)),
        };
        self.bar.set_message(format!("{left}  {}", validation.unwrap_or(loss)));
        self.long = self.began.elapsed() >= LONG;
        (self.began, self.held) = (Instant::now(), false);
        stop::ask()
    }

    /// Stops a long epoch too, where no more than that epoch is lost.
    fn step(&mut self) -> ControlFlow<()> {
        stop::looks_up();
        let loses_one_epoch = self.kept.is_none() || self.held;
        if loses_one_epoch && self.began.elapsed() >= LONG { stop::ask() } else { ControlFlow::Continue(()) }
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
            tracing::warn!("{}", earlier_fit(&kept.file, differences, "--resume"));
        }
    }

    fn keeps_checkpoints(&self) -> bool {
        self.kept.is_some()
    }

    fn wants_checkpoint(&mut self) -> bool {
        let due = |k: &Kept| k.last.elapsed() >= k.every || stop::asked() && k.last.elapsed() >= WORTH;
        self.kept.as_ref().is_some_and(due)
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        // What failed is tried again when the next one is due, not after every epoch.
        kept.last = Instant::now();
        stop::undisturbed(|| write_bytes(&kept.file, checkpoint)).map_err(|e| e.to_string())?;
        stop::looks_up();
        kept.written = true;
        stop::note_checkpoint(Some(&kept.file));
        Ok(())
    }
}

/// Steps of the library as bars, from two seconds on; where standard error is no terminal, as lines now and then.
#[derive(Default)]
pub(crate) struct Bars(Mutex<HashMap<String, Bar>>);

struct Bar {
    began: Instant,
    bar: Option<ProgressBar>,
    /// When the next line is due.
    due: Duration,
}

/// A step shorter than this is not worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(2);
/// The longest between two lines.
const BETWEEN: Duration = Duration::from_secs(60);

impl<S: Subscriber> Layer<S> for Bars {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut part = Part::default();
        event.record(&mut part);
        // While another thread tells of a part, that is enough; the end is told always.
        let locked = if part.done >= part.of { self.0.lock().ok() } else { self.0.try_lock().ok() };
        let Some(mut bars) = locked else { return };
        let now = Instant::now();
        let new = || Bar { began: now, bar: None, due: WORTH_TELLING };
        let told = bars.entry(part.step.clone()).or_insert_with(new);
        if part.done >= part.of {
            if let Some(bar) = bars.remove(&part.step).and_then(|b| b.bar) {
                bar.finish_and_clear();
            }
            return;
        }
        let elapsed = told.began.elapsed();
        if elapsed < told.due {
            return;
        }
        let left = elapsed.as_secs_f64() / part.done.max(1) as f64 * (part.of - part.done) as f64;
        if !std::io::stderr().is_terminal() {
            told.due = elapsed + elapsed.min(BETWEEN);
            let _ = writeln!(
                std::io::stderr(),
                " INFO {}: {} % done, about {left:.0} s left",
                part.step,
                100 * part.done / part.of
            );
            return;
        }
        let bar = told.bar.get_or_insert_with(|| {
            let template = "{prefix} {wide_bar:.cyan/blue} {percent} %  {elapsed} (about {msg} s left)";
            bar(part.of, template, false).with_elapsed(elapsed).with_prefix(part.step.clone())
        });
        // Of all that was done so far: the bar's own estimate looks at the last moments, and parts are not of one length.
        bar.set_message(format!("{:.0}", left.ceil()));
        bar.set_position(part.done);
    }
}

/// The fields of an event that tells of a step.
#[derive(Default)]
struct Part {
    step: String,
    done: u64,
    of: u64,
}

impl Visit for Part {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "done" => self.done = value,
            _ => self.of = value,
        }
    }

    fn record_str(&mut self, _: &Field, value: &str) {
        value.clone_into(&mut self.step);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// An epoch of so much is stopped before its end.
const LONG: Duration = Duration::from_secs(1);

/// A fit that was stopped before so much is as soon done again.
const WORTH: Duration = Duration::from_secs(20);

impl Drop for Epochs {
    fn drop(&mut self) {
        self.clear();
    }
}
