use scgraft_golden::Golden;

use super::*;
use crate::{log1p, normalize_total};

/// The golden file, made by `tools/golden/hvg.py` with scanpy and scikit-misc.
fn golden() -> Golden {
    Golden::of("cells", "highly_variable_genes")
}

fn counts(golden: &Golden) -> Csr {
    let indptr: Vec<usize> = golden.codes("counts.indptr").iter().map(|&v| v as usize).collect();
    Csr {
        n_rows: indptr.len() - 1,
        n_cols: 300,
        indptr,
        indices: golden.codes("counts.indices"),
        values: golden.singles("counts.values"),
    }
}

fn batch(golden: &Golden) -> Coded {
    Coded { codes: golden.codes("batch"), levels: (0..3).map(|b| format!("b{b}")).collect() }
}

fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (g, (f, e)) in found.iter().zip(expected).enumerate() {
        let near = (f - e).abs() <= tolerance * e.abs().max(1.0) || (f.is_nan() && e.is_nan());
        assert!(near, "{what}, gene {g}: {f}, expected {e}");
    }
}

#[test]
fn the_loess_is_that_of_scikit_misc() {
    let golden = golden();
    let fitted = loess::loess(golden.values("loess.x"), golden.values("loess.y"), 0.3).unwrap();
    assert_close("loess", &fitted, golden.values("loess.fitted"), 1e-10);
}

#[test]
fn genes_scores_ranks_and_votes_are_those_of_scanpy() {
    let golden = golden();
    let counts = counts(&golden);
    let logged = log1p(&normalize_total(&counts, Some(1e4)));
    let sums: Vec<f64> = logged.row_sums().iter().map(|&v| f64::from(v)).collect();
    assert_close("log1p", &sums, golden.values("log1p.row_sums"), 1e-5);
    // scanpy adds up in single precision.
    for (name, flavor, x, tolerance) in [
        ("seurat_v3", HvgFlavor::SeuratV3, &counts, 1e-7),
        ("seurat_v3_paper", HvgFlavor::SeuratV3Paper, &counts, 1e-7),
        ("seurat", HvgFlavor::Seurat, &logged, 1e-4),
        ("cell_ranger", HvgFlavor::CellRanger, &logged, 1e-4),
    ] {
        for batched in [false, true] {
            let what = format!("{name}.{}", if batched { "batched" } else { "single" });
            let batch = batch(&golden);
            let options = HvgOptions { flavor, n_top: 50, ..HvgOptions::default() };
            let found = highly_variable(x, batched.then_some(&batch), &options).unwrap();
            assert_close(&what, &found.score, golden.values(&format!("{what}.score")), tolerance);
            let chosen: Vec<u32> = (0u32..)
                .zip(golden.codes(&format!("{what}.chosen")))
                .filter_map(|(g, chosen)| (chosen == 1).then_some(g))
                .collect();
            assert_eq!(found.chosen, chosen, "{what}");
            if batched {
                assert_eq!(found.n_batches, golden.codes(&format!("{what}.n_batches")), "{what}");
            }
            if name.starts_with("seurat_v3") {
                let rank: Vec<f64> = found.rank.iter().map(|r| r.unwrap_or(f64::NAN)).collect();
                assert_close(&what, &rank, golden.values(&format!("{what}.rank")), 0.0);
            }
        }
    }
}

#[test]
fn batches_without_cells_are_left_out_and_small_ones_named() {
    let golden = golden();
    let counts = counts(&golden);
    let options = HvgOptions { n_top: 50, ..HvgOptions::default() };
    let mut batch = batch(&golden);
    let expected = highly_variable(&counts, Some(&batch), &options).unwrap();
    batch.levels.push("empty".into());
    assert_eq!(highly_variable(&counts, Some(&batch), &options).unwrap(), expected);
    batch.codes[0] = 3;
    for flavor in [HvgFlavor::SeuratV3, HvgFlavor::Seurat] {
        let error = highly_variable(&counts, Some(&batch), &HvgOptions { flavor, ..options.clone() }).unwrap_err();
        assert!(matches!(error, CellsError::TooSmallToRank { ref batch, n_cells: 1, .. } if batch == "empty"));
    }
    assert!(highly_variable(&counts, None, &HvgOptions { n_top: 0, ..options.clone() }).is_err());
    assert!(highly_variable(&counts, None, &HvgOptions { span: 1.5, ..options }).is_err());
}
