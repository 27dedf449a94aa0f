//! Draws every picture from simulated data, at its natural size and small, as PNG and SVG; or those of a `Report` kept
//! as JSON.
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
    if let Some(report) = std::env::args().nth(2) {
        let report: html::Report = serde_json::from_slice(&std::fs::read(report)?)?;
        return kept(&folder, &report);
    }
    let mut random = Random(7);
    embeddings(&folder, &mut random)?;
    programs(&folder, &mut random)?;
    training(&folder, &mut random)?;
    transfer(&folder, &mut random)?;
    tables(&folder, &mut random)?;
    Ok(())
}

/// The pictures of a report.
fn kept(folder: &Path, report: &html::Report) -> Drawn {
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

fn embeddings(folder: &Path, random: &mut Random) -> Drawn {
    let levels = strings(&CELL_TYPES);
    for (name, n, kinds) in [("umap_30", 20_000, 30), ("umap_8", 3_000, 8), ("umap_million", 1_000_000, 12)] {
        let (x, y, mut codes) = blobs(n, kinds, random);
        for code in codes.iter_mut().step_by(50) {
            *code = -1;
        }
        let color = Coloring::categories("cell_type", codes, levels[..kinds].to_vec());
        both(folder, name, &Embedding::umap("Reference and query", &x, &y, &color), Size::new(320.0, 420.0))?;
    }
    let (x, y, codes) = blobs(20_000, 12, random);
    let score: Vec<f32> = codes.iter().map(|&c| (f64::from(c % 4) - 1.0 + 0.6 * random.normal()) as f32).collect();
    let color = Coloring::signed_scores(PROGRAMS[0], score.clone());
    both(folder, "umap_score", &Embedding::umap("", &x, &y, &color), Size::new(300.0, 260.0))?;
    let color = Coloring::scores("uncertainty", score.iter().map(|s| s.abs().min(1.0)).collect());
    both(folder, "umap_uncertainty", &Embedding::umap("", &x, &y, &color), Size::new(300.0, 260.0))?;
    let other: Vec<f32> = codes.iter().map(|&c| (f64::from(c % 3) + 0.5 * random.normal()) as f32).collect();
    let color = Coloring::categories("cell_type", codes, levels[..12].to_vec());
    let pair = Embedding::programs("", (PROGRAMS[0], &score), (PROGRAMS[7], &other), &color);
    both(folder, "programs", &pair, Size::new(320.0, 380.0))
}

fn programs(folder: &Path, random: &mut Random) -> Drawn {
    let (_, _, codes) = blobs(6_000, 14, random);
    let condition: Vec<i32> = codes.iter().map(|_| i32::from(random.uniform() > 0.5)).collect();
    let values: Vec<f32> = codes
        .iter()
        .zip(&condition)
        .map(|(&g, &c)| (random.normal() * 0.5 + f64::from(g % 3) * 0.4 + 1.2 * f64::from(c)) as f32)
        .collect();
    let conditions = strings(&["control", "stimulated"]);
    let groups = strings(&CELL_TYPES[..14]);
    let split = Split { name: "condition", codes: &condition, levels: &conditions };
    let mut violins = Violins {
        title: "",
        value: PROGRAMS[0],
        values: &values,
        codes: &codes,
        groups: &groups,
        split: Some(split),
        colors: &[],
    };
    both(folder, "violins_split", &violins, Size::new(320.0, 420.0))?;
    violins.split = None;
    both(folder, "violins_long", &violins, Size::new(320.0, 300.0))?;
    let few = strings(&["B", "NK", "CD4 T", "CD8 T", "Mono", "DC"]);
    let codes: Vec<i32> = codes.iter().map(|c| c % 6).collect();
    let short = Violins { codes: &codes, groups: &few, ..violins };
    both(folder, "violins", &short, Size::new(320.0, 240.0))?;

    let tested = (0..282).map(|i| {
        let strong = if i < 9 { 4.6 - 0.28 * i as f64 } else { 0.75 * random.normal() };
        let log_bf = if i == 20 {
            -2.9
        } else if i == 21 {
            -2.4
        } else {
            strong
        };
        let name = PROGRAMS.get(i).map_or_else(|| format!("PROGRAM_{i}"), |s| (*s).to_owned());
        ProgramBayesFactor { name, log_bf, se: None }
    });
    let test = BayesFactors {
        title: "Kang: stimulated against control".into(),
        group: "stimulated".into(),
        comparison: "control".into(),
        programs: tested.collect(),
        ..BayesFactors::default()
    };
    both(folder, "bayes", &test, Size::new(320.0, 300.0))?;
    let mut few = test.clone();
    few.programs.truncate(12);
    for p in &mut few.programs {
        p.se = Some(0.2);
    }
    both(folder, "bayes_few", &few, Size::new(320.0, 300.0))
}

fn training(folder: &Path, random: &mut Random) -> Drawn {
    let curve = |name: &str, start: f64, end: f64, rise: bool, random: &mut Random| {
        let mut at = |shift: f64| -> Vec<f64> {
            (0..240)
                .map(|i| {
                    let t = f64::from(i);
                    let fall = if rise { 1.0 - (-t / 30.0).exp() } else { 1.0 - (-t / 12.0).exp() };
                    start + (end - start) * fall + shift * (t / 240.0) + random.normal() * end * 0.004
                })
                .collect()
        };
        LossCurve { name: name.into(), train: at(0.0), validation: at(0.03 * end) }
    };
    let fit = Training {
        title: "Reference, expiMap".into(),
        curves: vec![
            curve("loss", 1400.0, 420.0, false, random),
            curve("reconstruction", 1380.0, 395.0, false, random),
            curve("KL", 2.0, 48.0, true, random),
            curve("group lasso", 90.0, 31.0, false, random),
            curve("HSIC", 0.3, 0.02, false, random),
        ],
        best_epoch: Some(187),
    };
    both(folder, "training", &fit, Size::new(320.0, 560.0))
}

fn transfer(folder: &Path, random: &mut Random) -> Drawn {
    for (name, kinds) in [("8", 8usize), ("30", 30)] {
        let labels = strings(&CELL_TYPES[..kinds]);
        let mut transferred = labels.clone();
        transferred.push("unknown".into());
        let given: Vec<i32> = (0..5_000).map(|_| (random.uniform().powf(1.5) * kinds as f64) as i32).collect();
        let got: Vec<i32> = given
            .iter()
            .map(|&g| match random.uniform() {
                u if u < 0.78 => g,
                u if u < 0.88 => (g + 1) % kinds as i32,
                u if u < 0.92 => (g / 3) * 3,
                _ => kinds as i32,
            })
            .collect();
        let table = Confusion::from_codes((&given, &labels), (&got, &transferred))?;
        both(folder, &format!("confusion_{name}"), &table, Size::new(330.0, 360.0))?;
        both(folder, &format!("sankey_{name}"), &Sankey(&table), Size::new(330.0, 420.0))?;
    }
    let bins = (0..10)
        .map(|i| {
            let confidence = 0.05 + 0.1 * f64::from(i);
            ReliabilityBin { confidence, accuracy: confidence.powf(1.3), cells: 20 + 30 * (i as u64).pow(2) }
        })
        .collect();
    let curve = Reliability { title: "Label transfer".into(), bins, ece: Some(0.043) };
    both(folder, "reliability", &curve, Size::new(260.0, 280.0))
}

fn tables(folder: &Path, random: &mut Random) -> Drawn {
    let genes = [
        "ISG15", "IFI6", "MX1", "IFIT3", "ISG20", "LY6E", "OAS1", "IRF7", "IFIT1", "STAT1", "XAF1", "PSMB8", "IFITM3",
        "B2M", "HLA-A", "SOCS1", "JAK1", "TYK2",
    ];
    let weight = |i: usize| if i == 15 || i == 12 { -0.3 } else { 1.4 * 0.86f64.powi(i as i32) };
    let genes =
        genes.iter().enumerate().map(|(i, g)| GeneWeight { name: (*g).into(), weight: weight(i), added: i % 5 == 3 });
    let bars = GeneBars { title: PROGRAMS[0].into(), genes: genes.collect() };
    both(folder, "genes", &bars, Size::new(260.0, 320.0))?;

    let map = Heatmap {
        title: "Mean score".into(),
        rows: strings(&PROGRAMS),
        columns: strings(&CELL_TYPES[..12]),
        values: (0..16 * 12).map(|i| if i == 30 { f64::NAN } else { random.normal() }).collect(),
        value: "mean score".into(),
        diverging: true,
    };
    both(folder, "heatmap", &map, Size::new(340.0, 360.0))?;
    let shares = (0..16 * 12).map(|_| random.uniform()).collect();
    let dots = DotPlot { colors: Heatmap { diverging: false, ..map }, shares, share: "cells above 0".into() };
    both(folder, "dots", &dots, Size::new(340.0, 380.0))?;

    use MetricGroup::{Batch, Bio, Score};
    let names = [
        ("NMI", Bio),
        ("ARI", Bio),
        ("Cell type ASW", Bio),
        ("Isolated label F1", Bio),
        ("Isolated label silhouette", Bio),
        ("Graph cLISI", Bio),
        ("PC regression", Batch),
        ("Batch ASW", Batch),
        ("Graph iLISI", Batch),
        ("Graph connectivity", Batch),
        ("kBET", Batch),
        ("Bio", Score),
        ("Batch", Score),
        ("Overall", Score),
    ];
    let methods = ["scgraft expiMap", "scArches expiMap", "scVI", "Harmony", "Symphony", "PCA"];
    let n = names.len() * methods.len();
    let table = Metrics {
        title: "PBMC, 5 studies".into(),
        methods: strings(&methods),
        metrics: names.into_iter().map(|(name, group)| Metric { name: name.into(), group }).collect(),
        values: (0..n)
            .map(|i| if i == 17 { f64::NAN } else { (0.9 - 0.006 * i as f64 + 0.1 * random.normal()).clamp(0.0, 1.0) })
            .collect(),
        by_rank: false,
    };
    both(folder, "metrics", &table, Size::new(330.0, 300.0))
}
