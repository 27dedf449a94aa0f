//! How gene programs relate to each other: correlation of their scores, overlap of their genes, independence of new ones.

use scgraft_analysis::independence::{correlations, hsic, linkage_order};
use scgraft_cells::{Column, Frame};
use scgraft_models::Model;
use scgraft_numeric::random::sample;
use scgraft_report::Heatmap;
use serde::Serialize;
use serde_json::Value;

use crate::programs::ProgramSummary;
use crate::{Embedding, Error};

/// Provenance: how independent the last query's new programs are.
pub(crate) const INDEPENDENCE: &str = "new_program_independence";
/// Cells that HSIC is computed on, drawn with the seed: it takes time by their square.
const DRAWN: usize = 500;

/// How far a new program says what those before it say already.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Independence {
    /// The new program.
    pub program: String,
    /// Its largest absolute correlation with an active program that is not new.
    pub correlation: f64,
    /// That program.
    pub with: String,
    /// Normalised HSIC with all of them together, 0 (independent) to 1 ([`hsic`]), of at most 500 cells.
    pub hsic: f64,
}

/// The independence of the programs `new` (those of them that are active) from the other active ones.
///
/// # Errors
/// Of [`correlations`] and [`hsic`].
pub fn independence(embedding: &Embedding, new: &[String], seed: u64) -> Result<Vec<Independence>, Error> {
    let active: Vec<usize> = (0..embedding.names.len()).filter(|&j| embedding.active[j]).collect();
    let (new, old): (Vec<usize>, Vec<usize>) = active.into_iter().partition(|&j| new.contains(&embedding.names[j]));
    let n = embedding.mean.n_rows;
    if new.is_empty() || old.is_empty() || n < 2 {
        return Ok(Vec::new());
    }
    let names = |at: &[usize]| at.iter().map(|&j| embedding.names[j].clone()).collect::<Vec<String>>();
    let part = |at: &[usize]| embedding.select(&names(at)).map(|e| e.mean).unwrap_or_default();
    let both = part(&[&new[..], &old[..]].concat());
    let r = correlations(&both)?;
    let drawn = sample(seed, n.min(DRAWN), n);
    let of_old = part(&old).select_rows(&drawn);
    let mut out = Vec::with_capacity(new.len());
    for (i, &program) in new.iter().enumerate() {
        let row = &r[i * both.n_cols + new.len()..(i + 1) * both.n_cols];
        let most = row.iter().enumerate().filter(|(_, r)| !r.is_nan()).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let (at, correlation) = most.map_or((0, 0.0), |(at, r)| (at, r.abs()));
        out.push(Independence {
            program: embedding.names[program].clone(),
            correlation,
            with: embedding.names[old[at]].clone(),
            hsic: hsic(&part(&[program]).select_rows(&drawn), &of_old)?,
        });
    }
    Ok(out)
}

/// The independence that a model remembers of its last query's new programs.
pub fn remembered(model: &Model) -> Vec<Independence> {
    let all = model.provenance.get(INDEPENDENCE).and_then(Value::as_array);
    let of = |v: &Value| {
        let text = |key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| v.get(key).and_then(Value::as_f64);
        Some(Independence {
            program: text("program")?,
            correlation: number("correlation")?,
            with: text("with")?,
            hsic: number("hsic")?,
        })
    };
    all.into_iter().flatten().filter_map(of).collect()
}

/// A value for every pair of programs, alike ones together.
#[derive(Clone, Debug, PartialEq)]
pub struct Related {
    /// The programs.
    pub programs: Vec<String>,
    /// The values, by rows.
    pub values: Vec<f64>,
}

impl Related {
    fn ordered(names: &[String], values: &[f64], distance: impl Fn(f64) -> f64) -> Related {
        let n = names.len();
        let order = linkage_order(&values.iter().map(|&v| distance(v)).collect::<Vec<_>>(), n);
        let values = order.iter().flat_map(|&i| order.iter().map(move |&j| values[i * n + j])).collect();
        Related { programs: order.into_iter().map(|i| names[i].clone()).collect(), values }
    }

    /// As a table: a row and a column a program.
    pub fn table(&self) -> Frame {
        matrix_table("program", &self.programs, &self.programs, &self.values)
    }

    /// As a picture.
    pub fn picture(&self, title: &str, value: &str, diverging: bool) -> Heatmap {
        let (rows, columns) = (self.programs.clone(), self.programs.clone());
        Heatmap { title: title.into(), rows, columns, values: self.values.clone(), value: value.into(), diverging }
    }
}

/// Correlations of the (turned) scores of active programs over all cells; programs alike up to the sign stand together.
///
/// # Errors
/// Of [`correlations`].
pub fn score_correlations(embedding: &Embedding) -> Result<Related, Error> {
    let active: Vec<String> =
        embedding.names.iter().zip(&embedding.active).filter(|(_, a)| **a).map(|(n, _)| n.clone()).collect();
    let scores = embedding.select(&active).map(|e| e.scores()).unwrap_or_default();
    Ok(Related::ordered(&active, &correlations(&scores)?, |r| 1.0 - r.abs()))
}

/// Overlap of the genes of programs, |A ∩ B| / |A ∪ B| (Jaccard), A the `top` heaviest genes of a program.
pub fn gene_overlaps(programs: &[&ProgramSummary], top: usize) -> Related {
    let genes: Vec<Vec<&str>> =
        programs.iter().map(|p| p.genes.iter().take(top).map(|g| g.name.as_str()).collect()).collect();
    let jaccard = |a: &Vec<&str>, b: &Vec<&str>| {
        let both = a.iter().filter(|g| b.contains(g)).count();
        both as f64 / (a.len() + b.len() - both).max(1) as f64
    };
    let values: Vec<f64> = genes.iter().flat_map(|a| genes.iter().map(move |b| jaccard(a, b))).collect();
    let names: Vec<String> = programs.iter().map(|p| p.name.clone()).collect();
    Related::ordered(&names, &values, |j| 1.0 - j)
}

/// Which of their `top` heaviest genes programs have: a table gene × program of decoder weights over the program's largest
/// absolute one (−1 to 1), 0 where a gene is not among them. Programs and genes stand by the overlap of the programs, genes that more programs have first.
pub fn membership(programs: &[&ProgramSummary], top: usize) -> (Vec<String>, Related) {
    let order = gene_overlaps(programs, top).programs;
    let in_order: Vec<&&ProgramSummary> = order.iter().filter_map(|n| programs.iter().find(|p| p.name == *n)).collect();
    let mut genes: Vec<(&str, usize, usize)> = Vec::new();
    for (j, p) in in_order.iter().enumerate() {
        for g in p.genes.iter().take(top) {
            match genes.iter_mut().find(|(name, ..)| *name == g.name) {
                Some((_, n, _)) => *n += 1,
                None => genes.push((&g.name, 1, j)),
            }
        }
    }
    // By the first program that has a gene, shared genes first.
    genes.sort_by_key(|&(_, n, first)| (first, std::cmp::Reverse(n)));
    let weight = |gene: &str, p: &ProgramSummary| {
        let largest = p.genes.first().map_or(1.0, |g| f64::from(g.weight.abs()));
        p.genes.iter().take(top).find(|g| g.name == gene).map_or(0.0, |g| f64::from(g.weight) / largest)
    };
    let values = genes.iter().flat_map(|(gene, ..)| in_order.iter().map(move |p| weight(gene, p))).collect();
    (genes.iter().map(|(gene, ..)| (*gene).to_owned()).collect(), Related { programs: order, values })
}

/// A table with a column for each name.
pub fn matrix_table(index: &str, rows: &[String], columns: &[String], values: &[f64]) -> Frame {
    let mut out = Frame::new(rows.to_vec());
    out.index_name = Some(index.to_owned());
    for (j, name) in columns.iter().enumerate() {
        out.set(name, Column::Real((0..rows.len()).map(|i| values[i * columns.len() + j]).collect()));
    }
    out
}

/// Mean of each gene over cells, of log-normalised values.
pub fn gene_means(x: &scgraft_cells::Csr) -> Vec<f64> {
    let mut sums = vec![0f64; x.n_cols];
    x.indices.iter().zip(&x.values).for_each(|(&g, &v)| sums[g as usize] += f64::from(v));
    sums.into_iter().map(|s| s / x.n_rows.max(1) as f64).collect()
}
