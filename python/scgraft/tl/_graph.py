"""Neighbours, clusters and pictures of cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .. import _native
from .._adata import need
from .._frames import csr_from, dense
from .._model import Model
from .._plan import as_json
from .._settings import number, settings, whole
from .._stored import LATENT, NOTES, PICTURE, copied, notes_of, of_reference, opened_reference, stored

if TYPE_CHECKING:
    from anndata import AnnData


def neighbors(
    adata: AnnData,
    *,
    n_neighbors: int = 15,
    use_rep: str = LATENT,
    approximate: float | None = None,
    seed: int = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the neighbours of every cell, in the slots where scanpy looks for them.

    Parameters
    ----------
    n_neighbors
        Neighbours of each cell, itself counted.
    use_rep
        The embedding, an entry of ``obsm``.
    approximate, seed
        Search approximately until this share of the true neighbours is found; exactly unless told.
    key_added
        Instead of ``neighbors``, ``distances``, ``connectivities``.

    Returns
    -------
    ``None``, or the copy. Writes ``obsp["distances"]``, ``obsp["connectivities"]`` (cells × cells, sparse) and
    ``uns["neighbors"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.neighbors(sim.reference, use_rep="X_pca")
    >>> sim.reference.obsp["connectivities"].shape
    (300, 300)
    """
    adata = copied(adata, copy)
    need("obsm has no such entry", adata.obsm, use_rep=use_rep)
    x = dense(adata.obsm[use_rep], f'obsm["{use_rep}"]')
    n_neighbors, seed = whole("n_neighbors", n_neighbors), whole("seed", seed)
    distances, graph, recall = _native.neighbours(x, n_neighbors, approximate, seed, settings.threads)
    prefix = "" if key_added is None else f"{key_added}_"
    adata.obsp[f"{prefix}distances"] = csr_from(distances)
    adata.obsp[f"{prefix}connectivities"] = csr_from(graph)
    params = {"n_neighbors": n_neighbors, "method": "umap", "metric": "euclidean", "use_rep": use_rep, "recall": recall}
    keys = {f"{what}_key": f"{prefix}{what}" for what in ("connectivities", "distances")}
    adata.uns["neighbors" if key_added is None else key_added] = {**keys, "params": params}
    return adata if copy else None


def leiden(
    adata: AnnData,
    resolution: float | Sequence[float] = 1.0,
    *,
    key_added: str = "leiden",
    neighbors_key: str | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells with the Leiden algorithm.

    Parameters
    ----------
    resolution
        How fine; several give a column each.
    key_added
        The column of ``obs``; of several resolutions ``<key_added>_<resolution>``.
    neighbors_key
        Instead of ``uns["neighbors"]``.
    seed
        Seed of the moves.

    Returns
    -------
    ``None``, or the copy. Writes ``obs[key_added]``, clusters numbered by size, the largest 0.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.neighbors(sim.reference, use_rep="X_pca")
    >>> sg.tl.leiden(sim.reference)
    >>> sim.reference.obs["leiden"].dtype.name
    'category'
    """
    return _cluster(False, adata, resolution, key_added, neighbors_key, seed, copy)


def louvain(
    adata: AnnData,
    resolution: float | Sequence[float] = 1.0,
    *,
    key_added: str = "louvain",
    neighbors_key: str | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells with the Louvain algorithm; parameters as :func:`leiden`."""
    return _cluster(True, adata, resolution, key_added, neighbors_key, seed, copy)


def _cluster(
    louvain: bool, adata: AnnData, resolution: float | Sequence[float], key_added: str, neighbors_key: str | None, seed: int,
    copy: bool,
) -> AnnData | None:  # fmt: skip
    adata = copied(adata, copy)
    key = "neighbors" if neighbors_key is None else neighbors_key
    remedy = ". Find neighbours first: scgraft.tl.neighbors(adata) or scanpy.pp.neighbors"
    need("uns has no such neighbours", adata.uns, remedy, neighbors_key=key)
    graph = sparse.csr_matrix(adata.obsp[adata.uns[key].get("connectivities_key", "connectivities")])
    graph.sort_indices()
    several = isinstance(resolution, (Sequence, np.ndarray, pd.Series)) and not isinstance(resolution, str)
    resolutions = [number("resolution", r) for r in np.atleast_1d(np.asarray(resolution, dtype=object))]
    parts = graph.indptr.astype(np.int64), graph.indices.astype(np.int32), graph.data.astype(np.float32)
    found = _native.clusters(*parts, resolutions, louvain, whole("seed", seed), settings.threads)
    for r, (codes, n, modularity) in zip(resolutions, found, strict=True):
        column_ = f"{key_added}_{r:g}" if several else key_added
        adata.obs[column_] = pd.Categorical.from_codes(codes, [str(i) for i in range(n)])
        adata.uns[column_] = {"params": {"resolution": r, "random_state": whole("seed", seed)}, "modularity": modularity}
    return adata if copy else None


def umap(
    adata: AnnData,
    reference: AnnData | Model | str | Path | None = None,
    *,
    use_rep: str = LATENT,
    n_neighbors: int = 15,
    min_dist: float | None = None,
    spread: float | None = None,
    max_epochs: int | None = None,
    approximate: float | None = None,
    seed: int = 0,
    key_added: str = "X_umap",
    copy: bool = False,
) -> AnnData | None:
    """Lay cells out in the plane, or place a query in its reference's picture.

    Parameters
    ----------
    reference
        A reference with its embedding and its picture, which stays as it is; or a model that brings its cells and their picture
        (:meth:`scgraft.Model.bundle`).
    use_rep, n_neighbors
        The embedding, and neighbours of each cell, itself counted.
    min_dist, spread
        How tightly cells may be packed (0.5) and the scale of the picture (1), or those of the reference's picture.
    max_epochs
        Rounds over the edges; 500 up to 10,000 cells, else 200; a third of it to place a query.
    approximate, seed
        As in :func:`~scgraft.tl.neighbors`; the seed also of the layout.
    key_added
        The entry of ``obsm``, where scanpy's plots look.

    Returns
    -------
    ``None``, or the copy. Writes ``obsm[key_added]``, cells × 2.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.umap(sim.reference, use_rep="X_pca", max_epochs=20)
    >>> sim.reference.obsm["X_umap"].shape
    (300, 2)
    """
    adata = copied(adata, copy)
    mine = stored(adata, use_rep)
    known, picture = None, key_added
    if reference is not None:
        reference = opened_reference(reference)
        if isinstance(reference, Model):
            picture = PICTURE
        else:
            remedy = ". Lay the reference out first: scgraft.tl.umap(reference)"
            need("obsm of the reference has no such picture", reference.obsm, remedy, key_added=key_added)
        known = of_reference(reference, use_rep, obsm=[key_added])
    plan = {
        "key": LATENT, "picture": picture, "k": whole("n_neighbors", n_neighbors), "min_dist": min_dist, "spread": spread,
        "epochs": max_epochs, "seed": whole("seed", seed), "approximate": approximate,
    }  # fmt: skip
    written = _native.umap(mine, known, as_json(plan), settings.threads)
    layout = written["uns"].pop(NOTES, {})
    adata.obsm[key_added] = written["obsm"][picture]
    adata.uns[NOTES] = notes_of(adata) | layout
    adata.uns["umap" if key_added == "X_umap" else key_added] = {
        "params": {"random_state": whole("seed", seed), "n_neighbors": whole("n_neighbors", n_neighbors), "use_rep": use_rep}
    }
    return adata if copy else None
