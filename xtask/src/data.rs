//! Real data: PBMC of five studies as reference with IFN-β stimulated PBMC as query, and other mappings with known truth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use scgraft_cells::{
    Cells, Coded, Column, ConditionSource, Frame, GenePrograms, GeneSet, Known, Matrix, PrepareOptions, Prepared,
    ProgramOptions,
};
use scgraft_io::{ReadOptions, WriteOptions, read_gmt, read_h5ad, write_h5ad};
use scgraft_models::{Header, Membership, Model, Program, Segment};
use serde_json::Value;

/// Reference and query as read.
pub struct Pair {
    pub reference: Cells,
    pub query: Cells,
    pub sets: Vec<GeneSet>,
}

/// Where the data is: the folder given, `SCGRAFT_DATA`, or `../shared/data` beside the project.
pub fn folder(given: Option<PathBuf>) -> PathBuf {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    given.or_else(|| std::env::var_os("SCGRAFT_DATA").map(PathBuf::from)).unwrap_or(beside.into())
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
    Ok(read_gmt(&[folder.join("expimap_ref_model_fig3_mask.gmt")])?)
}

pub fn cells(path: &Path) -> Result<Cells> {
    ensure!(path.exists(), "no {}: give --data", path.display());
    Ok(read_h5ad(path, &ReadOptions::default())?)
}

/// A column of obs that every cell has a value in.
pub fn coded(cells: &Cells, column: &str) -> Result<Coded> {
    let column = cells.obs.column(column).with_context(|| format!("no column `{column}`"))?;
    column.coded().map_err(|rows| anyhow::anyhow!("{} cells without a value", rows.len()))
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
    Ok(Prepared::query(cells, &model.header.known, &options)?)
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
        known: Known { proteins: Vec::new(), cells: Vec::new(), ..data.known() },
        segments: vec![Segment { origin: None, membership: Membership::Hard, programs }],
        ..Header::default()
    };
    Ok(Model::new("expimap", config, header, seed)?)
}

/// The query's control cells of types that the reference knows: row, and type in the reference's words.
pub fn known_control_cells(query: &Cells) -> Result<Vec<(usize, String)>> {
    let conditions = coded(query, "condition")?;
    let control = |i: usize| conditions.levels[conditions.codes[i] as usize] == "control";
    Ok(known_cells(query)?.into_iter().filter(|(i, _)| control(*i)).collect())
}

/// The query's cells of types that the reference knows, stimulated or not.
pub fn known_cells(query: &Cells) -> Result<Vec<(usize, String)>> {
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
    let kinds = coded(query, "cell_type")?;
    let kind = |i: usize| map.get(kinds.levels[kinds.codes[i] as usize].as_str()).map(|&kind| (i, kind.to_owned()));
    Ok((0..query.n_cells()).filter_map(kind).collect())
}

/// A reference with `study` and `cell_type`, and a query on the same genes with `study` and `truth`: the type in the
/// reference's words, missing where the cell does not count.
pub struct Task {
    pub reference: Cells,
    pub query: Cells,
}

impl Task {
    /// `pbmc`: the pair, on the genes of its programs, judged on control cells of types that the reference knows.
    /// `scmixology`: cell lines by CEL-seq2 as reference, by Drop-seq as query, on the 2,000 genes with most counts.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        match name {
            "pbmc" => Self::pbmc(folder),
            "scmixology" => Self::scmixology(folder),
            other => bail!("`{other}` is not pbmc or scmixology"),
        }
    }

    fn pbmc(folder: &Path) -> Result<Self> {
        let pair = read(folder)?;
        let genes = genes(&pair.reference, &pair.sets);
        let mut truth = vec![None; pair.query.n_cells()];
        known_control_cells(&pair.query)?.into_iter().for_each(|(i, kind)| truth[i] = Some(kind));
        let mut query = on_genes(&pair.query, &genes)?;
        query.obs.set("study", Column::categorical(&vec!["Kang"; query.n_cells()]));
        query.obs.set("truth", Column::Text(truth));
        Ok(Task { reference: on_genes(&pair.reference, &genes)?, query })
    }

    fn scmixology(folder: &Path) -> Result<Self> {
        let all = cells(&folder.join("scmixology_celseq2_dropseq.h5ad"))?;
        let counts = all.x.as_ref().context("no counts")?.to_csr();
        let mut totals = vec![0f64; all.n_genes()];
        counts.indices.iter().zip(&counts.values).for_each(|(&gene, &count)| totals[gene as usize] += f64::from(count));
        let mut order: Vec<usize> = (0..all.n_genes()).collect();
        order.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
        order.truncate(2000);
        order.sort_unstable();
        let genes: Vec<String> = order.into_iter().map(|g| all.var.index[g].clone()).collect();
        let batch = all.obs.column("batch").context("no `batch`")?.clone();
        let lines = all.obs.column("cell_line").context("no `cell_line`")?.clone();
        let mut all = on_genes(&all, &genes)?;
        all.obs.set("study", batch.clone());
        all.obs.set("cell_type", lines.clone());
        all.obs.set("truth", lines);
        let of = |name: &str| -> Vec<usize> {
            (0..all.n_cells()).filter(|&i| batch.text(i).as_deref().is_some_and(|b| b.starts_with(name))).collect()
        };
        Ok(Task { reference: all.select_cells(&of("CEL")), query: all.select_cells(&of("Drop")) })
    }

    /// Cells of the query that count, and their types.
    pub fn truth(&self) -> Vec<(usize, String)> {
        let column = self.query.obs.column("truth");
        (0..self.query.n_cells()).filter_map(|i| column.and_then(|c| c.text(i)).map(|t| (i, t))).collect()
    }

    /// Writes reference.h5ad and query.h5ad, for the peers.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for (name, cells) in [("reference.h5ad", &self.reference), ("query.h5ad", &self.query)] {
            write_h5ad(folder.join(name), cells, &WriteOptions::default())?;
        }
        Ok(())
    }
}

/// Counts of these genes only, with obs.
fn on_genes(cells: &Cells, genes: &[String]) -> Result<Cells> {
    let condition = ConditionSource::Constant("all".into());
    let found = Prepared::reference(cells, Some(genes), &PrepareOptions { condition, ..PrepareOptions::default() })?;
    Ok(Cells::new(
        Matrix::Sparse(found.expression.whole()?.into_owned()),
        cells.obs.clone(),
        Frame::new(genes.to_vec()),
    ))
}
