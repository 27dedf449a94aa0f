//! What can be read off the data before training, instead of trained from a random start.
//!
//! A reference's decoder has an offset for each gene, L[s, g] per condition or b[g] for all; most of the loss at a random
//! start is that it is not the genes' baseline. With x̄ the sum of counts of the condition's cells and ℓ̄ that of their
//! library sizes, the model without variation is fitted by
//!
//! 1. L[s, g] = ln((x̄[s, g] + 1) / ℓ̄[s]) + ln(number of genes)   (softmax and exp; the mean for the identity)
//! 2. θ[s, g] from Σ x² = Σ (p ℓ)² (1 + 1/θ) + p ℓ, p = (x̄ + 1)/ℓ̄: the moments of NB(p ℓ, θ); at least 1, since what differs
//!    between types is in these moments too, and a gene that starts as noise is hardly learned
//!
//! A graft's new rows start as those of the known condition (or of the mean of all) under which the model explains the
//! query's cells best; then, with μ the means that the model decodes for them,
//!
//! 3. L[s, g] ← L[s, g] + ln((Σ x + 1) / (Σ μ + 1)),
//!
//! a step of iterative proportional fitting, repeated; the ones are a prior that the query is like what is known.

use scgraft_cells::{Prepared, for_rows};
use scgraft_engine::{Axis, ParamId};

use crate::{DecodedLibrary, ExpressionOptions, Model, ModelError};

/// Where a decoder has its genes' baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// The offset of each gene: [condition × gene], or [gene].
    pub offset: ParamId,
    /// Whether the mean is a power of e times the library size (softmax, exp) and not the offset itself.
    pub log: bool,
    /// Log inverse dispersion, of counts; [condition × gene] or [gene].
    pub dispersion: Option<ParamId>,
}

/// Cells of each new condition that a start looks at.
const LOOK: usize = 1024;
/// Known conditions times cells that are tried.
const TRIED: usize = 8192;
/// Steps of equation 3.
const ROUNDS: usize = 2;
/// Bounds of a log inverse dispersion that is read off moments.
const DISPERSION: [f64; 2] = [0.0, 3.0];

impl Model {
    /// Sets what can be read off the data for the conditions that were added last: all of a reference, those of the
    /// latest graft. What is not trainable stays as it is.
    ///
    /// # Errors
    /// Of [`Model::evidence`] and [`Model::expression`].
    pub fn start_from_data(&mut self, data: &Prepared) -> Result<(), ModelError> {
        if self.header.grafts.is_empty() {
            if let Some(baseline) = self.network.facts().baseline {
                self.start_reference(baseline, data)?;
            }
            if let Some(head) = self.network.facts().scores.filter(|_| data.n_cells() > 0) {
                self.start_programs(head, data)?;
            }
            return Ok(());
        }
        let new = self.header.latest_conditions();
        if new.is_empty() || new.start == 0 || self.has_cells() {
            return Ok(());
        }
        let rows = looked_at(data, new.start, LOOK);
        if rows.is_empty() {
            return Ok(());
        }
        self.start_as_known(&data.select_cells(&thinned_out(&rows, TRIED / new.start)))?;
        if let Some(baseline) =
            self.network.facts().baseline.filter(|b| self.params.get(b.offset).axes[0] == Axis::Condition)
        {
            let sample = data.select_cells(&rows);
            for _ in 0..ROUNDS {
                self.correct_offsets(baseline, &sample)?;
            }
        }
        Ok(())
    }

    /// Equations 1 and 2.
    fn start_reference(&mut self, baseline: Baseline, data: &Prepared) -> Result<(), ModelError> {
        let genes = data.n_genes();
        let mut group = |id: ParamId, value: &dyn Fn(&Moments, usize) -> f64| -> Result<(), ModelError> {
            let param = self.params.get_mut(id);
            let by_condition = param.axes[0] == Axis::Condition;
            let n = param.n_values();
            if !n.is_multiple_of(genes) || !(by_condition || n == genes) || !param.is_trainable() {
                return Ok(());
            }
            for (row, values) in param.write().chunks_exact_mut(genes).enumerate() {
                let of = |i: &usize| !by_condition || data.condition.codes[*i] as usize == row;
                let moments = Moments::of(data, &(0..data.n_cells()).filter(of).collect::<Vec<_>>())?;
                if moments.cells > 0 {
                    values.iter_mut().enumerate().for_each(|(g, v)| *v = value(&moments, g) as f32);
                }
            }
            Ok(())
        };
        if baseline.log {
            group(baseline.offset, &|m, g| (m.share(g) * genes as f64).ln())?; // 1
        } else {
            group(baseline.offset, &|m, g| m.sums[g] / m.cells as f64)?; // 1
        }
        if let Some(dispersion) = baseline.dispersion {
            group(dispersion, &|m, g| (-m.excess(g).max(0.02).ln()).clamp(DISPERSION[0], DISPERSION[1]))?; // 2
        }
        Ok(())
    }

    /// New rows as those of the known condition, or the mean of all, under which the model explains `sample` best.
    fn start_as_known(&mut self, sample: &Prepared) -> Result<(), ModelError> {
        let new = self.header.latest_conditions();
        let n_known = new.start;
        let candidates: Vec<Option<usize>> =
            std::iter::once(None).chain((0..n_known).filter(|_| n_known > 1).map(Some)).collect();
        let mut best = vec![(f64::INFINITY, None); new.len()];
        for &candidate in &candidates {
            new.clone().for_each(|row| self.copy_condition(candidate, row));
            let elbo = self.evidence(sample, 0)?.elbo;
            let mut sums = vec![0f64; new.len()];
            for (&code, e) in sample.condition.codes.iter().zip(elbo) {
                sums[code as usize - n_known] -= e;
            }
            for (best, sum) in best.iter_mut().zip(sums) {
                if sum < best.0 {
                    *best = (sum, candidate);
                }
            }
        }
        new.zip(best).for_each(|(row, (_, candidate))| self.copy_condition(candidate, row));
        Ok(())
    }

    /// Row `to` of every condition's tensor that trains, as row `from`, or as the mean of the rows before the new ones.
    fn copy_condition(&mut self, from: Option<usize>, to: usize) {
        for p in self.params.iter_mut().filter(|p| p.axes[0] == Axis::Condition && p.is_trainable()) {
            let (width, known) = (p.row_len(), p.new_rows.start);
            let (old, rest) = p.write().split_at_mut(known * width);
            let row = &mut rest[(to - known) * width..][..width];
            match from {
                Some(from) => row.copy_from_slice(&old[from * width..][..width]),
                None => row.iter_mut().enumerate().for_each(|(g, v)| {
                    *v = old.iter().skip(g).step_by(width).sum::<f32>() / known as f32;
                }),
            }
        }
    }

    /// Equation 3.
    fn correct_offsets(&mut self, baseline: Baseline, sample: &Prepared) -> Result<(), ModelError> {
        let new = self.header.latest_conditions();
        let decoded = self
            .expression(sample, &ExpressionOptions { library: DecodedLibrary::Own, ..ExpressionOptions::default() })?;
        let genes = sample.n_genes();
        for row in new {
            let of_row = |i: &usize| sample.condition.codes[*i] as usize == row;
            let cells: Vec<usize> = (0..sample.n_cells()).filter(of_row).collect();
            let found = Moments::of(sample, &cells)?;
            let mut expected = vec![0f64; genes];
            cells.iter().for_each(|&i| expected.iter_mut().zip(decoded.row(i)).for_each(|(e, &m)| *e += f64::from(m)));
            let offsets = &mut self.params.write(baseline.offset)[row * genes..][..genes];
            for ((offset, expected), found_sum) in offsets.iter_mut().zip(expected).zip(&found.sums) {
                *offset += if baseline.log {
                    ((found_sum + 1.0) / (expected + 1.0)).ln() as f32 // 3
                } else {
                    ((found_sum - expected) / (found.cells as f64 + 1.0)) as f32 // 3
                };
            }
        }
        Ok(())
    }
}

/// Rows of the cells of conditions from `first` on: of each, up to so many, evenly spaced.
fn looked_at(data: &Prepared, first: usize, most: usize) -> Vec<usize> {
    let mut rows = Vec::new();
    for code in first..data.condition.levels.len() {
        let own: Vec<usize> = (0..data.n_cells()).filter(|&i| data.condition.codes[i] as usize == code).collect();
        rows.extend(thinned_out(&own, most));
    }
    rows
}

/// Up to so many of some rows (at least one), evenly spaced.
pub(crate) fn thinned_out(rows: &[usize], most: usize) -> Vec<usize> {
    let n = rows.len().min(most.max(1));
    (0..n).map(|i| rows[i * rows.len() / n]).collect()
}

/// Sums over cells.
struct Moments {
    cells: usize,
    /// Σ x of each gene.
    sums: Vec<f64>,
    /// Σ x² of each gene.
    squares: Vec<f64>,
    library: f64,
    library_squares: f64,
}

impl Moments {
    fn of(data: &Prepared, rows: &[usize]) -> Result<Self, ModelError> {
        let genes = data.n_genes();
        let mut m = Moments {
            cells: rows.len(),
            sums: vec![0.0; genes],
            squares: vec![0.0; genes],
            library: 0.0,
            library_squares: 0.0,
        };
        for &i in rows {
            let library = f64::from(data.library[i]);
            m.library += library;
            m.library_squares += library * library;
        }
        for_rows(&*data.expression, rows, |_, columns, values| {
            for (&g, &v) in columns.iter().zip(values) {
                m.sums[g as usize] += f64::from(v);
                m.squares[g as usize] += f64::from(v) * f64::from(v);
            }
        })?;
        Ok(m)
    }

    /// p, the share of all counts that is this gene's.
    fn share(&self, g: usize) -> f64 {
        (self.sums[g] + 1.0) / self.library.max(1.0)
    }

    /// 1/θ.
    fn excess(&self, g: usize) -> f64 {
        let p = self.share(g);
        (self.squares[g] - self.sums[g]) / (p * p * self.library_squares.max(1.0)) - 1.0
    }
}
