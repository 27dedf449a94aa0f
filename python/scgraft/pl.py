"""Pictures: matplotlib axes to go on with, and scgraft's own as SVG.

Every function draws into ``ax`` where one is given, and gives the axes. What notebooks show by itself is the drawing of the
report where there is one (:class:`Svg`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import _native
from ._adata import nearest
from ._frames import frame
from ._model import LATENT, Model
from ._native import ScgraftError
from .get import enrich_df, program_scores

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["Svg", "enrich_svg", "enriched", "evaluate_svg", "history", "history_svg", "program", "programs", "umap"]


class Svg:
    """A drawing of scgraft's own.

    Attributes
    ----------
    svg
        The drawing, as text.
    """

    def __init__(self, svg: str):
        self.svg = svg

    def save(self, path: str | Path) -> None:
        """Write the drawing."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ScgraftError("pictures need matplotlib: pip install 'scgraft[plot]'; scgraft.pl.*_svg need nothing") from None
    return plt.subplots(figsize=size, layout="constrained")[1]


def umap(
    adata: AnnData, color: str | None = None, *, basis: str = "X_umap", use_rep: str = LATENT, ax: Axes | None = None
) -> Axes:
    """Cells in the plane, coloured by a column of ``obs``, a gene program or a gene.

    Parameters
    ----------
    color
        A column of ``obs``, a program of the embedding, or a gene.
    basis, use_rep
        The entry of ``obsm`` with the picture, and the embedding with the programs.
    ax
        Axes to draw into.

    Returns
    -------
    The axes.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.umap(sim.reference, use_rep="X_pca", max_epochs=20)
    >>> sg.pl.umap(sim.reference, color="cell_type").get_title()
    'cell_type'
    """
    if basis not in adata.obsm:
        raise ScgraftError(f"obsm has no picture {basis!r}; make one with scgraft.tl.umap(adata)")
    ax = _axes(ax, (5, 4))
    x, y = np.asarray(adata.obsm[basis])[:, :2].T
    size = min(30.0, 60_000 / max(adata.n_obs, 1))
    order = np.random.default_rng(0).permutation(adata.n_obs)
    values = None if color is None else _values(adata, color, use_rep)
    if values is None:
        ax.scatter(x, y, s=size, c="lightgrey", linewidths=0)
    elif isinstance(values.dtype, pd.CategoricalDtype):
        colors = _palette(adata, color, len(values.cat.categories))
        codes = values.cat.codes.to_numpy()
        shade = np.array([*colors, "lightgrey"], dtype=object)[codes]
        ax.scatter(x[order], y[order], s=size, c=list(shade[order]), linewidths=0)
        for name, c in zip(values.cat.categories, colors, strict=True):
            ax.scatter([], [], c=c, label=str(name), s=30)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, ncols=1 + len(colors) // 16)
    else:
        drawn = ax.scatter(x[order], y[order], s=size, c=values.to_numpy()[order], linewidths=0, cmap="viridis")
        ax.figure.colorbar(drawn, ax=ax, shrink=0.7)
    ax.set(xticks=[], yticks=[], xlabel="UMAP1", ylabel="UMAP2", title=color or "")
    return ax


def _values(adata: AnnData, color: str, use_rep: str) -> pd.Series:
    if color in adata.obs.columns:
        values = adata.obs[color]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        return values if numeric else values.astype("category")
    if use_rep in adata.obsm:
        scores = program_scores(adata, use_rep=use_rep, active=False)
        if color in scores.columns:
            return scores[color]
    if color in adata.var_names:
        x = adata[:, color].X
        return pd.Series(np.asarray(x.todense() if hasattr(x, "todense") else x).ravel(), index=adata.obs_names)
    raise ScgraftError(f"color={color!r}: neither a column of obs, nor a program, nor a gene; columns: "
                       f"{nearest(color, adata.obs.columns)}")


def _palette(adata: AnnData, name: str | None, n: int) -> list[str]:
    key = f"{name}_colors"
    if key in adata.uns and len(adata.uns[key]) >= n:
        return [str(c) for c in adata.uns[key][:n]]
    import matplotlib
    from matplotlib.colors import to_hex

    base = matplotlib.colormaps["tab10" if n <= 10 else "tab20" if n <= 20 else "gist_ncar"]
    colors = [to_hex(base(i) if n <= 20 else base(i / n)) for i in range(n)]
    if name in adata.obs.columns:
        adata.uns[key] = np.array(colors, dtype=object)
    return colors


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
    ax.barh(rows["program"].astype(str), values, xerr=rows["log_bayes_factor_se"].fillna(0),
            color=np.where(values > 0, "tab:red", "tab:blue"))  # fmt: skip
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
    if groupby not in adata.obs.columns:
        there = nearest(groupby, adata.obs.columns)
        raise ScgraftError(f"groupby={groupby!r}: obs has no such column; its columns, nearest name first: {there}")
    scores = program_scores(adata, use_rep=use_rep)
    z = (scores - scores.mean()) / scores.std().replace(0, 1)
    means = z.groupby(adata.obs[groupby].astype(str).to_numpy()).mean()
    if programs is None:
        leading = [means.loc[g].nlargest(n_programs).index for g in means.index]
        programs = list(dict.fromkeys(p for some in leading for p in some))
    for p in programs:
        if p not in means.columns:
            raise ScgraftError(f"there is no active program {p!r}; there are: {nearest(p, means.columns)}")
    shown = means[list(programs)]
    ax = _axes(ax, (0.35 * shown.shape[1] + 3, 0.35 * shown.shape[0] + 2.5))
    most = float(np.abs(shown.to_numpy()).max()) or 1.0
    drawn = ax.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    ax.set_xticks(range(shown.shape[1]), shown.columns, rotation=90)
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
    ax.set(xlabel="decoder weight", title=name)
    return ax


def history(model: Model, *, ax: Axes | None = None) -> Axes:
    """The loss of a model's fit, epoch by epoch.

    Returns
    -------
    The axes: training and, where there is one, validation loss (nats per cell).
    """
    table = model.history
    ax = _axes(ax, (5, 3))
    train = table[[c for c in table if c.startswith("train_")]].sum(axis=1)
    ax.plot(table.index, train, label="training")
    if table["validation_loss"].notna().any():
        ax.plot(table.index, table["validation_loss"], label="validation, weighted")
    ax.set(xlabel="epoch", ylabel="loss (nats per cell)")
    ax.legend(frameon=False)
    return ax


def history_svg(model: Model, title: str = "") -> Svg:
    """The loss and its terms, as the report draws them."""
    drawn = _native.picture_of_training(model._native, title)
    if drawn is None:
        raise ScgraftError("the model has no history: it was not trained here")
    return Svg(drawn)


def enrich_svg(adata: AnnData, group: str | None = None, *, key: str | None = None) -> Svg:
    """The Bayes factors of a test's first comparison, as the report draws them."""
    return Svg(_native.pictures_of_test(frame(enrich_df(adata, group, key=key)))[0])


def evaluate_svg(table: Any) -> Svg:
    """The table of :func:`scgraft.tl.evaluate`, as the report draws it."""
    drawn = getattr(table, "attrs", {}).get("svg")
    if drawn is None:
        raise ScgraftError("expected the table that scgraft.tl.evaluate gave, as it was")
    return Svg(drawn)
