"""Programs, their tests, fits and labels on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._adata import need
from .._model import Model
from .._native import ScgraftError
from .._stored import LATENT
from ..get import enrich_df, program_scores
from ._axes import axes, matrix, short
from ._cells import groups_of
from ._drawn import NOTHING, draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def enriched(
    adata: AnnData, group: str | None = None, *, key: str | None = None, n_programs: int = 15, ax: Axes | None = None
) -> Axes:
    """The log Bayes factors of the leading programs of a test.

    Parameters
    ----------
    group, key
        As in :func:`scgraft.get.enrich_df`.
    n_programs
        How many programs.

    Returns
    -------
    The axes: one bar a program, with its standard error; lines at ±2.3, from which a program counts as enriched.
    """
    table = enrich_df(adata, group, key=key)
    first = table.iloc[0]
    rows = table[(table["group"] == first["group"]) & (table["within"] == first["within"])].head(n_programs).iloc[::-1]
    ax = axes(ax, (6, 0.3 * len(rows) + 1))
    values = rows["log_bayes_factor"].to_numpy()
    ax.barh(range(len(rows)), values, xerr=rows["log_bayes_factor_se"].fillna(0),
            color=np.where(values > 0, "tab:red", "tab:blue"))  # fmt: skip
    ax.set_yticks(range(len(rows)), short(rows["program"]))
    for at in (-2.3, 2.3):
        ax.axvline(at, color="grey", lw=0.8, ls=":")
    ax.set(xlabel="log Bayes factor", title=f"{first['group']} versus {first['comparison']}")
    return ax


def programs(
    adata: AnnData, groupby: str, *, programs: Sequence[str] | None = None, n_programs: int = 3, use_rep: str = LATENT,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Mean scores of programs in groups of cells, standardised over all cells.

    Parameters
    ----------
    groupby
        Column of ``obs``.
    programs, n_programs
        The programs, or how many leading ones of each group.

    Returns
    -------
    The axes: groups × programs.
    """
    need("obs has no such column", adata.obs, groupby=groupby)
    scores = program_scores(adata, use_rep=use_rep)
    z = (scores - scores.mean()) / scores.std().replace(0, 1)
    means = z.groupby(groups_of(adata, groupby), observed=True).mean()
    if programs is None:
        leading = [means.loc[g].nlargest(n_programs).index for g in means.index]
        programs = list(dict.fromkeys(p for some in leading for p in some))
    for p in programs:
        need("there is no such active program", means, programs=p)
    return matrix(means[list(programs)], "mean score (standard deviations)", True, ax, 0.35)


def program(model: Model, name: str, *, n_genes: int = 20, ax: Axes | None = None) -> Axes:
    """The heaviest genes of a program.

    Parameters
    ----------
    model, name
        The model, and the program.
    n_genes
        How many genes.

    Returns
    -------
    The axes: one bar a gene; genes that are not in the program's gene set are lighter.
    """
    genes = model.program_genes(name).head(n_genes).iloc[::-1]
    ax = axes(ax, (5, 0.25 * len(genes) + 1))
    ax.barh(genes.index, genes["weight"], color=["tab:blue" if s else "lightsteelblue" for s in genes["in_set"]])
    ax.set(xlabel="decoder weight", title=short([name])[0])
    return ax


def correlation(adata: AnnData, *, ax: Axes | None = None, **asked: Any) -> Axes:
    """Correlations of the scores of programs, alike ones together.

    Parameters
    ----------
    asked
        ``programs``, ``enriched``, ``key``, ``direction``, ``use_rep`` of :func:`draw`, whose ``table`` has the numbers.

    Returns
    -------
    The axes: programs × programs, −1 to 1.
    """
    return matrix(draw("correlation", adata, **asked).table, "correlation", True, ax)


def overlap(model: Model, *, ax: Axes | None = None, **asked: Any) -> Axes:
    """Overlap (Jaccard) of the genes of programs, alike ones together.

    Parameters
    ----------
    asked
        ``programs``, ``enriched``, ``key``, ``top`` of :func:`draw`, whose ``table`` has the numbers.

    Returns
    -------
    The axes: programs × programs, 0 to 1.
    """
    return matrix(draw("overlap", model=model, **asked).table, "Jaccard index", False, ax)


def members(model: Model, *, ax: Axes | None = None, **asked: Any) -> Axes:
    """Which of their heaviest genes programs share.

    Parameters
    ----------
    asked
        ``programs``, ``enriched``, ``key``, ``top`` of :func:`draw`, whose ``table`` has the numbers.

    Returns
    -------
    The axes: genes × programs, weights over the program's largest.
    """
    return matrix(draw("members", model=model, **asked).table, "weight / largest", True, ax)


def history(model: Model, *, ax: Axes | None = None) -> Axes:
    """The loss of a model's fit, epoch by epoch.

    Returns
    -------
    The axes: training and, where there is one, validation loss (nats per cell), the terms without their weights.
    """
    table = model.history
    if table.empty:
        raise ScgraftError(NOTHING["training"])
    ax = axes(ax, (5, 3))
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
    ax = matrix(counts.div(counts.sum(axis=1), axis=0), "share of the row's cells", False, ax)
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
    ax = axes(ax, (4, 4))
    at = [b for b in range(10) if (bins == b).any()]
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8, ls=":")
    ax.plot([sure[bins == b].mean() for b in at], [right[bins == b].mean() for b in at], marker="o")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel=f"share that is {truth}", title=labels)
    return ax
