//! Bars: for the epochs of a fit, with its checkpoints, and for other long steps.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use scgraft::cells::STEPS;
use scgraft::io::write_bytes;
use scgraft::models::EpochRecord;
use scgraft::watch::{Front, Kept, Watch};
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
    /// When a line was last said.
    said: Instant,
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

    /// The checkpoints of a fit whose result goes to `output`.
    ///
    /// # Errors
    /// Of [`Kept::new`].
    pub fn of(&self, output: &Path) -> Result<Option<Kept>> {
        let kept = |file| Kept::new(file, Duration::from_secs(self.checkpoint_every), self.resume);
        Ok(self.file(output).map(kept).transpose()?)
    }
}

impl Epochs {
    pub fn watch(what: &str, epochs: usize, global: &Global, kept: Option<Kept>) -> Watch<Self> {
        let template = "{prefix} {bar:16.cyan/blue} epoch {pos}/{len}  {elapsed}{wide_msg}";
        let bar = bar(epochs as u64, template, global.quiet);
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_secs(1));
        FITTING.store(true, Ordering::Relaxed);
        Watch::new(Epochs { bar, quiet: global.quiet, total: epochs, done: 0, said: Instant::now() }, kept)
    }

    /// The fit is over: the bar goes.
    pub fn clear(&self) {
        stop::fit_is_over();
        FITTING.store(false, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

impl Front for Epochs {
    const GOES_ON: &str = "--resume";
    const WORTH: Duration = Duration::from_secs(20);

    fn epoch(&mut self, record: &EpochRecord) {
        let sum = |terms: &[(String, f64)]| terms.iter().map(|t| t.1).sum::<f64>();
        let loss = format!("loss {:.1}", sum(&record.train));
        let validation = record.validation_loss.map(|loss| format!("validation {loss:.1}"));
        // A fit that goes on from a checkpoint did not do its first epochs now.
        self.done += 1;
        self.bar.set_position(record.epoch as u64 + 1);
        let left = match self.total.saturating_sub(record.epoch + 1) {
            0 => String::new(),
            n => format!(", {:#} left", HumanDuration(self.bar.elapsed() * n as u32 / self.done)),
        };
        let due = (record.epoch + 1).is_multiple_of((self.total / 10).max(1)) || self.said.elapsed() >= BETWEEN;
        if self.bar.is_hidden() && !self.quiet && due {
            let both = validation.iter().fold(loss.clone(), |both, v| both + ", " + v);
            tracing::info!("{}: epoch {} of {}: {both}{left}", self.bar.prefix(), record.epoch + 1, self.total);
            self.said = Instant::now();
        }
        self.bar.set_message(format!("{left}  {}", validation.unwrap_or(loss)));
    }

    fn goes_on(&mut self) -> ControlFlow<()> {
        stop::looks_up();
        stop::ask()
    }

    fn leaves(&mut self, file: Option<&Path>) {
        stop::note_checkpoint(file);
    }

    fn write(&mut self, file: &Path, checkpoint: &[u8]) -> Result<(), scgraft::io::Error> {
        let written = stop::undisturbed(|| write_bytes(file, checkpoint));
        stop::looks_up();
        written
    }
}

/// Long steps of the library, the outermost of those that are under way: as a bar once nothing else was said for two seconds;
/// where standard error is no terminal, as lines, ever more seldom.
pub(crate) struct Bars(Mutex<Told>);

struct Told {
    /// Steps that have begun and not ended, in the order of their beginning.
    open: Vec<(String, Instant)>,
    bar: Option<ProgressBar>,
    /// When something else was last said, and when anything was.
    since: Instant,
    last: Instant,
}

/// Silence shorter than this is not worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(2);
/// A bar that comes and goes sooner would flicker.
const FLICKER: Duration = Duration::from_millis(200);
/// The longest between two lines.
const BETWEEN: Duration = Duration::from_secs(60);
/// Whether a fit has its own bar.
static FITTING: AtomicBool = AtomicBool::new(false);

impl Default for Bars {
    fn default() -> Bars {
        let now = Instant::now();
        Bars(Mutex::new(Told { open: Vec::new(), bar: None, since: now, last: now }))
    }
}

impl<S: Subscriber> Layer<S> for Bars {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut part = Part::default();
        let is_step = event.metadata().target() == STEPS;
        if is_step {
            event.record(&mut part);
        }
        // While another thread tells of a part, that is enough; the beginning and the end are told always.
        let between = is_step && part.done > 0 && part.done < part.of;
        let locked = if between { self.0.try_lock().ok() } else { self.0.lock().ok() };
        let Some(mut told) = locked else { return };
        let now = Instant::now();
        if !is_step {
            (told.since, told.last) = (now, now);
            return;
        }
        let terminal = std::io::stderr().is_terminal();
        if let Some((elapsed, left)) = told.part(&part, now, terminal) {
            told.show(&part, elapsed, &left, terminal);
        }
    }
}

impl Told {
    /// Takes note of a part; since when its step goes on and how long it will, where that is to be told now.
    fn part(&mut self, part: &Part, now: Instant, terminal: bool) -> Option<(Duration, String)> {
        let at = self.open.iter().position(|(step, _)| *step == part.step);
        if part.done >= part.of {
            self.open.remove(at?);
            if at == Some(0)
                && let Some(bar) = self.bar.take()
            {
                bar.finish_and_clear();
            }
            return None;
        }
        let at = at.unwrap_or_else(|| {
            self.open.push((part.step.clone(), now));
            self.open.len() - 1
        });
        let elapsed = now - self.open[at].1;
        let due = match terminal {
            true => {
                let flickers = elapsed < FLICKER || FITTING.load(Ordering::Relaxed);
                now - self.since >= WORTH_TELLING && !flickers
            }
            false => now - self.last >= (self.last - self.since).clamp(WORTH_TELLING, BETWEEN),
        };
        if !due || at > 0 {
            return None;
        }
        self.last = now;
        // Of all that was done so far: parts are not of one length.
        let left = elapsed.as_secs_f64() / part.done as f64 * (part.of - part.done) as f64;
        let left = if left.is_finite() { format!(", about {:.0} s left", left.ceil()) } else { String::new() };
        Some((elapsed, left))
    }

    fn show(&mut self, part: &Part, elapsed: Duration, left: &str, terminal: bool) {
        if !terminal {
            let done = 100 * part.done / part.of;
            let _ = writeln!(std::io::stderr(), " INFO {}: {done} % done{left}", part.step);
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let template = "{prefix} {wide_bar:.cyan/blue} {percent} %  {elapsed}{msg}";
            bar(part.of, template, false).with_elapsed(elapsed).with_prefix(part.step.clone())
        });
        bar.set_message(left.to_owned());
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

impl Drop for Epochs {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use scgraft::cells::{HvgOptions, SimulateOptions, highly_variable, simulate};
    use scgraft::io::{ReadOptions, read_cells};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The steps that were told of.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<BTreeSet<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut part = Part::default();
            event.record(&mut part);
            self.0.lock().unwrap().insert(part.step);
        }
    }

    #[test]
    fn what_takes_long_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 1 1\n2 1 5\n");
        put("barcodes.tsv", "c1\n");
        put("features.tsv", "G1\nG2\n");
        let heard = Heard::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(heard.clone()), || {
            let options = SimulateOptions { n_reference: 60, n_query: 30, ..SimulateOptions::default() };
            let cells = simulate(&options).unwrap().reference;
            let Some(scgraft::cells::Matrix::Sparse(x)) = &cells.x else { panic!("counts are sparse") };
            highly_variable(x, None, &HvgOptions::default()).unwrap();
            read_cells(folder.path(), &ReadOptions::default()).unwrap();
        });
        let heard = heard.0.lock().unwrap();
        for step in ["drawing cells", "choosing variable genes", "reading values"] {
            assert!(heard.contains(step), "{step} is not among {heard:?}");
        }
    }

    #[test]
    fn silence_is_broken_by_the_outermost_step_ever_more_seldom() {
        let began = Instant::now();
        let mut told = Told { open: Vec::new(), bar: None, since: began, last: began };
        let mut said = Vec::new();
        let mut tell = |second: f64, step: &str, done: u64, of: u64| {
            let (now, part) = (began + Duration::from_secs_f64(second), Part { step: step.into(), done, of });
            if let Some((_, left)) = told.part(&part, now, false) {
                said.push(format!("{second}: {step} {done}/{of}{left}"));
            }
        };
        tell(0.0, "outer", 0, 20);
        for second in 0..20 {
            // None of these is long, or the outermost.
            tell(f64::from(second) + 0.1, "inner", 0, 2);
            tell(f64::from(second) + 0.6, "inner", 1, 2);
            tell(f64::from(second) + 0.9, "inner", 2, 2);
            tell(f64::from(second) + 1.0, "outer", second as u64 + 1, 20);
        }
        tell(20.0, "next", 0, 2);
        tell(40.0, "next", 1, 2);
        assert_eq!(
            said,
            [
                "2: outer 2/20, about 18 s left",
                "4: outer 4/20, about 16 s left",
                "8: outer 8/20, about 12 s left",
                "16: outer 16/20, about 4 s left",
                "40: next 1/2, about 20 s left",
            ]
        );
        // In a terminal a bar comes after the same silence, and not for a moment.
        let mut bars = Told { open: Vec::new(), bar: None, since: began, last: began };
        let mut shows = |second: f64, done: u64| {
            let part = Part { step: "step".into(), done, of: 9 };
            bars.part(&part, began + Duration::from_secs_f64(second), true).is_some()
        };
        assert_eq!(
            [(1.0, 0), (1.9, 1), (2.1, 2), (2.2, 3), (2.3, 9)].map(|(s, n)| shows(s, n)),
            [false, false, true, true, false]
        );
        assert_eq!([(3.0, 0), (3.1, 1), (3.3, 2)].map(|(s, n)| shows(s, n)), [false, false, true]);
    }
}
