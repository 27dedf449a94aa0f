//! Pictures of what other steps computed: cells by colour, programs by group, tests, fits, labels, metrics.

use std::collections::{BTreeSet, HashMap, HashSet};

use scgraft_analysis::auroc::auroc;
use scgraft_analysis::metrics::scores::Category;
use scgraft_analysis::transfer;
use scgraft_cells::{Cells, Column, Dense, Frame};
use scgraft_models::EpochRecord;
use scgraft_report::color::Rgb;
use scgraft_report::{
    BayesFactors, ColorValues, Coloring, Confusion, DotPlot, GeneWeight, Heatmap, LossCurve, Measure, Metric,
    MetricGroup, Metrics, ProgramBayesFactor, Reliability, ReliabilityBin, Training, Trials,
};

use crate::columns::stacked;
use crate::evaluate::{ColumnKind, Evaluated, ScoreColumn};
use crate::programs::ProgramSummary;
use crate::trial::{Spread, Trial};
use crate::{Embedding, Error, slots};

/// Bins of a reliability curve.
pub(crate) const RELIABILITY_BINS: usize = 10;

/// A column to colour cells by: categories, or numbers.
pub fn coloring(name: &str, column: &Column) -> Coloring {
    match column {
        Column::Real(_) | Column::Integer(_) => {
            let values = (0..column.len()).map(|i| column.number(i).map_or(f32::NAN, |v| v as f32)).collect();
            Coloring::scores(name, values)
        }
        Column::Categorical { codes, categories, .. } => Coloring::categories(name, codes.clone(), categories.clone()),
        Column::Text(_) | Column::Boolean(_) => coloring(name, &Column::categories(&column.texts())),
    }
}

/// Two columns one below the other; a missing one is empty.
pub fn joined(name: &str, parts: &[(Option<&Column>, usize)]) -> Coloring {
    coloring(name, &stacked(parts))
}

/// The curves of a history of which an epoch, from 0, was kept; `None` when there is none.
pub fn training(title: &str, history: &[EpochRecord], kept: Option<usize>) -> Option<Training> {
    let first = history.first()?;
    let named = |terms: &[(String, f64)], name: &str| terms.iter().find(|t| t.0 == name).map_or(f64::NAN, |t| t.1);
    let sum = |terms: &[(String, f64)]| terms.iter().map(|t| t.1).sum::<f64>();
    let validated = history.iter().all(|r| !r.validation.is_empty());
    let total = LossCurve {
        name: "loss, unweighted".into(),
        train: history.iter().map(|r| sum(&r.train)).collect(),
        validation: if validated { history.iter().map(|r| sum(&r.validation)).collect() } else { Vec::new() },
    };
    let terms = first.train.iter().map(|(name, _)| LossCurve {
        name: name.clone(),
        train: history.iter().map(|r| named(&r.train, name)).collect(),
        validation: if validated { history.iter().map(|r| named(&r.validation, name)).collect() } else { Vec::new() },
    });
    let best_epoch = kept.filter(|&epoch| epoch < history.len()).map(|epoch| epoch + 1);
    Some(Training { title: title.into(), curves: std::iter::once(total).chain(terms).collect(), best_epoch })
}

/// The comparisons of a stored test, each ready to draw.
pub fn comparisons(table: &Frame) -> Vec<BayesFactors> {
    let text = |name: &str, i: usize| table.column(name).and_then(|c| c.text(i)).unwrap_or_default();
    let number = |name: &str, i: usize| table.column(name).and_then(|c| c.number(i)).filter(|v| v.is_finite());
    let mut out: Vec<BayesFactors> = Vec::new();
    for i in 0..table.len() {
        let (group, comparison, within) = (text("group", i), text("comparison", i), text("within", i));
        let title = match within.as_str() {
            "" | "all cells" => format!("{group} versus {comparison}"),
            within => format!("{group} versus {comparison}, {within}"),
        };
        let Some(log_bf) = number("log_bayes_factor", i) else { continue };
        let n = |name: &str| number(name, i).map_or(0, |v| v as u64);
        let cells = [n("n_group"), n("n_comparison")];
        let program = ProgramBayesFactor { name: text("program", i), log_bf, se: number("log_bayes_factor_se", i) };
        match out.last_mut() {
            Some(last) if last.title == title => last.programs.push(program),
            _ => {
                let within = if within == "all cells" { String::new() } else { within };
                let programs = vec![program];
                out.push(BayesFactors { title, group, comparison, within, cells, programs, ..BayesFactors::default() })
            }
        }
    }
    out
}

/// Labels that cells were given (rows) against those carried over to them from the reference (columns), of the cells that
/// have both; `None` where there are none.
pub fn confusion(cells: &Cells, label: &str, given: &Column) -> Option<Confusion> {
    let codes = |column: &Column| match coloring("", column).values {
        ColorValues::Categories { codes, levels } => Some((codes, levels)),
        ColorValues::Scores { .. } => None,
    };
    let (given, pred) = (codes(given)?, codes(cells.obs.column(&format!("{label}_pred"))?)?);
    let mut table = Confusion::from_codes((&given.0, &given.1), (&pred.0, &pred.1)).ok()?;
    let names: BTreeSet<&String> = given.1.iter().chain(&pred.1).collect();
    let known = ["_pred", ""].iter().flat_map(|end| slots::colors(cells, &format!("{label}{end}"))).collect();
    let colors = own_colors("", names.iter().copied(), std::iter::empty(), known);
    table.colors = names.into_iter().cloned().zip(colors).collect();
    table.counts.iter().any(|&n| n > 0).then_some(table)
}

/// The labels that a transfer knows: those given to cells, and those with a probability.
fn known_labels(cells: &Cells, label: &str) -> HashSet<String> {
    let best = cells.obs.column(&format!("{label}_best")).map(Column::texts);
    let mut known: HashSet<String> = best.into_iter().flatten().flatten().collect();
    if let Some(names) = slots::table_names(cells, &slots::probabilities_key(label)) {
        // Older versions replaced `/` in the names of columns.
        let plain = |name: &String| !known.iter().any(|k| k.replace('/', "_") == *name);
        let more: Vec<String> = names.into_iter().filter(plain).collect();
        known.extend(more);
    }
    known
}

/// How often a transferred label is the one that a cell was given, by confidence, over the cells whose given label the
/// reference has; `None` where there is none. `truth` is the name of the given labels.
///
/// # Errors
/// Of [`transfer::reliability`].
pub fn reliability(cells: &Cells, label: &str, (truth, given): (&str, &Column)) -> Result<Option<Reliability>, Error> {
    let column = |name: String| cells.obs.column(&name);
    let (Some(best), Some(uncertainty)) = (column(format!("{label}_best")), column(format!("{label}_uncertainty")))
    else {
        return Ok(None);
    };
    let known = known_labels(cells, label);
    let given = given.labels();
    let is_known = |given: &str| known.contains(given) || known.contains(&given.replace('/', "_"));
    let (mut confidence, mut right) = (Vec::new(), Vec::new());
    for i in 0..cells.n_cells() {
        if let (Some(given), Some(best), Some(u)) = (&given[i], best.text(i), uncertainty.number(i))
            && is_known(given)
        {
            confidence.push((1.0 - u).clamp(0.0, 1.0));
            right.push(*given == best);
        }
    }
    if confidence.is_empty() {
        return Ok(None);
    }
    let curve = transfer::reliability(&confidence, &right, RELIABILITY_BINS)?;
    let bins = curve.bins.iter().filter(|b| b.n_cells > 0).map(|b| ReliabilityBin {
        confidence: b.confidence,
        accuracy: b.accuracy,
        cells: b.n_cells as u64,
    });
    let (title, ece) = (format!("{label}, against {truth}"), Some(curve.expected_error));
    Ok(Some(Reliability { title, bins: bins.collect(), ece }))
}

/// The colours that files have for the categories of a column, the last file's first; else those `known`, else those of the
/// palette that are left.
pub(crate) fn own_colors<'c, 'l>(
    column: &str,
    levels: impl Iterator<Item = &'l String> + Clone,
    cells: impl Iterator<Item = &'c Cells>,
    mut known: HashMap<String, Rgb>,
) -> Vec<Rgb> {
    cells.for_each(|cells| known.extend(slots::colors(cells, column)));
    slots::colors_of(levels, |level| known.get(level).copied())
}

/// The same in its [`own_colors`].
pub(crate) fn in_own_colors<'c>(
    coloring: Coloring,
    cells: impl Iterator<Item = &'c Cells>,
    known: HashMap<String, Rgb>,
) -> Coloring {
    let ColorValues::Categories { levels, .. } = &coloring.values else { return coloring };
    let colors = own_colors(&coloring.name, levels.iter(), cells, known);
    coloring.with_colors(colors)
}

/// The `top` heaviest genes of a program; those that are not in a gene set are marked.
pub fn gene_weights(program: &ProgramSummary, top: usize) -> Vec<GeneWeight> {
    let genes = program.genes.iter().take(top).map(|g| GeneWeight {
        name: g.name.clone(),
        weight: f64::from(g.weight),
        added: !g.in_set,
    });
    genes.collect()
}

/// Standardised means of values in groups, and how often a cell of the group is higher than one outside.
///
/// `groups` are codes of cells, −1 of a cell that is left out, and names; so is a cell without the value. Of the values all are
/// drawn, or with `top` so many of each group: those highest by that share.
///
/// # Errors
/// Of [`auroc`].
pub fn grid(
    title: String,
    (codes, levels): (&[i32], &[String]),
    values: &[(String, Vec<f32>)],
    top: Option<usize>,
) -> Result<DotPlot, Error> {
    let row = |(name, values): &(String, Vec<f32>)| -> Result<GridRow, Error> {
        let here: Vec<usize> = (0..codes.len()).filter(|&i| codes[i] >= 0 && values[i].is_finite()).collect();
        let scores: Vec<f64> = here.iter().map(|&i| f64::from(values[i])).collect();
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let sd = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (mut means, mut shares) = (Vec::new(), Vec::new());
        for g in 0..levels.len() {
            let own: Vec<bool> = here.iter().map(|&i| codes[i] as usize == g).collect();
            let members = own.iter().filter(|o| **o).count();
            if members == 0 {
                means.push(f64::NAN);
                shares.push(f64::NAN);
                continue;
            }
            let sum: f64 = scores.iter().zip(&own).filter(|(_, o)| **o).map(|(s, _)| s - mean).sum();
            means.push(if sd > 0.0 { sum / members as f64 / sd } else { 0.0 });
            // A group that is all cells has no outside.
            shares.push(if members == own.len() { 0.5 } else { auroc(&scores, &own)? });
        }
        Ok(GridRow { name: name.clone(), means, shares })
    };
    let mut rows = values.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    if let Some(top) = top {
        let mut kept: Vec<usize> = Vec::new();
        for g in 0..levels.len() {
            let share = |at: usize| if rows[at].shares[g].is_nan() { -1.0 } else { rows[at].shares[g] };
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
            kept.extend(order.into_iter().filter(|at| !kept.contains(at)).take(top).collect::<Vec<_>>());
        }
        rows = kept.into_iter().map(|at| rows[at].clone()).collect();
    }
    let colors = Heatmap {
        title,
        rows: rows.iter().map(|r| r.name.clone()).collect(),
        columns: levels.to_vec(),
        values: rows.iter().flat_map(|r| r.means.clone()).collect(),
        value: "mean score, in sd".into(),
        diverging: true,
    };
    let shares = rows.into_iter().flat_map(|r| r.shares).collect();
    Ok(DotPlot { colors, shares, share: "P(higher)".into() })
}

/// A row of a grid: by group the standardised mean, and how often a cell of the group is higher than one outside.
#[derive(Clone)]
struct GridRow {
    name: String,
    means: Vec<f64>,
    shares: Vec<f64>,
}

/// The programs that the fit kept, by name, with their scores: what [`grid`] chooses from where no one chose.
pub fn kept_programs(e: &Embedding) -> Vec<(String, Vec<f32>)> {
    (0..e.names.len()).filter(|&j| e.active[j]).map(|j| (e.names[j].clone(), e.score(j))).collect()
}

/// The papers' table of metrics: the best embedding first, means before metrics. `None` without a value.
pub fn metrics(title: &str, found: &Evaluated) -> Option<Metrics> {
    let group = |kind| match kind {
        ColumnKind::Mean => MetricGroup::Score,
        ColumnKind::Integration { category: Category::Biology, .. } => MetricGroup::Bio,
        ColumnKind::Integration { .. } => MetricGroup::Batch,
        ColumnKind::Mapping => MetricGroup::Query,
    };
    let order = found.ranked();
    let mut columns = found.columns();
    columns.retain(|c| c.values.iter().any(Option::is_some));
    columns.sort_by_key(|c| group(c.kind) as u8);
    if columns.is_empty() {
        return None;
    }
    let value = |c: &ScoreColumn, i: usize| c.values[i].unwrap_or(f64::NAN).clamp(0.0, 1.0);
    Some(Metrics {
        title: title.to_owned(),
        methods: order.iter().map(|&i| found.scores.rows[i].embedding.clone()).collect(),
        metrics: columns.iter().map(|c| Metric { name: c.name.to_owned(), group: group(c.kind) }).collect(),
        values: order.iter().flat_map(|&i| columns.iter().map(move |c| value(c, i))).collect(),
        by_rank: false,
    })
}

/// The scArches paper's overview of a table of `evaluate` or of an experiment, several rows of one name as their mean: ranks
/// as colours, circles and bars, and the seconds that reference and query took where the table has them. `None` without a
/// metric.
pub fn overview(title: &str, table: &Frame) -> Option<Metrics> {
    let table = &means_of_names(table);
    let found = Evaluated::of_table(table);
    let plain = metrics(title, &found)?;
    let times: Vec<(&str, &Column)> =
        TIMES.iter().filter_map(|(column, name)| Some((*name, table.column(column)?))).collect();
    let order = found.ranked();
    let n = plain.metrics.len();
    let row = |(place, i): (usize, &usize)| {
        let of_times = times.iter().map(|(_, c)| c.number(*i).unwrap_or(f64::NAN));
        plain.values[place * n..(place + 1) * n].iter().copied().chain(of_times).collect::<Vec<_>>()
    };
    let values = order.iter().enumerate().flat_map(row).collect();
    let of_times = times.iter().map(|(name, _)| Metric { name: (*name).to_owned(), group: MetricGroup::Time });
    let metrics = plain.metrics.iter().cloned().chain(of_times).collect();
    Some(Metrics { metrics, values, by_rank: true, ..plain })
}

/// Columns with seconds, and their names in a picture.
const TIMES: [(&str, &str); 2] = [("reference_seconds", "Reference"), ("query_seconds", "Query")];

/// A table with one row a name, in the order of the first: numbers as means over the rows that have one.
fn means_of_names(table: &Frame) -> Frame {
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for (i, name) in table.index.iter().enumerate() {
        match names.iter().position(|n| n == name) {
            Some(at) => rows[at].push(i),
            None => {
                names.push(name.clone());
                rows.push(vec![i]);
            }
        }
    }
    let mut out = Frame::new(names);
    for (name, column) in &table.columns {
        let mean = |rows: &Vec<usize>| Spread::of(rows.iter().filter_map(|&i| column.number(i))).mean;
        out.set(name, Column::Real(rows.iter().map(mean).collect()));
    }
    out
}

/// An experiment: the named measures (columns of its table), those that no run has left out.
pub fn trial(found: &Trial, measures: &[&str]) -> Option<Trials> {
    let settings = found.settings();
    let of = |name: &&str| {
        let values = |s: &&str| found.runs.iter().filter(|r| r.setting == *s).map(|r| r.value(name)).collect();
        Measure { name: name.replace('_', " "), values: settings.iter().map(values).collect() }
    };
    let there = |m: &Measure| m.values.iter().flatten().any(|v| v.is_finite());
    let measures: Vec<Measure> = measures.iter().map(of).filter(there).collect();
    (!measures.is_empty()).then(|| Trials {
        title: String::new(),
        vary: found.vary.name().to_owned(),
        settings: settings.into_iter().map(str::to_owned).collect(),
        joined: found.vary.is_amount(),
        measures,
    })
}

/// Coordinate `j` of cells that stand in several parts, one below the other.
pub fn coordinate(parts: &[&Dense], j: usize) -> Vec<f32> {
    parts.iter().flat_map(|m| m.column(j)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_that_was_kept_is_marked_not_that_of_the_lowest_loss() {
        let loss = |epoch: usize, loss| EpochRecord { epoch, validation_loss: Some(loss), ..EpochRecord::default() };
        let history = [loss(0, 1.0), loss(1, 3.0), loss(2, 2.0)];
        let noted = |key| (key == "best_epoch").then_some(2);
        let picture = training("", &history, scgraft_models::kept_epoch(noted)).unwrap();
        assert_eq!(picture.best_epoch, Some(3));
        assert_eq!(scgraft_models::kept_epoch(|key| Some(if key == "best_epoch" { 2 } else { -1 })), None, "its start");
    }

    #[test]
    fn flows_have_the_colours_that_a_file_has_for_its_labels() {
        let mut obs = Frame::new(["a", "b", "c"].map(str::to_owned).to_vec());
        obs.set("type", Column::categorical(&["A", "B", "B"]));
        obs.set("type_pred", Column::categorical(&["A", transfer::UNKNOWN, "B"]));
        let mut cells = Cells::empty(obs, Frame::default());
        let own = ["#112233", "#445566"].map(str::to_owned).to_vec();
        cells.uns.insert("type_colors".into(), scgraft_cells::Uns::Texts(own));
        let found = confusion(&cells, "type", cells.obs.column("type").unwrap()).unwrap();
        let told: Vec<(&str, Rgb)> = found.colors.iter().map(|(name, color)| (name.as_str(), *color)).collect();
        let unknown = scgraft_report::color::UNKNOWN;
        assert_eq!(told, [("A", Rgb(0x11, 0x22, 0x33)), ("B", Rgb(0x44, 0x55, 0x66)), ("Unknown", unknown)]);
    }

    #[test]
    fn categories_have_the_colours_that_files_give_them() {
        let rows = Frame::new(["1", "2", "3"].map(str::to_owned).to_vec());
        let mut cells = Cells::empty(rows, Frame::new(Vec::new()));
        cells.obs.set("type", Column::categorical(&["B", "T", "Unknown"]));
        let plain = || coloring("type", cells.obs.column("type").unwrap());
        let [first, second] = [0, 1].map(scgraft_report::color::category);
        let unknown = scgraft_report::color::UNKNOWN;
        let shown = |cells: &Cells, known: &[(&str, Rgb)]| {
            let known = known.iter().map(|k| (k.0.to_owned(), k.1)).collect();
            in_own_colors(plain(), std::iter::once(cells), known).colors
        };
        assert_eq!(shown(&cells, &[]), [first, second, unknown]);
        assert_eq!(shown(&cells, &[("T", first)]), [second, first, unknown]);
        let mut own = cells.clone();
        own.uns.insert(
            "type_colors".into(),
            scgraft_cells::Uns::Texts(["#010203", "#0072b2", "#888888"].map(str::to_owned).to_vec()),
        );
        assert_eq!(shown(&own, &[("T", second)]), [Rgb(1, 2, 3), Rgb(0, 0x72, 0xB2), Rgb(0x88, 0x88, 0x88)]);
    }

    #[test]
    fn an_overview_has_means_ranks_and_times() {
        let mut table = Frame::new(["a", "b", "a"].map(str::to_owned).to_vec());
        table.set("overall", Column::Real(vec![0.2, 0.5, 0.4]));
        table.set("nmi", Column::Real(vec![0.9, 0.1, f64::NAN]));
        table.set("query_seconds", Column::Real(vec![10.0, 2.0, 30.0]));
        table.set("seed", Column::Integer(vec![Some(1), Some(1), Some(2)]));
        let found = overview("", &table).unwrap();
        assert!(found.by_rank);
        // The best first: 0.5 against the mean of 0.2 and 0.4.
        assert_eq!(found.methods, ["b", "a"]);
        let column = |name: &str| {
            let j = found.metrics.iter().position(|m| m.name == name).unwrap();
            [0, 1].map(|i| found.values[i * found.metrics.len() + j])
        };
        let [best, other] = column("Overall");
        assert!((best - 0.5).abs() < 1e-12 && (other - 0.3).abs() < 1e-12);
        assert_eq!((column("NMI"), column("Query")), ([0.1, 0.9], [2.0, 20.0]));
        assert!(overview("", &Frame::new(vec!["a".into()])).is_none());
    }

    #[test]
    fn a_grid_leaves_out_cells_without_a_value_or_a_group() {
        let levels = ["A", "B", "C"].map(str::to_owned);
        let codes = [0, 0, 1, 1, -1, 2];
        let values = [("x".to_owned(), vec![1.0, 3.0, 5.0, 7.0, 1e6, f32::NAN]), ("flat".to_owned(), vec![2.0; 6])];
        let found = grid("t".into(), (&codes, &levels), &values, None).unwrap();
        // Mean 4, sd √5 of 1, 3, 5, 7; every B is higher than every A; no C has a value.
        let (x, sd) = (&found.colors.values, 5f64.sqrt());
        assert!((x[0] + 2.0 / sd).abs() < 1e-12 && (x[1] - 2.0 / sd).abs() < 1e-12 && x[2].is_nan(), "{x:?}");
        assert_eq!((&found.shares[..2], found.shares[2].is_nan()), (&[0.0, 1.0][..], true));
        assert_eq!((&found.colors.values[3..], &found.shares[3..]), (&[0.0; 3][..], &[0.5; 3][..]));
        // B is highest in x, A in what is flat, C has only that.
        let best = grid("t".into(), (&codes, &levels), &values, Some(1)).unwrap();
        assert_eq!(best.colors.rows, ["flat", "x"]);
    }
}
