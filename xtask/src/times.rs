//! Seconds of our work beside the published code's and beside the floor.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use scgraft_cells::Prepared;
use scgraft_models::Model;
use scgraft_train::{FitReport, Quiet, TrainConfig, fit};
use serde_json::Value;

use crate::floor;

/// A piece of work: our seconds, what it needs at least on one thread, the peer's seconds.
#[derive(Clone, Copy)]
pub struct Time {
    pub what: &'static str,
    pub seconds: f64,
    pub floor: Option<f64>,
    pub peer: Option<f64>,
}

impl Time {
    /// Without a floor.
    pub fn of(what: &'static str, seconds: f64) -> Self {
        Time { what, seconds, floor: None, peer: None }
    }

    /// Beside the figure that the peer's report has at `pointer`.
    pub fn beside(self, peer: Option<&Value>, pointer: &str) -> Result<Self> {
        let figure = |p: &Value| {
            p.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer} from the peer: {p}"))
        };
        Ok(Time { peer: peer.map(figure).transpose()?, ..self })
    }
}

/// Prints a table; the floor is one thread's, so the time of all threads is held against it.
pub fn print(of: &str, threads: usize, times: &[Time]) {
    println!("\n| {of} | scgraft | peer | ratio | of the floor |\n|---|---|---|---|---|");
    for t in times {
        let (peer, ratio) =
            t.peer.map_or(("–".into(), "–".into()), |p| (format!("{p:.3} s"), format!("{:.1}×", p / t.seconds)));
        let floor = t.floor.map_or_else(|| "–".into(), |f| format!("{:.2}×", t.seconds * threads as f64 / f));
        println!("| {} | {:.3} s | {peer} | {ratio} | {floor} |", t.what, t.seconds);
    }
}

/// What a fit took.
pub struct Fitted {
    /// Of an epoch.
    pub time: Time,
    /// Highest resident memory; 0 where the system does not say.
    pub peak_bytes: u64,
    pub report: FitReport,
}

/// Fits, and tells what it took.
pub fn timed_fit(what: &'static str, model: &mut Model, data: &Prepared, config: &TrainConfig) -> Result<Fitted> {
    reset_peak();
    let start = Instant::now();
    let report = fit(model, data, config, &mut Quiet)?;
    let seconds = start.elapsed().as_secs_f64() / report.epochs as f64;
    let peak_bytes = peak();
    let steps = report.steps as f64 / report.epochs as f64;
    let floor = steps * floor::step_of_epoch(model, data, config).seconds(floor::measure());
    Ok(Fitted { time: Time { floor: Some(floor), ..Time::of(what, seconds) }, peak_bytes, report })
}

/// Starts the high-water mark of memory anew, as far as Linux lets us.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Highest resident memory since [`reset_peak`], in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// What a script of tools/peers prints.
pub fn peer(python: &Path, script: &str, data: &Path, arguments: &[(&str, String)]) -> Result<Value> {
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/peers")).join(script);
    let output = Command::new(python)
        .arg(script)
        .arg(data)
        .args(arguments.iter().flat_map(|(name, value)| [*name, value]).filter(|a| !a.is_empty()))
        .output()
        .with_context(|| format!("running {}", python.display()))?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
