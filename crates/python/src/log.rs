//! What the library has to say, for Python's logging.

use std::fmt::Write;
use std::sync::Mutex;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Said, and not yet passed on: Python's level, the words.
static SAID: Mutex<Vec<(u8, String)>> = Mutex::new(Vec::new());

/// Keeps what is said until Python may be called.
struct Listener;

#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            "settings" => {
                let lines = format!("{value:?}");
                let settings =
                    lines.lines().map(|l| l.split_once('=').map_or((l, None), |(name, value)| (name, Some(value))));
                self.0.write_str(&crate::error::arguments(settings))
            }
            name => write!(self.0, " {name}={value:?}"),
        };
        written.unwrap_or_default();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = ["scgraft", "_native"].iter().any(|name| metadata.target().starts_with(name));
        *metadata.level() <= Level::INFO && ours
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        if let Ok(mut said) = SAID.lock() {
            said.push((level, words.0));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Listens from now on.
pub fn start() {
    // Fails where someone in this process listens already; then nothing is passed on.
    tracing::subscriber::set_global_default(Listener).unwrap_or_default();
}

/// Passes on what was said since the last time, to the logger `scgraft`.
pub fn pass_on(py: Python<'_>) -> PyResult<()> {
    let said = match SAID.lock() {
        Ok(mut said) if !said.is_empty() => std::mem::take(&mut *said),
        _ => return Ok(()),
    };
    let logger = py.import("logging")?.call_method1("getLogger", ("scgraft",))?;
    for (level, words) in said {
        logger.call_method1("log", (level, "%s", words))?;
    }
    Ok(())
}
