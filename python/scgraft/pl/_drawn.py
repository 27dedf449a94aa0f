"""Pictures as the report draws them, and its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from .. import _native
from .._adata import Slots, is_anndata, listed, need, with_obs
from .._frames import frame, frame_from
from .._load import as_model
from .._model import Model
from .._native import ScgraftError
from .._plan import as_json, pairs
from .._settings import settings, whole
from .._stored import LATENT, with_reference
from ..get import enrich_df
from ..tl._report import Report, page_of

if TYPE_CHECKING:
    from anndata import AnnData

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
        slots = Slots(layer=layer, use_raw=use_raw, gene_key=gene_key)
        cells, known = with_reference(adata, reference, use_rep, slots, names + listed(color))
    elif what in ("confusion", "sankey", "reliability") and adata is not None:
        cells = with_obs(adata, adata.obs.columns)
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
    plan = {
        "what": what, "title": title, "names": names, "color": color, "color_reference": color_reference, "groups": groupby,
        "split": split, "group": group, "programs": listed(programs), "among": among, "direction": direction, "top": top,
        "labels": labels, "truth": truth, "renamed": pairs(label_map), "use_raw": use_raw, "layer": layer, "gene_key": gene_key,
        "size": size, "seed": whole("seed", seed),
    }  # fmt: skip
    native, given = None if model is None else model._native, None if table is None else frame(table)
    found = _native.picture(cells, known, native, given, as_json(plan), settings.threads)
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
    page = page_of(
        adata, reference, use_rep=use_rep, layer=layer, use_raw=use_raw, gene_key=gene_key, genes=listed(genes), title=title,
        label=labels, color=listed(color), renamed=[], seed=whole("seed", seed), map=True,
    )  # fmt: skip
    return Report(page, height)


def history_svg(model: Model, title: str = "") -> Svg:
    """The loss and its terms, as the report draws them."""
    return draw("training", model=model, title=title)


def enrich_svg(adata: AnnData, group: str | None = None, *, key: str | None = None) -> Svg:
    """The Bayes factors of a test's first comparison, as the report draws them."""
    return draw("bayes", adata, group=group, key=key)


def evaluate_svg(table: Any) -> Svg:
    """The table of :func:`scgraft.tl.evaluate`, as the report draws it."""
    return draw("metrics", table=table)
