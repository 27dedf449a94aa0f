"""Embeddings and what is known of them, where they stand in an AnnData."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import _native
from ._adata import Slots, is_anndata, matrices, need, opened, put_genes, with_obs
from ._frames import dense, frame, uns_to
from ._native import ScgraftError

if TYPE_CHECKING:
    from anndata import AnnData

    from ._model import Model

LATENT = "X_scgraft"
NOTES = "scgraft"
PICTURE = LATENT + "_umap"
"""Where the library looks for a picture of cells, and what a model that brings its cells calls theirs."""


def notes_of(adata: AnnData, key: str = LATENT) -> dict[str, Any]:
    """What is known of an embedding."""
    notes = adata.uns.get(NOTES if key == LATENT else key)
    return dict(notes) if isinstance(notes, Mapping) else {}


def stored(
    adata: AnnData,
    key: str = LATENT,
    *,
    obs: Mapping[str, str] | Sequence[str] = (),
    every: bool = False,
    obsm: Sequence[str] = (),
    what: str = "adata",
    drawn: bool = True,
) -> _native.Cells:
    """Cells with an embedding and what is known of it, for the library; its notes stand beside another key, too. ``obs`` are the
    columns wanted, of which a dictionary says which argument named them; a picture that is to be drawn is where the library looks
    for it."""
    if not is_anndata(adata):
        raise ScgraftError(f"{what}: expected an AnnData, found {type(adata).__name__}")
    remedy = ". Make one with scgraft.tl.map(adata, model) or model.to_adata()"
    need(f"obsm of {what} has no such embedding", adata.obsm, remedy, use_rep=key)
    out = with_obs(adata, adata.obs.columns if every else obs, what)
    for name in dict.fromkeys([key, f"{key}_var", *obsm]):
        if name in adata.obsm:
            value, ours = adata.obsm[name], name in (key, f"{key}_var", f"{key}_umap")
            table = isinstance(value, pd.DataFrame) and not ours
            out.set_obsm(LATENT + name[len(key) :] if ours else name, frame(value) if table else dense(value, f'obsm["{name}"]'))
    notes = notes_of(adata, key)
    own = picture(adata) if drawn and key == LATENT else None
    if own is not None and own in obsm and own != PICTURE:
        out.set_obsm(PICTURE, dense(adata.obsm[own], f'obsm["{own}"]'))
        notes[f"umap {PICTURE}"] = notes[f"umap {own}"]
    out.set_uns({NOTES: uns_to(notes)})
    return out


def picture(adata: AnnData) -> str | None:
    """The entry of obsm with the picture of the cells: the library's own, or where :func:`umap` puts it for scanpy."""
    if PICTURE in adata.obsm:
        return PICTURE
    made = adata.uns.get("umap", {}).get("params", {}).get("use_rep") == LATENT  # scanpy's own say so nowhere
    return "X_umap" if made and "X_umap" in adata.obsm and "umap X_umap" in notes_of(adata) else None


def renamed(written: dict[str, Any], key: str) -> dict[str, Any]:
    """Slots of an embedding under another name."""
    if key == LATENT:
        return written
    obsm = {key + name[len(LATENT) :] if name.startswith(LATENT) else name: v for name, v in written["obsm"].items()}
    uns = {key if name == NOTES else name: v for name, v in written["uns"].items()}
    return {**written, "obsm": obsm, "uns": uns}


def opened_reference(reference: AnnData | Model | str | Path) -> AnnData | Model:
    """A reference as it is given, or what a path or an address names: cells, or a model."""
    from ._model import Model

    if isinstance(reference, (str, Path)) and Path(reference).suffix not in (".h5ad", ".h5mu", ".zarr"):
        return Model.load(reference)
    return reference if isinstance(reference, Model) else opened(reference, "reference")


def of_reference(reference: AnnData | Model, key: str = LATENT, **wanted: Any) -> _native.Cells:
    """The cells of a reference: of an AnnData with its embedding as :func:`stored` gives them, or those that a model brings."""
    if is_anndata(reference):
        return stored(reference, key, what="reference", **wanted)
    found = reference._native.reference_cells()
    if found is None:
        raise ScgraftError(
            "reference: the model does not bring its cells; give the AnnData that it was trained on, with its embedding "
            "(model.to_adata(adata)), or model.bundle(columns)"
        )
    return found


def with_reference(
    adata: AnnData, reference: AnnData | Model | str | Path | None, key: str, slots: Slots, genes: Iterable[str]
) -> tuple[_native.Cells, _native.Cells | None]:
    """Cells and their reference's with all that a picture may show of them: columns, tables of numbers, expression of genes."""
    mine, known = stored(adata, key, every=True, obsm=matrices(adata, tables=True)), None
    if reference is not None:
        reference = opened_reference(reference)
        known = of_reference(reference, key, every=True, obsm=matrices(reference, tables=True))
    put_genes([(adata, mine), (reference, known)], slots, genes)
    return mine, known


def copied(adata: AnnData, copy: bool) -> AnnData:
    """Cells to write into: these, or a copy of them."""
    if not is_anndata(adata):
        raise ScgraftError(f"adata: expected an AnnData, found {type(adata).__name__}")
    return adata.copy() if copy else adata
