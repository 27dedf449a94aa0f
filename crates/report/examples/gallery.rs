//! Draws every picture, at its natural size and small, as PNG and SVG: those of a simulated report, or of a `Report` kept as
//! JSON, and some that strain what they draw.
//!
//! `cargo run -p scgraft-report --example gallery -- folder [report.json]`

use std::path::{Path, PathBuf};

mod simulated;

use scgraft_report::scene::Size;
use scgraft_report::*;
use simulated::{CELL_TYPES, PROGRAMS, Random, blobs, strings};

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn main() -> Drawn {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".to_owned()));
    std::fs::create_dir_all(&folder)?;
    let report = match std::env::args().nth(2) {
        Some(report) => serde_json::from_slice(&std::fs::read(report)?)?,
        None => simulated::report(20_000),
    };
    pictures(&folder, &report)?;
    straining(&folder, &mut Random(7))
}

/// The pictures of a report.
fn pictures(folder: &Path, report: &html::Report) -> Drawn {
    for (m, map) in report.embeddings.iter().enumerate() {
        for (c, color) in map.colors.iter().enumerate() {
            let name = format!("map{m}_{c}");
            both(folder, &name, &Embedding::umap(&map.name, &map.x, &map.y, color), Size::new(330.0, 460.0))?;
        }
        // Every score by every category.
        for color in &map.colors {
            let ColorValues::Scores { values, .. } = &color.values else { continue };
            for by in &map.colors {
                let ColorValues::Categories { codes, levels } = &by.values else { continue };
                let violins =
                    Violins { title: "", value: &color.name, values, codes, groups: levels, split: None, colors: &[] };
                let name = format!("violins{m}_{}_{}", color.name.replace('/', "_"), by.name.replace('/', "_"));
                both(folder, &name, &violins, Size::new(330.0, 320.0))?;
            }
        }
    }
    for (i, test) in report.tests.iter().enumerate() {
        both(folder, &format!("test{i}"), test, Size::new(330.0, 300.0))?;
    }
    for (i, fit) in report.training.iter().enumerate() {
        both(folder, &format!("training{i}"), fit, Size::new(330.0, 560.0))?;
    }
    if let Some(confusion) = report.transfer.as_ref().and_then(|t| t.confusion.as_ref()) {
        both(folder, "confusion", confusion, Size::new(330.0, 360.0))?;
        both(folder, "sankey", &Sankey(confusion), Size::new(330.0, 420.0))?;
    }
    if let Some(curve) = report.transfer.as_ref().and_then(|t| t.reliability.as_ref()) {
        both(folder, "reliability", curve, Size::new(260.0, 280.0))?;
    }
    for (i, map) in report.heatmaps.iter().enumerate() {
        both(folder, &format!("heatmap{i}"), map, Size::new(340.0, 360.0))?;
    }
    for program in report.programs.iter().take(3) {
        let bars = GeneBars { title: program.name.clone(), genes: program.genes.iter().take(25).cloned().collect() };
        both(folder, &format!("genes_{}", program.name.replace('/', "_")), &bars, Size::new(260.0, 420.0))?;
    }
    if let Some(metrics) = &report.metrics {
        both(folder, "metrics", metrics, Size::new(330.0, 300.0))?;
    }
    Ok(())
}

/// Writes a picture at its natural size (PNG, SVG) and at a small one (PNG).
fn both(folder: &Path, name: &str, picture: &dyn Picture, small: Size) -> Drawn {
    let natural = picture.draw(picture.natural_size())?;
    std::fs::write(folder.join(format!("{name}.png")), natural.to_png(2.0)?)?;
    std::fs::write(folder.join(format!("{name}.svg")), natural.to_svg()?)?;
    Ok(std::fs::write(folder.join(format!("{name}_small.png")), picture.draw(small)?.to_png(2.0)?)?)
}

/// Many types, many cells, split groups, values that are missing.
fn straining(folder: &Path, random: &mut Random) -> Drawn {
    let levels = strings(&CELL_TYPES);
    for (name, n, kinds) in [("umap_30", 20_000, 30), ("umap_8", 3_000, 8), ("umap_million", 1_000_000, 12)] {
        let (x, y, mut codes) = blobs(n, kinds, random);
        for code in codes.iter_mut().step_by(50) {
            *code = -1;
        }
        let color = Coloring::categories("cell_type", codes, levels[..kinds].to_vec());
        both(folder, name, &Embedding::umap("Reference and query", &x, &y, &color), Size::new(320.0, 420.0))?;
    }
    let (_, _, codes) = blobs(6_000, 14, random);
    let condition: Vec<i32> = codes.iter().map(|_| i32::from(random.uniform() > 0.5)).collect();
    let value = |(&g, &c): (&i32, &i32)| random.normal() * 0.5 + f64::from(g % 3) * 0.4 + 1.2 * f64::from(c);
    let values: Vec<f32> = codes.iter().zip(&condition).map(value).map(|v| v as f32).collect();
    let (conditions, groups) = (strings(&["control", "stimulated"]), &levels[..14]);
    let split = Some(Split { name: "condition", codes: &condition, levels: &conditions });
    let violins = Violins { title: "", value: PROGRAMS[0], values: &values, codes: &codes, groups, split, colors: &[] };
    both(folder, "violins_split", &violins, Size::new(320.0, 420.0))?;
    let other: Vec<f32> = codes.iter().map(|&c| (f64::from(c % 3) + 0.5 * random.normal()) as f32).collect();
    let color = Coloring::categories("cell_type", codes, groups.to_vec());
    let pair = Embedding::programs("", (PROGRAMS[0], &values), (PROGRAMS[7], &other), &color);
    both(folder, "programs", &pair, Size::new(320.0, 380.0))?;

    let given: Vec<i32> = (0..5_000).map(|_| (random.uniform().powf(1.5) * 30.0) as i32).collect();
    let got: Vec<i32> = given.iter().map(|&g| if random.uniform() < 0.8 { g } else { (g / 3) * 3 }).collect();
    let table = Confusion::from_codes((&given, &levels), (&got, &levels))?;
    both(folder, "confusion_30", &table, Size::new(330.0, 360.0))?;
    both(folder, "sankey_30", &Sankey(&table), Size::new(330.0, 420.0))?;

    let colors = Heatmap {
        title: "Mean score".into(),
        rows: strings(&PROGRAMS),
        columns: levels[..12].to_vec(),
        values: (0..16 * 12).map(|i| if i == 30 { f64::NAN } else { random.normal() }).collect(),
        value: "mean score".into(),
        diverging: false,
    };
    let shares = (0..16 * 12).map(|_| random.uniform()).collect();
    both(folder, "dots", &DotPlot { colors, shares, share: "cells above 0".into() }, Size::new(340.0, 380.0))
}
