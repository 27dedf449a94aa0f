//! Tables of orthologs: Ensembl BioMart, HCOP, or two columns of names.

use scgraft_cells::{OrthologRule, Orthologs};

use crate::Input;
use crate::error::{Error, Result};
use crate::table::{records, same_width};

/// Reads a table of orthologs, CSV or TSV, packed with gzip or not: a pair of genes a row, with a line of column names.
///
/// - Ensembl BioMart (`Gene name`, `Mouse gene name`, `Mouse homology type`, stable ids, …): the type says which pairs are
///   one-to-one, `%id.` or the confidence how well a pair is supported.
/// - HCOP (`human_symbol`, `mouse_symbol`, `support`, …): a pair's support is the number of databases that have it. `-` means
///   none.
/// - Two columns of names; the line of column names may be left out.
///
/// Every other column may hold names of genes: which do is told from the names that are turned.
///
/// # Errors
/// When the file cannot be read or is no text; fewer than two columns; a line with more or fewer fields than the first; types
/// of two comparisons, as of a table of three species.
pub fn read_orthologs(from: impl Into<Input>, rule: OrthologRule) -> Result<Orthologs> {
    let input = from.into();
    let path = input.name();
    let rows = records(&input)?;
    let format = |found: String| Error::Format {
        path: path.to_owned(),
        expected: "a table of orthologs: two or more columns, a pair of genes a row",
        found,
    };
    let Some((_, first)) = rows.first() else { return Err(format("no line with text".into())) };
    let header: Vec<String> = first.iter().map(|name| name.trim().to_owned()).collect();
    if header.len() < 2 {
        return Err(format(format!("one column, `{}`", header.concat())));
    }
    same_width(path, &rows, header.len())?;
    // Two columns may be without a header: a line of column names among the pairs matches no gene.
    let pairs = &rows[usize::from(header.len() > 2)..];
    let field = |row: &csv::StringRecord, j: usize| match row[j].trim() {
        "-" => String::new(),
        name => name.to_owned(),
    };
    let column = |j: usize| pairs.iter().map(|(_, row)| field(row, j)).collect::<Vec<String>>();
    let mut out = Orthologs { rule, ..Orthologs::default() };
    let mut types = Vec::new();
    let mut supports: Vec<(u8, Vec<f64>)> = Vec::new();
    for (j, name) in header.iter().enumerate() {
        let entries = column(j);
        if entries.iter().any(|e| e.starts_with(TYPE)) && entries.iter().all(|e| e.is_empty() || e.starts_with(TYPE)) {
            types.push((name.clone(), entries.iter().map(|e| e == ONE_TO_ONE).collect::<Vec<bool>>()));
        } else if let Some(rank) = rank_of_support(name).filter(|_| header.len() > 2) {
            supports.push((rank, entries.iter().map(|e| support(e)).collect()));
        } else {
            out.columns.push((name.clone(), entries));
        }
    }
    if let [(a, _), (b, _), ..] = &types[..] {
        return Err(format(format!(
            "types of several comparisons (`{a}`, `{b}`); keep the columns of one pair of species"
        )));
    }
    out.one_to_one = types.pop().map(|(_, types)| types);
    out.support = supports.into_iter().min_by_key(|(rank, _)| *rank).map(|(_, support)| support);
    Ok(out)
}

/// How Ensembl's types begin, and which of them is one-to-one.
const TYPE: &str = "ortholog_";
const ONE_TO_ONE: &str = "ortholog_one2one";

/// Which columns say how well a pair is supported, the most telling first.
fn rank_of_support(name: &str) -> Option<u8> {
    let name = name.to_lowercase();
    ["support", "%id", "identi", "confidence"].iter().position(|word| name.contains(word)).map(|at| at as u8)
}

/// A number as it is, a list as the number of its entries; nothing is not a number.
fn support(entry: &str) -> f64 {
    match entry.parse() {
        Ok(number) => number,
        Err(_) if entry.is_empty() => f64::NAN,
        Err(_) => entry.split(',').filter(|e| !e.trim().is_empty()).count() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Orthologs> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_orthologs(path, OrthologRule::OneToOne)
    }

    #[test]
    fn tables_of_biomart() {
        let text = "Gene stable ID\tGene name\tMouse gene stable ID\tMouse gene name\tMouse homology type\t\
                    %id. target Mouse gene identical to query gene\tMouse orthology confidence [0 low, 1 high]\n\
                    ENSG00000153563\tCD8A\tENSMUSG00000053977\tCd8a\tortholog_one2one\t58.5\t1\n\
                    ENSG00000169429\tCXCL8\t\t\t\t\t\n\
                    ENSG00000206503\tHLA-A\tENSMUSG00000061232\tH2-K1\tortholog_many2many\t70.1\t0\n";
        let table = read("mart_export.txt", text).unwrap();
        let names: Vec<&str> = table.columns.iter().map(|c| c.0.as_str()).collect();
        assert_eq!(names, ["Gene stable ID", "Gene name", "Mouse gene stable ID", "Mouse gene name"]);
        assert_eq!(table.columns[3].1, ["Cd8a", "", "H2-K1"]);
        assert_eq!(table.one_to_one, Some(vec![true, false, false]));
        let support = table.support.unwrap();
        assert_eq!((support[0], support[2]), (58.5, 70.1));
        assert!(support[1].is_nan());
        let three = text.replace("Mouse orthology confidence [0 low, 1 high]", "Rat homology type");
        let three = three.replace("\t1\n", "\tortholog_one2one\n").replace("\t0\n", "\tortholog_one2many\n");
        let message = read("mart_export.txt", &three).unwrap_err().to_string();
        assert!(message.contains("Rat homology type"), "{message}");
    }

    #[test]
    fn tables_of_hcop() {
        let text = "human_entrez_gene,hgnc_id,human_symbol,mouse_entrez_gene,mouse_symbol,support\n\
                    925,HGNC:1706,CD8A,12525,Cd8a,\"EggNOG,Ensembl,HGNC\"\n\
                    6351,HGNC:10630,CCL4,-,-,OMA\n";
        let table = read("hcop.csv", text).unwrap();
        assert_eq!(table.columns.len(), 5);
        assert_eq!(table.columns[4].1, ["Cd8a", ""]);
        assert_eq!(table.support, Some(vec![3.0, 1.0]));
        assert_eq!(table.one_to_one, None);
    }

    #[test]
    fn two_columns_need_no_header() {
        for text in ["C3\tC3\nCD8A\tCd8a\n", "C3,C3\nCD8A,Cd8a\n"] {
            let table = read("pairs.txt", text).unwrap();
            assert_eq!(table.columns[1].1, ["C3", "Cd8a"], "{text}");
        }
        assert_eq!(read("pairs.tsv", "human\tmouse identity\nCD8A\tCd8a\n").unwrap().columns.len(), 2);
        assert!(matches!(read("pairs.tsv", "CD8A\n"), Err(Error::Format { .. })));
        assert!(matches!(read("pairs.tsv", "a\tb\nc\n"), Err(Error::Line { line: 2, .. })));
    }
}
