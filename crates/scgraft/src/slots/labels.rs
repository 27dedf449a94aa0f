//! Labels in the slots: carried over, predicted, and those of clusters.

use scgraft_analysis::graph::cluster::Clustering;
use scgraft_analysis::transfer::{HierarchicalTransfer, LabelTransfer, UNKNOWN};
use scgraft_cells::{Cells, Column, Dense};
use scgraft_io::hdf5_names;
use scgraft_report::color::{Rgb, category};

use super::colors::{colors, put_colors};
use super::put_table;
use crate::annotate::{AnnotatedLabels, Annotation, NOT_SAID, RIGHT, WRONG};
use crate::cluster::{Agreement, Clusters};
use crate::expression::Prediction;

/// Puts what was carried over into `obs`, probabilities of labels into `obsm["<label>_probabilities"]`.
pub fn put_annotation(cells: &mut Cells, found: &Annotation) {
    found.labels.iter().for_each(|l| put_labels(cells, &l.transfer));
    for l in &found.labels {
        if let Some(novelty) = &l.novelty {
            cells.obs.set(&format!("{}_novelty", l.transfer.column), Column::Real(novelty.score.clone()));
        }
    }
    for AnnotatedLabels { transfer: t, truth, majority, .. } in &found.labels {
        if let Some(verdict) = truth.as_ref().and_then(|t| t.verdict.as_ref()) {
            let words = [RIGHT, WRONG, NOT_SAID].into_iter().filter(|w| verdict.contains(&Some(w)));
            let words: Vec<String> = words.map(str::to_owned).collect();
            let code = |v: &Option<&str>| v.and_then(|v| words.iter().position(|w| w == v)).map_or(-1, |at| at as i32);
            let codes = verdict.iter().map(code).collect();
            let column = Column::Categorical { codes, categories: words, ordered: false };
            cells.obs.set(&format!("{}_verdict", t.column), column);
        }
        if let Some(majority) = majority {
            cells.obs.set(&format!("{}_majority", t.column), Column::categories(&majority.labels));
            cells.obs.set(&format!("{}_majority_share", t.column), Column::Real(majority.share.clone()));
        }
    }
    for AnnotatedLabels { transfer: t, sets, .. } in &found.labels {
        if let Some(found) = sets {
            let joined =
                |set: &Vec<u32>| set.iter().map(|&y| t.levels[y as usize].as_str()).collect::<Vec<_>>().join(" | ");
            let texts: Vec<String> = found.sets.iter().map(joined).collect();
            cells.obs.set(&format!("{}_set", t.column), Column::categorical(&texts));
        }
    }
    cells.obs.set("scgraft_distance", Column::Real(found.distance.score.clone()));
    cells.obs.set("scgraft_distance_quantile", Column::Real(found.distance.quantile.clone()));
    if let Some(nested) = &found.nested {
        put_nested(cells, nested);
    }
    for (names, values) in &found.numbers {
        let column = |m: &Dense, j: usize| Column::Real(m.column(j).into_iter().map(f64::from).collect());
        for (j, name) in names.iter().enumerate() {
            cells.obs.set(&format!("{name}_pred"), column(&values.mean, j));
            cells.obs.set(&format!("{name}_sd"), column(&values.sd, j));
        }
    }
}

/// Puts the labels of a model's own classifier into `obs`, with probabilities into `obsm["<name>_probabilities"]`.
pub fn put_prediction(cells: &mut Cells, name: &str, prediction: &Prediction, with_probabilities: bool) {
    cells.obs.set(&format!("{name}_pred"), Column::categorical(&prediction.names()));
    cells.obs.set(&format!("{name}_uncertainty"), Column::Real(prediction.uncertainty.clone()));
    if with_probabilities {
        put_table(cells, &probabilities_key(name), &prediction.levels, &prediction.probabilities);
    }
}

/// The entry of `obsm` with the probabilities of the labels of a column.
pub fn probabilities_key(column: &str) -> String {
    hdf5_names(&[format!("{column}_probabilities")]).swap_remove(0)
}

/// Puts clusters into `obs[key]` (`obs["<key>_<resolution>"]` of several), as categories in the order of their numbers, and
/// gives the names of the columns.
pub fn put_clusters(cells: &mut Cells, key: &str, found: &Clusters) -> Vec<String> {
    let several = found.clusterings.len() > 1;
    let put = |(c, _): &(Clustering, Option<Agreement>)| {
        let name = if several { format!("{key}_{}", c.resolution) } else { key.to_owned() };
        let categories = (0..c.n_clusters).map(|c| c.to_string()).collect();
        let codes = c.codes.iter().map(|&c| c as i32).collect();
        cells.obs.set(&name, Column::Categorical { codes, categories, ordered: false });
        put_colors(cells, &name, &[]);
        name
    };
    found.clusterings.iter().map(put).collect()
}

fn put_labels(cells: &mut Cells, t: &LabelTransfer) {
    cells.obs.set(&format!("{}_pred", t.column), Column::categorical(&t.labels()));
    let best: Vec<&str> = t.best.iter().map(|&b| t.levels[b as usize].as_str()).collect();
    cells.obs.set(&format!("{}_best", t.column), Column::categorical(&best));
    cells.obs.set(&format!("{}_uncertainty", t.column), Column::Real(t.uncertainty.clone()));
    // Of one type one colour, in either column.
    let palette = t.levels.iter().enumerate().map(|(i, level)| (level.clone(), category(i)));
    let known: Vec<(String, Rgb)> = colors(cells, &t.column).into_iter().chain(palette).collect();
    ["pred", "best"].iter().for_each(|end| put_colors(cells, &format!("{}_{end}", t.column), &known));
    if let Some(p) = &t.probabilities {
        put_table(cells, &probabilities_key(&t.column), &t.levels, p);
    }
}

fn put_nested(cells: &mut Cells, nested: &HierarchicalTransfer) {
    let Some(finest) = nested.depths.first().map(|d| d.column.clone()) else { return };
    let n = nested.depth.len();
    let labels: Vec<&str> = (0..n).map(|i| nested.label(i)).collect();
    let columns: Vec<&str> =
        nested.depth.iter().map(|d| d.map_or(UNKNOWN, |d| nested.depths[d as usize].column.as_str())).collect();
    cells.obs.set(&format!("{finest}_nested"), Column::categorical(&labels));
    cells.obs.set(&format!("{finest}_nested_column"), Column::categorical(&columns));
}
