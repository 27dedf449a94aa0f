//! Published models as their authors saved them: the folder `models` of the real data (`SCGRAFT_DATA` names its folder).
#![allow(missing_docs)]
#![allow(clippy::print_stderr)]

use std::path::PathBuf;

use scgraft_hub::{ImportOptions, Imported, import};

fn sample(name: &str) -> Option<Imported> {
    let data = std::env::var_os("SCGRAFT_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let folder = data.join("models").join(name);
    if !folder.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is not there: with CI set, nothing is skipped", folder.display());
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    let imported = import(&folder, &ImportOptions::default()).unwrap();
    let h = &imported.model.header;
    eprintln!(
        "{name}: {} {:?}, {} genes, {} dimensions, conditions {:?}, labels {:?}, {} proteins; left out {}; {:?}; {:?}",
        imported.class,
        imported.version,
        h.genes.len(),
        imported.model.n_latent(),
        h.conditions,
        h.labels,
        h.proteins.len(),
        imported.dropped.len(),
        imported.notes,
        imported.cells,
    );
    for p in imported.model.params.iter() {
        assert!(p.values().iter().all(|v| v.is_finite()), "{name}: {}", p.name);
    }
    Some(imported)
}

#[test]
fn scvi_of_0_15() {
    let Some(m) = sample("scvitools_0.15.5_SCVI") else { return };
    assert_eq!((m.class.as_str(), m.model.header.genes.len()), ("SCVI", 100));
}

#[test]
fn a_pancreas_reference_of_scarches() {
    let Some(m) = sample("scarches_0.16.1_SCVI_pancreas_ref") else { return };
    assert_eq!((m.class.as_str(), m.model.header.genes.len(), m.model.header.conditions.len()), ("SCVI", 1000, 3));
    assert!(m.model.network.facts().adaptor_obstacle.is_none());
}

#[test]
fn scanvi_of_1_0() {
    let Some(m) = sample("scvitools_1.0.3_SCANVI_prelogits") else { return };
    assert_eq!((m.class.as_str(), m.model.header.labels.len()), ("SCANVI", 2));
    assert!(m.cells.is_some());
}

#[test]
fn totalvi_of_1_3() {
    let Some(m) = sample("scvitools_1.3.2_TOTALVI") else { return };
    assert_eq!((m.class.as_str(), m.model.header.proteins.len()), ("TOTALVI", 100));
}

#[test]
fn expimap_of_proteins() {
    let Some(m) = sample("scarches_EXPIMAP_ProteoVAE") else { return };
    assert_eq!((m.class.as_str(), m.model.header.genes.len(), m.model.header.n_programs()), ("EXPIMAP", 396, 82));
}
