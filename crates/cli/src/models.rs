//! `scgraft models`: the base models there are.

use anyhow::Result;
use clap::Args;
use scgraft::models::{Input, ModelEntry, registry};
use serde_json::json;

use super::{Global, Output};

/// List the base models.
#[derive(Args)]
#[command(after_help = "Examples:\n  scgraft models\n  scgraft models --markdown > docs/models.md")]
pub(crate) struct Models {
    /// Print one table in Markdown
    #[arg(long)]
    pub markdown: bool,
}

impl Models {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        if self.markdown {
            table(out);
            return Ok(());
        }
        for model in registry() {
            out.line(format!("{}: {}", model.name, model.summary));
            out.line(format!("    use it when {}", model.when));
            out.line(format!("    needs {}", named(model.needs)));
            if !model.takes.is_empty() {
                out.line(format!("    can use {}", named(model.takes)));
            }
            out.line(format!("    gives {}", model.gives));
        }
        let told = |m: &&ModelEntry| {
            let inputs = |i: &[Input]| i.iter().map(|i| i.name()).collect::<Vec<_>>();
            json!({
                "name": m.name, "summary": m.summary, "needs": inputs(m.needs), "takes": inputs(m.takes),
                "gives": m.gives, "when": m.when,
            })
        };
        let list: Vec<_> = registry().iter().map(told).collect();
        out.put("models", list);
        Ok(())
    }
}

/// The page of the documents.
fn table(out: &mut Output) {
    out.line("# The models side by side\n");
    out.line("`scgraft models --markdown` writes this page; every model reads expression and conditions.\n");
    out.line("| `--model` | what it is | use it when | needs | can use | gives |\n|---|---|---|---|---|---|");
    for m in registry() {
        let inputs = |i: &[Input]| if i.is_empty() { "–".to_owned() } else { named(i) };
        let (needs, takes) = (inputs(m.needs), inputs(m.takes));
        out.line(format!("| `{}` | {} | {} | {needs} | {takes} | {} |", m.name, m.summary, m.when, m.gives));
    }
}

/// What a model reads besides expression and conditions.
fn named(inputs: &[Input]) -> String {
    if inputs.is_empty() {
        return "nothing but counts and conditions".into();
    }
    inputs.iter().map(|i| i.name()).collect::<Vec<_>>().join(", ")
}
