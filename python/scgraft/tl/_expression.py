"""Expression itself: principal components and marker genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import _native
from .._adata import Slots, cells, in_words, listed, need, put
from .._plan import as_json
from .._settings import settings, whole
from .._stored import copied

if TYPE_CHECKING:
    from anndata import AnnData


def pca(
    adata: AnnData,
    *,
    n_comps: int | None = None,
    n_top_genes: int = 2000,
    batch_key: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Principal components of log-normalised expression, of the most variable genes.

    Parameters
    ----------
    n_comps, n_top_genes
        How many components (50, or as many as there are), and of how many genes.
    batch_key
        Score the genes' variability within each batch.
    layer, use_raw, log_normalised
        Where the counts stand, or whether they are log1p of normalised counts already.

    Returns
    -------
    ``None``, or the copy. Writes ``obsm["X_pca"]``, ``varm["PCs"]``, ``uns["pca"]`` and ``var["highly_variable"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sim.reference.obsm["X_pca"].shape
    (300, 10)
    """
    adata = copied(adata, copy)
    given, slots = expression(adata, layer, use_raw, batch_key=batch_key)
    plan = {
        "use_raw": use_raw, "layer": layer, "normalised": log_normalised, "batch": batch_key,
        "n_top": whole("n_top_genes", n_top_genes), "components": None if n_comps is None else whole("n_comps", n_comps, 1),
    }  # fmt: skip
    with in_words(adata, slots):
        written, chosen = _native.components(given, as_json(plan), settings.threads)
    put(adata, written)
    if not use_raw:
        variable = np.zeros(adata.n_vars, dtype=bool)
        variable[chosen] = True
        adata.var["highly_variable"] = variable
    return adata if copy else None


def rank_genes_groups(
    adata: AnnData,
    groupby: str,
    *,
    groups: str | Sequence[str] | None = None,
    reference: str = "rest",
    tie_correct: bool = False,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    n_genes: int | None = None,
    key_added: str = "rank_genes_groups",
    copy: bool = False,
) -> AnnData | None:
    """Rank marker genes of groups of cells by Wilcoxon's rank sum, where scanpy's readers and plots find them.

    Parameters
    ----------
    groupby, groups, reference
        Column of ``obs``; the groups to keep; what they are compared with, ``"rest"`` or one group.
    tie_correct
        Allow for ties in the variance of the rank sum.
    layer, use_raw, log_normalised
        Where the counts stand, or whether they are log1p of normalised counts already.
    n_genes
        Genes kept of each group; all unless told.
    key_added
        The entry of ``uns``.

    Returns
    -------
    ``None``, or the copy. Writes ``uns[key_added]`` with ``names``, ``scores``, ``pvals``, ``pvals_adj``,
    ``logfoldchanges`` (records, a field a group), ``pts``, ``pts_rest``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.rank_genes_groups(sim.reference, "cell_type")
    >>> sorted(sim.reference.uns["rank_genes_groups"])[:3]
    ['logfoldchanges', 'names', 'params']
    """
    adata = copied(adata, copy)
    given, slots = expression(adata, layer, use_raw, groupby=groupby)
    plan = {
        "groups": groupby, "group": listed(groups), "versus": None if reference == "rest" else str(reference),
        "tie_correct": bool(tie_correct), "use_raw": use_raw, "layer": layer, "normalised": log_normalised,
    }  # fmt: skip
    with in_words(adata, slots):
        found = _native.markers(given, as_json(plan), settings.threads)
    n = None if n_genes is None else whole("n_genes", n_genes)

    def records(at: int, kind: str) -> np.recarray:
        return np.rec.fromarrays([np.asarray(g[at])[:n].astype(kind) for g in found], dtype=[(g[0], kind) for g in found])

    def shares(at: int) -> pd.DataFrame:
        return pd.DataFrame({g[0]: pd.Series(g[at], index=g[1]).reindex(genes) for g in found})

    genes = pd.Index(adata.raw.var_names if use_raw else adata.var_names)
    adata.uns[key_added] = {
        "params": {"groupby": groupby, "reference": reference, "method": "wilcoxon", "use_raw": use_raw, "layer": layer,
                   "corr_method": "benjamini-hochberg", "tie_correct": tie_correct},
        "names": records(1, "O"),
        "scores": records(2, "<f4"),
        "pvals": records(3, "<f8"),
        "pvals_adj": records(4, "<f8"),
        "logfoldchanges": records(5, "<f4"),
        "pts": shares(6),
        **({"pts_rest": shares(7)} if reference == "rest" else {}),
    }  # fmt: skip
    return adata if copy else None


def expression(adata: AnnData, layer: str | None, use_raw: bool, **obs: str | None) -> tuple[_native.Cells, Slots]:
    """All expression of a slot, with columns of obs by the arguments that named them."""
    slots = Slots(layer=layer, use_raw=use_raw)
    need("obs has no such column", adata.obs, **obs)
    return cells(adata, slots, more=[c for c in obs.values() if c is not None]), slots
