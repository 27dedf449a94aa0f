"""One page about a mapped query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from .. import _native
from .._adata import Slots, listed, need
from .._frames import dense, frame
from .._load import as_model
from .._model import Model
from .._plan import as_json, pairs
from .._settings import settings, whole
from .._stored import LATENT, copied, with_reference

if TYPE_CHECKING:
    from anndata import AnnData


def report(
    adata: AnnData,
    path: str | Path | None = None,
    *,
    reference: AnnData | Model | str | Path | None = None,
    model: Model | str | Path | None = None,
    labels: str | None = None,
    truth: str | None = None,
    groupby: str | None = None,
    color: str | Sequence[str] = (),
    genes: str | Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    direction: Literal["top", "sum", "counts"] | None = None,
    metrics: pd.DataFrame | None = None,
    use_rep: str = LATENT,
    title: str = "Mapped cells",
    seed: int = 0,
) -> Report:
    """One page about a mapped query: an interactive map of the cells, programs, labels, metrics.

    Parameters
    ----------
    path
        Where to write the page; nowhere unless told.
    reference, model
        The reference with its embedding, and the model with the graft, which adds the genes of programs.
    labels, truth, groupby, color
        The label that was carried over, the column with the true one, the groups that programs are shown for, programs to
        colour by.
    genes, layer, use_raw, gene_key
        Genes to colour by, and where their expression and their names stand.
    label_map
        What labels of the query are called in the reference, old names to new ones.
    direction
        How a program's direction is read off its weights: ``"top"``, ``"sum"`` or ``"counts"``.
    metrics
        The table of :func:`evaluate`.
    use_rep, title, seed
        The embedding, the title, the seed of the picture of cells.

    Returns
    -------
    The page; a notebook shows it.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> mapped = model.map(sim.query, max_epochs=1, progress=False)
    >>> mapped.to_adata()
    >>> page = sg.tl.report(sim.query, model=mapped)
    >>> page.html[:15].lower()
    '<!doctype html>'
    """
    need("obs has no such column", copied(adata, False).obs, truth=truth, groupby=groupby)
    page = page_of(
        adata, reference, model=None if model is None else as_model(model), metrics=metrics, use_rep=use_rep, layer=layer,
        use_raw=use_raw, gene_key=gene_key, genes=listed(genes), title=title, label=labels, truth=truth, groups=groupby,
        color=listed(color), direction=direction, renamed=pairs(label_map), seed=whole("seed", seed), map=False,
    )  # fmt: skip
    out = Report(page)
    if path is not None:
        out.save(path)
    return out


def page_of(
    adata: AnnData,
    reference: AnnData | Model | str | Path | None,
    *,
    model: Model | None = None,
    metrics: pd.DataFrame | None = None,
    use_rep: str = LATENT,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    genes: Sequence[str] = (),
    color: Sequence[str] = (),
    **plan: Any,
) -> str:
    """The report's page, or its map alone, as text."""
    slots = Slots(layer=layer, use_raw=use_raw, gene_key=gene_key)
    mine, known = with_reference(adata, reference, use_rep, slots, [*genes, *color])
    if use_rep == LATENT and "scgraft_weights" in adata.varm:
        mine.set_varm("scgraft_weights", dense(adata.varm["scgraft_weights"], 'varm["scgraft_weights"]'))
    asked = {**plan, "key": LATENT, "genes": list(genes), "color": list(color),
             "use_raw": use_raw, "layer": layer, "gene_key": gene_key}  # fmt: skip
    return _native.report(mine, known, None if model is None else model._native,
                          None if metrics is None else frame(metrics), as_json(asked), settings.threads)  # fmt: skip


class Report:
    """A page about mapped cells.

    Attributes
    ----------
    html
        The page, whole: it needs no other file.
    """

    def __init__(self, page: str, height: int = 720):
        self.html, self.height = page, whole("height", height)

    def save(self, path: str | Path) -> None:
        """Write the page."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        return f"Report({len(self.html) // 1000:,} kB; save(path) writes the page)"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" width="100%" height="{self.height}" style="border:0"></iframe>'
