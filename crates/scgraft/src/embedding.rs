//! Cells in the latent space of a model, with what the dimensions mean.

use scgraft_analysis::programs::{DirectionMethod, Directions, active_programs, directions};
use scgraft_cells::{Dense, Prepared, choose_names};
use scgraft_models::Model;
use serde_json::Value;

use crate::Error;
use crate::query::THIN;

/// Posterior of every cell, and what each latent dimension stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Posterior means, cells × dimensions.
    pub mean: Dense,
    /// Posterior variances, cells × dimensions; `None` for an embedding that has none (PCA).
    pub variance: Option<Dense>,
    /// Names of the dimensions: gene programs, for models whose dimensions are programs.
    pub names: Vec<String>,
    /// 1: a higher score means that the program's genes are up; −1: down; 0: unknown.
    pub direction: Vec<i8>,
    /// How clear each direction is, 0 to 1.
    pub confidence: Vec<f64>,
    /// The directions by every rule, to choose from with [`Embedding::turned`]; empty where dimensions are no programs.
    pub rules: Vec<(DirectionMethod, Directions)>,
    /// Whether the fit kept each dimension (a pruned program has no weight left).
    pub active: Vec<bool>,
    /// Of programs of which the query lacks more than half of the genes: the share that it has, 0 to 0.5. NaN for all
    /// others; empty where there is no such program.
    pub thin: Vec<f64>,
}

impl Embedding {
    /// Encodes prepared cells: posterior means and variances, directions from the decoder's weights.
    ///
    /// # Errors
    /// Cells that were not prepared for this model; a weight that is not finite.
    pub fn of(model: &Model, data: &Prepared) -> Result<Self, Error> {
        let (mean, variance) = model.latent(data)?;
        Embedding::from_posterior(model, mean, Some(variance))
    }

    /// Cells whose posterior is known, in the model's dimensions or the first of them (those of its reference).
    ///
    /// # Errors
    /// A weight of the decoder that is not finite.
    pub fn from_posterior(model: &Model, mean: Dense, variance: Option<Dense>) -> Result<Self, Error> {
        let mut names = model.latent_names();
        let n = mean.n_cols.min(names.len());
        names.truncate(n);
        let all: Vec<usize> = (0..n).collect();
        let (rules, active) = match program_weights(model) {
            Some(weights) => {
                let weights = columns(&weights, &all);
                let by = |method| directions(&weights, method).map(|d| (method, d));
                let rules = DirectionMethod::ALL.into_iter().map(by).collect::<Result<_, _>>()?;
                (rules, active_programs(&weights))
            }
            None => (Vec::new(), vec![true; n]),
        };
        let (direction, confidence) = (vec![0; n], vec![0.0; n]);
        let mut plain = Embedding { mean, variance, names, direction, confidence, rules, active, thin: Vec::new() };
        plain.learn_thin(model);
        Ok(plain.turned(DirectionMethod::default()).unwrap_or(plain))
    }

    /// The same with the directions of another rule.
    ///
    /// # Errors
    /// Where they are not known: an older file has those of one rule, an embedding without programs has none.
    pub fn turned(&self, method: DirectionMethod) -> Result<Embedding, Error> {
        let Some((_, found)) = self.rules.iter().find(|(m, _)| *m == method) else {
            return Err(Error::NoDirection { rule: method.name(), programs: self.direction.iter().any(|&d| d != 0) });
        };
        Ok(Embedding { direction: found.sign.clone(), confidence: found.confidence.clone(), ..self.clone() })
    }

    /// The dimensions named, in the order named; `None` when one is missing.
    pub fn select(&self, names: &[String]) -> Option<Embedding> {
        let at: Option<Vec<usize>> = names.iter().map(|n| self.names.iter().position(|m| m == n)).collect();
        let at = at?;
        Some(Embedding {
            mean: columns(&self.mean, &at),
            variance: self.variance.as_ref().map(|v| columns(v, &at)),
            names: names.to_vec(),
            direction: at.iter().map(|&j| self.direction[j]).collect(),
            confidence: at.iter().map(|&j| self.confidence[j]).collect(),
            rules: self.rules.iter().map(|(method, d)| (*method, narrowed(d, &at))).collect(),
            active: at.iter().map(|&j| self.active[j]).collect(),
            thin: at.iter().filter_map(|&j| self.thin.get(j).copied()).collect(),
        })
    }

    /// The dimensions whose names are of one of the patterns, in the order they have.
    ///
    /// # Errors
    /// Of [`choose_names`].
    pub fn of_patterns(&self, patterns: &[String]) -> Result<Embedding, Error> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let kept = choose_names(&names, patterns, &[])?;
        let names: Vec<String> = self.names.iter().zip(kept).filter(|(_, k)| *k).map(|(n, _)| n.clone()).collect();
        Ok(self.select(&names).unwrap_or_else(|| self.clone()))
    }

    /// How clear the direction of the dimension of that name is; NaN where there is none.
    pub fn clearness(&self, name: &str) -> f64 {
        self.names.iter().position(|n| n == name).map_or(f64::NAN, |j| self.confidence[j])
    }

    /// Of the program of that name, the share of its genes that the query has where that is less than half; NaN otherwise.
    pub fn thinness(&self, name: &str) -> f64 {
        let at = self.names.iter().position(|n| n == name);
        at.and_then(|j| self.thin.get(j)).copied().unwrap_or(f64::NAN)
    }

    /// Takes from a model of which programs its query lacks most genes.
    pub(crate) fn learn_thin(&mut self, model: &Model) {
        if let Some(thin) = model.provenance.get(THIN) {
            let list = |key: &str| thin.get(key).and_then(Value::as_array).into_iter().flatten();
            let names: Vec<String> = list("names").filter_map(Value::as_str).map(str::to_owned).collect();
            self.set_thin(&names, &list("shares").filter_map(Value::as_f64).collect::<Vec<_>>());
        }
    }

    /// Notes of which programs the query lacks most genes.
    pub(crate) fn set_thin(&mut self, names: &[String], shares: &[f64]) {
        let share = |name: &String| names.iter().position(|n| n == name).and_then(|at| shares.get(at)).copied();
        self.thin = self.names.iter().map(|name| share(name).unwrap_or(f64::NAN)).collect();
    }

    /// The scores of dimension `j`, turned so that up means that the program's genes are up; as they are where the
    /// direction is unknown.
    pub fn score(&self, j: usize) -> Vec<f32> {
        let sign = if self.direction[j] < 0 { -1.0 } else { 1.0 };
        self.mean.column(j).into_iter().map(|v| sign * v).collect()
    }

    /// All scores, cells × dimensions, turned as [`Embedding::score`] does.
    pub fn scores(&self) -> Dense {
        let mut out = self.mean.clone();
        for row in out.values.chunks_exact_mut(self.names.len().max(1)) {
            row.iter_mut().zip(&self.direction).filter(|(_, d)| **d < 0).for_each(|(v, _)| *v = -*v);
        }
        out
    }

    /// The cells named, in the order named.
    pub fn select_cells(&self, rows: &[usize]) -> Embedding {
        Embedding {
            mean: self.mean.select_rows(rows),
            variance: self.variance.as_ref().map(|v| v.select_rows(rows)),
            ..self.clone()
        }
    }
}

/// The query in the dimensions of the reference.
pub(crate) fn shared(reference: &Embedding, query: &Embedding) -> Result<Embedding, Error> {
    query.select(&reference.names).ok_or_else(|| {
        let missing = reference.names.iter().find(|n| !query.names.contains(n)).cloned().unwrap_or_default();
        Error::Slot {
            slot: "embedding of the query".into(),
            expected: format!("the {} dimensions of the reference", reference.names.len()),
            found: format!("{} dimensions, `{missing}` not among them", query.names.len()),
            remedy: "map the query onto this reference".into(),
        }
    })
}

/// The decoder's weights [gene × program], for models whose decoder is linear in programs.
pub fn program_weights(model: &Model) -> Option<Dense> {
    let by_program = model.network.programs()?.weights(&model.params);
    let (genes, programs) = (model.header.genes.len(), by_program.len() / model.header.genes.len().max(1));
    let mut out = Dense::zeros(genes, programs);
    for (j, row) in by_program.chunks_exact(genes.max(1)).enumerate() {
        for (g, &w) in row.iter().enumerate() {
            out.values[g * programs + j] = w;
        }
    }
    Some(out)
}

fn narrowed(d: &Directions, at: &[usize]) -> Directions {
    Directions {
        sign: at.iter().map(|&j| d.sign[j]).collect(),
        confidence: at.iter().map(|&j| d.confidence[j]).collect(),
    }
}

fn columns(m: &Dense, at: &[usize]) -> Dense {
    let values = (0..m.n_rows).flat_map(|i| at.iter().map(move |&j| m.row(i)[j])).collect();
    Dense::new(m.n_rows, at.len(), values)
}
