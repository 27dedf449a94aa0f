//! What a file looks like from its first bytes.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use crate::error::Result;
use crate::input::Input;

/// How much of a file is looked at.
const LOOK: usize = 1 << 12;

/// Describes a file that is not what it was taken for, and says what to do with it.
pub(crate) fn describe(input: &Input) -> Result<String> {
    if input.file_name().starts_with("quants_mat.") {
        return Ok(ALEVIN.to_owned());
    }
    let bytes = input.head(LOOK)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(of(&bytes).to_owned());
    }
    let mut inner = Vec::new();
    // What comes before the cut is enough.
    let _ = MultiGzDecoder::new(&bytes[..]).take(LOOK as u64).read_to_end(&mut inner);
    Ok(match of(&inner) {
        R_OBJECT => R_OBJECT.to_owned(),
        _ if inner.is_empty() => "a gzip file; unpack it first".to_owned(),
        what => format!("a gzip file; unpack it first. In it is {what}"),
    })
}

/// A matrix of salmon alevin, which is in a form of its own unless it is asked for another.
pub(crate) const ALEVIN: &str = "the binary matrix of salmon alevin (quants_mat.gz); have `salmon alevin` write Matrix Market \
    (its option dumpMtx), or make an .h5ad of it (Python: `import anndata, vpolo.alevin.parser as p; \
    anndata.AnnData(p.read_quants_bin(folder)).write_h5ad(new)`, the folder above `alevin`)";

const R_OBJECT: &str =
    "an object of R (.rds, .RData); write an .h5ad of it there (anndataR::write_h5ad, zellkonverter::writeH5AD)";

fn of(bytes: &[u8]) -> &'static str {
    let is = |magic: &[u8]| bytes.starts_with(magic);
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    match bytes {
        [] => "an empty file",
        _ if is(b"\x89HDF\r\n\x1a\n") => "an HDF5 file",
        _ if is(b"PK\x03\x04") && (has(b"xl/") || has(b"[Content_Types].xml")) => {
            "a workbook of Excel; save it as CSV or text with tabs"
        }
        _ if is(b"PK\x03\x04") => "a zip file; unpack it first (a Zarr store is a folder)",
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar archive; unpack it first",
        _ if is(b"BZh") || is(b"\xfd7zXZ\0") || is(b"\x28\xb5\x2f\xfd") => {
            "a file packed with bzip2, xz or Zstandard; unpack it first"
        }
        _ if is(b"RDX") || is(b"RDA") || is(b"X\n\0\0\0") => R_OBJECT,
        _ if is(&[0xff, 0xfe]) || is(&[0xfe, 0xff]) => "a text in UTF-16; save it as UTF-8",
        _ if is(b"%%MatrixMarket") => "a Matrix Market file (.mtx)",
        _ if is(b"version https://git-lfs") => {
            "a pointer of Git LFS in the file's place; fetch the file (git lfs pull)"
        }
        _ => of_text(bytes).unwrap_or("a file of some other format, or one that is damaged from its first byte"),
    }
}

fn of_text(bytes: &[u8]) -> Option<&'static str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last letter is cut.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let start = text.trim_start().to_ascii_lowercase();
    Some(match text {
        _ if text.contains('\0') => return None,
        _ if start.starts_with("<!doctype html") || start.starts_with("<html") => {
            "a web page; the download did not give the file itself"
        }
        _ if text.lines().next().is_some_and(|line| line.split(['\t', ',', ';', ' ']).count() > 3) => {
            "a table of text; make an .h5ad of it (Python: `import anndata, pandas; anndata.AnnData(pandas.read_csv(table, \
             sep=None, engine=\"python\", index_col=0).T).write_h5ad(new)`, without `.T` where cells are rows)"
        }
        _ => "a text file",
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_people_have_in_place_of_cells_is_named() {
        let gzip = |bytes: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        };
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let table = b"\tcell1\tcell2\tcell3\nCD8A\t0\t1\t2\n";
        for (bytes, words) in [
            (gzip(b"X\n\0\0\0\x03"), "object of R"),
            (b"RDX3\nX\n".to_vec(), "object of R"),
            (gzip(&tar), "gzip file; unpack it first. In it is a tar archive"),
            (gzip(b"\x89HDF\r\n\x1a\n"), "In it is an HDF5 file"),
            (gzip(table), "In it is a table of text"),
            (table.to_vec(), "pandas.read_csv"),
            (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git lfs pull"),
            (b"PK\x03\x04....[Content_Types].xml".to_vec(), "workbook"),
            (b"PK\x03\x04....".to_vec(), "zip file; unpack"),
            (b" <!DOCTYPE html><html>".to_vec(), "web page"),
            (b"\xfd7zXZ\0..".to_vec(), "unpack"),
            (b"\xff\xfeA\0".to_vec(), "UTF-16"),
        ] {
            let told = describe(&Input::bytes("x", bytes)).unwrap();
            assert!(told.contains(words), "{told}");
        }
    }
}
