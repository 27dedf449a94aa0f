//! What the stages make as bytes, written to files: each appears under its name whole or not at all.

use std::path::Path;

use scgraft_io::write_bytes;
use scgraft_models::{Adaptor, Model};
use scgraft_report::Picture;
use scgraft_report::html::Report;
use scgraft_report::scene::{Format, Scene};

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
