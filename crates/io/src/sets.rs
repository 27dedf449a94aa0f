//! Gene sets in forms other than GMT, told by what the file holds:
//!
//! - GMX: a column a set; the first line has names, the second descriptions or already genes, as in GMT;
//! - GRP: a gene a line, one set a file; with or without its name first and `>` or `#` lines;
//! - MSigDB's XML and JSON, and JSON of names with lists of genes;
//! - a table of genes × sets of 0 and 1;
//! - a long table of two columns: set and gene.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use scgraft_cells::GeneSet;
use serde_json::Value;

use crate::error::{Error, Result};

/// Lines with their numbers.
pub(crate) type Lines = Vec<(usize, String)>;

/// What a file holds.
pub(crate) enum Form {
    /// Gene sets.
    Sets(Vec<GeneSet>),
    /// Fields of sets, as GMT has them: the number of a line, a name, perhaps a description, genes.
    Fields(Vec<(usize, Vec<String>)>),
}

/// The gene sets of a file that is no GMT; `None` when it is one. Where it is said whether sets have a description (`said`),
/// only a file's name tells that it is another form.
pub(crate) fn other_form(path: &Path, stem: &str, lines: &Lines) -> Result<Option<Form>> {
    let full: Vec<&(usize, String)> = lines.iter().filter(|(_, line)| !line.trim().is_empty()).collect();
    let Some((_, first)) = full.first() else { return Ok(None) };
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_lowercase());
    let named = |ending: &str| name.strip_suffix(".gz").unwrap_or(&name).ends_with(ending);
    match first.trim_start().as_bytes().first() {
        Some(b'{' | b'[') if !first.contains('\t') => return json(path, lines).map(|sets| Some(Form::Sets(sets))),
        Some(b'<') => return xml(path, lines).map(|sets| Some(Form::Sets(sets))),
        _ => {}
    }
    let by = |separator: char| -> Vec<(usize, Vec<&str>)> {
        full.iter().map(|(n, line)| (*n, line.split(separator).map(plain).collect())).collect()
    };
    let tabs = by('\t');
    if named(".gmx") {
        return gmx(path, &tabs).map(|fields| Some(Form::Fields(fields)));
    }
    if named(".grp") || full.iter().all(|(_, line)| !line.contains(['\t', ','])) {
        if full
            .iter()
            .any(|(_, line)| line.trim().contains(char::is_whitespace) && !line.trim().starts_with(['#', '>']))
        {
            return Ok(None);
        }
        return Ok(grp(stem, &full).map(Form::Sets));
    }
    for rows in [tabs, by(',')] {
        if rows.iter().all(|(_, row)| row.len() < 2) {
            continue;
        }
        if let Some(sets) = membership(&rows) {
            return Ok(Some(Form::Sets(sets)));
        }
        if let Some(sets) = long(&rows) {
            tell_signs(path, &rows);
            return Ok(Some(Form::Sets(sets)));
        }
        if weights(&rows) {
            return Err(Error::Format { path: path.to_owned(), expected: "gene sets", found: WEIGHTS.to_owned() });
        }
        if looks_like_gmx(&rows) {
            return gmx(path, &rows).map(|fields| Some(Form::Fields(fields)));
        }
    }
    Ok(None)
}

/// A field without blanks and quotes around it.
fn plain(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|f| f.strip_suffix('"')).unwrap_or(field)
}

fn is_description(field: &str, name: &str) -> bool {
    field.is_empty() || field.eq_ignore_ascii_case("na") || field == name || field.contains([' ', ':', '/'])
}

/// Whether every second field down, not across, is a description: in GMT the second field of a line is.
fn looks_like_gmx(rows: &[(usize, Vec<&str>)]) -> bool {
    let [(_, names), (_, descriptions), rest @ ..] = rows else { return false };
    let n = names.len();
    let across = descriptions.len() > 1
        && descriptions.iter().zip(names).all(|(field, name)| is_description(field, name))
        && descriptions.iter().any(|field| !field.is_empty());
    n > 1 && !rest.is_empty() && descriptions.len() <= n && across && rest.iter().all(|(_, row)| row.len() <= n)
}

/// The columns as fields of sets.
fn gmx(path: &Path, rows: &[(usize, Vec<&str>)]) -> Result<Vec<(usize, Vec<String>)>> {
    let bad = |line: usize, expected: &str, found: String| Error::Line {
        path: path.to_owned(),
        line,
        expected: expected.to_owned(),
        found,
    };
    let [(at, names), rest @ ..] = rows else {
        return Err(bad(1, "a line of names and lines of genes (GMX)", "no line".into()));
    };
    if let Some((line, row)) = rest.iter().find(|(_, row)| row.len() > names.len()) {
        return Err(bad(*line, &format!("{} columns, as in the first line (GMX)", names.len()), row.len().to_string()));
    }
    let mut out = Vec::new();
    for (j, name) in names.iter().enumerate() {
        let below = || rest.iter().map(|(_, row)| row.get(j).copied().unwrap_or_default());
        match (name.is_empty(), below().all(str::is_empty)) {
            (true, true) => {}
            (true, false) => {
                let found = format!("none over column {}", j + 1);
                return Err(bad(*at, "the name of a gene set over each column (GMX)", found));
            }
            (false, true) => return Err(bad(*at, "genes below each name (GMX)", format!("none below `{name}`"))),
            (false, false) => out.push((*at, [*name].into_iter().chain(below()).map(str::to_owned).collect())),
        }
    }
    Ok(out)
}

fn grp(stem: &str, lines: &[&(usize, String)]) -> Option<Vec<GeneSet>> {
    let mut name = stem.to_owned();
    let mut description = None;
    let mut genes: Vec<&str> = Vec::new();
    for (i, (_, line)) in lines.iter().enumerate() {
        let line = line.trim();
        if let Some(said) = line.strip_prefix('>') {
            // MSigDB: the name before the line with an address.
            if i == 1 {
                name = genes.pop()?.to_owned();
            }
            description = Some(said.trim().to_owned());
        } else if !line.starts_with('#') {
            genes.push(plain(line));
        }
    }
    let several = genes.iter().any(|gene| *gene != genes[0]);
    several.then(|| vec![GeneSet { name, description, genes: genes.into_iter().map(str::to_owned).collect() }])
}

/// What the columns of a long table are called.
const SETS: [&str; 17] = [
    "set",
    "gene_set",
    "geneset",
    "gs_name",
    "term",
    "program",
    "pathway",
    "name",
    "source",
    "cluster",
    "signature",
    "module",
    "cell_type",
    "group",
    "celltype",
    "cell_name",
    "geneset_name",
];
const GENES: [&str; 13] = [
    "gene",
    "genes",
    "gene_symbol",
    "symbol",
    "target",
    "feature",
    "gene_name",
    "names",
    "hgnc_symbol",
    "official_gene_symbol",
    "marker",
    "cell_marker",
    "genesymbol",
];

/// A table of genes × sets.
fn membership(rows: &[(usize, Vec<&str>)]) -> Option<Vec<GeneSet>> {
    let [(_, header), rest @ ..] = rows else { return None };
    let width = rest.first()?.1.len();
    let yes = |field: &str| match field.to_lowercase().as_str() {
        "1" | "1.0" | "true" => Some(true),
        "0" | "0.0" | "false" | "" => Some(false),
        _ => None,
    };
    let is_table = width > 1
        && rest.iter().all(|(_, row)| row.len() == width && row[1..].iter().all(|f| yes(f).is_some()))
        && (header.len() == width || header.len() + 1 == width)
        && rest.iter().any(|(_, row)| row[1..].iter().any(|f| !f.is_empty()));
    if !is_table {
        return None;
    }
    let names = if header.len() == width { &header[1..] } else { header };
    // A header of 0 and 1 is no header, and a column of the numbers of sets is none of membership.
    if names.iter().all(|name| yes(name).is_some() || SETS.contains(&name.to_lowercase().as_str())) {
        return None;
    }
    let set = |(j, name): (usize, &&str)| GeneSet {
        name: (*name).to_owned(),
        description: None,
        genes: (rest.iter().filter(|(_, row)| yes(row[j + 1]) == Some(true)))
            .map(|(_, row)| row[0].to_owned())
            .collect(),
    };
    Some(names.iter().enumerate().map(set).filter(|set| !set.genes.is_empty()).collect())
}

/// A table of genes × sets with a weight where membership would be.
const WEIGHTS: &str = "a table of genes × sets with weights; say from which weight on a gene is of a set (Python: `import pandas; \
    w = pandas.read_csv(table, sep=None, engine=\"python\", index_col=0); (w.abs() > 0.1).astype(int).to_csv(new)`)";

fn weights(rows: &[(usize, Vec<&str>)]) -> bool {
    let [(_, header), rest @ ..] = rows else { return false };
    let width = rest.first().map_or(0, |(_, row)| row.len());
    let number = |field: &&str| field.parse::<f64>().is_ok();
    width > 1
        && rest.len() > 1
        && (header.len() == width || header.len() + 1 == width)
        && !header.iter().any(number)
        && rest.iter().all(|(_, row)| row.len() == width && !number(&row[0]) && row[1..].iter().all(number))
}

/// A long table of sets and genes.
fn long(rows: &[(usize, Vec<&str>)]) -> Option<Vec<GeneSet>> {
    let width = rows.first()?.1.len();
    if rows.len() < 2 || rows.iter().any(|(_, row)| row.len() != width) {
        return None;
    }
    let header = &rows[0].1;
    let place = |words: &[&str]| {
        header.iter().position(|h| words.contains(&h.to_lowercase().replace([' ', '.'], "_").as_str()))
    };
    let distinct = |j: usize, from: usize| rows[from..].iter().map(|(_, row)| row[j]).collect::<BTreeSet<_>>().len();
    let (set_at, gene_at, from) = match (place(&SETS), place(&GENES)) {
        (Some(set), Some(gene)) => (set, gene, 1),
        _ if width != 2 => return None,
        (Some(set), None) => (set, 1 - set, 1),
        (None, Some(gene)) => (1 - gene, gene, 1),
        // The column that repeats itself more.
        (None, None) if distinct(0, 0) <= distinct(1, 0) => (0, 1, 0),
        (None, None) => (1, 0, 0),
    };
    // Where no set has two genes this is something else.
    if distinct(set_at, from) == rows.len() - from {
        return None;
    }
    let (mut out, mut places) = (Vec::<GeneSet>::new(), HashMap::new());
    for (_, row) in rows[from..].iter().filter(|(_, row)| !row[set_at].is_empty() && !row[gene_at].is_empty()) {
        let place = *places.entry(row[set_at]).or_insert_with(|| {
            out.push(GeneSet { name: row[set_at].to_owned(), description: None, genes: Vec::new() });
            out.len() - 1
        });
        out[place].genes.push(row[gene_at].to_owned());
    }
    Some(out)
}

/// Says that the signs of a network are not taken over.
fn tell_signs(path: &Path, rows: &[(usize, Vec<&str>)]) {
    let Some(at) = rows[0].1.iter().position(|h| ["weight", "mor", "sign"].contains(&h.to_lowercase().as_str())) else {
        return;
    };
    let n = rows[1..].iter().filter(|(_, row)| row[at].parse().is_ok_and(|w: f64| w < 0.0)).count();
    if n > 0 {
        tracing::warn!(
            "{}: {n} of {} genes have a `{}` below 0; gene sets have no signs, and they count as the others do",
            path.display(),
            rows.len() - 1,
            rows[0].1[at]
        );
    }
}

fn json(path: &Path, lines: &Lines) -> Result<Vec<GeneSet>> {
    let text: String = lines.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
    let bad = |found: String| Error::Format {
        path: path.to_owned(),
        expected: "gene sets as JSON: MSigDB's, or names with lists of genes",
        found,
    };
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("no JSON: {e}")))?;
    let texts = |value: &Value| -> Option<Vec<String>> {
        let list = value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned));
        list.collect::<Option<Vec<_>>>().filter(|list| !list.is_empty())
    };
    let genes = |value: &Value| -> Option<Vec<String>> {
        ["geneSymbols", "genes", "gene_symbols", "members", "symbols"]
            .iter()
            .find_map(|key| value.get(key).and_then(texts))
            .or_else(|| texts(value))
    };
    let said = |value: &Value| -> Option<String> {
        let keys = ["exactSource", "description", "externalDetailsURL", "msigdbURL"];
        keys.iter().find_map(|key| value.get(key)?.as_str().filter(|s| !s.is_empty()).map(str::to_owned))
    };
    let mut out = Vec::new();
    let entries: Vec<(String, &Value)> = match &value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => {
            let name = |v: &Value| {
                ["name", "standardName", "set", "id"].iter().find_map(|k| v.get(k)?.as_str().map(str::to_owned))
            };
            list.iter().map(|v| (name(v).unwrap_or_default(), v)).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in entries {
        let Some(genes) = genes(value).filter(|_| !name.is_empty()) else {
            let shown: String = name.chars().take(60).collect();
            return Err(bad(format!("`{shown}` without a list of genes (geneSymbols)")));
        };
        out.push(GeneSet { description: said(value), name, genes });
    }
    if out.is_empty() { Err(bad("no gene set".to_owned())) } else { Ok(out) }
}

/// MSigDB's XML: an element `GENESET` a set, all of it in attributes.
fn xml(path: &Path, lines: &Lines) -> Result<Vec<GeneSet>> {
    let text: String = lines.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
    let bad = |found: String| Error::Format {
        path: path.to_owned(),
        expected: "gene sets as MSigDB's XML (elements GENESET with STANDARD_NAME and MEMBERS_SYMBOLIZED)",
        found,
    };
    let mut out = Vec::new();
    for element in text.split("<GENESET").skip(1).filter(|e| e.starts_with(char::is_whitespace)) {
        let attributes = attributes(element);
        let get = |name: &str| attributes.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let Some(name) = get("STANDARD_NAME") else { return Err(bad("a GENESET without a STANDARD_NAME".into())) };
        let Some(members) = get("MEMBERS_SYMBOLIZED").or(get("MEMBERS")) else {
            return Err(bad(format!("`{name}` without MEMBERS_SYMBOLIZED")));
        };
        let genes = members.split([',', '|']).map(str::trim).filter(|g| !g.is_empty());
        let description = get("DESCRIPTION_BRIEF").map(str::to_owned);
        out.push(GeneSet { name: name.to_owned(), description, genes: genes.map(str::to_owned).collect() });
    }
    if out.is_empty() { Err(bad("no element GENESET".to_owned())) } else { Ok(out) }
}

/// The attributes at the start of an element, up to its end.
fn attributes(element: &str) -> HashMap<&str, String> {
    let mut out = HashMap::new();
    let mut rest = element;
    loop {
        rest = rest.trim_start();
        let Some(equals) = rest.find('=') else { return out };
        let name = rest[..equals].trim();
        if name.contains(['>', '<', '/']) {
            return out;
        }
        let value = rest[equals + 1..].trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return out };
        let Some(end) = value[1..].find(quote) else { return out };
        out.insert(name, unescaped(&value[1..1 + end]));
        rest = &value[end + 2..];
    }
}

fn unescaped(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use crate::read_gmt;
    use scgraft_cells::GeneSet;

    fn read(name: &str, text: &str) -> Vec<GeneSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_gmt(&[path]).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    #[test]
    fn weights_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("w.tsv", "gene\tS1\tS2\nA\t0.3\t-1e-2\nB\t0\t1.5\n"),
            ("w.csv", "\"\",\"S1\",\"S2\"\n\"A\",0.3,1\n\"B\",2,0\n"),
            ("one.csv", "gene,S1\nA,0.3\nB,0.2\n"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let message = read_gmt(&[path]).unwrap_err().to_string();
            assert!(message.contains("genes × sets with weights") && message.contains("to_csv"), "{message}");
        }
        assert_eq!(told(&read("clusters.csv", "gene,cluster\nA,0\nB,0\nC,1\n")), ["0: A B", "1: C"]);
    }

    fn told(sets: &[GeneSet]) -> Vec<String> {
        sets.iter().map(|s| format!("{}: {}", s.name, s.genes.join(" "))).collect()
    }

    #[test]
    fn every_form_gives_the_same_sets() {
        let wanted = ["S1: A B C", "S2: B D"];
        let forms = [
            ("x.gmt", "S1\tna\tA\tB\tC\nS2\tna\tB\tD\n"),
            ("cr.gmt", "S1\tna\tA\tB\tC\rS2\tna\tB\tD\r"),
            ("crlf.gmt", "S1\tna\tA\tB\tC\r\nS2\tna\tB\tD\r\n"),
            ("weights.gmt", "S1\t\tA,1.0\tB,0.5\tC,-2e-3\nS2\t\tB,1.0\tD,3\n"),
            ("x.gmx", "S1\tS2\nna\tna\nA\tB\nB\tD\nC\t\n"),
            ("ragged.gmx", "S1\tS2\nhttp://x\tna\nA\tB\nB\tD\nC\n"),
            ("gmx.txt", "S1\tS2\nna\tna\nA\tB\nB\tD\nC\t\n"),
            ("bare.gmx", "S1\tS2\nA\tB\nB\tD\nC\t\n"),
            ("bare_weights.gmx", "\"S1\"\tS2\tS3\r\nA,1.5\tB\tD\r\nB,2\tD\r\nC\r\n"),
            ("table.tsv", "gene\tS1\tS2\nA\t1\t0\nB\t1\t1\nC\t1\t0\nD\t0\t1\n"),
            ("table.csv", "S1,S2\n\"A\",TRUE,FALSE\n\"B\",TRUE,TRUE\n\"C\",TRUE,FALSE\n\"D\",FALSE,TRUE\n"),
            ("long.tsv", "S1\tA\nS1\tB\nS1\tC\nS2\tB\nS2\tD\n"),
            ("long.csv", "gene,term\nA,S1\nB,S1\nC,S1\nB,S2\nD,S2\n"),
            ("wide.csv", "source,weight,target\nS1,1,A\nS1,2,B\nS1,1,C\nS2,0.5,B\nS2,1,D\n"),
            (
                "x.json",
                r#"{"S1": {"geneSymbols": ["A","B","C"], "exactSource": "x"}, "S2": {"geneSymbols": ["B","D"]}}"#,
            ),
            ("lists.json", "{\n \"S1\": [\"A\", \"B\", \"C\"],\n \"S2\": [\"B\", \"D\"]\n}\n"),
            ("array.json", r#"[{"name": "S1", "genes": ["A","B","C"]}, {"name": "S2", "genes": ["B","D"]}]"#),
            (
                "x.xml",
                "<?xml version=\"1.0\"?>\n<MSIGDB NAME=\"m\">\n<GENESET STANDARD_NAME=\"S1\" DESCRIPTION_BRIEF=\"a &lt; b\" \
                 MEMBERS_SYMBOLIZED=\"A,B,C\"/>\n<GENESET STANDARD_NAME='S2' MEMBERS_SYMBOLIZED='B,D'></GENESET></MSIGDB>",
            ),
        ];
        for (name, text) in forms {
            assert_eq!(told(&read(name, text))[..2], wanted, "{name}");
        }
        assert_eq!(read("x.xml", forms.last().unwrap().1)[0].description.as_deref(), Some("a < b"));
        assert_eq!(read("x.gmx", forms[5].1)[0].description.as_deref(), Some("http://x"));
    }

    #[test]
    fn a_list_of_genes_is_one_set() {
        for (name, text) in [
            ("S1.grp", "A\nB\nC\n"),
            ("S1.txt", "# a comment\nA\nB\nB\nC\n"),
            ("other.grp", "S1\n> http://x/S1\nA\nB\nC\n"),
            ("S1.grp", "A\rB\rC"),
        ] {
            assert_eq!(told(&read(name, text)), ["S1: A B C"], "{name}");
        }
    }

    #[test]
    fn columns_of_equal_length_are_not_transposed() {
        let columns: Vec<Vec<String>> = (0..20)
            .map(|c| {
                (0..52)
                    .map(|i| match i {
                        0 => format!("cluster{c}"),
                        1 => "na".into(),
                        i => format!("G{}", (c * 7 + i) % 120),
                    })
                    .collect()
            })
            .collect();
        let text: String =
            (0..52).map(|i| columns.iter().map(|c| c[i].as_str()).collect::<Vec<_>>().join("\t") + "\n").collect();
        for name in ["equal.gmx", "equal.txt"] {
            let sets = read(name, &text);
            assert_eq!((sets.len(), sets[3].name.as_str(), sets[3].genes.len()), (20, "cluster3", 50), "{name}");
        }
        // GMT of sets of one size stays GMT.
        let text: String = columns.iter().map(|c| c.join("\t") + "\n").collect();
        assert_eq!(read("equal.gmt", &text).len(), 20);
    }
}
