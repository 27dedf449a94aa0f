//! Names in the order of likeness, for "did you mean".

/// The most names that [`listed`] shows.
const SHOWN: usize = 12;

/// How little two names are alike, case aside: the edits between them, then whether neither holds the other.
fn apart(name: &str, other: &str) -> (usize, bool) {
    let (a, b) = (name.to_lowercase(), other.to_lowercase());
    (strsim::levenshtein(&a, &b), !b.contains(&a) && !a.contains(&b))
}

/// `names`, those most like `name` first; ties in their own order.
pub fn nearest_first<S: AsRef<str>>(name: &str, names: &[S]) -> Vec<String> {
    let mut ranked: Vec<_> = names.iter().map(|n| (apart(name, n.as_ref()), n.as_ref())).collect();
    ranked.sort_by_key(|&(apart, _)| apart);
    ranked.into_iter().map(|(_, n)| n.to_owned()).collect()
}

/// Whether `other` may have been meant by `name`: one holds the other, or a few edits lie between them.
pub fn alike(name: &str, other: &str) -> bool {
    let length = name.chars().count();
    let (edits, apart) = apart(name, other);
    !apart || (edits < length && edits <= 2.max(length / 3))
}

/// `names` in words, those most like `name` first; of many the first dozen, and how many more there are.
pub fn listed<S: AsRef<str>>(name: &str, names: &[S]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let shown: Vec<String> = nearest_first(name, names).iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first() {
        assert_eq!(nearest_first("Batch", &["cell_type", "batch_id", "batch"]), ["batch", "batch_id", "cell_type"]);
        assert_eq!(nearest_first("abc", &["xyz", "abcdef"]), ["abcdef", "xyz"]);
    }

    #[test]
    fn what_may_have_been_meant() {
        assert!(alike("cell_typ", "cell_type") && alike("batch", "Batch_ID") && alike("conditon", "condition"));
        assert!(!alike("batch", "n_genes") && !alike("ab", "xy"));
    }

    #[test]
    fn of_many_names_the_nearest_are_shown() {
        assert_eq!(listed("batch", &["type", "Batch"]), "`Batch`, `type`");
        let names: Vec<String> = (0..30).map(|i| format!("program_{i}")).collect();
        let shown = listed("program_17", &names);
        assert!(shown.starts_with("`program_17`, ") && shown.ends_with(" and 18 more"), "{shown}");
        assert_eq!(shown.matches('`').count(), 2 * SHOWN);
        assert_eq!(listed("a", &[] as &[&str]), "none");
    }
}
