"""Golden values of the integration metrics, the neighbour graph and PCA, on a simulated embedding.

Made with scib-metrics, scikit-learn, umap-learn and leidenalg. Neighbours are exact everywhere: where
scib-metrics asks pynndescent for them (kBET per label), an exact search takes its place.
"""

import random
from pathlib import Path

import igraph
import leidenalg
import numpy as np
import scib_metrics
import scib_metrics.utils._diffusion_nn as diffusion
from scib_metrics.nearest_neighbors import NeighborsResults
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples
from sklearn.neighbors import NearestNeighbors

import fixture

fixture.FOLDER = Path(__file__).resolve().parents[2] / "crates" / "analysis" / "tests" / "golden"
SCRIPT = "metrics.py"
PACKAGES = ["scib-metrics", "scikit-learn", "umap-learn", "leidenalg", "igraph", "numpy", "scipy", "jax"]


def exact(x, n_neighbors, **_):
    x = np.asarray(x)
    distances, indices = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(x.astype(np.float64)).kneighbors()
    own = np.arange(len(x))[:, None]
    indices = np.hstack([own, indices[:, : n_neighbors - 1]])
    distances = np.hstack([np.zeros((len(x), 1)), distances[:, : n_neighbors - 1]])
    return NeighborsResults(indices=indices, distances=distances.astype(np.float32))


def simulate():
    """Five types, three batches of unequal size; type 3 only in batch 0, type 4 in batches 0 and 1."""
    rng = np.random.default_rng(20261121)
    sizes = [190, 160, 150, 130, 120]
    types = np.repeat(np.arange(5), sizes)
    n = len(types)
    batch = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    batch[types == 3] = 0
    batch[(types == 4) & (batch == 2)] = 1
    order = rng.permutation(n)
    types, batch = types[order], batch[order]
    centres = rng.normal(size=(5, 8)) * 1.6
    shift = rng.normal(size=(3, 8))
    noise = rng.normal(size=(n, 8)) * rng.uniform(0.5, 1.3, size=8)
    before = (centres[types] + 1.2 * shift[batch] + noise + 4).astype(np.float32)
    after = (centres[types] + 0.35 * shift[batch] + noise + 4).astype(np.float32)
    return before, after, types, batch


def label_distances(reference, r, query, q):
    """The mapping distances of Zappia et al. 2025, written out."""
    d = query.shape[1]
    near = lambda a, b, inverse: float(np.sqrt((a - b) @ inverse @ (a - b)))
    known, unseen = [], []
    for label in np.unique(q):
        cells = query[q == label]
        if len(cells) < 2 * d:
            continue
        inverse, centre = np.linalg.inv(np.cov(cells, rowvar=False)), cells.mean(0)
        reach = max(near(c, centre, inverse) for c in cells)
        if label in r:
            known.append(min(1, near(reference[r == label].mean(0), centre, inverse) / reach))
        else:
            unseen.append(min(1, min(near(reference[r == t].mean(0), centre, inverse) for t in np.unique(r)) / reach))
    clouds = []
    for label in np.unique(r):
        cells = reference[r == label]
        inverse, centre = np.linalg.inv(np.cov(cells, rowvar=False)), cells.mean(0)
        clouds.append((centre, inverse, np.quantile([near(c, centre, inverse) for c in cells], 0.9)))
    outside = []
    for cell in query[~np.isin(q, r)]:
        distances = [near(cell, c, inverse) for c, inverse, _ in clouds]
        best = int(np.argmin(distances))
        outside.append(distances[best] > clouds[best][2])
    return 1 - np.mean(known), np.mean(unseen), np.mean(outside)


def main():
    before, after, types, batch = simulate()
    n = len(types)
    diffusion.nearest_neighbors.pynndescent = exact
    near = exact(after, 90)
    fifteen, fifty = near.subset_neighbors(15), near.subset_neighbors(50)
    t = {"before": before.astype(float), "after": after.astype(float), "types": types, "batch": batch}

    t["silhouette.types"] = silhouette_samples(after.astype(float), types)
    t["cell_type_asw"] = (t["silhouette.types"].mean() + 1) / 2
    t["cell_type_asw.scib"] = scib_metrics.silhouette_label(after, types)
    by_type = []
    for label in range(5):
        own = types == label
        if len(np.unique(batch[own])) > 1:
            by_type.append(np.mean(1 - np.abs(silhouette_samples(after[own].astype(float), batch[own]))))
    t["batch_asw"] = np.mean(by_type)
    t["batch_asw.scib"] = scib_metrics.silhouette_batch(after, types, batch)
    t["bras.scib"] = scib_metrics.metrics.bras(after, types, batch)
    t["isolated.scib"] = scib_metrics.isolated_labels(after, types, batch)
    t["ilisi.scib"] = scib_metrics.ilisi_knn(near, batch)
    t["clisi.scib"] = scib_metrics.clisi_knn(near, types)
    t["lisi.batch.scib"] = scib_metrics.lisi_knn(near, batch).astype(float)
    t["connectivity.scib"] = scib_metrics.graph_connectivity(fifteen, types)
    t["connectivity.k4.scib"] = scib_metrics.graph_connectivity(near.subset_neighbors(4), types)
    rate, statistics, p_values = scib_metrics.kbet(fifty, batch)
    t["kbet.scib"], t["kbet.statistics.scib"], t["kbet.p_values.scib"] = rate, statistics.astype(float), p_values.astype(float)
    t["kbet_per_label.scib"] = scib_metrics.kbet_per_label(fifty, batch, types)
    t["pcr.scib"] = scib_metrics.pcr_comparison(before, after, batch, categorical=True)
    t["pcr.before.scib"] = scib_metrics.utils.principal_component_regression(before, batch, categorical=True)
    t["pcr.before.first_3.scib"] = scib_metrics.utils.principal_component_regression(
        before, batch, categorical=True, n_components=3
    )

    others = exact(after, 16).indices[:, 1:]
    same = (types[others] == types[:, None]).mean(1)
    t["knn_accuracy"] = np.mean([same[types == label].mean() for label in range(5)])
    t["batch_entropy"] = np.mean([entropy(np.bincount(batch[o], minlength=3), base=3) for o in others])
    earlier = exact(before, 16).indices[:, 1:]
    t["knn_purity"] = np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in zip(others, earlier)])

    rng = np.random.default_rng(5)
    clusters = np.where(rng.random(n) < 0.7, types + 1, rng.integers(0, 7, n))
    t["clusters"] = clusters
    t["nmi"] = normalized_mutual_info_score(types, clusters)
    t["ari"] = adjusted_rand_score(types, clusters)

    graph = fifteen.knn_graph_connectivities.tocsr()
    graph.sort_indices()
    t["graph.indptr"], t["graph.indices"], t["graph.values"] = graph.indptr, graph.indices, graph.data.astype(float)
    g = igraph.Graph.Weighted_Adjacency(graph, mode="upper")
    random.seed(1)
    for resolution in (0.5, 1.0, 2.0):
        part = leidenalg.find_partition(
            g, leidenalg.RBConfigurationVertexPartition, weights="weight", resolution_parameter=resolution, seed=1, n_iterations=-1
        )
        t[f"leiden.{resolution}"] = np.array(part.membership)
    sweep = scib_metrics.nmi_ari_cluster_labels_leiden(fifteen, types)
    t["sweep.nmi.scib"], t["sweep.ari.scib"] = sweep["nmi"], sweep["ari"]

    pca = PCA(5, svd_solver="full").fit(before.astype(float))
    signs = np.sign(pca.components_[np.arange(5), np.abs(pca.components_).argmax(1)])
    t["pca.variance"], t["pca.ratio"] = pca.explained_variance_, pca.explained_variance_ratio_
    t["pca.components"] = pca.components_ * signs[:, None]
    t["pca.scores"] = pca.transform(before.astype(float))[:50] * signs

    query = batch == 0
    seen = np.isin(types, [0, 1, 2])
    reference = ~query & seen
    t["mapping.label"], t["mapping.unseen_label"], t["mapping.unseen_cell"] = label_distances(
        after[reference, :3].astype(float), types[reference], after[query, :3].astype(float), types[query]
    )
    for name in list(t):
        t[name] = np.asarray(t[name])
        if t[name].dtype == np.float32:
            t[name] = t[name].astype(float)
        print(name, t[name].ravel()[:4] if t[name].size > 1 else t[name])
    fixture.write("metrics", t, {"cells": n, "dimensions": 8, "types": 5, "batches": 3}, PACKAGES, SCRIPT)


if __name__ == "__main__":
    main()
