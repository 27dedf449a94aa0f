//! Labels at several depths: where the fine label is uncertain, its parent may not be.

use std::collections::BTreeMap;

use scgraft_cells::Coded;

use super::{LabelTransfer, UNKNOWN};
use crate::error::{Error, Result};

/// Labels carried over at several depths, and the finest one that is certain for each cell.
#[derive(Clone, Debug, PartialEq)]
pub struct HierarchicalTransfer {
    /// The transfer at each depth, finest first.
    pub depths: Vec<LabelTransfer>,
    /// For each cell the depth (index into `depths`) of the finest certain label; `None`: unknown at every depth.
    pub depth: Vec<Option<u32>>,
}

impl HierarchicalTransfer {
    /// From transfers at several depths, finest first: each cell gets the finest that is not unknown. The probability of a
    /// parent is the sum of those of its children, so the fallback never contradicts a certain child.
    pub fn of(depths: Vec<LabelTransfer>) -> Self {
        let n = depths.first().map_or(0, |d| d.best.len());
        let depth = (0..n).map(|i| depths.iter().position(|d| !d.unknown[i]).map(|d| d as u32)).collect();
        HierarchicalTransfer { depths, depth }
    }

    /// The label of cell `i`: at the finest depth that is certain, or [`UNKNOWN`].
    pub fn label(&self, i: usize) -> &str {
        self.depth[i].map_or(UNKNOWN, |d| self.depths[d as usize].label(i))
    }
}

/// Refuses label columns that are not nested, finest first.
///
/// # Errors
/// A level with two parents (named, with both).
pub fn check_nested(columns: &[(&str, &Coded)]) -> Result<()> {
    columns.windows(2).try_for_each(|pair| check_parents(pair[0], pair[1]))
}

fn check_parents((fine_name, fine): (&str, &Coded), (coarse_name, coarse): (&str, &Coded)) -> Result<()> {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for (&child, &parent) in fine.codes.iter().zip(&coarse.codes) {
        let first = *parents.entry(child).or_insert(parent);
        if first != parent {
            return Err(Error::Inconsistent {
                what: format!("level `{}` of `{fine_name}`", fine.levels[child as usize]),
                problem: format!(
                    "it has two parents in `{coarse_name}`, `{}` and `{}`; give columns from the finest to the \
                     coarsest, each level within one parent",
                    coarse.levels[first as usize], coarse.levels[parent as usize]
                ),
            });
        }
    }
    Ok(())
}
