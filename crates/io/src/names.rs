//! Names: of genes in files that identify genes by something else, and names that HDF5 can hold.

use std::collections::HashSet;
use std::path::Path;

/// Makes names unique: the second `X` becomes `X-1`, the third `X-2`, passing over names that are taken,
/// as scanpy does. Files of 10x and loom tell genes apart by their identifiers, and a few symbols stand
/// for several.
pub(crate) fn make_unique(path: &Path, names: Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen = HashSet::new();
    let mut renamed = Vec::new();
    let out = names
        .into_iter()
        .map(|name| {
            if seen.insert(name.clone()) {
                return name;
            }
            let mut n = 1;
            let mut fresh = format!("{name}-{n}");
            while taken.contains(&fresh) {
                n += 1;
                fresh = format!("{name}-{n}");
            }
            taken.insert(fresh.clone());
            seen.insert(fresh.clone());
            renamed.push(name);
            fresh
        })
        .collect();
    if !renamed.is_empty() {
        let examples = renamed.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let count = renamed.len();
        tracing::warn!(file = %path.display(), count, examples, "names of genes occur more than once: numbered");
    }
    out
}

/// Whether an object in an HDF5 file can bear this name, and a table of AnnData a column of it.
pub(crate) fn is_hdf5_name(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | "_index") && !name.contains(['/', '\0'])
}

/// Names that HDF5 and tables of AnnData can hold, all different: those that can be held are kept; in others `/` becomes
/// `_`, and a name that is taken gets a number: `T/x` beside `T_x` becomes `T_x (2)`.
///
/// # Example
/// ```
/// assert_eq!(scgraft_io::hdf5_names(&["T/x", "T_x", "B", ""]), ["T_x (2)", "T_x", "B", "unnamed"]);
/// ```
pub fn hdf5_names<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    let fit = names.iter().map(AsRef::as_ref).filter(|name| is_hdf5_name(name));
    let mut taken: HashSet<String> = fit.map(str::to_owned).collect();
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(names.len());
    for name in names.iter().map(AsRef::as_ref) {
        let kept = is_hdf5_name(name) && seen.insert(name);
        let plain = match name {
            "" => "unnamed".to_owned(),
            "." | ".." => "dot".to_owned(),
            "_index" => "index".to_owned(),
            name => name.replace(['/', '\0'], "_"),
        };
        out.push(if kept { plain } else { numbered(&mut taken, &plain) });
    }
    out
}

/// A name that is not taken: itself, or with a number.
fn numbered(taken: &mut HashSet<String>, name: &str) -> String {
    let mut fresh = name.to_owned();
    let mut n = 1;
    while !is_hdf5_name(&fresh) || !taken.insert(fresh.clone()) {
        n += 1;
        fresh = format!("{name} ({n})");
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hdf5_cannot_hold_are_told_apart() {
        let names = ["T_x", "T/x", "T_x (2)", ".", "_index", "", "a", "a", "x\0y", "..", "\0"];
        let found = hdf5_names(&names);
        assert_eq!(
            found,
            ["T_x", "T_x (3)", "T_x (2)", "dot", "index", "unnamed", "a", "a (2)", "x_y", "dot (2)", "_"]
        );
        assert!(found.iter().all(|name| is_hdf5_name(name)));
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn repeated_names_are_numbered_past_those_taken() {
        let names = ["A", "B", "A", "A-1", "A", "B"].map(String::from).to_vec();
        assert_eq!(make_unique(Path::new("x"), names), ["A", "B", "A-2", "A-1", "A-3", "B-1"]);
    }
}
