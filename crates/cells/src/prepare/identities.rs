//! Which cell is which, for models that have a vector per cell.

use std::collections::{HashMap, VecDeque};

use super::CONDITION_SEPARATOR;
use crate::Coded;

/// Condition and name of each cell.
pub(super) fn of(names: &[String], condition: &Coded) -> Vec<String> {
    let identity = |(name, &code): (&String, &u32)| {
        let condition = condition.levels.get(code as usize).map_or("", String::as_str);
        format!("{condition}{CONDITION_SEPARATOR}{name}")
    };
    names.iter().zip(&condition.codes).map(identity).collect()
}

/// The row of each cell: its own where it is known, after the known ones otherwise.
pub(super) fn rows(names: &[String], condition: &Coded, known: &[String]) -> Vec<u32> {
    if known.is_empty() {
        return (0..names.len() as u32).collect();
    }
    let mut at: HashMap<&str, VecDeque<u32>> = HashMap::new();
    for (row, identity) in (0u32..).zip(known) {
        at.entry(identity).or_default().push_back(row);
    }
    let mut new = known.len() as u32..;
    let identities = of(names, condition);
    let row = |i: &String| at.get_mut(i.as_str()).and_then(VecDeque::pop_front).or_else(|| new.next());
    identities.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cells_keep_their_rows_and_twins_their_order() {
        let condition = Coded { codes: vec![0, 1, 1, 0, 1], levels: vec!["a".into(), "b".into()] };
        let names: Vec<String> = ["x", "x", "y", "z", "y"].map(String::from).to_vec();
        assert_eq!(rows(&names, &condition, &[]), [0, 1, 2, 3, 4]);
        let known: Vec<String> = ["b | y", "a | x", "b | y", "a | w"].map(String::from).to_vec();
        assert_eq!(rows(&names, &condition, &known), [1, 4, 0, 5, 2]);
    }
}
