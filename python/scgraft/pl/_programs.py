"""Programs and their tests on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._adata import need
from .._model import Model
from .._stored import LATENT
from ..get import enrich_df, program_scores
from ._axes import _axes, _matrix, short
from ._cells import _groups
from ._drawn import draw

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
    ax = _axes(ax, (6, 0.3 * len(rows) + 1))
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
    means = z.groupby(_groups(adata, groupby), observed=True).mean()
    if programs is None:
        leading = [means.loc[g].nlargest(n_programs).index for g in means.index]
        programs = list(dict.fromkeys(p for some in leading for p in some))
    for p in programs:
        need("there is no such active program", means, programs=p)
    shown = means[list(programs)]
    ax = _axes(ax, (0.35 * shown.shape[1] + 3, 0.35 * shown.shape[0] + 2.5))
    most = float(np.abs(shown.to_numpy()).max()) or 1.0
    drawn = ax.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    ax.set_xticks(range(shown.shape[1]), short(shown.columns), rotation=90)
    ax.set_yticks(range(shown.shape[0]), shown.index)
    ax.figure.colorbar(drawn, ax=ax, shrink=0.7, label="mean score (standard deviations)")
    return ax


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
    ax = _axes(ax, (5, 0.25 * len(genes) + 1))
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
    return _matrix(draw("correlation", adata, **asked).table, "correlation", True, ax)


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
    return _matrix(draw("overlap", model=model, **asked).table, "Jaccard index", False, ax)


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
    return _matrix(draw("members", model=model, **asked).table, "weight / largest", True, ax)
