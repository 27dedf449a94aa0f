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

/// Pushes overlapping labels apart, along the direction that needs the smaller move, inside the bounds given as
/// (left, top, right, bottom).
pub(crate) fn repel(labels: &mut [Label], bounds: (f64, f64, f64, f64)) {
    for _ in 0..200 {
        let mut moved = false;
        for i in 0..labels.len() {
            for j in 0..i {
                let (a, b) = (labels[i], labels[j]);
                let (dx, dy) = (a.x - b.x, a.y - b.y);
                let over_x = a.half_width + b.half_width - dx.abs();
                let over_y = a.half_height + b.half_height - dy.abs();
                if over_x <= 0.0 || over_y <= 0.0 {
                    continue;
                }
                moved = true;
                if over_y <= over_x {
                    let push = (over_y / 2.0 + 0.1) * if dy >= 0.0 { 1.0 } else { -1.0 };
                    labels[i].y += push;
                    labels[j].y -= push;
                } else {
                    let push = (over_x / 2.0 + 0.1) * if dx >= 0.0 { 1.0 } else { -1.0 };
                    labels[i].x += push;
                    labels[j].x -= push;
                }
            }
        }
        for label in labels.iter_mut() {
            label.x = label.x.min(bounds.2 - label.half_width).max(bounds.0 + label.half_width);
            label.y = label.y.min(bounds.3 - label.half_height).max(bounds.1 + label.half_height);
        }
        if !moved {
            break;
        }
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
    fn repelled_labels_do_not_overlap() {
        let mut labels = vec![Label { x: 50.0, y: 50.0, half_width: 10.0, half_height: 5.0 }; 6];
        repel(&mut labels, (0.0, 0.0, 100.0, 100.0));
        for i in 0..6 {
            for j in 0..i {
                let apart_x = (labels[i].x - labels[j].x).abs() >= 20.0;
                let apart_y = (labels[i].y - labels[j].y).abs() >= 10.0;
                assert!(apart_x || apart_y, "{labels:?}");
            }
        }
    }
}
