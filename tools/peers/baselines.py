"""Baselines beside scgraft: embeddings of other methods, put into the obsm of a file that holds query and reference.

    scgraft join reference_out.h5ad mapped.h5ad -o joined.h5ad
    python tools/peers/baselines.py joined.h5ad --batch study --query Kang -o all.h5ad
    scgraft evaluate all.h5ad --embedding X_scgraft,X_pca,X_harmony,X_scanorama,X_symphony,X_project,X_cca \
        --query Kang --batch study --labels cell_type --tsv metrics.tsv -o metrics.png

Counts are taken from X, scaled to 10,000 a cell and log1p; genes are the 2,000 most variable by batch (scanpy, flavour
seurat), components are 50. Of all cells together, as one integrates from the start:

X_pca        principal components, nothing corrected
X_harmony    Harmony (harmonypy) on these, every batch
X_scanorama  Scanorama on the scaled genes, every batch

Of a query on a reference that stays as it is:

X_project    the reference's components, the query projected on them (what Seurat's pcaproject and scanpy's ingest start from)
X_symphony   Symphony (symphonypy): Harmony on the reference, the query mapped onto it

And between the two, as Seurat's RunCCA does before it looks for anchors:

X_cca        canonical vectors: the singular vectors of (standardised reference) × (standardised query)ᵀ over genes, each
             cell's of length 1

Seurat's anchors, LIGER, Conos and mnnCorrect are R packages; what they make can be put into obsm alike.

Prints a line a method: its seconds. Needs requirements-baselines.txt. Threads: set OMP_NUM_THREADS.
"""

import argparse
import time

import numpy as np


def standardised(x):
    """Genes of mean 0 and standard deviation 1 over the cells; those without spread are 0."""
    x = np.asarray(x.todense() if hasattr(x, "todense") else x, dtype=np.float32)
    x = x - x.mean(0)
    sd = x.std(0, ddof=1)
    return np.clip(np.divide(x, sd, out=np.zeros_like(x), where=sd > 0), -10, 10)


def cca(reference, query, n, seed):
    """Singular vectors of reference × queryᵀ, [cells × n] of each, rows of length 1."""
    from sklearn.utils.extmath import randomized_svd

    u, _, vt = randomized_svd(standardised(reference) @ standardised(query).T, n, random_state=seed)
    unit = lambda m: m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12)
    return unit(u), unit(vt.T)


def main():
    made = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made.add_argument("cells", help="h5ad with raw counts of query and reference in X")
    made.add_argument("--batch", required=True, help="column of obs")
    made.add_argument("--query", required=True, help="batches that are the query, with commas between")
    made.add_argument("--only", metavar="COLUMN=VALUE", help="only cells with this value in a column of obs")
    made.add_argument("-o", "--output", required=True)
    made.add_argument("--methods", default="pca,harmony,scanorama,project,symphony,cca")
    made.add_argument("--genes", type=int, default=2000)
    made.add_argument("--components", type=int, default=50)
    made.add_argument("--seed", type=int, default=2020)
    args = made.parse_args()

    import anndata
    import scanpy as sc

    cells = anndata.read_h5ad(args.cells)
    if args.only:
        column, value = args.only.split("=", 1)
        cells = cells[cells.obs[column].astype(str) == value].copy()
    a = anndata.AnnData(cells.X.copy(), obs=cells.obs[[args.batch]].copy(), var=cells.var[[]].copy())
    a.obs[args.batch] = a.obs[args.batch].astype(str).astype("category")
    is_query = a.obs[args.batch].isin(args.query.split(",")).to_numpy()
    if not is_query.any() or is_query.all():
        raise SystemExit(f"{args.query}: no such batch, or every batch; there are {list(a.obs[args.batch].cat.categories)}")
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    few = a.obs[args.batch].value_counts().min() < 3
    sc.pp.highly_variable_genes(a, n_top_genes=args.genes, batch_key=None if few else args.batch)
    a = a[:, a.var.highly_variable].copy()
    n, seed = args.components, args.seed

    def pca():
        sc.pp.pca(a, n_comps=n, random_state=seed)
        return a.obsm["X_pca"]

    def harmony():
        import harmonypy

        if "X_pca" not in a.obsm:
            pca()
        corrected = harmonypy.run_harmony(a.obsm["X_pca"], a.obs, args.batch, random_state=seed).Z_corr
        corrected = np.asarray(corrected)
        return corrected if corrected.shape[0] == a.n_obs else corrected.T

    def scanorama():
        import scanorama

        # It wants the batches one below the other.
        codes = a.obs[args.batch].cat.codes.to_numpy()
        groups = [np.flatnonzero(codes == b) for b in np.unique(codes)]
        parts, _ = scanorama.integrate([a.X[g] for g in groups], [list(a.var_names)] * len(groups), dimred=n, seed=seed)
        out = np.zeros((a.n_obs, parts[0].shape[1]), np.float32)
        for g, part in zip(groups, parts):
            out[g] = part
        return out

    def project():
        reference, query = a[~is_query].copy(), a[is_query].copy()
        sc.pp.pca(reference, n_comps=n, random_state=seed)
        x = query.X.toarray() if hasattr(query.X, "toarray") else query.X
        mean = np.asarray(reference.X.mean(0)).ravel()
        out = np.zeros((a.n_obs, n), np.float32)
        out[~is_query] = reference.obsm["X_pca"]
        out[is_query] = (x - mean) @ reference.varm["PCs"]
        return out

    def symphony():
        import symphonypy as sp

        # symphonypy takes mean and standard deviation of the reference from var, where `scale` puts them.
        reference, query = a[~is_query].copy(), a[is_query].copy()
        reference.var["highly_variable"] = True
        sc.pp.scale(reference, max_value=10)
        sc.pp.pca(reference, n_comps=n, random_state=seed, zero_center=False)
        sp.pp.harmony_integrate(reference, key=args.batch, random_seed=seed)
        sp.tl.map_embedding(query, reference, key=args.batch)
        out = np.zeros((a.n_obs, n), np.float32)
        out[~is_query] = reference.obsm["X_pca_harmony"]
        out[is_query] = query.obsm["X_pca_harmony"]
        return out

    def canonical():
        u, v = cca(a.X[~is_query], a.X[is_query], min(n, 30), seed)
        out = np.zeros((a.n_obs, u.shape[1]), np.float32)
        out[~is_query], out[is_query] = u, v
        return out

    methods = {"pca": pca, "harmony": harmony, "scanorama": scanorama, "project": project, "symphony": symphony, "cca": canonical}
    for name in args.methods.split(","):
        start = time.perf_counter()
        cells.obsm[f"X_{name}"] = np.asarray(methods[name](), dtype=np.float32)
        print(f"{name}\t{time.perf_counter() - start:.1f} s", flush=True)
    cells.write_h5ad(args.output)


if __name__ == "__main__":
    main()
