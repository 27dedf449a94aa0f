//! What is planted: which genes respond to which program, and which cells have which program on.

use scgraft_numeric::random::Random;

use super::SimulateOptions;
use crate::{CellsError, Dense, GeneSet};

/// What a program does in the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// On in one cell type.
    CellType(String),
    /// On in two related cell types.
    Lineage(Vec<String>),
    /// On in stimulated cells, and now and then in others.
    StimulationUp,
    /// Off in stimulated cells, on in most others.
    StimulationDown,
    /// On to a varying degree in every cell.
    Background,
    /// Never on: nothing should be found.
    Decoy,
}

/// A program as planted.
#[derive(Clone, Debug, PartialEq)]
pub struct TrueProgram {
    /// Its name, that of its gene set.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The genes that respond, with their loading on the natural log scale; none for a decoy.
    pub loadings: Vec<(u32, f64)>,
}

/// What was planted.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// One program a gene set, in their order.
    pub programs: Vec<TrueProgram>,
    /// The program that is no gene set: on in stimulated query cells only. Its genes are strewn over the sets.
    pub hidden: TrueProgram,
    /// The cell type that only the query has.
    pub novel_type: String,
    /// Activity in the reference, cells × (programs, then the hidden one).
    pub reference_activity: Dense,
    /// Activity in the query, likewise.
    pub query_activity: Dense,
}

/// Activity of the programs that make a cell type, against 1 for a response to the stimulation: types differ more
/// than states of one type.
const IDENTITY: f64 = 1.4;

/// Share of cells left alone that nevertheless show a response to the stimulation: without them no reference could
/// learn the programs of it.
const SPONTANEOUS: f64 = 0.2;

/// Everything drawn before the cells.
pub(super) struct Plan {
    pub(super) genes: Vec<String>,
    /// a_g: the log level of each gene.
    pub(super) levels: Vec<f64>,
    /// θ_g: the inverse dispersion of each gene.
    pub(super) thetas: Vec<f64>,
    /// Cell types; the last is the novel one.
    pub(super) type_names: Vec<String>,
    programs: Vec<TrueProgram>,
    /// The genes of each gene set, responding or not.
    members: Vec<Vec<u32>>,
    hidden: TrueProgram,
}

impl Plan {
    pub(super) fn new(options: &SimulateOptions) -> Result<Self, CellsError> {
        // Before anything is made: every type has a program.
        let (what, found) = ("the number of simulated programs", options.n_programs.to_string());
        if options.n_programs > 1 << 20 {
            return Err(CellsError::Option { what, expected: "at most 1,048,576", found });
        }
        if options.n_cell_types > options.n_programs {
            return Err(CellsError::Option { what, expected: "at least one a cell type", found });
        }
        let type_names: Vec<String> = (0..=options.n_cell_types)
            .map(|t| if t == options.n_cell_types { "novel".to_owned() } else { format!("type_{}", t + 1) })
            .collect();
        let roles = roles(options, &type_names)?;
        let mut random = Random::new(options.seed, 0);
        let mut pool: Vec<u32> = (0..options.n_genes as u32).collect();
        random.shuffle(&mut pool);
        let k = options.genes_per_program;
        let mut own = pool.chunks_exact(k);
        let mut respond = |random: &mut Random| -> Vec<(u32, f64)> {
            let genes = own.next().unwrap_or_default();
            genes.iter().map(|&g| (g, (options.effect * (1.0 + 0.25 * random.normal())).max(0.3))).collect()
        };
        let hidden = TrueProgram { name: "HIDDEN".into(), role: Role::StimulationUp, loadings: respond(&mut random) };
        let mut programs: Vec<TrueProgram> = Vec::with_capacity(roles.len());
        for (name, role) in roles {
            let loadings = if role == Role::Decoy { Vec::new() } else { respond(&mut random) };
            programs.push(TrueProgram { name, role, loadings });
        }
        // Guests and decoys come from genes that respond to nothing, of which a fifth is left in no set. The genes of
        // the hidden program stand in sets as well, or a model of the genes in programs would not have them; but
        // apart, one a set as long as there are sets.
        let n_active = programs.iter().filter(|p| p.role != Role::Decoy).count();
        let free = &pool[(1 + n_active) * k..];
        let silent = &free[..free.len() - free.len() / 5];
        let mut hosts: Vec<usize> = (0..programs.len()).collect();
        random.shuffle(&mut hosts);
        let mut members: Vec<Vec<u32>> =
            programs.iter().map(|p| p.loadings.iter().map(|&(g, _)| g).collect()).collect();
        for (&(gene, _), &host) in hidden.loadings.iter().zip(hosts.iter().cycle()) {
            members[host].push(gene);
        }
        for genes in &mut members {
            add(genes, silent, k + options.guests_per_program, &mut random);
            genes.sort_unstable();
        }
        let width = options.n_genes.to_string().len();
        Ok(Plan {
            genes: (1..=options.n_genes).map(|g| format!("GENE{g:0width$}")).collect(),
            levels: (0..options.n_genes).map(|_| random.normal()).collect(),
            thetas: (0..options.n_genes).map(|_| 4.0 * (0.5 * random.normal()).exp()).collect(),
            type_names,
            programs,
            members,
            hidden,
        })
    }

    /// The loadings of each program, the hidden one last.
    pub(super) fn loadings(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        self.programs.iter().chain(std::iter::once(&self.hidden)).map(|p| p.loadings.as_slice())
    }

    /// Early types are more frequent; the novel type is a seventh of the query and absent from the reference.
    pub(super) fn draw_type(&self, random: &mut Random, is_query: bool) -> usize {
        let novel = self.type_names.len() - 1;
        if is_query && random.uniform() < 1.0 / 7.0 {
            return novel;
        }
        let weight = |t: usize| 1.0 / (1.0 + 0.2 * t as f64);
        let mut left = random.uniform() * (0..novel).map(weight).sum::<f64>();
        for t in 0..novel {
            left -= weight(t);
            if left < 0.0 {
                return t;
            }
        }
        novel - 1
    }

    /// The activity of each program in one cell, the hidden one last.
    pub(super) fn activity(&self, random: &mut Random, cell_type: usize, stimulated: bool) -> Vec<f64> {
        let name = &self.type_names[cell_type];
        let novel = cell_type == self.type_names.len() - 1;
        let mut activity: Vec<f64> = self
            .programs
            .iter()
            .map(|program| {
                let on = |share: f64, random: &mut Random| share * (1.0 + 0.15 * random.normal());
                match &program.role {
                    Role::CellType(t) => {
                        if t == name {
                            on(IDENTITY, random)
                        } else {
                            0.0
                        }
                    }
                    Role::Lineage(types) if types.contains(name) => on(IDENTITY, random),
                    // The novel type lies between the known ones.
                    Role::Lineage(_) => {
                        if novel {
                            on(0.5 * IDENTITY, random)
                        } else {
                            0.0
                        }
                    }
                    Role::StimulationUp | Role::StimulationDown => {
                        let response = if stimulated {
                            on(1.2, random)
                        } else if random.uniform() < SPONTANEOUS {
                            0.4 + 0.8 * random.uniform()
                        } else {
                            0.0
                        };
                        let up = program.role == Role::StimulationUp;
                        if up { response } else { (1.0 - response).max(0.0) }
                    }
                    Role::Background => 0.6 * random.normal(),
                    Role::Decoy => 0.0,
                }
            })
            .collect();
        activity.push(if stimulated { 1.0 + 0.15 * random.normal() } else { 0.0 });
        activity
    }

    pub(super) fn gene_sets(&self) -> Vec<GeneSet> {
        let what = |role: &Role| match role {
            Role::CellType(name) => format!("simulated: on in {name}"),
            Role::Lineage(names) => format!("simulated: on in {}", names.join(" and ")),
            Role::StimulationUp => "simulated: on in stimulated cells".into(),
            Role::StimulationDown => "simulated: off in stimulated cells".into(),
            Role::Background => "simulated: varies in every cell".into(),
            Role::Decoy => "simulated: never on".into(),
        };
        self.programs
            .iter()
            .zip(&self.members)
            .map(|(program, members)| GeneSet {
                name: program.name.clone(),
                description: Some(what(&program.role)),
                genes: members.iter().map(|&g| self.genes[g as usize].clone()).collect(),
            })
            .collect()
    }

    pub(super) fn into_truth(self, reference_activity: Dense, query_activity: Dense) -> Truth {
        let novel_type = self.type_names.last().cloned().unwrap_or_default();
        Truth { programs: self.programs, hidden: self.hidden, novel_type, reference_activity, query_activity }
    }
}

/// Adds genes of `from` that are not there yet until there are `size`.
fn add(genes: &mut Vec<u32>, from: &[u32], size: usize, random: &mut Random) {
    while genes.len() < size {
        let gene = from[random.below(from.len())];
        if !genes.contains(&gene) {
            genes.push(gene);
        }
    }
}

/// Names and roles of the programs, after checking that the sizes allow them.
fn roles(options: &SimulateOptions, types: &[String]) -> Result<Vec<(String, Role)>, CellsError> {
    let refuse = |what, expected, found: usize| Err(CellsError::Option { what, expected, found: found.to_string() });
    if options.n_reference == 0 || options.n_query == 0 {
        return refuse("the number of simulated cells", "at least 1 in reference and query", 0);
    }
    const MOST: usize = 1 << 34;
    let cells = options.n_reference.saturating_add(options.n_query);
    if cells.saturating_mul(options.n_genes) > MOST {
        let (what, expected) = ("the number of simulated cells × genes", "at most 17,179,869,184");
        return refuse(what, expected, cells.saturating_mul(options.n_genes));
    }
    if !(0.0..=10.0).contains(&options.batch_effect) {
        let (what, expected) = ("the strength of simulated batch effects", "0 to 10 (on the natural log scale)");
        return Err(CellsError::Option { what, expected, found: options.batch_effect.to_string() });
    }
    if options.n_reference_batches == 0 || options.n_query_batches == 0 {
        return refuse("the number of simulated batches", "at least 1 in reference and query", 0);
    }
    if options.n_cell_types < 2 {
        return refuse("the number of simulated cell types", "at least 2", options.n_cell_types);
    }
    if options.genes_per_program == 0 {
        return refuse("the number of genes per program", "at least 1", 0);
    }
    let mut out: Vec<(String, Role)> =
        types.iter().map(|t| (format!("CELL_{}", t.to_uppercase()), Role::CellType(t.clone()))).collect();
    for (i, pair) in types[..options.n_cell_types].chunks(2).enumerate() {
        out.push((format!("LINEAGE_{}", i + 1), Role::Lineage(pair.to_vec())));
    }
    out.push(("STIMULATION_UP_1".into(), Role::StimulationUp));
    out.push(("STIMULATION_UP_2".into(), Role::StimulationUp));
    out.push(("STIMULATION_DOWN".into(), Role::StimulationDown));
    let Some(rest) = options.n_programs.checked_sub(out.len()) else {
        let expected = "at least one a cell type (the novel one included), one a pair of types, and three more";
        return refuse("the number of simulated programs", expected, options.n_programs);
    };
    let n_background = rest / 3;
    out.extend((1..=n_background).map(|i| (format!("BACKGROUND_{i}"), Role::Background)));
    let n_active = out.len();
    out.extend((1..=rest - n_background).map(|i| (format!("DECOY_{i}"), Role::Decoy)));
    // The hidden program and the active ones have genes of their own; decoys and guests need some to choose from.
    let k = options.genes_per_program;
    if options.n_genes < (n_active + 1) * k + 3 * (k + options.guests_per_program) {
        let expected = "enough for every active program and the hidden one to have genes of their own, and three \
                        programs' genes more";
        return refuse("the number of simulated genes", expected, options.n_genes);
    }
    Ok(out)
}
