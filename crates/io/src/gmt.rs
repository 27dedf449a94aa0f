//! GMT: gene sets, one a line, fields separated by tabs.
//!
//! The first field is the name; the second is a description, often an address, which some files
//! leave out; the rest are genes
//! (<https://software.broadinstitute.org/cancer/software/gsea/wiki/index.php/Data_formats>).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use scgraft_cells::{GeneSet, each_once, shortened};

use crate::atomic::file_name;
use crate::error::{Error, Result};
use crate::gzip::lines;
use crate::input::Input;
use crate::sets::{Form, Lines, other_form};

/// Reads gene sets from one or several files, packed with gzip or not, in the order of the files and lines.
///
/// Files are GMT, or what their content says: GMX (columns are sets), GRP (one gene a line), XML and JSON of MSigDB, a
/// table of genes × sets of 0 and 1, or a long table of set and gene. Weights after a comma (Enrichr) are not used.
///
/// Names are kept whole. Genes are kept as written, without the spaces around them; a gene that occurs
/// twice in a set is kept once, and blank fields and lines are skipped. Sets whose name occurs in several files get the
/// name of their file in front, `hallmark:APOPTOSIS`; in one file, the second of a name is numbered, `APOPTOSIS (2)`, with a
/// warning: published files have such.
///
/// # Errors
/// When a file cannot be read or is no text; a line without genes; a set without a name; no set in a file.
///
/// # Example
/// ```no_run
/// let sets = scgraft_io::read_gmt(&["reactome.gmt", "hallmark.gmt.gz"])?;
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn read_gmt<I: Clone + Into<Input>>(from: &[I]) -> Result<Vec<GeneSet>> {
    let mut sets: Vec<(usize, GeneSet)> = Vec::new();
    let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
    let inputs: Vec<Input> = from.iter().cloned().map(Into::into).collect();
    for (file, input) in inputs.iter().enumerate() {
        for set in read_one(input)? {
            if !seen.insert(set.name.clone()) {
                shared.insert(set.name.clone());
            }
            sets.push((file, set));
        }
    }
    for (file, set) in &mut sets {
        if shared.contains(&set.name) {
            set.name = format!("{}:{}", stem(inputs[*file].name()), set.name);
        }
    }
    Ok(sets.into_iter().map(|(_, set)| set).collect())
}

/// The name of a file without folders, `.gz` and the ending.
fn stem(path: &Path) -> String {
    let name = file_name(path);
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let endings = [".gmt", ".gmx", ".grp", ".json", ".xml", ".tsv", ".csv", ".txt"];
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name).to_owned()
}

/// The gene of `GENE,1.5`, as Enrichr writes weighted sets.
fn without_weight(field: &str) -> Option<&str> {
    let (gene, weight) = field.rsplit_once(',')?;
    (!gene.is_empty() && weight.parse::<f64>().is_ok()).then(|| gene.trim_end())
}

fn read_one(input: &Input) -> Result<Vec<GeneSet>> {
    let path = input.name();
    let mut text: Lines = Vec::new();
    lines(input, |number, line| {
        text.push((number, line.to_owned()));
        Ok(true)
    })?;
    let mut rows = match other_form(path, &stem(path), &text)? {
        Some(Form::Sets(sets)) => return Ok(distinct(path, sets)),
        Some(Form::Fields(rows)) => rows,
        None => {
            let full = text.iter().filter(|(_, line)| !line.trim().is_empty());
            full.map(|(number, line)| (*number, line.split('\t').map(|field| field.trim().to_owned()).collect()))
                .collect()
        }
    };
    drop(text);
    let mut weighted = 0;
    for field in rows.iter_mut().flat_map(|(_, fields)| fields.iter_mut().skip(1)) {
        if let Some(gene) = without_weight(field) {
            *field = gene.to_owned();
            weighted += 1;
        }
    }
    if weighted > 0 {
        tracing::info!("{}: {weighted} genes have a weight, which is not used", path.display());
    }
    let described = has_descriptions(&rows);
    if rows.is_empty() {
        return Err(Error::Format {
            path: path.to_owned(),
            expected: "a GMT file (one gene set a line)",
            found: "no line with text".to_owned(),
        });
    }
    let sets: Result<Vec<GeneSet>> =
        rows.into_iter().map(|(number, fields)| gene_set(path, number, fields, described)).collect();
    sets.map(|sets| distinct(path, sets))
}

/// Leaves each gene of a set once, and numbers the second and later sets of one name.
fn distinct(path: &Path, mut sets: Vec<GeneSet>) -> Vec<GeneSet> {
    sets.iter_mut().for_each(|set| set.genes = each_once(std::mem::take(&mut set.genes)));
    let mut taken: HashSet<String> = sets.iter().map(|set| set.name.clone()).collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut given = Vec::new();
    for set in &mut sets {
        let n = seen.entry(set.name.clone()).or_default();
        *n += 1;
        if *n == 1 {
            continue;
        }
        while taken.contains(&format!("{} ({n})", set.name)) {
            *n += 1;
        }
        set.name = format!("{} ({n})", set.name);
        taken.insert(set.name.clone());
        given.push(set.name.clone());
    }
    if !given.is_empty() {
        let (file, n) = (path.display(), given.len());
        tracing::warn!("{file}: {n} gene sets have the name of another and are numbered: {}", shortened(&given, n));
    }
    sets
}

fn gene_set(path: &Path, line: usize, fields: Vec<String>, described: bool) -> Result<GeneSet> {
    let bad = |expected: &str, found: String| Error::Line {
        path: path.to_owned(),
        line,
        expected: expected.to_owned(),
        found,
    };
    let mut fields = fields.into_iter();
    let name = fields.next().unwrap_or_default();
    if name.is_empty() {
        return Err(bad("the name of a gene set", "an empty first field".to_owned()));
    }
    let description = if described { fields.next().filter(|d| !d.is_empty()) } else { None };
    let genes: Vec<String> = fields.filter(|g| !g.is_empty()).collect();
    if genes.is_empty() {
        let shown: String = name.chars().take(60).collect();
        let (expected, found) = match name.contains([',', ';']) {
            true => (
                "a table with columns of sets and genes (`set`, `gene`), one of genes × sets of 0 and 1, or lines of GMT",
                format!("`{shown}`"),
            ),
            false => ("tabs between a name, perhaps a description, and genes", format!("no gene after `{shown}`")),
        };
        return Err(bad(expected, found));
    }
    Ok(GeneSet { name, description, genes })
}

fn has_descriptions(rows: &[(usize, Vec<String>)]) -> bool {
    const MANY: usize = 20;
    let seconds: Vec<(&str, &str)> =
        rows.iter().filter(|(_, f)| f.len() > 1).map(|(_, f)| (f[0].as_str(), f[1].as_str())).collect();
    let mut lines_with: HashMap<&str, usize> = HashMap::new();
    for (_, second) in &seconds {
        *lines_with.entry(second).or_default() += 1;
    }
    let telling = |&&(name, second): &&(&str, &str)| {
        second.is_empty()
            || second.contains([' ', ':', '/'])
            || second == name
            || second.eq_ignore_ascii_case("na")
            || (lines_with[second] > 1 && lines_with[second] > seconds.len() / 2)
    };
    if seconds.iter().filter(telling).count() * 2 > seconds.len() {
        return true;
    }
    let genes: HashSet<&str> = rows.iter().flat_map(|(_, fields)| fields.iter().skip(2)).map(String::as_str).collect();
    seconds.len() >= MANY && !genes.is_empty() && !seconds.iter().any(|(_, second)| genes.contains(second))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str) -> Result<Vec<GeneSet>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sets.gmt");
        std::fs::write(&path, text).unwrap();
        read_gmt(&[path])
    }

    #[test]
    fn an_address_in_the_second_field_is_a_description() {
        let sets = read("A\thttp://x/A\tG1\tG2\r\n\r\nB\thttp://x/B\tG2\tG2\t\r\n").unwrap();
        assert_eq!(sets.len(), 2);
        assert_eq!(sets[0].description.as_deref(), Some("http://x/A"));
        assert_eq!(sets[0].genes, ["G1", "G2"]);
        assert_eq!(sets[1].genes, ["G2"]);
    }

    #[test]
    fn genes_in_the_second_field_are_kept_as_genes() {
        let text = "A\tG1\tG2\nB\tG2\tG3\tG1\n";
        let sets = read(text).unwrap();
        assert_eq!(sets[0].genes, ["G1", "G2"]);
        assert_eq!(sets[0].description, None);
    }

    #[test]
    fn identifiers_that_are_never_genes_are_descriptions_in_a_file_of_many_sets() {
        let line = |i: usize| format!("SET{i}\tR-HSA-{i}\tG{i}\tG{}\n", i + 1);
        let few = read(&(0..3).map(line).collect::<String>()).unwrap();
        assert_eq!(few[0].genes, ["R-HSA-0", "G0", "G1"]);
        let many = read(&(0..30).map(line).collect::<String>()).unwrap();
        assert_eq!((many[0].description.as_deref(), many[0].genes.len()), (Some("R-HSA-0"), 2));
    }

    #[test]
    fn long_names_are_kept_whole() {
        let name = "REACTOME_".repeat(20);
        assert_eq!(read(&format!("{name}\tna\tG1\n")).unwrap()[0].name, name);
    }

    #[test]
    fn a_name_in_two_files_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("one.gmt"), folder.path().join("two.gmt.gz"));
        std::fs::write(&a, "S\tna\tG1\nT\tna\tG2\n").unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"S\tna\tG3\n").unwrap();
        std::fs::write(&b, packed.finish().unwrap()).unwrap();
        let sets = read_gmt(&[&a, &b]).unwrap();
        let names: Vec<&str> = sets.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["one:S", "T", "two:S"]);
    }

    #[test]
    fn a_name_twice_in_one_file_is_numbered() {
        let text = "S\tna\tG1\nS (2)\tna\tG2\nS\tna\tG3\nS\tna\tG4\n";
        let sets = read(text).unwrap();
        let names: Vec<&str> = sets.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["S", "S (2)", "S (3)", "S (4)"]);
        assert_eq!(sets[3].genes, ["G4"]);
    }

    #[test]
    fn a_line_without_genes_is_named() {
        let message = read("A\tna\tG1\nB without tabs\n").unwrap_err().to_string();
        assert!(message.contains("sets.gmt:2:") && message.contains("`B without tabs`"), "{message}");
        assert!(matches!(read("\n \n"), Err(Error::Format { .. })));
        assert!(matches!(read("A\tna\tG\u{0}1\n\tna\tG2\n"), Err(Error::Line { line: 2, .. })));
    }
}
