//! Expression as analyses outside a model take it: log-normalised, and its principal components.

use scgraft_analysis::pca::{Pca, pca};
use scgraft_cells::{
    Cells, Coded, Csr, Fractions, Frame, HighlyVariable, HvgFlavor, HvgOptions, Slot, Warning, highly_variable, log1p,
    normalize_total, round, takes_fractions,
};

use crate::Error;
use crate::columns::unknown;
use crate::query::tell;

/// What every cell's counts are scaled to.
pub(crate) const TARGET: f32 = 10_000.0;

/// Log-normalised expression: ln(1 + 10,000 · counts / library size), as scanpy's tutorials make it.
#[derive(Clone, Debug)]
pub struct LogExpression {
    /// Cells × genes.
    pub x: Csr,
    /// One row a gene.
    pub genes: Frame,
}

impl LogExpression {
    /// The same with the genes named by a column of var, where one is given.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn genes_named_by(mut self, column: Option<&str>) -> Result<LogExpression, Error> {
        let Some(column) = column else { return Ok(self) };
        let Some(names) = self.genes.column(column) else {
            let there = self.genes.names().into_iter().map(str::to_owned).collect();
            return Err(unknown("var", "column", column, there));
        };
        self.genes.index = names.texts().into_iter().map(Option::unwrap_or_default).collect();
        Ok(self)
    }

    /// The cells named, in the order named.
    pub fn select_cells(mut self, rows: &[usize]) -> LogExpression {
        if rows.len() < self.x.n_rows {
            self.x = self.x.select_rows(rows);
        }
        self
    }
}

/// Takes raw counts from a slot and normalises them; values that are `normalised` already are taken as they are.
///
/// # Errors
/// As [`plain_expression`].
pub fn log_expression(
    cells: &Cells,
    slot: &Slot,
    normalised: bool,
    fractions: Fractions,
) -> Result<LogExpression, Error> {
    let LogExpression { x, genes } = plain_expression(cells, slot, normalised, fractions)?;
    let x = if normalised { x } else { log1p(&normalize_total(&x, Some(TARGET))) };
    Ok(LogExpression { x, genes })
}

/// Takes values from a slot as they are: raw counts, or `normalised` ones. Counts that are not whole are taken as for a
/// model, by `fractions`.
///
/// # Errors
/// No such slot; a value that is not finite; in counts, one that is negative, or not whole and not taken.
pub fn plain_expression(
    cells: &Cells,
    slot: &Slot,
    normalised: bool,
    fractions: Fractions,
) -> Result<LogExpression, Error> {
    let (matrix, genes, name) = slot.find(cells).map_err(Error::from)?;
    let mut x = matrix.to_csr();
    if let Some(at) = x.values.iter().position(|v| !v.is_finite()) {
        let cell = &cells.obs.index[x.indptr.partition_point(|&start| start <= at) - 1];
        let gene = &genes.index[x.indices[at] as usize];
        let slot = format!("{name}, cell `{cell}`, gene `{gene}`");
        let (expected, remedy) = ("finite values".into(), "repair or drop the cells with such values".into());
        return Err(Error::Slot { slot, expected, found: x.values[at].to_string(), remedy });
    }
    let is_count = |v: &f32| *v >= 0.0 && v.fract() == 0.0;
    if let Some(&value) = x.values.iter().find(|v| !normalised && !is_count(v)) {
        if x.values.iter().any(|v| *v < 0.0) || !takes_fractions(cells, slot, fractions) {
            return Err(Error::NotCounts { slot: name, value });
        }
        let (n, n_stored) = (x.values.iter().filter(|v| !is_count(v)).count(), x.nnz());
        let rounded = fractions == Fractions::Round;
        if rounded {
            round(&mut x);
        }
        tell(&Warning::NotWhole { slot: name, n, n_stored, rounded });
    }
    Ok(LogExpression { x, genes: genes.clone() })
}

/// How many components there are where no one says.
const COMPONENTS: usize = 50;

/// The first `k` principal components of the `n_top` most variable genes (Satija's dispersion, voted by batch), and
/// those genes. `None`: 50, or as many as there are.
///
/// # Errors
/// Of [`highly_variable`] and [`pca`]; more components than there are, or none.
pub fn principal_components(
    expression: &LogExpression,
    batch: Option<&Coded>,
    n_top: usize,
    k: Option<usize>,
) -> Result<(Pca, HighlyVariable), Error> {
    let n_top = n_top.min(expression.x.n_cols);
    let options = HvgOptions { flavor: HvgFlavor::Seurat, n_top, ..HvgOptions::default() };
    let chosen = highly_variable(&expression.x, batch, &options)?;
    let columns: Vec<Option<usize>> = chosen.chosen.iter().map(|&g| Some(g as usize)).collect();
    let x = expression.x.select_columns(&columns).to_dense();
    let most = x.n_rows.min(x.n_cols).saturating_sub(1).max(1);
    let k = k.unwrap_or(COMPONENTS.min(most));
    if !(1..=most).contains(&k) {
        return Err(Error::Beyond { name: "components", value: k.to_string(), most });
    }
    Ok((pca(&x, k)?, chosen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scgraft_cells::{Dense, SimulateOptions, simulate};

    #[test]
    fn components_of_the_variable_genes_hold_the_cell_types() {
        let sim = simulate(&SimulateOptions { n_reference: 300, n_query: 50, ..SimulateOptions::default() }).unwrap();
        let expression = log_expression(&sim.reference, &Slot::X, false, Fractions::Judge).unwrap();
        let (found, chosen) = principal_components(&expression, None, 200, Some(10)).unwrap();
        for k in [0, 300, usize::MAX] {
            let refused = principal_components(&expression, None, 2000, Some(k));
            assert!(matches!(refused, Err(Error::Beyond { name: "components", most: 299, .. })), "{k}");
        }
        assert_eq!((found.scores.n_rows, found.scores.n_cols), (300, 10));
        assert!(chosen.chosen.len() >= 200);
        let labels = sim.reference.obs.column("cell_type").unwrap().coded().unwrap();
        let asw = scgraft_analysis::metrics::silhouette::cell_type_asw(&found.scores, &labels).unwrap();
        assert!(asw > 0.55, "{asw}");
    }

    #[test]
    fn values_that_are_no_counts_are_refused_unless_said() {
        let sim = simulate(&SimulateOptions { n_reference: 60, n_query: 50, ..SimulateOptions::default() }).unwrap();
        let mut cells = sim.reference;
        let logged = log_expression(&cells, &Slot::X, false, Fractions::Judge).unwrap().x;
        cells.x = Some(scgraft_cells::Matrix::Sparse(logged.clone()));
        assert!(matches!(log_expression(&cells, &Slot::X, false, Fractions::Judge), Err(Error::NotCounts { .. })));
        assert_eq!(log_expression(&cells, &Slot::X, true, Fractions::Judge).unwrap().x, logged);
        // Corrected counts, as a model takes them.
        let counts = Dense::new(2, 2, vec![40.5, 0.25, 3.0, 2.75]).to_csr();
        let names = |n: [&str; 2]| Frame::new(n.map(str::to_owned).to_vec());
        let cells = Cells::new(scgraft_cells::Matrix::Sparse(counts), names(["a", "b"]), names(["g", "h"]));
        let with = |fractions| plain_expression(&cells, &Slot::X, false, fractions);
        assert_eq!(with(Fractions::Judge).unwrap().x.to_dense().values, [40.5, 0.25, 3.0, 2.75]);
        assert_eq!(with(Fractions::Round).unwrap().x.to_dense().values, [41.0, 0.0, 3.0, 3.0]);
        assert!(matches!(with(Fractions::Refuse), Err(Error::NotCounts { .. })));
    }
}
