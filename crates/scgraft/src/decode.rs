//! What a model says that cells express.

use scgraft_cells::{Cells, Frame, Matrix, Prepared};
use scgraft_models::{DecodedLibrary, ExpressionOptions, Model};

use crate::Error;
use crate::columns::unknown;

/// What is decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Decode {
    /// Normalised expression, or rates.
    Expression {
        /// Decode as of these conditions and average (`all`: every condition of the model); empty: each cell's own.
        as_conditions: Vec<String>,
        /// The library size of the decoded cells.
        library: DecodedLibrary,
        /// Average over so many draws from the posterior; 0 decodes its mean.
        samples: usize,
        /// Only these genes; empty: all.
        genes: Vec<String>,
    },
    /// Counts drawn from the posterior predictive distribution.
    Draws,
}

/// Decodes cells: X of the result is cells × genes of the model (or those asked for); obs, obsm and uns are those of
/// `cells`, the other slots, which are by the genes of `cells`, are left out.
///
/// # Errors
/// A condition or gene that the model does not have; of [`Model::expression`] and [`Model::posterior_predictive`].
pub fn decode(model: &Model, cells: Cells, data: &Prepared, what: &Decode, seed: u64) -> Result<Cells, Error> {
    let known = &model.header.genes;
    let mut genes: Vec<usize> = (0..known.len()).collect();
    let x = match what {
        Decode::Draws => Matrix::Sparse(model.posterior_predictive(data, seed)?),
        Decode::Expression { as_conditions, library, samples, genes: wanted } => {
            if !wanted.is_empty() {
                genes = wanted.iter().map(|g| position("gene", g, known)).collect::<Result<_, _>>()?;
            }
            let as_conditions = conditions(as_conditions, model)?;
            let (library, samples) = (*library, *samples);
            let options = ExpressionOptions { as_conditions, library, samples, genes: Some(genes.clone()), seed };
            Matrix::Dense(model.expression(data, &options)?)
        }
    };
    let var = Frame::new(genes.iter().map(|&g| known[g].clone()).collect());
    let (layers, varm, varp) = Default::default();
    Ok(Cells { x: Some(x), var, layers, varm, varp, raw: None, ..cells })
}

/// Conditions of a model by name; `all` for all of them.
///
/// # Errors
/// One that the model does not have.
pub fn conditions(names: &[String], model: &Model) -> Result<Vec<u32>, Error> {
    let known = &model.header.conditions;
    if names == ["all"] {
        return Ok((0..known.len() as u32).collect());
    }
    names.iter().map(|n| Ok(position("condition", n, known)? as u32)).collect()
}

fn position(what: &'static str, name: &str, known: &[String]) -> Result<usize, Error> {
    known.iter().position(|k| k == name).ok_or_else(|| unknown("the model", what, name, known.to_vec()))
}
