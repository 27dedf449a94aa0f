//! Names of genes in files that identify genes by something else.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_numbered_past_those_taken() {
        let names = ["A", "B", "A", "A-1", "A", "B"].map(String::from).to_vec();
        assert_eq!(make_unique(Path::new("x"), names), ["A", "B", "A-2", "A-1", "A-3", "B-1"]);
    }
}
