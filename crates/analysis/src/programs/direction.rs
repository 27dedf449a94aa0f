//! Direction of a program: whether a higher latent score means that its genes are up.
//!
//! The sign of a latent score is arbitrary; the decoder weights W [genes × programs] tell what it stands for
//! (Lotfollahi et al. 2023, doi:10.1038/s41556-022-01072-x, *Latent scores directions*).

use scgraft_cells::Dense;

use crate::error::{Result, check_matrix};

/// Genes that [`DirectionMethod::Top`] looks at.
pub const TOP_GENES: usize = 10;

/// How the direction is read off a column of W.
///
/// The paper has `Sum` and `Counts`. Both let many small weights outvote the few genes that a program acts through, and
/// of a free program, which may weigh every gene, neither means anything: a constant added to all its weights changes no
/// expression after a softmax, and both signs. `Top` says what the genes do that are listed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DirectionMethod {
    /// Sign of the sum of the [`TOP_GENES`] heaviest weights.
    #[default]
    Top,
    /// Sign of the sum of all weights.
    Sum,
    /// Sign of the majority of the non-zero weights.
    Counts,
}

impl DirectionMethod {
    /// All of them.
    pub const ALL: [DirectionMethod; 3] = [DirectionMethod::Top, DirectionMethod::Sum, DirectionMethod::Counts];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            DirectionMethod::Top => "top",
            DirectionMethod::Sum => "sum",
            DirectionMethod::Counts => "counts",
        }
    }
}

/// A sign for each program and how clear it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// 1: a higher score means up; −1: down; 0: undecided, or a program without weights.
    pub sign: Vec<i8>,
    /// From 0 (as much up as down) to 1 (all one way). `Counts`: |share of positive weights − 0.5| / 0.5; `Sum`:
    /// |Σ w| / Σ |w|, the same share by weight; `Top`: that of the heaviest weights alone.
    pub confidence: Vec<f64>,
}

/// The direction of every program from the decoder weights, genes × programs.
///
/// # Errors
/// An empty matrix or a weight that is not finite.
pub fn directions(weights: &Dense, method: DirectionMethod) -> Result<Directions> {
    check_matrix("decoder weights", weights)?;
    let programs: Vec<(i8, f64)> = (0..weights.n_cols)
        .map(|j| {
            let mut column: Vec<f64> = weights.column(j).into_iter().map(f64::from).collect();
            match method {
                DirectionMethod::Top => {
                    column.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
                    column.truncate(TOP_GENES);
                }
                DirectionMethod::Sum => {}
                DirectionMethod::Counts => {
                    column.iter_mut().for_each(|w| *w = f64::from(i8::from(*w > 0.0) - i8::from(*w < 0.0)))
                }
            }
            let (balance, total) = column.iter().fold((0f64, 0f64), |(b, t), w| (b + w, t + w.abs()));
            let sign = i8::from(balance > 0.0) - i8::from(balance < 0.0);
            (sign, if total > 0.0 { balance.abs() / total } else { 0.0 })
        })
        .collect();
    let (sign, confidence) = programs.into_iter().unzip();
    Ok(Directions { sign, confidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_genes_speak_for_a_program_of_many_small_weights() {
        // Three genes up at 0.3, 0.25, 0.2 and forty down at 0.05: sums +0.75 and −2; the ten heaviest −0.35 + 0.75.
        let mut values = vec![0.3, 0.25, 0.2];
        values.extend([-0.05f32; 40]);
        let weights = Dense::new(43, 1, values);
        let of = |method| {
            let d = directions(&weights, method).unwrap();
            (d.sign[0], d.confidence[0])
        };
        for (method, sign, confidence) in [
            (DirectionMethod::Top, 1, 0.40 / 1.10),
            (DirectionMethod::Sum, -1, 1.25 / 2.75),
            (DirectionMethod::Counts, -1, 37.0 / 43.0),
        ] {
            let found = of(method);
            assert_eq!(found.0, sign, "{}", method.name());
            assert!((found.1 - confidence).abs() < 1e-6, "{}: {}", method.name(), found.1);
        }
    }

    #[test]
    fn few_weights_and_none() {
        let weights = Dense::new(2, 3, vec![1.0, 0.0, -1.0, -3.0, 0.0, 1.0]);
        let d = directions(&weights, DirectionMethod::Top).unwrap();
        assert_eq!(d.sign, [-1, 0, 0]);
        assert_eq!(d.confidence, [0.5, 0.0, 0.0]);
    }
}
