//! The real pair: PBMC of five studies as reference, IFN-β stimulated PBMC as query.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use scgraft_cells::{Cells, ConditionSource, GenePrograms, GeneSet, PrepareOptions, Prepared, ProgramOptions};
use scgraft_io::{GmtOptions, ReadOptions, read_gmt, read_h5ad};
use scgraft_models::{Header, Membership, Model, Program, Segment};
use serde_json::Value;

/// Reference and query as read.
pub struct Pair {
    pub reference: Cells,
    pub query: Cells,
    pub sets: Vec<GeneSet>,
}

/// Where the data is: the folder given, `SCGRAFT_DATA`, or `../shared/data` beside the project.
pub fn folder(given: Option<&Path>) -> PathBuf {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    given.map(Path::to_owned).or_else(|| std::env::var_os("SCGRAFT_DATA").map(PathBuf::from)).unwrap_or(beside.into())
}

pub fn read(folder: &Path) -> Result<Pair> {
    Ok(Pair { reference: read_reference(folder)?, query: read_query(folder)?, sets: sets(folder)? })
}

pub fn read_reference(folder: &Path) -> Result<Cells> {
    cells(&folder.join("pbmc_reference_merged.h5ad"))
}

pub fn read_query(folder: &Path) -> Result<Cells> {
    cells(&folder.join("kang_ifnb_2800.h5ad"))
}

pub fn sets(folder: &Path) -> Result<Vec<GeneSet>> {
    Ok(read_gmt(&[folder.join("expimap_ref_model_fig3_mask.gmt")], &GmtOptions::default())?)
}

fn cells(path: &Path) -> Result<Cells> {
    read_h5ad(path, &ReadOptions::default()).with_context(|| format!("reading {}", path.display()))
}

/// The genes of the sets, in the reference's order.
pub fn genes(cells: &Cells, sets: &[GeneSet]) -> Vec<String> {
    let wanted: std::collections::HashSet<&String> = sets.iter().flat_map(|s| &s.genes).collect();
    cells.var.index.iter().filter(|g| wanted.contains(g)).cloned().collect()
}

pub fn reference(cells: &Cells, genes: &[String]) -> Result<Prepared> {
    let condition = ConditionSource::Columns(vec!["study".into()]);
    Ok(Prepared::reference(cells, Some(genes), &PrepareOptions { condition, ..PrepareOptions::default() })?)
}

pub fn query(cells: &Cells, model: &Model) -> Result<Prepared> {
    let options = PrepareOptions { condition: ConditionSource::Constant("Kang".into()), ..PrepareOptions::default() };
    Ok(Prepared::query(cells, &model.header.known(), &options)?)
}

/// An expiMap of these programs for this reference.
pub fn expimap(data: &Prepared, sets: &[GeneSet], config: &Value, seed: u64) -> Result<Model> {
    let options = ProgramOptions { min_genes: 1, ..ProgramOptions::default() };
    let programs = GenePrograms::new(sets, &data.genes, &options)?;
    let programs = programs
        .names
        .iter()
        .zip(&programs.members)
        .map(|(name, members)| Program { name: name.clone(), members: members.clone() })
        .collect();
    let header = Header {
        genes: data.genes.clone(),
        conditions: data.condition.levels.clone(),
        segments: vec![Segment { origin: None, membership: Membership::Hard, programs }],
        ..Header::default()
    };
    Ok(Model::new("expimap", config, header, seed)?)
}

/// Kang's cell types in the reference's words; `None` for those without a counterpart.
pub fn known_types(cells: &Cells) -> Vec<Option<String>> {
    let map: HashMap<&str, &str> = HashMap::from([
        ("CD14 Mono", "CD14+ Monocytes"),
        ("CD4 Naive T", "CD4 T"),
        ("CD4 Memory T", "CD4 T"),
        ("CD16 Mono", "FCGR3A+ Monocytes"),
        ("B", "B"),
        ("B Activated", "B"),
        ("CD8 T", "CD8 T"),
        ("NK", "NK"),
        ("DC", "DC"),
        ("Mk", "Megakaryocytes"),
    ]);
    let column = cells.obs.column("cell_type");
    (0..cells.n_cells())
        .map(|i| column.and_then(|c| c.text(i)).and_then(|t| map.get(t.as_str()).map(|&m| m.to_owned())))
        .collect()
}

/// The reference's cells, prepared for a model that may know more conditions than they have.
pub fn query_like(cells: &Cells, model: &Model) -> Result<Prepared> {
    let condition = ConditionSource::Columns(vec!["study".into()]);
    Ok(Prepared::query(cells, &model.header.known(), &PrepareOptions { condition, ..PrepareOptions::default() })?)
}
