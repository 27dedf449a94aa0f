//! `scgraft programs`: the gene programs of a model.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use scgraft::analysis::enrichment::{over_representation, rank_enrichment};
use scgraft::analysis::programs::{
    DirectionMethod, Directions, active_programs, directions, gene_importance, stand_ins,
};
use scgraft::cells::{Dense, GenePrograms, ProgramOptions};
use scgraft::io::{GmtOptions, read_gmt, write_rows};
use scgraft::models::{Membership, Model};
use scgraft::pipeline::program_weights;
use serde_json::json;

use super::direction::Direction;
use super::output::{arrow, fixed, number};
use super::{Global, Output, files, input};

const EXAMPLES: &str = "\
Direction: `up` means that a higher latent score goes with higher expression of the program's genes, `down` with lower;
the number says how clear that is, from 0 (as much up as down) to 1 (all one way). By `top` the ten heaviest genes count, by
`sum` all weights, by `counts` the sign most of them have. Scores are turned by `top` unless --direction says otherwise.
A gene marked + is not in the
program's gene set (soft gene sets, new programs). Of nested gene sets the fit keeps one, which varies from seed to seed:
`stands for` names the pruned programs that lie within a kept one. --against compares the heaviest genes of programs with
known gene sets (over-representation among the model's genes, and whether the set's genes are heavy as a whole): what a new
program is about.

Examples:
  scgraft programs reference.scgraft --top 10
  scgraft programs mapped.scgraft --program INTERFERON_SIGNALING --top 50
  scgraft programs reference.scgraft --tsv program_genes.tsv
  scgraft programs mapped.scgraft --program query_new_1 --against reactome.gmt,hallmark.gmt --against-tsv overlap.tsv";

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
    /// Write that comparison as a table
    #[arg(long, value_name = "FILE", requires = "against")]
    pub against_tsv: Option<PathBuf>,
    /// Heaviest genes of a program that are compared
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub against_top: usize,
    /// Write all genes of all programs as a table
    #[arg(long, value_name = "FILE")]
    pub tsv: Option<PathBuf>,
}

impl Programs {
    pub fn run(self, _: &Global, out: &mut Output) -> Result<()> {
        files::check_input(&self.model)?;
        let mut inputs: Vec<&Path> = vec![&self.model];
        inputs.extend(self.against.iter().map(PathBuf::as_path));
        files::check_outputs(self.tsv.iter().chain(&self.against_tsv), &inputs)?;
        let model = Model::load(&self.model)?;
        let Some(weights) = program_weights(&model) else {
            bail!("{}: the dimensions of a {} model are not gene programs", self.model.display(), model.entry.name);
        };
        let programs: Vec<_> = model.header.programs().collect();
        let names: Vec<&str> = programs.iter().map(|(_, p)| p.name.as_str()).collect();
        if let Some(unknown) = self.program.iter().find(|p| !names.contains(&p.as_str())) {
            bail!(
                "the model has no program `{unknown}`; nearest name first: {}",
                input::nearest_first(unknown, &names)
            );
        }
        let members: Vec<Vec<u32>> = programs.iter().map(|(_, p)| p.members.clone()).collect();
        let genes = gene_importance(&weights, Some(&members))?;
        let rules = match self.direction.direction {
            Some(_) => vec![self.direction.method()],
            None => DirectionMethod::ALL.to_vec(),
        };
        let by_rule = rules.iter().map(|&rule| directions(&weights, rule)).collect::<Result<Vec<_>, _>>()?;
        let stand_ins = stand_ins(&members, &active_programs(&weights));
        // Pruned programs that lie as good as whole within an active one.
        let stands_for = |j: usize| -> Vec<&str> {
            let pruned = stand_ins.iter().enumerate();
            pruned
                .filter(|(_, s)| s.is_some_and(|(by, share)| by == j && share >= WITHIN))
                .map(|(i, _)| names[i])
                .collect()
        };
        let mut told = Vec::new();
        let mut rows = Vec::new();
        let mut table = Vec::new();
        for (j, (segment, program)) in programs.iter().enumerate() {
            let active = !genes[j].genes.is_empty();
            let asked = self.program.is_empty() && (active || self.all) || self.program.contains(&program.name);
            for (rank, g) in genes[j].genes.iter().enumerate() {
                let gene = model.header.genes[g.gene].clone();
                let (weight, share) = (g.weight.to_string(), format!("{:.6}", g.share));
                table.push(vec![
                    program.name.clone(),
                    (rank + 1).to_string(),
                    gene,
                    weight,
                    share,
                    g.in_set.to_string(),
                ]);
            }
            if !asked {
                continue;
            }
            let top = genes[j].genes.iter().take(self.top);
            let mark = |in_set: bool| if in_set || segment.membership == Membership::Free { "" } else { "+" };
            let mut list: Vec<String> =
                top.clone().map(|g| format!("{}{}", model.header.genes[g.gene], mark(g.in_set))).collect();
            match (stand_ins[j], stands_for(j)) {
                (Some((by, share)), _) => {
                    list.push(format!("pruned; {:.0} % of its genes are in {}", 100.0 * share, names[by]))
                }
                (None, pruned) if !pruned.is_empty() => list.push(format!("(stands for {})", pruned.join(", "))),
                _ => {}
            }
            let mut row = vec![program.name.clone()];
            row.extend(by_rule.iter().map(|d| format!("{} {}", arrow(d.sign[j]), fixed(d.confidence[j], 2))));
            row.push(format!("{}/{}", genes[j].genes.len(), program.members.len()));
            row.push(list.join(" "));
            rows.push(row);
            let directions_of = |j: usize| -> serde_json::Map<_, _> {
                let of = |(rule, d): (&DirectionMethod, &Directions)| {
                    let told = json!({"sign": d.sign[j], "confidence": number(d.confidence[j])});
                    (rule.name().to_owned(), told)
                };
                rules.iter().zip(&by_rule).map(of).collect()
            };
            let list: Vec<_> = top
                .map(|g| {
                    json!({"gene": model.header.genes[g.gene], "weight": number(f64::from(g.weight)),
                                "share": number(g.share), "in_set": g.in_set})
                })
                .collect();
            told.push(json!({
                "name": program.name,
                "active": active,
                "origin": segment.origin.as_deref().unwrap_or("reference"),
                "direction": by_rule[0].sign[j],
                "direction_confidence": number(by_rule[0].confidence[j]),
                "directions": directions_of(j),
                "genes_in_set": program.members.len(),
                "genes_with_weight": genes[j].genes.len(),
                "genes": list,
                "stands_for": stands_for(j),
                "stand_in": stand_ins[j].map(|(by, share)| json!({"name": names[by], "share": number(share)})),
            }));
        }
        if let Some(path) = &self.tsv {
            write_rows(path, &["program", "rank", "gene", "weight", "share", "in_set"], table)?;
        }
        let n_active = genes.iter().filter(|g| !g.genes.is_empty()).count();
        let titles: Vec<String> = rules.iter().map(|r| format!("by {}", r.name())).collect();
        let mut header = vec!["program"];
        header.extend(titles.iter().map(String::as_str));
        header.extend(["genes", "top genes"]);
        out.table(&header, &rows);
        out.line(format!("{n_active} of {} programs are active", programs.len()));
        if !self.against.is_empty() {
            let asked = (0..names.len()).filter(|&j| {
                let new = programs[j].0.membership == Membership::Free;
                !genes[j].genes.is_empty()
                    && if self.program.is_empty() { new } else { self.program.iter().any(|p| p == names[j]) }
            });
            let asked: Vec<(&str, Vec<f64>)> = asked.map(|j| (names[j], absolute(&weights, j))).collect();
            if asked.is_empty() {
                bail!("no program to compare: the model has no new ones that are active; name some with --program");
            }
            self.compare(&asked, &model.header.genes, out)?;
        }
        out.put("active", n_active);
        out.put("programs", told);
        Ok(())
    }
}

fn absolute(weights: &Dense, j: usize) -> Vec<f64> {
    weights.column(j).into_iter().map(|w| f64::from(w.abs())).collect()
}

/// Share of a pruned program's genes within an active program from which that one stands for it.
const WITHIN: f64 = 0.9;
/// Gene sets shown of each program.
const SHOWN_SETS: usize = 5;
/// Correlation of the genes of a set, camera's preset.
const CORRELATION: f64 = 0.01;

impl Programs {
    /// The heaviest genes of programs (absolute weights) against known gene sets.
    fn compare(&self, programs: &[(&str, Vec<f64>)], genes: &[String], out: &mut Output) -> Result<()> {
        let sets = read_gmt(&self.against, &GmtOptions::default())?;
        let sets = GenePrograms::new(&sets, genes, &ProgramOptions { min_genes: 3, ..ProgramOptions::default() })?;
        let mut table = Vec::new();
        let mut told = Vec::new();
        for (name, weights) in programs {
            let mut order: Vec<u32> = (0..genes.len() as u32).filter(|&g| weights[g as usize] > 0.0).collect();
            order.sort_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]));
            order.truncate(self.against_top);
            let ranks = rank_enrichment(weights, &sets.members, CORRELATION)?;
            let found = over_representation(&order, &sets.members, genes.len())?;
            out.line(format!("\n{name}: its {} heaviest genes against {} gene sets", order.len(), sets.len()));
            let list =
                |overlap: &[u32]| overlap.iter().map(|&g| genes[g as usize].as_str()).collect::<Vec<_>>().join(" ");
            let shown: Vec<[String; 5]> = found
                .iter()
                .take(SHOWN_SETS)
                .map(|r| {
                    let [p, cerno] = [r.p_adjusted, ranks[r.set].cerno_p_adjusted].map(|p| format!("{p:.1e}"));
                    let share = format!("{}/{}", r.overlap.len(), r.set_size);
                    [sets.names[r.set].clone(), share, p, cerno, list(&r.overlap)]
                })
                .collect();
            out.table(["gene set", "overlap", "adjusted p", "p CERNO", "genes"], &shown);
            for r in &found {
                let rank = &ranks[r.set];
                let mut row = vec![(*name).to_owned(), sets.names[r.set].clone()];
                row.extend([r.overlap.len().to_string(), r.set_size.to_string()]);
                let numbers = [
                    r.fold,
                    r.jaccard,
                    r.p_value,
                    r.p_adjusted,
                    rank.auroc,
                    rank.cerno_p_adjusted,
                    rank.camera_t,
                    rank.camera_p_adjusted,
                ];
                row.extend(numbers.map(|v| format!("{v:?}")));
                row.push(list(&r.overlap));
                table.push(row);
            }
            let leading: Vec<_> = found
                .iter()
                .take(SHOWN_SETS)
                .map(|r| json!({"set": sets.names[r.set], "overlap": r.overlap.len(), "size": r.set_size,
                                "p_adjusted": number(r.p_adjusted), "cerno_p_adjusted": number(ranks[r.set].cerno_p_adjusted)}))
                .collect();
            told.push(json!({"program": name, "sets": leading}));
        }
        if let Some(path) = &self.against_tsv {
            let header = [
                "program",
                "gene_set",
                "overlap",
                "set_size",
                "fold",
                "jaccard",
                "p",
                "p_adjusted",
                "auroc",
                "cerno_p_adjusted",
                "camera_t",
                "camera_p_adjusted",
                "genes",
            ];
            write_rows(path, &header, table)?;
        }
        out.put("against", told);
        Ok(())
    }
}
