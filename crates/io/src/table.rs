//! Tables as text: CSV and TSV, packed with gzip or not.

use std::io::{self, Read, Write};
use std::path::Path;

use scgraft_cells::{Column, Frame};

use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use crate::gzip::{lines, open_text};
use crate::input::Input;
use crate::spreadsheet::harmless;

/// Reads a CSV or TSV table with a line of column names. The first column names the rows.
///
/// A field may be quoted (`"`, doubled inside), also over several lines. A header that is one field short
/// is taken as R writes it: without a name for the row names. A column whose fields are all whole numbers,
/// real numbers or truth values becomes one of those, with empty fields, `NA` and `NaN` missing; numbers
/// with leading zeros are kept as text. In other columns only empty fields are missing.
///
/// # Errors
/// When the file cannot be read or is no text; a line with more or fewer fields than the header; two columns
/// of one name.
///
/// # Example
/// ```no_run
/// let obs = scgraft_io::read_table("labels.csv")?;
/// let labels = obs.column("cell_type");
/// # Ok::<(), scgraft_io::Error>(())
/// ```
pub fn read_table(from: impl Into<Input>) -> Result<Frame> {
    let input = from.into();
    let path = input.name();
    let mut rows = records(&input)?;
    if rows.is_empty() {
        return Err(Error::Format {
            path: path.to_owned(),
            expected: "a table with a line of column names",
            found: "no line with text".to_owned(),
        });
    }
    let mut header: Vec<String> = rows.remove(0).1.iter().map(str::to_owned).collect();
    if rows.first().is_some_and(|(_, row)| row.len() == header.len() + 1) {
        header.insert(0, String::new());
    }
    same_width(path, &rows, header.len())?;
    let mut frame = Frame::new(rows.iter().map(|(_, row)| row[0].to_owned()).collect());
    frame.index_name = Some(header[0].clone()).filter(|name| !name.is_empty());
    for (j, name) in header.iter().enumerate().skip(1) {
        if frame.column(name).is_some() {
            return Err(Error::Duplicate {
                path: path.to_owned(),
                what: "column",
                name: name.clone(),
                also: String::new(),
                remedy: "rename one",
            });
        }
        let fields: Vec<&str> = rows.iter().map(|(_, row)| &row[j]).collect();
        frame.columns.push((name.clone(), typed(&fields)));
    }
    Ok(frame)
}

/// Refuses a line that has not as many fields as the first.
pub(crate) fn same_width(path: &Path, rows: &[(usize, csv::StringRecord)], n_fields: usize) -> Result<()> {
    match rows.iter().find(|(_, row)| row.len() != n_fields) {
        None => Ok(()),
        Some((line, row)) => Err(Error::Line {
            path: path.to_owned(),
            line: *line,
            expected: format!("{n_fields} fields, as in the first line"),
            found: row.len().to_string(),
        }),
    }
}

/// Reads a list, such as of genes: one entry a line, without the spaces around it; blank lines are skipped.
///
/// # Errors
/// When the file cannot be read or is no text.
pub fn read_list(from: impl Into<Input>) -> Result<Vec<String>> {
    let mut out = Vec::new();
    lines(&from.into(), |_, line| {
        if !line.trim().is_empty() {
            out.push(line.trim().to_owned());
        }
        Ok(true)
    })?;
    Ok(out)
}

/// Writes a table, whole or not at all: row names first, then the columns.
///
/// Fields are separated by commas when the file is named `.csv` or `.csv.gz`, by tabs otherwise, and packed
/// with gzip when it is named `.gz`. Real numbers are written so that they read back as the same; what is
/// missing is an empty field. A field that a spreadsheet would run as a formula gets a `'` in front.
///
/// # Errors
/// When the file cannot be written; nothing is left under its name then.
pub fn write_table(path: impl AsRef<Path>, frame: &Frame) -> Result<()> {
    let mut header = vec![frame.index_name.clone().unwrap_or_default()];
    header.extend(frame.columns.iter().map(|(name, _)| name.clone()));
    let rows = (0..frame.len()).map(|i| {
        let cells = frame.columns.iter().map(|(_, column)| match column {
            Column::Real(v) if v[i].is_nan() => String::new(),
            Column::Real(v) => format!("{:?}", v[i]),
            other => other.text(i).unwrap_or_default(),
        });
        std::iter::once(frame.index[i].clone()).chain(cells).collect()
    });
    write_rows(path, &header, rows)
}

/// Writes rows of text under a line of names, as [`write_table`] does.
///
/// # Errors
/// When the file cannot be written; nothing is left under its name then.
pub fn write_rows<S: AsRef<str>>(
    path: impl AsRef<Path>,
    header: &[S],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<()> {
    let path = path.as_ref();
    let header: Vec<String> = header.iter().map(|name| harmless(name.as_ref())).collect();
    let rows = rows.into_iter().map(|row| row.iter().map(|field| harmless(field)).collect::<Vec<String>>());
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_lowercase());
    let delimiter = if name.strip_suffix(".gz").unwrap_or(&name).ends_with(".csv") { b',' } else { b'\t' };
    atomic_write(path, |w| {
        if name.ends_with(".gz") {
            let mut packed = flate2::write::GzEncoder::new(w, flate2::Compression::new(6));
            put_all(&mut packed, delimiter, &header, rows)?;
            packed.finish().map(|_| ())
        } else {
            put_all(w, delimiter, &header, rows)
        }
    })
}

fn put_all<S: AsRef<str>>(
    w: &mut impl Write,
    delimiter: u8,
    header: &[S],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut to = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(w);
    to.write_record(header.iter().map(|name| name.as_ref().as_bytes()))?;
    rows.into_iter().try_for_each(|row| to.write_record(&row))?;
    to.flush()
}

fn delimiter_of(path: &Path, text: &str) -> u8 {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_lowercase());
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let first = text.lines().next().unwrap_or("");
    if name.ends_with(".csv") && !first.contains(',') && first.contains(';') {
        b';'
    } else if name.ends_with(".csv") || (!name.ends_with(".tsv") && !first.contains('\t') && first.contains(',')) {
        b','
    } else {
        b'\t'
    }
}

/// The records of a file, each with the line it starts on. Blank lines are skipped.
pub(crate) fn records(input: &Input) -> Result<Vec<(usize, csv::StringRecord)>> {
    let path = input.name();
    let mut text = String::new();
    open_text(input)?.read_to_string(&mut text).map_err(Error::io(path, "read"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // A last record of our own: when it is not read as one, a quoted field before it has no end.
    const END: &str = "\n\u{1a}";
    let whole = text.as_bytes().chain(END.as_bytes());
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(delimiter_of(path, text)).has_headers(false).flexible(true);
    let mut reader = reader.from_reader(whole);
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| Error::io(path, "read")(e.into()))?;
        // Counted before the blank lines that the reader skips.
        let (line, at) = record.position().map_or((1, 0), |p| (p.line() as usize, p.byte() as usize));
        let skipped = text[at.min(text.len())..].bytes().take_while(|b| b"\r\n".contains(b)).filter(|&b| b == b'\n');
        records.push((line + skipped.count(), record));
    }
    match records.pop() {
        Some((_, last)) if last.len() == 1 && last[0] == END[1..] => {}
        last => {
            return Err(Error::Line {
                path: path.to_owned(),
                line: last.map_or(1, |(line, _)| line),
                expected: "a `\"` at the end of a quoted field".to_owned(),
                found: "the end of the file".to_owned(),
            });
        }
    }
    records.retain(|(_, record)| record.len() > 1 || !record[0].is_empty());
    Ok(records)
}

/// The narrowest type that holds every field.
fn typed(fields: &[&str]) -> Column {
    let missing = |f: &str| f.is_empty() || f == "NA" || f.eq_ignore_ascii_case("nan");
    let values = || fields.iter().filter(|f| !missing(f));
    // `007` is a name, `0.5` a number.
    let coded = |f: &str| {
        let digits = f.trim_start_matches('-');
        digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit()
    };
    let truth = |f: &str| match f {
        "True" | "TRUE" | "true" => Some(true),
        "False" | "FALSE" | "false" => Some(false),
        _ => None,
    };
    let text = || Column::Text(fields.iter().map(|f| (!f.is_empty()).then(|| (*f).to_owned())).collect());
    if values().next().is_none() || values().any(|f| coded(f)) {
        return text();
    }
    if values().all(|f| f.parse::<i64>().is_ok()) {
        return Column::Integer(fields.iter().map(|f| f.parse().ok()).collect());
    }
    if values().all(|f| f.parse::<f64>().is_ok()) {
        return Column::Real(fields.iter().map(|f| f.parse().unwrap_or(f64::NAN)).collect());
    }
    if values().all(|f| truth(f).is_some()) {
        return Column::Boolean(fields.iter().map(|f| truth(f)).collect());
    }
    text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Frame> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_table(path)
    }

    #[test]
    fn columns_get_the_type_of_their_fields() {
        let text = "cell,n,f,ok,id,label\r\nA,1,0.5,True,007,\"a, \"\"b\"\"\"\r\nB,,NA,,010,NA\r\n";
        let frame = read("obs.csv", text).unwrap();
        assert_eq!((frame.index.clone(), frame.index_name.as_deref()), (vec!["A".into(), "B".into()], Some("cell")));
        assert_eq!(frame.column("n"), Some(&Column::Integer(vec![Some(1), None])));
        assert!(matches!(frame.column("f"), Some(Column::Real(v)) if v[0] == 0.5 && v[1].is_nan()));
        assert_eq!(frame.column("ok"), Some(&Column::Boolean(vec![Some(true), None])));
        assert_eq!(frame.column("id"), Some(&Column::Text(vec![Some("007".into()), Some("010".into())])));
        assert_eq!(frame.column("label").unwrap().text(0).as_deref(), Some("a, \"b\""));
        assert_eq!(frame.column("label").unwrap().text(1).as_deref(), Some("NA"));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut frame = Frame::new(vec!["x".into(), "y,\t\"z\"".into(), "two\nlines".into()]);
        frame.index_name = Some("cell".into());
        frame.set("real", Column::Real(vec![0.1 + 0.2, 1e300, -0.0]));
        frame.set("whole", Column::Integer(vec![Some(i64::MIN), None, Some(3)]));
        frame.set("text", Column::Text(vec![Some("ü".into()), None, Some(" s ".into())]));
        for name in ["t.csv", "t.tsv", "t.csv.gz", "t.txt"] {
            let path = folder.path().join(name);
            write_table(&path, &frame).unwrap();
            assert_eq!(read_table(&path).unwrap(), frame, "{name}");
        }
    }

    #[test]
    fn an_r_header() {
        let r = read("t.txt", "a\tb\nr1\t1\t2\n").unwrap();
        assert_eq!((r.index, r.columns.len()), (vec!["r1".to_owned()], 2));
    }

    #[test]
    fn errors_name_the_line() {
        let message = read("t.csv", "a,b\n1,2\n\n1,2,3\n").unwrap_err().to_string();
        assert!(message.contains("t.csv:4: expected 2 fields"), "{message}");
        assert!(matches!(read("t.csv", "a,b\n1,\"2\n"), Err(Error::Line { line: 2, .. })));
        assert!(matches!(read("t.csv", "i,b,b\n1,2,3\n"), Err(Error::Duplicate { .. })));
        assert!(matches!(read("t.csv", ""), Err(Error::Format { .. })));
    }

    #[test]
    fn lists_are_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genes.txt");
        std::fs::write(&path, "\u{feff}CD3D\r\n\n LYZ \n").unwrap();
        assert_eq!(read_list(path).unwrap(), ["CD3D", "LYZ"]);
    }
}
