//! Colours of categories, where scanpy keeps them.

use scgraft_analysis::transfer::UNKNOWN;
use scgraft_cells::{Cells, Column, Uns};
use scgraft_report::color::{self, CATEGORIES, MISSING, Rgb, category};

/// The colours that a file has for the categories of a column of obs, `uns["<column>_colors"]` as scanpy keeps them; none
/// where there are none, or not one for each.
pub fn colors(cells: &Cells, column: &str) -> Vec<(String, Rgb)> {
    let Some(Uns::Texts(texts)) = cells.uns.get(&format!("{column}_colors")) else { return Vec::new() };
    let Some(Column::Categorical { categories, .. }) = cells.obs.column(column) else { return Vec::new() };
    let colors: Option<Vec<Rgb>> = texts.iter().map(|t| Rgb::of_css(t)).collect();
    let colors = colors.filter(|c| c.len() == categories.len()).unwrap_or_default();
    categories.iter().cloned().zip(colors).collect()
}

/// A colour for each category: its own where `known` has one, that of what is unknown, else the first of the palette that none
/// has.
pub(crate) fn colors_of<'c>(
    categories: impl Iterator<Item = &'c String> + Clone,
    known: impl Fn(&str) -> Option<Rgb>,
) -> Vec<Rgb> {
    let given = |name: &String| known(name).or_else(|| (name == UNKNOWN).then_some(color::UNKNOWN));
    let taken: Vec<Rgb> = categories.clone().filter_map(given).collect();
    // Of the palette and its paler rounds; those of very many categories come again.
    let palette = || (0..4 * CATEGORIES.len()).map(category);
    let mut free = palette().filter(|color| !taken.contains(color)).chain(palette().cycle());
    categories.map(|name| given(name).or_else(|| free.next()).unwrap_or(MISSING)).collect()
}

/// Gives the categories of a column of obs colours ([`colors_of`]), where scanpy looks for them.
pub(super) fn put_colors(cells: &mut Cells, column: &str, known: &[(String, Rgb)]) {
    let Some(Column::Categorical { categories, .. }) = cells.obs.column(column) else { return };
    let own = |name: &str| known.iter().find(|k| k.0 == name).map(|k| k.1);
    let colors = colors_of(categories.iter(), own).into_iter().map(Rgb::css).collect();
    cells.uns.insert(format!("{column}_colors"), Uns::Texts(colors));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_categories_have_one_colour() {
        let names: Vec<String> = ["novel", "Unknown", "a", "b"].map(str::to_owned).to_vec();
        let known = |name: &str| ["a", "b"].iter().position(|k| *k == name).map(category);
        let found = colors_of(names.iter(), known);
        assert_eq!(found, [category(2), color::UNKNOWN, category(0), category(1)]);
        let many: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        assert_eq!(colors_of(many.iter(), |_| None).len(), 300);
        let all = colors_of(many[..160].iter(), |_| None);
        assert_eq!(colors_of(many.iter(), |name| all.get(name.parse::<usize>().unwrap()).copied()).len(), 300);
    }
}
