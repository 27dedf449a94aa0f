//! What a page says first: which programs differ, which types the cells are of, how good the mapping is, what to look at
//! next. Everything is read off what other steps left in the cells.

use std::collections::{HashMap, HashSet};

use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Array, Cells, Column, PrepareOptions, Uns, distinct, each_once};
use scgraft_report::color::{MISSING, Rgb};
use scgraft_report::html::{Answers, Composition, Criterion, Difference, Leading, Light, Next, OverDonors, TypeShare};
use scgraft_report::{BayesFactors, Metrics, count};

use crate::enrich::ALL_CELLS;
use crate::join::NOT_KNOWN;
use crate::page::{PagePlan, Parts};
use crate::{pictures, slots};

/// Leading programs of the comparison that counts most.
const LEADING: usize = 6;
/// Genes named of each of them.
const GENES: usize = 5;
/// Names of columns of obs that say whose a cell is.
const DONORS: [&str; 12] = [
    "donor",
    "donor_id",
    "patient",
    "patient_id",
    "individual",
    "subject",
    "ind",
    "sample",
    "sample_id",
    "replicate",
    "mouse",
    "animal",
];
/// What the group is called that others are compared with, where a test of two groups does not say which it is.
const CONTROLS: [&str; 14] = [
    "control",
    "ctrl",
    "untreated",
    "unstimulated",
    "healthy",
    "normal",
    "vehicle",
    "wt",
    "wild type",
    "wildtype",
    "mock",
    "baseline",
    "dmso",
    "pbs",
];

/// A test of cells, and whether its groups are cell types.
pub(crate) struct Test {
    pub name: String,
    of_types: bool,
    comparisons: Vec<BayesFactors>,
}

/// The tests of cells. What says more at first sight comes first: tests of conditions before tests of types (of labels that were
/// carried over, and of `label`), within all cells before within some, tests of few comparisons before those of many.
pub(crate) fn tests(cells: &Cells, label: Option<&str>) -> Vec<Test> {
    let carried = cells.obs.names().into_iter().filter_map(|name| name.strip_suffix("_pred"));
    let columns = carried.chain(label).flat_map(|l| [l.to_owned(), format!("{l}_pred"), format!("{l}_best")]);
    let types: HashSet<String> = columns.filter_map(|name| cells.obs.column(&name)).flat_map(levels_of).collect();
    let of = |(name, table)| {
        let comparisons = one_of_a_pair(pictures::comparisons(&table));
        Test { name, of_types: comparisons.iter().all(|c| types.contains(&c.group)), comparisons }
    };
    let mut tests: Vec<Test> = slots::tests(cells).into_iter().map(of).collect();
    tests.sort_by_key(|Test { of_types, comparisons: all, .. }| {
        (all.is_empty(), *of_types, all.iter().any(|c| !c.within.is_empty()), all.len())
    });
    tests
}

/// The comparisons of the tests of cells, in the order of [`tests`]; of several tests in turns, so that the first few have
/// something of every test.
pub(crate) fn ordered(cells: &Cells, label: Option<&str>) -> Vec<BayesFactors> {
    let mut tests = tests(cells, label);
    let of_types = tests.split_off(tests.partition_point(|t| !t.of_types));
    let mut out = by_turns(tests);
    out.extend(by_turns(of_types));
    out
}

/// The first comparison of each test, then the second of each.
fn by_turns(tests: Vec<Test>) -> Vec<BayesFactors> {
    let most = tests.iter().map(|t| t.comparisons.len()).max().unwrap_or(0);
    let mut tests: Vec<_> = tests.into_iter().map(|t| t.comparisons.into_iter()).collect();
    (0..most).flat_map(|_| tests.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect()
}

/// Two groups, each against the rest, say the same thing twice: the one that is no control is kept, against the other.
fn one_of_a_pair(mut test: Vec<BayesFactors>) -> Vec<BayesFactors> {
    let groups = distinct(test.iter().map(|c| c.group.clone()));
    let [a, b] = &groups[..] else { return test };
    if test.iter().any(|c| c.comparison != "rest") {
        return test;
    }
    let is_control = |name: &str| CONTROLS.contains(&name.to_lowercase().as_str());
    let (kept, other) = if is_control(b) && !is_control(a) { (a, b) } else { (b, a) };
    test.retain(|c| c.group == *kept);
    for c in &mut test {
        c.title = c.title.replacen("versus rest", &format!("versus {other}"), 1);
        c.comparison.clone_from(other);
    }
    test
}

/// Colours of the labels: the file's own, else those of the palette; what is unknown is grey.
pub(crate) fn label_colors(parts: &Parts<'_>, label: &str) -> HashMap<String, Rgb> {
    let names = [label.to_owned(), format!("{label}_pred"), format!("{label}_best")];
    let sides = [parts.reference.map(|(c, _)| c), Some(parts.cells)];
    let columns: Vec<(&Cells, &String)> =
        sides.into_iter().flatten().flat_map(|cells| names.iter().map(move |n| (cells, n))).collect();
    let levels = distinct(columns.iter().filter_map(|(c, n)| c.obs.column(n)).flat_map(levels_of));
    let mut colors: HashMap<String, Rgb> = HashMap::new();
    for (cells, name) in columns {
        slots::colors(cells, name).into_iter().for_each(|(level, color)| {
            colors.entry(level).or_insert(color);
        });
    }
    let all = slots::colors_of(levels.iter(), |level| colors.get(level).copied());
    levels.into_iter().zip(all).collect()
}

/// The labels in a column, in the order of its categories where it has any: clusters are 0, 1, 2, …, 10.
pub(crate) fn levels_of(column: &Column) -> Vec<String> {
    let there = distinct(column.labels().into_iter().flatten());
    match column {
        Column::Categorical { categories, .. } => {
            categories.iter().filter(|c| there.binary_search(c).is_ok()).cloned().collect()
        }
        _ => there,
    }
}

/// The labels of the cells: those carried over, with what is unknown.
fn labels(cells: &Cells, label: &str) -> Option<Vec<Option<String>>> {
    cells.obs.column(&format!("{label}_pred")).map(Column::labels)
}

/// The column of obs that holds both groups of a comparison.
pub(crate) fn column_of(cells: &Cells, test: &BayesFactors) -> Option<String> {
    let categories = |c: &&Column| !matches!(c, Column::Real(_) | Column::Integer(_));
    let names = cells.obs.names();
    let found = names.into_iter().find(|name| {
        let levels = cells.obs.column(name).filter(categories).map(levels_of).unwrap_or_default();
        [&test.group, &test.comparison].into_iter().all(|g| g == "rest" || levels.contains(g))
    });
    found.map(str::to_owned)
}

/// Whether a column is that of the label, or one that was carried over with it.
fn is_of_label(name: &str, label: &str) -> bool {
    name.strip_prefix(label).is_some_and(|end| end.is_empty() || end.starts_with('_'))
}

/// How labels are shared out by condition and by donor.
pub(crate) fn compositions(
    parts: &Parts<'_>,
    plan: &PagePlan,
    main: Option<&BayesFactors>,
    colors: &HashMap<String, Rgb>,
) -> Vec<Composition> {
    let cells = parts.cells;
    let Some((label, labels)) = plan.label.as_ref().and_then(|l| labels(cells, l).map(|found| (l, found))) else {
        return Vec::new();
    };
    let mut by: Vec<String> = main.and_then(|t| column_of(cells, t)).into_iter().chain(plan.groups.clone()).collect();
    let donors = cells.obs.names().into_iter().filter(|n| DONORS.contains(&n.to_lowercase().as_str()));
    by.extend(donors.map(str::to_owned));
    by.retain(|name| !is_of_label(name, label));
    let by = each_once(by);
    let names = distinct(labels.iter().flatten().cloned());
    let composition = |by: String| {
        let groups_of = cells.obs.column(&by)?.labels();
        let groups = levels_of(cells.obs.column(&by)?);
        if !(2..=60).contains(&groups.len()) {
            return None;
        }
        let mut counts = vec![0; groups.len() * names.len()];
        for (group, label) in groups_of.iter().zip(&labels) {
            if let (Some(group), Some(label)) = (group, label)
                && let (Some(g), Ok(l)) = (groups.iter().position(|g| g == group), names.binary_search(label))
            {
                counts[g * names.len() + l] += 1;
            }
        }
        let labels = names.iter().map(|n| (n.clone(), colors.get(n).copied().unwrap_or(MISSING))).collect();
        Some(Composition { by, groups, labels, cells: counts })
    };
    by.into_iter().filter_map(composition).collect()
}

/// The first screen.
pub(crate) fn answers(
    parts: &Parts<'_>,
    plan: &PagePlan,
    tests: &[BayesFactors],
    colors: &HashMap<String, Rgb>,
) -> Answers {
    let mut difference = tests.first().map(|main| difference(main, tests, &directions(parts.cells)));
    for leading in difference.iter_mut().flat_map(|d| &mut d.programs) {
        leading.heaviest = heaviest(parts, plan, &leading.program);
        leading.donors = tests.first().and_then(|main| over_donors(parts.cells, main, &leading.program));
    }
    let (types, unknown) =
        plan.label.as_ref().map(|l| types(parts.cells, l, tests.first(), colors)).unwrap_or_default();
    let mapping = mapping(parts, plan);
    let next = next(parts, plan, tests, difference.as_ref(), &mapping, &unknown);
    Answers { difference, types, unknown, mapping, next }
}

/// What donors say of a program in a comparison, by the first test that asked them.
fn over_donors(cells: &Cells, main: &BayesFactors, program: &str) -> Option<OverDonors> {
    let within = if main.within.is_empty() { ALL_CELLS } else { &main.within };
    let wanted = [("program", program), ("group", &main.group), ("within", within)];
    slots::tests(cells).into_iter().find_map(|(_, table)| {
        let number = |name: &str, i: usize| table.column(name).and_then(|c| c.number(i)).filter(|v| v.is_finite());
        let is = |i: usize, (name, value): (&str, &str)| {
            table.column(name).and_then(|c| c.text(i)).as_deref() == Some(value)
        };
        let i = (0..table.len()).find(|&i| wanted.iter().all(|w| is(i, *w)))?;
        let donors = ["n_donors_group", "n_donors_comparison"].map(|name| number(name, i).map(|n| n as u64));
        Some(OverDonors { p: number("donor_p_adjusted", i)?, donors: [donors[0]?, donors[1]?] })
    })
}

/// The signs that the tests of a file turned each program with.
fn directions(cells: &Cells) -> HashMap<String, i64> {
    let mut out = HashMap::new();
    for (_, table) in slots::tests(cells) {
        if let (Some(names), Some(signs)) = (table.column("program"), table.column("direction")) {
            for i in 0..table.len() {
                if let (Some(name), Some(sign)) = (names.text(i), signs.number(i)) {
                    out.entry(name).or_insert(sign as i64);
                }
            }
        }
    }
    out
}

/// The genes that weigh most in a program, on the side of its direction, by the weights that lie with the cells.
fn heaviest(parts: &Parts<'_>, plan: &PagePlan, program: &str) -> Vec<String> {
    let Some(j) = parts.query.names.iter().position(|name| name == program) else { return Vec::new() };
    let Some(Array::Dense(weights)) = parts.cells.varm.get(slots::WEIGHTS) else { return Vec::new() };
    if j >= weights.n_cols {
        return Vec::new();
    }
    let sign = f32::from(parts.query.direction[j]);
    let mut genes: Vec<(f32, usize)> =
        (0..weights.n_rows).map(|i| (weights.row(i)[j] * sign, i)).filter(|g| g.0 > 0.0).collect();
    genes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let column = plan.gene_column.as_ref().and_then(|c| parts.cells.var.column(c));
    let name = |i: usize| column.map_or_else(|| Some(parts.cells.var.index[i].clone()), |c| c.text(i));
    genes.iter().take(GENES).filter_map(|g| name(g.1)).collect()
}

fn difference(main: &BayesFactors, tests: &[BayesFactors], directions: &HashMap<String, i64>) -> Difference {
    let passes = |log_bf: f64| log_bf.abs() >= main.threshold;
    let mut ranked: Vec<_> = main.programs.iter().collect();
    ranked.sort_by(|a, b| b.log_bf.abs().total_cmp(&a.log_bf.abs()));
    let within = within_types(main, tests);
    let in_types = |name: &str, log_bf: f64| {
        let found: Vec<f64> =
            within.iter().filter_map(|t| t.programs.iter().find(|p| p.name == name)).map(|p| p.log_bf).collect();
        let same = found.iter().filter(|b| passes(**b) && (**b > 0.0) == (log_bf > 0.0)).count();
        (main.within.is_empty() && !found.is_empty()).then_some([same as u64, found.len() as u64])
    };
    let n = |sign: f64| ranked.iter().filter(|p| passes(p.log_bf) && p.log_bf * sign > 0.0).count() as u64;
    let (higher, lower) = (n(1.0), n(-1.0));
    // Where few pass, the next ones say how far behind the others are.
    let shown = ((higher + lower) as usize).clamp(LEADING / 2, LEADING);
    let programs = ranked.iter().take(shown).map(|p| Leading {
        program: p.name.clone(),
        log_bf: p.log_bf,
        passes: passes(p.log_bf),
        genes: match directions.get(&p.name) {
            None | Some(0) => 0,
            Some(_) if p.log_bf > 0.0 => 1,
            Some(_) => -1,
        },
        heaviest: Vec::new(),
        types: in_types(&p.name, p.log_bf),
        donors: None,
    });
    let group = if main.within.is_empty() { main.group.clone() } else { format!("{}, {}", main.group, main.within) };
    Difference {
        group,
        comparison: main.comparison.clone(),
        cells: main.cells,
        tested: main.programs.len() as u64,
        higher,
        lower,
        programs: programs.collect(),
    }
}

/// A comparison within each type that the reference knows.
fn within_types<'t>(main: &BayesFactors, tests: &'t [BayesFactors]) -> Vec<&'t BayesFactors> {
    let same = |t: &&BayesFactors| t.group == main.group && t.comparison == main.comparison;
    tests.iter().filter(same).filter(|t| !t.within.is_empty()).collect()
}

fn types(
    cells: &Cells,
    label: &str,
    main: Option<&BayesFactors>,
    colors: &HashMap<String, Rgb>,
) -> (Vec<TypeShare>, String) {
    let Some(found) = labels(cells, label) else { return (Vec::new(), String::new()) };
    let mut counts: HashMap<String, u64> = HashMap::new();
    for name in found.into_iter().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    let n = counts.get(UNKNOWN).copied().unwrap_or(0);
    let mut types: Vec<TypeShare> = counts
        .into_iter()
        .map(|(name, cells)| TypeShare { color: colors.get(&name).copied().unwrap_or(MISSING), name, cells })
        .collect();
    types.sort_by(|a, b| b.cells.cmp(&a.cells).then_with(|| a.name.cmp(&b.name)));
    let by = match cells.obs.column(&format!("{label}_novelty")) {
        Some(_) => "further from every type of the reference than known types lie",
        None => "their neighbours in the reference disagree",
    };
    let unknown = match n {
        0 => "No cell is unknown: all are of types that the reference has.".to_owned(),
        _ => {
            // Which types they are nearest to says where to look. Where one side of the main test has more of them than its
            // share of the cells, what was done to the cells may be what is new.
            let near = most_of_unknown(cells, label, &format!("{label}_best"));
            let near = near.map(|(t, n)| format!("; {} of them are nearest to {t}", count(n))).unwrap_or_default();
            let column = main.and_then(|main| column_of(cells, main)).filter(|by| !is_of_label(by, label));
            let side = column.and_then(|by| {
                let (group, own) = most_of_unknown(cells, label, &by)?;
                let all = cells.obs.column(&by)?.texts();
                let usual = all.iter().filter(|g| g.as_deref() == Some(&group)).count() as f64 / all.len() as f64;
                (own as f64 / n as f64 > FAR_MORE * usual).then(|| format!("; {} are {group}", count(own)))
            });
            let side = side.unwrap_or_default();
            let are = if n == 1 { "cell is" } else { "cells are" };
            format!("{} {are} unknown: {by}{near}{side}.", count(n as usize))
        }
    };
    (types, unknown)
}

/// So many times its share of all cells a group has of the unknown ones where that is worth a word.
const FAR_MORE: f64 = 1.25;

/// The group of a column that most unknown cells are of, and how many.
fn most_of_unknown(cells: &Cells, label: &str, by: &str) -> Option<(String, usize)> {
    let (pred, groups) = (cells.obs.column(&format!("{label}_pred"))?.texts(), cells.obs.column(by)?.texts());
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (_, group) in pred.iter().zip(groups).filter(|(p, _)| p.as_deref() == Some(UNKNOWN)) {
        *counts.entry(group?).or_default() += 1;
    }
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
}

/// A share judged by two limits, of which the second is the worse.
fn judged(share: f64, (look, doubt): (f64, f64)) -> Light {
    // Limits that fall are least shares, limits that rise are most.
    let beyond = |limit: f64| if doubt < look { share < limit } else { share > limit };
    if beyond(doubt) {
        Light::Doubt
    } else if beyond(look) {
        Light::Look
    } else {
        Light::Good
    }
}

/// A value that two limits judge; `what` says what it is, with the value in place of `{}`.
fn criterion(value: f64, limits: (f64, f64), show: fn(f64) -> String, what: &str) -> Criterion {
    let side = if limits.1 < limits.0 { "below" } else { "above" };
    Criterion {
        light: judged(value, limits),
        found: what.replacen("{}", &show(value), 1),
        rule: format!("(caution {side} {}, doubt {})", show(limits.0), show(limits.1)),
    }
}

/// A share; a few cells are not none.
fn percent(share: f64) -> String {
    format!("{:.*}\u{a0}%", usize::from(share > 0.0 && share < 0.1), 100.0 * share)
}

fn plain(value: f64) -> String {
    format!("{value:.2}")
}

/// How good the mapping is. Each criterion has two limits:
///
/// - genes of the model that the query has: the limits that preparation warns and refuses at;
/// - how far out the middle cell lies, where the reference's own cells have about 1: a query that lies apart as a whole is not
///   seen by novelty, which counts in the query's own distances. Blood cells on a reference trained to its end have 1.4, on one
///   that was not, 2.1;
/// - where there are metrics, the mean of those of batch mixing: half, and what components without any correction have on blood
///   cells;
/// - cells of types that the reference lacks: twice the usual share of false alarms (5 %), and half of the cells;
/// - cells whose neighbours disagree on the label (uncertainty above 0.5, the threshold of the scArches paper): a fifth and
///   half of the cells;
/// - where the cells came with labels that the reference has, those that got the same: 80 % and 60 %; otherwise the label
///   accuracy of the metrics, if there are any.
///
/// The worst stand first: they are the reason.
fn mapping(parts: &Parts<'_>, plan: &PagePlan) -> Vec<Criterion> {
    let mut out = criteria(parts, plan);
    out.sort_by_key(|c| std::cmp::Reverse(c.light));
    out
}

fn criteria(parts: &Parts<'_>, plan: &PagePlan) -> Vec<Criterion> {
    let cells = parts.cells;
    let mut out = Vec::new();
    if let (Some(Uns::Texts(genes)), Some(Uns::Int(missing))) =
        (slots::note(cells, "genes"), slots::provenance(cells, "missing_genes"))
        && !genes.is_empty()
    {
        let share = 1.0 - *missing as f64 / genes.len() as f64;
        let limits = (PrepareOptions::GOOD_OVERLAP, PrepareOptions::default().min_overlap);
        let what = format!("{{}} of the model's {} genes are in the query", count(genes.len()));
        out.push(criterion(share, limits, percent, &what));
    }
    let values = |column: &str| -> Option<Vec<f64>> {
        let column = cells.obs.column(column)?;
        let values: Vec<f64> = (0..column.len()).filter_map(|i| column.number(i)).collect();
        (!values.is_empty()).then_some(values)
    };
    let share = |column: &str, above: f64| {
        let values = values(column)?;
        Some(values.iter().filter(|v| **v > above).count() as f64 / values.len() as f64)
    };
    if let Some(mut distances) = values("scgraft_distance") {
        let middle = distances.len() / 2;
        let (_, &mut middle, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
        let what = "the middle cell lies {} × as far out as the reference's own";
        out.push(criterion(middle, (1.5, 2.0), plain, what));
    }
    if let Some(mean) = parts.metrics.as_ref().and_then(|m| metric(m, "Batch")) {
        out.push(criterion(mean, (0.5, 0.4), plain, "batch mixing is {} of 1, the mean of the batch metrics"));
    }
    let Some(label) = &plan.label else { return out };
    if let Some(share) = share(&format!("{label}_novelty"), 1.0) {
        out.push(criterion(share, (0.1, 0.5), percent, "{} of the cells are of no type of the reference"));
    }
    if let Some(share) = share(&format!("{label}_uncertainty"), 0.5) {
        out.push(criterion(share, (0.2, 0.5), percent, "{} of the cells have neighbours that disagree on the label"));
    }
    let given = plan.truth.as_ref().and_then(|(name, given)| agreement(cells, label, given).map(|share| (name, share)));
    if let Some((name, share)) = given {
        out.push(criterion(
            share,
            (0.8, 0.6),
            percent,
            &format!("{{}} of the cells are nearest to their own “{name}”, where the reference has it"),
        ));
    } else if let Some(share) = parts.metrics.as_ref().and_then(|m| metric(m, "Label accuracy")) {
        out.push(criterion(share, (0.8, 0.6), percent, "{} label accuracy"));
    }
    out
}

/// Share of the cells whose most probable label is the one given, of those whose given label the reference has.
fn agreement(cells: &Cells, label: &str, given: &Column) -> Option<f64> {
    let best = cells.obs.column(&format!("{label}_best"))?.texts();
    let known = slots::table_names(cells, &slots::probabilities_key(label))?;
    let given = given.labels();
    let pairs = given.iter().zip(&best).filter(|(g, b)| g.as_ref().is_some_and(|g| known.contains(g)) && b.is_some());
    let (n, same) = pairs.fold((0usize, 0usize), |(n, same), (g, b)| (n + 1, same + usize::from(g == b)));
    (n > 0).then(|| same as f64 / n as f64)
}

/// A metric of the first embedding.
fn metric(metrics: &Metrics, name: &str) -> Option<f64> {
    let at = metrics.metrics.iter().position(|m| m.name == name)?;
    metrics.values.get(at).copied().filter(|v| v.is_finite())
}

fn next(
    parts: &Parts<'_>,
    plan: &PagePlan,
    tests: &[BayesFactors],
    difference: Option<&Difference>,
    mapping: &[Criterion],
    unknown: &str,
) -> Vec<Next> {
    let mut out = Vec::new();
    let mut add = |text: String, section: &str, color: &str| {
        out.push(Next { text, section: section.into(), color: color.into() });
    };
    if let Some(worst) = mapping.iter().max_by_key(|c| c.light).filter(|c| c.light > Light::Good) {
        add(format!("The mapping first: {}", worst.found), "transfer", "");
    }
    if let Some(first) = difference.and_then(|d| d.programs.first()) {
        add(format!("{} on the cells", first.program), "cells", &first.program);
        if parts.model.is_some() {
            add("The genes behind the leading programs".into(), "programs", "");
        }
    }
    if let Some(label) = plan.label.as_ref().filter(|_| unknown.contains("unknown:") && !unknown.starts_with("No")) {
        add("Where the unknown cells lie".into(), "cells", &format!("{label}_pred"));
    }
    match tests.first().map_or(0, |main| within_types(main, tests).len()) {
        // What the reference does not know is of no type.
        0 if plan.label.is_some() && tests.first().is_some_and(|main| main.group != NOT_KNOWN) => {
            add("Not tested yet: in how many types the programs differ (test within types)".into(), "tests", "");
        }
        0 => {}
        1 => add("The same comparison within one type".into(), "tests", ""),
        n => add(format!("The same comparison within {n} types"), "tests", ""),
    }
    if difference.is_some() && slots::tests(parts.cells).iter().all(|(_, t)| t.column("donor_p_adjusted").is_none()) {
        add(
            "Not tested yet: whether differences hold from donor to donor (cells are not replicates)".into(),
            "tests",
            "",
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use scgraft_cells::Frame;
    use scgraft_report::ProgramBayesFactor;

    fn comparison(group: &str, comparison: &str, within: &str, programs: &[(&str, f64)]) -> BayesFactors {
        let programs =
            programs.iter().map(|&(name, log_bf)| ProgramBayesFactor { name: name.into(), log_bf, se: None });
        BayesFactors {
            title: format!("{group} versus {comparison}"),
            group: group.into(),
            comparison: comparison.into(),
            within: within.into(),
            programs: programs.collect(),
            ..BayesFactors::default()
        }
    }

    #[test]
    fn a_label_of_the_reference_that_no_cell_got_counts_as_wrong() {
        let mut cells = Cells::empty(Frame::new((0..4).map(|i| i.to_string()).collect()), Frame::default());
        cells.obs.set("type_best", Column::categorical(&["A"; 4]));
        let mut of_labels = Frame::new(cells.obs.index.clone());
        of_labels.columns = ["A", "B"].map(|l| (l.to_owned(), Column::Real(vec![0.5; 4]))).to_vec();
        cells.obsm.insert(slots::probabilities_key("type"), Array::Frame(of_labels));
        assert_eq!(agreement(&cells, "type", &Column::categorical(&["A", "A", "B", "new"])), Some(2.0 / 3.0));
    }

    #[test]
    fn levels_stand_in_the_order_of_their_categories() {
        let categories = ["2", "10", "9"].map(str::to_owned).to_vec();
        let clusters = Column::Categorical { codes: vec![1, 0, -1, 1], categories, ordered: false };
        assert_eq!(levels_of(&clusters), ["2", "10"]);
        assert_eq!(levels_of(&Column::Text(vec![Some("b".into()), None, Some("a".into())])), ["a", "b"]);
    }

    #[test]
    fn unknown_cells_say_on_which_side_of_the_main_test_they_are() {
        let told = |unknown: [usize; 4]| {
            let mut obs = Frame::new((0..10).map(|i| i.to_string()).collect());
            let pred: Vec<&str> = (0..10).map(|i| if unknown.contains(&i) { UNKNOWN } else { "A" }).collect();
            let sides: Vec<&str> = (0..10).map(|i| if i < 5 { "control" } else { "stimulated" }).collect();
            obs.set("type_pred", Column::categorical(&pred));
            obs.set("type_best", Column::categorical(&["A"; 10]));
            obs.set("condition", Column::categorical(&sides));
            let cells = Cells::empty(obs, Frame::default());
            types(&cells, "type", Some(&comparison("stimulated", "control", "", &[])), &HashMap::new()).1
        };
        let by = "4 cells are unknown: their neighbours in the reference disagree; 4 of them are nearest to A";
        assert_eq!(told([1, 6, 7, 8]), format!("{by}; 3 are stimulated."));
        assert_eq!(told([1, 2, 6, 7]), format!("{by}."));
    }

    #[test]
    fn of_two_groups_against_the_rest_the_one_that_is_no_control_is_kept() {
        let pair =
            |a: &str, b: &str| one_of_a_pair(vec![comparison(a, "rest", "", &[]), comparison(b, "rest", "", &[])]);
        for (a, b) in [("control", "stimulated"), ("IFN", "ctrl")] {
            let kept = pair(a, b);
            let wanted = if a == "control" { (b, a) } else { (a, b) };
            assert_eq!(kept.len(), 1);
            assert_eq!((kept[0].group.as_str(), kept[0].comparison.as_str()), wanted);
            assert_eq!(kept[0].title, format!("{} versus {}", wanted.0, wanted.1));
        }
        let three = ["a", "b", "c"].map(|g| comparison(g, "rest", "", &[])).to_vec();
        assert_eq!(one_of_a_pair(three).len(), 3);
    }

    #[test]
    fn tests_of_conditions_come_first_and_a_pair_counts_as_one() {
        let test = |rows: &[[&str; 3]]| {
            let mut table = Frame::new((0..rows.len()).map(|i| i.to_string()).collect());
            for (at, name) in ["group", "comparison", "within"].into_iter().enumerate() {
                table.set(name, Column::categorical(&rows.iter().map(|r| r[at]).collect::<Vec<_>>()));
            }
            table.set("program", Column::categorical(&vec!["P"; rows.len()]));
            table.set("log_bayes_factor", Column::Real(vec![3.0; rows.len()]));
            Uns::Frame(table)
        };
        let all = "all cells";
        let made = [
            ("types", test(&[["B", "rest", all]])),
            ("within", test(&[["stim", "control", "B"]])),
            ("pair", test(&[["stim", "rest", all], ["control", "rest", all]])),
            ("two", test(&[["stim", "control", all], ["later", "control", all]])),
        ];
        let made = made.into_iter().map(|(name, table)| (name.to_owned(), table)).collect();
        let mut obs = Frame::new(vec!["cell".to_owned()]);
        obs.set("type_pred", Column::categorical(&["B"]));
        let mut cells = Cells::empty(obs, Frame::default());
        cells
            .uns
            .insert(slots::NOTES.to_owned(), Uns::Map([("tests".to_owned(), Uns::Map(made))].into_iter().collect()));
        let order: Vec<String> = tests(&cells, None).into_iter().map(|t| t.name).collect();
        assert_eq!(order, ["pair", "two", "within", "types"]);
    }

    #[test]
    fn what_donors_say_stands_beside_the_program() {
        let mut table = Frame::new(["0", "1"].map(str::to_owned).to_vec());
        for (name, values) in [("group", ["stim", "stim"]), ("program", ["P", "P"]), ("within", ["B", ALL_CELLS])] {
            table.set(name, Column::categorical(&values));
        }
        let numbers =
            [("donor_p_adjusted", [0.5, 0.001]), ("n_donors_group", [3.0, 8.0]), ("n_donors_comparison", [3.0, 7.0])];
        numbers.into_iter().for_each(|(name, values)| table.set(name, Column::Real(values.to_vec())));
        let mut cells = Cells::empty(Frame::default(), Frame::default());
        let made = Uns::Map([("test".to_owned(), Uns::Frame(table))].into_iter().collect());
        cells.uns.insert(slots::NOTES.to_owned(), Uns::Map([("tests".to_owned(), made)].into_iter().collect()));
        let of = |within: &str, program: &str| over_donors(&cells, &comparison("stim", "rest", within, &[]), program);
        assert_eq!(of("", "P"), Some(OverDonors { p: 0.001, donors: [8, 7] }));
        assert_eq!(of("B", "P").map(|d| d.donors), Some([3, 3]));
        assert_eq!((of("T", "P"), of("", "Q")), (None, None));
    }

    #[test]
    fn the_first_screen_counts_programs_and_the_types_they_differ_in() {
        let main = comparison("stim", "control", "", &[("UP", 5.0), ("DOWN", -3.0), ("NOT", 1.0)]);
        let inside = |t: &str, up: f64| comparison("stim", "control", t, &[("UP", up), ("DOWN", 2.5)]);
        let tests = [main.clone(), inside("B", 4.0), inside("T", 0.5), inside("NK", -4.0)];
        let found = difference(&main, &tests, &HashMap::from([("UP".to_owned(), -1), ("DOWN".to_owned(), 0)]));
        assert_eq!((found.higher, found.lower, found.tested), (1, 1, 3));
        let told: Vec<_> = found.programs.iter().map(|p| (p.program.as_str(), p.genes, p.types)).collect();
        // DOWN is higher within the types: none agrees. Its direction is not known.
        assert_eq!(told[..2], [("UP", 1, Some([1, 3])), ("DOWN", 0, Some([0, 3]))]);
        // The next one is shown as one that does not pass.
        assert_eq!((told[2].0, found.programs.iter().map(|p| p.passes).collect()), ("NOT", vec![true, true, false]));
    }

    #[test]
    fn lights_turn_at_their_limits() {
        let of = |share, limits| judged(share, limits);
        assert_eq!(
            [0.8, 0.79, 0.5, 0.49].map(|s| of(s, (0.8, 0.5))),
            [Light::Good, Light::Look, Light::Look, Light::Doubt]
        );
        assert_eq!([0.1, 0.11, 0.51].map(|s| of(s, (0.1, 0.5))), [Light::Good, Light::Look, Light::Doubt]);
    }
}
