//! Which cells a run has: what is varied, drawn.

use scgraft_cells::Cells;
use scgraft_numeric::random::Key;

use super::{TrialPlan, Vary, Way};
use crate::Error;
use crate::columns::{coded, level, wrong};

/// A setting with one seed: which cells, and how they come into one space.
pub(super) struct Case {
    pub setting: String,
    pub seed: u64,
    pub way: Way,
    pub reference: Vec<usize>,
    pub query: Vec<usize>,
}

/// The settings of an experiment with one seed.
pub(super) fn cases(reference: &Cells, query: &Cells, plan: &TrialPlan, seed: u64) -> Result<Vec<Case>, Error> {
    const NAME: &str = "the reference";
    let all = |cells: &Cells| (0..cells.n_cells()).collect::<Vec<_>>();
    let plain = |setting: String| Case {
        setting,
        seed,
        way: Way::Graft(plan.graft.granularity),
        reference: all(reference),
        query: all(query),
    };
    let shuffled = |n: usize, stream: u64| {
        let mut order: Vec<usize> = (0..n).collect();
        Key::new(seed).fold(stream).shuffle(&mut order);
        order
    };
    let sorted = |mut rows: Vec<usize>| {
        rows.sort_unstable();
        rows
    };
    let within = |numbers: &[usize], most: usize| match numbers.iter().find(|n| **n == 0 || **n > most) {
        Some(n) => Err(Error::Beyond { name: plan.vary.name(), value: n.to_string(), most }),
        None => Ok(()),
    };
    let (batch, rows) = coded(reference, NAME, &plan.batch)?;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); batch.levels.len()];
    rows.iter().zip(&batch.codes).for_each(|(&i, &b)| members[b as usize].push(i));
    Ok(match &plan.vary {
        Vary::Seed => vec![plain("all".to_owned())],
        Vary::Way(ways) => ways.iter().map(|&way| Case { way, ..plain(way.name().to_owned()) }).collect(),
        Vary::ReferenceShare(shares) => {
            if let Some(share) = shares.iter().find(|s| !(**s > 0.0 && **s <= 1.0)) {
                return Err(Error::Beyond { name: plan.vary.name(), value: share.to_string(), most: 1 });
            }
            let case = |&share: &f64| {
                let of = |(b, own): (usize, &Vec<usize>)| -> Vec<usize> {
                    let kept = (own.len() as f64 * share).ceil() as usize;
                    shuffled(own.len(), b as u64).into_iter().take(kept).map(|i| own[i]).collect()
                };
                let chosen = members.iter().enumerate().flat_map(of).collect();
                Case { reference: sorted(chosen), ..plain(share.to_string()) }
            };
            shares.iter().map(case).collect()
        }
        Vary::ReferenceBatches(numbers) => {
            let most = batch.levels.len();
            within(numbers, most)?;
            let order = shuffled(most, 0);
            let case = |&n: &usize| {
                let chosen = order[..n].iter().flat_map(|&b| members[b].clone()).collect();
                Case { reference: sorted(chosen), ..plain(n.to_string()) }
            };
            numbers.iter().map(case).collect()
        }
        Vary::QueryCells(numbers) => {
            let most = query.n_cells();
            within(numbers, most)?;
            let order = shuffled(most, 0);
            let case = |&n: &usize| Case { query: sorted(order[..n].to_vec()), ..plain(n.to_string()) };
            numbers.iter().map(case).collect()
        }
        Vary::HoldOut(labels) => {
            let (types, rows) = coded(reference, NAME, &plan.labels)?;
            let (own, _) = coded(query, "the query", &plan.labels)?;
            let case = |label: &String| {
                let held = level(&types, &plan.labels, label)?;
                if !own.levels.contains(label) {
                    return Err(wrong(
                        "the query",
                        &plan.labels,
                        format!("is `{label}` of no cell: none would be new"),
                    ));
                }
                let kept = (0..rows.len()).filter(|&i| types.codes[i] != held).map(|i| rows[i]).collect();
                Ok(Case { reference: kept, ..plain(label.clone()) })
            };
            labels.iter().map(case).collect::<Result<_, Error>>()?
        }
        Vary::Rare(label, shares) => {
            if let Some(share) = shares.iter().find(|s| !(**s > 0.0 && **s < 1.0)) {
                let problem =
                    format!("cannot be `{label}` of a share of {share}: expected more than 0 and less than 1");
                return Err(wrong(NAME, &plan.labels, problem));
            }
            // The rows of the label, in the order in which they are drawn, and all others.
            let side = |cells: &Cells, name: &str| -> Result<[Vec<usize>; 2], Error> {
                let (types, rows) = coded(cells, name, &plan.labels)?;
                let rare = level(&types, &plan.labels, label)?;
                let (own, others): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&i| types.codes[i] == rare);
                let own = shuffled(own.len(), 0).into_iter().map(|i| rows[own[i]]).collect();
                Ok([own, others.into_iter().map(|i| rows[i]).collect()])
            };
            let sides = [side(reference, NAME)?, side(query, "the query")?];
            let case = |&share: &f64| {
                let [known, asked] = sides.each_ref().map(|[own, others]| {
                    // share = n / (n + others), at least one cell.
                    let n = ((share / (1.0 - share) * others.len() as f64).round() as usize).max(1);
                    sorted([&own[..n.min(own.len())], &others[..]].concat())
                });
                Case { reference: known, query: asked, ..plain(share.to_string()) }
            };
            shares.iter().map(case).collect()
        }
    })
}
