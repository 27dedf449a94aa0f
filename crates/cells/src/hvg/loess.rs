//! Local quadratic regression of one variable on another (loess; Cleveland & Devlin 1988, Cleveland & Grosse 1991).
//!
//! Fitting at every point is quadratic in the number of points, so the curve is fitted at a few vertices and blended
//! between them, as the authors' own program does (and scikit-misc and R with it):
//!
//! 1. The range of x, widened by 0.5 %, is cut at medians until a cell holds at most ⌊n · span · 0.2⌋ points. The
//!    ends and the cuts are the vertices.
//! 2. At each vertex v a quadratic in (x − v) is fitted to the ⌊n · span⌋ nearest points with tricube weights
//!    (1 − (|x − v| / h)³)³, h the distance of the farthest of them. It gives a value and a slope.
//! 3. In a cell the curve is the cubic with these values and slopes at its two vertices.

/// The share of a neighbourhood that a cell may hold.
const CELL: f64 = 0.2;

/// The fitted values of `y` at each `x`, for a `span` in (0, 1]; `None` when a neighbourhood has fewer than four points.
pub(super) fn loess(x: &[f64], y: &[f64], span: f64) -> Option<Vec<f64>> {
    let n = x.len();
    // The rounding of n · span must not lose a point.
    let q = n.min((n as f64 * span + 1e-5).floor() as usize);
    if q < 4 {
        return None;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let points: Vec<(f64, f64)> = order.iter().map(|&i| (x[i], y[i])).collect();
    let most = (n as f64 * (span * CELL)).floor() as usize;
    let vertices = vertices(&points, most);
    let fits: Vec<(f64, f64)> = vertices.iter().map(|&v| fit_at(v, &points, q)).collect();
    let blend = |z: f64| {
        // A point on a cut belongs to the cell below it.
        let right = vertices.partition_point(|&v| v < z).clamp(1, vertices.len() - 1);
        let ((low, high), (a, b)) = ((vertices[right - 1], vertices[right]), (fits[right - 1], fits[right]));
        let width = high - low;
        let h = (z - low) / width;
        let g = 1.0 - h;
        g * g * (1.0 + 2.0 * h) * a.0 + h * h * (3.0 - 2.0 * h) * b.0 + (h * g * g * a.1 - h * h * g * b.1) * width
    };
    Some(x.iter().map(|&z| blend(z)).collect())
}

/// The ends of the widened range and the cuts between, increasing. `points` are in the order of x.
fn vertices(points: &[(f64, f64)], most: usize) -> Vec<f64> {
    let (low, high) = (points[0].0, points[points.len() - 1].0);
    let margin = 0.005 * (high - low).max(1e-10 * low.abs().max(high.abs()) + 1e-30);
    let (low, high) = (low - margin, high + margin);
    let mut cuts = vec![low, high];
    // Cells still to look at: first and last point, and the vertices on either side.
    let mut open = vec![(0, points.len() - 1, low, high)];
    while let Some((first, last, below, above)) = open.pop() {
        if last - first < most {
            continue;
        }
        let middle = (first + last) / 2;
        let at = break_near(points, first, last, middle);
        let cut = points[at].0;
        if cut == below || cut == above {
            continue;
        }
        cuts.push(cut);
        open.push((first, at, below, cut));
        if at < last {
            open.push((at + 1, last, cut, above));
        }
    }
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

/// The point nearest to `middle` whose x differs from that of the next point, above before below; `middle` itself
/// when the search leaves the cell.
fn break_near(points: &[(f64, f64)], first: usize, last: usize, middle: usize) -> usize {
    let mut steps = 0;
    loop {
        for at in [middle.checked_add(steps), middle.checked_sub(steps)] {
            match at {
                Some(at) if at < last && at >= first => {
                    if points[at].0 != points[at + 1].0 {
                        return at;
                    }
                }
                _ => return middle,
            }
        }
        steps += 1;
    }
}

/// Value and slope at `v` of the local quadratic over the `q` nearest points.
fn fit_at(v: f64, points: &[(f64, f64)], q: usize) -> (f64, f64) {
    // The window of q points whose farther end is nearest.
    let mut start = points.partition_point(|p| p.0 < v).saturating_sub(q).min(points.len() - q);
    while start + q < points.len() && points[start + q].0 - v < v - points[start].0 {
        start += 1;
    }
    let near = &points[start..start + q];
    let radius = (v - near[0].0).abs().max((near[q - 1].0 - v).abs());
    if radius == 0.0 {
        // All on one spot: their mean, level.
        return (near.iter().map(|p| p.1).sum::<f64>() / q as f64, 0.0);
    }
    let mut columns = [Vec::with_capacity(q), Vec::with_capacity(q), Vec::with_capacity(q)];
    let mut target = Vec::with_capacity(q);
    for &(x, y) in near {
        let d = x - v;
        let weight = (1.0 - (d.abs() / radius).powi(3)).max(0.0).powi(3).sqrt();
        columns[0].push(weight);
        columns[1].push(weight * d);
        columns[2].push(weight * d * d);
        target.push(weight * y);
    }
    let solution = least_squares(columns, target);
    (solution[0], solution[1])
}

/// Least squares on three columns, scaled to length 1, by the pseudo-inverse: directions that the points do not
/// determine (three or fewer distinct x, say) get nothing.
fn least_squares(mut columns: [Vec<f64>; 3], mut target: Vec<f64>) -> [f64; 3] {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut norms = [1.0; 3];
    for (column, norm) in columns.iter_mut().zip(&mut norms) {
        let length = dot(column, column).sqrt();
        if length > 0.0 {
            *norm = length;
            column.iter_mut().for_each(|c| *c /= length);
        }
    }
    // One-sided Jacobi: rotate pairs of columns until all are orthogonal; A V = U Σ.
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..60 {
        let mut rotated = false;
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let (aa, bb) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]));
            let ab = dot(&columns[i], &columns[j]);
            if ab.abs() <= f64::EPSILON * (aa * bb).sqrt() {
                continue;
            }
            rotated = true;
            let zeta = (bb - aa) / (2.0 * ab);
            let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let c = 1.0 / (1.0 + t * t).sqrt();
            let s = c * t;
            let (left, right) = columns.split_at_mut(j);
            for (a, b) in left[i].iter_mut().zip(&mut right[0]) {
                (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
            }
            for row in &mut v {
                (row[i], row[j]) = (c * row[i] - s * row[j], s * row[i] + c * row[j]);
            }
        }
        if !rotated {
            break;
        }
    }
    let squares: Vec<f64> = columns.iter().map(|c| dot(c, c)).collect();
    let tolerance = squares.iter().fold(0.0f64, |a, &b| a.max(b)).sqrt() * 100.0 * f64::EPSILON;
    let mut solution = [0.0; 3];
    for j in 0..3 {
        if squares[j].sqrt() > tolerance {
            let along = dot(&columns[j], &target) / squares[j];
            target.iter_mut().zip(&columns[j]).for_each(|(t, c)| *t -= along * c);
            for i in 0..3 {
                solution[i] += v[i][j] * along / norms[i];
            }
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_is_returned_as_it_is() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i * i) / 900.0).collect();
        let y: Vec<f64> = x.iter().map(|x| 1.0 - 0.5 * x + 0.03 * x * x).collect();
        let fitted = loess(&x, &y, 0.3).unwrap();
        for (f, y) in fitted.iter().zip(&y) {
            assert!((f - y).abs() < 1e-9 * y.abs().max(1.0), "{f} against {y}");
        }
    }

    #[test]
    fn many_points_on_one_spot_do_no_harm() {
        let x: Vec<f64> = (0..100).map(|i| f64::from((i - 60).max(0))).collect();
        let y: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        assert!(loess(&x, &y, 0.3).unwrap().iter().all(|v| v.is_finite()));
        let same = loess(&[2.0; 40], &y[..40], 0.3).unwrap();
        assert!(same.iter().all(|v| (v - 0.5).abs() < 1e-12));
        assert_eq!(loess(&x[..12], &y[..12], 0.3), None);
    }
}
