//! Checking that values are what the model takes.

use std::collections::{BTreeMap, HashSet};

use super::{Fractions, Kind, PrepareOptions, PrepareReport, Slot, Warning};
use crate::{Cells, CellsError, Csr, Hint, Matrix, Setting};

/// Stored values looked at to see whether another slot holds counts.
const SAMPLE: usize = 200_000;

/// How many names a warning carries.
const SHOWN: usize = 20;

/// What the stored values of a matrix are, in one pass.
#[derive(Default)]
struct Survey {
    /// Entry number of the first value that is NaN or infinite, and how many there are.
    not_finite: (Option<usize>, usize),
    /// Entry number of the first value that is negative or not whole, and how many there are.
    not_count: (Option<usize>, usize),
    n_negative: usize,
    min: f32,
    max: f32,
}

impl Survey {
    fn of(values: &[f32]) -> Survey {
        let mut out = Survey::default();
        for (i, &v) in values.iter().enumerate() {
            if !v.is_finite() {
                out.not_finite.0.get_or_insert(i);
                out.not_finite.1 += 1;
            } else if v < 0.0 || v.fract() != 0.0 {
                out.not_count.0.get_or_insert(i);
                out.not_count.1 += 1;
                out.n_negative += usize::from(v < 0.0);
            }
            out.min = out.min.min(v);
            out.max = out.max.max(v);
        }
        out
    }
}

/// Refuses values that are not what `options.kind` says.
pub(super) fn check(
    expression: &Csr,
    genes: &[String],
    cells: &Cells,
    options: &PrepareOptions,
    slot: &str,
    report: &mut PrepareReport,
) -> Result<(), CellsError> {
    let survey = Survey::of(&expression.values);
    let place = |entry: usize| {
        let row = expression.indptr.partition_point(|&start| start <= entry) - 1;
        let gene = genes[expression.indices[entry] as usize].clone();
        (cells.obs.index[row].clone(), gene, expression.values[entry])
    };
    if let (Some(first), n) = survey.not_finite {
        let (cell, gene, value) = place(first);
        return Err(CellsError::NotFinite { slot: slot.into(), cell, gene, value, n });
    }
    if survey.max == 0.0 && survey.min == 0.0 && cells.n_cells() > 0 {
        let remedy = counts_elsewhere(cells, &options.slot, Some((genes, options))).map(|found| found.hint);
        let otherwise = || Hint::words("choose the slot with the values, or the cells that have some");
        let remedy = remedy.unwrap_or_else(otherwise);
        let (n_cells, n_genes) = (cells.n_cells(), genes.len());
        return Err(CellsError::AllZero { slot: slot.into(), n_cells, n_genes, remedy });
    }
    match (options.kind, survey.not_count) {
        (Kind::Counts, (Some(_), n))
            if survey.n_negative == 0 && takes_fractions(cells, &options.slot, options.fractions) =>
        {
            let rounded = options.fractions == Fractions::Round;
            report.warnings.push(Warning::NotWhole { slot: slot.into(), n, n_stored: expression.nnz(), rounded });
        }
        (Kind::Counts, (Some(first), n)) => {
            let (cell, gene, value) = place(first);
            return Err(CellsError::NotCounts {
                slot: slot.into(),
                cell,
                gene,
                value,
                n,
                n_stored: expression.nnz(),
                remedy: Box::new(remedy(cells, genes, options)),
            });
        }
        (Kind::LogNormalised, (Some(_), _)) if survey.n_negative > 0 => {
            report.warnings.push(Warning::Negative { slot: slot.into(), n: survey.n_negative, min: survey.min });
        }
        // log1p of normalised counts seldom passes 10, and is whole only by accident.
        (Kind::LogNormalised, (None, _)) if survey.max > 10.0 => {
            report.warnings.push(Warning::LooksLikeCounts { slot: slot.into(), max: survey.max });
        }
        _ => {}
    }
    Ok(())
}

/// Rounds counts; those that become 0 are not stored.
pub fn round(x: &mut Csr) {
    let mut out = Csr { n_rows: x.n_rows, n_cols: x.n_cols, indptr: vec![0], ..Csr::default() };
    for i in 0..x.n_rows {
        let (columns, values) = x.row(i);
        for (&column, value) in columns.iter().zip(values.iter().map(|v| v.round())).filter(|(_, v)| *v != 0.0) {
            out.indices.push(column);
            out.values.push(value);
        }
        out.indptr.push(out.indices.len());
    }
    *x = out;
}

/// Whether counts that are not whole (and none negative) are taken from a slot.
pub fn takes_fractions(cells: &Cells, slot: &Slot, fractions: Fractions) -> bool {
    match fractions {
        Fractions::Accept | Fractions::Round => true,
        Fractions::Refuse => false,
        Fractions::Judge => {
            counts_elsewhere(cells, slot, None).is_none()
                && slot.find(cells).is_ok_and(|(matrix, _, _)| looks_corrected(matrix))
        }
    }
}

/// Whether values that are not whole look like corrected counts rather than normalised ones: larger than logarithms are,
/// and cells do not all have the same sum.
fn looks_corrected(matrix: &Matrix) -> bool {
    // ln(10⁶ + 1) is 13.8.
    const LOGARITHMS: f32 = 14.0;
    let max = matrix.stored().iter().fold(0f32, |max, &v| max.max(v));
    if max.is_nan() || max < LOGARITHMS {
        return false;
    }
    let sums: Vec<f64> = match matrix {
        Matrix::Sparse(m) => (0..m.n_rows).map(|i| m.row(i).1.iter().map(|&v| f64::from(v)).sum()).collect(),
        Matrix::Dense(m) => (0..m.n_rows).map(|i| m.row(i).iter().map(|&v| f64::from(v)).sum()).collect(),
    };
    let n = sums.len() as f64;
    let mean = sums.iter().sum::<f64>() / n;
    let sd = (sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt();
    sums.len() == 1 || sd > 0.01 * mean
}

/// Another slot that holds counts.
pub(super) struct Elsewhere {
    /// What to do.
    pub hint: Hint,
    /// How many of the genes asked for it has.
    pub matched: usize,
}

/// The slot beside `used` that holds counts, where there is one; of several the one with most of the genes asked for.
pub(super) fn counts_elsewhere(
    cells: &Cells,
    used: &Slot,
    wanted: Option<(&[String], &PrepareOptions)>,
) -> Option<Elsewhere> {
    let holds_counts = |matrix: &Matrix| {
        let values = matrix.stored();
        let survey = Survey::of(&values[..values.len().min(SAMPLE)]);
        survey.not_finite.1 == 0 && survey.not_count.1 == 0 && survey.max > 1.0
    };
    let mut best: Option<Elsewhere> = None;
    for slot in Slot::all(cells).into_iter().filter(|slot| slot != used) {
        let Ok((matrix, var, _)) = slot.find(cells) else { continue };
        if !holds_counts(matrix) {
            continue;
        }
        let (n, of) = match wanted {
            None => (var.len(), "genes".to_owned()),
            Some((genes, options)) => {
                let column = options.gene_column.as_deref().filter(|c| var.column(c).is_some());
                let names = super::genes::names(var, "", column).unwrap_or_default();
                let names: HashSet<String> = names.iter().map(|n| options.gene_names.apply(n)).collect();
                let n = genes.iter().filter(|g| names.contains(&options.gene_names.apply(g))).count();
                // What is normalised often has only the variable genes, and what is not all of them.
                let all = if var.len() == n { String::new() } else { format!(", {} genes in all", var.len()) };
                (n, format!("of the {} genes to work with{all}", genes.len()))
            }
        };
        let hint = match &slot {
            Slot::X => {
                Hint::words(format!("X holds whole numbers, {n} {of}: leave the choice of a slot out to use it"))
            }
            Slot::Layer(name) => {
                let told = format!("layer `{name}` holds whole numbers, {n} {of}: use it");
                Hint::setting(told, Setting::to("layer", name))
            }
            Slot::Raw => Hint::setting(format!("raw.X holds whole numbers, {n} {of}: use it"), Setting::of("raw")),
        };
        if best.as_ref().is_none_or(|b| n > b.matched) {
            best = Some(Elsewhere { hint, matched: n });
        }
    }
    best
}

/// Names a slot that holds counts, where there is one.
fn remedy(cells: &Cells, genes: &[String], options: &PrepareOptions) -> Hint {
    counts_elsewhere(cells, &options.slot, Some((genes, options))).map(|found| found.hint).unwrap_or_else(|| {
        let told = "no other slot holds whole numbers either: go back to the raw counts, or train a model for \
                    log-normalised values (MSE); counts that are corrected and not whole are taken where that is asked for";
        Hint::setting(told, Setting::to("fractions", "accept"))
    })
}

/// Warns of cells without a value in any gene of the model.
pub(super) fn note_empty_cells(library: &[f32], expression: &Csr, names: &[String], report: &mut PrepareReport) {
    let empty: Vec<usize> = (0..library.len()).filter(|&i| expression.row(i).0.is_empty()).collect();
    if !empty.is_empty() {
        let names = empty.iter().take(SHOWN).map(|&i| names[i].clone()).collect();
        report.warnings.push(Warning::EmptyCells { n: empty.len(), names });
    }
}

/// Warns of cell names that stand for two cells.
pub(super) fn note_repeated_cells(names: &[String], report: &mut PrepareReport) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *times.entry(name).or_default() += 1;
    }
    let repeated: Vec<&str> = times.into_iter().filter(|&(_, n)| n > 1).map(|(name, _)| name).collect();
    if !repeated.is_empty() {
        let names = repeated.iter().take(SHOWN).map(|&n| n.to_owned()).collect();
        report.warnings.push(Warning::DuplicateCells { n: repeated.len(), names });
    }
}
