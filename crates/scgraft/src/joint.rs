//! Expression of several files together: what an embedding of all their cells is compared with.
//!
//! Principal components of one file and of another are axes of their own, each centred on its own cells: put one below the
//! other they say nothing of the difference between the files. One decomposition of all cells does.

use std::collections::HashSet;

use scgraft_analysis::pca::{Pca, pca};
use scgraft_cells::{Dense, Frame, log1p, normalize_total};

use crate::gather::{GatherPlan, below, places};
use crate::normalised::{LogExpression, TARGET};
use crate::{Error, principal_components};

/// Principal components of the cells of several files.
#[derive(Clone, Debug)]
pub struct JointComponents {
    /// Their components; the cells stand file after file.
    pub pca: Pca,
    /// The genes they are of.
    pub genes: Vec<String>,
    /// Genes that all files have: counts were scaled to 10,000 over these.
    pub shared: usize,
}

/// The first `k` components of the cells of all `parts` together, or as many as there are.
///
/// Values are cells × genes: counts, scaled over the genes that all parts have and log1p; values that are `normalised`
/// are taken as they are. Of the shared genes those in `genes` (a model's) are taken, without such a list, or where the
/// parts lack them all, the `n_top` most variable.
///
/// # Errors
/// No gene that all parts have; a gene name that stands twice in a part; of the decomposition.
pub fn joint_components(
    parts: &[LogExpression],
    normalised: bool,
    genes: Option<&[String]>,
    n_top: usize,
    k: usize,
) -> Result<JointComponents, Error> {
    let files: Vec<String> = (1..=parts.len()).map(|i| format!("file {i}")).collect();
    let genes_of: Vec<(&str, &Frame)> = files.iter().map(String::as_str).zip(parts.iter().map(|p| &p.genes)).collect();
    let places = places(&genes_of, &GatherPlan::default())?;
    let names: Vec<String> = places.iter().filter_map(|of| of[0]).map(|g| parts[0].genes.index[g].clone()).collect();
    let x = below(parts.iter().map(|p| &p.x), &places);
    let x = if normalised { x } else { log1p(&normalize_total(&x, Some(TARGET))) };
    let shared = names.len();
    let there = |n_genes: usize| x.n_rows.min(n_genes).saturating_sub(1).max(1);
    if k == 0 {
        return Err(Error::Beyond { name: "components", value: k.to_string(), most: there(shared) });
    }
    let wanted: HashSet<&str> = genes.unwrap_or_default().iter().map(String::as_str).collect();
    let chosen: Vec<usize> = (0..shared).filter(|&g| wanted.contains(names[g].as_str())).collect();
    if chosen.is_empty() {
        let k = k.min(there(n_top.min(shared)));
        let expression = LogExpression { x, genes: Frame::new(names) };
        let (pca, variable) = principal_components(&expression, None, n_top, Some(k))?;
        let genes = variable.chosen.iter().map(|&g| expression.genes.index[g as usize].clone()).collect();
        return Ok(JointComponents { pca, genes, shared });
    }
    let columns: Vec<Option<usize>> = chosen.iter().map(|&g| Some(g)).collect();
    let k = k.min(there(chosen.len()));
    let x = x.select_columns(&columns).to_dense();
    let genes = chosen.into_iter().map(|g| names[g].clone()).collect();
    Ok(JointComponents { pca: pca(&x, k)?, genes, shared })
}

/// Whether two embeddings under one name were each centred on their own cells, as components of two decompositions are:
/// every column of both has a mean of 0 (within a thousandth of its spread), though the cells are not the same.
pub fn centred_apart(a: &Dense, b: &Dense) -> bool {
    let centred = |x: &Dense| {
        x.n_rows > 1
            && (0..x.n_cols).all(|j| {
                let n = x.n_rows as f64;
                let column: Vec<f64> = (0..x.n_rows).map(|i| f64::from(x.row(i)[j])).collect();
                let mean = column.iter().sum::<f64>() / n;
                let sd = (column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
                mean.abs() <= 1e-3 * sd
            })
    };
    centred(a) && centred(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scgraft_analysis::metrics::pc_regression::pc_regression;
    use scgraft_cells::Coded;

    /// Counts of cells × genes with the names given.
    fn counts(names: &[&str], rows: &[&[f32]]) -> LogExpression {
        let x = Dense::new(rows.len(), names.len(), rows.concat()).to_csr();
        LogExpression { x, genes: Frame::new(names.iter().map(|n| (*n).to_owned()).collect()) }
    }

    fn two_files() -> [LogExpression; 2] {
        let a = counts(
            &["A", "B", "C", "mine"],
            &[&[4.0, 1.0, 0.0, 9.0], &[3.0, 2.0, 1.0, 0.0], &[5.0, 0.0, 2.0, 4.0], &[2.0, 2.0, 2.0, 1.0]],
        );
        // The same genes in another order, and another of its own.
        let b = counts(
            &["C", "yours", "A", "B"],
            &[&[6.0, 7.0, 1.0, 0.0], &[4.0, 0.0, 1.0, 3.0], &[5.0, 3.0, 0.0, 1.0], &[9.0, 1.0, 2.0, 2.0]],
        );
        [a, b]
    }

    #[test]
    fn components_of_both_files_hold_the_difference_between_them() {
        let found = joint_components(&two_files(), false, None, 3, 3).unwrap();
        assert_eq!((found.shared, found.genes.len(), found.pca.scores.n_rows), (3, 3, 8));
        let batch = Coded { codes: vec![0, 0, 0, 0, 1, 1, 1, 1], levels: vec!["a".into(), "b".into()] };
        // Two components of three genes. The share of their variance between the files, in numpy:
        // x = [[4,1,0],[3,2,1],[5,0,2],[2,2,2],[1,0,6],[1,3,4],[0,1,5],[2,2,9]]; y = log1p(1e4 x / x.sum(1)) less its
        // mean; u, s, v = svd(y); z = (u s)[:, :2]; Σ 4 (mean of file)² / Σ z².
        let share = pc_regression(&found.pca.scores, &batch, None).unwrap();
        assert!((share - 0.206_038_385_433_085_64).abs() < 1e-6, "{share}");
        // Joined after two decompositions nothing is left between the files, and it shows.
        let [a, b] = two_files();
        let apart = [a, b].map(|part| joint_components(&[part], false, None, 4, 2).unwrap().pca.scores);
        assert!(centred_apart(&apart[0], &apart[1]));
        let halves = [0..4usize, 4..8].map(|r| found.pca.scores.select_rows(&r.collect::<Vec<_>>()));
        assert!(!centred_apart(&halves[0], &halves[1]));
    }

    #[test]
    fn a_list_of_genes_is_kept_to_where_the_files_have_them() {
        let genes = ["B", "C", "elsewhere", "mine"].map(str::to_owned);
        let found = joint_components(&two_files(), false, Some(&genes), 3, 2).unwrap();
        assert_eq!(found.genes, ["B", "C"]);
    }

    #[test]
    fn files_that_cannot_be_joined_say_why() {
        let [a, _] = two_files();
        let other = counts(&["x", "y"], &[&[1.0, 2.0]]);
        let error = joint_components(&[a.clone(), other], false, None, 3, 2).unwrap_err().to_string();
        assert!(error.contains("A, x") && error.contains("column of var"), "{error}");
        let twice = counts(&["A", "A"], &[&[1.0, 2.0]]);
        let error = joint_components(&[a, twice], false, None, 3, 2).unwrap_err().to_string();
        assert!(error.contains("`A` twice"), "{error}");
    }
}
