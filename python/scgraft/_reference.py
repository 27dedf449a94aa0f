"""The cells of a reference: of an AnnData, or those that a model brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import _native
from ._adata import opened
from ._load import load
from ._model import Model
from ._native import ScgraftError
from ._stored import LATENT, stored

if TYPE_CHECKING:
    from anndata import AnnData


def _reference(reference: AnnData | Model | str | Path) -> AnnData | Model:
    """A reference as it is given, or what a path or an address names: an h5ad, or a model."""
    if isinstance(reference, (str, Path)) and Path(reference).suffix not in (".h5ad", ".h5mu"):
        return load(reference)
    return reference if isinstance(reference, Model) else opened(reference)


def of_reference(
    reference: AnnData | Model,
    key: str = LATENT,
    *,
    obs: Mapping[str, str] | Sequence[str] = (),
    every: bool = False,
    obsm: Sequence[str] = (),
) -> _native.Cells:
    """The cells of a reference: of an AnnData with its embedding, or those that a model brings."""
    if not isinstance(reference, Model):
        return stored(reference, key, obs=obs, every=every, obsm=obsm, what="reference")
    found = reference._native.reference_cells()
    if found is None:
        raise ScgraftError(
            "reference: the model does not bring its cells; give the AnnData that it was trained on, with its embedding "
            "(model.to_adata(adata)), or model.bundle(columns)"
        )
    return found
