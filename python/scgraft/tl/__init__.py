"""Tools over an AnnData: mapping, labels, programs, neighbours, clusters, pictures of cells, metrics."""

from ._annotate import annotate
from ._enrich import enrich
from ._evaluate import evaluate
from ._expression import pca, rank_genes_groups
from ._graph import leiden, louvain, neighbors, umap
from ._map import join, map
from ._report import Report, report

__all__ = ["Report", "annotate", "enrich", "evaluate", "join", "leiden", "louvain", "map", "neighbors", "pca",
           "rank_genes_groups", "report", "umap"]  # fmt: skip
