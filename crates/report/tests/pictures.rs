//! Every picture at several sizes: nothing written runs out of it, and bad input is refused.

#[path = "../examples/simulated/mod.rs"]
mod simulated;

use scgraft_report::scene::{Anchor, Format, Scene, Shape, Size};
use scgraft_report::*;
use simulated::{CELL_TYPES, PROGRAMS, Random, blobs, strings};

/// Texts that leave the picture, as far as one can tell from their width.
fn cut(scene: &Scene) -> Vec<String> {
    let mut out = Vec::new();
    for shape in &scene.shapes {
        let Shape::Text(t) = shape else { continue };
        let width = scene.width_of(&t.text, t.size, t.weight);
        let (from, to) = match t.anchor {
            Anchor::Start => (0.0, width),
            Anchor::Middle => (-width / 2.0, width / 2.0),
            Anchor::End => (-width, 0.0),
        };
        let (sin, cos) = t.turn.to_radians().sin_cos();
        let corners = [(from, 0.0), (to, 0.0), (from, -0.7 * t.size), (to, -0.7 * t.size)];
        let inside = corners.iter().all(|(x, y)| {
            let (x, y) = (t.x + x * cos - y * sin, t.y + x * sin + y * cos);
            x > -0.5 && y > -0.5 && x < scene.size.width + 0.5 && y < scene.size.height + 0.5
        });
        if !inside {
            out.push(t.text.clone());
        }
    }
    out
}

/// Upright texts that lie on each other.
fn overlapping(scene: &Scene) -> Vec<[String; 2]> {
    let texts = scene.shapes.iter().filter_map(|shape| if let Shape::Text(t) = shape { Some(t) } else { None });
    let boxes: Vec<_> = texts
        .filter(|t| t.turn == 0.0)
        .map(|t| {
            let width = scene.width_of(&t.text, t.size, t.weight);
            let from = match t.anchor {
                Anchor::Start => t.x,
                Anchor::Middle => t.x - width / 2.0,
                Anchor::End => t.x - width,
            };
            (&t.text, [from, from + width, t.y - 0.7 * t.size, t.y])
        })
        .collect();
    let meet = |a: &[f64; 4], b: &[f64; 4]| a[0] < b[1] && b[0] < a[1] && a[2] < b[3] && b[2] < a[3];
    let pairs = boxes.iter().enumerate().flat_map(|(i, a)| boxes[i + 1..].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| meet(&a.1, &b.1)).map(|(a, b)| [a.0.clone(), b.0.clone()]).collect()
}

fn fits(name: &str, picture: &dyn Picture) {
    let natural = picture.natural_size();
    let narrow = Size::new(326.0, natural.height.max(420.0));
    for size in [natural, narrow, Size::new(1400.0, 1000.0_f64.max(natural.height))] {
        let scene = match picture.draw(size) {
            Ok(scene) => scene,
            // What does not fit says how much it needs, and fits then.
            Err(ReportError::TooSmall { min_width, min_height, .. }) => {
                picture.draw(Size::new(min_width, min_height + 1.0)).unwrap()
            }
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(cut(&scene), Vec::<String>::new(), "{name} at {size:?}");
        assert_eq!(overlapping(&scene), Vec::<[String; 2]>::new(), "{name} at {size:?}");
        assert!(scene.to_svg().unwrap().ends_with("</svg>"));
    }
    let error = picture.draw(Size::new(40.0, 40.0)).unwrap_err();
    assert!(matches!(error, ReportError::TooSmall { .. }), "{name}: {error}");
    let png = picture.draw(natural).unwrap().to_png(1.0).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 2_000, "{name}");
    assert_eq!(png, picture.draw(natural).unwrap().to_png(1.0).unwrap(), "{name}: the same pixels again");
}

#[test]
fn nothing_written_is_cut_off() {
    let mut random = Random(3);
    for kinds in [1, 5, 30] {
        let (x, y, mut codes) = blobs(2_000, kinds, &mut random);
        codes[0] = -1;
        let levels = strings(&CELL_TYPES[..kinds]);
        let by_type = Coloring::categories("cell_type", codes.clone(), levels.clone());
        fits("umap by category", &Embedding::umap("A title", &x, &y, &by_type));
        let scores = Coloring::signed_scores(PROGRAMS[0], x.clone());
        fits("umap by score", &Embedding::umap("", &x, &y, &scores));
        let pair = Embedding::programs("", (PROGRAMS[0], &x), (PROGRAMS[1], &y), &by_type);
        fits("programs", &pair);
        let violins = Violins {
            title: "",
            value: PROGRAMS[2],
            values: &x,
            codes: &codes,
            groups: &levels,
            split: None,
            colors: &[],
        };
        fits("violins", &violins);
        let mut transferred = levels.clone();
        transferred.push("unknown".into());
        let table = Confusion::from_codes((&codes, &levels), (&codes, &transferred)).unwrap();
        fits("confusion", &table);
        fits("sankey", &Sankey(&table));
        let map = Heatmap {
            title: "Mean score".into(),
            rows: strings(&PROGRAMS),
            columns: levels.clone(),
            values: (0..PROGRAMS.len() * kinds).map(|_| random.normal()).collect(),
            value: "mean score".into(),
            diverging: true,
        };
        fits("heat map", &map);
        let shares = map.values.iter().map(|_| random.uniform()).collect();
        fits("dot plot", &DotPlot { colors: map, shares, share: "cells above 0".into() });
    }
    let report = simulated::report(500);
    report.tests.iter().for_each(|t| fits("test", t));
    report.training.iter().for_each(|t| fits("training", t));
    report.metrics.iter().for_each(|m| fits("metrics", m));
    report.transfer.iter().filter_map(|t| t.reliability.as_ref()).for_each(|r| fits("reliability", r));
    for program in report.programs.iter().take(5) {
        fits("genes", &GeneBars { title: program.name.clone(), genes: program.genes.clone() });
    }
    let mut few = report.tests[0].clone();
    few.programs.truncate(7);
    fits("few programs", &few);
}

#[test]
fn degenerate_values_can_be_drawn() {
    let same = vec![1.0f32; 30];
    let flat = Coloring::scores("all the same", same.clone());
    fits("one place", &Embedding::umap("", &same, &same, &flat));
    let missing = Coloring::signed_scores("all missing", vec![f32::NAN; 30]);
    fits("missing", &Embedding::umap("", &same, &same, &missing));
    let one = Coloring::categories("one", vec![0], strings(&["only"]));
    fits("one cell", &Embedding::umap("", &[0.5], &[0.5], &one));
    let groups = strings(&["some", "two", "empty"]);
    let codes = [0, 0, 0, 0, 1, 1];
    let values = [1.0f32, 1.0, 1.0, 1.0, 2.0, 3.0];
    fits(
        "violins",
        &Violins { title: "", value: "v", values: &values, codes: &codes, groups: &groups, split: None, colors: &[] },
    );
    let curve = LossCurve { name: "loss".into(), train: vec![3.0], validation: vec![f64::NAN] };
    fits("one epoch", &Training { title: String::new(), curves: vec![curve], best_epoch: Some(1) });
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    let color = Coloring::categories("type", vec![0, 1], strings(&["a"]));
    let draw = |x: &[f32], y: &[f32], c: &Coloring| {
        let e = Embedding::umap("", x, y, c);
        e.draw(e.natural_size()).unwrap_err().to_string()
    };
    assert!(draw(&[0.0, 1.0], &[0.0, 1.0], &color).contains("code 1 at position 1, but there are 1 levels"));
    let fine = Coloring::categories("type", vec![0, 0], strings(&["a"]));
    assert!(draw(&[0.0, f32::NAN], &[0.0, 1.0], &fine).contains("NaN at position 1"));
    assert!(draw(&[0.0, 1.0], &[0.0], &fine).contains("expected 2 values, found 1"));
    assert!(draw(&[], &[], &fine).contains("at least one cell"));

    let mut test = simulated::report(10).tests.remove(0);
    test.programs[3].log_bf = f64::INFINITY;
    assert!(test.draw(test.natural_size()).unwrap_err().to_string().contains(&test.programs[3].name));
    let fit = Training { best_epoch: Some(9), ..simulated::report(10).training.remove(0) };
    let late = Training { best_epoch: Some(fit.epochs() + 1), ..fit };
    assert!(matches!(late.draw(late.natural_size()), Err(ReportError::Value { .. })));
    let error = Format::of("curve.gif".as_ref()).unwrap_err();
    assert!(error.to_string().contains(".png or .svg"), "{error}");
}

#[test]
fn many_cells_become_an_image_in_svg() {
    let mut random = Random(5);
    for (n, image) in [(50_000, false), (50_001, true)] {
        let (x, y, codes) = blobs(n, 4, &mut random);
        let color = Coloring::categories("type", codes, strings(&CELL_TYPES[..4]));
        let umap = Embedding::umap("", &x, &y, &color);
        let svg = umap.draw(umap.natural_size()).unwrap().to_svg().unwrap();
        assert_eq!(svg.contains("<image "), image, "{n} cells");
        assert!(svg.len() < 2_500_000, "{n} cells: {} bytes", svg.len());
    }
}

#[test]
fn a_report_survives_json_and_bad_ones_are_refused() {
    let mut report = simulated::report(50);
    let text = serde_json::to_string(&report).unwrap();
    let mut back: html::Report = serde_json::from_str(&text).unwrap();
    // NaN is not equal to itself.
    let gone = |m: &mut Option<Metrics>| m.take().map(|m| m.values.iter().filter(|v| v.is_nan()).count());
    assert_eq!(gone(&mut back.metrics), Some(1));
    gone(&mut report.metrics);
    assert!(back == report, "a report comes back as it was");

    let map = report.map_to_html().unwrap();
    assert!(map.contains("id=\"cells\"") && map.contains("<canvas"), "the map is there");
    assert!(!["<nav", "<footer", "id=\"overview\"", "id=\"methods\""].iter().any(|other| map.contains(other)));
    assert!(html::Report::default().map_to_html().unwrap_err().to_string().contains("map of the cells"));

    report.embeddings[0].cells.pop();
    let error = report.to_html().unwrap_err().to_string();
    assert!(error.contains("cell names") && error.contains("expected 50"), "{error}");
    let empty = html::Report::default().to_html().unwrap();
    assert!(empty.contains("scgraft report") && !empty.contains("id=\"cells\""));
}

#[test]
fn many_that_pass_on_both_sides_are_named_within_the_plot() {
    let factor = |i: usize| match i {
        0..22 => 6.9 - 0.2 * i as f64,
        22..118 => 2.2 - 0.045 * (i - 22) as f64,
        _ => -2.1 - 0.2 * (i - 118) as f64,
    };
    let named =
        |i| ProgramBayesFactor { name: format!("A_PROGRAM_OF_A_LONG_NAME_{i}"), log_bf: factor(i), se: Some(0.2) };
    let programs = (0..122).map(named).collect();
    fits("many pass", &BayesFactors { title: "unknown versus known".into(), programs, ..BayesFactors::default() });
}
