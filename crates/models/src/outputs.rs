//! What a user reads off a trained model besides the latent space: expression without batch effects, likelihoods,
//! draws of the data, probabilities of labels.

use rayon::prelude::*;
use scgraft_cells::{Csr, Dense, Prepared, Steps};
use scgraft_engine::{Key, LANES, Layout, Noise, Shape, Tape, Var, Workspace};
use scgraft_numeric::random::Random;

use crate::{Batch, Model, ModelError, Step, VARIANCE_FLOOR};

/// Most numbers that are drawn at once: 4 GiB.
const MOST_DRAWN: usize = 1 << 30;

/// How expression is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpressionOptions {
    /// Decode every cell as if it were of these conditions (rows of the condition axis), and average; empty for its
    /// own.
    pub as_conditions: Vec<u32>,
    /// The library size.
    pub library: DecodedLibrary,
    /// Draws from the posterior to average over; 0 decodes its mean.
    pub samples: usize,
    /// Genes to give, as indices into the model's; `None` for all.
    pub genes: Option<Vec<usize>>,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for ExpressionOptions {
    fn default() -> Self {
        let library = DecodedLibrary::Size(1.0);
        ExpressionOptions { as_conditions: Vec::new(), library, samples: 0, genes: None, seed: 0 }
    }
}

/// The library size of decoded cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecodedLibrary {
    /// This one; with 1 a cell's genes sum to 1.
    Size(f32),
    /// The cell's own, observed or inferred: the mean of its counts.
    Own,
}

/// How well a model explains each cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// −E[ln p(x | z)], from one draw of z.
    pub reconstruction: Vec<f64>,
    /// The evidence lower bound, ln p(x) at least, from the same draw.
    pub elbo: Vec<f64>,
}

/// Cells a task; draws depend on it.
const CHUNK: usize = 128;
/// Keys of independent draws.
const EXPRESSION: u64 = 11;
const EVIDENCE: u64 = 12;
const MARGINAL: u64 = 13;
const PREDICTIVE: u64 = 14;

/// A chunk of cells on its way through the model.
struct Chunk<'c> {
    batch: Batch,
    workspace: Workspace,
    rows: &'c [usize],
    index: usize,
}

/// A draw from the posterior, or its mean: z, [latent × cell], and ln ℓ where it is inferred.
struct Latent {
    z: Vec<f32>,
    log_library: Option<Vec<f32>>,
}

/// The most draws of a cell that are averaged over.
const MOST_SAMPLES: usize = 100_000;

impl Model {
    fn refuse<T>(&self, what: &str, expected: &str, found: impl ToString) -> Result<T, ModelError> {
        let (model, found) = (self.entry.name, found.to_string());
        Err(ModelError::Config { model, what: what.into(), expected: expected.into(), found })
    }

    /// Checks how many draws are asked for.
    fn check_draws(&self, what: &str, samples: usize) -> Result<(), ModelError> {
        if samples > MOST_SAMPLES {
            return self.refuse(what, "at most 100,000 draws of each cell", samples);
        }
        Ok(())
    }

    /// Expression as the model sees it, [cell × gene]: at a library size of 1, free of library size and, decoded as of
    /// one condition, of batch effects.
    ///
    /// # Errors
    /// Of [`Model::check`]; a condition or gene that the model does not have; a library size that is none, or asked of a
    /// model whose decoder knows none; more than 100,000 draws.
    pub fn expression(&self, data: &Prepared, options: &ExpressionOptions) -> Result<Dense, ModelError> {
        self.check(data)?;
        self.check_draws("samples", options.samples)?;
        if let DecodedLibrary::Size(size) = options.library
            && !(size > 0.0 && size.is_finite())
        {
            return self.refuse("library size", "a finite number above 0", size);
        }
        let (n_genes, n_conditions) = (self.header.genes.len(), self.header.conditions.len());
        let outside = |what: &str, at: usize, n: usize| {
            ModelError::Output(format!("there is no {what} number {at}; the model has {n}"))
        };
        if let Some(&s) = options.as_conditions.iter().find(|&&s| s as usize >= n_conditions) {
            return Err(outside("condition", s as usize, n_conditions));
        }
        let genes = options.genes.clone().unwrap_or_else(|| (0..n_genes).collect());
        if let Some(&g) = genes.iter().find(|&&g| g >= n_genes) {
            return Err(outside("gene", g, n_genes));
        }
        let parts = self.chunks(data, |chunk| {
            let mut sum = vec![0f64; chunk.rows.len() * genes.len()];
            let draws = options.samples.max(1);
            let conditions: Vec<Option<u32>> = match options.as_conditions.len() {
                0 => vec![None],
                _ => options.as_conditions.iter().map(|&s| Some(s)).collect(),
            };
            for draw in 0..draws {
                let key = Key::new(options.seed).fold(EXPRESSION).fold(draw as u64).fold(chunk.index as u64);
                let latent = self.draw(chunk, if options.samples == 0 { Noise::Zero } else { Noise::Key(key) });
                for &condition in &conditions {
                    self.decode(chunk, data, &latent, condition, options.library, |t, decoded, _| {
                        if !decoded.normalised && options.library != DecodedLibrary::Own {
                            return Err(ModelError::NoLibrarySize);
                        }
                        let rate = t.to_layout(decoded.rate, Layout::ByCell);
                        let rows = t.value(rate).chunks_exact(n_genes);
                        for (o, row) in sum.chunks_exact_mut(genes.len().max(1)).zip(rows) {
                            o.iter_mut().zip(&genes).for_each(|(o, &g)| *o += f64::from(row[g]));
                        }
                        Ok(())
                    })?;
                }
            }
            let n = (draws * conditions.len()) as f64;
            Ok(sum.into_iter().map(|v| (v / n) as f32).collect::<Vec<f32>>())
        })?;
        Ok(Dense::new(data.n_cells(), genes.len(), parts.concat()))
    }

    /// Normalised expression (library size 1) of cells drawn with replacement from `rows`, [draw × gene], each with its
    /// own draw from its posterior: samples for differential expression. Cells are decoded as of `as_conditions` in
    /// turn, or as of their own.
    ///
    /// # Errors
    /// As [`Model::expression`]; when `rows` is empty; more draws than fit into 4 GiB.
    pub fn expression_samples(
        &self,
        data: &Prepared,
        rows: &[usize],
        n: usize,
        as_conditions: &[u32],
        seed: u64,
    ) -> Result<Dense, ModelError> {
        if rows.is_empty() {
            return Err(ModelError::Output("there are no cells to draw from".into()));
        }
        let genes = self.header.genes.len();
        let most = MOST_DRAWN / genes.max(1);
        if n > most {
            return Err(ModelError::Output(format!("{n} draws of {genes} genes: expected at most {most} draws")));
        }
        let key = Key::new(seed).fold(EXPRESSION);
        let drawn: Vec<usize> = (0..n).map(|i| rows[key.below(i as u64, rows.len())]).collect();
        let cells = data.select_cells(&drawn);
        let options = |condition: Option<u32>| ExpressionOptions {
            as_conditions: condition.into_iter().collect(),
            samples: 1,
            seed: key.fold(1).words(0)[0].into(),
            ..ExpressionOptions::default()
        };
        if as_conditions.is_empty() {
            return self.expression(&cells, &options(None));
        }
        let mut out = Dense::zeros(0, self.header.genes.len());
        for (turn, &condition) in as_conditions.iter().enumerate() {
            let own: Vec<usize> = (turn..n).step_by(as_conditions.len()).collect();
            let part = self.expression(&cells.select_cells(&own), &options(Some(condition)))?;
            out.n_rows += part.n_rows;
            out.values.extend(part.values);
        }
        Ok(out)
    }

    /// Reconstruction error and evidence lower bound of each cell.
    ///
    /// # Errors
    /// Of [`Model::check`].
    pub fn evidence(&self, data: &Prepared, seed: u64) -> Result<Evidence, ModelError> {
        self.check(data)?;
        let step = Step { epoch: usize::MAX, epochs: usize::MAX, learning_rate: 0.0, annealed: 1.0 };
        let parts = self.chunks(data, |chunk| {
            let noise = Noise::Key(Key::new(seed).fold(EVIDENCE).fold(chunk.index as u64));
            let mut tape = self.tape(&mut chunk.workspace, noise, false);
            let loss = self.network.loss(&mut tape, &chunk.batch, &step);
            let mut out = vec![(0f64, 0f64); chunk.rows.len()];
            for (name, per_cell) in loss.iter().filter_map(|t| t.per_cell.map(|v| (t.name, v))) {
                for ((reconstruction, elbo), &v) in out.iter_mut().zip(tape.value(per_cell)) {
                    *elbo -= f64::from(v);
                    if name.starts_with("reconstruction") {
                        *reconstruction += f64::from(v);
                    }
                }
            }
            tape.finish();
            Ok(out)
        })?;
        let (reconstruction, elbo) = parts.into_iter().flatten().unzip();
        Ok(Evidence { reconstruction, elbo })
    }

    /// ln p(x) of each cell by importance sampling, with so many draws from its posterior:
    /// ln 1/n Σ p(x | z) p(z) / q(z | x).
    ///
    /// # Errors
    /// Of [`Model::check`]; for a model whose loss is no likelihood, or whose prior of z is not the standard normal; more
    /// than 100,000 draws.
    pub fn marginal_log_likelihood(&self, data: &Prepared, samples: usize, seed: u64) -> Result<Vec<f64>, ModelError> {
        self.check(data)?;
        self.check_draws("marginal", samples)?;
        if !self.network.facts().standard_prior {
            return Err(ModelError::Output(
                "the marginal likelihood is estimated where z has a standard normal prior and nothing else is latent; this \
                 model has another prior, or more latent variables"
                    .into(),
            ));
        }
        let parts = self.chunks(data, |chunk| {
            let n = chunk.rows.len();
            let mut logs: Vec<Vec<f64>> = vec![Vec::with_capacity(samples); n];
            for draw in 0..samples.max(1) {
                let key = Key::new(seed).fold(MARGINAL).fold(draw as u64).fold(chunk.index as u64);
                let mut t = self.tape(&mut chunk.workspace, Noise::Key(key), false);
                let q = self.network.inference(&mut t, &chunk.batch);
                let z = t.gaussian_sample(q.mean, q.log_variance, VARIANCE_FLOOR);
                let of_z = t.negative_log_normal(z, q.mean, q.log_variance, VARIANCE_FLOOR);
                let library = q.library.map(|(mean, log_variance)| {
                    let l = t.gaussian_sample(mean, log_variance, VARIANCE_FLOOR);
                    (l, t.negative_log_normal(l, mean, log_variance, VARIANCE_FLOOR))
                });
                let decoded = self.network.generative(&mut t, &chunk.batch, z, library.map(|l| l.0));
                if matches!(decoded.distribution, crate::Distribution::SquaredError) {
                    return Err(no_distribution());
                }
                let x = decoded.reconstruction(&mut t, &chunk.batch);
                let prior = self.network.library().map(|l| l.prior(&self.params, &chunk.batch));
                for (c, logs) in logs.iter_mut().enumerate() {
                    let p_z: f64 = t.value(z)[c..].iter().step_by(n).map(|&z| standard(f64::from(z), 0.0, 1.0)).sum();
                    let mut log = p_z + f64::from(t.value(of_z)[c]) - f64::from(t.value(x)[c]);
                    if let (Some((l, of_l)), Some((mean, variance))) = (library, &prior) {
                        let l = f64::from(t.value(l)[c]);
                        log += standard(l, f64::from(mean[c]), f64::from(variance[c])) + f64::from(t.value(of_l)[c]);
                    }
                    logs.push(log);
                }
                t.finish();
            }
            Ok(logs.iter().map(|l| log_mean_exp(l)).collect::<Vec<f64>>())
        })?;
        Ok(parts.concat())
    }

    /// One draw of the data of each cell from the posterior predictive distribution, [cell × gene].
    ///
    /// # Errors
    /// Of [`Model::check`]; for a model whose loss is no likelihood.
    pub fn posterior_predictive(&self, data: &Prepared, seed: u64) -> Result<Csr, ModelError> {
        self.check(data)?;
        let n_genes = self.header.genes.len();
        let parts = self.chunks(data, |chunk| {
            let key = Key::new(seed).fold(PREDICTIVE).fold(chunk.index as u64);
            let latent = self.draw(chunk, Noise::Key(key));
            let first = chunk.index * CHUNK;
            self.decode(chunk, data, &latent, None, DecodedLibrary::Own, |t, decoded, batch| {
                let mut rows = Vec::with_capacity(batch.n_cells());
                for c in 0..batch.n_cells() {
                    let mut random = Random::new(seed, (first + c) as u64);
                    let mut row = (Vec::new(), Vec::new());
                    for g in 0..n_genes {
                        let at = (c / LANES) * n_genes * LANES + g * LANES + c % LANES;
                        let value = decoded.draw(t, c, g, at, &mut random).ok_or_else(no_distribution)?;
                        if value != 0.0 {
                            row.0.push(g as u32);
                            row.1.push(value);
                        }
                    }
                    rows.push(row);
                }
                Ok(rows)
            })
        })?;
        let mut out = Csr { n_rows: 0, n_cols: n_genes, indptr: vec![0], ..Csr::default() };
        for (genes, values) in parts.into_iter().flatten() {
            out.indices.extend(genes);
            out.values.extend(values);
            out.indptr.push(out.indices.len());
            out.n_rows += 1;
        }
        Ok(out)
    }

    /// Probabilities of the labels at the posterior mean of each cell, [cell × label]; `None` for a model that predicts
    /// no labels.
    ///
    /// # Errors
    /// Of [`Model::check`].
    pub fn label_probabilities(&self, data: &Prepared) -> Result<Option<Dense>, ModelError> {
        self.check(data)?;
        let parts = self.chunks(data, |chunk| {
            let mut t = self.tape(&mut chunk.workspace, Noise::Zero, false);
            let q = self.network.inference(&mut t, &chunk.batch);
            let out = self.network.classifier().map(|c| {
                let logits = c.logits(&mut t, &chunk.batch, q.mean);
                let p = t.softmax(logits);
                t.value(p).to_vec()
            });
            t.finish();
            Ok(out)
        })?;
        let parts: Option<Vec<Vec<f32>>> = parts.into_iter().collect();
        Ok(parts.map(|p| Dense::new(data.n_cells(), self.header.labels.len(), p.concat())))
    }

    /// Chunks of the cells, laid out and worked on side by side; results in order.
    fn chunks<T: Send>(
        &self,
        data: &Prepared,
        work: impl Fn(&mut Chunk<'_>) -> Result<T, ModelError> + Sync,
    ) -> Result<Vec<T>, ModelError> {
        let rows: Vec<usize> = (0..data.n_cells()).collect();
        let tasks = rows.par_chunks(CHUNK).enumerate();
        let steps = Steps::new("passing cells through the model", tasks.len());
        tasks
            .map_init(Default::default, |(batch, workspace): &mut (Batch, Workspace), (index, rows)| {
                batch.fill(data, rows, self.input_scale())?;
                let mut chunk =
                    Chunk { batch: std::mem::take(batch), workspace: std::mem::take(workspace), rows, index };
                let out = work(&mut chunk);
                (*batch, *workspace) = (chunk.batch, chunk.workspace);
                steps.done();
                out
            })
            .collect()
    }

    /// z and ln ℓ of a chunk: their posterior means without noise.
    fn draw(&self, chunk: &mut Chunk<'_>, noise: Noise) -> Latent {
        let mut t = self.tape(&mut chunk.workspace, noise, false);
        let (z, library) = self.network.inference(&mut t, &chunk.batch).sample(&mut t);
        let latent = Latent { z: t.value(z).to_vec(), log_library: library.map(|l| t.value(l).to_vec()) };
        t.finish();
        latent
    }

    /// Decodes a chunk as of a condition, and reads the result.
    fn decode<T>(
        &self,
        chunk: &mut Chunk<'_>,
        data: &Prepared,
        latent: &Latent,
        condition: Option<u32>,
        library: DecodedLibrary,
        read: impl FnOnce(&mut Tape<'_>, &crate::Decoded<'_>, &Batch) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        let n = chunk.rows.len();
        let batch = &mut chunk.batch;
        batch.condition.refill(chunk.rows.iter().map(|&r| condition.unwrap_or(data.condition.codes[r])));
        batch.library.clear();
        batch.library.extend(chunk.rows.iter().map(|&r| match library {
            DecodedLibrary::Size(size) => size,
            DecodedLibrary::Own => data.library[r],
        }));
        let batch = &*batch;
        let mut t = self.tape(&mut chunk.workspace, Noise::Zero, false);
        let z = t.constant(Shape::by_feature(latent.z.len() / n, n), &latent.z);
        let own = latent.log_library.as_ref().filter(|_| library == DecodedLibrary::Own);
        let log_library: Option<Var> = own.map(|l| t.constant(Shape::by_feature(1, n), l));
        let decoded = self.network.generative(&mut t, batch, z, log_library);
        let out = read(&mut t, &decoded, batch);
        t.finish();
        // Back to the cells' own conditions and sizes, for the next draw.
        let batch = &mut chunk.batch;
        batch.condition.refill(chunk.rows.iter().map(|&r| data.condition.codes[r]));
        batch.library.clear();
        batch.library.extend(chunk.rows.iter().map(|&r| data.library[r]));
        out
    }
}

fn no_distribution() -> ModelError {
    ModelError::Output("a squared error is no likelihood: take a model with a distribution of counts".into())
}

/// ln N(x; m, v)
fn standard(x: f64, mean: f64, variance: f64) -> f64 {
    -0.5 * ((2.0 * std::f64::consts::PI * variance).ln() + (x - mean).powi(2) / variance)
}

/// ln of the mean of e^v, without overflow.
fn log_mean_exp(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + (logs.iter().map(|l| (l - top).exp()).sum::<f64>() / logs.len() as f64).ln()
}
