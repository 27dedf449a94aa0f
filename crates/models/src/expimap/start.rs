//! Where programs start.
//!
//! A program with a gene set starts as that set: weights uniform in 0 … 1/√n inside, all genes in one direction, and 0
//! outside, n the number of programs (`gene_set_start`). A reference that is fitted by default then takes the weights of a
//! factor analysis (`program_start.rs`). New programs of a query are columns of one layer with those known.

use scgraft_engine::{Init, Param};

use super::ExpimapConfig;
use crate::{Membership, Segment};

/// How the weights of a segment start, where so many programs stand before it.
pub(super) fn of_segment(config: &ExpimapConfig, segment: &Segment, before: usize, n_genes: usize) -> Init {
    let own = segment.programs.len();
    if !config.gene_set_start {
        return Init::FanIn(own);
    }
    let columns = before + own;
    match segment.membership {
        Membership::Hard => Init::Positive(columns),
        Membership::Soft => Init::PositiveMembers(columns, segment.mask(n_genes)),
        Membership::Free => Init::FanIn(columns),
    }
}

/// New conditions start as the mean of those known: where there is no bias, their rows hold the genes' baseline.
pub(super) fn as_known(rows: &mut Param) {
    if rows.new_rows.is_empty() {
        return;
    }
    let (known, width) = (rows.new_rows.start, rows.row_len());
    let (old, new) = rows.write().split_at_mut(known * width);
    for (g, start) in (0..width).cycle().zip(new) {
        *start = old.iter().skip(g).step_by(width).sum::<f32>() / known as f32;
    }
}
