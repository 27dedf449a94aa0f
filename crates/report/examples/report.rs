//! Writes a report: of simulated results, or of a `Report` kept as JSON.
//!
//! `cargo run -p scgraft-report --example report -- report.html [number of cells, or report.json]`

mod simulated;

use scgraft_report::html::Report;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments.first().map_or("report.html", String::as_str);
    let from = arguments.get(1).map_or("20000", String::as_str);
    let report: Report = match from.parse() {
        Ok(cells) => simulated::report(cells),
        Err(_) => serde_json::from_slice(&std::fs::read(from)?)?,
    };
    std::fs::write(out, report.to_html()?)?;
    Ok(())
}
