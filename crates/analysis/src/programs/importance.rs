//! Through which genes a program acts.

use std::cmp::Reverse;
use std::collections::HashSet;

use scgraft_cells::Dense;

use crate::error::{Error, Result, check_matrix};

/// One gene of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneImportance {
    /// Row of W.
    pub gene: usize,
    /// The decoder weight; its absolute value is the gene's importance.
    pub weight: f32,
    /// Its share of the program's importance, |w| / Σ |w|.
    pub share: f64,
    /// Whether the gene set that defined the program has it (`true` where no sets were given).
    pub in_set: bool,
}

/// The genes of one program, most important first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProgramGenes {
    /// Genes with a weight that is not zero, by falling |weight|; equal ones in the order of the genes.
    pub genes: Vec<GeneImportance>,
    /// Entropy of the shares over that of equal shares among as many genes, Σ −s ln s / ln n: 0 where one gene is all,
    /// 1 where all weigh the same. n counts the genes with weight and those of the gene set.
    pub normalised_entropy: f64,
}

/// The genes of every program, from the decoder weights W [genes × programs].
///
/// `members` are the genes (rows of W) of the gene set behind each program, where there is one; a program that was learnt
/// from data has an empty list. (Lotfollahi et al. 2023, doi:10.1038/s41556-022-01072-x, *Gene importance score*.)
///
/// # Errors
/// An empty matrix, a weight that is not finite, member lists that are not one a program, or a member past the genes.
pub fn gene_importance(weights: &Dense, members: Option<&[Vec<u32>]>) -> Result<Vec<ProgramGenes>> {
    check_matrix("decoder weights", weights)?;
    if let Some(members) = members {
        if members.len() != weights.n_cols {
            return Err(Error::Length { what: "gene sets".to_owned(), expected: weights.n_cols, found: members.len() });
        }
        for (program, genes) in members.iter().enumerate() {
            if let Some(&gene) = genes.iter().find(|&&g| g as usize >= weights.n_rows) {
                return Err(Error::Inconsistent {
                    what: format!("gene set of program {program}"),
                    problem: format!("gene {gene} is past the {} genes of the weights", weights.n_rows),
                });
            }
        }
    }
    Ok((0..weights.n_cols).map(|j| one_program(weights, j, members.map(|m| m[j].as_slice()))).collect())
}

fn one_program(weights: &Dense, j: usize, members: Option<&[u32]>) -> ProgramGenes {
    let mut in_set = vec![members.is_none(); weights.n_rows];
    members.into_iter().flatten().for_each(|&g| in_set[g as usize] = true);
    let weight = |gene: usize| weights.values[gene * weights.n_cols + j];
    let total: f64 = (0..weights.n_rows).map(|g| f64::from(weight(g).abs())).sum();
    let mut genes: Vec<GeneImportance> = (0..weights.n_rows)
        .filter(|&g| weight(g) != 0.0)
        .map(|gene| {
            let weight = weight(gene);
            GeneImportance { gene, weight, share: f64::from(weight.abs()) / total, in_set: in_set[gene] }
        })
        .collect();
    genes.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let size = match members {
        None => genes.len(),
        Some(_) => (0..weights.n_rows).filter(|&g| in_set[g] || weight(g) != 0.0).count(),
    };
    let entropy: f64 = genes.iter().map(|g| -g.share * g.share.ln()).sum();
    let normalised_entropy = if size > 1 { entropy / (size as f64).ln() } else { 0.0 };
    ProgramGenes { genes, normalised_entropy }
}

/// Which programs the group lasso has left alive: those with a weight that is not zero.
pub fn active_programs(weights: &Dense) -> Vec<bool> {
    let mut active = vec![false; weights.n_cols];
    for row in weights.values.chunks_exact(weights.n_cols.max(1)) {
        active.iter_mut().zip(row).for_each(|(a, &w)| *a |= w != 0.0);
    }
    active
}

/// For each pruned program, the active one that holds most of its genes and the share it holds, from 0 to 1; of several
/// that hold as many, the smallest. `None` for an active program, and for one that shares no gene with any.
///
/// The group lasso keeps one of several nested programs; which one varies from fit to fit. What stands in for the others
/// tells the reader where their genes went.
pub fn stand_ins(members: &[Vec<u32>], active: &[bool]) -> Vec<Option<(usize, f64)>> {
    let sets: Vec<HashSet<u32>> = members.iter().map(|m| m.iter().copied().collect()).collect();
    let stand_in = |pruned: usize| {
        let held = |j: usize| members[pruned].iter().filter(|g| sets[j].contains(g)).count();
        let others = (0..members.len()).filter(|&j| active[j]).map(|j| (held(j), j)).filter(|&(held, _)| held > 0);
        let (held, j) = others.max_by_key(|&(held, j)| (held, Reverse(members[j].len()), Reverse(j)))?;
        Some((j, held as f64 / members[pruned].len() as f64))
    };
    (0..members.len()).map(|j| if active[j] { None } else { stand_in(j) }).collect()
}
