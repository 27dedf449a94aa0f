//! Options that become settings of a model or of its training.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use scgraft::models::{ModelEntry, Training};
use scgraft::settings::complete;
use scgraft::train::{Anneal, Compat, EarlyStopping, MOST_EPOCHS, TrainConfig};
use serde_json::{Map, Value};

/// How a model is fitted.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Training")]
pub(crate) struct Fit {
    /// At most so many passes over the cells [default: as many as it takes: for expimap 80, or 2,000 steps and at most 400, for a query
    /// 600 steps]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Cells a step [default: 128]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Step size of Adam, at its largest [default: the model's; for expimap 0.002, for a query 0.1] [upstream: lr]
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f32>,
    /// L2 weight decay [default: the model's]
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f32>,
    /// Epochs over which the KL weight, and expimap's lasso, rise from 0 [default: the model's; for expimap nine tenths of
    /// all, at most 100] [upstream: alpha_epoch_anneal, n_epochs_kl_warmup]
    #[arg(long, value_name = "N")]
    pub kl_anneal: Option<usize>,
    /// Steps over which it rises, instead of epochs [upstream: n_steps_kl_warmup]
    #[arg(long, value_name = "N", conflicts_with = "kl_anneal")]
    pub kl_anneal_steps: Option<usize>,
    /// Share of the cells that trains; the others validate [default: 0.9]
    #[arg(long, value_name = "X")]
    pub train_fraction: Option<f64>,
    /// Stop after so many epochs without a better validation loss [default: the model's: 50, or all epochs]
    #[arg(long, value_name = "N", conflicts_with = "no_early_stopping")]
    pub patience: Option<usize>,
    /// Run all epochs on all cells and keep the last state
    #[arg(long)]
    pub no_early_stopping: bool,
    /// Draw as many cells of each condition, whatever its size [upstream: use_stratified_sampling]
    #[arg(long)]
    pub stratified: bool,
    /// For models that learn from labels: at most so many cells of each label an epoch [default: all] [upstream:
    /// n_samples_per_label]
    #[arg(long, value_name = "N")]
    pub samples_per_label: Option<usize>,
    /// Show the encoder a part of each training cell's counts, between this share and all of them, so that it does not
    /// depend on how deeply a study was sequenced; 1: all [default: the model's; for expimap 0.3]
    #[arg(long, value_name = "X")]
    pub thinning: Option<f64>,
    /// Reproduce the numerics of published code, with its settings where none are given
    #[arg(long, value_enum, value_name = "CODE")]
    pub compat: Option<Published>,
}

/// Published code.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Published {
    /// scArches 0.6.1
    Scarches,
}

impl Fit {
    /// The model's defaults for so many cells, with what the user says in their place.
    pub fn config(&self, ours: &Training, published: &Training, n_cells: usize, seed: u64) -> Result<TrainConfig> {
        let plain = TrainConfig::of(if self.compat.is_some() { published } else { ours }, n_cells);
        let anneal = self.kl_anneal.map(Anneal::Epochs).or(self.kl_anneal_steps.map(Anneal::Steps));
        let mut config = TrainConfig {
            epochs: self.epochs.unwrap_or(plain.epochs),
            batch_size: self.batch_size.unwrap_or(plain.batch_size),
            learning_rate: self.learning_rate.unwrap_or(plain.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(plain.weight_decay),
            anneal: anneal.unwrap_or(plain.anneal),
            train_fraction: self.train_fraction.unwrap_or(plain.train_fraction),
            stratified: self.stratified,
            samples_per_label: self.samples_per_label,
            seed,
            ..plain
        };
        if let Some(patience) = self.patience {
            config.early_stopping = Some(EarlyStopping { patience, ..config.early_stopping.unwrap_or_default() });
        }
        if self.no_early_stopping {
            config.early_stopping = None;
        }
        if let Some(least) = self.thinning {
            config.thinning = Some(least).filter(|&l| l != 1.0);
        }
        config.check().map_err(scgraft::Error::from)?;
        Ok(match self.compat {
            Some(Published::Scarches) => config.compatible(Compat::Scarches),
            None => config,
        })
    }
}

/// Refuses epochs that are none, or more than a fit may have.
pub(crate) fn refuse_epochs(option: &str, epochs: Option<usize>) -> Result<()> {
    match epochs {
        Some(n) if !(1..=MOST_EPOCHS).contains(&n) => bail!("{option} {n}: expected 1 to 1,000,000"),
        _ => Ok(()),
    }
}

/// Under `--compat`, the published settings of a model where the user has not said otherwise.
pub(crate) fn published(compat: Option<Published>, entry: &ModelEntry, settings: &mut Value) {
    if let Some(Published::Scarches) = compat {
        complete(settings, (entry.published_settings)());
    }
}

/// Weights of a loss, and anything else a model can be told.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub(crate) struct Weights {
    /// Weight of the KL term [default: the model's; for expimap 0.5, in mapping 0.1] [upstream: alpha_kl]
    #[arg(long, value_name = "X")]
    pub kl_weight: Option<f32>,
    /// Weight of L1 outside soft gene sets [default: 0.9] [upstream: alpha_l1]
    #[arg(long, value_name = "X")]
    pub l1_weight: Option<f32>,
    /// Any other setting of the model; VALUE is JSON or text. May be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Weights {
    /// The settings given, by name; those of `more` first, so that `--set` wins.
    pub fn settings(&self, more: Vec<(&str, Option<Value>)>) -> Result<Value> {
        let mut out = Map::new();
        let own = [("kl_weight", self.kl_weight.map(Value::from)), ("l1_weight", self.l1_weight.map(Value::from))];
        for (name, value) in more.into_iter().chain(own).filter_map(|(name, value)| Some((name, value?))) {
            // What JSON cannot hold became null.
            if value.is_null() {
                bail!("--{}: expected a finite number", name.replace('_', "-"));
            }
            if let Some(v) = value.as_f64().filter(|v| *v < 0.0) {
                bail!("--{} {v}: expected 0 or a number above it", name.replace('_', "-"));
            }
            out.insert(name.to_owned(), value);
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set {pair}: expected KEY=VALUE, such as --set dropout=0.1");
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            out.insert(key.trim().to_owned(), value);
        }
        Ok(out.into())
    }
}
