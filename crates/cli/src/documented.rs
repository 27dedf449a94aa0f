//! Every command in the documents is one that the program takes.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use super::Cli;

/// Words of a line as a shell splits it, up to a comment, a pipe or a redirection.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '>') => {
                word = word.filter(|w| w != "2");
                break;
            }
            (None, '|') => break,
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// The command of a line, as it would be typed.
fn command(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = ["$ ", "!"].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
    let line = line.strip_prefix("cargo run --release --").map_or(line, |rest| rest.trim_start());
    let sub = |rest: &str| Cli::command().find_subcommand(rest.split_whitespace().next().unwrap_or_default()).is_some();
    match line.strip_prefix("scgraft ") {
        Some(rest) => Some(rest),
        None => (sub(line) && line.starts_with("demo")).then_some(line),
    }
}

/// Commands with their lines.
type Lines = Vec<(usize, String)>;

/// Commands in blocks of code, and what stands in backticks elsewhere, with their lines.
fn commands(text: &str) -> (Lines, Lines) {
    let (mut blocks, mut inline) = (Vec::new(), Vec::new());
    let mut fenced = false;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            inline.extend(line.split('`').skip(1).step_by(2).filter_map(command).map(|c| (at + 1, c.to_owned())));
        } else if let Some(found) = command(line) {
            let mut whole = found.to_owned();
            while let Some(begun) = whole.strip_suffix('\\') {
                let more = lines.next().map_or("", |(_, l)| l.trim());
                whole = format!("{} {more}", begun.trim_end());
            }
            blocks.push((at + 1, whole));
        }
    }
    (blocks, inline)
}

/// Why a whole command is not taken.
fn refused(line: &str) -> Option<String> {
    let words = words(line);
    Cli::try_parse_from(["scgraft".to_owned()].into_iter().chain(words)).err().and_then(|e| {
        let asked = matches!(e.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
        (!asked).then(|| e.to_string().lines().next().unwrap_or_default().to_owned())
    })
}

/// Why a part of a command is not taken: it names a subcommand or an option that is not there.
fn unknown(part: &str) -> Option<String> {
    let cli = Cli::command();
    let words = words(part);
    let name = words.first()?;
    if name == "help" || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let Some(mut sub) = cli.find_subcommand(name) else { return Some(format!("no subcommand {name}")) };
    if let Some(below) = words.get(1).and_then(|w| sub.find_subcommand(w)) {
        sub = below;
    }
    let known: Vec<&str> = [&cli, sub]
        .iter()
        .flat_map(|c| c.get_arguments())
        .flat_map(|a| a.get_long_and_visible_aliases().unwrap_or_default())
        .collect();
    let strange = words.iter().filter_map(|w| w.strip_prefix("--")).map(|w| w.split('=').next().unwrap_or(w));
    strange.filter(|w| !w.is_empty() && *w != "help" && !known.contains(w)).map(|w| format!("no option --{w}")).next()
}

/// Every document below a folder.
fn documents(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, out);
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
}

#[test]
fn every_command_in_the_documents_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut files = vec![root.join("README.md"), root.join("python/README.md"), root.join("CONTRIBUTING.md")];
    documents(&root.join("docs"), &mut files);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (blocks, inline) = commands(&text);
        seen += blocks.len() + inline.len();
        let blocks = blocks.iter().filter_map(|(at, c)| Some((at, c, refused(c)?)));
        let inline = inline.iter().filter_map(|(at, c)| Some((at, c, unknown(c)?)));
        wrong.extend(blocks.chain(inline).map(|(at, c, why)| format!("{}:{at}: scgraft {c}: {why}", file.display())));
    }
    assert!(seen > 60, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_audit_has_all_its_rows_and_their_commands() {
    let audit = include_str!("../../../docs/audit.md");
    let numbers: Vec<usize> =
        audit.lines().filter_map(|l| l.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(numbers, (1..=150).collect::<Vec<_>>());
    let mut n = 0;
    for part in audit.split('`').skip(1).step_by(2).filter_map(command) {
        assert_eq!(refused(part), None, "{part}");
        n += 1;
    }
    assert!(n > 80, "{n}");
}

#[test]
fn wrong_commands_are_found() {
    let (blocks, inline) =
        commands("```sh\nscgraft map a.scgraft b.h5ad \\\n   --nonsense -o 'c d' # so\n```\n`scgraft map --sense`");
    assert_eq!(words(&blocks[0].1), ["map", "a.scgraft", "b.h5ad", "--nonsense", "-o", "c d"]);
    assert!(refused(&blocks[0].1).is_some() && unknown(&inline[0].1).is_some());
    assert!(refused("map a.scgraft b.h5ad -o c.h5ad").is_none() && unknown("map --attach").is_none());
    assert!(unknown("sing").is_some());
}
