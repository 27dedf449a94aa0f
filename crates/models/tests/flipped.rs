//! One bit of a file flipped, wherever it is: the file is refused.

use scgraft_cells::{Column, Dense, Frame, Known};
use scgraft_models::{Adaptor, Header, Model, Newcomers, ReferenceCells, Surgery};

/// A model with its cells, and an adaptor of it.
fn files() -> (Vec<u8>, Vec<u8>) {
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect();
    let known = Known { genes: names("G", 6), conditions: names("study_", 2), ..Known::default() };
    let settings = serde_json::json!({ "hidden": [3], "latent": 2 });
    let mut model = Model::new("scvi", &settings, Header { known, ..Header::default() }, 7).unwrap();
    let grafted = model.surgery(&Surgery::adaptor("query"), &Newcomers::of(["new"]), 1).unwrap();
    let adaptor = grafted.adaptors(&model.reference_hash()).unwrap().remove(0).to_bytes().unwrap();
    let mut obs = Frame::new(names("cell", 3));
    obs.set("type", Column::categorical(&["T", "B", "T"]));
    model.cells = Some(ReferenceCells::new(obs, &Dense::new(3, 2, vec![0.5; 6]), None, None).unwrap());
    (model.to_bytes().unwrap(), adaptor)
}

#[test]
fn no_flipped_bit_is_read() {
    let (model, adaptor) = files();
    Model::from_bytes(&model).unwrap();
    Adaptor::from_bytes(&adaptor).unwrap();
    for (what, bytes) in [("model", model), ("adaptor", adaptor)] {
        let mut flipped = bytes.clone();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                flipped[at] ^= 1 << bit;
                let read = if what == "model" {
                    Model::from_bytes(&flipped).is_ok()
                } else {
                    Adaptor::from_bytes(&flipped).is_ok()
                };
                let around = String::from_utf8_lossy(&bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())]);
                assert!(!read, "{what}, bit {bit} of byte {at} of {}: {around}", bytes.len());
                flipped[at] = bytes[at];
            }
        }
    }
}
