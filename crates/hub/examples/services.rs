//! Zenodo and Hugging Face as the tests have them, on this machine, to try `scgraft push`, `list` and `pull` on:
//! `cargo run -p scgraft-hub --example services` prints what goes into the environment, and serves until it is stopped.

#[path = "../tests/server/mod.rs"]
mod server;

#[allow(clippy::print_stdout)]
fn main() {
    let (zenodo, _records) = server::zenodo::start();
    let hub = server::huggingface::start();
    println!("export SCGRAFT_ZENODO_URL={} ZENODO_TOKEN={}", zenodo.url, server::zenodo::TOKEN);
    println!("export SCGRAFT_HF_URL={} HF_TOKEN={}", hub.api.url, server::huggingface::TOKEN);
    loop {
        std::thread::park();
    }
}
