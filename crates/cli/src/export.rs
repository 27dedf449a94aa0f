//! `scgraft export`: a model of ours as the files of another package.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use scgraft::hub::{CellsNeeded, export};

use super::{Global, Output, files, remote};

const EXAMPLES: &str = "\
Models scvi, scanvi and totalvi become SCVI, SCANVI and TOTALVI, with the same latent means and expression; scvi-linear becomes
SCVI, or LinearSCVI where its encoder is as there (encode_covariates=false, encoder_norm=batch). Conditions that a query added
are batches like the reference's. A model of another kind has no equal there and is refused. Python that loads the folder is
printed.

Examples:
  scgraft export reference.scgraft --to scvi-tools -o scvi_reference
  scgraft export mapped.scgraft --to scvi-tools -o scvi_mapped";

/// Write a model as scvi-tools loads it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// The model, or its address
    pub model: PathBuf,
    /// The package
    #[arg(long, value_enum)]
    pub to: Package,
    /// The folder to write into: a new one, an empty one, or one with an earlier model of scvi-tools alone
    #[arg(long = "output", short, value_name = "FOLDER")]
    pub output: PathBuf,
}

/// A package that models can be exported to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Package {
    ScviTools,
}

impl Export {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        let Package::ScviTools = self.to;
        remote::check_input(&self.model)?;
        let model = remote::model(&self.model)?;
        let exported = export(&model)?;
        let path = exported.write(&self.output)?;
        files::wrote(&path);
        let folder = self.output.display().to_string();
        let python = python(exported.class, &folder, &exported.cells);
        out.line(format!(
            "{} of scvi-tools, {} genes. With cells in `adata`:",
            exported.class,
            model.header.genes.len()
        ));
        out.line("");
        python.iter().for_each(|line| out.line(format!("  {line}")));
        if exported.as_layers {
            out.line("");
            out.line(format!(
                "Its linear decoder is hidden layers there, which compute the same; {} does not show loadings (`scgraft programs` \
                 does), and training there would not keep it linear.",
                exported.class
            ));
        }
        if !exported.filled.is_empty() {
            tracing::debug!("filled in, since nothing reads them: {}", exported.filled.join(", "));
        }
        out.put("class", exported.class);
        out.put("output", path.display().to_string());
        out.put("as_layers", exported.as_layers);
        out.put("python", python);
        out.put("filled", exported.filled);
        Ok(())
    }
}

/// What loads the model with cells.
fn python(class: &str, folder: &str, cells: &CellsNeeded) -> Vec<String> {
    // Texts of JSON are texts of Python.
    let text = |name: &str| serde_json::Value::from(name).to_string();
    let mut out = vec!["import scvi".to_owned()];
    if let Some(layer) = &cells.layer {
        out.push(format!("# counts in adata.layers[{}]", text(layer)));
    }
    if let Some((column, levels)) = &cells.batch {
        let shown = levels.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if levels.len() > 5 { format!(", … ({})", levels.len()) } else { String::new() };
        out.push(format!("# adata.obs[{}] is one of: {shown}{more}", text(column)));
    }
    for column in &cells.covariates {
        out.push(format!("# adata.obs[{}] as in the reference", text(column)));
    }
    if let Some(slot) = &cells.proteins {
        out.push(format!("# proteins in adata.obsm[{}]", text(slot)));
    }
    match &cells.labels {
        Some((column, Some(unlabelled))) => out.push(format!("adata.obs[{}] = {}", text(column), text(unlabelled))),
        Some((column, None)) => out.push(format!("# labels in adata.obs[{}]", text(column))),
        None => {}
    }
    // That class has no surgery, and does not bring genes into order.
    if class == "LinearSCVI" {
        let genes = format!("scvi.model.{class}.load_registry({})[\"field_registries\"][\"X\"]", text(folder));
        out.push(format!("adata = adata[:, {genes}[\"state_registry\"][\"column_names\"]].copy()"));
    } else {
        out.push(format!("scvi.model.{class}.prepare_query_anndata(adata, {})", text(folder)));
    }
    out.push(format!("model = scvi.model.{class}.load({}, adata=adata)", text(folder)));
    out.push("adata.obsm[\"X_scvi\"] = model.get_latent_representation()".to_owned());
    out
}
