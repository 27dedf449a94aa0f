//! `scgraft list`: what lies at an address.

use anyhow::Result;
use clap::Args;
use scgraft::hub::Address;
use serde_json::json;

use super::remote::{self, Bar};
use super::{Global, Output};

/// Say what a record of Zenodo or a repository of Hugging Face holds.
#[derive(Args)]
#[command(after_help = "Examples:\n  scgraft list zenodo:1234567\n  scgraft list hf:lab/atlas --json")]
pub(crate) struct List {
    /// zenodo:RECORD, doi:… or hf:ORG/NAME[@REVISION]
    pub address: String,
}

impl List {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        let address: Address = self.address.parse()?;
        let mut bar = Bar::new();
        let found = remote::hub()?.list(&address, &mut |p| bar.look(p))?;
        drop(bar);
        if let Some(title) = &found.title {
            out.line(title);
        }
        let told =
            [("version", &found.version), ("published", &found.date), ("licence", &found.licence), ("DOI", &found.doi)];
        for (what, value) in told {
            if let Some(value) = value {
                out.line(format!("{what}: {value}"));
            }
        }
        out.line(format!("this state: {}", found.pinned));
        out.line(format!("page: {}", found.page));
        let rows: Vec<[String; 3]> = found
            .files
            .iter()
            .map(|f| {
                let bytes = f.bytes.map_or_else(|| "–".to_owned(), |b| b.to_string());
                [f.name.clone(), bytes, f.checksum.clone().unwrap_or_else(|| "–".to_owned())]
            })
            .collect();
        out.table(["file", "bytes", "checksum"], &rows);
        let files = found.files.iter().map(|f| json!({ "name": f.name, "bytes": f.bytes, "checksum": f.checksum }));
        out.put("files", files.collect::<Vec<_>>());
        out.put("pinned", found.pinned);
        out.put("page", found.page);
        out.put("title", found.title);
        out.put("version", found.version);
        out.put("published", found.date);
        out.put("licence", found.licence);
        out.put("doi", found.doi);
        Ok(())
    }
}
