"""Pictures: matplotlib axes to go on with, and scgraft's own as SVG.

Every function draws into ``ax`` where one is given, and gives the axes. What notebooks show by itself is the drawing of the
report where there is one (:class:`Svg`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd

from . import _native
from ._adata import Slots, is_anndata, listed, matrices, nearest, need, put_genes, whole_numbers
from ._frames import column, frame, frame_from
from ._model import LATENT, Model, _threads, as_model, picture_plan
from ._native import ScgraftError
from ._settings import whole
from .get import enrich_df, program_scores

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from .tl import Report

__all__ = ["PICTURES", "Svg", "confusion", "correlation", "draw", "enrich_svg", "enriched", "evaluate_svg", "history",
           "history_svg", "map", "members", "overlap", "program", "programs", "reliability", "umap", "violin"]  # fmt: skip

PICTURES = {
    "umap": "cells in the plane: color=, reference=",
    "scores": "one number of every cell against another: names=[x, y], color=",
    "violin": "a number by group of cells: names=, groupby=, split=",
    "heatmap": "means in groups of cells: names= (the programs that tell them apart best), groupby=, split=, top=",
    "dots": "the same as dots, their size how often a cell of the group is higher than one outside",
    "bayes": "programs by log Bayes factor, of a test: key=, group=",
    "training": "losses by epoch: model=",
    "genes": "the genes of a program by weight: model=, names=, top=",
    "confusion": "carried-over against given labels: labels=, truth=, label_map=",
    "sankey": "the same as flows",
    "reliability": "confidence of carried-over labels against how often they are right",
    "correlation": "correlation of the scores of programs: programs=, enriched=, direction=",
    "overlap": "overlap (Jaccard) of the genes of programs: model=, programs=, enriched=, top=",
    "members": "which genes programs share: model=, programs=, enriched=, top=",
    "metrics": "the table of scgraft.tl.evaluate: table=",
}
"""The drawings of the report, and what each is asked with; :func:`draw` makes them."""


class Svg:
    """A drawing of scgraft's own; a notebook shows it.

    Attributes
    ----------
    svg
        The drawing, as text.
    table
        The numbers in it, where they are a table of their own (correlations, overlaps, shared genes).
    """

    def __init__(self, native: _native.Drawing, table: pd.DataFrame | None = None):
        self._native = native
        self.svg = native.svg()
        self.table = table

    def save(self, path: str | Path) -> None:
        """Write the drawing, as what the name ends in: ``.svg`` or ``.png``."""
        self._native.save(str(path))

    def __repr__(self) -> str:
        return f"Svg({len(self.svg) // 1000:,} kB; save(path) writes it as .svg or .png)"

    def _repr_svg_(self) -> str:
        return self.svg


def _pairs(label_map: Mapping[str, str] | None) -> list[list[str]]:
    return [[str(a), str(b)] for a, b in dict(label_map or {}).items()]


def draw(
    what: str,
    adata: AnnData | None = None,
    *,
    reference: AnnData | Model | str | Path | None = None,
    model: Model | None = None,
    table: pd.DataFrame | None = None,
    names: str | Sequence[str] = (),
    color: str | None = None,
    color_reference: bool = False,
    groupby: str | None = None,
    split: str | None = None,
    programs: str | Sequence[str] = (),
    enriched: AnnData | None = None,
    key: str | None = None,
    group: str | None = None,
    top: int | None = None,
    labels: str | None = None,
    truth: str | None = None,
    label_map: Mapping[str, str] | None = None,
    direction: Literal["top", "sum", "counts"] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    use_rep: str = LATENT,
    size: tuple[float, float] | None = None,
    title: str = "",
    seed: int = 0,
) -> Svg:
    """A picture as the report draws it.

    A name is a column of ``obs``, a program, a gene or a column of ``obsm``; one that is several things is said in full:
    ``"obs/NAME"``, ``"program/NAME"``, ``"gene/NAME"``, ``"obsm/KEY:COLUMN"``.

    Parameters
    ----------
    what
        One of :data:`PICTURES`.
    adata, reference
        Mapped cells, and the reference with its embedding (or a model that brings its cells), which is drawn too.
    model, table
        What is drawn, where it is a model or a table.
    names, color, color_reference, groupby, split
        What of the cells is shown, coloured by (also the reference's cells, or those grey) and grouped by.
    programs, enriched
        Patterns of the names of programs; only those that the test ``key`` of these cells found enriched.
    key, group
        The test (the one that a report shows first unless told) and its group.
    top
        How many genes or programs.
    labels, truth, label_map
        The label that was carried over, the column of the given one, and what given labels are called in the reference.
    direction
        How a program's direction is read off its weights.
    layer, use_raw, gene_key
        Where the expression of genes stands.
    use_rep, size, title, seed
        The embedding, width and height in px, the title, the seed of a picture of cells.

    Returns
    -------
    The drawing.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> model.to_adata(sim.reference)
    >>> drawn = sg.pl.draw("violin", sim.reference, names=model.latent_names[0], groupby="cell_type")
    >>> drawn.svg[:4]
    '<svg'
    """
    from . import tl

    need("there is no such picture", PICTURES, what=what)
    names = listed(names)
    needs = [
        ("adata", adata, ("umap", "scores", "violin", "heatmap", "dots", "bayes", "confusion", "sankey", "reliability",
                          "correlation")),
        ("model", model, ("training", "genes", "overlap", "members")), ("table", table, ("metrics",)),
        ("color", color, ("umap", "scores")), ("groupby", groupby, ("violin", "heatmap", "dots")),
        ("labels", labels, ("confusion", "sankey", "reliability")), ("names", names, ("scores", "violin", "genes")),
    ]  # fmt: skip
    for argument, given, pictures in needs:
        if what in pictures and (given is None or (argument == "names" and not given)):
            raise ScgraftError(f"the picture {what!r} needs {argument}= ({PICTURES[what]})")
    if what == "scores" and len(names) != 2:
        raise ScgraftError(f"the picture 'scores' needs two names, across and upwards; found {len(names)}")
    model = None if model is None else as_model(model)
    if adata is not None and not is_anndata(adata):
        raise ScgraftError(f"adata: expected an AnnData, found {type(adata).__name__}")
    if what == "genes" and model is not None:
        model.program_genes(names[0])
    cells = known = None
    if what in ("umap", "scores", "violin", "heatmap", "dots", "correlation"):
        cells = tl.stored(adata, use_rep, every=True, obsm=matrices(adata, tables=True) if what != "correlation" else [])
        if reference is not None:
            reference = tl._reference(reference)
            known = tl.of_reference(reference, use_rep, every=True, obsm=matrices(reference, tables=True))
        slots = Slots(layer=layer, use_raw=use_raw, gene_key=gene_key)
        put_genes([(adata, cells), (reference, known)], slots, [*names, *([color] if color else [])])
    elif what in ("confusion", "sankey", "reliability") and adata is not None:
        cells = _native.Cells([str(n) for n in adata.obs_names], [])
        for name in adata.obs.columns:
            cells.set_obs(str(name), column(adata.obs[name]))
        colors = [f"{labels}_colors", f"{labels}_pred_colors"]
        cells.set_uns({key: [str(color) for color in adata.uns[key]] for key in colors if key in adata.uns})
        if f"{labels}_probabilities" in adata.obsm:
            value = adata.obsm[f"{labels}_probabilities"]
            if isinstance(value, pd.DataFrame):
                cells.set_obsm(f"{labels}_probabilities", frame(value))
    if what == "bayes":
        table = enrich_df(adata, group, key=key, use_rep=use_rep)
    among = None
    if enriched is not None:
        test = enrich_df(enriched, key=key, use_rep=use_rep, enriched=True)
        among = sorted(set(test["program"].astype(str)))
    plan = picture_plan(
        what, title=title, names=names, color=color, color_reference=color_reference, groups=groupby, split=split,
        group=group, programs=listed(programs), among=among, direction=direction, top=top, labels=labels, truth=truth,
        renamed=_pairs(label_map), slot="raw" if use_raw else "X", layer=layer, gene_key=gene_key, size=size,
        seed=whole("seed", seed),
    )  # fmt: skip
    given = None if table is None else frame(table)
    found = _native.picture(cells, known, None if model is None else model._native, given, plan, _threads(None))
    if found is None:
        raise ScgraftError(NOTHING[what])
    drawing, numbers = found
    return Svg(drawing, None if numbers is None else frame_from(numbers))


NOTHING = {
    "bayes": "the test has no comparison",
    "metrics": "no column of the table is a metric; give the table of scgraft.tl.evaluate",
    "training": "the model has no history: it was not trained here",
    "confusion": "no cell has both a given label and one that was carried over; name the given ones: truth=",
    "sankey": "no cell has both a given label and one that was carried over; name the given ones: truth=",
    "reliability": "no cell has a given label that the reference has too; name them alike: label_map={old: new}",
}
"""What it means that there is nothing to draw."""


def map(  # noqa: A001
    adata: AnnData,
    reference: AnnData | Model | str | Path | None = None,
    *,
    color: str | Sequence[str] = (),
    genes: str | Sequence[str] = (),
    labels: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    use_rep: str = LATENT,
    height: int = 720,
    title: str = "Cells",
    seed: int = 0,
) -> Report:
    """The cells as an interactive map: zoom, choose cells, colour by columns, programs and genes.

    Parameters
    ----------
    adata, reference
        Mapped cells, and the reference with its embedding (or a model that brings its cells), which is drawn below them.
        Pictures that :func:`scgraft.tl.umap` made are taken, else made.
    color, genes
        What the cells are coloured by at first (columns of ``obs``, programs, genes, as in :func:`draw`), and genes; the columns
        of ``obs`` can be chosen besides.
    labels
        The label that was carried over, whose colours are the same for given and carried-over labels.
    layer, use_raw, gene_key
        Where the expression of genes stands.
    use_rep, height, title, seed
        The embedding, px in the notebook, the title, the seed of the picture.

    Returns
    -------
    The map, which a notebook shows; it can be saved as a page.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> model.to_adata(sim.reference)
    >>> "<canvas" in sg.pl.map(sim.reference, color=model.latent_names[0]).html
    True
    """
    from . import tl

    page = tl.page_of(
        adata, reference, use_rep=use_rep, layer=layer, use_raw=use_raw, gene_key=gene_key, genes=listed(genes), title=title,
        label=labels, truth=None, groups=None, color=listed(color), direction=None, renamed=[],
        seed=whole("seed", seed), map=True,
    )  # fmt: skip
    return tl.Report(page, height)


def _panels(size: tuple[float, float], rows: int = 1, columns: int = 1) -> list[Axes]:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ScgraftError("pictures need matplotlib: pip install 'scgraft[plot]'; scgraft.pl.draw needs nothing") from None
    figsize = (size[0] * columns, size[1] * rows)
    return list(plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")[1].flat)


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return _panels(size)[0] if ax is None else ax


def short(names: Iterable[Any], most: int = 42) -> list[str]:
    """Names as labels: of long ones the beginning and the end."""
    shown = [str(n) for n in names]
    return [n if len(n) <= most else f"{n[: most - 17]}…{n[-16:]}" for n in shown]


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
        panels = _panels((5, 4), -(-len(color) // columns), columns)
        for spare in panels[len(color):]:
            spare.set_axis_off()
        return [umap(adata, name, basis=basis, use_rep=use_rep, ax=one) for name, one in zip(color, panels, strict=False)]
    values = None if color is None else _values(adata, color, use_rep)
    name = color or ""
    ax = _axes(ax, (5, 4))
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


def _groups(adata: AnnData, key: str) -> pd.Categorical:
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
    grouped = _groups(adata, groupby)
    parted = _groups(adata, split) if split else pd.Categorical([""] * adata.n_obs)
    groups, parts = list(grouped.categories), list(parted.categories)
    table = pd.DataFrame({"value": np.asarray(values, dtype=float), "group": grouped, "part": parted})
    table = table[np.isfinite(table["value"])]
    ax = _axes(ax, (0.5 * len(groups) * len(parts) + 2, 3.5))
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


def _matrix(table: pd.DataFrame, label: str, diverging: bool, ax: Axes | None) -> Axes:
    ax = _axes(ax, (0.22 * table.shape[1] + 3.5, 0.22 * table.shape[0] + 2.5))
    most = float(np.nanmax(np.abs(table.to_numpy()), initial=0.0)) or 1.0
    cmap, least = ("RdBu_r", -most) if diverging else ("viridis", 0.0)
    drawn = ax.imshow(table.to_numpy(), aspect="auto", cmap=cmap, vmin=least, vmax=most)
    ax.set_xticks(range(table.shape[1]), short(table.columns), rotation=90)
    ax.set_yticks(range(table.shape[0]), short(table.index))
    ax.figure.colorbar(drawn, ax=ax, shrink=0.7, label=label)
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


def history_svg(model: Model, title: str = "") -> Svg:
    """The loss and its terms, as the report draws them."""
    return draw("training", model=model, title=title)


def enrich_svg(adata: AnnData, group: str | None = None, *, key: str | None = None) -> Svg:
    """The Bayes factors of a test's first comparison, as the report draws them."""
    return draw("bayes", adata, group=group, key=key)


def evaluate_svg(table: Any) -> Svg:
    """The table of :func:`scgraft.tl.evaluate`, as the report draws it."""
    return draw("metrics", table=table)
