//! The gene programs of a model: their genes, their directions, which stand for others, what known gene sets they resemble.

use std::collections::HashSet;

use scgraft_analysis::enrichment::{OverRepresentation, RankEnrichment, over_representation, rank_enrichment};
use scgraft_analysis::programs::{
    DirectionMethod, Directions, active_programs, directions, gene_importance, stand_ins,
};
use scgraft_cells::{Dense, GenePrograms, GeneSet, ProgramOptions};
use scgraft_models::{Membership, Model, Program, Segment};

use crate::Error;
use crate::embedding::program_weights;

/// Share of a pruned program's genes within an active program from which that one stands for it.
const WITHIN: f64 = 0.9;
/// Correlation of the genes of a set, camera's preset.
const CORRELATION: f64 = 0.01;

/// A gene of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramGene {
    /// The gene.
    pub name: String,
    /// Its decoder weight.
    pub weight: f32,
    /// Its share of the program's absolute weights.
    pub share: f64,
    /// Whether it is in the program's gene set.
    pub in_set: bool,
}

/// A gene program.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramSummary {
    /// Its name.
    pub name: String,
    /// The graft that added it; `None` for those of the reference.
    pub graft: Option<String>,
    /// How its gene set binds.
    pub membership: Membership,
    /// Sign and confidence (0 to 1) of its direction, by each rule asked for.
    pub directions: Vec<(DirectionMethod, i8, f64)>,
    /// Genes in its set.
    pub set_size: usize,
    /// Genes with a weight, the heaviest first; none of a program that the fit pruned.
    pub genes: Vec<ProgramGene>,
    /// How evenly the genes share the program, 0 (one is all) to 1 (all alike): the entropy of their shares over that of equal
    /// ones.
    pub entropy: f64,
    /// Of a soft gene set: the share of the genes outside of it that the fit switched off. Below [`SPECIFIC`] the program is
    /// no longer that of its set.
    pub switched_off: Option<f64>,
    /// Of a pruned program: the active one that has most of its genes, and the share of them.
    pub stand_in: Option<(String, f64)>,
    /// Pruned programs that lie as good as whole within this one.
    pub stands_for: Vec<String>,
}

impl ProgramSummary {
    /// √Σw² over its genes: how far one unit of its score moves them, and what the lasso pulls at.
    pub fn weight(&self) -> f64 {
        self.genes.iter().map(|g| f64::from(g.weight).powi(2)).sum::<f64>().sqrt()
    }

    /// Whether the fit kept it.
    pub fn is_active(&self) -> bool {
        !self.genes.is_empty()
    }
}

/// The share of switched off genes outside its set below which a soft program has lost its specialisation (Lotfollahi et al.
/// 2023, Methods).
pub const SPECIFIC: f64 = 0.9;

fn switched_off(membership: Membership, members: &[u32], weights: &Dense, j: usize) -> Option<f64> {
    let inside: HashSet<u32> = members.iter().copied().collect();
    let outside = weights.n_rows.checked_sub(inside.len()).filter(|&n| n > 0 && membership == Membership::Soft)?;
    let off = (0..weights.n_rows).filter(|&g| !inside.contains(&(g as u32)) && weights.row(g)[j] == 0.0).count();
    Some(off as f64 / outside as f64)
}

impl ProgramSummary {
    /// Whether it is active and, of a soft set, has taken in more genes than it may.
    pub fn has_lost_its_set(&self) -> bool {
        self.is_active() && self.switched_off.is_some_and(|share| share < SPECIFIC)
    }
}

/// Says which soft programs of a graft (`None`: of the reference) are no longer those of their sets.
pub(crate) fn say_lost_sets(model: &Model, graft: Option<&str>) -> Result<(), Error> {
    const SHOWN: usize = 5;
    if !model.header.segments.iter().any(|s| s.membership == Membership::Soft && s.origin.as_deref() == graft) {
        return Ok(());
    }
    let all = programs(model, &[])?.unwrap_or_default();
    let lost: Vec<&ProgramSummary> =
        all.iter().filter(|p| p.graft.as_deref() == graft && p.has_lost_its_set()).collect();
    if !lost.is_empty() {
        let name = |p: &&ProgramSummary| format!("`{}` ({:.2})", p.name, p.switched_off.unwrap_or(f64::NAN));
        let more = if lost.len() > SHOWN { format!(" and {} more", lost.len() - SHOWN) } else { String::new() };
        tracing::warn!(
            "{} soft programs are no longer those of their gene sets: less than {SPECIFIC} of the genes outside are switched \
             off, in {}{more}; train longer, or with a larger l1_weight",
            lost.len(),
            lost.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

/// The programs of a model; `None` for a model whose dimensions are no programs.
///
/// # Errors
/// Of [`gene_importance`] and [`directions`].
pub fn programs(model: &Model, rules: &[DirectionMethod]) -> Result<Option<Vec<ProgramSummary>>, Error> {
    let Some(weights) = program_weights(model) else { return Ok(None) };
    let of = |(segment, program): (&Segment, &Program)| (segment.origin.clone(), segment.membership, program.clone());
    let mut programs: Vec<_> = model.header.programs().map(of).collect();
    if programs.is_empty() {
        // Dimensions of a linear decoder have loadings and no gene sets.
        let plain = |name| (None, Membership::Free, Program { name, members: Vec::new() });
        programs = model.latent_names().into_iter().map(plain).collect();
    }
    let members: Vec<Vec<u32>> = programs.iter().map(|(_, _, p)| p.members.clone()).collect();
    let importance = gene_importance(&weights, Some(&members))?;
    let by_rule = rules.iter().map(|&rule| directions(&weights, rule)).collect::<Result<Vec<Directions>, _>>()?;
    let stand_ins = stand_ins(&members, &active_programs(&weights));
    let name = |j: usize| programs[j].2.name.clone();
    let summary = |(j, (origin, membership, program)): (usize, &(Option<String>, Membership, Program))| {
        let gene = |g: &scgraft_analysis::programs::GeneImportance| ProgramGene {
            name: model.header.genes[g.gene].clone(),
            weight: g.weight,
            share: g.share,
            in_set: g.in_set,
        };
        let within = |(i, s): (usize, &Option<(usize, f64)>)| {
            s.is_some_and(|(by, share)| by == j && share >= WITHIN).then(|| name(i))
        };
        ProgramSummary {
            name: program.name.clone(),
            graft: origin.clone(),
            membership: *membership,
            directions: rules.iter().zip(&by_rule).map(|(&r, d)| (r, d.sign[j], d.confidence[j])).collect(),
            set_size: program.members.len(),
            genes: importance[j].genes.iter().map(gene).collect(),
            entropy: importance[j].normalised_entropy,
            switched_off: switched_off(*membership, &program.members, &weights, j),
            stand_in: stand_ins[j].map(|(by, share)| (name(by), share)),
            stands_for: stand_ins.iter().enumerate().filter_map(within).collect(),
        }
    };
    Ok(Some(programs.iter().enumerate().map(summary).collect()))
}

/// A known gene set beside a program: over-representation among its heaviest genes, and whether the set's genes are heavy as
/// a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Resemblance {
    /// The gene set.
    pub set: String,
    /// Overlap with the heaviest genes.
    pub overlap: OverRepresentation,
    /// The genes they share, by name.
    pub genes: Vec<String>,
    /// The set among all genes, ranked by absolute weight.
    pub rank: RankEnrichment,
}

/// Compares the `top` heaviest genes of a program with gene sets, most significant overlap first.
///
/// # Errors
/// No set with 3 genes of the model; of [`over_representation`] and [`rank_enrichment`].
pub fn resemblances(
    model: &Model,
    program: &ProgramSummary,
    sets: &[GeneSet],
    top: usize,
) -> Result<Vec<Resemblance>, Error> {
    let genes = &model.header.genes;
    let sets = GenePrograms::new(sets, genes, &ProgramOptions { min_genes: 3, ..ProgramOptions::default() })?;
    let at: std::collections::HashMap<&str, usize> = genes.iter().enumerate().map(|(i, g)| (g.as_str(), i)).collect();
    let mut weights = vec![0.0; genes.len()];
    for g in &program.genes {
        weights[at[g.name.as_str()]] = f64::from(g.weight.abs());
    }
    let heaviest: Vec<u32> = program.genes.iter().take(top).map(|g| at[g.name.as_str()] as u32).collect();
    let ranks = rank_enrichment(&weights, &sets.members, CORRELATION)?;
    let found = over_representation(&heaviest, &sets.members, genes.len())?;
    let row = |overlap: OverRepresentation| Resemblance {
        set: sets.names[overlap.set].clone(),
        genes: overlap.overlap.iter().map(|&g| genes[g as usize].clone()).collect(),
        rank: ranks[overlap.set],
        overlap,
    };
    Ok(found.into_iter().map(row).collect())
}
