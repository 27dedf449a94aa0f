"""Embeddings are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import pandas as pd

from .. import _native
from .._adata import Slots, cells, listed, need, with_obs
from .._frames import dense, frame_from, uns_to
from .._native import ScgraftError
from .._plan import as_json
from .._settings import number, settings, whole
from .._stored import LATENT, NOTES, notes_of

if TYPE_CHECKING:
    from anndata import AnnData


def evaluate(
    adata: AnnData,
    reference: AnnData | None = None,
    *,
    batch_key: str | None = None,
    labels_key: str,
    embeddings: str | Sequence[str] = LATENT,
    query: str | Sequence[str] = (),
    before: str | None = "counts",
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    n_comps: int = 50,
    resolutions: Sequence[float] = (),
    algorithm: Literal["leiden", "louvain"] = "leiden",
    n_neighbors: int = 15,
    kbet_neighbors: int = 50,
    lisi_neighbors: int = 90,
    approximate: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare embeddings by integration and mapping metrics, named as scib names them.

    Parameters
    ----------
    adata, reference
        All cells; or a query and its reference.
    batch_key, labels_key
        Columns of ``obs`` with batch and cell type; without the batch, a query and its reference are one each.
    embeddings
        Entries of ``obsm``.
    query
        Batches that are the query, where one AnnData holds all cells.
    before
        The data before integration, which PC regression and kNN purity compare with: ``"counts"`` (components of them),
        an entry of ``obsm``, or ``None``.
    layer, use_raw, log_normalised, n_comps
        Where those counts stand, and how many components.
    resolutions, algorithm
        Of the clusterings that NMI, ARI and isolated labels look through.
    n_neighbors, kbet_neighbors, lisi_neighbors
        Neighbours of the metrics.
    approximate, seed
        As in :func:`~scgraft.tl.neighbors`; the seed also of the clusterings.

    Returns
    -------
    One row an embedding, one column a metric, each 0 to 1, higher is better; ``attrs["left_out"]`` says which metrics are
    missing and why.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> table = sg.tl.evaluate(sim.reference, batch_key="batch", labels_key="cell_type", embeddings="X_pca",
    ...                        resolutions=[1.0])
    >>> table.index.tolist()
    ['X_pca']
    """
    keys = listed(embeddings)
    extra = [] if before in (None, "counts") else [before]

    if batch_key is None and reference is None:
        raise ScgraftError("batch_key= is missing: the column of obs with the batches that are compared")
    if batch_key is not None and not any(batch_key in d.obs.columns for d in (adata, reference) if d is not None):
        need("obs has no such column", adata.obs, batch_key=batch_key)

    def part(data: AnnData, what: str) -> _native.Cells:
        columns = [c for c in (batch_key, labels_key) if c is not None and c in data.obs.columns]
        need(f"obs of {what} has no such column", data.obs, labels_key=labels_key)
        for key in [*keys, *extra]:
            need(f"obsm of {what} has no such embedding", data.obsm, embeddings=key)
        slots = Slots(layer=layer, use_raw=use_raw)
        out = cells(data, slots, more=columns) if before == "counts" else with_obs(data, columns)
        for key in [*keys, *extra]:
            out.set_obsm(key, dense(data.obsm[key], f'obsm["{key}"]'))
        out.set_uns({NOTES: uns_to(notes_of(data))})
        if "PCs" in data.varm:
            out.set_varm("PCs", dense(data.varm["PCs"], 'varm["PCs"]'))
        return out

    mine, known = part(adata, "adata"), None if reference is None else part(reference, "reference")
    plan = {
        "batch": batch_key or "", "labels": labels_key, "query": listed(query),
        "embeddings": keys, "before": extra[0] if extra else None, "counts": before == "counts",
        "use_raw": use_raw, "layer": layer, "normalised": log_normalised, "louvain": algorithm == "louvain",
        "components": whole("n_comps", n_comps, 1), "resolutions": [number("resolutions", r) for r in resolutions],
        "k": whole("n_neighbors", n_neighbors), "kbet_k": whole("kbet_neighbors", kbet_neighbors),
        "lisi_k": whole("lisi_neighbors", lisi_neighbors), "seed": whole("seed", seed), "approximate": approximate,
    }  # fmt: skip
    table, left_out = _native.evaluate(mine, known, as_json(plan), settings.threads)
    out = frame_from(table)
    out.attrs["left_out"] = dict(left_out)
    return out
