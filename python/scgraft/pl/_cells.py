"""Cells on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from .._adata import nearest, need, whole_numbers
from .._native import ScgraftError
from .._settings import whole
from .._stored import LATENT
from ..get import program_scores
from ._axes import axes, panels_of, short

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@overload
def umap(adata: AnnData, color: str | None = ..., *, basis: str = ..., use_rep: str = ..., ncols: int = ...,
         ax: Axes | None = ...) -> Axes: ...  # fmt: skip
@overload
def umap(adata: AnnData, color: Sequence[str], *, basis: str = ..., use_rep: str = ..., ncols: int = ...,
         ax: Axes | None = ...) -> list[Axes]: ...  # fmt: skip
def umap(
    adata: AnnData, color: str | Sequence[str] | None = None, *, basis: str = "X_umap", use_rep: str = LATENT,
    ncols: int = 4, ax: Axes | None = None,
) -> Axes | list[Axes]:  # fmt: skip
    """Cells in the plane, coloured by a column of ``obs``, a gene program or a gene.

    Parameters
    ----------
    color
        A column of ``obs``, a program of the embedding, or a gene; of several each is a panel.
    basis, use_rep
        The entry of ``obsm`` with the picture, and the embedding with the programs.
    ncols
        Panels in a row.
    ax
        Axes to draw into, for one panel.

    Returns
    -------
    The axes; of several panels a list.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.umap(sim.reference, use_rep="X_pca", max_epochs=20)
    >>> sg.pl.umap(sim.reference, color="cell_type").get_title()
    'cell_type'
    """
    need("obsm has no such picture", adata.obsm, ". Make one with scgraft.tl.umap(adata)", basis=basis)
    if color is not None and not isinstance(color, str):
        color = list(color)
        if ax is not None or not color:
            raise ScgraftError("color: give one name with ax=, or a list of names without")
        for name in color:  # before anything is drawn
            _values(adata, name, use_rep)
        columns = min(whole("ncols", ncols), len(color))
        panels = panels_of((5, 4), -(-len(color) // columns), columns)
        for spare in panels[len(color):]:
            spare.set_axis_off()
        return [umap(adata, name, basis=basis, use_rep=use_rep, ax=one) for name, one in zip(color, panels, strict=False)]
    values = None if color is None else _values(adata, color, use_rep)
    name = color or ""
    ax = axes(ax, (5, 4))
    x, y = np.asarray(adata.obsm[basis])[:, :2].T
    size = min(30.0, 60_000 / max(adata.n_obs, 1))
    order = np.random.default_rng(0).permutation(adata.n_obs)
    if values is None:
        ax.scatter(x, y, s=size, c="lightgrey", linewidths=0)
    elif isinstance(values.dtype, pd.CategoricalDtype):
        colors = _palette(adata, name)
        codes = values.cat.codes.to_numpy()
        shade = np.array([*colors, "lightgrey"], dtype=object)[codes]
        ax.scatter(x[order], y[order], s=size, c=list(shade[order]), linewidths=0)
        for at, (category, c) in enumerate(zip(values.cat.categories, colors, strict=True)):
            if (codes == at).any():
                ax.scatter([], [], c=c, label=str(category), s=30)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, ncols=1 + len(colors) // 16)
    else:
        drawn = ax.scatter(x[order], y[order], s=size, c=values.to_numpy()[order], linewidths=0, cmap="viridis")
        ax.figure.colorbar(drawn, ax=ax, shrink=0.7, label=_scale(adata, name))
    ax.set(xticks=[], yticks=[], xlabel="UMAP1", ylabel="UMAP2", title=short([name])[0])
    return ax


def violin(
    adata: AnnData, name: str, groupby: str, *, split: str | None = None, use_rep: str = LATENT, ax: Axes | None = None
) -> Axes:
    """A number of every cell by group: outline, and median.

    Parameters
    ----------
    name
        A column of ``obs`` with numbers, a program or a gene.
    groupby, split
        Columns of ``obs``: the groups, and what each is split by.

    Returns
    -------
    The axes.
    """
    values = _values(adata, name, use_rep, "name")
    if isinstance(values.dtype, pd.CategoricalDtype):
        raise ScgraftError(f"name={name!r}: the column holds groups; give one with numbers, a program or a gene")
    need("obs has no such column", adata.obs, groupby=groupby, split=split)
    grouped = groups_of(adata, groupby)
    parted = groups_of(adata, split) if split else pd.Categorical([""] * adata.n_obs)
    groups, parts = list(grouped.categories), list(parted.categories)
    table = pd.DataFrame({"value": np.asarray(values, dtype=float), "group": grouped, "part": parted})
    table = table[np.isfinite(table["value"])]
    ax = axes(ax, (0.5 * len(groups) * len(parts) + 2, 3.5))
    shades = _shades(adata, split) if split else {"": "tab:blue"}
    width = 0.85 / len(parts)
    for j, part in enumerate(parts):
        at = [(i + (j - (len(parts) - 1) / 2) * width, table[(table["group"] == g) & (table["part"] == part)]["value"])
              for i, g in enumerate(groups)]  # fmt: skip
        at = [(x, v.to_numpy()) for x, v in at if len(v) > 1]
        if not at:
            continue
        drawn = ax.violinplot([v for _, v in at], [x for x, _ in at], widths=width, showmedians=True, showextrema=False)
        bodies: Any = drawn["bodies"]
        for body in bodies:
            body.set(facecolor=shades[part], alpha=0.8)
        drawn["cmedians"].set(color="black")
        if split:
            ax.plot([], [], color=shades[part], lw=6, label=part)
    ax.set_xticks(range(len(groups)), groups, rotation=90)
    ax.set(ylabel=name)
    if split:
        ax.legend(title=split, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _values(adata: AnnData, color: str, use_rep: str, argument: str = "color") -> pd.Series:
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
        x = np.asarray(x.todense() if hasattr(x, "todense") else x, dtype=float).ravel()
        if _scale(adata, color):
            total = np.asarray(adata.X[:].sum(axis=1)).ravel()
            x = np.log1p(1e4 * x / np.maximum(total, 1))
        return pd.Series(x, index=adata.obs_names)
    key, _, name = color.removeprefix("obsm/").partition(":")
    if name and key in adata.obsm:
        value = adata.obsm[key]
        if isinstance(value, pd.DataFrame) and name in value.columns:
            return value[name]
        if not isinstance(value, pd.DataFrame) and name.isdigit() and int(name) < value.shape[1]:
            return pd.Series(np.asarray(value)[:, int(name)], index=adata.obs_names)
    known = {"columns": adata.obs.columns, "genes": adata.var_names}
    if use_rep in adata.obsm:
        known["programs"] = scores.columns
    near = "; ".join(f"{what}: {nearest(color, names, 5)}" for what, names in known.items())
    raise ScgraftError(f"{argument}={color!r}: neither a column of obs, nor a program, nor a gene; {near}")


def _scale(adata: AnnData, color: str) -> str:
    """What the numbers of a gene are: counts are shown as the drawings show them."""
    gene = color not in adata.obs.columns and color in adata.var_names
    return "log1p of counts per 10,000" if gene and whole_numbers(adata.X) else ""


def groups_of(adata: AnnData, key: str) -> pd.Categorical:
    """The groups of a column as texts, those that have cells, in the column's own order."""
    values = adata.obs[key].astype("category").cat.remove_unused_categories().cat
    return pd.Categorical.from_codes(values.codes, [str(c) for c in values.categories])


def _palette(adata: AnnData, name: str) -> list[str]:
    """The colour of every category of a column, where scanpy keeps them."""
    key, n = f"{name}_colors", len(adata.obs[name].astype("category").cat.categories)
    if key in adata.uns and len(adata.uns[key]) >= n:
        return [str(c) for c in adata.uns[key][:n]]
    import matplotlib
    from matplotlib.colors import to_hex

    base = matplotlib.colormaps["tab10" if n <= 10 else "tab20" if n <= 20 else "gist_ncar"]
    colors = [to_hex(base(i) if n <= 20 else base(i / n)) for i in range(n)]
    adata.uns[key] = np.array(colors, dtype=object)
    return colors


def _shades(adata: AnnData, key: str) -> dict[str, str]:
    categories = adata.obs[key].astype("category").cat.categories
    return {str(c): color for c, color in zip(categories, _palette(adata, key), strict=True)}
