//! Pictures of cells: in the plane, by score, by group.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use scgraft::cells::{Cells, Frame};
use scgraft::report::{ColorValues, Coloring, Embedding as Plane, Split, Violins};
use scgraft::{Embedding, columns, layout, pictures, slots};

use super::Canvas;
use crate::direction::Direction;
use crate::{Global, encode, files, input};

#[derive(Args)]
pub(crate) struct Umap {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// The reference with its embedding: the query is placed in its picture
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Columns of obs, or names of programs
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    pub color: Vec<String>,
    #[command(flatten)]
    pub direction: Direction,
    /// Picture; with several colours their names are added
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Scores {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// Program across
    pub x: String,
    /// Program upwards
    pub y: String,
    /// Column of obs, or a program
    #[arg(long, value_name = "NAME")]
    pub color: String,
    #[command(flatten)]
    pub direction: Direction,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Violin {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// The programs
    #[arg(required = true)]
    pub programs: Vec<String>,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Column of obs that splits every group
    #[arg(long, value_name = "COLUMN")]
    pub split: Option<String>,
    #[command(flatten)]
    pub direction: Direction,
    /// Picture; with several programs their names are added
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Grid {
    /// A mapped query, or a reference with its embedding
    pub mapped: PathBuf,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// The programs [default: those that tell the groups apart best]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub program: Vec<String>,
    /// Programs of each group, where none is named
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub top: usize,
    #[command(flatten)]
    pub direction: Direction,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Umap {
    pub fn draw(self, global: &Global, to: &mut Canvas) -> Result<()> {
        let paths = pictures_of(&self.output, &self.color);
        let mut inputs: Vec<&Path> = vec![&self.mapped];
        inputs.extend(self.reference.as_deref());
        files::check_outputs(&paths, &inputs)?;
        let turned = |file: &Path| -> Result<_> {
            let (cells, e) = encode::stored(file, slots::LATENT)?;
            Ok((cells, self.direction.apply(e, file)?))
        };
        let (cells, query) = turned(&self.mapped)?;
        let known = self.reference.as_ref().map(|r| turned(r)).transpose()?;
        let sides = known.as_ref().map(|(c, e)| (c, e));
        let (below, above) = layout::together(sides, (&cells, &query), global.seed.unwrap_or(0))?;
        let parts: Vec<_> = below.iter().chain([&above]).collect();
        let (x, y) = (pictures::coordinate(&parts, 0), pictures::coordinate(&parts, 1));
        // The reference is in the picture only where its dimensions are the query's.
        let known = known.filter(|_| below.is_some());
        for (name, path) in self.color.iter().zip(&paths) {
            let of_program = query.names.iter().any(|n| n == name);
            let coloring = match &known {
                None => color_of(&cells.obs, &query, name)?,
                Some((_, e)) if of_program => {
                    let mut values = score(e, name)?;
                    values.extend(score(&query, name)?);
                    Coloring::signed_scores(name, values)
                }
                Some((reference, _)) => {
                    let columns = (reference.obs.column(name), cells.obs.column(name));
                    if let (None, None) = columns {
                        color_of(&cells.obs, &query, name)?;
                    }
                    pictures::joined(name, &[(columns.0, reference.n_cells()), (columns.1, cells.n_cells())])
                }
            };
            check_values(&coloring)?;
            let n_reference = known.as_ref().map_or(0, |(reference, _)| reference.n_cells());
            to.save(&Plane::umap(name, &x, &y, &coloring).over_reference(n_reference), path)?;
        }
        Ok(())
    }
}

impl Scores {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &[&self.mapped])?;
        let (cells, e) = encode::stored(&self.mapped, slots::LATENT)?;
        let e = self.direction.apply(e, &self.mapped)?;
        let (x, y) = (score(&e, &self.x)?, score(&e, &self.y)?);
        let color = color_of(&cells.obs, &e, &self.color)?;
        check_values(&color)?;
        to.save(&Plane::programs("", (&self.x, &x), (&self.y, &y), &color), &self.output)
    }
}

impl Violin {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        let paths = pictures_of(&self.output, &self.programs);
        files::check_outputs(&paths, &[&self.mapped])?;
        let (cells, e) = encode::stored(&self.mapped, slots::LATENT)?;
        let e = self.direction.apply(e, &self.mapped)?;
        let (codes, groups) = categories(&cells, &self.mapped, &self.groups)?;
        let split = self.split.as_ref().map(|name| categories(&cells, &self.mapped, name)).transpose()?;
        for (program, path) in self.programs.iter().zip(&paths) {
            let values = score(&e, program)?;
            let split = match (&self.split, &split) {
                (Some(name), Some((codes, levels))) => Some(Split { name, codes, levels }),
                _ => None,
            };
            let picture = Violins {
                title: program,
                value: "latent score",
                values: &values,
                codes: &codes,
                groups: &groups,
                split,
            };
            to.save(&picture, path)?;
        }
        Ok(())
    }
}

impl Grid {
    pub fn draw(self, dots: bool, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &[&self.mapped])?;
        let (cells, e) = encode::stored(&self.mapped, slots::LATENT)?;
        let e = self.direction.apply(e, &self.mapped)?;
        let (groups, rows) = input::coded(&cells, &self.mapped.display().to_string(), &self.groups)?;
        let e = if rows.len() == cells.n_cells() { e } else { e.select_cells(&rows) };
        for program in &self.program {
            score(&e, program)?;
        }
        let picture = pictures::grid(&e, &self.groups, &groups, &self.program, self.top)?;
        if dots { to.save(&picture, &self.output) } else { to.save(&picture.colors, &self.output) }
    }
}

/// Codes and names of a column of categories; −1 where it is empty.
fn categories(cells: &Cells, file: &Path, name: &str) -> Result<(Vec<i32>, Vec<String>)> {
    let column = columns::find(cells, &file.display().to_string(), name)?;
    match pictures::coloring(name, column).values {
        ColorValues::Categories { codes, levels } => Ok((codes, levels)),
        ColorValues::Scores { .. } => bail!("{}: column `{name}` of obs holds numbers, not groups", file.display()),
    }
}

/// Where the picture of each name goes: of one alone to the file named, of several beside it.
fn pictures_of(output: &Path, names: &[String]) -> Vec<PathBuf> {
    match names {
        [_] => vec![output.to_owned()],
        several => several.iter().map(|name| named(output, name)).collect(),
    }
}

/// `umap.png` for `cell_type`: `umap_cell_type.png`.
fn named(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let end = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let clean: String = name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    path.with_file_name(format!("{stem}_{clean}{end}"))
}

fn score(e: &Embedding, program: &str) -> Result<Vec<f32>> {
    let Some(j) = e.names.iter().position(|n| n == program) else {
        let names: Vec<&str> = e.names.iter().map(String::as_str).collect();
        bail!("there is no program `{program}`; nearest names: {}", input::nearest_first(program, &names));
    };
    Ok(e.score(j))
}

/// Refuses to draw every cell as one without a value.
fn check_values(coloring: &Coloring) -> Result<()> {
    ensure!(!coloring.is_empty(), "`{}`: no cell has a value", coloring.name);
    Ok(())
}

fn color_of(obs: &Frame, e: &Embedding, name: &str) -> Result<Coloring> {
    if let Some(column) = obs.column(name) {
        return Ok(pictures::coloring(name, column));
    }
    if e.names.iter().any(|n| n == name) {
        return Ok(Coloring::signed_scores(name, score(e, name)?));
    }
    bail!("`{name}` is neither a column of obs ({}) nor a program", input::nearest_first(name, &obs.names()))
}
