//! Models by address, and what is said when there is none.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use super::{Run, WORLD, command};

/// A server of the world's files.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                text.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let name = text.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let (status, body) = match std::fs::read(WORLD.folder.join(&name)) {
                Ok(body) => (200, body),
                Err(_) => (404, Vec::new()),
            };
            let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

fn run(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = command(folder, arguments);
    for name in ["ZENODO_TOKEN", "HF_TOKEN", "SCGRAFT_OFFLINE", "HF_ENDPOINT", "SSL_CERT_FILE"] {
        command.env_remove(name);
    }
    command.env("SCGRAFT_CACHE", folder.join("cache"));
    Run::of(command.env("SCGRAFT_ZENODO_URL", "http://127.0.0.1:9").env("SCGRAFT_HF_URL", "http://127.0.0.1:9"))
}

#[test]
fn an_address_does_as_well_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let address = format!("{}/reference.scgraft", serve());
    let own = WORLD.folder.join("reference.scgraft");
    let by_file = run(here, &["inspect", own.to_str().unwrap(), "--json"]).good().json();
    let by_address = run(here, &["inspect", &address, "--json"]).good().json();
    assert_eq!(by_file["reference"], by_address["reference"]);
    run(here, &["programs", &address]).good();
    // What was fetched is enough.
    run(here, &["programs", &address, "--offline"]).good();
    let pulled = run(here, &["pull", &address, "--json"]).good().json();
    assert_eq!(std::fs::read(here.join("reference.scgraft")).unwrap(), std::fs::read(own).unwrap());
    let pinned = pulled["pinned"].as_str().unwrap();
    assert!(pinned.contains("#sha256="), "{pinned}");
    run(here, &["pull", pinned, "--offline", "-o", "again.scgraft"]).good();
    run(here, &["list", &address]).good();
}

#[test]
fn what_cannot_be_fetched_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let url = serve();
    run(here, &["inspect", &format!("{url}/none.scgraft")]).says(&["404", "check the address"]);
    run(here, &["inspect", "zenodo:atlas"]).says(&["zenodo:atlas", "number of a record"]);
    run(here, &["programs", "hf:lab/atlas", "--offline"]).says(&[
        "hf:lab/atlas",
        "not in the cache",
        "run once with the network",
    ]);
    run(here, &["pull", "atlas.scgraft"]).says(&["addresses are"]);
    run(here, &["programs", &format!("{url}/reference.h5ad")]).says(&[&url, "HDF5"]);
}

#[test]
fn a_card_and_what_a_push_wants() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::copy(WORLD.folder.join("reference.scgraft"), here.join("atlas.scgraft")).unwrap();
    let words = ["--title", "Tiny", "--author", "Curie, Marie", "--metric", "accuracy=0.7", "--licence", "CC-BY-4.0"];
    let with = |first: &[&'static str]| -> Vec<&'static str> { first.iter().copied().chain(words).collect() };
    let card = run(here, &with(&["card", "atlas.scgraft"])).good().stdout;
    for part in ["license: \"cc-by-4.0\"", "# Tiny", "accuracy: 0.7", "scgraft pull hf:LAB/NAME/atlas.scgraft"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    run(here, &with(&["card", "atlas.scgraft", "-o", "README.md"])).good();
    assert!(here.join("README.md").exists());
    run(here, &["card", "README.md"]).says(&["none of these files is a model"]);
    run(here, &with(&["push", "atlas.scgraft", "--to", "zenodo"])).says(&["ZENODO_TOKEN", "deposit:write"]);
    run(here, &with(&["push", "atlas.scgraft", "--to", "hf:lab/atlas"])).says(&["HF_TOKEN"]);
    run(here, &["push", "atlas.scgraft", "--to", "hf:lab/atlas"]).says(&["licence"]);
    run(here, &with(&["push", "atlas.scgraft", "--to", "nowhere"])).says(&["zenodo:RECORD"]);
    run(here, &with(&["push", "atlas.scgraft", "--to", "hf:lab/atlas", "--draft"])).says(&["--private"]);
}
