//! Direction of a program: whether a higher latent score means that its genes are up.
//!
//! The sign of a latent score is arbitrary; the decoder weights W [genes × programs] tell what it stands for
//! (Lotfollahi et al. 2023, doi:10.1038/s41556-022-01072-x, *Latent scores directions*).

use scgraft_cells::Dense;

use crate::error::{Result, check_matrix};

/// How the direction is read off a column of W.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DirectionMethod {
    /// Sign of the sum of the weights.
    #[default]
    Sum,
    /// Sign of the majority of the non-zero weights.
    Counts,
}

/// A sign for each program and how clear it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// 1: a higher score means up; −1: down; 0: undecided, or a program without weights.
    pub sign: Vec<i8>,
    /// From 0 (as much up as down) to 1 (all one way). `Counts`: |share of positive weights − 0.5| / 0.5; `Sum`:
    /// |Σ w| / Σ |w|, the same share by weight.
    pub confidence: Vec<f64>,
}

/// The direction of every program from the decoder weights, genes × programs.
///
/// # Errors
/// An empty matrix or a weight that is not finite.
pub fn directions(weights: &Dense, method: DirectionMethod) -> Result<Directions> {
    check_matrix("decoder weights", weights)?;
    let mut balance = vec![0f64; weights.n_cols];
    let mut total = vec![0f64; weights.n_cols];
    for row in weights.values.chunks_exact(weights.n_cols) {
        for ((b, t), &w) in balance.iter_mut().zip(&mut total).zip(row) {
            let vote = match method {
                DirectionMethod::Sum => f64::from(w),
                DirectionMethod::Counts => f64::from(i8::from(w > 0.0) - i8::from(w < 0.0)),
            };
            *b += vote;
            *t += vote.abs();
        }
    }
    Ok(Directions {
        sign: balance.iter().map(|&b| i8::from(b > 0.0) - i8::from(b < 0.0)).collect(),
        confidence: balance.iter().zip(&total).map(|(b, t)| if *t > 0.0 { b.abs() / t } else { 0.0 }).collect(),
    })
}
