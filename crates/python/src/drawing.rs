//! Pictures as the report draws them.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use scgraft::analysis::programs::DirectionMethod;
use scgraft::annotate::Placed;
use scgraft::cells::{Cells, Column, Frame, Slot};
use scgraft::drawn::{self, Relation, drawn as draw};
use scgraft::evaluate::Evaluated;
use scgraft::labels::Renamed;
use scgraft::models::Model;
use scgraft::report::scene::{Scene, Size};
use scgraft::report::{GeneBars, Sankey};
use scgraft::shown::Shown;
use scgraft::{Error, layout, pictures, slots};
use serde::Deserialize;

use crate::cells::PyCells;
use crate::error::{raise, refuse};
use crate::frame::{frame, frame_out};
use crate::json::options;
use crate::model::PyModel;
use crate::run::run;
use crate::steps::direction;

/// A picture, drawn.
#[pyclass(frozen, module = "scgraft._native")]
pub struct Drawing {
    scene: Arc<Scene>,
}

#[pymethods]
impl Drawing {
    /// As SVG.
    fn svg(&self) -> PyResult<String> {
        self.scene.to_svg().map_err(raise)
    }

    /// Writes it, as what the name ends in: `.svg` or `.png`.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        scgraft::save::scene(path, &self.scene).map_err(raise)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// Which picture.
    what: String,
    /// Its title.
    title: String,
    /// What is drawn, by name.
    names: Vec<String>,
    /// What cells are coloured by.
    color: Option<String>,
    color_reference: bool,
    /// Column of obs with the groups, and one that splits them.
    groups: Option<String>,
    split: Option<String>,
    /// A group of a test.
    group: Option<String>,
    /// Programs, by patterns, and those of a test.
    programs: Vec<String>,
    among: Option<Vec<String>>,
    direction: Option<String>,
    top: Option<usize>,
    /// The label that was carried over, the column with the given one, and what given labels are called in the reference.
    labels: Option<String>,
    truth: Option<String>,
    renamed: Vec<(String, String)>,
    /// Where genes are read.
    use_raw: bool,
    layer: Option<String>,
    gene_key: Option<String>,
    size: Option<(f64, f64)>,
    seed: u64,
}

/// What a picture may be drawn of.
struct Given {
    cells: Option<Arc<Cells>>,
    reference: Option<Arc<Cells>>,
    model: Option<Arc<Model>>,
    table: Option<Frame>,
}

/// A picture, and the numbers in it where they are a table of their own. `None` where there is nothing to draw.
type Drawn = Option<(Scene, Option<Frame>)>;

/// Draws a picture.
#[pyfunction]
#[pyo3(signature = (cells, reference, model, table, plan, threads))]
pub fn picture(
    py: Python<'_>,
    cells: Option<&PyCells>,
    reference: Option<&PyCells>,
    model: Option<&PyModel>,
    table: Option<&Bound<'_, PyAny>>,
    plan: &str,
    threads: usize,
) -> PyResult<Option<(Drawing, Option<Py<PyAny>>)>> {
    let asked: Asked = options(plan)?;
    check(asked.size)?;
    let rule = asked.direction.as_deref().map(direction).transpose()?;
    let given = Given {
        cells: cells.map(PyCells::get).transpose()?,
        reference: reference.map(PyCells::get).transpose()?,
        model: model.map(|m| m.inner.clone()),
        table: table.map(frame).transpose()?,
    };
    let Some((scene, numbers)) = run(py, threads, None, move |_| asked.draw(&given, rule))? else { return Ok(None) };
    let numbers = numbers.map(|table| frame_out(py, table)).transpose()?;
    Ok(Some((Drawing { scene: Arc::new(scene) }, numbers)))
}

impl Asked {
    fn size(&self) -> Option<Size> {
        self.size.map(|(width, height)| Size::new(width, height))
    }

    fn draw(&self, given: &Given, rule: Option<DirectionMethod>) -> Result<Drawn, Error> {
        let size = self.size();
        let alone = |scene| Ok(Some((scene, None)));
        match (self.what.as_str(), given) {
            ("umap" | "scores" | "violin" | "heatmap" | "dots", Given { cells: Some(cells), reference, .. }) => {
                alone(self.of_cells(cells, reference.as_deref(), rule)?)
            }
            ("correlation", Given { cells: Some(cells), .. }) => {
                let e = slots::embedding(cells, slots::LATENT)?;
                let e = rule.map_or(Ok(e.clone()), |rule| e.turned(rule))?;
                self.relation(drawn::correlation(&e, &self.programs, self.among.as_deref())?)
            }
            ("overlap" | "members", Given { model: Some(model), .. }) => {
                let of = if self.what == "overlap" { drawn::overlap } else { drawn::members };
                self.relation(of(model, &self.programs, self.among.as_deref(), self.top)?)
            }
            ("confusion" | "sankey" | "reliability", Given { cells: Some(cells), .. }) => self.of_labels(cells),
            ("bayes", Given { table: Some(table), .. }) => {
                let all = pictures::comparisons(table);
                let chosen = all.iter().find(|c| self.group.as_ref().is_none_or(|g| *g == c.group));
                chosen.map(|c| Ok((draw(c, size)?, None))).transpose()
            }
            ("metrics", Given { table: Some(table), .. }) => {
                let found = pictures::metrics(&self.title, &Evaluated::of_table(table));
                found.map(|m| Ok((draw(&m, size)?, None))).transpose()
            }
            ("training", Given { model: Some(model), .. }) => {
                let found = pictures::training(&self.title, &model.history, model.kept_epoch());
                found.map(|t| Ok((draw(&t, size)?, None))).transpose()
            }
            ("genes", Given { model: Some(model), .. }) => {
                let all = scgraft::programs::programs(model, &[])?;
                let all = all.ok_or(Error::NotPrograms { model: model.entry.name })?;
                let name = self.names.first().cloned().unwrap_or_default();
                let Some(program) = all.iter().find(|p| p.name == name) else { return Ok(None) };
                let genes = pictures::gene_weights(program, self.top.unwrap_or(20));
                alone(draw(&GeneBars { title: name, genes }, size)?)
            }
            _ => Ok(None),
        }
    }

    fn relation(&self, found: Relation) -> Result<Drawn, Error> {
        Ok(Some((draw(&found.picture, self.size())?, Some(found.table))))
    }

    fn of_cells(
        &self,
        cells: &Cells,
        reference: Option<&Cells>,
        rule: Option<DirectionMethod>,
    ) -> Result<Scene, Error> {
        let of = |cells: &Cells| {
            let e = slots::embedding(cells, slots::LATENT)?;
            rule.map_or(Ok(e.clone()), |rule| e.turned(rule))
        };
        let (query, known) = (of(cells)?, reference.map(of).transpose()?);
        let below = reference.zip(known.as_ref());
        let below = below.map(|(cells, embedding)| Placed { name: "reference", cells, embedding });
        let above = Placed { name: "adata", cells, embedding: &query };
        let shown = Shown::new(below, above, Slot::of(self.layer.as_ref(), self.use_raw), self.gene_key.clone())?;
        let (size, name) = (self.size(), |at: usize| self.names.get(at).map_or("", String::as_str));
        let (color, groups) = (self.color.as_deref().unwrap_or(""), self.groups.as_deref().unwrap_or(""));
        match self.what.as_str() {
            "umap" => {
                let (a, b) = layout::together(reference.zip(known.as_ref()), (cells, &query), self.seed)?;
                drawn::umap(&shown, (a.as_ref(), &b), color, self.color_reference, size)
            }
            "scores" => {
                let (scene, n) = drawn::scores(&shown, [name(0), name(1)], color, self.color_reference, size)?;
                if n > 0 {
                    tracing::warn!("{n} cells have no `{}` or no `{}` and are not drawn", name(0), name(1));
                }
                Ok(scene)
            }
            "violin" => drawn::violin(&shown, name(0), groups, self.split.as_deref(), size),
            what => {
                let by = (groups, self.split.as_deref());
                drawn::grid(&shown, &self.names, by, self.top.unwrap_or(3), what == "dots", size)
            }
        }
    }

    fn of_labels(&self, cells: &Cells) -> Result<Drawn, Error> {
        let label = self.labels.as_deref().unwrap_or("");
        let truth = self.truth.as_deref().unwrap_or(label);
        scgraft::columns::find(cells, "adata", &format!("{label}_pred"))?;
        let given: &Column = scgraft::columns::find(cells, "adata", truth)?;
        let given = Renamed(self.renamed.iter().cloned().collect()).column(given);
        let size = self.size();
        if self.what == "reliability" {
            let found = pictures::reliability(cells, label, (truth, &given))?;
            return found.map(|curve| Ok((draw(&curve, size)?, None))).transpose();
        }
        let found = pictures::confusion(cells, label, &given);
        found
            .map(|c| Ok((if self.what == "sankey" { draw(&Sankey(&c), size)? } else { draw(&c, size)? }, None)))
            .transpose()
    }
}

/// Refuses a size that no picture can have.
fn check(size: Option<(f64, f64)>) -> PyResult<()> {
    match size {
        Some((w, h)) if !(w > 0.0 && h > 0.0 && w <= 20_000.0 && h <= 20_000.0) => {
            Err(refuse(format!("size={size:?}: expected width and height in px, up to 20000")))
        }
        _ => Ok(()),
    }
}
