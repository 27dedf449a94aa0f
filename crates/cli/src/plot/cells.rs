//! Pictures of cells: in the plane, by score, by group.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use scgraft::join::ORIGIN;
use scgraft::report::{ColorValues, Coloring, Embedding as Plane, Split, Violins};
use scgraft::shown::{Place, Shown, Value};
use scgraft::{layout, pictures};

use super::Canvas;
use super::source::Source;
use crate::{Global, files};

#[derive(Args)]
pub(crate) struct Umap {
    #[command(flatten)]
    pub source: Source,
    /// What cells are coloured by: columns of obs, programs, genes, proteins and other columns of obsm
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    pub color: Vec<String>,
    /// Colour the cells of the reference as well, where they have what is asked for; otherwise they are grey
    #[arg(long, requires = "reference")]
    pub color_reference: bool,
    /// Picture; with several colours their names are added
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Scores {
    #[command(flatten)]
    pub source: Source,
    /// Across: a program, a gene, a column with numbers
    pub x: String,
    /// Upwards: the same
    pub y: String,
    /// What cells are coloured by: a column of obs, a program, a gene, a column of obsm
    #[arg(long, value_name = "NAME")]
    pub color: String,
    /// Colour the cells of the reference as well, where they have what is asked for; otherwise they are grey
    #[arg(long, requires = "reference")]
    pub color_reference: bool,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Violin {
    #[command(flatten)]
    pub source: Source,
    /// Programs, genes, columns of obs or obsm with numbers
    #[arg(required_unless_present = "color", value_name = "NAMES")]
    pub names: Vec<String>,
    /// The same, as other pictures take them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub color: Vec<String>,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Column of obs that splits every group [default: with --reference where a cell is from]
    #[arg(long, value_name = "COLUMN")]
    pub split: Option<String>,
    /// Picture; with several names they are added
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Grid {
    #[command(flatten)]
    pub source: Source,
    /// Column of obs with the groups
    #[arg(long, value_name = "COLUMN")]
    pub groups: String,
    /// Column of obs that splits every group
    #[arg(long, value_name = "COLUMN")]
    pub split: Option<String>,
    /// Programs, genes, columns of obs or obsm with numbers [default: the programs that tell the groups apart best]
    #[arg(long, visible_alias = "color", value_name = "NAME", value_delimiter = ',')]
    pub program: Vec<String>,
    /// Programs of each group, where none is named
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub top: usize,
    /// Picture
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
}

impl Umap {
    pub fn draw(self, global: &Global, to: &mut Canvas) -> Result<()> {
        let paths = pictures_of(&self.output, &self.color);
        files::check_outputs(&paths, &self.source.inputs())?;
        let read = self.source.read(&self.color)?;
        let shown = read.shown(&self.source)?;
        let sides = read.reference().map(|(_, cells, e)| (cells, e));
        let (_, cells, query) = read.query();
        let (below, above) = layout::together(sides, (cells, query), global.seed.unwrap_or(0))?;
        let parts: Vec<_> = below.iter().chain([&above]).collect();
        let (x, y) = (pictures::coordinate(&parts, 0), pictures::coordinate(&parts, 1));
        for (name, path) in self.color.iter().zip(&paths) {
            let coloring = shown.coloring(name, !self.color_reference)?;
            check_values(&coloring)?;
            to.save(
                &Plane::umap(&coloring.name, &x, &y, &coloring).over_reference(if self.color_reference {
                    0
                } else {
                    shown.n_reference()
                }),
                path,
            )?;
        }
        Ok(())
    }
}

impl Scores {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let read = self.source.read([&self.x, &self.y, &self.color])?;
        let shown = read.shown(&self.source)?;
        let [x, y] = [&self.x, &self.y].map(|name| value(&shown, name));
        let (x, y) = (x?, y?);
        let mut color = shown.coloring(&self.color, !self.color_reference)?;
        let kept: Vec<usize> =
            (0..x.values.len()).filter(|&i| x.values[i].is_finite() && y.values[i].is_finite()).collect();
        if kept.len() < x.values.len() {
            let n = x.values.len() - kept.len();
            tracing::warn!("{n} cells have no `{}` or no `{}` and are not drawn", self.x, self.y);
        }
        let of = |values: &[f32]| kept.iter().map(|&i| values[i]).collect::<Vec<_>>();
        match &mut color.values {
            ColorValues::Categories { codes, .. } => *codes = kept.iter().map(|&i| codes[i]).collect(),
            ColorValues::Scores { values, .. } => *values = of(values),
        }
        check_values(&color)?;
        let (across, up) = (of(&x.values), of(&y.values));
        to.save(&Plane::programs("", (&x.name, &across), (&y.name, &up), &color), &self.output)
    }
}

impl Violin {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        let names = [&self.names[..], &self.color].concat();
        let paths = pictures_of(&self.output, &names);
        files::check_outputs(&paths, &self.source.inputs())?;
        let read = self.source.read(&names)?;
        let shown = read.shown(&self.source)?;
        let (codes, groups) = shown.groups(&self.groups)?;
        let by_origin = (shown.n_reference() > 0 && self.groups != ORIGIN).then(|| ORIGIN.to_owned());
        let split_by = self.split.clone().or(by_origin);
        let split = split_by.as_ref().map(|name| shown.groups(name)).transpose()?;
        for (name, path) in names.iter().zip(&paths) {
            let Value { name: title, what, values, .. } = value(&shown, name)?;
            let split = match (&split_by, &split) {
                (Some(name), Some((codes, levels))) => Some(Split { name, codes, levels }),
                _ => None,
            };
            let picture =
                Violins { title: &title, value: &what, values: &values, codes: &codes, groups: &groups, split };
            to.save(&picture, path)?;
        }
        Ok(())
    }
}

impl Grid {
    pub fn draw(self, dots: bool, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let read = self.source.read(&self.program)?;
        let shown = read.shown(&self.source)?;
        let mut groups = shown.groups(&self.groups)?;
        if let Some(split) = &self.split {
            groups = crossed(&groups, &shown.groups(split)?);
        }
        let places = match &self.program[..] {
            [] => shown.programs(),
            names => names.iter().map(|name| shown.place(name)).collect::<Result<_, _>>()?,
        };
        let values = places.iter().map(|place| shown.value(place)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<(String, Vec<f32>)> = places.iter().zip(&values).map(row).collect();
        let all = |is: fn(&Place) -> bool| places.iter().all(is);
        let what = match (all(|p| matches!(p, Place::Program(_))), all(|p| matches!(p, Place::Gene(_)))) {
            (true, _) => "Programs".to_owned(),
            (_, true) => format!("Genes ({})", values[0].what),
            _ => "Values".to_owned(),
        };
        let top = self.program.is_empty().then_some(self.top);
        let title = format!("{what} by {}", self.groups);
        let mut picture = pictures::grid(title, (&groups.0, &groups.1), &rows, top)?;
        if !all(|p| matches!(p, Place::Program(_))) {
            picture.colors.value = "mean, in sd".to_owned();
        }
        if dots { to.save(&picture, &self.output) } else { to.save(&picture.colors, &self.output) }
    }
}

/// A row of a grid: genes by their name alone, as the title says what they are.
fn row((place, value): (&Place, &Value)) -> (String, Vec<f32>) {
    let name = if let Place::Gene(gene) = place { gene } else { &value.name };
    (name.clone(), value.values.clone())
}

/// Groups split by others: `B, query`; those that no cell is in are left out.
fn crossed(groups: &(Vec<i32>, Vec<String>), split: &(Vec<i32>, Vec<String>)) -> (Vec<i32>, Vec<String>) {
    let n = split.1.len() as i32;
    let both = groups.0.iter().zip(&split.0).map(|(&a, &b)| if a < 0 || b < 0 { -1 } else { a * n + b });
    let both: Vec<i32> = both.collect();
    let mut used: Vec<i32> = both.iter().copied().filter(|&code| code >= 0).collect();
    used.sort_unstable();
    used.dedup();
    let codes = both.iter().map(|code| used.binary_search(code).map_or(-1, |at| at as i32)).collect();
    let name = |code: &i32| format!("{}, {}", groups.1[(code / n) as usize], split.1[(code % n) as usize]);
    (codes, used.iter().map(name).collect())
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

fn value(shown: &Shown<'_>, name: &str) -> Result<Value> {
    Ok(shown.value(&shown.place(name)?)?)
}

/// Refuses to draw every cell as one without a value.
fn check_values(coloring: &Coloring) -> Result<()> {
    ensure!(!coloring.is_empty(), "`{}`: no cell has a value", coloring.name);
    Ok(())
}
