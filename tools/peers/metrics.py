"""Integration metrics of scib-metrics on one embedding: values and seconds of each metric.

    python tools/peers/metrics.py prepare data.h5ad --batch study --label cell_type arrays.safetensors
    python tools/peers/metrics.py simulate 100000 arrays.safetensors
    python tools/peers/metrics.py run arrays.safetensors
    python tools/peers/metrics.py neighbours arrays.safetensors

`prepare` makes a fixed embedding: counts normalised to 10,000, log1p, 2,000 highly variable genes, 50
principal components (`before`), and those with the batch means taken out within the first 20 (`x`); types are
numbered by size.
`run` prints one line a metric: name, seconds of the second call (compilation is in the first, with the
same shapes), seconds of processor time of all threads, value. Neighbours are pynndescent's, as scib-metrics takes
them, unless `--exact`; `run --exact` also makes kBET's neighbours exact. Threads: set OMP_NUM_THREADS, NUMBA_NUM_THREADS,
XLA_FLAGS=--xla_cpu_multi_thread_eigen=false and, because JAX takes every processor it sees, taskset for a comparison at
equal threads; `cargo xtask analysis` does.
`neighbours` times scikit-learn's exact search of 15 neighbours, twice.

Needs scib-metrics, scanpy, scikit-learn and safetensors (requirements-current.txt).
"""

import argparse
import time

import numpy as np
from safetensors.numpy import load_file, save_file


def embedding(path, batch, label):
    import anndata
    import scanpy as sc

    a = anndata.read_h5ad(path)
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, n_top_genes=2000)
    a = a[:, a.var.highly_variable].copy()
    sc.pp.pca(a, n_comps=50)
    before = a.obsm["X_pca"].astype(np.float32)
    codes = a.obs[batch].astype("category").cat.codes.to_numpy().astype(np.int32)
    # Largest type first: scib-metrics' kbet_per_label gives no type more diffusion components than the smallest type
    # before it has cells.
    types = a.obs[label].map({t: i for i, t in enumerate(a.obs[label].value_counts().index)}).to_numpy().astype(np.int32)
    x = before[:, :20].copy()
    for b in np.unique(codes):
        x[codes == b] -= x[codes == b].mean(0)
    return {"x": x, "before": before, "types": types, "batch": codes}


def simulate(n):
    """20 types in 6 batches, 30 dimensions; type sizes differ by a factor of ten, each batch has its own shift."""
    rng = np.random.default_rng(4)
    share = np.linspace(1, 10, 20)
    types = rng.choice(20, size=n, p=share / share.sum())
    batch = rng.choice(6, size=n, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    centres = rng.normal(size=(20, 30)) * 1.5
    shift = rng.normal(size=(6, 30))
    noise = rng.normal(size=(n, 30)) * rng.uniform(0.4, 1.6, size=30)
    x = centres[types] + 0.2 * shift[batch] + noise
    before = centres[types] + shift[batch] + noise
    return {
        "x": x.astype(np.float32),
        "before": before.astype(np.float32),
        "types": types.astype(np.int32),
        "batch": batch.astype(np.int32),
    }


def exact(x, n_neighbors, **_):
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    x = np.asarray(x)
    search = NearestNeighbors(n_neighbors=n_neighbors - 1, algorithm="brute").fit(x.astype(np.float64))
    distances, indices = search.kneighbors()
    own = np.arange(len(x))[:, None]
    return NeighborsResults(
        indices=np.hstack([own, indices]),
        distances=np.hstack([np.zeros((len(x), 1)), distances]).astype(np.float32),
    )


def run(arrays, use_exact, only, repeat):
    import scib_metrics
    import scib_metrics.utils._diffusion_nn as diffusion
    from scib_metrics.nearest_neighbors import pynndescent

    x, before, types, batch = (arrays[k] for k in ("x", "before", "types", "batch"))
    if use_exact:
        diffusion.nearest_neighbors.pynndescent = exact
    search = exact if use_exact else lambda x, n_neighbors: pynndescent(x, n_neighbors=n_neighbors, random_state=0, n_jobs=-1)
    total = [0.0, 0.0]

    def timed(name, f):
        if only and name not in only and not name.startswith("neighbours"):
            return None
        for _ in range(repeat):
            start, used = time.perf_counter(), time.process_time()
            value = f()
            seconds, used = time.perf_counter() - start, time.process_time() - used
        total[0] += seconds
        total[1] += used
        if isinstance(value, dict):
            shown = " ".join(f"{k}={v}" for k, v in value.items())
        else:
            shown = value if np.isscalar(value) else ""
        print(f"{name}\t{seconds:.4f}\t{used:.4f}\t{shown}", flush=True)
        return value

    near = timed("neighbours 90", lambda: search(x, 90))
    fifteen, fifty = near.subset_neighbors(15), near.subset_neighbors(50)
    timed("isolated_labels", lambda: scib_metrics.isolated_labels(x, types, batch))
    # The graph is cached in the neighbours: made anew each time.
    timed("nmi_ari_leiden", lambda: scib_metrics.nmi_ari_cluster_labels_leiden(near.subset_neighbors(15), types, n_jobs=1))
    timed("silhouette_label", lambda: float(scib_metrics.silhouette_label(x, types)))
    timed("clisi_knn", lambda: float(scib_metrics.clisi_knn(near, types)))
    timed("silhouette_batch", lambda: float(scib_metrics.silhouette_batch(x, types, batch)))
    timed("bras", lambda: float(scib_metrics.metrics.bras(x, types, batch)))
    timed("ilisi_knn", lambda: float(scib_metrics.ilisi_knn(near, batch)))
    timed("kbet", lambda: float(scib_metrics.kbet(fifty, batch)[0]))
    timed("kbet_per_label", lambda: float(scib_metrics.kbet_per_label(near.subset_neighbors(50), batch, types)))
    timed("graph_connectivity", lambda: float(scib_metrics.graph_connectivity(fifteen, types)))
    timed("pcr_comparison", lambda: float(scib_metrics.pcr_comparison(before, x, batch, categorical=True)))
    print(f"all\t{total[0]:.4f}\t{total[1]:.4f}\t", flush=True)


def neighbours(x):
    from sklearn.neighbors import NearestNeighbors

    for _ in range(2):
        start, used = time.perf_counter(), time.process_time()
        NearestNeighbors(n_neighbors=15, algorithm="brute").fit(x).kneighbors()
        print(f"neighbours 15\t{time.perf_counter() - start:.4f}\t{time.process_time() - used:.4f}\t", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare")
    p.add_argument("data")
    p.add_argument("--batch", required=True)
    p.add_argument("--label", required=True)
    p.add_argument("out")
    p = commands.add_parser("simulate")
    p.add_argument("cells", type=int)
    p.add_argument("out")
    p = commands.add_parser("run")
    p.add_argument("arrays")
    p.add_argument("--exact", action="store_true")
    p.add_argument("--only", nargs="*")
    p.add_argument("--repeat", type=int, default=2)
    p = commands.add_parser("neighbours")
    p.add_argument("arrays")
    a = parser.parse_args()
    if a.command == "neighbours":
        neighbours(load_file(a.arrays)["x"])
    elif a.command == "prepare":
        save_file(embedding(a.data, a.batch, a.label), a.out)
    elif a.command == "simulate":
        save_file(simulate(a.cells), a.out)
    else:
        run(load_file(a.arrays), a.exact, a.only, a.repeat)


if __name__ == "__main__":
    main()
