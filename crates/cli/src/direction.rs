//! The option that says how a program's direction is read off its weights.

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use scgraft::Embedding;
use scgraft::analysis::programs::DirectionMethod;

/// Which rule turns scores so that up means that the genes are up.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Direction {
    /// How a program's direction is read off its weights; the scores are turned accordingly [default: top, or what the
    /// file was written with]
    #[arg(long, value_enum, value_name = "RULE")]
    pub direction: Option<Rule>,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// Sign of the sum of the ten heaviest weights
    Top,
    /// Sign of the sum of all weights
    Sum,
    /// Sign that most weights have
    Counts,
}

impl Rule {
    fn method(self) -> DirectionMethod {
        match self {
            Rule::Top => DirectionMethod::Top,
            Rule::Sum => DirectionMethod::Sum,
            Rule::Counts => DirectionMethod::Counts,
        }
    }
}

impl Direction {
    /// The rule asked for, or the usual one.
    pub fn method(self) -> DirectionMethod {
        self.direction.map_or_else(DirectionMethod::default, Rule::method)
    }

    /// An embedding of `file` with directions by the rule asked for; as the file has it where none was.
    pub fn apply(self, embedding: Embedding, file: &Path) -> Result<Embedding> {
        let Some(rule) = self.direction else { return Ok(embedding) };
        embedding.turned(rule.method()).with_context(|| file.display().to_string())
    }
}
