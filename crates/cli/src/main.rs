//! The command line of scgraft: the subcommands, one file each, and what they share.
//!
//! Exit codes: 0 done; 1 an error in data, settings or files; 2 wrong usage; 130 stopped by Ctrl-C. Results and
//! `--json` summaries go to standard output, everything else to standard error.

mod annotate;
mod beside;
mod bundle;
mod card;
mod cluster;
mod demo;
mod differential;
mod direction;
#[cfg(test)]
mod documented;
mod encode;
mod enrich;
mod evaluate;
mod export;
mod expression;
mod files;
mod fitted;
mod help;
mod import;
mod input;
mod inspect;
mod join;
mod label_map;
mod likelihood;
mod list;
mod map;
mod markers;
mod models;
mod near;
mod output;
mod pca;
mod plot;
mod predict;
mod programs;
mod progress;
mod proteins;
mod pull;
mod push;
mod remedy;
mod remote;
mod report;
mod settings;
mod simulate;
mod stop;
mod train;
mod trial;
mod umap;

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use output::Output;

const AFTER: &str = "\
A whole analysis:
  scgraft train reference.h5ad --programs reactome.gmt --condition study -o reference.scgraft --embed reference_out.h5ad
  scgraft map reference.scgraft query.h5ad --condition-name Kang -o mapped.h5ad
  scgraft annotate reference_out.h5ad mapped.h5ad --labels cell_type
  scgraft enrich mapped.h5ad --groups condition --versus control
  scgraft report mapped.h5ad --reference reference_out.h5ad -o report.html

Exit codes: 0 done; 1 an error in data, settings or files; 2 wrong usage; 130 stopped by Ctrl-C.
Results and --json summaries go to standard output, progress and messages to standard error.";

#[derive(Parser)]
#[command(name = "scgraft", version, about = "Interpretable single-cell reference mapping", after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options of every subcommand.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Seed of everything random [default: 2020; of simulated data 0]
    #[arg(long, global = true, value_name = "N", help_heading = "Common options")]
    pub seed: Option<u64>,
    /// Threads; 0 uses all cores. Results do not depend on it
    #[arg(long, global = true, default_value_t = 0, value_name = "N", help_heading = "Common options")]
    pub threads: usize,
    /// Say nothing but errors and results
    #[arg(long, short, global = true, help_heading = "Common options")]
    pub quiet: bool,
    /// Print one JSON object with the results instead of tables
    #[arg(long, global = true, help_heading = "Common options")]
    pub json: bool,
    /// Use what was fetched before, and no network
    #[arg(long, global = true, help_heading = "Common options")]
    pub offline: bool,
    /// Say more
    #[arg(long, short, global = true, help_heading = "Common options")]
    pub verbose: bool,
    /// Leave out what cannot be kept of a file that is written again, rather than stop
    #[arg(long, global = true, help_heading = "Common options")]
    pub drop_unreadable: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The whole job on simulated data with planted truth: what was planted, what is found
    Demo(demo::Demo),
    /// Train a reference
    Train(train::Train),
    /// Read a model of scvi-tools or scArches
    Import(import::Import),
    /// Write a model as scvi-tools loads it
    Export(export::Export),
    /// Fetch a model or an adaptor from Zenodo, Hugging Face or a server
    Pull(pull::Pull),
    /// Say what a record of Zenodo or a repository of Hugging Face holds
    List(list::List),
    /// Write the card of a model or an adaptor
    Card(card::Card),
    /// Send models and adaptors to Zenodo or Hugging Face, with a card
    Push(push::Push),
    /// Make the cells of a reference, without their counts, a part of its model
    Bundle(bundle::Bundle),
    /// Map queries onto a reference
    Map(map::Map),
    /// Carry labels of the reference over to mapped cells
    Annotate(annotate::Annotate),
    /// Put a query and its reference into one file
    Join(join::Join),
    /// Label cells with the classifier of a model that has one
    Predict(predict::Predict),
    /// Test which gene programs differ between groups of cells
    Enrich(enrich::Enrich),
    /// Test which genes differ between groups of cells, by the model
    Differential(differential::Differential),
    /// Decode cells: normalised expression, or draws of the data
    Expression(expression::Expression),
    /// Reconstruction error, ELBO and marginal likelihood of cells
    Likelihood(likelihood::Likelihood),
    /// Rank marker genes of groups of cells
    Markers(markers::Markers),
    /// Principal components of log-normalised expression
    Pca(pca::Pca),
    /// Cluster cells
    Cluster(cluster::Cluster),
    /// Lay cells out in the plane, or place a query in its reference's picture
    Umap(umap::UmapCommand),
    /// Compare embeddings by integration and mapping metrics
    Evaluate(evaluate::Evaluate),
    /// Try how a choice matters: train and map again and again, one thing varied
    Trial(trial::Trial),
    /// List the gene programs of a model, their directions and genes
    Programs(programs::Programs),
    /// Say what a file holds: a model, an adaptor, an h5ad
    Inspect(inspect::Inspect),
    /// List the base models
    Models(models::Models),
    /// Denoise and impute proteins, with their foreground probability
    Proteins(proteins::Proteins),
    /// Draw a picture (PNG or SVG)
    Plot(plot::Plot),
    /// Write an HTML report
    Report(report::Report),
    /// Write a simulated reference and query with planted truth
    Simulate(simulate::Simulate),
}

/// Default seed of training.
const SEED: u64 = 2020;

impl Global {
    /// The seed of training.
    pub fn train_seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }
}

/// Parses the command line, runs the subcommand, prints what went wrong.
fn main() -> ExitCode {
    let matches = help::fitted(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let global = cli.global.clone();
    output::start_log(&global);
    if global.drop_unreadable {
        files::drop_unreadable();
    }
    remote::start(&global);
    if let Err(error) = stop::listen() {
        tracing::warn!("Ctrl-C will end the program at once: {error}");
    }
    let mut out = Output::new(&global);
    let work = || dispatch(cli.command, &global, &mut out);
    let done = scgraft::train::with_threads(global.threads, work).map_err(anyhow::Error::from).and_then(|r| r);
    let done = done.and_then(|()| out.finish());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::complain(&error),
    }
}

fn dispatch(command: Command, global: &Global, out: &mut Output) -> anyhow::Result<()> {
    match command {
        Command::Demo(c) => c.run(global, out),
        Command::Train(c) => c.run(global, out),
        Command::Import(c) => c.run(global, out),
        Command::Export(c) => c.run(global, out),
        Command::Pull(c) => c.run(global, out),
        Command::List(c) => c.run(global, out),
        Command::Card(c) => c.run(global, out),
        Command::Push(c) => c.run(global, out),
        Command::Bundle(c) => c.run(global, out),
        Command::Map(c) => c.run(global, out),
        Command::Annotate(c) => c.run(global, out),
        Command::Join(c) => c.run(global, out),
        Command::Predict(c) => c.run(global, out),
        Command::Differential(c) => c.run(global, out),
        Command::Expression(c) => c.run(global, out),
        Command::Likelihood(c) => c.run(global, out),
        Command::Enrich(c) => c.run(global, out),
        Command::Markers(c) => c.run(global, out),
        Command::Pca(c) => c.run(global, out),
        Command::Cluster(c) => c.run(global, out),
        Command::Umap(c) => c.run(global, out),
        Command::Evaluate(c) => c.run(global, out),
        Command::Trial(c) => c.run(global, out),
        Command::Programs(c) => c.run(global, out),
        Command::Inspect(c) => c.run(global, out),
        Command::Models(c) => c.run(global, out),
        Command::Proteins(c) => c.run(global, out),
        Command::Plot(c) => c.run(global, out),
        Command::Report(c) => c.run(global, out),
        Command::Simulate(c) => c.run(global, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
