//! `scgraft models`: the base models there are.

use anyhow::Result;
use clap::Args;
use scgraft::models::registry;
use serde_json::json;

use super::{Global, Output};

/// List the base models.
#[derive(Args)]
#[command(after_help = "Example:\n  scgraft models")]
pub(crate) struct Models {}

impl Models {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        for model in registry() {
            out.line(format!("{}: {}", model.name, model.summary));
            out.line(format!("    use it when {}", model.when));
            out.line(format!("    needs {}", model.needs));
            out.line(format!("    gives {}", model.gives));
        }
        let list: Vec<_> = registry()
            .iter()
            .map(|m| json!({"name": m.name, "summary": m.summary, "needs": m.needs, "gives": m.gives, "when": m.when}))
            .collect();
        out.put("models", list);
        Ok(())
    }
}
