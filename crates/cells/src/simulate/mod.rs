//! Simulated cells with planted truth: what a method finds can be held against what is there.
//!
//! Counts of cell c and gene g are negative binomial with mean
//!
//! λ_cg = ℓ_c · softmax_g(a_g + b_{batch(c), g} + Σ_p A_cp · L_pg)
//!
//! and inverse dispersion θ_g, drawn as gamma–Poisson: a_g is the gene's own level, b the batch's effect on it,
//! A_cp the activity of program p in the cell, L_pg the loading of the gene in the program, ℓ_c the library size
//! (log-normal, with a factor of the batch).
//!
//! Reference and query come from different batches. The query has a cell type that the reference lacks, and half
//! of its cells are stimulated: programs go up, one goes down, and a hidden one comes on that is no gene set (its
//! genes are strewn over the sets).

mod plan;

use rayon::prelude::*;
use serde::Deserialize;

use crate::{Cells, CellsError, Column, Csr, Dense, Frame, GeneSet, Matrix, Steps};
use scgraft_numeric::random::Random;

pub use plan::{Role, TrueProgram, Truth};

/// Sizes and strengths of a simulation.
///
/// ```
/// use scgraft_cells::{SimulateOptions, simulate};
///
/// let options = SimulateOptions { n_reference: 300, n_query: 150, ..SimulateOptions::default() };
/// let simulated = simulate(&options)?;
/// assert_eq!(simulated.reference.n_cells(), 300);
/// assert_eq!(simulated.gene_sets.len(), 40);
/// # Ok::<(), scgraft_cells::CellsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulateOptions {
    /// Cells of the reference.
    pub n_reference: usize,
    /// Cells of the query; half of them stimulated.
    pub n_query: usize,
    /// Genes.
    pub n_genes: usize,
    /// Gene sets given out: one a cell type, one a lineage, three of the stimulation; of the rest a third are
    /// background programs (active at random in every cell) and two thirds are decoys (never active).
    pub n_programs: usize,
    /// Genes that respond to each program.
    pub genes_per_program: usize,
    /// Genes that stand in each gene set without responding to its program.
    pub guests_per_program: usize,
    /// Cell types in both reference and query; two share a lineage. The query has one type more.
    pub n_cell_types: usize,
    /// Batches of the reference.
    pub n_reference_batches: usize,
    /// Batches of the query.
    pub n_query_batches: usize,
    /// Standard deviation of a batch's effect on a gene, natural log scale.
    pub batch_effect: f64,
    /// Mean loading of a responding gene, natural log scale.
    pub effect: f64,
    /// Median library size.
    pub library: f64,
    /// Seed; the same seed gives the same data on any number of threads.
    pub seed: u64,
}

impl Default for SimulateOptions {
    fn default() -> Self {
        SimulateOptions {
            n_reference: 3000,
            n_query: 1500,
            n_genes: 1000,
            n_programs: 40,
            genes_per_program: 20,
            guests_per_program: 4,
            n_cell_types: 6,
            n_reference_batches: 3,
            n_query_batches: 2,
            batch_effect: 0.3,
            effect: 1.2,
            library: 2500.0,
            seed: 0,
        }
    }
}

/// A simulated reference and query with their gene sets and the truth behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Raw counts; `obs` columns `batch`, `cell_type`, `condition` (always `control`).
    pub reference: Cells,
    /// Raw counts; the same columns and genes; `condition` is `control` or `stimulated`.
    pub query: Cells,
    /// What a user would be given: no set is the hidden program.
    pub gene_sets: Vec<GeneSet>,
    /// What was planted.
    pub truth: Truth,
}

/// The condition of cells left alone.
const CONTROL: &str = "control";
/// The condition of stimulated cells.
const STIMULATED: &str = "stimulated";

/// Who a simulated cell is.
struct Cell {
    batch: usize,
    /// A cell type; the last is the one that the reference lacks.
    cell_type: usize,
    stimulated: bool,
}

/// Simulates a reference and a query.
///
/// # Errors
/// When a size is too small: no cells, no batch, fewer than two cell types, fewer programs than the roles need,
/// or too few genes for the programs.
pub fn simulate(options: &SimulateOptions) -> Result<Simulated, CellsError> {
    let plan = plan::Plan::new(options)?;
    let n_batches = options.n_reference_batches + options.n_query_batches;
    let batches = Batches::draw(options, n_batches);
    let draw = |prefix: &str, n: usize, first_batch: usize, n_batches: usize, is_query: bool| {
        let who: Vec<Cell> = (0..n)
            .map(|i| {
                let mut random = Random::new(options.seed, cell_stream(is_query, i));
                Cell {
                    batch: first_batch + i % n_batches,
                    cell_type: plan.draw_type(&mut random, is_query),
                    stimulated: is_query && (i / n_batches) % 2 == 1,
                }
            })
            .collect();
        let (x, activity) = counts(options, &plan, &batches, &who, is_query);
        (table(prefix, &who, options, &plan, x), activity)
    };
    let (reference, reference_activity) = draw("reference", options.n_reference, 0, options.n_reference_batches, false);
    let (query, query_activity) =
        draw("query", options.n_query, options.n_reference_batches, options.n_query_batches, true);
    let gene_sets = plan.gene_sets();
    let truth = plan.into_truth(reference_activity, query_activity);
    Ok(Simulated { reference, query, gene_sets, truth })
}

/// The stream of a cell; streams below 2³² belong to genes, batches and programs.
fn cell_stream(is_query: bool, row: usize) -> u64 {
    ((1 + u64::from(is_query)) << 32) + row as u64
}

/// What batches do: to each gene, and to the library size.
struct Batches {
    effects: Vec<Vec<f64>>,
    log_library: Vec<f64>,
}

impl Batches {
    fn draw(options: &SimulateOptions, n: usize) -> Self {
        let (effects, log_library) = (0..n)
            .map(|b| {
                let mut random = Random::new(options.seed, (1 << 24) + b as u64);
                let size = 0.25 * random.normal();
                ((0..options.n_genes).map(|_| options.batch_effect * random.normal()).collect::<Vec<_>>(), size)
            })
            .unzip();
        Batches { effects, log_library }
    }
}

/// Draws the counts, and returns them with the activity of every program (the hidden one last).
fn counts(
    options: &SimulateOptions,
    plan: &plan::Plan,
    batches: &Batches,
    who: &[Cell],
    is_query: bool,
) -> (Csr, Dense) {
    let steps = Steps::new("drawing cells", who.len());
    let rows: Vec<(Vec<u32>, Vec<f32>, Vec<f32>)> = who
        .par_iter()
        .enumerate()
        .map(|(i, cell)| {
            // One stream to say who the cell is, the next to say what it expresses.
            let mut random = Random::new(options.seed ^ 0x5EED, cell_stream(is_query, i));
            let activity = plan.activity(&mut random, cell.cell_type, cell.stimulated);
            let mut rates: Vec<f64> =
                plan.levels.iter().zip(&batches.effects[cell.batch]).map(|(a, b)| a + b).collect();
            for (loadings, &active) in plan.loadings().zip(&activity) {
                for &(gene, loading) in loadings {
                    rates[gene as usize] += active * loading;
                }
            }
            let mut total = 0.0;
            for rate in &mut rates {
                *rate = rate.exp();
                total += *rate;
            }
            let log_library = options.library.ln() + batches.log_library[cell.batch] + 0.35 * random.normal();
            let scale = log_library.exp() / total;
            let mut genes = Vec::new();
            let mut values = Vec::new();
            for ((gene, rate), &theta) in (0u32..).zip(&rates).zip(&plan.thetas) {
                let count = random.negative_binomial(rate * scale, theta);
                if count > 0 {
                    genes.push(gene);
                    values.push(count as f32);
                }
            }
            steps.done();
            (genes, values, activity.iter().map(|&a| a as f32).collect())
        })
        .collect();
    let mut x = Csr { n_rows: who.len(), n_cols: options.n_genes, indptr: vec![0], ..Csr::default() };
    let n_activities = plan.loadings().count();
    let mut activity = Dense::zeros(who.len(), n_activities);
    for (i, (genes, values, active)) in rows.into_iter().enumerate() {
        x.indices.extend(genes);
        x.values.extend(values);
        x.indptr.push(x.indices.len());
        activity.row_mut(i).copy_from_slice(&active);
    }
    (x, activity)
}

fn table(prefix: &str, who: &[Cell], options: &SimulateOptions, plan: &plan::Plan, x: Csr) -> Cells {
    let batch_name = |b: usize| match b.checked_sub(options.n_reference_batches) {
        None => format!("reference_{}", b + 1),
        Some(q) => format!("query_{}", q + 1),
    };
    let mut obs = Frame::new((0..who.len()).map(|i| format!("{prefix}_{:05}", i + 1)).collect());
    let column = |f: &dyn Fn(&Cell) -> String| Column::categorical(&who.iter().map(f).collect::<Vec<_>>());
    obs.set("batch", column(&|c| batch_name(c.batch)));
    obs.set("cell_type", column(&|c| plan.type_names[c.cell_type].clone()));
    obs.set("condition", column(&|c| if c.stimulated { STIMULATED } else { CONTROL }.to_owned()));
    Cells::new(Matrix::Sparse(x), obs, Frame::new(plan.genes.clone()))
}

#[cfg(test)]
mod tests;
