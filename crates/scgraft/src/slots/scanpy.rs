//! Results where scanpy keeps its own.

use std::collections::BTreeMap;

use scgraft_analysis::markers::{GroupMarkers, Marker};
use scgraft_analysis::pca::Pca;
use scgraft_cells::{Array, Cells, Column, Dense, Frame, HighlyVariable, Slot, Uns};

use super::{note, put_layout};
use crate::cluster::Clusters;
use crate::layout::Layout;
use crate::markers::MarkerPlan;

/// Where scanpy keeps ranked genes, in `uns`.
pub const RANKED: &str = "rank_genes_groups";
/// Where scanpy looks for a picture, in `obsm`.
pub const SCANPY_UMAP: &str = "X_umap";

/// Puts ranked genes into `uns["rank_genes_groups"]` as scanpy does: records with a field for each group of names, scores,
/// p-values and log₂ fold changes, tables of the shares of cells that express a gene (`pts`, genes × groups; `pts_rest` of
/// the other cells), and what was compared. `genes` are those of the expression, which was taken from `slot`.
pub fn put_markers(cells: &mut Cells, genes: &[String], plan: &MarkerPlan, slot: &Slot, found: &[GroupMarkers]) {
    let records = |column: &dyn Fn(&GroupMarkers) -> Column| {
        Uns::Records(found.iter().map(|g| (g.group.clone(), column(g))).collect())
    };
    let numbers = |value: fn(&Marker) -> f64| records(&|g| Column::Real(g.genes.iter().map(value).collect()));
    let names = records(&|g| Column::Text(g.genes.iter().map(|m| Some(genes[m.gene].clone())).collect()));
    let shares = |share: fn(&Marker) -> f64| {
        let mut table = Frame::new(genes.to_vec());
        for g in found {
            let mut values = vec![0.0; genes.len()];
            g.genes.iter().for_each(|m| values[m.gene] = share(m));
            table.set(&g.group, Column::Real(values));
        }
        table
    };
    let mut pts = shares(|m| m.share_group);
    let others = shares(|m| m.share_reference);
    let mut params = BTreeMap::from([
        ("groupby".to_owned(), Uns::Text(plan.groups.clone())),
        ("reference".to_owned(), Uns::Text(plan.versus().into())),
        ("method".to_owned(), Uns::Text("wilcoxon".into())),
        ("use_raw".to_owned(), Uns::Bool(matches!(slot, Slot::Raw))),
        ("corr_method".to_owned(), Uns::Text("benjamini-hochberg".into())),
        ("tie_correct".to_owned(), Uns::Bool(plan.tie_correct)),
    ]);
    if let Slot::Layer(name) = slot {
        params.insert("layer".to_owned(), Uns::Text(name.clone()));
    }
    let mut out = BTreeMap::from([
        ("params".to_owned(), Uns::Map(params)),
        ("names".to_owned(), names),
        ("scores".to_owned(), numbers(|m| m.score)),
        ("pvals".to_owned(), numbers(|m| m.p_value)),
        ("pvals_adj".to_owned(), numbers(|m| m.p_adjusted)),
        ("logfoldchanges".to_owned(), numbers(|m| m.log2_fold_change)),
    ]);
    if let (Some(group), Some((_, of_group))) = (&plan.versus, others.columns.first()) {
        // Against one group, its shares stand beside those of the others.
        pts.set(group, of_group.clone());
    } else {
        out.insert("pts_rest".to_owned(), Uns::Frame(others));
    }
    out.insert("pts".to_owned(), Uns::Frame(pts));
    cells.uns.insert(RANKED.to_owned(), Uns::Map(out));
}

/// Puts a picture where scanpy looks, `obsm["X_umap"]`, too; not where the file has one there that is not ours. Returns
/// whether it did.
pub fn put_scanpy_layout(cells: &mut Cells, layout: Layout) -> bool {
    let free = !cells.obsm.contains_key(SCANPY_UMAP) || note(cells, &format!("umap {SCANPY_UMAP}")).is_some();
    if free {
        put_layout(cells, SCANPY_UMAP, layout);
    }
    free
}

/// Puts principal components where scanpy keeps them: `obsm["X_pca"]`, `uns["pca"]`, and `varm["PCs"]` with
/// `var["highly_variable"]` where the genes are those of `cells` (`raw` has genes of its own, for which there is no varm).
pub fn put_components(cells: &mut Cells, pca: Pca, variable: &HighlyVariable, n_genes: usize) {
    let k = pca.components.n_rows;
    if n_genes == cells.n_genes() {
        let mut loadings = Dense::zeros(n_genes, k);
        let mut is_variable = vec![Some(false); n_genes];
        for (at, &gene) in variable.chosen.iter().enumerate() {
            is_variable[gene as usize] = Some(true);
            (0..k).for_each(|c| loadings.row_mut(gene as usize)[c] = pca.components.row(c)[at]);
        }
        cells.varm.insert("PCs".into(), Array::Dense(loadings));
        cells.var.set("highly_variable", Column::Boolean(is_variable));
    }
    let notes = [("variance", pca.variance), ("variance_ratio", pca.variance_ratio)];
    let notes = notes.map(|(name, v)| (name.to_owned(), Uns::Floats(vec![k], v)));
    cells.uns.insert("pca".into(), Uns::Map(notes.into()));
    cells.obsm.insert("X_pca".into(), Array::Dense(pca.scores));
}

/// Puts the graph of clusters where scanpy keeps it: distances and connectivities in `obsp`, what they are in
/// `uns["neighbors"]`. `key` is the embedding that they are of, an entry of `obsm`.
pub fn put_graph(cells: &mut Cells, found: &Clusters, key: &str) {
    cells.obsp.insert("distances".into(), found.neighbours.to_csr());
    cells.obsp.insert("connectivities".into(), found.connectivities.clone());
    let text = |t: &str| Uns::Text(t.to_owned());
    let params = BTreeMap::from([
        ("n_neighbors".to_owned(), Uns::Int(found.neighbours.k as i64)),
        ("method".to_owned(), text("umap")),
        ("metric".to_owned(), text("euclidean")),
        ("use_rep".to_owned(), text(key)),
    ]);
    let notes = BTreeMap::from([
        ("connectivities_key".to_owned(), text("connectivities")),
        ("distances_key".to_owned(), text("distances")),
        ("params".to_owned(), Uns::Map(params)),
    ]);
    cells.uns.insert("neighbors".into(), Uns::Map(notes));
}
