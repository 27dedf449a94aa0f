"""Golden file of highly variable genes: scanpy's flavours on simulated counts, and scikit-misc's loess alone.

Run with a Python that has scanpy and scikit-misc:

    python tools/golden/hvg.py
"""

import warnings
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
import scipy.sparse as sp
from skmisc.loess import loess

import fixture

warnings.filterwarnings("ignore")
fixture.FOLDER = Path(__file__).resolve().parents[2] / "crates" / "cells" / "tests" / "golden"

CELLS, GENES, BATCHES, TOP, SPAN = 150, 300, 3, 50, 0.3
FLAVORS = ["seurat_v3", "seurat_v3_paper", "seurat", "cell_ranger"]
PACKAGES = ["scanpy", "scikit-misc", "anndata", "numpy", "pandas", "scipy"]


def simulate(rng):
    """Sparse counts: levels over two decades, some genes that differ between cells, some absent from a batch.

    No gene is so rare that two have the same counts up to order: numpy breaks such ties in no fixed order.
    """
    codes = rng.permutation(np.arange(CELLS) % BATCHES)
    level = 10 ** rng.uniform(-0.7, 1.2, size=GENES)
    spread = rng.gamma(1.0, 0.5, size=GENES)
    state = np.exp(spread * rng.standard_normal((CELLS, GENES)))
    effect = np.exp(0.4 * rng.standard_normal((BATCHES, GENES)))
    effect[0, :15] = 0.0
    effect[:, 15:18] = 0.0
    depth = rng.uniform(0.5, 2.0, size=(CELLS, 1))
    x = rng.poisson(depth * level * state * effect[codes])
    return sp.csr_matrix(x.astype(np.float32)), codes.astype(np.int32)


def main():
    rng = np.random.default_rng(2020)
    x, codes = simulate(rng)
    tensors = {
        "counts.indptr": x.indptr.astype(np.int32),
        "counts.indices": x.indices.astype(np.int32),
        "counts.values": x.data.astype(np.int32),
        "batch": codes,
    }
    adata = anndata.AnnData(x)
    adata.var_names = [f"G{i:04d}" for i in range(GENES)]
    adata.obs["batch"] = [f"b{c}" for c in codes]
    adata.obs["batch"] = adata.obs["batch"].astype("category")
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    tensors["log1p.row_sums"] = np.asarray(logged.X.sum(1)).ravel().astype(np.float64)
    for flavor in FLAVORS:
        for batch in [None, "batch"]:
            data = adata if flavor.startswith("seurat_v3") else logged
            table = sc.pp.highly_variable_genes(
                data, n_top_genes=TOP, flavor=flavor, span=SPAN, batch_key=batch, inplace=False
            )
            # Some versions return the table in another order than the genes'.
            if list(table.index) != list(adata.var_names) and set(table.index) == set(adata.var_names):
                table = table.loc[adata.var_names]
            stem = f"{flavor}.{'batched' if batch else 'single'}"
            score = "variances_norm" if flavor.startswith("seurat_v3") else "dispersions_norm"
            tensors[f"{stem}.chosen"] = table["highly_variable"].to_numpy().astype(np.int32)
            tensors[f"{stem}.score"] = table[score].to_numpy().astype(np.float64)
            if batch:
                tensors[f"{stem}.n_batches"] = table["highly_variable_nbatches"].to_numpy().astype(np.int32)
            if flavor.startswith("seurat_v3"):
                tensors[f"{stem}.rank"] = table["highly_variable_rank"].to_numpy().astype(np.float64)
    # Many points on few spots at one end, as log means of rare genes are.
    px = np.concatenate([np.log10(rng.integers(1, 6, size=150)), rng.uniform(0.5, 3.0, size=250)])
    py = np.sin(px) + 0.1 * rng.standard_normal(px.size)
    model = loess(px, py, span=SPAN, degree=2)
    model.fit()
    tensors |= {"loess.x": px, "loess.y": py, "loess.fitted": np.array(model.outputs.fitted_values)}
    settings = {"n_top": TOP, "span": SPAN, "n_bins": 20, "target_sum": 1e4, "n_genes": GENES}
    fixture.write("highly_variable_genes", tensors, settings, PACKAGES, "hvg.py")


main()
