//! Fields of tables that spreadsheets would run.

/// A field as it can be opened in a spreadsheet: what begins as a formula does, and is no number, gets a `'` in front,
/// which spreadsheets take for "text follows".
pub(crate) fn harmless(field: &str) -> String {
    let begins = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if begins && field.parse::<f64>().is_err() { format!("'{field}") } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_text_and_numbers_stay_numbers() {
        for (field, written) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1+cmd|'/c calc'!A0", "'+1+cmd|'/c calc'!A0"),
            ("-1.5", "-1.5"),
            ("-inf", "-inf"),
            ("CD4+ T", "CD4+ T"),
            ("", ""),
        ] {
            assert_eq!(harmless(field), written);
        }
    }
}
