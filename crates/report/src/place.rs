//! Placing labels so that none covers another.

/// Moves positions apart to at least `gap`, keeping their order and staying within lo..=hi where there is room, each
/// as near as can be to where it was (least squares: neighbours too close merge into blocks that move as one).
pub(crate) fn spread(wanted: &[f64], gap: f64, lo: f64, hi: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // A block: its first member in `order`, its size, and the sum of wanted positions minus their offsets in it.
    let mut blocks: Vec<(usize, usize, f64)> = Vec::new();
    let start = |b: &(usize, usize, f64)| {
        let room = (hi - (b.1 - 1) as f64 * gap).max(lo);
        (b.2 / b.1 as f64).clamp(lo, room)
    };
    for (i, &item) in order.iter().enumerate() {
        blocks.push((i, 1, wanted[item]));
        while let [.., a, b] = blocks.as_slice() {
            if start(a) + a.1 as f64 * gap <= start(b) {
                break;
            }
            let shift = a.1 as f64 * gap * b.1 as f64;
            let merged = (a.0, a.1 + b.1, a.2 + b.2 - shift);
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    let mut placed = vec![0.0; wanted.len()];
    for block in &blocks {
        for k in 0..block.1 {
            placed[order[block.0 + k]] = start(block) + k as f64 * gap;
        }
    }
    placed
}

/// A label in the plane: its middle and its half width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Label {
    pub x: f64,
    pub y: f64,
    pub half_width: f64,
    pub half_height: f64,
}

/// Side of a square of [`Ground`] in px.
const SQUARE: f64 = 6.0;
/// What a line further from its place costs a label, in hidden groups.
const AWAY: f64 = 0.25;

/// What labels would hide: points with weights, in squares, within (left, top, right, bottom).
pub(crate) struct Ground {
    bounds: (f64, f64, f64, f64),
    columns: usize,
    weight: Vec<f64>,
}

impl Ground {
    /// The ground of points, each (x, y, weight).
    pub fn new(bounds: (f64, f64, f64, f64), points: impl Iterator<Item = (f64, f64, f64)>) -> Ground {
        let n = |from: f64, to: f64| ((to - from) / SQUARE) as usize + 1;
        let (columns, rows) = (n(bounds.0, bounds.2), n(bounds.1, bounds.3));
        let mut ground = Ground { bounds, columns, weight: vec![0.0; columns * rows] };
        for (x, y, weight) in points {
            let (i, j) = ground.square(x, y);
            ground.weight[j * columns + i] += weight;
        }
        ground
    }

    fn square(&self, x: f64, y: f64) -> (usize, usize) {
        let at = |v: f64, from: f64, most: usize| (((v - from) / SQUARE).max(0.0) as usize).min(most);
        (at(x, self.bounds.0, self.columns - 1), at(y, self.bounds.1, self.weight.len() / self.columns - 1))
    }

    /// The weight under a label.
    fn under(&self, l: &Label) -> f64 {
        let (i0, j0) = self.square(l.x - l.half_width, l.y - l.half_height);
        let (i1, j1) = self.square(l.x + l.half_width, l.y + l.half_height);
        (j0..=j1).map(|j| self.weight[j * self.columns + i0..=j * self.columns + i1].iter().sum::<f64>()).sum()
    }

    /// Places labels one after the other, each on its place or a few lines from it, where it hides least; `None` for one that
    /// would cover another everywhere.
    pub fn place(&self, labels: &[Label]) -> Vec<Option<Label>> {
        let (left, top, right, bottom) = self.bounds;
        let mut placed: Vec<Option<Label>> = Vec::with_capacity(labels.len());
        for l in labels {
            let at = |(lines, aside): (i32, i32)| Label {
                x: (l.x + f64::from(aside) * (l.half_width + SQUARE))
                    .min(right - l.half_width)
                    .max(left + l.half_width),
                y: l.y + f64::from(lines) * 2.0 * l.half_height,
                ..*l
            };
            let fits = |c: &Label| {
                let apart = |p: &Label| {
                    (c.x - p.x).abs() >= c.half_width + p.half_width
                        || (c.y - p.y).abs() >= c.half_height + p.half_height
                };
                c.y - c.half_height >= top && c.y + c.half_height <= bottom && placed.iter().flatten().all(apart)
            };
            let cost = |c: &Label| {
                let away = ((c.x - l.x).abs() + (c.y - l.y).abs()) / (2.0 * l.half_height);
                self.under(c) + AWAY * away.min(4.0)
            };
            let places = [0, -1, 1, -2, 2, -3, 3].into_iter().flat_map(|lines| [0, 1, -1].map(|aside| (lines, aside)));
            let best = places.map(at).filter(fits).map(|c| (cost(&c), c)).min_by(|a, b| a.0.total_cmp(&b.0));
            placed.push(best.map(|b| b.1));
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_keeps_order_gap_and_bounds() {
        let wanted = [5.0, 5.0, 5.1, 40.0, 99.0, 100.0];
        let placed = spread(&wanted, 10.0, 0.0, 100.0);
        assert!(placed.windows(2).all(|w| w[1] - w[0] >= 10.0 - 1e-9), "{placed:?}");
        assert!(placed[0] >= 0.0 && placed[5] <= 100.0 + 1e-9);
        assert_eq!(placed[3], 40.0, "what has room stays");
        assert_eq!(spread(&[7.0, 3.0], 1.0, 0.0, 10.0), [7.0, 3.0]);
    }

    #[test]
    fn labels_do_not_overlap_and_hide_no_small_group() {
        let label = |x, y| Label { x, y, half_width: 20.0, half_height: 6.0 };
        let bounds = (0.0, 0.0, 200.0, 100.0);
        // A group of one place would be hidden whole: its label stands a line from it.
        let small = Ground::new(bounds, [(100.0, 50.0, 1.0)].into_iter()).place(&[label(100.0, 50.0)])[0].unwrap();
        assert_eq!((small.x, (small.y - 50.0).abs()), (100.0, 12.0));
        // Of a wide one a label hides little, and stays.
        let wide = (0..100).map(|i| (60.0 + f64::from(i % 10) * 8.0, 10.0 + f64::from(i / 10) * 8.0, 0.01));
        assert_eq!(Ground::new(bounds, wide).place(&[label(100.0, 50.0)]), [Some(label(100.0, 50.0))]);
        // More labels than have room: those that are placed do not overlap, and stay inside.
        let placed = Ground::new(bounds, std::iter::empty()).place(&[label(100.0, 50.0); 40]);
        let shown: Vec<Label> = placed.into_iter().flatten().collect();
        assert!((7..40).contains(&shown.len()), "{}", shown.len());
        for (i, a) in shown.iter().enumerate() {
            assert!(a.x >= 20.0 && a.x <= 180.0 && a.y >= 6.0 && a.y <= 94.0, "{a:?}");
            assert!(shown[..i].iter().all(|b| (a.x - b.x).abs() >= 40.0 || (a.y - b.y).abs() >= 12.0), "{shown:?}");
        }
    }
}
