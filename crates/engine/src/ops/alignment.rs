//! How far groups of cells of one label lie apart, as a penalty.
//!
//! With m_g the mean and v_g the unbiased variance of the n_g cells of a group g of label y, m the mean of all N of them,
//!
//! B = Σ_y [Σ_g n_g (m_g − m)² − Σ_g (1 − n_g/N) v_g],   W = Σ_y Σ_g (n_g − 1) v_g · n / Σ_y Σ_g (n_g − 1),   loss = B / W
//!
//! with sums over features too: the variance between groups beyond chance as a share of that within them, which does not
//! change with the scale of x. Groups of one cell take no part, nor do labels with one group, nor cells without a label; n
//! counts the cells that take part. Where nothing varies within groups, the loss is 0.

use crate::batch::Codes;
use crate::ops::relayout::reorder;
use crate::ops::slope::Slope;
use crate::tape::{Layout, Shape, Tape, Var};

impl Tape<'_> {
    /// The variance between groups within labels as a share of that within groups, one value; `x` by cell or by feature, a label at or past `n_labels` is
    /// missing.
    pub fn alignment(&mut self, x: Var, labels: &[u32], n_labels: usize, groups: &Codes) -> Var {
        let shape = self.shape(x);
        let (n, d) = (shape.cells, shape.features);
        debug_assert!(labels.len() == n && groups.codes.len() == n);
        let parts = parts(labels, n_labels, &groups.codes);
        let groups = || parts.iter().flatten();
        let (cells, inner) = (groups().map(Vec::len).sum::<usize>(), groups().map(|g| g.len() - 1).sum::<usize>());
        let freedom = cells as f64 / inner.max(1) as f64;
        let mut rows = self.buffer(d * n);
        reorder(self.value(x), shape, Layout::ByFeature, &mut rows);
        let (mut between, mut within) = (0f64, 0f64);
        for x in rows.chunks_exact(n.max(1)) {
            for label in &parts {
                let (b, w) = apart(x, label);
                between += b;
                within += freedom * w;
            }
        }
        let each = if within > 0.0 { 1.0 / within } else { 0.0 };
        let ratio = between * each;
        let mut slopes = self.buffer(d * n);
        slopes.fill(0.0);
        for (x, slope) in rows.chunks_exact(n.max(1)).zip(slopes.chunks_exact_mut(n.max(1))) {
            parts.iter().for_each(|label| slope_of(x, label, 2.0 * each, freedom * ratio, slope));
        }
        let mut out = self.buffer(1);
        out[0] = ratio as f32;
        let needs = self.needs(x);
        let y = self.push(Shape::by_cell(1, 1), out, needs);
        if self.needs(y) {
            reorder(&slopes, Shape::by_feature(d, n), shape.layout, &mut rows);
            self.record(Slope { x, y, slope: rows });
        } else {
            self.recycle(rows);
        }
        self.recycle(slopes);
        y
    }
}

/// Of each label that takes part, its groups' cells.
fn parts(labels: &[u32], n_labels: usize, groups: &[u32]) -> Vec<Vec<Vec<usize>>> {
    let mut order: Vec<usize> = (0..labels.len()).filter(|&i| (labels[i] as usize) < n_labels).collect();
    order.sort_by_key(|&i| (labels[i], groups[i]));
    let of_label = order.chunk_by(|&a, &b| labels[a] == labels[b]);
    of_label
        .map(|cells| {
            cells.chunk_by(|&a, &b| groups[a] == groups[b]).filter(|c| c.len() > 1).map(<[_]>::to_vec).collect()
        })
        .filter(|groups: &Vec<_>| groups.len() > 1)
        .collect()
}

/// Mean of some cells.
fn mean(x: &[f32], cells: &[usize]) -> f64 {
    cells.iter().map(|&i| f64::from(x[i])).sum::<f64>() / cells.len() as f64
}

/// Means of the groups of a label, and of all its cells.
fn means(x: &[f32], groups: &[Vec<usize>]) -> (Vec<f64>, f64, f64) {
    let n: f64 = groups.iter().map(|g| g.len() as f64).sum();
    let means: Vec<f64> = groups.iter().map(|g| mean(x, g)).collect();
    let whole = means.iter().zip(groups).map(|(m, g)| m * g.len() as f64).sum::<f64>() / n;
    (means, whole, n)
}

/// Of one label and feature, the part of B, and Σ_g (n_g − 1) v_g.
fn apart(x: &[f32], groups: &[Vec<usize>]) -> (f64, f64) {
    let (means, whole, n) = means(x, groups);
    let (mut between, mut within) = (0.0, 0.0);
    for (m, group) in means.iter().zip(groups) {
        let size = group.len() as f64;
        let squares: f64 = group.iter().map(|&i| (f64::from(x[i]) - m).powi(2)).sum();
        between += size * (m - whole).powi(2) - (1.0 - size / n) / (size - 1.0) * squares;
        within += squares;
    }
    (between, within)
}

/// Adds `factor` times half the derivatives of B − `ratio` Σ_g (n_g − 1) v_g.
fn slope_of(x: &[f32], groups: &[Vec<usize>], factor: f64, ratio: f64, slope: &mut [f32]) {
    let (means, whole, n) = means(x, groups);
    for (m, group) in means.iter().zip(groups) {
        let size = group.len() as f64;
        let inner = (1.0 - size / n) / (size - 1.0) + ratio;
        for &i in group {
            slope[i] += (factor * (m - whole - inner * (f64::from(x[i]) - m))) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::Check;

    fn twin(x: &[f64], d: usize, labels: &[u32], groups: &[u32], at: &dyn Fn(usize, usize) -> usize) -> f64 {
        let cells = |y: u32, g: u32| (0..labels.len()).filter(move |&i| labels[i] == y && groups[i] == g);
        let (mut between, mut within, mut taking, mut inner) = (0.0, 0.0, 0, 0);
        for y in 0..3u32 {
            let present: Vec<u32> = (0..5).filter(|&g| cells(y, g).count() > 1).collect();
            if present.len() < 2 {
                continue;
            }
            let all: Vec<usize> = present.iter().flat_map(|&g| cells(y, g)).collect();
            taking += all.len();
            for f in 0..d {
                let mean = |c: &[usize]| c.iter().map(|&i| x[at(i, f)]).sum::<f64>() / c.len() as f64;
                for &g in &present {
                    let own: Vec<usize> = cells(y, g).collect();
                    let m = mean(&own);
                    let variance = own.iter().map(|&i| (x[at(i, f)] - m).powi(2)).sum::<f64>() / (own.len() - 1) as f64;
                    between += own.len() as f64 * (m - mean(&all)).powi(2);
                    between -= (1.0 - own.len() as f64 / all.len() as f64) * variance;
                    within += (own.len() - 1) as f64 * variance;
                    inner += own.len() - 1;
                }
            }
        }
        // Counted once a feature.
        between / (within * taking as f64 / (inner / d) as f64)
    }

    #[test]
    fn values_and_gradients() {
        // Label 3 is missing; label 2 has one group of two cells or more.
        let labels: Vec<u32> = (0..45).map(|i| [0, 1, 3, 0, 2][i % 5]).collect();
        let groups: Vec<u32> =
            (0..45u32).map(|i| if i % 5 == 4 { if i == 4 { 1 } else { 0 } } else { i * i % 4 }).collect();
        for layout in [Layout::ByCell, Layout::ByFeature] {
            let (cells, d) = (labels.len(), 6);
            let codes = Codes::new(groups.clone());
            let (l, g) = (labels.clone(), groups.clone());
            let mut check = Check::new();
            let x = check.input("x", Shape { cells, features: d, layout });
            check.twin(move |v| {
                let at = move |c: usize, f: usize| if layout == Layout::ByCell { c * d + f } else { f * cells + c };
                vec![twin(v.input(x), d, &l, &g, &at)]
            });
            let labels = &labels;
            check.run(|t, v| t.alignment(v.input(x), labels, 3, &codes));
        }
    }
}
