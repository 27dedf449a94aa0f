"""A query placed in the picture of its reference, beside umap-learn's `transform`.

    python tools/peers/umap_placement.py reference_out.h5ad mapped.h5ad

Both files as `scgraft umap reference_out.h5ad` and `scgraft umap mapped.h5ad --reference reference_out.h5ad` leave them.
umap-learn makes a picture of its own of the same reference embedding. Needs anndata, scikit-learn, scipy, umap-learn 0.5.12.
"""

import sys
import warnings

import anndata
import numpy as np
import umap
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

warnings.filterwarnings("ignore")
K = 15


def latent(cells, names):
    own = list(cells.uns["scgraft"]["programs"])
    return np.asarray(cells.obsm["X_scgraft"])[:, [own.index(n) for n in names]]


def report(what, picture, placed, near, ranks):
    search = NearestNeighbors().fit(picture)
    apart = search.kneighbors(picture, n_neighbors=2)[0][:, 1]
    far = search.kneighbors(placed, n_neighbors=1)[0][:, 0] > np.quantile(apart, 0.999)
    in_picture = search.kneighbors(placed, n_neighbors=50)[1]
    found = np.mean([len(set(a) & set(b)) / K for a, b in zip(near, in_picture)])
    n, m = len(picture), len(placed)
    penalty = np.maximum(0, np.take_along_axis(ranks, in_picture[:, :K], 1) - K).sum()
    trust = 1 - 2 / (m * K * (2 * n - 3 * K - 1)) * penalty
    print(f"{what}: far {100 * far.mean():.2f} %, trustworthiness {trust:.4f}, nearest {K} among 50 {found:.3f}")


def main():
    reference, query = (anndata.read_h5ad(path) for path in sys.argv[1:3])
    names = list(reference.uns["scgraft"]["programs"])
    x, q = latent(reference, names), latent(query, names)
    near = NearestNeighbors(n_neighbors=K).fit(x).kneighbors(q)[1]
    ranks = np.argsort(np.argsort(cdist(q, x), 1), 1) + 1
    report("scgraft", *(np.asarray(c.obsm["X_scgraft_umap"]) for c in (reference, query)), near, ranks)
    theirs = umap.UMAP(min_dist=0.5, n_neighbors=K, random_state=0).fit(x)
    report("umap-learn", theirs.embedding_, theirs.transform(q), near, ranks)


if __name__ == "__main__":
    main()
