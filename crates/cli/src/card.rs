//! `scgraft card`: what goes beside a shared file, written from the file and from what its authors say.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use scgraft::hub::{Address, Card as Written, CardWords};
use scgraft::io::{file_name, write_bytes};

use super::{Global, Output, files};

const EXAMPLES: &str = "\
Writes the card that `push` sends along: what the file says of itself (genes, conditions, labels, programs, training, what
can be learned about the cells), and what you add.

Examples:
  scgraft card atlas.scgraft
  scgraft card atlas.scgraft --title \"Bone marrow\" --author \"Curie, Marie\" --licence CC-BY-4.0 -o README.md
  scgraft card patients.adaptor --reference zenodo:1234567 --licence CC0-1.0";

/// Write the card of a model or an adaptor.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Card {
    /// Models and adaptors that are shared together
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where they will lie, for the commands on the card
    #[arg(long, value_name = "ADDRESS", default_value = "hf:LAB/NAME")]
    pub at: String,
    /// Write the card to this file instead of printing it
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub words: Words,
}

/// What only the authors know.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Card")]
pub(crate) struct Words {
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// What it is, in a sentence or some
    #[arg(long, value_name = "TEXT")]
    pub summary: Option<String>,
    /// Who made it, as "Family, Given". May be repeated
    #[arg(long, value_name = "NAME")]
    pub author: Vec<String>,
    /// Under which licence others may use it, by its SPDX name
    #[arg(long, value_name = "NAME")]
    pub licence: Option<String>,
    /// Where the cells are from: studies, accessions, what was left out
    #[arg(long, value_name = "TEXT")]
    pub data: Option<String>,
    /// Of which organism they are
    #[arg(long, value_name = "NAME")]
    pub organism: Option<String>,
    /// Of which tissue. May be repeated
    #[arg(long, value_name = "NAME")]
    pub tissue: Vec<String>,
    /// Something that was measured. May be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub metric: Vec<String>,
    /// How it is to be cited
    #[arg(long, value_name = "TEXT")]
    pub cite: Option<String>,
    /// DOI of a work that it belongs to. May be repeated
    #[arg(long, value_name = "DOI")]
    pub related: Vec<String>,
    /// Of an adaptor: the address of its reference
    #[arg(long, value_name = "ADDRESS")]
    pub reference: Option<String>,
}

impl Words {
    fn read(self) -> Result<CardWords> {
        let mut metrics = Vec::new();
        for metric in &self.metric {
            let Some((name, value)) = metric.split_once('=') else {
                bail!("--metric {metric}: expected NAME=VALUE, as \"label accuracy=0.71\"");
            };
            metrics.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(CardWords {
            title: self.title,
            summary: self.summary,
            authors: self.author,
            licence: self.licence,
            data: self.data,
            organism: self.organism,
            tissues: self.tissue,
            metrics,
            cite: self.cite,
            related: self.related,
            reference: self.reference,
        })
    }

    /// The card of these files, each under the name that it will have.
    pub fn card(self, files: &[(String, PathBuf)]) -> Result<Written> {
        let none =
            "none of these files is a model or an adaptor of scgraft; `scgraft inspect FILE` says what a file is";
        Written::of_files(files, self.read()?)?.context(none)
    }
}

impl Card {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        self.files.iter().try_for_each(|f| files::check_input(f))?;
        files::check_outputs(&self.output, &self.files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let at: Address = self.at.parse()?;
        let named: Vec<_> = self.files.into_iter().map(|p| (file_name(&p), p)).collect();
        let card = self.words.card(&named)?;
        let text = card.markdown(&at);
        match &self.output {
            Some(path) => {
                write_bytes(path, text.as_bytes())?;
                files::wrote(path);
            }
            None => out.line(text.trim_end()),
        }
        out.put("title", card.title());
        out.put("card", text);
        Ok(())
    }
}
