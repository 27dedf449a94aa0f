//! `scgraft programs`: the gene programs of a model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use scgraft::analysis::programs::DirectionMethod;
use scgraft::io::{GmtOptions, ReadOptions, read_gmt, together};
use scgraft::models::{Membership, Model};
use scgraft::programs::{ProgramGene, ProgramSummary, Resemblance, SPECIFIC, programs, resemblances};
use scgraft::relations::{gene_means, remembered};
use serde_json::{Value, json};

use super::direction::Direction;
use super::input::OrthologTable;
use super::near::Expression;
use super::output::{arrow, fixed, number};
use super::{Global, Output, files, input, remote};

const EXAMPLES: &str = "\
Direction: `up` means that a higher latent score goes with higher expression of the program's genes, `down` with lower;
the number says how clear that is, from 0 (as much up as down) to 1 (all one way). By `top` the ten heaviest genes count, by
`sum` all weights, by `counts` the sign most of them have. Scores are turned by `top` unless --direction says otherwise.
`entropy` says how evenly the
genes share a program, from 0 (one is all) to 1 (all alike). A gene marked + is not in the
program's gene set (soft gene sets, new programs). Of nested gene sets the fit keeps one, which varies from seed to seed:
`stands for` names the pruned programs that lie within a kept one. --against compares the heaviest genes of programs with
known gene sets (over-representation among the model's genes, and whether the set's genes are heavy as a whole): what a new
program is about.

Examples:
  scgraft programs reference.scgraft --top 10
  scgraft programs mapped.scgraft --program INTERFERON_SIGNALING --top 50
  scgraft programs reference.scgraft --tsv program_genes.tsv --cells reference.h5ad
  scgraft programs mapped.scgraft --program query_new_1 --against reactome.gmt,hallmark.gmt --against-tsv overlap.tsv";

/// Gene sets shown of each program.
const SHOWN_SETS: usize = 5;

/// List the gene programs of a model, their directions and genes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Programs {
    /// A model, as `train` or `map --save-model` wrote it
    pub model: PathBuf,
    /// Genes shown for each program
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,
    /// Only these programs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub program: Vec<String>,
    #[command(flatten)]
    pub direction: Direction,
    /// Also programs that the fit pruned
    #[arg(long)]
    pub all: bool,
    /// Known gene sets (GMT) to compare the programs asked for with
    #[arg(long, value_name = "GMT", value_delimiter = ',')]
    pub against: Vec<PathBuf>,
    #[command(flatten)]
    pub orthologs: OrthologTable,
    /// Write that comparison as a table
    #[arg(long, value_name = "FILE", requires = "against")]
    pub against_tsv: Option<PathBuf>,
    /// Heaviest genes of a program that are compared
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub against_top: usize,
    /// Cells: the mean log-normalised expression of each gene over them stands beside its weight in the table
    #[arg(long, value_name = "FILE", requires = "tsv")]
    pub cells: Option<PathBuf>,
    #[command(flatten)]
    pub expression: Expression,
    /// Write all genes of all programs as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
}

impl Programs {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        // Both tables or none.
        together(|| self.tell(out))
    }

    fn tell(&self, out: &mut Output) -> Result<()> {
        remote::check_input(&self.model)?;
        let mut inputs: Vec<&Path> = vec![&self.model];
        inputs.extend(self.against.iter().chain(&self.orthologs.orthologs).chain(&self.cells).map(PathBuf::as_path));
        files::check_outputs(self.tsv.iter().chain(&self.against_tsv), &inputs)?;
        let model = remote::model(&self.model)?;
        let rules = match self.direction.direction {
            Some(_) => vec![self.direction.method()],
            None => DirectionMethod::ALL.to_vec(),
        };
        let Some(programs) = programs(&model, &rules)? else {
            bail!("{}: the dimensions of a {} model are not gene programs", self.model.display(), model.entry.name);
        };
        let names: Vec<&str> = programs.iter().map(|p| p.name.as_str()).collect();
        if let Some(unknown) = self.program.iter().find(|p| !names.contains(&p.as_str())) {
            bail!(
                "the model has no program `{unknown}`; nearest name first: {}",
                input::nearest_first(unknown, &names)
            );
        }
        let asked = |p: &&ProgramSummary| match self.program.is_empty() {
            true => p.is_active() || self.all,
            false => self.program.contains(&p.name),
        };
        let shown: Vec<&ProgramSummary> = programs.iter().filter(asked).collect();
        if let Some(path) = &self.tsv {
            let mut header = vec!["program", "rank", "gene", "weight", "weight_share", "in_set"];
            let mut rows = rows(&programs);
            if let Some(cells) = &self.cells {
                let means = self.means(cells)?;
                header.push("mean_expression");
                for row in &mut rows {
                    row.push(means.get(&row[2]).map_or_else(String::new, |m| format!("{m:?}")));
                }
            }
            files::write_rows(path, &header, rows)?;
        }
        let n_active = programs.iter().filter(|p| p.is_active()).count();
        let titles: Vec<String> = rules.iter().map(|r| format!("by {}", r.name())).collect();
        let mut header = vec!["program"];
        header.extend(titles.iter().map(String::as_str));
        header.extend(["genes", "entropy", "top genes"]);
        out.table(&header, &shown.iter().map(|p| self.row(p)).collect::<Vec<_>>());
        out.line(format!("{n_active} of {} programs are active", programs.len()));
        let lost: Vec<&ProgramSummary> = programs.iter().filter(|p| p.has_lost_its_set()).collect();
        if !lost.is_empty() {
            let name = |p: &&ProgramSummary| format!("{} ({})", p.name, fixed(p.switched_off.unwrap_or(f64::NAN), 2));
            out.line(format!(
                "{} soft programs are no longer those of their gene sets (share of outside genes switched off below {}): {}; \
                 train longer, or with a larger --l1-weight",
                lost.len(),
                SPECIFIC,
                lost.iter().take(SHOWN_SETS).map(name).collect::<Vec<_>>().join(", ")
            ));
        }
        let independence = remembered(&model);
        for i in &independence {
            let (r, h) = (fixed(i.correlation, 2), fixed(i.hsic, 2));
            out.line(format!(
                "{}: largest |correlation| with a program of before {r} ({}), HSIC {h}",
                i.program, i.with
            ));
        }
        out.put("independence", json!(independence));
        if !self.against.is_empty() {
            let new = |p: &&ProgramSummary| match self.program.is_empty() {
                true => p.membership == Membership::Free,
                false => self.program.contains(&p.name),
            };
            let compared: Vec<_> = programs.iter().filter(|p| p.is_active()).filter(new).collect();
            if compared.is_empty() {
                bail!("no program to compare: the model has no new ones that are active; name some with --program");
            }
            self.compare(&model, &compared, out)?;
        }
        out.put("active", n_active);
        out.put("programs", shown.iter().map(|p| self.told(p)).collect::<Vec<_>>());
        Ok(())
    }

    /// The mean log-normalised expression of each gene over the cells of a file.
    fn means(&self, path: &Path) -> Result<HashMap<String, f64>> {
        let cells = files::read(path, &ReadOptions::default())?;
        let expression = self.expression.of(&cells)?;
        Ok(expression.genes.index.iter().cloned().zip(gene_means(&expression.x)).collect())
    }

    /// A line of the table.
    fn row(&self, p: &ProgramSummary) -> Vec<String> {
        let mark = |in_set: bool| if in_set || p.membership == Membership::Free { "" } else { "+" };
        let mut list: Vec<String> =
            p.genes.iter().take(self.top).map(|g| format!("{}{}", g.name, mark(g.in_set))).collect();
        match &p.stand_in {
            Some((by, share)) => list.push(format!("pruned; {:.0} % of its genes are in {by}", 100.0 * share)),
            None if !p.stands_for.is_empty() => list.push(format!("(stands for {})", p.stands_for.join(", "))),
            None => {}
        }
        let mut row = vec![p.name.clone()];
        row.extend(p.directions.iter().map(|&(_, sign, clear)| format!("{} {}", arrow(sign), fixed(clear, 2))));
        row.push(format!("{}/{}", p.genes.len(), p.set_size));
        row.push(fixed(if p.is_active() { p.entropy } else { f64::NAN }, 2));
        row.push(list.join(" "));
        row
    }

    /// An entry of the JSON summary.
    fn told(&self, p: &ProgramSummary) -> Value {
        let of = |&(rule, sign, clear): &(DirectionMethod, i8, f64)| {
            (rule.name().to_owned(), json!({"sign": sign, "confidence": number(clear)}))
        };
        let gene = |g: &ProgramGene| json!({"gene": g.name, "weight": number(f64::from(g.weight)), "share": number(g.share), "in_set": g.in_set});
        json!({
            "name": p.name,
            "active": p.is_active(),
            "origin": p.graft.as_deref().unwrap_or("reference"),
            "direction": p.directions[0].1,
            "direction_confidence": number(p.directions[0].2),
            "directions": p.directions.iter().map(of).collect::<serde_json::Map<_, _>>(),
            "entropy": number(p.entropy),
            "switched_off": p.switched_off.map(number),
            "genes_in_set": p.set_size,
            "genes_with_weight": p.genes.len(),
            "genes": p.genes.iter().take(self.top).map(gene).collect::<Vec<_>>(),
            "stands_for": p.stands_for,
            "stand_in": p.stand_in.as_ref().map(|(by, share)| json!({"name": by, "share": number(*share)})),
        })
    }

    /// The heaviest genes of programs against known gene sets.
    fn compare(&self, model: &Model, programs: &[&ProgramSummary], out: &mut Output) -> Result<()> {
        let sets = read_gmt(&self.against, &GmtOptions::default())?;
        let sets = self.orthologs.turn_sets(sets, &model.header.genes)?;
        let mut table = Vec::new();
        let mut told = Vec::new();
        for p in programs {
            let found = resemblances(model, p, &sets, self.against_top)?;
            let n = p.genes.len().min(self.against_top);
            out.line(format!("\n{}: its {n} heaviest genes against {} gene sets", p.name, found.len()));
            let shown: Vec<[String; 5]> = found
                .iter()
                .take(SHOWN_SETS)
                .map(|r| {
                    let [p, cerno] = [r.overlap.p_adjusted, r.rank.cerno_p_adjusted].map(|p| format!("{p:.1e}"));
                    [r.set.clone(), format!("{}/{}", r.genes.len(), r.overlap.set_size), p, cerno, r.genes.join(" ")]
                })
                .collect();
            out.table(["gene set", "overlap", "adjusted p", "p CERNO", "genes"], &shown);
            for Resemblance { set, overlap: o, genes, rank } in &found {
                let mut row = vec![p.name.clone(), set.clone(), genes.len().to_string(), o.set_size.to_string()];
                let of_overlap = [o.fold, o.jaccard, o.p_value, o.p_adjusted];
                let of_rank = [rank.auroc, rank.cerno_p_adjusted, rank.camera_t, rank.camera_p_adjusted];
                row.extend(of_overlap.into_iter().chain(of_rank).map(|v| format!("{v:?}")));
                row.push(genes.join(" "));
                table.push(row);
            }
            let leading = found.iter().take(SHOWN_SETS).map(|r| {
                json!({"set": r.set, "overlap": r.genes.len(), "size": r.overlap.set_size,
                       "p_adjusted": number(r.overlap.p_adjusted), "cerno_p_adjusted": number(r.rank.cerno_p_adjusted)})
            });
            told.push(json!({"program": p.name, "sets": leading.collect::<Vec<_>>()}));
        }
        if let Some(path) = &self.against_tsv {
            let header = [
                "program",
                "gene_set",
                "overlap",
                "set_size",
                "fold_enrichment",
                "jaccard",
                "p_value",
                "p_adjusted",
                "auroc",
                "cerno_p_adjusted",
                "camera_t",
                "camera_p_adjusted",
                "genes",
            ];
            files::write_rows(path, &header, table)?;
        }
        out.put("against", told);
        Ok(())
    }
}

/// All genes of all programs.
fn rows(programs: &[ProgramSummary]) -> Vec<Vec<String>> {
    let of = |p: &ProgramSummary| {
        let row = |(rank, g): (usize, &ProgramGene)| {
            let (rank, share) = ((rank + 1).to_string(), format!("{:.6}", g.share));
            vec![p.name.clone(), rank, g.name.clone(), g.weight.to_string(), share, g.in_set.to_string()]
        };
        p.genes.iter().enumerate().map(row).collect::<Vec<_>>()
    };
    programs.iter().flat_map(of).collect()
}
