"""Options that follow the papers rather than the packages, by numpy, scipy and networkx: connectivity of undirected graphs
(scipy's components), Louvain (networkx, Zachary's karate club), and counts of orthologs by every rule (a product with the 0/1
table of the pairs that a rule allows).

    python tools/golden/options.py

numpy 2, scipy 1.15, networkx 3, safetensors.
"""

import os

import networkx as nx
import numpy as np
from safetensors.numpy import save_file
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

CRATES = os.path.join(os.path.dirname(__file__), "..", "..", "crates")


def connectivity(rng):
    n, k = 60, 3
    neighbours = np.array([rng.choice(np.setdiff1d(np.arange(n), [i]), k, replace=False) for i in range(n)])
    types = rng.integers(0, 4, n)
    graph = csr_array((np.ones(n * k), (np.repeat(np.arange(n), k), neighbours.ravel())), shape=(n, n))
    out = {"graph.neighbours": neighbours.astype(np.int32), "graph.types": types.astype(np.int32)}
    for kind in ("weak", "strong"):
        shares = []
        for t in range(4):
            own = np.flatnonzero(types == t)
            part = graph[own][:, own]
            found = connected_components(part, directed=True, connection=kind)[1]
            shares.append(np.bincount(found).max() / len(own))
        out[f"graph.{kind}"] = np.array([np.mean(shares)])
    return out


def louvain():
    graph = nx.karate_club_graph()
    out = {"karate.edges": np.array(graph.edges(), dtype=np.int32)}
    for tag, resolution in (("one", 1.0), ("half", 0.5)):
        parts = [nx.community.louvain_communities(graph, weight=None, resolution=resolution, seed=s) for s in range(50)]
        values = [nx.community.modularity(graph, p, weight=None, resolution=resolution) for p in parts]
        best = parts[int(np.argmax(values))]
        codes = np.zeros(graph.number_of_nodes(), dtype=np.int32)
        for code, members in enumerate(best):
            codes[list(members)] = code
        out[f"karate.{tag}.codes"] = codes
        out[f"karate.{tag}.modularity"] = np.array([max(values)])
        out[f"karate.{tag}.worst"] = np.array([min(values)])
    return out


def orthologs(rng):
    mouse, human, cells = 30, 25, 8
    pairs = np.column_stack([rng.integers(0, mouse - 2, 34), rng.integers(0, human - 2, 34)])
    support = rng.integers(1, 6, len(pairs)).astype(float)
    counts = rng.poisson(2.0, (cells, mouse))
    table = np.zeros((mouse, human))
    for (m, h), s in zip(pairs, support):
        table[m, h] = max(table[m, h], s)
    there = table > 0
    alone = there & (there.sum(1, keepdims=True) == 1) & (there.sum(0, keepdims=True) == 1)
    top = [there & (table == table.max(axis, keepdims=True)) for axis in (0, 1)]
    single = [t & (t.sum(axis, keepdims=True) == 1) for axis, t in enumerate(top)]
    # Counts of several genes that become one are summed; those of a gene that becomes several are not shared out.
    rules = {"one-to-one": alone, "best": single[0] & single[1], "all": there & (there.sum(1, keepdims=True) == 1)}
    assert all(0 < r.sum() for r in rules.values()) and len({r.sum() for r in rules.values()}) == 3
    out = {"pairs": pairs.astype(np.int32), "support": support, "counts": counts.astype(np.int32)}
    return {**out, **{rule: (counts @ allowed).astype(np.int32) for rule, allowed in rules.items()}}


if __name__ == "__main__":
    rng = np.random.default_rng(20261129)
    of_analysis = {**connectivity(rng), **louvain()}
    of_cells = orthologs(rng)
    for crate, tensors, name in (("analysis", of_analysis, "options"), ("cells", of_cells, "orthologs")):
        save_file(tensors, os.path.join(CRATES, crate, "tests", "golden", f"{name}.safetensors"))
