//! What a model of proteins says of cells: proteins without background, imputed proteins, foreground probability.

use rayon::prelude::*;
use scgraft_cells::{Dense, Prepared};
use scgraft_engine::{Codes, Noise, Shape, Workspace};

use crate::{Batch, Input, Model, ModelError, reading};

/// Cells a task.
const TASK: usize = 256;

/// As what proteins are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeAs {
    /// As the cell's own condition where that measured the protein, otherwise as the mean over the conditions that did:
    /// what was not measured is imputed.
    Measured,
    /// As the mean over these conditions.
    Conditions(Vec<String>),
}

/// Proteins of cells, [cell × protein] each, at the posterior mean of z.
#[derive(Clone, Debug, PartialEq)]
pub struct ProteinEstimates {
    /// Counts that are expected without background, foreground · (1 − π).
    pub foreground: Dense,
    /// The same with the background that is expected, + background · π.
    pub total: Dense,
    /// 1 − π: the probability that a count is not background.
    pub probability: Dense,
}

impl Model {
    /// Denoised and imputed proteins, and the probability that they are foreground.
    ///
    /// The background is at its mean e^{α + β²/2}, so nothing is drawn. Without `efficiency` every condition counts with
    /// efficiency 1, as scvi-tools has it: conditions can be compared, but levels are not those that were measured. With it
    /// they are of the condition that is decoded: its e^c times as high (c as in [`Proteins::efficiency`]); the
    /// probabilities stay.
    ///
    /// [`Proteins::efficiency`]: crate::Proteins::efficiency
    ///
    /// # Errors
    /// For a model without proteins, a condition that it does not know, and those of [`Model::check`].
    pub fn proteins(
        &self,
        data: &Prepared,
        decode_as: &DecodeAs,
        efficiency: bool,
    ) -> Result<ProteinEstimates, ModelError> {
        self.check(data)?;
        let shares = self.shares(decode_as)?;
        let efficient = self.network.proteins().filter(|_| efficiency).map(|p| self.params.values(p.efficiency()));
        let (n, width) = (data.n_cells(), self.header.proteins.len());
        let mut out = ProteinEstimates {
            foreground: Dense::zeros(n, width),
            total: Dense::zeros(n, width),
            probability: Dense::zeros(n, width),
        };
        let size = TASK * width;
        let tasks = out.foreground.values.par_chunks_mut(size).zip(out.total.values.par_chunks_mut(size));
        let tasks = tasks.zip(out.probability.values.par_chunks_mut(size)).enumerate();
        tasks.try_for_each_init(
            || (Batch::default(), Workspace::new()),
            |(batch, workspace), (task, ((foreground, total), probability))| {
                let first = task * TASK;
                let rows: Vec<usize> = (first..first + foreground.len() / width).collect();
                batch.fill(data, &rows, self.input_scale())?;
                let mut tape = self.tape(workspace, Noise::Zero, false);
                let q = self.network.inference(&mut tape, batch);
                let (shape, z) = (tape.shape(q.mean), tape.value(q.mean).to_vec());
                tape.finish();
                let own: Vec<u32> = batch.condition.codes.clone();
                for condition in 0..self.header.conditions.len() {
                    let wanted = |c: u32| shares.of(c as usize, condition).iter().any(|&s| s > 0.0);
                    if !own.iter().any(|&c| wanted(c)) {
                        continue;
                    }
                    batch.condition = Codes::new(vec![condition as u32; rows.len()]);
                    let decoded = self.decode_as(batch, (shape, &z), workspace);
                    for (cell, (&c, values)) in own.iter().zip(decoded.chunks_exact(width)).enumerate() {
                        for (p, &share) in shares.of(c as usize, condition).iter().enumerate() {
                            let ([f, t, q], at) = (values[p], cell * width + p);
                            let level = efficient.map_or(share, |e| share * e[condition * width + p].exp());
                            foreground[at] += level * f;
                            total[at] += level * t;
                            probability[at] += share * q;
                        }
                    }
                }
                Ok::<(), ModelError>(())
            },
        )?;
        Ok(out)
    }

    /// Foreground, total and foreground probability of each cell and protein, of z in the batch's conditions.
    fn decode_as(&self, batch: &Batch, (shape, z): (Shape, &[f32]), workspace: &mut Workspace) -> Vec<[f32; 3]> {
        let mut tape = self.tape(workspace, Noise::Zero, false);
        let z = tape.constant(shape, z);
        let mut out = Vec::new();
        if let Some(p) = self.network.proteins().map(|p| p.decode(&mut tape, batch, z)) {
            let (mean, deviation) = (tape.value(p.log_background.0), tape.value(p.log_background.1));
            let rest = tape.value(p.foreground).iter().zip(tape.value(p.mixing));
            out.extend(mean.iter().zip(deviation).zip(rest).map(|((a, b), (f, m))| {
                let background = (a + 0.5 * b * b).exp();
                let probability = 1.0 / (1.0 + m.exp());
                let foreground = background * (1.0 + f.max(0.0)) * probability;
                [foreground, foreground + background * (1.0 - probability), probability]
            }));
        }
        tape.finish();
        out
    }

    /// Of each condition decoded, its share in the mean for cells of each condition.
    fn shares(&self, decode_as: &DecodeAs) -> Result<Shares, ModelError> {
        let (names, width) = (&self.header.conditions, self.header.proteins.len());
        let n = names.len();
        let Some(measured) = self.network.proteins().map(|p| self.params.values(p.measured())) else {
            let remedy = format!("choose a model that reads them ({})", reading(Input::Proteins));
            return Err(ModelError::Needs { model: self.entry.name, what: "proteins in the model".into(), remedy });
        };
        let chosen: Vec<bool> = match decode_as {
            DecodeAs::Measured => vec![true; n],
            DecodeAs::Conditions(wanted) => {
                if let Some(unknown) = wanted.iter().find(|w| !names.contains(w)) {
                    let (found, expected) = (format!("`{unknown}`"), format!("knows {}", names.join(", ")));
                    let remedy = "decode as conditions that the model knows";
                    return Err(ModelError::Data { what: "to be decoded as", found, expected, remedy });
                }
                names.iter().map(|c| wanted.contains(c)).collect()
            }
        };
        let mut values = vec![0.0; n * n * width];
        for own in 0..n {
            for p in 0..width {
                let seen = |c: usize| measured[c * width + p] > 0.0;
                let sources: Vec<usize> = match decode_as {
                    DecodeAs::Measured if seen(own) => vec![own],
                    _ => (0..n).filter(|&c| chosen[c] && seen(c)).collect(),
                };
                // Where none of them measured the protein, all of them.
                let sources = if sources.is_empty() { (0..n).filter(|&c| chosen[c]).collect() } else { sources };
                for &c in &sources {
                    values[(own * n + c) * width + p] = 1.0 / sources.len() as f32;
                }
            }
        }
        Ok(Shares { values, n, width })
    }
}

/// [own condition × condition decoded × protein]
struct Shares {
    values: Vec<f32>,
    n: usize,
    width: usize,
}

impl Shares {
    fn of(&self, own: usize, decoded: usize) -> &[f32] {
        &self.values[(own * self.n + decoded) * self.width..][..self.width]
    }
}
