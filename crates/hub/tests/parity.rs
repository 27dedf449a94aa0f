//! Imported models against the packages that saved them: latent means, normalised expression, label probabilities,
//! proteins; and surgery on them.
//!
//! The committed models are tiny; `tools/golden/published_models.py --all FOLDER` makes one for every setting, and
//! `SCGRAFT_PUBLISHED=FOLDER cargo test -p scgraft-hub --test parity -- --nocapture` compares them too.
#![allow(missing_docs)]
#![allow(clippy::print_stdout)]

mod published;

use published::{Expected, folders};
use scgraft_cells::Dense;
use scgraft_hub::{ImportOptions, import};
use scgraft_models::{DecodeAs, DecodedLibrary, ExpressionOptions, Model, Newcomers, Surgery};

/// The largest difference as a share of the largest value.
fn apart(found: &Dense, expected: &Dense) -> f64 {
    assert_eq!((found.n_rows, found.n_cols), (expected.n_rows, expected.n_cols));
    let largest = expected.values.iter().fold(1e-6f64, |m, v| m.max(f64::from(v.abs())));
    let pairs = found.values.iter().zip(&expected.values);
    pairs.fold(0f64, |m, (a, b)| m.max((f64::from(*a) - f64::from(*b)).abs())) / largest
}

#[test]
fn what_the_packages_compute() {
    let folders = folders();
    assert!(folders.len() >= 6, "{folders:?}");
    let mut wrong = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let imported = match import(&folder, &ImportOptions::default()) {
            Ok(imported) => imported,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        let (model, expected) = (imported.model, Expected::read(&folder));
        let data = expected.prepared(&model);
        let mut labelled = String::new();
        let mut told = format!("{name} ({} of {}):", imported.class, imported.version.unwrap_or_default());
        let mut hold = |what: &str, found: &Dense, tolerance: f64| {
            let Some(expected) = expected.get(what) else { return };
            let error = apart(found, expected);
            told += &format!(" {what} {error:.1e}");
            if error.is_nan() || error > tolerance {
                wrong.push(format!("{name}: {what} is {error:.1e} apart, at most {tolerance:.0e} expected"));
            }
        };
        let scvi = imported.class == "SCVI" || imported.class == "LinearSCVI";
        hold("latent", &model.latent(&data).unwrap().0, if scvi { 1e-5 } else { 1e-4 });
        let has_expression = expected.get("expression").is_some();
        if has_expression {
            let mut options = ExpressionOptions::default();
            // A decoder to values knows no library size.
            if expected.meta["settings"]["recon_loss"] == "mse" {
                options.library = DecodedLibrary::Own;
            }
            hold("expression", &model.expression(&data, &options).unwrap(), 1e-4);
        }
        let probabilities = model.label_probabilities(&data).unwrap();
        if let Some(found) = probabilities.filter(|_| expected.get("probability").is_some()) {
            hold("probability", &found, 1e-4);
            let labels: Vec<String> = serde_json::from_value(expected.meta["labels"].clone()).unwrap();
            assert_eq!(labels, model.header.labels, "{name}");
            let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            let theirs = expected.get("probability").unwrap();
            let rows = found.values.chunks(labels.len()).zip(theirs.values.chunks(labels.len()));
            let same = rows.filter(|(a, b)| best(a) == best(b)).count();
            labelled = format!(" labels {same}/{}", found.n_rows);
            assert!(same as f64 >= 0.999 * found.n_rows as f64, "{name}: {labelled}");
        }
        if !model.header.proteins.is_empty() {
            let own = data.condition.codes.clone();
            let conditions = model.header.conditions.clone();
            let (mut foreground, mut probability) = (None, None);
            for (c, condition) in conditions.iter().enumerate() {
                let as_it = model.proteins(&data, &DecodeAs::Conditions(vec![condition.clone()]), false).unwrap();
                take_rows(&mut foreground, &as_it.foreground, &own, c as u32);
                take_rows(&mut probability, &as_it.probability, &own, c as u32);
            }
            hold("foreground", &foreground.unwrap(), 1e-3);
            hold("foreground_probability", &probability.unwrap(), 1e-3);
        }
        println!("{told}{labelled}");
        surgery(&name, &model, &expected);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A model that was saved minified brings where its cells lie and what they are called.
#[test]
fn a_minified_model_brings_its_cells() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scvi_minified");
    let imported = import(&folder, &ImportOptions::default()).unwrap();
    let (cells, expected) = (imported.model.cells.as_ref().unwrap(), Expected::read(&folder));
    let latent = expected.get("latent").unwrap();
    assert_eq!((cells.mean.n_rows, cells.mean.n_cols), (latent.n_rows, latent.n_cols));
    // Means stand on a grid of 1/64, logarithms of variances on one of 1/32.
    let off = |a: &Dense, b: &Dense| a.values.iter().zip(&b.values).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(off(&cells.mean, latent) <= 0.5 / 64.0 + 1e-5);
    let variance = imported.model.latent(&expected.prepared(&imported.model)).unwrap().1;
    let share = cells.variance.as_ref().unwrap().values.iter().zip(&variance.values);
    assert!(share.map(|(a, b)| (a / b).ln().abs()).fold(0f32, f32::max) <= 0.5 / 32.0 + 1e-4);
    let types = cells.obs.column("type").unwrap().texts();
    let given: Vec<Option<String>> = serde_json::from_value(expected.meta["obs"]["type"].clone()).unwrap();
    assert_eq!(types, given);
    assert!(cells.obs.names().iter().all(|n| !n.starts_with("_scvi") && *n != "observed_lib_size"));
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
}

/// Takes over the rows of cells of a condition.
fn take_rows(into: &mut Option<Dense>, from: &Dense, own: &[u32], condition: u32) {
    let into = into.get_or_insert_with(|| Dense::zeros(from.n_rows, from.n_cols));
    for cell in (0..own.len()).filter(|&i| own[i] == condition) {
        let row = cell * from.n_cols..(cell + 1) * from.n_cols;
        into.values[row.clone()].copy_from_slice(&from.values[row]);
    }
}

/// A condition more, where the encoder reads conditions: what the reference's cells are stays bit by bit.
fn surgery(name: &str, model: &Model, expected: &Expected) {
    let plan = Surgery::adaptor("query");
    if let Some(obstacle) = model.network.facts().adaptor_obstacle {
        let error = model.surgery(&plan, &Newcomers::of(["another"]), 1).unwrap_err().to_string();
        assert!(error.contains(obstacle), "{name}: {error}");
        return;
    }
    let grafted = model.surgery(&plan, &Newcomers::of(["another"]), 1).unwrap();
    let data = expected.prepared(model);
    let (before, after) = (model.latent(&data).unwrap().0, grafted.latent(&data).unwrap().0);
    assert_eq!(before, after, "{name}");
    assert_eq!(model.reference_hash(), grafted.reference_hash(), "{name}");
}
