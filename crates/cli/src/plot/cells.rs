//! Pictures of cells: in the plane, by score, by group.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use scgraft::{drawn, layout};

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
        for (name, path) in self.color.iter().zip(&paths) {
            let scene = drawn::umap(&shown, (below.as_ref(), &above), name, self.color_reference, to.size)?;
            to.write(&scene, path)?;
        }
        Ok(())
    }
}

impl Scores {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let read = self.source.read([&self.x, &self.y, &self.color])?;
        let shown = read.shown(&self.source)?;
        let (scene, n) = drawn::scores(&shown, [&self.x, &self.y], &self.color, self.color_reference, to.size)?;
        if n > 0 {
            tracing::warn!("{n} cells have no `{}` or no `{}` and are not drawn", self.x, self.y);
        }
        to.write(&scene, &self.output)
    }
}

impl Violin {
    pub fn draw(self, to: &mut Canvas) -> Result<()> {
        let names = [&self.names[..], &self.color].concat();
        let paths = pictures_of(&self.output, &names);
        files::check_outputs(&paths, &self.source.inputs())?;
        let read = self.source.read(&names)?;
        let shown = read.shown(&self.source)?;
        for (name, path) in names.iter().zip(&paths) {
            to.write(&drawn::violin(&shown, name, &self.groups, self.split.as_deref(), to.size)?, path)?;
        }
        Ok(())
    }
}

impl Grid {
    pub fn draw(self, dots: bool, to: &mut Canvas) -> Result<()> {
        files::check_output(&self.output, &self.source.inputs())?;
        let read = self.source.read(&self.program)?;
        let shown = read.shown(&self.source)?;
        let by = (self.groups.as_str(), self.split.as_deref());
        to.write(&drawn::grid(&shown, &self.program, by, self.top, dots, to.size)?, &self.output)
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
