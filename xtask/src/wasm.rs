//! Do the libraries build for the browser?

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

/// The libraries; the command line and the language packages are none.
const LIBRARIES: [&str; 10] = [
    "scgraft-numeric",
    "scgraft-engine",
    "scgraft-cells",
    "scgraft-io",
    "scgraft-models",
    "scgraft-hub",
    "scgraft-train",
    "scgraft-analysis",
    "scgraft-report",
    "scgraft",
];

/// Options of the check.
#[derive(Args)]
pub struct Options {
    /// What cargo needs besides, where the target's standard library is not installed (`-Z build-std=std,panic_abort`).
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Builds every library crate for `wasm32-unknown-unknown`, without the network.
pub fn run(options: &Options) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--target", "wasm32-unknown-unknown", "--no-default-features"]).args(&options.cargo);
    LIBRARIES.iter().for_each(|name| {
        cargo.args(["--package", name]);
    });
    let status = cargo.status().context("cargo could not be started")?;
    ensure!(
        status.success(),
        "not every library builds for wasm32-unknown-unknown (`rustup target add wasm32-unknown-unknown` installs the target)"
    );
    println!("{} libraries build for wasm32-unknown-unknown", LIBRARIES.len());
    Ok(())
}
