//! The report's data for its script: JSON with typed arrays as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::content::{CellMap, Report};
use crate::color::{MISSING, Scale};
use crate::pictures::{outside_words, within_limits};
use crate::{ColorValues, Coloring, ReportError};

/// Number of steps of a packed score; one more code is kept for "missing".
const STEPS: f64 = 65_534.0;
const NOTHING: u16 = 65_535;

/// 16-bit codes, least significant byte first, as base64.
fn base64_of(codes: impl Iterator<Item = u16>) -> String {
    let bytes: Vec<u8> = codes.flat_map(u16::to_le_bytes).collect();
    STANDARD.encode(bytes)
}

/// Values in 65,535 steps from least to greatest; the limits belong to the packing, not to the colours.
fn pack(values: &[f32]) -> Value {
    let (lo, hi) = values
        .iter()
        .filter(|v| v.is_finite())
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)));
    let (lo, hi) = if lo <= hi { (f64::from(lo), f64::from(hi)) } else { (0.0, 0.0) };
    let span = if hi > lo { hi - lo } else { 1.0 };
    let code = |v: &f32| if v.is_finite() { ((f64::from(*v) - lo) / span * STEPS).round() as u16 } else { NOTHING };
    json!({ "lo": lo, "span": span, "codes": base64_of(values.iter().map(code)) })
}

fn coloring(c: &Coloring, (x, y): (&[f32], &[f32])) -> Value {
    match &c.values {
        ColorValues::Categories { codes, levels } => {
            let colors: Vec<String> = (0..levels.len()).map(|i| c.color(i).css()).collect();
            let code = |v: &i32| if *v < 0 { NOTHING } else { *v as u16 };
            json!({
                "name": c.name, "levels": levels, "colors": colors, "codes": base64_of(codes.iter().map(code)),
                "apart": c.lie_apart(x, y),
            })
        }
        ColorValues::Scores { values, diverging } => {
            let (lo, hi, beyond) = Coloring::score_limits(values, *diverging);
            json!({
                "name": c.name, "values": pack(values), "lo": lo, "hi": hi, "beyond": [beyond.0, beyond.1],
                "scale": if *diverging { "diverging" } else { "viridis" },
            })
        }
    }
}

fn cell_map(map: &CellMap) -> Value {
    let (x, y, outside) = within_limits(&map.x, &map.y);
    json!({
        "name": map.name,
        "axes": map.axes,
        "n": map.x.len(),
        "reference": map.reference,
        "outside": if outside > 0 { outside_words(outside) } else { String::new() },
        "x": pack(&x),
        "y": pack(&y),
        // One string is read faster than many.
        "cells": map.cells.iter().map(|c| c.replace('\n', " ")).collect::<Vec<_>>().join("\n"),
        "colors": map.colors.iter().map(|c| coloring(c, (&x, &y))).collect::<Vec<_>>(),
    })
}

/// JSON that may stand inside a `<script>` element.
pub(super) fn json(report: &Report) -> Result<String, ReportError> {
    let css = |scale: Scale| scale.anchors().iter().map(|c| c.css()).collect::<Vec<_>>();
    let genes = |p: &super::Program| -> Vec<Value> {
        p.genes.iter().map(|g| json!([g.name, g.weight, u8::from(g.added)])).collect()
    };
    let data = json!({
        "maps": report.embeddings.iter().map(cell_map).collect::<Vec<_>>(),
        "genes": report.programs.iter().map(genes).collect::<Vec<_>>(),
        "numberOfGenes": report.programs.iter().map(|p| p.n_genes.max(p.genes.len() as u64)).collect::<Vec<_>>(),
        "scales": { "viridis": css(Scale::Viridis), "diverging": css(Scale::Diverging) },
        "missing": MISSING.css(),
    });
    // "</script>" or "<!--" in a name would end the element.
    Ok(serde_json::to_string(&data)?.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_within_a_step() {
        let values = [-1.5f32, 0.0, 2.5, f32::NAN];
        let packed = pack(&values);
        let bytes = STANDARD.decode(packed["codes"].as_str().unwrap()).unwrap();
        let codes: Vec<u16> = bytes.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(codes[3], NOTHING);
        let (lo, span) = (packed["lo"].as_f64().unwrap(), packed["span"].as_f64().unwrap());
        for (v, c) in values.iter().zip(&codes).take(3) {
            assert!((lo + span * f64::from(*c) / STEPS - f64::from(*v)).abs() <= span / STEPS);
        }
    }

    #[test]
    fn names_cannot_end_the_script() {
        let report = Report {
            embeddings: vec![CellMap {
                name: "</script><b>".into(),
                x: vec![0.0],
                y: vec![0.0],
                colors: vec![Coloring::scores("<!--", vec![1.0])],
                ..CellMap::default()
            }],
            ..Report::default()
        };
        let text = json(&report).unwrap();
        assert!(!text.contains('<'));
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["maps"][0]["name"], "</script><b>");
    }
}
