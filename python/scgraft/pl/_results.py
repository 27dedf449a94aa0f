"""Fits and labels on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._adata import need
from .._model import Model
from .._native import ScgraftError
from ._axes import _axes, _matrix
from ._drawn import NOTHING

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def history(model: Model, *, ax: Axes | None = None) -> Axes:
    """The loss of a model's fit, epoch by epoch.

    Returns
    -------
    The axes: training and, where there is one, validation loss (nats per cell), the terms without their weights.
    """
    table = model.history
    if table.empty:
        raise ScgraftError(NOTHING["training"])
    ax = _axes(ax, (5, 3))
    for what, side in (("training", "train_"), ("validation", "validation_")):
        terms = table[[c for c in table if c.startswith(side) and c != "validation_loss"]]
        if terms.notna().any(axis=None):
            ax.plot(table.index, terms.sum(axis=1, min_count=1), label=what)
    ax.set(xlabel="epoch", ylabel="loss (nats per cell)")
    ax.legend(frameon=False)
    return ax


def _labels(adata: AnnData, labels: str, truth: str | None, label_map: Mapping[str, str] | None) -> tuple[pd.Series, str]:
    truth = truth or labels
    lacking = f"obs has no column {labels}_pred, carry labels over first: scgraft.tl.annotate"
    need(lacking, [c.removesuffix("_pred") for c in adata.obs if str(c).endswith("_pred")], labels=labels)
    need("obs has no such column", adata.obs, truth=truth)
    given = adata.obs[truth].astype(object).where(adata.obs[truth].notna())
    return given.replace(dict(label_map or {})), truth


def confusion(
    adata: AnnData, labels: str, *, truth: str | None = None, label_map: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Labels that cells came with (rows) against those carried over to them (columns).

    Parameters
    ----------
    labels, truth, label_map
        The label that was carried over, the column of the given one (the same unless told), and what given labels are called
        in the reference.

    Returns
    -------
    The axes: shares of each row's cells; numbers of cells stand in them.
    """
    given, truth = _labels(adata, labels, truth, label_map)
    counts = pd.crosstab(given, adata.obs[f"{labels}_pred"].astype(object))
    if counts.empty:
        raise ScgraftError(NOTHING["confusion"])
    ax = _matrix(counts.div(counts.sum(axis=1), axis=0), "share of the row's cells", False, ax)
    for i, j in zip(*np.nonzero(counts.to_numpy()), strict=True):
        share = counts.iat[i, j] / counts.iloc[i].sum()
        ax.text(j, i, f"{counts.iat[i, j]:,}", ha="center", va="center", fontsize=7, color="white" if share < 0.6 else "black")
    ax.set(xlabel=f"{labels}, carried over", ylabel=truth)
    return ax


def reliability(
    adata: AnnData, labels: str, *, truth: str | None = None, label_map: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """How often a carried-over label is right, by how sure it is: ten bins of confidence (1 − uncertainty).

    Parameters
    ----------
    labels, truth, label_map
        As for :func:`confusion`; cells whose given label the reference does not have are left out.

    Returns
    -------
    The axes.
    """
    given, truth = _labels(adata, labels, truth, label_map)
    best = adata.obs[f"{labels}_best"].astype(object)
    known = given.isin(set(best.dropna())).to_numpy()
    if not known.any():
        raise ScgraftError(NOTHING["reliability"])
    sure = 1.0 - adata.obs[f"{labels}_uncertainty"].to_numpy(dtype=float)[known]
    right = (given == best).to_numpy()[known]
    bins = np.minimum((sure * 10).astype(int), 9)
    ax = _axes(ax, (4, 4))
    at = [b for b in range(10) if (bins == b).any()]
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8, ls=":")
    ax.plot([sure[bins == b].mean() for b in at], [right[bins == b].mean() for b in at], marker="o")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel=f"share that is {truth}", title=labels)
    return ax
