//! `scgraft pull`: a file from Zenodo, Hugging Face or a server.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use scgraft::hub::{Address, Contents};

use super::{Global, Output, files, remote};

const EXAMPLES: &str = "\
An address stands as well wherever a command wants a model or an adaptor; what was fetched stays in the cache. `pull` makes
a file of your own of it, and prints the address that will always name these bytes.

Examples:
  scgraft pull zenodo:1234567 -o atlas.scgraft
  scgraft pull doi:10.5281/zenodo.1234567
  scgraft pull hf:lab/atlas@v1.0/model.safetensors -o atlas.scgraft
  scgraft pull https://example.org/atlas.scgraft";

/// Fetch a model or an adaptor.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pull {
    /// Where it lies: zenodo:RECORD[/FILE], doi:…, hf:ORG/NAME[@REVISION][/FILE] or https://…
    pub address: String,
    /// Where to write it, a file or a folder [default: its own name, here]
    #[arg(long = "output", short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Pull {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        let address: Address = self.address.parse()?;
        if let Some(output) = self.output.as_ref().filter(|o| !o.is_dir()) {
            files::check_output(output, &[])?;
        }
        let fetched = remote::fetch(&address)?;
        let output = match self.output {
            Some(folder) if folder.is_dir() => folder.join(&fetched.name),
            Some(file) => file,
            None => PathBuf::from(&fetched.name),
        };
        let kind = match Contents::read(&fetched.path).with_context(|| address.to_string())? {
            Contents::Model(model) => format!("model {}, reference {}", model.entry.name, model.reference_hash()),
            Contents::Adaptor(adaptor) => format!("adaptor of reference {}", adaptor.reference),
            Contents::Other => "no file of scgraft".to_owned(),
        };
        scgraft::io::copy(&fetched.path, &output)?;
        out.line(format!("{}: {kind}, {} bytes", output.display(), fetched.bytes));
        out.line(format!("these bytes for ever: {}", fetched.pinned));
        out.put("file", output.display().to_string());
        out.put("pinned", fetched.pinned);
        out.put("sha256", fetched.sha256);
        out.put("bytes", fetched.bytes);
        out.put("from_cache", fetched.from_cache);
        Ok(())
    }
}
