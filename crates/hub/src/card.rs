//! A card: what a shared file is, written from the file itself, and what only its authors know.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use scgraft_cells::{Column, Kind, each_once};
use scgraft_models::{Adaptor, Membership, Model, settings};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{Address, HubError};

/// What a file holds.
#[derive(Debug)]
pub enum Contents {
    /// A model.
    Model(Box<Model>),
    /// An adaptor.
    Adaptor(Box<Adaptor>),
    /// Anything else.
    Other,
}

impl Contents {
    /// What a file holds, by its content.
    ///
    /// # Errors
    /// When it cannot be read; when it is a model or an adaptor that is damaged, or that this version cannot read.
    pub fn read(path: &Path) -> Result<Contents, HubError> {
        let fail = |source| HubError::Io { path: path.to_owned(), source };
        let mut head = Vec::new();
        let file = std::fs::File::open(path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, 9), &mut head).map_err(fail)?;
        if !may_be_ours(&head, size) {
            return Ok(Contents::Other);
        }
        let bytes = std::fs::read(path).map_err(fail)?;
        Contents::of(&bytes, &path.display().to_string())
    }

    /// What bytes hold.
    ///
    /// # Errors
    /// As [`Contents::read`]; `place` says in them whose bytes they are.
    pub fn of(bytes: &[u8], place: &str) -> Result<Contents, HubError> {
        let Some(header) = header(bytes) else { return Ok(Contents::Other) };
        let ours = header.get("__metadata__").and_then(|m| m.get("scgraft")).and_then(Value::as_str);
        let Some(entry) = ours else { return Ok(Contents::Other) };
        let damaged = |e: scgraft_models::ModelError| HubError::format(place, e.to_string());
        let kind: Value = serde_json::from_str(entry).unwrap_or(Value::Null);
        Ok(match kind["kind"].as_str() {
            Some("adaptor") => Contents::Adaptor(Box::new(Adaptor::from_bytes(bytes).map_err(damaged)?)),
            _ => Contents::Model(Box::new(Model::from_bytes(bytes).map_err(damaged)?)),
        })
    }
}

/// Whether the first bytes may be those of `safetensors`: the length of a header, then the header, which is JSON.
fn may_be_ours(head: &[u8], size: u64) -> bool {
    let length = head.first_chunk::<8>().map(|l| u64::from_le_bytes(*l));
    length.is_some_and(|l| l <= size) && head.get(8) == Some(&b'{')
}

/// The header of a `safetensors` file.
fn header(bytes: &[u8]) -> Option<Value> {
    if !may_be_ours(bytes, bytes.len() as u64) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk::<8>()?)).ok()?;
    serde_json::from_slice(bytes.get(8..8usize.checked_add(length)?)?).ok()
}

/// What only the authors know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CardWords {
    /// What it is called.
    pub title: Option<String>,
    /// What it is, in a sentence or some.
    pub summary: Option<String>,
    /// Who made it, each as `Family, Given`.
    pub authors: Vec<String>,
    /// Under which licence others may use it, by its SPDX name.
    pub licence: Option<String>,
    /// Where the cells are from: studies, accessions, what was left out.
    pub data: Option<String>,
    /// Of which organism they are.
    pub organism: Option<String>,
    /// Of which tissues.
    pub tissues: Vec<String>,
    /// What was measured, by name.
    #[serde(deserialize_with = "measured")]
    pub metrics: Vec<(String, String)>,
    /// How it is to be cited.
    pub cite: Option<String>,
    /// DOIs of the works that it belongs to.
    pub related: Vec<String>,
    /// Of an adaptor: the address of the reference that it belongs to.
    pub reference: Option<String>,
}

/// What was measured; values may be numbers.
fn measured<'d, D: Deserializer<'d>>(given: D) -> Result<Vec<(String, String)>, D::Error> {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let given = Vec::<(String, Value)>::deserialize(given)?;
    Ok(given.into_iter().map(|(what, value)| (what, text(value))).collect())
}

/// What shared files are.
#[derive(Clone, Debug)]
pub struct Card {
    /// What the authors say.
    pub words: CardWords,
    files: Vec<Facts>,
}

/// What a file says of itself.
#[derive(Clone, Debug)]
struct Facts {
    name: String,
    is_model: bool,
    /// The base model's name.
    model: String,
    summary: String,
    /// Points of the section on what it is.
    points: Vec<String>,
    /// Points of the section on how it came about.
    training: Vec<String>,
    /// Points of the section on what can be learned of the cells.
    learned: Vec<String>,
    cites: Vec<String>,
    conditions: Vec<String>,
    /// A column of labels that its cells bring.
    annotates: Option<String>,
    predicts: bool,
    proteins: bool,
}

/// Names shown of an axis, before the rest is counted.
const SHOWN: usize = 40;
const SHOWN_GENES: usize = 5;

impl Card {
    /// A card of a model, under the name that its file is to have.
    pub fn of_model(name: &str, model: &Model, words: CardWords) -> Card {
        Card { words, files: vec![model_facts(name, model)] }
    }

    /// A card of an adaptor.
    pub fn of_adaptor(name: &str, adaptor: &Adaptor, words: CardWords) -> Card {
        Card { words, files: vec![adaptor_facts(name, adaptor)] }
    }

    /// A card of the models and adaptors among files that are shared together, each under the name that it is to have; none
    /// where there are none.
    ///
    /// # Errors
    /// Of [`Contents::read`].
    pub fn of_files(files: &[(String, PathBuf)], words: CardWords) -> Result<Option<Card>, HubError> {
        let mut facts = Vec::new();
        for (name, path) in files {
            match Contents::read(path)? {
                Contents::Model(model) => facts.push(model_facts(name, &model)),
                Contents::Adaptor(adaptor) => facts.push(adaptor_facts(name, &adaptor)),
                Contents::Other => {}
            }
        }
        Ok((!facts.is_empty()).then_some(Card { words, files: facts }))
    }

    /// What it is called.
    pub fn title(&self) -> String {
        if let Some(title) = self.words.title.as_deref().filter(|t| !t.trim().is_empty()) {
            return title.trim().to_owned();
        }
        match self.files.first() {
            Some(f) if f.is_model => format!("Reference of single-cell data ({})", f.model),
            Some(f) => format!("Adaptor of a reference ({}): {}", f.model, f.conditions.join(", ")),
            None => "Files of scgraft".to_owned(),
        }
    }

    /// The card in Markdown; `address` is where it will lie. Hugging Face reads lines before it.
    pub fn markdown(&self, address: &Address) -> String {
        let mut out = match address {
            Address::HuggingFace { .. } => self.yaml(),
            _ => String::new(),
        };
        for block in self.blocks(address) {
            match block {
                Block::Title(text) => _ = write!(out, "# {}\n\n", markdown(&line(&text))),
                Block::Heading(text) => _ = write!(out, "## {}\n\n", markdown(&line(&text))),
                Block::Text(text) => _ = write!(out, "{}\n\n", markdown(&text)),
                Block::List(points) => {
                    points.iter().for_each(|p| _ = writeln!(out, "- {}", markdown(&line(p))));
                    out.push('\n');
                }
                Block::Code(text) => _ = write!(out, "```sh\n{text}\n```\n\n"),
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn yaml(&self) -> String {
        let mut out = String::from("---\n");
        if let Some(licence) = &self.words.licence {
            _ = writeln!(out, "license: {}", quoted(&licence.to_lowercase()));
        }
        out.push_str("library_name: scgraft\ntags:\n");
        self.tags().iter().for_each(|tag| _ = writeln!(out, "- {}", quoted(tag)));
        let base = self.words.reference.as_deref().map(Address::parse);
        if let Some(Ok(Some(Address::HuggingFace { repository, .. }))) = base {
            _ = write!(out, "base_model: {}\nbase_model_relation: adapter\n", quoted(&repository));
        }
        out.push_str("---\n\n");
        out
    }

    /// The card in the HTML that Zenodo shows, without its title.
    pub fn html(&self, address: &Address) -> String {
        let mut out = String::new();
        for block in self.blocks(address) {
            match block {
                Block::Title(_) => {}
                Block::Heading(text) => _ = writeln!(out, "<h2>{}</h2>", html(&text)),
                Block::Text(text) => _ = writeln!(out, "<p>{}</p>", html(&text)),
                Block::List(points) => {
                    out.push_str("<ul>\n");
                    points.iter().for_each(|p| _ = writeln!(out, "<li>{}</li>", html(p)));
                    out.push_str("</ul>\n");
                }
                Block::Code(text) => _ = writeln!(out, "<pre><code>{}</code></pre>", escaped(&text)),
            }
        }
        out
    }

    /// Words by which it is found.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = ["scgraft", "single-cell", "biology", "genomics"].map(str::to_owned).into();
        for file in &self.files {
            tags.push(format!("model_cls_name:{}", file.model));
        }
        tags.push("modality:rna".to_owned());
        if self.files.iter().any(|f| f.proteins) {
            tags.push("modality:prot".to_owned());
        }
        tags.extend(self.words.organism.iter().map(|o| format!("organism:{}", o.to_lowercase())));
        tags.extend(self.words.tissues.iter().map(|t| format!("tissue:{}", t.to_lowercase())));
        if self.files.iter().any(|f| f.predicts) {
            tags.push("annotated:True".to_owned());
        }
        each_once(tags)
    }

    /// DOIs of the methods.
    #[cfg(feature = "net")]
    pub(crate) fn cited_dois(&self) -> Vec<String> {
        let cites = self.files.iter().flat_map(|f| &f.cites);
        each_once(cites.filter_map(|cite| Some(cite.rsplit_once("doi:")?.1.trim().to_owned())))
    }

    fn blocks(&self, address: &Address) -> Vec<Block> {
        let words = &self.words;
        let mut out = vec![Block::Title(self.title())];
        out.extend(words.summary.clone().map(Block::Text));
        for file in &self.files {
            if words.summary.is_none() && self.files.len() == 1 {
                out.push(Block::Text(file.summary.clone()));
            }
            out.push(Block::Heading(format!("What `{}` is", file.name)));
            out.push(Block::List(file.points.clone()));
        }
        let mut data: Vec<String> = words.data.iter().cloned().collect();
        data.extend(words.organism.iter().map(|o| format!("Organism: {o}")));
        if !words.tissues.is_empty() {
            data.push(format!("Tissues: {}", words.tissues.join(", ")));
        }
        if !data.is_empty() {
            out.push(Block::Heading("The cells".to_owned()));
            out.push(Block::List(data));
        }
        let training: Vec<String> = self.files.iter().flat_map(|f| f.training.iter().cloned()).collect();
        if !training.is_empty() {
            out.push(Block::Heading("How it came about".to_owned()));
            out.push(Block::List(training));
        }
        out.push(Block::Heading("What was measured".to_owned()));
        if words.metrics.is_empty() {
            out.push(Block::Text("Its authors give no measurements with it.".to_owned()));
        } else {
            out.push(Block::List(words.metrics.iter().map(|(name, value)| format!("{name}: {value}")).collect()));
        }
        out.push(Block::Heading("What can be learned about the cells".to_owned()));
        out.push(Block::List(self.files.iter().flat_map(|f| f.learned.iter().cloned()).collect()));
        out.push(Block::Heading("How to use it".to_owned()));
        let commands: Vec<String> = self.files.first().map_or_else(Vec::new, |f| self.commands(f, address));
        out.push(Block::Code(commands.join("\n")));
        out.push(Block::Heading("Licence".to_owned()));
        out.push(Block::Text(match &words.licence {
            Some(licence) => licence.clone(),
            None => "None was given; ask the authors before you use it.".to_owned(),
        }));
        out.push(Block::Heading("How to cite".to_owned()));
        if !words.authors.is_empty() {
            out.push(Block::Text(format!(
                "By {}.",
                words.authors.iter().map(|a| line(a)).collect::<Vec<_>>().join("; ")
            )));
        }
        let cites = words.cite.iter().chain(self.files.iter().flat_map(|f| &f.cites));
        out.push(Block::List(each_once(cites.cloned())));
        out
    }

    /// Three commands to begin with.
    fn commands(&self, file: &Facts, address: &Address) -> Vec<String> {
        let own = shell(&address.with_file(&file.name).to_string());
        let here = shell(&file.name);
        if !file.is_model {
            let reference = self.words.reference.as_deref().map_or_else(|| "REFERENCE".to_owned(), shell);
            return vec![
                format!("scgraft pull {own} -o {here}"),
                format!("scgraft inspect {here}"),
                format!("scgraft map {reference} cells.h5ad --attach {here} -o mapped.h5ad"),
            ];
        }
        let mut out = vec![
            format!("scgraft pull {own} -o {here}"),
            format!(
                "scgraft map {here} query.h5ad --condition-name my_study -o mapped.h5ad --save-model mapped.scgraft"
            ),
        ];
        out.push(if let Some(column) = &file.annotates {
            format!("scgraft annotate {here} mapped.h5ad --labels {}", shell(column))
        } else if file.predicts {
            "scgraft predict mapped.scgraft query.h5ad --condition-name my_study -o labelled.h5ad".to_owned()
        } else {
            "scgraft cluster mapped.h5ad".to_owned()
        });
        out
    }
}

/// The first column of labels that a model's cells bring, besides their conditions.
fn brought(model: &Model) -> Option<String> {
    let conditions = model.provenance.get("condition_columns").and_then(Value::as_array);
    let condition = |name: &str| conditions.is_some_and(|c| c.iter().any(|c| c.as_str() == Some(name)));
    let columns = model.cells.iter().flat_map(|c| &c.obs.columns);
    let mut labels = columns.filter(|(n, c)| !condition(n) && matches!(c, Column::Categorical { .. }));
    labels.next().map(|(name, _)| name.clone())
}

/// A piece of a card. Names in it stand between backticks.
enum Block {
    Title(String),
    Heading(String),
    Text(String),
    List(Vec<String>),
    Code(String),
}

fn model_facts(name: &str, model: &Model) -> Facts {
    let (h, entry) = (&model.header, model.entry);
    let said = |key: &str| model.provenance.get(key);
    let column = |key: &str| match said(key) {
        Some(Value::String(one)) => format!(" (column `{one}`)"),
        Some(Value::Array(all)) => {
            let names: Vec<String> = all.iter().filter_map(|v| v.as_str()).map(|n| format!("`{n}`")).collect();
            if names.is_empty() { String::new() } else { format!(" (column {})", names.join(", ")) }
        }
        _ => String::new(),
    };
    let n_reference = h.n_reference_conditions();
    let mut points = vec![
        format!("Model: `{}`, {}", entry.name, entry.summary),
        format!("To be used when {}", entry.when),
        format!("Gives {}", entry.gives),
        format!("Genes: {}", of(&h.genes, SHOWN_GENES)),
        format!(
            "It reads {}; genes that a query lacks are filled in",
            match model.values() {
                Kind::LogNormalised => "log-normalised values",
                _ => "raw counts",
            }
        ),
        format!("Conditions{}: {}", column("condition_columns"), of(&h.conditions[..n_reference], SHOWN)),
    ];
    match h.n_programs() {
        0 => points.push(format!("Latent dimensions: {}", model.n_latent())),
        n => {
            let names: Vec<String> = h.programs().map(|(_, p)| p.name.clone()).collect();
            let free: usize =
                h.segments.iter().filter(|s| s.membership == Membership::Free).map(|s| s.programs.len()).sum();
            let free = if free > 0 { format!(", {free} of them learned without a gene set") } else { String::new() };
            let more = if names.len() > 10 { ", …" } else { "" };
            let first = names[..names.len().min(10)].join(", ");
            points.push(format!("Latent dimensions: {n} gene programs{free} ({first}{more})"));
        }
    }
    for (what, names) in [("Labels", &h.labels), ("Proteins", &h.proteins), ("Continuous covariates", &h.continuous)] {
        if !names.is_empty() {
            let column = if what == "Labels" { column("label_column") } else { String::new() };
            points.push(format!("{what}{column}: {}", of(names, SHOWN)));
        }
    }
    for (covariate, levels) in &h.covariates {
        points.push(format!("Covariate `{covariate}`: {}", of(levels, SHOWN)));
    }
    for graft in &h.grafts {
        points.push(format!("Graft `{}`: conditions {}", graft.name, of(&graft.conditions, SHOWN)));
    }
    points.push(format!("Reference: `{}`; adaptors made on it carry this number", model.reference_hash()));

    let mut training = Vec::new();
    if let (Some(package), Some(class)) = (text(said("package")), text(said("package_class"))) {
        let version = text(said("package_version")).map_or_else(String::new, |v| format!(" {v}"));
        training.push(format!("Trained by {package}{version} as {class}, and read from its files"));
    }
    if let Some(cells) = said("cells").and_then(Value::as_u64) {
        training.push(format!("Trained on {cells} cells, values of `{}`", text(said("values")).unwrap_or("X")));
    }
    training.extend(history(model));
    if let Some(sets) = said("programs").and_then(Value::as_array).filter(|s| !s.is_empty()) {
        let sets: Vec<&str> = sets.iter().filter_map(Value::as_str).collect();
        training.push(format!("Gene sets: {}", sets.join(", ")));
    }
    if let Some(version) = text(said("scgraft")) {
        training.push(format!("Written by scgraft {version}"));
    }
    training.push(format!("Settings: `{}`", settings::shown(&model.network.config())));

    let mut learned = vec![format!(
        "`{name}` holds {} weights and the names above; no cell's counts are in it. Weights are averages over the cells \
         that it was trained on, the names of conditions and labels are theirs",
        model.params.n_values()
    )];
    if !h.cells.is_empty() {
        learned.push(format!(
            "**It has a vector for each of {} cells, with the cells' names**: whoever has it knows where every one of them \
             lies",
            h.cells.len()
        ));
    }
    if let Some(cells) = &model.cells {
        let columns: Vec<String> = cells.obs.names().iter().map(|n| format!("`{n}`")).collect();
        learned.push(format!(
            "**It brings where {} cells lie in the latent space**, with their columns {}, and no names: whoever has it can \
             decode from there what the model says that each of them expresses, without what is the cell's alone",
            cells.n_cells(),
            columns.join(", ")
        ));
    }
    if !model.provenance.is_empty() {
        let keys: Vec<String> = model.provenance.keys().map(|k| format!("`{k}`")).collect();
        learned.push(format!("Notes on how it came about: {}", keys.join(", ")));
    }
    Facts {
        name: name.to_owned(),
        is_model: true,
        model: entry.name.to_owned(),
        summary: format!("A reference to map single-cell data onto: {}.", entry.summary),
        points,
        training,
        learned,
        cites: entry.cite.iter().map(|c| (*c).to_owned()).collect(),
        conditions: h.conditions.clone(),
        annotates: brought(model),
        predicts: !h.labels.is_empty() && model.entry.name == "scanvi",
        proteins: !h.proteins.is_empty(),
    }
}

fn adaptor_facts(name: &str, adaptor: &Adaptor) -> Facts {
    let origin = &adaptor.origin;
    let values: usize = adaptor.tensors.values().map(Vec::len).sum();
    let programs: Vec<String> = adaptor.segments.iter().flat_map(|s| &s.programs).map(|p| p.name.clone()).collect();
    let mut points = vec![
        format!("An adaptor named `{}`, of a reference of the model `{}`", origin.name, adaptor.model),
        format!("Reference: `{}`; it works on this one and on no other", adaptor.reference),
        format!("Conditions: {}", of(&origin.conditions, SHOWN)),
    ];
    if !programs.is_empty() {
        points.push(format!("New gene programs: {}", of(&programs, SHOWN)));
    }
    if !origin.onto.is_empty() {
        points.push(format!("It needs the adaptors {} beside it", of(&origin.onto, SHOWN)));
    }
    let mut learned = vec![format!(
        "`{name}` holds {values} weights, the differences of its conditions from the reference's, and the names above; no \
         cell's counts are in it"
    )];
    if !origin.cells.is_empty() {
        let n = origin.cells.len();
        learned.push(format!("**It has a vector for each of {n} cells, with the cells' names**"));
    }
    let entry = scgraft_models::find(&adaptor.model).ok();
    Facts {
        name: name.to_owned(),
        is_model: false,
        model: adaptor.model.clone(),
        summary: format!("What a reference ({}) learned of new conditions, to be attached to it.", adaptor.model),
        points,
        training: Vec::new(),
        learned,
        cites: entry.map_or_else(Vec::new, |e| e.cite.iter().map(|c| (*c).to_owned()).collect()),
        conditions: origin.conditions.clone(),
        annotates: None,
        predicts: false,
        proteins: false,
    }
}

/// How a training went, in a sentence.
fn history(model: &Model) -> Option<String> {
    let last = model.history.last()?;
    let kept = model.kept_epoch().and_then(|epoch| model.history.get(epoch));
    let kept = kept.map_or_else(String::new, |r| {
        let loss = r.validation_loss.map(|l| format!(", validation loss {l:.2}")).unwrap_or_default();
        format!("; state of epoch {}{loss}", r.epoch + 1)
    });
    Some(format!("{} epochs{kept}; learning rate {:.1e} at the end", model.history.len(), last.learning_rate))
}

/// The first names of some, and how many there are.
fn of(names: &[String], most: usize) -> String {
    match names.len() {
        n if n <= most => names.join(", "),
        n => format!("{n} ({}, …)", names[..most].join(", ")),
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// Text in which Markdown changes nothing but what stands between backticks and double stars.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut code = false;
    for c in text.chars() {
        match c {
            '`' => code = !code,
            '[' | ']' | '\\' if !code => out.push('\\'),
            '<' if !code => {
                out.push_str("&lt;");
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    if code {
        out.push('`');
    }
    out
}

/// Text on one line, as names of genes, conditions and authors have to be.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same as HTML.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut code, mut strong) = (false, false);
    let text = escaped(text);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' => {
                out.push_str(if code { "</code>" } else { "<code>" });
                code = !code;
            }
            '*' if !code && chars.peek() == Some(&'*') => {
                chars.next();
                out.push_str(if strong { "</strong>" } else { "<strong>" });
                strong = !strong;
            }
            c => out.push(c),
        }
    }
    if code {
        out.push_str("</code>");
    }
    if strong {
        out.push_str("</strong>");
    }
    out
}

/// Text that HTML changes nothing of.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A text of YAML: as JSON writes it, which YAML reads.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A word of a command line.
fn shell(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
