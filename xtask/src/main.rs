//! The project's own chores: `cargo xtask <chore>`.

#![allow(clippy::print_stdout)]

mod analysis;
mod arrival;
mod bench;
mod data;
mod defaults;
mod floor;
mod mapping;
mod novelty;
mod proteins;
mod quality;
mod times;
mod wasm;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    /// Folder of the real data [default: SCGRAFT_DATA, or ../shared/data]
    #[arg(long, global = true)]
    data: Option<std::path::PathBuf>,
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Metrics, neighbours, clusters, UMAP and label transfer beside the Python packages.
    Analysis(analysis::Options),
    /// Whether default runs arrive: references and queries of several sizes, beside long runs.
    Arrival(arrival::Options),
    /// Speed of the main job and of every base model, beside the peers whose Python is given, and beside the floor.
    Bench(bench::Options),
    /// What a user gets with defaults: labels and interferon programs, on several pairs of reference and query.
    Defaults(defaults::Options),
    /// A base model on real data, beside the published code: reconstruction, label accuracy, speed.
    Mapping(mapping::Options),
    /// Whether unknown means unknown: types and studies held out of the reference.
    Novelty(novelty::Options),
    /// totalVI on real CITE-seq data beside scvi-tools: hidden proteins imputed.
    Proteins(proteins::Options),
    /// Results on real PBMC data: interferon programs, label transfer, new programs.
    Quality(quality::Options),
    /// Whether every library builds for the browser.
    Wasm(wasm::Options),
}

fn main() -> anyhow::Result<()> {
    let Cli { data, chore } = Cli::parse();
    let folder = data::folder(data);
    match chore {
        Chore::Analysis(options) => analysis::run(&options, &folder),
        Chore::Arrival(options) => arrival::run(&options, &folder),
        Chore::Bench(options) => bench::run(&options, &folder),
        Chore::Defaults(options) => defaults::run(&options, &folder),
        Chore::Mapping(options) => mapping::run(&options, &folder),
        Chore::Novelty(options) => novelty::run(&options, &folder),
        Chore::Proteins(options) => proteins::run(&options, &folder),
        Chore::Quality(options) => quality::run(&options, &folder),
        Chore::Wasm(options) => wasm::run(&options),
    }
}
