//! `scgraft programs`: the gene programs of a model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use scgraft::analysis::programs::DirectionMethod;
use scgraft::cells::{choose_names, counted};
use scgraft::io::{ReadOptions, read_gmt, together};
use scgraft::models::{Membership, Model};
use scgraft::programs::{ProgramGene, ProgramSummary, Resemblance, SPECIFIC, programs, resemblances};
use scgraft::relations::{gene_means, remembered};
use serde_json::{Value, json};

use super::direction::Direction;
use super::fitted::independence;
use super::help::broken;
use super::input::OrthologTable;
use super::near::Expression;
use super::output::{arrow, fixed, number};
use super::{Global, Output, files, remote};

const EXAMPLES: &str = "\
Direction: `up` means that a higher latent score goes with higher expression of the program's genes, `down` with lower;
the number says how clear that is, from 0 (as much up as down) to 1 (all one way). By `top` the ten heaviest genes count, by
`sum` all weights, by `counts` the sign most of them have. Scores are turned by `top` unless --direction says otherwise.
`weight` says how heavy a program is (√Σw² over its genes): how
far one unit of its score moves them. Of programs that are named more is told: by every rule, all of their heaviest genes, and
`entropy`, how evenly the genes share the program, from 0 (one is all) to 1 (all alike). A gene marked + is not in the
program's gene set (soft gene sets, new programs). Of nested gene sets the fit keeps one, which varies from seed to seed:
`stands for` names the pruned programs that lie within a kept one. --against compares the heaviest genes of programs with
known gene sets (over-representation among the model's genes, and whether the set's genes are heavy as a whole): what a new
program is about.

Examples:
  scgraft programs reference.scgraft
  scgraft programs mapped.scgraft --program INTERFERON_SIGNALING,'*TLR*' --top 50
  scgraft programs reference.scgraft --tsv program_genes.tsv --cells reference.h5ad
  scgraft programs mapped.scgraft --program query_new_1 --against reactome.gmt,hallmark.gmt --against-tsv overlap.tsv";

/// Gene sets shown of each program.
const SHOWN_SETS: usize = 5;
/// Genes shown of each program of the list.
const SHOWN_GENES: usize = 5;
/// Columns that lists of genes are broken at.
const WIDE: usize = 100;

/// List the gene programs of a model, their directions and genes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Programs {
    /// A model, as `train` or `map --save-model` wrote it
    pub model: PathBuf,
    /// Only these programs, and more of each; `*` stands for any text, `?` for any letter
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub program: Vec<String>,
    /// Genes shown of each of these
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,
    /// Programs listed, the heaviest first
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub rows: usize,
    #[command(flatten)]
    pub direction: Direction,
    /// List all programs, also those that the fit pruned
    #[arg(long, conflicts_with = "rows")]
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
        let asked = choose_names(&names, &self.program, &[]).with_context(|| self.model.display().to_string())?;
        let named = !self.program.is_empty();
        let mut shown: Vec<&ProgramSummary> = programs
            .iter()
            .zip(&asked)
            .filter(|(p, asked)| **asked && (named || self.all || p.is_active()))
            .map(|(p, _)| p)
            .collect();
        shown.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
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
        let listed = shown.len().min(if self.all { usize::MAX } else { self.rows });
        if named {
            shown.iter().for_each(|p| self.describe(p, out));
        } else {
            let by = format!("by {}", rules[0].name());
            out.table(
                ["program", "weight", &by, "genes", "heaviest genes"],
                &shown[..listed].iter().map(|p| row(p)).collect::<Vec<_>>(),
            );
        }
        let rest = match n_active.saturating_sub(listed) {
            n if n > 0 && !named => {
                format!("; --rows {n_active} lists the other {n}, --all those that were pruned too")
            }
            _ => String::new(),
        };
        out.line(format!("{n_active} of {} programs are active{rest}", programs.len()));
        let lost: Vec<&ProgramSummary> = programs.iter().filter(|p| p.has_lost_its_set()).collect();
        if !lost.is_empty() {
            let name = |p: &&ProgramSummary| format!("{} ({})", p.name, fixed(p.switched_off.unwrap_or(f64::NAN), 2));
            out.line(format!(
                "{} no longer of their gene sets (share of outside genes switched off below {}): {}; \
                 train longer, or with a larger --l1-weight",
                counted(lost.len(), "soft program is", "soft programs are"),
                SPECIFIC,
                lost.iter().take(SHOWN_SETS).map(name).collect::<Vec<_>>().join(", ")
            ));
        }
        let all = remembered(&model);
        for i in all.iter().filter(|i| !named || shown.iter().any(|p| p.name == i.program)) {
            out.line(independence(i));
        }
        out.put("independence", json!(all));
        if !self.against.is_empty() {
            let wanted = |p: &&&ProgramSummary| p.is_active() && (named || p.membership == Membership::Free);
            let compared: Vec<&ProgramSummary> = shown.iter().filter(wanted).copied().collect();
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

    /// All that is shown of a program that was asked for.
    fn describe(&self, p: &ProgramSummary, out: &mut Output) {
        let by = p
            .directions
            .iter()
            .map(|&(rule, sign, clear)| format!("{} {} by {}", arrow(sign), fixed(clear, 2), rule.name()));
        let genes = format!("{} of {}", p.genes.len(), counted(p.set_size.max(p.genes.len()), "gene", "genes"));
        out.line(&p.name);
        if p.is_active() {
            let by = by.collect::<Vec<_>>().join(", ");
            out.line(format!("  weight {}; {by}; entropy {}; {genes}", fixed(p.weight(), 2), fixed(p.entropy, 2)));
        }
        let mut lines = Vec::new();
        broken(&gene_names(p, self.top), ("  ", "  ", ""), WIDE, &mut lines);
        lines.iter().for_each(|line| out.line(line));
        if !p.stands_for.is_empty() {
            out.line(format!("  stands for {}", p.stands_for.join(", ")));
        }
        out.line("");
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
            "weight": number(p.weight()),
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
        let sets = read_gmt(&self.against)?;
        let sets = self.orthologs.turn_sets(sets, &model.header.genes)?;
        let mut table = Vec::new();
        let mut told = Vec::new();
        for p in programs {
            let found = resemblances(model, p, &sets, self.against_top)?;
            let n = p.genes.len().min(self.against_top);
            out.line(format!(
                "\n{}: its {n} heaviest genes against {}",
                p.name,
                counted(found.len(), "gene set", "gene sets")
            ));
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

/// A line of the list.
fn row(p: &ProgramSummary) -> [String; 5] {
    let &(_, sign, clear) = &p.directions[0];
    let direction = if p.is_active() { format!("{} {}", arrow(sign), fixed(clear, 2)) } else { String::new() };
    let genes = format!("{}/{}", p.genes.len(), p.set_size);
    [p.name.clone(), fixed(p.weight(), 2), direction, genes, gene_names(p, SHOWN_GENES).join(" ")]
}

/// The heaviest genes, or why there is none.
fn gene_names(p: &ProgramSummary, most: usize) -> Vec<String> {
    let mark = |g: &ProgramGene| if g.in_set || p.membership == Membership::Free { "" } else { "+" };
    match &p.stand_in {
        _ if p.is_active() => p.genes.iter().take(most).map(|g| format!("{}{}", g.name, mark(g))).collect(),
        Some((by, share)) => {
            let text = format!("pruned; {:.0} % of its genes are in {by}", 100.0 * share);
            text.split(' ').map(str::to_owned).collect()
        }
        None => vec!["pruned".to_owned()],
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
