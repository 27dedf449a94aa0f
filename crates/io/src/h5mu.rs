//! h5mu: MuData, several AnnData of the same cells in one file
//! (<https://mudata.readthedocs.io/en/latest/io/spec.html>).

use std::collections::HashMap;

use scgraft_cells::{Array, Cells};

use crate::error::{Error, Result};
use crate::h5ad::{ReadOptions, Select, read_anndata, read_frame};
use crate::store::{Kind, Reader};
use crate::tenx::{PROTEIN_SLOT, protein_table};

/// Names that expression and protein modalities go by.
const RNA: [&str; 4] = ["rna", "gex", "gene_expression", "RNA"];
const PROTEIN: [&str; 8] = ["prot", "protein", "adt", "proteins", "protein_expression", "ADT", "cite", "antibody"];

/// Reads the expression modality, with the counts of the protein modality in `obsm["protein_expression"]`
/// and the columns that the file has for all modalities together in `obs`.
pub(crate) fn read_h5mu(r: &dyn Reader, options: &ReadOptions) -> Result<Cells> {
    let modalities = r.children("mod")?;
    let find = |names: &[&str]| names.iter().find(|n| modalities.iter().any(|m| m == *n)).map(|n| (*n).to_owned());
    let Some(rna) = find(&RNA) else {
        return Err(Error::missing(r.path(), "expression modality, such as", RNA[0], &modalities));
    };
    let mut cells = read_anndata(r, &format!("mod/{rna}"), options)?;
    let protein = find(&PROTEIN);
    for left in modalities.iter().filter(|m| **m != rna && Some(*m) != protein.as_ref()) {
        r.leave_out(&format!("mod/{left}"), "another modality");
    }
    if options.obs != Select::Nothing && r.kind("obs")? == Some(Kind::Group) {
        add_common_columns(r, &mut cells, &modalities)?;
    }
    let wanted = match &options.obsm {
        Select::All => true,
        Select::Nothing => false,
        Select::Only(names) => names.iter().any(|n| n == PROTEIN_SLOT),
    };
    if let Some(protein) = protein.filter(|_| wanted) {
        let other = read_anndata(r, &format!("mod/{protein}"), &ReadOptions { x: true, ..ReadOptions::nothing() })?;
        let Some(x) = &other.x else { return Ok(cells) };
        let rows = rows_of(r, &cells, &other.obs.index, &format!("mod/{protein}"))?;
        let counts = x.to_csr().select_rows(&rows);
        let table = protein_table(&cells.obs, other.var.index.clone(), &counts);
        cells.obsm.insert(PROTEIN_SLOT.to_owned(), Array::Frame(table));
    }
    Ok(cells)
}

/// Where each cell stands among `names`.
fn rows_of(r: &dyn Reader, cells: &Cells, names: &[String], slot: &str) -> Result<Vec<usize>> {
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let rows: Vec<Option<usize>> = cells.obs.index.iter().map(|n| places.get(n.as_str()).copied()).collect();
    let absent = rows.iter().filter(|r| r.is_none()).count();
    if absent > 0 {
        let found = format!("{absent} cells of the expression modality absent; keep the cells that both have");
        return Err(Error::content(r.path(), slot, "the cells of the expression modality", found));
    }
    Ok(rows.into_iter().flatten().collect())
}

/// Columns of the common table that are not copies of a modality's own (`rna:batch`).
fn add_common_columns(r: &dyn Reader, cells: &mut Cells, modalities: &[String]) -> Result<()> {
    let common = read_frame(r, "obs", &Select::All, None)?;
    let rows = rows_of(r, cells, &common.index, "obs")?;
    for (name, column) in &common.columns {
        let copied = modalities.iter().any(|m| name.strip_prefix(m.as_str()).is_some_and(|rest| rest.starts_with(':')));
        if !copied && cells.obs.column(name).is_none() {
            cells.obs.set(name, column.select(&rows));
        }
    }
    Ok(())
}
