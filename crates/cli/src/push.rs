//! `scgraft push`: models and adaptors to Zenodo or Hugging Face.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use scgraft::cells::counted;
use scgraft::hub::{Outgoing, Push as Sent, Target};
use scgraft::io::file_name;

use super::card::Words;
use super::remote::{self, Bar};
use super::{Global, Output, files};

const EXAMPLES: &str = "\
Sends files with their card (`scgraft card` shows it). The token is taken from ZENODO_TOKEN or HF_TOKEN. When it is
interrupted, the same command goes on where it stopped. On Zenodo a published record stays for good: --draft leaves it to be
looked at first, and the same command without --draft publishes it.

Examples:
  scgraft push atlas.scgraft --to zenodo --version 1.0 --draft --author \"Curie, Marie\" --licence CC-BY-4.0
  scgraft push atlas.scgraft --to zenodo:1234567 --version 1.1 --author \"Curie, Marie\" --licence CC-BY-4.0
  scgraft push atlas.scgraft --to hf:lab/atlas --version v1.0 --licence CC-BY-4.0
  scgraft push patients.adaptor --to hf:lab/patients --reference zenodo:1234567 --licence CC0-1.0";

/// Send models and adaptors, with a card.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Push {
    /// Models and adaptors
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where to: zenodo (a new record), zenodo:RECORD (a new version of it) or hf:ORG/NAME
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// Names that the files are to have there, in their order [default: their own; of one model on Hugging Face
    /// model.safetensors, which its viewer knows]
    #[arg(long = "as", value_name = "NAME")]
    pub names: Vec<String>,
    /// Other files to send along, as they are. Cells in them are everybody's then
    #[arg(long, value_name = "FILE")]
    pub also: Vec<PathBuf>,
    /// Which version it is; a tag on Hugging Face
    #[arg(long, value_name = "NAME")]
    pub version: Option<String>,
    /// Zenodo: leave a draft, publish nothing
    #[arg(long)]
    pub draft: bool,
    /// Zenodo: keep files of the version before that are not sent
    #[arg(long)]
    pub keep: bool,
    /// Hugging Face: show a new repository to its owners only
    #[arg(long)]
    pub private: bool,
    #[command(flatten)]
    pub words: Words,
}

impl Push {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        self.files.iter().chain(&self.also).try_for_each(|f| files::check_input(f))?;
        let mut target = Target::parse(&self.to)?;
        match &mut target {
            Target::Zenodo { keep, publish, .. } => {
                if self.private {
                    bail!("--private is for Hugging Face; on Zenodo --draft shows a record to its owner only");
                }
                (*keep, *publish) = (self.keep, !self.draft);
            }
            Target::HuggingFace { private, .. } => {
                if self.draft || self.keep {
                    bail!(
                        "--draft and --keep are for Zenodo; on Hugging Face --private hides a new repository, and files of other names stay"
                    );
                }
                *private = self.private;
            }
        }
        let named = named(&self.files, &self.names, &target)?;
        let card = self.words.card(&named)?;
        let title = card.title();
        let also = self.also.into_iter().map(|path| (file_name(&path), path));
        let all = named.into_iter().chain(also).map(|(name, path)| Outgoing::new(name, path)).collect();
        let mut bar = Bar::new();
        let sent = Sent { target, files: all, card, version: self.version };
        let made = remote::hub()?.push(&sent, &mut |p| bar.look(p))?;
        drop(bar);
        out.line(format!("{title}: {}", if made.published { "published" } else { "a draft, not published" }));
        out.line(format!("page: {}", made.page));
        if let Some(doi) = &made.doi {
            out.line(format!("DOI: {doi}{}", if made.published { "" } else { " (once it is published)" }));
        }
        out.line(format!("others fetch it with: scgraft pull {}", made.address));
        out.put("address", made.address.to_string());
        out.put("page", made.page);
        out.put("doi", made.doi);
        out.put("published", made.published);
        Ok(())
    }
}

/// Files under the names that they will have.
fn named(files: &[PathBuf], names: &[String], target: &Target) -> Result<Vec<(String, PathBuf)>> {
    if !names.is_empty() && names.len() != files.len() {
        bail!(
            "{} files, but --as was given {}; give it once for each, in their order",
            files.len(),
            counted(names.len(), "time", "times")
        );
    }
    let alone = files.len() == 1;
    let name_of = |(at, path): (usize, &PathBuf)| {
        (names.get(at).cloned().unwrap_or_else(|| target.name_of(path, alone)), path.clone())
    };
    Ok(files.iter().enumerate().map(name_of).collect())
}
