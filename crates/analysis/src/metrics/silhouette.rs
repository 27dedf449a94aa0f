//! Silhouette widths: cell-type ASW, batch ASW, BRAS.
//!
//! For cell i with mean distance a to the other cells of its own group and b to another group,
//! s = (b − a) / max(a, b). Which "other group" is [`Between`]'s choice. A cell alone in its group
//! has s = 0.
//!
//! Sources: Rousseeuw 1987; Luecken et al., *Nat Methods* 2022 (ASW of types and of batches);
//! Rautenstrauch & Ohler 2025 (BRAS: the batch score with cosine distances and the mean over all
//! other batches, because the nearest batch hides the effect of batches that lie apart).
//!
//! Distances are computed in blocks and never stored, so memory grows with cells × groups, not
//! with cells².

use rayon::prelude::*;
use scgraft_cells::{Coded, Dense, Steps};
use scgraft_numeric::gemm::{Accum, MatMut, MatRef, matmul};

use super::{Groups, mean};
use crate::error::{Error, Result, check_matrix};

/// How far apart two cells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// ‖x − y‖.
    Euclidean,
    /// 1 − x·y / (‖x‖ ‖y‖). Not defined for a cell at the origin, which is refused.
    Cosine,
}

/// Which other group a cell is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The nearest, by mean distance: the usual silhouette.
    Nearest,
    /// All other cells together.
    MeanOther,
}

/// Cells in a block, at most.
const BLOCK: usize = 256;
/// Blocks whose column sums are held at the same time. Fixed, so that the order of every sum is.
const ROUND: usize = 16;
/// Partial sums in the innermost loop.
const LANES: usize = 16;

/// The silhouette width of every cell, −1 to 1.
///
/// # Errors
/// Values that are not finite, labels with one level, labels of another length.
pub fn silhouette_samples(x: &Dense, labels: &Coded, distance: Distance, between: Between) -> Result<Vec<f64>> {
    check_matrix("embedding", x)?;
    let groups = Groups::new("silhouette groups", labels, x.n_rows, 2)?;
    widths(x, &groups, distance, between)
}

/// Average silhouette width of the cell types, scaled: (mean s + 1) / 2.
///
/// 1: every type lies compact and apart; 0.5: types overlap. Euclidean, nearest other type.
///
/// # Errors
/// As [`silhouette_samples`].
pub fn cell_type_asw(x: &Dense, cell_types: &Coded) -> Result<f64> {
    Ok((mean(silhouette_samples(x, cell_types, Distance::Euclidean, Between::Nearest)?) + 1.0) / 2.0)
}

/// Batch ASW: within each cell type, mean of 1 − |s| over the batches' silhouettes; then the mean over types.
///
/// 1: batches of a type lie on each other. Euclidean, nearest other batch. Types with a single
/// batch, or with one cell a batch, say nothing and are left out.
///
/// # Errors
/// As [`silhouette_samples`]; no type with two batches.
pub fn batch_asw(x: &Dense, cell_types: &Coded, batch: &Coded) -> Result<f64> {
    batch_silhouette(x, cell_types, batch, Distance::Euclidean, Between::Nearest)
}

/// BRAS: [`batch_asw`] with cosine distance and all other batches together.
///
/// # Errors
/// As [`batch_asw`].
pub fn bras(x: &Dense, cell_types: &Coded, batch: &Coded) -> Result<f64> {
    batch_silhouette(x, cell_types, batch, Distance::Cosine, Between::MeanOther)
}

/// The batch silhouette with any distance and comparison: what [`batch_asw`] and [`bras`] are made of.
fn batch_silhouette(x: &Dense, cell_types: &Coded, batch: &Coded, distance: Distance, between: Between) -> Result<f64> {
    check_matrix("embedding", x)?;
    let types = Groups::new("cell type", cell_types, x.n_rows, 1)?;
    let batches = Groups::new("batch", batch, x.n_rows, 2)?;
    let mut scores = Vec::new();
    for members in types.members() {
        let own = Coded { codes: members.iter().map(|&i| batches.codes[i]).collect(), levels: batches.names.clone() };
        let groups = Groups::new("batch", &own, members.len(), 1)?;
        if groups.sizes.len() == 1 || groups.sizes.len() == members.len() {
            continue;
        }
        let s = widths(&x.select_rows(&members), &groups, distance, between)?;
        scores.push(mean(s.iter().map(|v| 1.0 - v.abs())));
    }
    if scores.is_empty() {
        return Err(Error::Inconsistent {
            what: "batch silhouette".to_owned(),
            problem: "no cell type has cells of two batches, so mixing cannot be judged within types; \
                      check the batch and cell type columns"
                .to_owned(),
        });
    }
    Ok(mean(scores))
}

/// Silhouette widths from sums of distances to every group.
pub(crate) fn widths(x: &Dense, groups: &Groups, distance: Distance, between: Between) -> Result<Vec<f64>> {
    let n_groups = groups.sizes.len();
    let sums = distance_sums(x, groups, distance)?;
    let width = sums
        .chunks_exact(n_groups)
        .zip(&groups.codes)
        .map(|(row, &own)| {
            let own = own as usize;
            let size = groups.sizes[own];
            if size == 1 {
                return 0.0;
            }
            let within = row[own] / (size - 1) as f64;
            let others = (0..n_groups).filter(|&g| g != own);
            let outside = match between {
                Between::Nearest => others.map(|g| row[g] / groups.sizes[g] as f64).fold(f64::INFINITY, f64::min),
                Between::MeanOther => others.map(|g| row[g]).sum::<f64>() / (groups.codes.len() - size) as f64,
            };
            let larger = within.max(outside);
            if larger > 0.0 { (outside - within) / larger } else { 0.0 }
        })
        .collect();
    Ok(width)
}

/// Up to [`BLOCK`] cells of one group, in the order by group.
struct Block {
    start: usize,
    end: usize,
    group: usize,
}

/// The sum of distances from each cell to the cells of each group, cells × groups.
fn distance_sums(x: &Dense, groups: &Groups, distance: Distance) -> Result<Vec<f64>> {
    let (n, n_groups) = (x.n_rows, groups.sizes.len());
    let order: Vec<usize> = groups.members().concat();
    let (points, squares) = arrange(x, &order, distance)?;
    let mut blocks = Vec::new();
    let mut start = 0;
    for (group, &size) in groups.sizes.iter().enumerate() {
        let end = start + size;
        blocks.extend((start..end).step_by(BLOCK).map(|s| Block { start: s, end: (s + BLOCK).min(end), group }));
        start = end;
    }
    // Distances are symmetric: each pair of blocks is computed once and added to both sides.
    let mut sums = vec![0f64; n * n_groups];
    let blocks = &blocks;
    // The first cells meet all others, the last none: a round is as long as what is left, so pairs are counted.
    let pairs = |from: usize| (blocks.len() - from) * (blocks.len() - from + 1) / 2;
    let steps = Steps::new("distances between cells", pairs(0));
    for round in (0..blocks.len()).step_by(ROUND) {
        steps.reach(pairs(0) - pairs(round));
        let parts: Vec<(Vec<f64>, Vec<f64>)> = (round..(round + ROUND).min(blocks.len()))
            .into_par_iter()
            .map(|a| block_sums(&blocks[a], &blocks[a..], n_groups, &points, &squares, x.n_cols, distance))
            .collect();
        for (a, (rows, columns)) in (round..).zip(&parts) {
            let block = &blocks[a];
            let span = &mut sums[block.start * n_groups..block.end * n_groups];
            span.iter_mut().zip(rows).for_each(|(s, v)| *s += v);
            for (j, v) in columns.iter().enumerate() {
                sums[(block.end + j) * n_groups + block.group] += v;
            }
        }
    }
    let mut out = vec![0f64; n * n_groups];
    for (at, &i) in order.iter().enumerate() {
        out[i * n_groups..(i + 1) * n_groups].copy_from_slice(&sums[at * n_groups..(at + 1) * n_groups]);
    }
    Ok(out)
}

/// The cells by group, of unit length for cosine, centred (rounding then hurts least); and ‖x‖² after that.
///
/// For unit vectors 1 − x·y = ‖x − y‖² / 2, so both distances come from the same formula.
fn arrange(x: &Dense, order: &[usize], distance: Distance) -> Result<(Vec<f32>, Vec<f32>)> {
    let d = x.n_cols;
    let norm = |i: usize| x.row(i).iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let scales: Vec<f64> = match distance {
        Distance::Euclidean => vec![1.0; x.n_rows],
        Distance::Cosine => (0..x.n_rows).map(|i| 1.0 / norm(i)).collect(),
    };
    if let Some(row) = scales.iter().position(|s| !s.is_finite()) {
        return Err(Error::Inconsistent {
            what: format!("embedding, row {row}"),
            problem: "all values are zero, so its cosine distance is not defined; drop the cell".to_owned(),
        });
    }
    let mut centre = vec![0f64; d];
    for (row, scale) in x.values.chunks_exact(d).zip(&scales) {
        centre.iter_mut().zip(row).for_each(|(c, &v)| *c += f64::from(v) * scale);
    }
    centre.iter_mut().for_each(|c| *c /= x.n_rows as f64);
    let mut points = vec![0f32; order.len() * d];
    let mut squares = vec![0f32; order.len()];
    points.par_chunks_mut(d).zip(squares.par_iter_mut()).zip(order.par_iter()).for_each(|((out, square), &i)| {
        let mut sum = 0f64;
        for ((o, &v), &c) in out.iter_mut().zip(x.row(i)).zip(&centre) {
            *o = (f64::from(v) * scales[i] - c) as f32;
            sum += f64::from(*o).powi(2);
        }
        *square = sum as f32;
    });
    Ok((points, squares))
}

/// Sums of one block's rows to every group (of `blocks`), and of all later cells to the block.
fn block_sums(
    own: &Block,
    blocks: &[Block],
    n_groups: usize,
    points: &[f32],
    squares: &[f32],
    d: usize,
    distance: Distance,
) -> (Vec<f64>, Vec<f64>) {
    let m = own.end - own.start;
    let mut rows = vec![0f64; m * n_groups];
    let mut columns = vec![0f64; squares.len() - own.end];
    let mut products = vec![0f32; m * BLOCK];
    let mut column_sums = [0f32; BLOCK];
    for other in blocks {
        let n = other.end - other.start;
        let products = &mut products[..m * n];
        matmul(
            MatMut::from_row_major_slice_mut(products, m, n),
            Accum::Replace,
            MatRef::from_row_major_slice(&points[own.start * d..own.end * d], m, d),
            MatRef::from_column_major_slice(&points[other.start * d..other.end * d], d, n),
            1f32,
        );
        column_sums[..n].fill(0.0);
        let same = other.start == own.start;
        for (i, row) in products.chunks_exact_mut(n).enumerate() {
            squared_distances(row, squares[own.start + i], &squares[other.start..other.end]);
            match distance {
                Distance::Euclidean => row.iter_mut().for_each(|v| *v = v.sqrt()),
                Distance::Cosine => row.iter_mut().for_each(|v| *v *= 0.5),
            }
            if same {
                row[i] = 0.0;
            }
            rows[i * n_groups + other.group] += add(row, &mut column_sums[..n]);
        }
        if !same {
            let span = &mut columns[other.start - own.end..other.end - own.end];
            span.iter_mut().zip(&column_sums[..n]).for_each(|(s, &v)| *s = f64::from(v));
        }
    }
    (rows, columns)
}

/// Turns a row of inner products into squared distances.
fn squared_distances(row: &mut [f32], square: f32, squares: &[f32]) {
    for (v, &s) in row.iter_mut().zip(squares) {
        *v = (square + s - 2.0 * *v).max(0.0);
    }
}

/// Adds a row to the column sums and returns its own sum.
fn add(row: &[f32], column_sums: &mut [f32]) -> f64 {
    let mut lanes = [0f32; LANES];
    let mut chunks = row.chunks_exact(LANES);
    let mut sums = column_sums.chunks_exact_mut(LANES);
    for (chunk, sum) in (&mut chunks).zip(&mut sums) {
        for l in 0..LANES {
            lanes[l] += chunk[l];
            sum[l] += chunk[l];
        }
    }
    let mut total: f64 = lanes.iter().map(|&v| f64::from(v)).sum();
    for (&v, sum) in chunks.remainder().iter().zip(sums.into_remainder()) {
        total += f64::from(v);
        *sum += v;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::coded;

    /// The definition, pair by pair in f64.
    fn plain(x: &Dense, codes: &[u32], distance: Distance, between: Between) -> Vec<f64> {
        let n_groups = codes.iter().max().map_or(0, |&m| m as usize + 1);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
        let far = |i: usize, j: usize| match distance {
            Distance::Euclidean => crate::neighbours::squared_distance(x.row(i), x.row(j)).sqrt(),
            Distance::Cosine => {
                let (a, b) = (x.row(i), x.row(j));
                1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
            }
        };
        (0..x.n_rows)
            .map(|i| {
                let mut sums = vec![(0f64, 0f64); n_groups];
                for j in (0..x.n_rows).filter(|&j| j != i) {
                    sums[codes[j] as usize].0 += far(i, j);
                    sums[codes[j] as usize].1 += 1.0;
                }
                let own = codes[i] as usize;
                if sums[own].1 == 0.0 {
                    return 0.0;
                }
                let a = sums[own].0 / sums[own].1;
                let rest: Vec<(f64, f64)> = (0..n_groups).filter(|&g| g != own).map(|g| sums[g]).collect();
                let b = match between {
                    Between::Nearest => rest.iter().map(|s| s.0 / s.1).fold(f64::INFINITY, f64::min),
                    Between::MeanOther => rest.iter().map(|s| s.0).sum::<f64>() / rest.iter().map(|s| s.1).sum::<f64>(),
                };
                (b - a) / a.max(b)
            })
            .collect()
    }

    fn points(n: usize, d: usize) -> Dense {
        // A fixed irregular sequence is enough; offset 50 makes cancellation visible if centring fails.
        let values = (0..n * d).map(|i| 50.0 + ((i * 7919 + i * i * 31) % 1009) as f32 / 97.0).collect();
        Dense::new(n, d, values)
    }

    #[test]
    fn blocks_give_what_the_definition_gives() {
        let x = points(700, 5);
        // A group larger than a block, one of a single cell, others in between.
        let codes: Vec<u32> = (0..700).map(|i| if i == 13 { 3 } else { [0, 1, 0, 2, 0][i % 5] }).collect();
        for distance in [Distance::Euclidean, Distance::Cosine] {
            for between in [Between::Nearest, Between::MeanOther] {
                let s = silhouette_samples(&x, &coded(&codes, 4), distance, between).unwrap();
                for (a, b) in s.iter().zip(plain(&x, &codes, distance, between)) {
                    assert!((a - b).abs() < 2e-6, "{distance:?} {between:?}: {a} against {b}");
                }
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let x = points(900, 7);
        let labels = coded(&(0..900).map(|i| (i % 4) as u32).collect::<Vec<_>>(), 4);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| silhouette_samples(&x, &labels, Distance::Euclidean, Between::Nearest).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn bad_input_is_named() {
        let mut x = points(10, 3);
        let one = coded(&[0; 10], 1);
        assert!(matches!(cell_type_asw(&x, &one), Err(Error::TooFewLevels { found: 1, needed: 2, .. })));
        let two = coded(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 2);
        assert!(matches!(batch_asw(&x, &two, &two), Err(Error::Inconsistent { .. })));
        x.row_mut(4)[1] = f32::NAN;
        assert!(matches!(cell_type_asw(&x, &two), Err(Error::NotFinite { row: 4, column: 1, .. })));
    }
}
