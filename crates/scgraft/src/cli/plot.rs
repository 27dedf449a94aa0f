//! `scgraft plot`: single pictures.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use scgraft::models::Model;
use scgraft::report::{Coloring, Embedding as Plane, GeneBars, GeneWeight, Picture};
use scgraft::{pipeline, slots};

use super::{Global, Output, encode, files, input, pictures};

const EXAMPLES: &str = "\
The format follows the name: .png or .svg.

Examples:
  scgraft plot umap mapped.h5ad --reference reference_out.h5ad --color cell_type,condition -o umap.png
  scgraft plot umap mapped.h5ad --color INTERFERON_SIGNALING -o interferon.svg
  scgraft plot bayes mapped.h5ad --test \"condition versus control\" -o bayes.svg
  scgraft plot training reference.scgraft -o training.png
  scgraft plot scores mapped.h5ad INTERFERON_SIGNALING TCR_SIGNALING --color condition -o scores.png
  scgraft plot genes reference.scgraft INTERFERON_SIGNALING -o genes.svg";

/// Draw a picture (PNG or SVG).
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Plot {
    #[command(subcommand)]
    pub what: What,
}

/// The pictures.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Mapped cells in the plane, with the reference or alone
    Umap {
        /// A mapped query, or a reference with its embedding
        mapped: PathBuf,
        /// The reference with its embedding: the query is placed in its picture
        #[arg(long, value_name = "FILE")]
        reference: Option<PathBuf>,
        /// Columns of obs, or names of programs
        #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
        color: Vec<String>,
        /// Picture; with several colours their names are added
        #[arg(long = "output", short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Programs ranked by log Bayes factor, of a test that `enrich` made
    Bayes {
        /// A file that `enrich` wrote to
        mapped: PathBuf,
        /// Name of the test [default: the only one]
        #[arg(long, value_name = "NAME")]
        test: Option<String>,
        /// Group to draw [default: the first]
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        /// Picture
        #[arg(long = "output", short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Losses by epoch
    Training {
        /// A model, or a mapped query
        file: PathBuf,
        /// Picture
        #[arg(long = "output", short, value_name = "FILE")]
        output: PathBuf,
    },
    /// The scores of one program against those of another
    Scores {
        /// A mapped query, or a reference with its embedding
        mapped: PathBuf,
        /// Program across
        x: String,
        /// Program upwards
        y: String,
        /// Column of obs, or a program
        #[arg(long, value_name = "NAME")]
        color: String,
        /// Picture
        #[arg(long = "output", short, value_name = "FILE")]
        output: PathBuf,
    },
    /// The genes of a program by weight
    Genes {
        /// A model
        model: PathBuf,
        /// The program
        program: String,
        /// Genes drawn
        #[arg(long, default_value_t = 20, value_name = "N")]
        top: usize,
        /// Picture
        #[arg(long = "output", short, value_name = "FILE")]
        output: PathBuf,
    },
}

impl Plot {
    pub fn run(self, global: &Global, out: &mut Output) -> Result<()> {
        let written = match self.what {
            What::Umap { mapped, reference, color, output } => {
                files::check_output(&output, &[&mapped])?;
                umap(&mapped, reference.as_deref(), &color, &output, global)?
            }
            What::Bayes { mapped, test, group, output } => {
                files::check_output(&output, &[&mapped])?;
                bayes(&mapped, test.as_deref(), group.as_deref(), &output)?
            }
            What::Training { file, output } => {
                files::check_output(&output, &[&file])?;
                training(&file, &output)?
            }
            What::Scores { mapped, x, y, color, output } => {
                files::check_output(&output, &[&mapped])?;
                let (cells, e) = encode::stored(&mapped, slots::LATENT)?;
                let (px, py) = (score(&e, &x)?, score(&e, &y)?);
                let color = color_of(&cells.obs, &e, &color)?;
                Plane::programs("", (&x, &px), (&y, &py), &color).save(&output)?;
                vec![output]
            }
            What::Genes { model, program, top, output } => {
                files::check_output(&output, &[&model])?;
                genes(&Model::load(&model)?, &program, top)?.save(&output)?;
                vec![output]
            }
        };
        out.line(format!("wrote {}", files::shown(&written).join(", ")));
        out.put("files", files::shown(&written));
        Ok(())
    }
}

fn umap(
    mapped: &Path,
    reference: Option<&Path>,
    color: &[String],
    output: &Path,
    global: &Global,
) -> Result<Vec<PathBuf>> {
    let (cells, query) = encode::stored(mapped, slots::LATENT)?;
    let known = reference.map(|r| encode::stored(r, slots::LATENT)).transpose()?;
    let (below, above) = pictures::layout(known.as_ref().map(|k| &k.1), &query, global.seed.unwrap_or(0))?;
    let parts: Vec<_> = below.iter().chain([&above]).collect();
    let (x, y) = (pictures::coordinate(&parts, 0), pictures::coordinate(&parts, 1));
    let mut written = Vec::new();
    for name in color {
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
        let path = if color.len() == 1 { output.to_owned() } else { named(output, name) };
        Plane::umap(name, &x, &y, &coloring).save(&path)?;
        written.push(path);
    }
    Ok(written)
}

/// `umap.png` for `cell_type`: `umap_cell_type.png`.
fn named(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let end = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let clean: String = name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    path.with_file_name(format!("{stem}_{clean}{end}"))
}

fn score(e: &scgraft::Embedding, program: &str) -> Result<Vec<f32>> {
    let Some(j) = e.names.iter().position(|n| n == program) else {
        let names: Vec<&str> = e.names.iter().map(String::as_str).collect();
        let near = input::nearest_first(program, &names);
        bail!(
            "there is no program `{program}`; nearest names: {}",
            near.split(", ").take(8).collect::<Vec<_>>().join(", ")
        );
    };
    Ok(e.mean.column(j))
}

fn color_of(obs: &scgraft::cells::Frame, e: &scgraft::Embedding, name: &str) -> Result<Coloring> {
    if let Some(column) = obs.column(name) {
        return Ok(pictures::coloring(name, column));
    }
    if e.names.iter().any(|n| n == name) {
        return Ok(Coloring::signed_scores(name, score(e, name)?));
    }
    bail!("`{name}` is neither a column of obs ({}) nor a program", input::nearest_first(name, &obs.names()))
}

fn bayes(mapped: &Path, test: Option<&str>, group: Option<&str>, output: &Path) -> Result<Vec<PathBuf>> {
    let (cells, _) = encode::stored(mapped, slots::LATENT)?;
    let tests = slots::tests(&cells);
    let names: Vec<&str> = tests.iter().map(|t| t.0.as_str()).collect();
    let found = match test {
        Some(name) => tests.iter().find(|t| t.0 == name),
        None if tests.len() == 1 => tests.first(),
        None => None,
    };
    let Some((_, table)) = found else {
        if names.is_empty() {
            bail!("{}: no test in uns; run `scgraft enrich` first", mapped.display());
        }
        bail!(
            "{}: choose one of its tests with --test: {}",
            mapped.display(),
            input::nearest_first(test.unwrap_or(""), &names)
        );
    };
    let all = pictures::comparisons(table);
    let groups: Vec<&str> = all.iter().map(|c| c.group.as_str()).collect();
    let chosen = match group {
        None => all.first(),
        Some(name) => all.iter().find(|c| c.group == name),
    };
    let Some(chosen) = chosen else {
        bail!("there is no group `{}`; there are {}", group.unwrap_or(""), groups.join(", "));
    };
    chosen.save(output)?;
    Ok(vec![output.to_owned()])
}

fn training(file: &Path, output: &Path) -> Result<Vec<PathBuf>> {
    files::check_input(file)?;
    let history = match Model::load(file) {
        Ok(model) => model.history,
        Err(as_model) => match encode::stored(file, slots::LATENT) {
            Ok((cells, _)) => pictures::stored_history(&cells),
            Err(_) => return Err(as_model.into()),
        },
    };
    let Some(picture) = pictures::training("", &history) else {
        bail!("{}: no training history: it was not trained", file.display());
    };
    picture.save(output)?;
    Ok(vec![output.to_owned()])
}

/// The bars of one program's genes.
pub(crate) fn genes(model: &Model, program: &str, top: usize) -> Result<GeneBars> {
    let Some(weights) = pipeline::program_weights(model) else {
        bail!("the dimensions of a {} model are not gene programs", model.entry.name);
    };
    let programs: Vec<_> = model.header.programs().map(|(_, p)| p).collect();
    let Some(j) = programs.iter().position(|p| p.name == program) else {
        let names: Vec<&str> = programs.iter().map(|p| p.name.as_str()).collect();
        bail!("the model has no program `{program}`; nearest name first: {}", input::nearest_first(program, &names));
    };
    Ok(GeneBars { title: program.to_owned(), genes: gene_weights(model, &weights, j, top) })
}

/// The heaviest genes of program `j`; those that are not in its gene set are marked.
pub(crate) fn gene_weights(model: &Model, weights: &scgraft::cells::Dense, j: usize, top: usize) -> Vec<GeneWeight> {
    let Some((_, program)) = model.header.programs().nth(j) else { return Vec::new() };
    let mut order: Vec<usize> = (0..weights.n_rows).filter(|&g| weights.row(g)[j] != 0.0).collect();
    order.sort_by(|&a, &b| weights.row(b)[j].abs().total_cmp(&weights.row(a)[j].abs()));
    let weight = |&g: &usize| GeneWeight {
        name: model.header.genes[g].clone(),
        weight: f64::from(weights.row(g)[j]),
        added: !program.members.is_empty() && program.members.binary_search(&(g as u32)).is_err(),
    };
    order.iter().take(top).map(weight).collect()
}
