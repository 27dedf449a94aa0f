//! `scgraft import`: a published model of another package as one of ours.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use scgraft::hub::{ImportOptions, Imported, import, import_files};
use serde_json::json;

use super::remote::{self, Bar};
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Reads SCVI, LinearSCVI, SCANVI and TOTALVI of scvi-tools (0.8 and later), EXPIMAP and TRVAE of scArches. Give the folder
that the package saved, or a file in it: `model.pt`, or `model_params.pt` with `attr.pkl` and `var_names.csv` beside it.
Nothing in these files is executed, and no Python is needed. Cells are encoded as the package encodes them, and queries
are mapped on the imported model as on any other. A model that was saved minified (without counts, `adata.h5ad` beside it)
brings its cells: `annotate` needs nothing but the model then.

Examples:
  scgraft import scvi_reference -o reference.scgraft
  scgraft import model.pt -o reference.scgraft
  scgraft import hf:lab/scvi-atlas -o reference.scgraft
  scgraft import expimap_reference --program-names terms.txt -o reference.scgraft
  scgraft map reference.scgraft query.h5ad --condition batch -o mapped.h5ad";

/// Read a model of scvi-tools or scArches.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The folder of a saved model, or its file; or an address
    pub path: PathBuf,
    /// Where to write the model
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: PathBuf,
    /// Names of the gene programs, one a line in their order: the files of EXPIMAP have none
    #[arg(long, value_name = "FILE")]
    pub program_names: Option<PathBuf>,
}

impl Import {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        remote::check_input(&self.path)?;
        files::check_output(&self.output, &[&self.path])?;
        let program_names = match &self.program_names {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                Some(text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect())
            }
            None => None,
        };
        let options = ImportOptions { program_names };
        let mut imported = match remote::address(&self.path)? {
            Some(address) => {
                let mut bar = Bar::new();
                let found = remote::hub()?.fetch_published(&address, &mut |p| bar.look(p))?;
                drop(bar);
                import_files(&found, &options)?
            }
            None => import(&self.path, &options)?,
        };
        let file = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let file = scgraft::io::file_name(&file);
        let p = &mut imported.model.provenance;
        p.insert("scgraft".into(), env!("CARGO_PKG_VERSION").into());
        p.insert("reference".into(), file.into());
        scgraft::save::model(&self.output, &imported.model)?;
        tell(&imported, out);
        files::wrote(&self.output);
        Ok(())
    }
}

/// What the model is, and what to know of it.
fn tell(imported: &Imported, out: &mut Output) {
    let (model, h) = (&imported.model, &imported.model.header);
    let version = imported.version.as_ref().map_or_else(String::new, |v| format!(" {v}"));
    out.line(format!("{} of {}{version}, now {}", imported.class, imported.package, model.entry.name));
    let of = |names: &[String]| match names.len() {
        0..=8 => names.join(", "),
        n => format!("{}, … ({n})", names[..5].join(", ")),
    };
    out.line(format!("{} genes, {} latent dimensions", h.genes.len(), model.n_latent()));
    let column = model.provenance.get("condition_columns").and_then(|v| v[0].as_str());
    let column = column.map_or_else(|| "no column".to_owned(), |c| format!("column `{c}`"));
    out.line(format!("conditions ({column}): {}", of(&h.conditions)));
    for (what, names) in [("labels", &h.labels), ("proteins", &h.proteins), ("continuous covariates", &h.continuous)] {
        if !names.is_empty() {
            out.line(format!("{what}: {}", of(names)));
        }
    }
    for (name, levels) in &h.covariates {
        out.line(format!("covariate {name}: {}", of(levels)));
    }
    if let Some(cells) = &imported.cells {
        let columns = of(&cells.columns);
        match &model.cells {
            Some(_) => {
                out.line(format!("its {} cells are in the model, without counts; columns {columns}", cells.cells))
            }
            None => out.line(format!("beside it: {} cells with {}; columns {columns}", cells.cells, of(&cells.arrays))),
        }
    }
    imported.notes.iter().for_each(|(note, settings)| scgraft::warn(note, settings));
    out.put("package", imported.package);
    out.put("package_version", imported.version.clone());
    out.put("class", imported.class.clone());
    out.put("model", model.entry.name);
    out.put("genes", h.genes.len());
    out.put("latent_dimensions", model.n_latent());
    out.put("conditions", h.conditions.clone());
    out.put("condition_columns", model.provenance.get("condition_columns").cloned());
    out.put("labels", h.labels.clone());
    out.put("proteins", h.proteins.clone());
    out.put("covariates", h.covariates.iter().map(|c| c.0.clone()).chain(h.continuous.clone()).collect::<Vec<_>>());
    out.put("left_out", imported.dropped.iter().map(|(n, why)| json!({ "tensor": n, "why": why })).collect::<Vec<_>>());
    out.put("notes", imported.notes.iter().map(|n| n.0.clone()).collect::<Vec<_>>());
    if let Some(cells) = &imported.cells {
        let inside = model.cells.is_some();
        out.put(
            "cells",
            json!({ "cells": cells.cells, "obsm": cells.arrays, "obs": cells.columns, "in_model": inside }),
        );
    }
}
