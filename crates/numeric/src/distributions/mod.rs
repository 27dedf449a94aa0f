//! Probability distributions: tails, their logarithms and quantiles.

pub mod beta;
pub mod chi_square;
pub mod hypergeometric;
pub mod normal;
pub mod student;
