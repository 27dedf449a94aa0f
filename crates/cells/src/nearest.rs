//! Names in the order of likeness, for "did you mean".

/// `names`, those most like `name` first (edit distance, case aside); ties in their own order.
pub(crate) fn nearest_first(name: &str, names: &[&str]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(usize, &str)> = names.iter().map(|n| (distance(&wanted, &n.to_lowercase()), *n)).collect();
    scored.sort_by_key(|&(d, _)| d);
    scored.into_iter().map(|(_, n)| n.to_owned()).collect()
}

/// Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first() {
        assert_eq!(nearest_first("Batch", &["cell_type", "batch_id", "batch"]), ["batch", "batch_id", "cell_type"]);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
