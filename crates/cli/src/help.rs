//! Help that fits the terminal: prose is wrapped once, at its width; examples break where a shell lets them.

use clap::{Command, builder::StyledStr};

/// The widest a line of help gets.
const WIDEST: usize = 120;
/// The narrowest terminal that lines are cut for.
const NARROWEST: usize = 40;

/// The command with help of the width of the terminal (of `COLUMNS` where there is none).
pub(crate) fn fitted(command: Command) -> Command {
    let of_environment = || std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = terminal.or_else(of_environment).unwrap_or(100);
    of_width(command, width.clamp(NARROWEST, WIDEST))
}

fn of_width(command: Command, width: usize) -> Command {
    let after = command.get_after_help().map(|text| wrapped(&text.to_string(), width));
    // A number below 0 is a value that is out of range, not an option of a strange name.
    let command = command.allow_negative_numbers(true).term_width(width).mut_subcommands(|c| of_width(c, width));
    match after {
        Some(text) => command.after_help(StyledStr::from(text)),
        None => command,
    }
}

/// A text of paragraphs and indented commands, in which `\` at the end of a line goes on in the next, for a width.
fn wrapped(text: &str, width: usize) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut whole = line.trim_end().to_owned();
        if line.starts_with(' ') {
            while let Some(before) = whole.strip_suffix('\\') {
                let next = lines.next().unwrap_or_default();
                whole = format!("{} {}", before.trim_end(), next.trim());
            }
            broken(&with_values(pieces(&whole)), ("  ", "      ", " \\"), width, &mut out);
        } else if whole.is_empty() {
            out.push(whole);
        } else {
            while let Some(next) = lines.next_if(|next| !next.trim().is_empty() && !next.starts_with(' ')) {
                whole = format!("{whole} {}", next.trim());
            }
            let words: Vec<String> = whole.split(' ').map(str::to_owned).collect();
            broken(&words, ("", "", ""), width, &mut out);
        }
    }
    out.join("\n")
}

/// The words of a command, quoted ones whole.
fn pieces(command: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open = false;
    for word in command.split_whitespace() {
        match out.last_mut().filter(|_| open) {
            Some(last) => *last = format!("{last} {word}"),
            None => out.push(word.to_owned()),
        }
        open ^= word.matches(['\'', '"']).count() % 2 == 1;
    }
    out
}

/// The same with what follows an option beside it.
fn with_values(pieces: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for piece in pieces {
        match out.last_mut().filter(|last| last.starts_with('-') && !last.contains(' ') && !piece.starts_with('-')) {
            Some(option) => *option = format!("{option} {piece}"),
            None => out.push(piece),
        }
    }
    out
}

/// Lines of at most `width` characters: what the first begins with, the others, and what a line that goes on ends with.
pub(crate) fn broken(words: &[String], (first, rest, end): (&str, &str, &str), width: usize, out: &mut Vec<String>) {
    let mut line = first.to_owned();
    let mut empty = true;
    for (i, word) in words.iter().enumerate() {
        let after = if i + 1 < words.len() { end.chars().count() } else { 0 };
        let gap = usize::from(!empty);
        if !empty && line.chars().count() + gap + word.chars().count() + after > width {
            out.push(line + end);
            (line, empty) = (rest.to_owned(), true);
        }
        line.push_str(if empty { "" } else { " " });
        line.push_str(word);
        empty = false;
    }
    out.push(line);
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Cli;

    /// Every command that takes no further one, with the words that lead to it.
    fn leaves(command: &Command, path: &[String], out: &mut Vec<(Vec<String>, Command)>) {
        let path = [path, &[command.get_name().to_owned()]].concat();
        match command.has_subcommands() {
            true => command.get_subcommands().for_each(|c| leaves(c, &path, out)),
            false => out.push((path, command.clone())),
        }
    }

    #[test]
    fn help_fits_every_width() {
        for width in [60, 80, 100, 120] {
            let mut command = of_width(Cli::command(), width);
            command.build();
            let mut all = vec![(vec![], command.clone())];
            leaves(&command, &[], &mut all);
            for (path, mut command) in all {
                let help = command.render_long_help().to_string();
                // A single word may be longer, and so may what clap writes of an option's values.
                let long = help.lines().filter(|l| l.chars().count() > width && l.trim().contains(' '));
                let long: Vec<&str> = long.filter(|l| !l.contains("Usage") && !l.contains("[aliases")).collect();
                assert!(long.is_empty(), "{path:?} at {width}: {long:#?}");
            }
        }
    }

    #[test]
    fn every_example_is_a_command() {
        let command = Cli::command();
        let mut all = vec![(vec![], command.clone())];
        leaves(&command, &[], &mut all);
        all.extend(command.get_subcommands().filter(|c| c.has_subcommands()).map(|c| (vec![], c.clone())));
        let mut seen = 0;
        for (path, command) in all {
            let Some(text) = command.get_after_help() else { continue };
            for line in wrapped(&text.to_string(), 10_000).lines().filter(|l| l.starts_with("  scgraft ")) {
                if let Err(error) = Cli::try_parse_from(crate::documented::words(line)) {
                    panic!("{path:?}: {line}: {error}");
                }
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn prose_is_wrapped_once_and_commands_go_on() {
        let text = "One two three\nfour five.\n\nExamples:\n  scgraft a --b 'c d' \\\n      --e f";
        let narrow =
            "One two\nthree four\nfive.\n\nExamples:\n  scgraft \\\n      a \\\n      --b 'c d' \\\n      --e f";
        assert_eq!(wrapped(text, 11), narrow);
        assert_eq!(wrapped(text, 80), "One two three four five.\n\nExamples:\n  scgraft a --b 'c d' --e f");
    }
}
