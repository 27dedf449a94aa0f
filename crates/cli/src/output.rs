//! What is said, and where: results to standard output, all else to standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use scgraft::cells::STEPS;
use serde_json::{Map, Value};
use terminal_size::{Height, Width, terminal_size_of};
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::help::broken;
use super::progress::{self, Bars};
use super::remedy::{options, remedy};
use super::{Global, stop};

/// Collects results: text for people, or one JSON object.
pub(crate) struct Output {
    json: bool,
    summary: Map<String, Value>,
    text: String,
    /// Columns of the terminal that it is shown in; `None` where it goes elsewhere.
    width: Option<usize>,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        let width = columns(terminal_size_of(std::io::stdout()));
        Output { json: global.json, summary: Map::new(), text: String::new(), width }
    }

    /// An entry of the JSON summary.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.summary.insert(name.to_owned(), value.into());
    }

    /// A line of text; one that is wider than the terminal goes on below, a little to the right.
    pub fn line(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        for line in text.split('\n') {
            self.text.push_str(&self.width.map_or_else(|| line.to_owned(), |width| folded(line, width)));
            self.text.push('\n');
        }
    }

    /// A table: columns as wide as their widest entry, numbers to the right. Where that is wider than the terminal, the widest
    /// are cut.
    pub fn table<'a, R: AsRef<[String]>>(&mut self, header: impl AsRef<[&'a str]>, rows: &[R]) {
        let header = header.as_ref();
        let width = |j: usize| {
            let entries = rows.iter().map(|r| shown(&r.as_ref()[j]).replace('\n', "\\u{a}").chars().count());
            entries.chain([header[j].chars().count()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..header.len()).map(width).collect();
        if let Some(terminal) = self.width {
            narrow(&mut widths, terminal);
        }
        let number = |t: &str| t.is_empty() || t == "–" || t.trim_start_matches('≥').parse::<f64>().is_ok();
        let numeric: Vec<bool> =
            (0..header.len()).map(|j| !rows.is_empty() && rows.iter().all(|r| number(&r.as_ref()[j]))).collect();
        let mut put = |cells: &dyn Fn(usize) -> String| {
            let mut line = String::new();
            for j in 0..header.len() {
                let cell = cut(cells(j), widths[j], j + 1 == header.len());
                let pad = " ".repeat(widths[j] - cell.chars().count());
                let (before, after) = if numeric[j] { (pad, String::new()) } else { (String::new(), pad) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        };
        put(&|j| header[j].to_owned());
        put(&|j| "─".repeat(widths[j]));
        rows.iter().for_each(|row| put(&|j| shown(&row.as_ref()[j]).replace('\n', "\\u{a}")));
    }

    /// Prints everything.
    pub fn finish(self) -> Result<()> {
        let text = if self.json {
            let text = serde_json::to_string_pretty(&Value::Object(self.summary))?;
            // Within strings JSON has another way to write what steers a terminal, and it stands nowhere else.
            format!("{}\n", without_steering(&text, |c| format!("\\u{:04x}", u32::from(c))))
        } else {
            shown(&self.text)
        };
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader has what it wanted: `scgraft … | head`.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Columns that lines are broken at in a terminal of that size; `None` where there is none.
fn columns(terminal: Option<(Width, Height)>) -> Option<usize> {
    terminal.map(|(width, _)| usize::from(width.0).max(40))
}

/// Makes the widest columns narrower, down to 16, until all stand in so many with two between.
fn narrow(widths: &mut [usize], most: usize) {
    while widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1) > most
        && let Some(widest) = widths.iter_mut().max().filter(|w| **w > 16)
    {
        *widest -= 1;
    }
}

/// A text in so many columns, cut at its end or in its middle.
fn cut(text: String, width: usize, at_end: bool) -> String {
    let n = text.chars().count();
    if n <= width {
        return text;
    }
    let tail = if at_end { 0 } else { (width - 1) / 2 };
    let head = text.chars().take(width - 1 - tail);
    head.chain(['…']).chain(text.chars().skip(n - tail)).collect()
}

/// A line, which goes on below, a little to the right, where it is wider than that.
fn folded(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let words = line.trim_start();
    let indent = &line[..line.len() - words.len()];
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let mut lines = Vec::new();
    broken(&words, (indent, &format!("{indent}  "), ""), width, &mut lines);
    lines.join("\n")
}

/// Standard error: long messages go on below, and bars make way.
struct Folded(std::io::Stderr);

/// Between the level of a message and its words, where it has colours.
const LEVEL_ENDS: &str = "\u{1b}[0m ";

impl Write for Folded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let folded = match (columns(terminal_size_of(&self.0)), text.split_once(LEVEL_ENDS)) {
            (Some(width), Some((level, words))) => {
                // The level stands in the first six columns.
                let words: Vec<String> =
                    words.trim_end().lines().map(|l| folded(&format!("      {l}"), width)).collect();
                format!("{level}{LEVEL_ENDS}{}\n", words.join("\n").trim_start())
            }
            _ => text.into_owned(),
        };
        progress::beside(|| self.0.write_all(folded.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Messages go to standard error.
pub(crate) fn start_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let messages = tracing_subscriber::fmt::layer()
        .with_writer(|| Folded(std::io::stderr()))
        .fmt_fields(debug_fn(field))
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_filter(filter_fn(move |event| *event.level() <= level && event.target() != STEPS));
    let bars = (!global.quiet).then(|| {
        let heard = filter_fn(move |event| event.target() == STEPS || *event.level() <= level);
        Bars::default().with_filter(heard)
    });
    tracing_subscriber::registry().with(messages).with(bars).init();
}

/// A field of a message; settings that would help become options.
fn field(to: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    match field.name() {
        "message" => to.write_str(&shown(&format!("{value:?}"))),
        "settings" => {
            let lines = format!("{value:?}");
            let settings =
                lines.lines().map(|l| l.split_once('=').map_or((l, None), |(name, value)| (name, Some(value))));
            to.write_str(&options(settings))
        }
        name => write!(to, " {name}={}", shown(&format!("{value:?}"))),
    }
}

/// Says what went wrong and gives the exit code.
pub(crate) fn complain(error: &anyhow::Error) -> ExitCode {
    let interrupted = stop::asked()
        && error.chain().any(|e| e.is::<stop::Stopped>() || matches!(e.downcast_ref(), Some(scgraft::Error::Stopped)));
    let text = if interrupted { stop::Stopped.to_string() } else { told(error) };
    // Nothing is left to do when even this cannot be written.
    let _ = writeln!(std::io::stderr(), "error: {}", shown(&text));
    ExitCode::from(if interrupted { stop::INTERRUPTED } else { 1 })
}

/// A text with the characters that steer a terminal shown rather than sent: names in files can hold them.
pub(crate) fn shown(text: &str) -> String {
    without_steering(text, |c| c.escape_unicode().to_string())
}

/// A text with other words for the characters that steer a terminal.
fn without_steering(text: &str, words: impl Fn(char) -> String) -> String {
    let steers =
        |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if steers(c) {
            out.push_str(&words(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// The error and its causes, each once.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if let Some(error) = error.chain().find_map(|e| e.downcast_ref()) {
        text.push_str(&remedy(error));
    }
    text
}

/// A number with so many digits after the point; `–` for none.
pub(crate) fn fixed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        _ if !value.is_finite() => "–".to_owned(),
        Some(zero) if zero.chars().all(|c| matches!(c, '0' | '.')) => zero.to_owned(),
        _ => text,
    }
}

/// An arrow for a direction.
pub(crate) fn arrow(direction: i8) -> String {
    match direction {
        1.. => "up",
        0 => "?",
        ..0 => "down",
    }
    .to_owned()
}

/// A finite number as JSON, or null.
pub(crate) fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_wider_than_the_terminal_goes_on_below() {
        let mut out = Output { json: false, summary: Map::new(), text: String::new(), width: Some(20) };
        out.line("  one two three four five\nshort");
        assert_eq!(out.text, "  one two three four\n    five\nshort\n");
        out.width = None;
        out.text.clear();
        out.line("one two three four five six seven");
        assert_eq!(out.text, "one two three four five six seven\n");
    }

    #[test]
    fn a_table_wider_than_the_terminal_is_cut_where_it_is_widest() {
        let mut out = Output { json: false, summary: Map::new(), text: String::new(), width: Some(50) };
        let row = |name: &str, genes: &str| [name.to_owned(), "1.25".to_owned(), genes.to_owned()];
        let rows = [row("A_LONG_NAME_OF_A_GENE_PROGRAM", "ISG15 IFIT3 IFIT1 MX1 OAS1"), row("B", "CD3D")];
        out.table(["program", "weight", "genes"], &rows);
        let lines: Vec<&str> = out.text.lines().collect();
        assert_eq!(lines[2], "A_LONG_NAM…E_PROGRAM    1.25  ISG15 IFIT3 IFIT1 M…");
        assert_eq!(lines[3], "B                       1.25  CD3D");
        assert!(lines.iter().all(|line| line.chars().count() <= 50), "{}", out.text);
        out.width = None;
        out.text.clear();
        out.table(["program", "weight", "genes"], &rows);
        assert!(out.text.contains("A_LONG_NAME_OF_A_GENE_PROGRAM    1.25  ISG15 IFIT3 IFIT1 MX1 OAS1\n"));
    }
}
