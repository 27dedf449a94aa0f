"""UMAP and Leiden of the Python peers on an embedding: seconds, processor seconds, trustworthiness, modularity.

    python tools/peers/umap_leiden.py layout arrays.safetensors [--threads 1] [--picture ours.f32]
    python tools/peers/umap_leiden.py leiden arrays.safetensors

The arrays come from metrics.py. `layout` runs umap-learn (15 neighbours, min_dist 0.1, spectral start, the
usual number of epochs) with compiled code warmed up on a few cells first, and judges its picture, and one of
raw float32 values if given, by scikit-learn's trustworthiness (k = 15; up to 20,000 cells). With
one thread it is seeded; with more it is not, because umap-learn then runs serially. Needs
umap-learn, leidenalg, igraph, scikit-learn and safetensors.
"""

import argparse
import time

import numpy as np
from safetensors.numpy import load_file


def layout(x, threads, picture):
    import umap
    from sklearn.manifold import trustworthiness

    settings = dict(n_neighbors=15, min_dist=0.1, init="spectral", n_jobs=threads)
    if threads == 1:
        settings["random_state"] = 0
    few = np.random.default_rng(0).normal(size=(5000, x.shape[1])).astype(np.float32)
    umap.UMAP(**settings, n_epochs=5).fit(few)
    start, used = time.perf_counter(), time.process_time()
    embedding = umap.UMAP(**settings).fit_transform(x)
    print(f"umap\t{time.perf_counter() - start:.4f}\t{time.process_time() - used:.4f}\t")
    if len(x) <= 20_000:
        print(f"trustworthiness\t\t\t{trustworthiness(x, embedding, n_neighbors=15)}")
        if picture:
            ours = np.fromfile(picture, np.float32).reshape(len(x), 2)
            print(f"trustworthiness of the picture given\t\t\t{trustworthiness(x, ours, n_neighbors=15)}")


def leiden(x):
    import igraph
    import leidenalg
    from sklearn.neighbors import NearestNeighbors
    from umap.umap_ import fuzzy_simplicial_set

    distances, indices = NearestNeighbors(n_neighbors=14).fit(x.astype(np.float64)).kneighbors()
    own = np.arange(len(x))[:, None]
    indices, distances = np.hstack([own, indices]), np.hstack([np.zeros((len(x), 1)), distances])
    graph = fuzzy_simplicial_set(
        x, 15, None, "euclidean", knn_indices=indices, knn_dists=distances.astype(np.float32)
    )[0].tocsr()
    g = igraph.Graph.Weighted_Adjacency(graph, mode="upper")
    for resolution in (0.5, 1.0, 2.0):
        start, used = time.perf_counter(), time.process_time()
        part = leidenalg.find_partition(
            g,
            leidenalg.RBConfigurationVertexPartition,
            weights="weight",
            resolution_parameter=resolution,
            seed=0,
            n_iterations=2,
        )
        seconds, used = time.perf_counter() - start, time.process_time() - used
        # leidenalg's quality is modularity times twice the weight.
        modularity = part.quality() / (2 * sum(g.es["weight"]))
        print(f"leiden {resolution}\t{seconds:.4f}\t{used:.4f}\t{modularity}\t{len(part)} clusters")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("layout")
    p.add_argument("arrays")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--picture")
    p = commands.add_parser("leiden")
    p.add_argument("arrays")
    a = parser.parse_args()
    x = load_file(a.arrays)["x"]
    layout(x, a.threads, a.picture) if a.command == "layout" else leiden(x)


if __name__ == "__main__":
    main()
