//! Checking that values are what the model takes.

use std::collections::BTreeMap;

use super::{Kind, PrepareOptions, PrepareReport, Slot, Warning};
use crate::{Cells, CellsError, Csr};

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
    match (options.kind, survey.not_count) {
        (Kind::Counts, (Some(first), n)) => {
            let (cell, gene, value) = place(first);
            return Err(CellsError::NotCounts {
                slot: slot.into(),
                cell,
                gene,
                value,
                n,
                n_stored: expression.nnz(),
                remedy: remedy(cells, &options.slot),
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

/// Names a slot that holds counts, where there is one.
fn remedy(cells: &Cells, used: &Slot) -> String {
    let looks_like_counts = |slot: &Slot| {
        slot.find(cells).is_ok_and(|(matrix, _, _)| {
            let values = matrix.stored();
            let survey = Survey::of(&values[..values.len().min(SAMPLE)]);
            survey.not_finite.1 == 0 && survey.not_count.1 == 0 && survey.max > 1.0
        })
    };
    match Slot::all(cells).iter().find(|slot| *slot != used && looks_like_counts(slot)) {
        Some(Slot::X) => "X holds whole numbers: leave the choice of a layer out to use it".into(),
        Some(Slot::Layer(name)) => format!("layer `{name}` holds whole numbers: use it (--layer {name})"),
        Some(Slot::Raw) => "raw.X holds whole numbers: use it (--raw)".into(),
        None => "no other slot holds whole numbers either: go back to the raw counts, or train a model for \
                 log-normalised values (MSE)"
            .into(),
    }
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
