//! What the stages make as bytes, written to files: each appears under its name whole or not at all.

use std::path::{Path, PathBuf};

use scgraft_cells::{Array, Role, Simulated, TrueProgram, Truth};
use scgraft_io::{WriteOptions, write_bytes, write_h5ad};
use scgraft_models::{Adaptor, Model};
use scgraft_report::Picture;
use scgraft_report::html::Report;
use scgraft_report::scene::{Format, Scene};
use serde_json::{Value, json};

use crate::Error;

/// Pixels a px in PNG: for screens and slides.
const SCALE: f64 = 2.0;

/// Writes a model.
///
/// # Errors
/// Of [`Model::to_bytes`]; when the file cannot be written.
pub fn model(path: impl AsRef<Path>, model: &Model) -> Result<(), Error> {
    Ok(write_bytes(path, &model.to_bytes()?)?)
}

/// Writes an adaptor.
///
/// # Errors
/// Of [`Adaptor::to_bytes`]; when the file cannot be written.
pub fn adaptor(path: impl AsRef<Path>, adaptor: &Adaptor) -> Result<(), Error> {
    Ok(write_bytes(path, &adaptor.to_bytes()?)?)
}

/// Draws a picture at its natural size and writes it as what the name ends in, `.png` or `.svg`.
///
/// # Errors
/// Of [`Picture::draw`] and [`scene`].
pub fn picture(path: impl AsRef<Path>, picture: &impl Picture) -> Result<(), Error> {
    scene(path, &picture.draw(picture.natural_size())?)
}

/// Writes a picture that is drawn, as what the name ends in, `.png` or `.svg`.
///
/// # Errors
/// Another ending; of [`Scene::to_bytes`]; when the file cannot be written.
pub fn scene(path: impl AsRef<Path>, scene: &Scene) -> Result<(), Error> {
    let path = path.as_ref();
    Ok(write_bytes(path, &scene.to_bytes(Format::of(path)?, SCALE)?)?)
}

/// Writes a page.
///
/// # Errors
/// Of [`Report::to_html`]; when the file cannot be written.
pub fn page(path: impl AsRef<Path>, page: &Report) -> Result<(), Error> {
    Ok(write_bytes(path, page.to_html()?.as_bytes())?)
}

/// The files of simulated data.
pub const SIMULATED: [&str; 4] = ["reference.h5ad", "query.h5ad", "programs.gmt", "truth.json"];

/// Writes simulated data into a folder, as [`SIMULATED`]; gives the paths.
///
/// # Errors
/// When a file cannot be written.
pub fn simulated(folder: &Path, simulated: Simulated) -> Result<[PathBuf; 4], Error> {
    let Simulated { mut reference, mut query, gene_sets, truth } = simulated;
    let paths = SIMULATED.map(|name| folder.join(name));
    let genes = reference.var.index.clone();
    let mut told = self::truth(&truth, &genes);
    told["true_activity"] = "obsm[\"true_activity\"] of both files: cells × (programs, then the hidden one)".into();
    reference.obsm.insert("true_activity".into(), Array::Dense(truth.reference_activity));
    query.obsm.insert("true_activity".into(), Array::Dense(truth.query_activity));
    for (path, cells) in paths.iter().zip([&reference, &query]) {
        write_h5ad(path, cells, &WriteOptions::default())?;
        tracing::info!("wrote {}", path.display());
    }
    let lines = gene_sets.iter().map(|s| {
        let description = s.description.as_deref().unwrap_or("na");
        format!("{}\t{description}\t{}\n", s.name, s.genes.join("\t"))
    });
    write_bytes(&paths[2], lines.collect::<String>().as_bytes())?;
    write_bytes(&paths[3], format!("{told:#}\n").as_bytes())?;
    Ok(paths)
}

/// What was planted, but for the activity of the programs.
pub fn truth(truth: &Truth, genes: &[String]) -> Value {
    json!({
        "novel_type": truth.novel_type,
        "programs": truth.programs.iter().map(|p| program(p, genes)).collect::<Vec<_>>(),
        "hidden": program(&truth.hidden, genes),
    })
}

fn program(p: &TrueProgram, genes: &[String]) -> Value {
    let (role, types) = match &p.role {
        Role::CellType(t) => ("cell type", vec![t.clone()]),
        Role::Lineage(t) => ("lineage", t.clone()),
        Role::StimulationUp => ("stimulation, up", Vec::new()),
        Role::StimulationDown => ("stimulation, down", Vec::new()),
        Role::Background => ("background", Vec::new()),
        Role::Decoy => ("decoy", Vec::new()),
    };
    let loadings: Vec<Value> = p.loadings.iter().map(|&(g, w)| json!([genes[g as usize], w])).collect();
    json!({"name": p.name, "role": role, "cell_types": types, "loadings": loadings})
}
