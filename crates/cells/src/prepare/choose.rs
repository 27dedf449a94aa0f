//! Which genes and programs a reference is trained on.

use super::columns::Context;
use super::{Kind, Known, PrepareOptions, PrepareReport, genes, values};
use crate::{
    Cells, CellsError, GenePrograms, GeneSet, HvgFlavor, HvgOptions, ProgramOptions, distinct, highly_variable, log1p,
    normalize_total,
};

/// Library size that counts are scaled to before the dispersion flavours score them.
const TARGET: f32 = 1e4;

/// How genes and programs are chosen.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GeneChoice {
    /// Which programs are kept. The sizes hold twice: over all genes of the data, and over the genes chosen.
    pub programs: ProgramOptions,
    /// How many variable genes to choose, and how; `None` keeps every gene.
    pub variable: Option<HvgOptions>,
    /// Keep genes that are in no program; the paper drops them.
    pub keep_outside_programs: bool,
}

/// Chooses the genes and programs of a reference as the expiMap paper does:
///
/// 1. programs with enough genes of the data, and the genes in them;
/// 2. of these genes the most variable, batches voting (conditions are the batches);
/// 3. programs with enough of the genes chosen, and the genes in them.
///
/// The names of the genes come in the data's order, the programs lie over them. The dispersion flavours get counts
/// normalised to 10⁴ and logged; `SeuratV3` needs counts.
///
/// # Errors
/// As [`GenePrograms::new`], [`highly_variable`] and [`super::Prepared::reference`]; `SeuratV3` asked for on values
/// that are not counts.
pub fn choose_genes(
    cells: &Cells,
    sets: &[GeneSet],
    options: &PrepareOptions,
    choice: &GeneChoice,
) -> Result<(Vec<String>, GenePrograms), CellsError> {
    let (matrix, var, slot) = options.slot.find(cells)?;
    let written = genes::names(var, &slot, options.gene_column.as_deref())?;
    let names = genes::all(&genes::plain(&written, options), &slot)?;
    let (sets, turned) = options.name_sets(sets, &names)?;
    let sets: &[GeneSet] = &sets;
    let all = GenePrograms::new(sets, &names, &choice.programs).map_err(|e| with_way_out(e, cells, sets, options))?;
    let within = |programs: &GenePrograms| -> Vec<u32> {
        if choice.keep_outside_programs {
            (0..programs.genes.len() as u32).collect()
        } else {
            programs.genes_in_programs()
        }
    };
    let mut kept = within(&all);
    if let Some(variable) = &choice.variable {
        let sources: Vec<Vec<usize>> = kept.iter().map(|&g| vec![g as usize]).collect();
        let mut x = genes::take(matrix, &sources);
        let mut report = PrepareReport::default();
        values::check(&x, &pick(&names, &kept), cells, options, &slot, &mut report)?;
        if matches!(variable.flavor, HvgFlavor::Seurat | HvgFlavor::CellRanger) {
            if options.kind == Kind::Counts {
                x = log1p(&normalize_total(&x, Some(TARGET)));
            }
        } else if options.kind != Kind::Counts {
            return Err(CellsError::Option {
                what: "the flavour of variable genes",
                expected: "Seurat or CellRanger for log-normalised values (SeuratV3 needs raw counts)",
                found: format!("{:?}", variable.flavor),
            });
        }
        let known = Known::default();
        let context = Context { obs: &cells.obs, known: &known, is_query: false, few_cells: 0 };
        let condition = context.condition(&options.condition, &mut report)?;
        let batch = (condition.levels.len() > 1).then_some(&condition);
        let chosen = highly_variable(&x, batch, variable)?.chosen;
        kept = chosen.into_iter().map(|g| kept[g as usize]).collect();
    }
    let genes = pick(&names, &kept);
    let mut programs =
        GenePrograms::new(sets, &genes, &choice.programs).map_err(|e| with_way_out(e, cells, sets, options))?;
    programs.turned = turned;
    let left = within(&programs);
    if left.len() == genes.len() {
        return Ok((genes, programs));
    }
    let genes = pick(&genes, &left);
    // Sets were dropped for what they hold of the genes before those in no program went.
    let GenePrograms { turned, dropped, .. } = programs;
    let left = GenePrograms { turned, dropped, ..GenePrograms::new(sets, &genes, &choice.programs)? };
    Ok((genes, left))
}

/// Says where the genes of the sets are, when the slot in use has too few of them.
fn with_way_out(mut error: CellsError, cells: &Cells, sets: &[GeneSet], options: &PrepareOptions) -> CellsError {
    if let CellsError::NoPrograms { hint, .. } = &mut error {
        let wanted = distinct(sets.iter().flat_map(|set| set.genes.iter().cloned()));
        **hint = genes::way_out(&wanted, cells, options);
    }
    error
}

fn pick(names: &[String], positions: &[u32]) -> Vec<String> {
    positions.iter().map(|&g| names[g as usize].clone()).collect()
}
