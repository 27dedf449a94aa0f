//! What 10x Genomics' Cell Ranger writes: an HDF5 file, or a folder with a Matrix Market file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use scgraft_cells::{Array, Cells, Column, Csr, Frame, Matrix};

use crate::atomic::file_name;
use crate::error::{Error, Result};
use crate::gzip::lines;
use crate::mtx::read_mtx;
use crate::names::make_unique;
use crate::store::{Kind, Reader, Values};

const EXPRESSION: &str = "Gene Expression";
const PROTEIN: &str = "Antibody Capture";

/// Kinds of features of 10x that are no genes, in lower case.
const OTHER_KINDS: [&str; 6] =
    ["antibody capture", "crispr guide capture", "custom", "multiplexing capture", "peaks", "antigen capture"];

/// Fields of a line that mean something: identifier, name, kind.
const FIELDS: usize = 3;

/// What is measured, one entry a feature.
struct Features {
    ids: Vec<String>,
    names: Vec<String>,
    /// Kinds of features; empty in files that hold genes only.
    kinds: Vec<String>,
    genomes: Vec<String>,
}

/// Reads the matrix of a Cell Ranger HDF5 file: `matrix` since version 3, a group by the name of the
/// genome before.
pub(crate) fn read_h5(r: &dyn Reader, group: &str) -> Result<Cells> {
    let at = |name: &str| format!("{group}/{name}");
    let shape = r.usizes(&at("shape"), None)?;
    let barcodes = texts(r, &at("barcodes"))?;
    let new = r.kind(&at("features"))?.is_some();
    let features = if new {
        let optional = |name: &str| -> Result<Vec<String>> {
            if r.kind(&at(name))?.is_some() { texts(r, &at(name)) } else { Ok(Vec::new()) }
        };
        Features {
            ids: texts(r, &at("features/id"))?,
            names: texts(r, &at("features/name"))?,
            kinds: optional("features/feature_type")?,
            genomes: optional("features/genome")?,
        }
    } else {
        let (ids, names) = (texts(r, &at("genes"))?, texts(r, &at("gene_names"))?);
        let genomes = vec![group.to_owned(); ids.len()];
        Features { ids, names, kinds: Vec::new(), genomes }
    };
    if shape != [features.names.len(), barcodes.len()] {
        let found = format!("{shape:?}");
        let expected = format!("{} features × {} barcodes", features.names.len(), barcodes.len());
        return Err(Error::content(r.path(), at("shape"), expected, found));
    }
    // Stored by barcode, which is by row for us.
    let counts = crate::h5ad::read_compressed(r, group, barcodes.len(), features.names.len(), None)?;
    assemble(r.path(), barcodes, features, counts)
}

fn texts(r: &dyn Reader, at: &str) -> Result<Vec<String>> {
    match r.values(at, None)? {
        Values::Text(texts) => Ok(texts),
        other => Err(Error::content(r.path(), at, "text", other.describe())),
    }
}

/// The group of a Cell Ranger file, when it is one.
pub(crate) fn find_h5(r: &dyn Reader) -> Result<Option<String>> {
    let mut found = Vec::new();
    for name in r.children("")? {
        if r.kind(&name)? == Some(Kind::Group) && r.kind(&format!("{name}/barcodes"))?.is_some() {
            found.push(name);
        }
    }
    if found.len() > 1 {
        let what = format!("{}: {}", found.len(), found.join(", "));
        return Err(Error::content(r.path(), "/", "counts of one genome; split the file", what));
    }
    Ok(found.pop())
}

/// The files that make up a matrix in Matrix Market form.
struct Files {
    matrix: PathBuf,
    barcodes: PathBuf,
    features: PathBuf,
    /// Symbols of the features, one a line, where they stand in a file of their own.
    symbols: Option<PathBuf>,
}

/// How programs name the three files: what the name of the matrix ends in, and what takes its place in the names of the
/// others.
const LAYOUTS: [(&str, &[&str], &[&str]); 5] = [
    ("matrix.mtx", &["barcodes.tsv"], &["features.tsv", "genes.tsv"]),
    // kb-python (kallisto | bustools).
    (".mtx", &[".barcodes.txt"], &[".genes.txt"]),
    // alevin-fry.
    (".mtx", &["_rows.txt"], &["_cols.txt"]),
    // Parse Biosciences.
    ("DGE.mtx", &["cell_metadata.csv"], &["all_genes.csv", "genes.csv"]),
    ("count_matrix.mtx", &["cell_metadata.csv"], &["all_genes.csv", "genes.csv"]),
];

/// Where programs keep the matrix in their folders (Cell Ranger, STARsolo, kb, alevin-fry, Parse).
const DEEPER: [&str; 12] = [
    "af_quant",
    "outs",
    "filtered_feature_bc_matrix",
    "Solo.out",
    "Gene",
    "GeneFull",
    "filtered",
    "counts_filtered",
    "counts_unfiltered",
    "alevin",
    "DGE_filtered",
    "all-sample",
];

/// Reads a folder with a matrix in Matrix Market form and the names beside it, packed or not: `matrix.mtx` with
/// `barcodes.tsv` and `features.tsv` or `genes.tsv` (Cell Ranger, STARsolo), with a common prefix or without, or as kb,
/// alevin-fry and Parse name them. `path` may name the matrix itself.
pub(crate) fn read_folder(path: &Path) -> Result<Cells> {
    let files = find_files(path)?;
    let mut barcodes: Vec<String> =
        columns(&files.barcodes)?.into_iter().map(|mut row| row.swap_remove(0)).collect::<Vec<_>>();
    let mut rows = columns(&files.features)?;
    // 10x writes features × barcodes; other programs also the other way round. Either list may have a line of names.
    let (n, g) = (barcodes.len(), rows.len());
    let fits = |(rows, columns): (usize, usize)| {
        let near = |found: usize, lines: usize| found == lines || found + 1 == lines;
        (near(rows, g) && near(columns, n), near(rows, n) && near(columns, g))
    };
    let counts = read_mtx(&files.matrix, |rows, columns| {
        let exact = (rows, columns) == (g, n) || (rows, columns) == (n, g);
        let (by_feature, by_barcode) = fits((rows, columns));
        if exact || by_feature || by_barcode {
            return Ok(());
        }
        let expected = format!("{g} features × {n} barcodes, as the files beside it say");
        Err(Error::content(&files.matrix, "size", expected, format!("{rows} × {columns}")))
    })?;
    let shape = (counts.n_rows, counts.n_cols);
    let by_feature = shape == (g, n) || (shape != (n, g) && fits(shape).0);
    let counts = if by_feature { counts.transpose() } else { counts };
    let without_header = |what: &str, lines: usize, found: usize| {
        if lines > found {
            tracing::info!("{}: the first line of the {what} is taken for a header", files.matrix.display());
        }
        lines > found
    };
    if without_header("barcodes", n, counts.n_rows) {
        barcodes.remove(0);
    }
    if without_header("features", g, counts.n_cols) {
        rows.remove(0);
    }
    let field = |j: usize| rows.iter().map(|row| row.get(j).cloned()).collect::<Option<Vec<String>>>();
    let ids = field(0).unwrap_or_default();
    let mut names = field(1).unwrap_or_else(|| ids.clone());
    if let Some(path) = &files.symbols {
        let symbols: Vec<String> = columns(path)?.into_iter().map(|mut row| row.swap_remove(0)).collect();
        if symbols.len() == ids.len() {
            names = symbols.into_iter().zip(&ids).map(|(s, id)| if s.is_empty() { id.clone() } else { s }).collect();
        }
    }
    let of_genomes = files.features.extension().is_some_and(|e| e == "csv");
    let third = field(2).unwrap_or_default();
    let (kinds, genomes) = if of_genomes { (Vec::new(), third) } else { (third, Vec::new()) };
    assemble(&files.matrix, barcodes, Features { ids, names, kinds, genomes }, counts)
}

/// The files that a folder or the name of a matrix stands for.
fn find_files(path: &Path) -> Result<Files> {
    let (folder, matrices) = if path.is_dir() {
        let matrices: Vec<String> = names_in(path)?.into_iter().filter(|n| is_matrix(n)).collect();
        (path.to_owned(), matrices)
    } else {
        let name = file_name(path);
        (path.parent().unwrap_or(Path::new("")).to_owned(), vec![name])
    };
    let there = names_in(&folder)?;
    let mut found: Vec<(String, Files)> = Vec::new();
    for matrix in &matrices {
        let bare = matrix.strip_suffix(".gz").unwrap_or(matrix);
        for (ending, barcodes, features) in LAYOUTS {
            // A matrix of any name beside 10x's lists, as STARsolo writes several.
            let prefix = match bare.strip_suffix(ending) {
                Some(prefix) => prefix,
                None if ending == "matrix.mtx" => "",
                None => continue,
            };
            // Matrices of several kinds share their lists: `cells_x_genes.mature.mtx`, `cells_x_genes.barcodes.txt`.
            let shared = prefix.rsplit_once('.').map(|(shared, _)| shared).filter(|_| ending == ".mtx");
            let beside = |endings: &[&str]| {
                let names = [Some(prefix), shared].into_iter().flatten();
                let all =
                    names.flat_map(|p| endings.iter().flat_map(move |e| [format!("{p}{e}"), format!("{p}{e}.gz")]));
                let mut all = all.filter(|n| there.contains(n));
                all.next().map(|n| folder.join(n))
            };
            if let (Some(barcodes), Some(features)) = (beside(barcodes), beside(features)) {
                let symbols = beside(&[".genes.names.txt"]).filter(|_| ending == ".mtx");
                found.push((matrix.clone(), Files { matrix: folder.join(matrix), barcodes, features, symbols }));
                break;
            }
        }
        if found.last().is_none_or(|(name, _)| name != matrix)
            && let Some([barcodes, features]) = beside_of(matrix, &there, matrices.len() == 1)
        {
            let [barcodes, features] = [barcodes, features].map(|name| folder.join(name));
            found.push((matrix.clone(), Files { matrix: folder.join(matrix), barcodes, features, symbols: None }));
        }
    }
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        // The usual name comes before others beside the same lists.
        return match found.iter().position(|(name, _)| name == "matrix.mtx" || name == "matrix.mtx.gz") {
            Some(at) => {
                tracing::warn!("{}: of several matrices `matrix.mtx` is read: {}", path.display(), names.join(", "));
                Ok(found.swap_remove(at).1)
            }
            None => {
                let expected = "one matrix; name the one to read, not the folder";
                Err(Error::content(path, "folder", expected, names.join(", ")))
            }
        };
    }
    if let Some((_, files)) = found.pop() {
        return Ok(files);
    }
    if matrices.is_empty() {
        if there.iter().any(|n| n.starts_with("quants_mat.")) {
            let expected = "a matrix in Matrix Market form";
            return Err(Error::Format { path: folder, expected, found: crate::sniff::ALEVIN.to_owned() });
        }
        // Programs keep the matrix some folders down.
        let deeper: Vec<String> = DEEPER.iter().map(|d| (*d).to_owned()).filter(|d| folder.join(d).is_dir()).collect();
        match &deeper[..] {
            [one] => {
                tracing::info!("{}: the matrix in `{one}` is read", path.display());
                return find_files(&folder.join(one));
            }
            [] => {}
            several => {
                let expected = "one matrix; name the folder within that has it";
                return Err(Error::content(path, "folder", expected, several.join(", ")));
            }
        }
    }
    let plain = matrices.first().map_or("", String::as_str);
    let (prefix, rest) = match plain.find("matrix.mtx") {
        Some(at) => (&plain[..at], true),
        None => ("", !plain.is_empty()),
    };
    let wanted = match (rest, there.iter().any(|n| n.trim_end_matches(".gz").ends_with("barcodes.tsv"))) {
        (false, _) => "matrix.mtx[.gz]".to_owned(),
        (true, false) => format!("{prefix}barcodes.tsv[.gz]"),
        (true, true) => format!("{prefix}features.tsv[.gz]"),
    };
    let what = if path.is_dir() { "file" } else { "file beside it" };
    Err(Error::missing(path, what, &wanted, &there))
}

/// Whether a file is a matrix by its name: `.mtx`, also with something between that and what packed it.
pub(crate) fn is_matrix(name: &str) -> bool {
    let name = name.to_lowercase();
    let plain = name.trim_end_matches(".gz");
    plain.ends_with(".mtx") || (plain.contains("matrix") && words(plain).any(|w| w == "mtx"))
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(['.', '_', '-', ' ']).filter(|w| !w.is_empty())
}

/// The lists beside a matrix of 10x whose names carry more than a prefix, as deposits write them
/// (`GSM1_matrix.mtx_S1.gz`, `GSM1_barcodes.tsv_S1.gz`): those whose names have the same other words, or where the matrix is
/// `alone` the only ones.
fn beside_of(matrix: &str, there: &[String], alone: bool) -> Option<[String; 2]> {
    const OF_FORMAT: [&str; 10] =
        ["matrix", "mtx", "barcodes", "barcode", "features", "genes", "tsv", "txt", "csv", "gz"];
    let rest = |name: &str| -> Vec<String> {
        words(&name.to_lowercase()).filter(|w| !OF_FORMAT.contains(w)).map(str::to_owned).collect()
    };
    let one = |kinds: &[&str]| {
        let lists = || there.iter().filter(|n| words(&n.to_lowercase()).any(|w| kinds.contains(&w)) && !is_matrix(n));
        let only = |mut some: Vec<&String>| some.pop().filter(|_| some.is_empty()).cloned();
        let like = only(lists().filter(|n| rest(n) == rest(matrix)).collect());
        like.or_else(|| only(lists().collect()).filter(|_| alone))
    };
    Some([one(&["barcodes", "barcode"])?, one(&["features", "genes"])?])
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(at).map_err(Error::io(folder, "read"))?;
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// The first fields of each line; a `.csv` has commas between them.
fn columns(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut out = Vec::new();
    let name = path.to_string_lossy().to_lowercase();
    let separator = if name.trim_end_matches(".gz").ends_with(".csv") { ',' } else { '\t' };
    lines(&path.into(), |_, line| {
        if !line.is_empty() {
            let fields = line.splitn(FIELDS + 1, separator).take(FIELDS);
            out.push(
                fields.map(|f| if separator == ',' { f.trim().trim_matches('"') } else { f }.to_owned()).collect(),
            );
        }
        Ok(true)
    })?;
    Ok(out)
}

fn assemble(path: &Path, barcodes: Vec<String>, features: Features, counts: Csr) -> Result<Cells> {
    let Features { ids, names, kinds, genomes } = features;
    let n = names.len();
    for (what, list) in [("identifiers", &ids), ("kinds", &kinds), ("genomes", &genomes)] {
        if list.len() != n && !(list.is_empty() && what != "identifiers") {
            return Err(Error::content(path, "features", format!("{n} {what}"), list.len().to_string()));
        }
    }
    let of_kind = |kind: &str| -> Vec<usize> {
        (0..n).filter(|&j| kinds.get(j).is_none_or(|k| k.trim().eq_ignore_ascii_case(kind))).collect()
    };
    let mut genes = of_kind(EXPRESSION);
    if genes.is_empty() && !kinds.is_empty() {
        // Other programs write kinds of their own, such as the biotype.
        genes = (0..n).filter(|&j| !OTHER_KINDS.contains(&kinds[j].trim().to_lowercase().as_str())).collect();
        let mut found: Vec<&str> = genes.iter().map(|&j| kinds[j].as_str()).collect();
        found.sort_unstable();
        found.dedup();
        if !genes.is_empty() {
            let shown = found.iter().take(5).map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                "{}: no feature is of kind `{EXPRESSION}`; those of {shown} are taken for genes",
                path.display()
            );
        }
    }
    let pick = |list: &[String]| -> Vec<String> { genes.iter().map(|&j| list[j].clone()).collect() };
    let mut var = Frame::new(make_unique(path, pick(&names)));
    var.set("gene_ids", Column::Text(pick(&ids).into_iter().map(Some).collect()));
    for (name, list) in [("feature_types", &kinds), ("genome", &genomes)] {
        if !list.is_empty() {
            var.set(name, Column::categorical(&pick(list)));
        }
    }
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let is_part = |name: &&str| ["-U", "-A"].iter().any(|e| name.strip_suffix(e).is_some_and(|n| known.contains(n)));
    let parts = known.iter().filter(|name| is_part(name)).count();
    if parts > 0 && 2 * parts >= n {
        tracing::warn!(
            "{}: {parts} features are unspliced (`-U`) or ambiguous (`-A`) counts of others, and a gene's name stands for \
             its spliced counts alone; add them up before, where all are wanted",
            path.display()
        );
    }
    let keep = |columns: &[usize]| counts.select_columns(&columns.iter().map(|&j| Some(j)).collect::<Vec<_>>());
    let mut cells = Cells::new(Matrix::Sparse(keep(&genes)), Frame::new(barcodes), var);
    if kinds.is_empty() {
        return Ok(cells);
    }
    let proteins = of_kind(PROTEIN);
    if !proteins.is_empty() {
        let labels = make_unique(path, proteins.iter().map(|&j| names[j].clone()).collect());
        let table = protein_table(&cells.obs, labels, &keep(&proteins));
        cells.obsm.insert(PROTEIN_SLOT.to_owned(), Array::Frame(table));
    }
    let left = n - genes.len() - proteins.len();
    if left > 0 {
        tracing::warn!("{}: {left} features that are neither genes nor antibodies are left out", path.display());
    }
    Ok(cells)
}

/// The entry of `obsm` that protein counts of 10x and MuData files are read into.
pub const PROTEIN_SLOT: &str = "protein_expression";

/// Protein counts as a table, a column a protein.
pub(crate) fn protein_table(obs: &Frame, labels: Vec<String>, counts: &Csr) -> Frame {
    let dense = counts.to_dense();
    let mut table = Frame::new(obs.index.clone());
    for (j, label) in labels.into_iter().enumerate() {
        table.columns.push((label, Column::Real(dense.column(j).into_iter().map(f64::from).collect())));
    }
    table
}
