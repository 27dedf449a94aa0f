//! Simulated results for the examples and the browser test.
#![allow(dead_code)] // Each of them uses a part.

use scgraft_report::html::*;
use scgraft_report::*;

/// Uniform and normal numbers from a seed (splitmix64, Box–Muller).
pub struct Random(pub u64);

impl Random {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

pub const CELL_TYPES: [&str; 30] = [
    "CD4+ naive T",
    "CD4+ central memory T",
    "CD4+ effector memory T",
    "Regulatory T",
    "CD8+ naive T",
    "CD8+ effector memory T",
    "CD8+ TEMRA",
    "MAIT",
    "γδ T",
    "CD56dim NK",
    "CD56bright NK",
    "ILC2/3",
    "Naive B",
    "Transitional B",
    "Memory B",
    "Atypical memory B",
    "Plasmablast",
    "CD14+ monocyte",
    "CD16+ monocyte",
    "Intermediate monocyte",
    "cDC1",
    "cDC2",
    "AXL+ SIGLEC6+ dendritic cell",
    "Plasmacytoid DC",
    "Megakaryocyte",
    "Erythrocyte",
    "Haematopoietic stem and progenitor cell",
    "Granulocyte–monocyte progenitor",
    "Neutrophil",
    "Doublet",
];

pub const PROGRAMS: [&str; 16] = [
    "INTERFERON_ALPHA_BETA_SIGNALING",
    "INTERFERON_SIGNALING",
    "CYTOKINE_SIGNALING_IN_IMMUNE_SYSTEM",
    "ANTIVIRAL_MECHANISM_BY_IFN_STIMULATED_GENES",
    "INTERFERON_GAMMA_SIGNALING",
    "RIG_I_MDA5_MEDIATED_INDUCTION",
    "SIGNALLING_BY_NGF",
    "TCR_SIGNALING",
    "TRANSLATION",
    "CELL_CYCLE",
    "METABOLISM_OF_PROTEINS",
    "GPCR_SIGNALING",
    "TOLL_LIKE_RECEPTOR_CASCADES",
    "ANTIGEN_PROCESSING_CROSS_PRESENTATION",
    "COMPLEMENT_CASCADE",
    "HEMOSTASIS",
];

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|s| (*s).to_owned()).collect()
}

/// Cells in blobs; the code of each is its blob.
pub fn blobs(n: usize, kinds: usize, random: &mut Random) -> (Vec<f32>, Vec<f32>, Vec<i32>) {
    let centre: Vec<(f64, f64, f64)> = (0..kinds)
        .map(|i| {
            let turn = i as f64 * 2.399;
            let far = 1.9 * (i as f64 + 0.6).sqrt();
            (far * turn.cos(), far * turn.sin(), 0.35 + 0.45 * random.uniform())
        })
        .collect();
    let (mut x, mut y, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n {
        let kind = ((random.uniform().powf(1.6)) * kinds as f64) as usize;
        let (cx, cy, sd) = centre[kind];
        let (a, b) = (random.normal(), random.normal());
        x.push((cx + sd * a + 0.3 * sd * b) as f32);
        y.push((cy + sd * b) as f32);
        codes.push(kind as i32);
    }
    (x, y, codes)
}

fn loss(name: &str, start: f64, end: f64, epochs: usize, random: &mut Random) -> LossCurve {
    let mut curve = |shift: f64| -> Vec<f64> {
        let at = |t: f64| start + (end - start) * (1.0 - (-t / 14.0).exp()) + shift * t / epochs as f64;
        (0..epochs).map(|i| at(i as f64) + random.normal() * end * 0.004).collect()
    };
    LossCurve { name: name.into(), train: curve(0.0), validation: curve(0.05 * end) }
}

/// A whole report about `n` cells; one name tries to break out of the page.
pub fn report(n: usize) -> Report {
    let mut random = Random(11);
    let kinds = 14;
    let (x, y, codes) = blobs(n, kinds, &mut random);
    let levels = strings(&CELL_TYPES[..kinds]);
    let study: Vec<i32> = codes.iter().map(|_| (random.uniform() * 6.0) as i32).collect();
    let studies = strings(&["Zheng", "10x 3k", "10x 4k", "10x 8k", "Ding", "<b>Kang & \"co\"</b></script>"]);
    let mut colors = vec![
        Coloring::categories("cell_type", codes.clone(), levels.clone()),
        Coloring::categories("study", study.clone(), studies),
        Coloring::scores("uncertainty", codes.iter().map(|_| random.uniform().powi(3) as f32).collect()),
    ];
    for (p, name) in PROGRAMS.iter().enumerate().take(4) {
        let score = |(&c, &s): (&i32, &i32)| {
            f64::from((c + p as i32) % 5) - 2.0 + f64::from(i32::from(s == 5)) + 0.5 * random.normal()
        };
        colors.push(Coloring::signed_scores(*name, codes.iter().zip(&study).map(score).map(|v| v as f32).collect()));
    }
    let mut transferred = levels.clone();
    transferred.push("unknown".into());
    let got: Vec<i32> = codes
        .iter()
        .map(|&c| match random.uniform() {
            u if u < 0.8 => c,
            u if u < 0.93 => (c / 3) * 3,
            _ => kinds as i32,
        })
        .collect();
    let confusion = Confusion::from_codes((&codes, &levels), (&got, &transferred)).ok();
    let programs: Vec<Program> = (0..282)
        .map(|i| {
            let genes = 12 + i % 30;
            let name = PROGRAMS.get(i).map_or_else(|| format!("REACTOME_PROGRAM_NUMBER_{i}"), |s| (*s).to_owned());
            let gene = |g: usize, random: &mut Random| GeneWeight {
                name: format!("GENE{}", (i * 37 + g * 11) % 1972),
                weight: 0.9f64.powi(g as i32) * (1.0 + 0.1 * random.normal()),
                added: g % 6 == 4,
            };
            Program {
                name,
                kind: if i < 272 { "" } else { "new" }.into(),
                active: i % 4 != 3,
                confidence: [0.93, 0.41, 0.72, 0.0][i % 4],
                genes_found: (i % 40 == 2).then_some(0.3),
                n_genes: 0,
                genes: (0..genes).map(|g| gene(g, &mut random)).collect(),
            }
        })
        .collect();
    let test = |title: &str, random: &mut Random| BayesFactors {
        title: title.into(),
        group: "stimulated".into(),
        comparison: "control".into(),
        programs: programs
            .iter()
            .enumerate()
            .map(|(i, p)| ProgramBayesFactor {
                name: p.name.clone(),
                log_bf: if i < 8 { 4.3 - 0.3 * i as f64 } else { 0.7 * random.normal() },
                se: None,
            })
            .collect(),
        ..BayesFactors::default()
    };
    let tests =
        ["All cells", "CD14+ monocyte", "Naive B", "MAIT", "Regulatory T"].map(|t| test(t, &mut random)).to_vec();
    let labels = levels.iter().map(|name| TransferredLabel {
        name: name.clone(),
        cells: (random.uniform() * 3000.0) as u64 + 10,
        unknown: (random.uniform() * 10.0) as u64,
        uncertainty: random.uniform() * 0.6,
    });
    let labels = labels.collect();
    let bins = (0..10).map(|i| {
        let confidence = 0.05 + 0.1 * f64::from(i);
        ReliabilityBin { confidence, accuracy: confidence.powf(1.2), cells: 20 + 40 * (i as u64).pow(2) }
    });
    let bins = bins.collect();
    use MetricGroup::{Batch, Bio, Score};
    let metrics = [
        ("NMI", Bio),
        ("ARI", Bio),
        ("Cell type ASW", Bio),
        ("Isolated label F1", Bio),
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
    let methods = strings(&["scgraft expiMap", "scVI", "Harmony", "PCA"]);
    let values = (0..metrics.len() * methods.len())
        .map(|i| if i == 16 { f64::NAN } else { (0.88 - 0.009 * i as f64 + 0.06 * random.normal()).clamp(0.0, 1.0) });
    let values = values.collect();
    let leading = |i: usize, log_bf: f64, genes, same| Leading {
        program: PROGRAMS[i].into(),
        log_bf,
        passes: true,
        genes,
        heaviest: if i == 0 { ["ISG15", "IFI6", "MX1"].map(str::to_owned).to_vec() } else { Vec::new() },
        types: Some([same, 10]),
        donors: (i == 0).then_some(OverDonors { p: 3e-5, donors: [8, 8] }),
    };
    let criterion = |light, found: &str| Criterion { light, found: found.into(), rule: "(caution below 80 %)".into() };
    let next = |text: &str, section: &str, color: &str| Next {
        text: text.into(),
        section: section.into(),
        color: color.into(),
    };
    let shares = levels.iter().enumerate().map(|(i, name)| TypeShare {
        name: name.clone(),
        cells: 900 / (i as u64 + 1),
        color: color::category(i),
    });
    let answers = Answers {
        difference: Some(Difference {
            group: "stimulated".into(),
            comparison: "control".into(),
            cells: [1490, 1310],
            tested: 212,
            higher: 7,
            lower: 2,
            programs: vec![
                leading(0, 4.3, 1, 10),
                leading(1, 4.0, 1, 9),
                leading(2, 3.7, 1, 8),
                leading(8, -3.1, -1, 4),
                leading(4, 3.1, 0, 7),
            ],
        }),
        types: shares.collect(),
        unknown: "212 cells are unknown: further from every type of the reference than known types lie.".into(),
        mapping: vec![
            criterion(Light::Good, "100 % of the model's 1,972 genes are in the query"),
            criterion(Light::Look, "14 % of the cells are of no type of the reference"),
        ],
        next: vec![
            next("INTERFERON_SIGNALING on the cells", "cells", "INTERFERON_SIGNALING"),
            next("All tests", "tests", ""),
        ],
    };
    let compositions = vec![Composition {
        by: "condition".into(),
        groups: strings(&["control", "stimulated"]),
        labels: levels.iter().enumerate().map(|(i, l)| (l.clone(), color::category(i))).collect(),
        cells: (0..2 * kinds as u64).map(|i| 10 + 37 * i % 90).collect(),
    }];
    Report {
        title: "Kang 2018 mapped onto a PBMC reference".into(),
        run: RunInfo {
            model: "expiMap, soft mask".into(),
            date: "2026-11-21".into(),
            command:
                "scgraft map --reference reference.safetensors --query kang.h5ad --condition study --out mapped.h5ad"
                    .into(),
            seed: Some(2020),
            data: vec![
                Fact::new("reference", "pbmc_reference_merged.h5ad"),
                Fact::new("reference cells", "8,926"),
                Fact::new("query", "kang_ifnb_2800.h5ad"),
                Fact::new("query cells", "2,800"),
                Fact::new("genes in the model", "1,972 (100 % of them in the query)"),
                Fact::new("conditions", "5 in the reference, 1 new"),
            ],
            settings: ["kl_weight 0.5", "lasso_weight 0.7", "l1_weight 0.5", "hidden 256×3", "learning_rate 0.001"]
                .iter()
                .filter_map(|s| s.split_once(' ').map(|(a, b)| Fact::new(a, b)))
                .collect(),
            versions: vec![Fact::new("scgraft", env!("CARGO_PKG_VERSION")), Fact::new("model file", "1")],
            methods: vec![
                "A conditional variational autoencoder whose linear decoder is masked by gene programs was \
                trained on the reference; the query was mapped onto it by training only the weights of its own \
                condition. Labels were transferred from the 15 nearest reference cells."
                    .into(),
            ],
            citations: vec![Citation {
                text: "Lotfollahi M. et al. Biologically informed deep learning to query gene programs in single-cell \
                       atlases. Nat Cell Biol 25, 337–350 (2023)."
                    .into(),
                doi: "10.1038/s41556-022-01072-x".into(),
            }],
        },
        training: vec![Training {
            title: "Reference".into(),
            curves: vec![
                loss("loss", 1400.0, 420.0, 240, &mut random),
                loss("reconstruction", 1380.0, 395.0, 240, &mut random),
                loss("KL", 2.0, 48.0, 240, &mut random),
                loss("group lasso", 90.0, 31.0, 240, &mut random),
            ],
            best_epoch: Some(190),
        }],
        embeddings: vec![CellMap {
            name: "UMAP of reference and query".into(),
            axes: ["UMAP 1".into(), "UMAP 2".into()],
            cells: (0..n).map(|i| format!("cell-{i}")).collect(),
            x,
            y,
            colors,
            reference: n / 3,
        }],
        transfer: Some(Transfer {
            label: "cell_type".into(),
            method: "15 nearest reference cells, the paper's kernel; more uncertain than 0.5 is unknown.".into(),
            labels,
            confusion,
            reliability: Some(Reliability { title: String::new(), bins, ece: Some(0.031) }),
        }),
        heatmaps: vec![Heatmap {
            title: "Mean score in the cell types".into(),
            rows: strings(&PROGRAMS),
            columns: levels.clone(),
            values: (0..PROGRAMS.len() * kinds).map(|_| random.normal()).collect(),
            value: "mean score".into(),
            diverging: true,
        }],
        answers,
        compositions,
        programs,
        tests,
        metrics: Some(Metrics {
            title: String::new(),
            methods,
            metrics: metrics.into_iter().map(|(name, group)| Metric { name: name.into(), group }).collect(),
            values,
            by_rank: false,
        }),
    }
}
