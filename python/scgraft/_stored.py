"""Embeddings and what is known of them, where they stand in an AnnData."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import _native
from ._adata import is_anndata, need
from ._frames import column, dense, frame, names, uns_to
from ._native import ScgraftError

if TYPE_CHECKING:
    from anndata import AnnData

LATENT = "X_scgraft"
NOTES = "scgraft"
PICTURE = LATENT + "_umap"
"""Where the library looks for a picture of cells, and what a model that brings its cells calls theirs."""


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
    out = _native.Cells(names(adata.obs_names), names(adata.var_names))
    for name in dict.fromkeys([key, f"{key}_var", *obsm]):
        if name in adata.obsm:
            value, ours = adata.obsm[name], name.startswith(key)
            table = isinstance(value, pd.DataFrame) and not ours
            out.set_obsm(LATENT + name[len(key) :] if ours else name, frame(value) if table else dense(value, f'obsm["{name}"]'))
    notes = adata.uns.get(NOTES if key == LATENT else key, {})
    if isinstance(notes, Mapping):
        notes = dict(notes)
        own = picture(adata) if drawn and key == LATENT else None
        if own is not None and own in obsm and own != PICTURE:
            out.set_obsm(PICTURE, dense(adata.obsm[own], f'obsm["{own}"]'))
            notes[f"umap {PICTURE}"] = notes[f"umap {own}"]
        out.set_uns({NOTES: uns_to(notes)})
    for name in adata.obs.columns if every else obs:
        argument = obs.get(name, "column") if isinstance(obs, Mapping) else "column"
        need(f"obs of {what} has no such column", adata.obs, **{argument: name})
        out.set_obs(str(name), column(adata.obs[name]))
    return out


def picture(adata: AnnData) -> str | None:
    """The entry of obsm with the picture of the cells: the library's own, or where :func:`umap` puts it for scanpy."""
    if PICTURE in adata.obsm:
        return PICTURE
    made = adata.uns.get("umap", {}).get("params", {}).get("use_rep") == LATENT  # scanpy's own say so nowhere
    return "X_umap" if made and "X_umap" in adata.obsm and "umap X_umap" in adata.uns.get(NOTES, {}) else None


def renamed(written: dict[str, Any], key: str) -> dict[str, Any]:
    """Slots of an embedding under another name."""
    if key == LATENT:
        return written
    obsm = {key + name[len(LATENT) :] if name.startswith(LATENT) else name: v for name, v in written["obsm"].items()}
    uns = {key if name == NOTES else name: v for name, v in written["uns"].items()}
    return {**written, "obsm": obsm, "uns": uns}


def _copied(adata: AnnData, copy: bool) -> AnnData:
    if not is_anndata(adata):
        raise ScgraftError(f"adata: expected an AnnData, found {type(adata).__name__}")
    return adata.copy() if copy else adata
