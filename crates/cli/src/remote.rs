//! Models and adaptors by address: wherever one is named, an address does as well as a file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use scgraft::hub::{Address, Fetched, Hub, Progress, Settings};
use scgraft::models::{Adaptor, Model};

use super::{Global, files, progress, stop};

/// What the command line says of the network.
static WAY: OnceLock<Way> = OnceLock::new();

#[derive(Clone, Copy, Default)]
struct Way {
    offline: bool,
    quiet: bool,
}

/// Takes note of the options that concern the network.
pub(crate) fn start(global: &Global) {
    // Set once, before anything is read.
    let _ = WAY.set(Way { offline: global.offline, quiet: global.quiet });
}

/// The way to the services.
pub(crate) fn hub() -> Result<Hub> {
    let mut settings = Settings::from_env()?;
    settings.offline |= way().offline;
    Ok(Hub::new(settings)?)
}

fn way() -> Way {
    WAY.get().copied().unwrap_or_default()
}

/// The address that stands where a file could.
pub(crate) fn address(path: &Path) -> Result<Option<Address>> {
    Ok(path.to_str().map_or(Ok(None), Address::parse)?)
}

/// Refuses what is neither a file that is there nor an address.
pub(crate) fn check_input(path: &Path) -> Result<()> {
    if address(path)?.is_some() { Ok(()) } else { files::check_input(path) }
}

/// Fetches a file by its address.
pub(crate) fn fetch(address: &Address) -> Result<Fetched> {
    let mut bar = Bar::new();
    let fetched = hub()?.fetch(address, &mut |p| bar.look(p))?;
    drop(bar);
    let from = if fetched.from_cache { "in the cache" } else { "fetched" };
    tracing::info!("{address}: {} ({} bytes), {from}", fetched.pinned, fetched.bytes);
    Ok(fetched)
}

/// The file itself, or what an address names.
pub(crate) fn file(path: &Path) -> Result<PathBuf> {
    match address(path)? {
        Some(address) => Ok(fetch(&address)?.path),
        None => Ok(path.to_owned()),
    }
}

/// Loads a model by its file or address.
pub(crate) fn model(path: impl AsRef<Path>) -> Result<Model> {
    load(path.as_ref(), |p| Model::load(p))
}

/// Loads a model with adaptors, each by its file or address.
pub(crate) fn attached(path: &Path, adaptors: &[PathBuf]) -> Result<Model> {
    let model = model(path)?;
    let adaptors = adaptors.iter().map(|path| load(path, |p| Adaptor::load(p))).collect::<Result<Vec<_>>>()?;
    if adaptors.is_empty() { Ok(model) } else { Ok(model.attach(&adaptors)?) }
}

fn load<T, E>(path: &Path, load: impl FnOnce(&Path) -> Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match address(path)? {
        // An error names the file in the cache, which says nothing to who gave an address.
        Some(address) => load(&fetch(&address)?.path).with_context(|| address.to_string()),
        None => Ok(load(path)?),
    }
}

/// How long nothing may come before that is said.
const SILENT: Duration = Duration::from_secs(5);

/// A bar over the bytes that come or go; hidden when quiet or when standard error is no terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    told: Option<String>,
}

impl Bar {
    pub fn new() -> Bar {
        let template = "{prefix} {wide_bar:.cyan/blue} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}";
        let bar = progress::bar(0, template, way().quiet);
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar { bar, told: None }
    }

    /// Told of every step; stops the work when the user asked to.
    pub fn look(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        match progress {
            Progress::Receiving { name, done, total } => self.set(name, *done, *total),
            Progress::Sending { name, done, total } => self.set(name, *done, Some(*total)),
            Progress::Checking { name, done } => self.set(name, *done, None),
            Progress::Silent { place, since } if *since >= SILENT => {
                self.bar.set_message(format!("nothing for {} s", since.as_secs()));
                self.say("", || format!("{place}: nothing has come for {} s; still waiting", since.as_secs()));
            }
            Progress::Silent { .. } => {}
            Progress::Waiting { why, left } => {
                self.bar.set_message(format!("{why}; again in {} s", left.as_secs()));
                if left.as_secs() > 1 {
                    self.say(why, || format!("{why}; again in {} s", left.as_secs()));
                }
            }
            _ => {}
        }
        if stop::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Says something once in a row.
    fn say(&mut self, what: &str, text: impl FnOnce() -> String) {
        if self.told.as_deref() != Some(what) {
            tracing::info!("{}", text());
            self.told = Some(what.to_owned());
        }
    }

    fn set(&mut self, name: &str, done: u64, total: Option<u64>) {
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message("");
        self.bar.set_length(total.unwrap_or(done));
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
