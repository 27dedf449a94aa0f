"""Preparation of an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from . import _native
from ._adata import in_words
from ._frames import frame_from
from ._plan import as_json
from ._settings import settings, whole
from ._stored import copied
from .tl import neighbors, pca
from .tl._expression import expression

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["highly_variable_genes", "neighbors", "pca"]


def highly_variable_genes(
    adata: AnnData,
    *,
    n_top_genes: int = 2000,
    flavor: Literal["seurat", "cell_ranger", "seurat_v3", "seurat_v3_paper"] = "seurat_v3",
    batch_key: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    subset: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Score how variable genes are, and choose the most variable.

    Parameters
    ----------
    adata
        Raw counts; the flavours of dispersion normalise them themselves.
    n_top_genes
        How many genes.
    flavor
        How variability is scored, by scanpy's names.
    batch_key
        Column of ``obs`` with batches, which vote.
    layer, use_raw, log_normalised
        Where the counts stand, or whether they are log1p of normalised counts already.
    subset
        Whether to keep the chosen genes only.
    copy
        Whether to write into a copy, and give it.

    Returns
    -------
    ``None``, or the copy. Writes ``var["highly_variable"]``, ``var["highly_variable_score"]``,
    ``var["highly_variable_rank"]`` and ``var["highly_variable_nbatches"]``.

    Raises
    ------
    ScgraftError
        Values that are no counts; a column or flavour that is not there.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.pp.highly_variable_genes(sim.reference, n_top_genes=200)
    >>> int(sim.reference.var["highly_variable"].sum())
    200
    """
    adata = copied(adata, copy)
    given, slots = expression(adata, layer, use_raw, batch_key=batch_key)
    plan = {"use_raw": use_raw, "layer": layer, "normalised": log_normalised, "batch": batch_key,
            "n_top": whole("n_top_genes", n_top_genes), "flavor": flavor}  # fmt: skip
    with in_words(adata, slots):
        table = frame_from(_native.variable_genes(given, as_json(plan), settings.threads))
    if use_raw:
        table = table.reindex(adata.var_names)
    for name in table.columns:
        adata.var[name] = table[name].to_numpy()
    if subset:
        adata._inplace_subset_var(adata.var["highly_variable"].to_numpy())
    return adata if copy else None
