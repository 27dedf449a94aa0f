"""Onto a reference: a query is mapped, or joined with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _native
from .._adata import Slots, adata_from, is_anndata, layers, matrices, put_expression
from .._load import as_model
from .._model import Model
from .._native import ScgraftError
from .._settings import settings
from .._stored import LATENT, copied, of_reference, opened_reference, stored

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger("scgraft")


def map(
    adata: AnnData,
    model: Model | str | Path,
    *,
    name: str | None = None,
    batch_key: str | Sequence[str] | None = None,
    batch_name: str | None = None,
    key_added: str = LATENT,
    save_model: str | Path | None = None,
    save_adaptor: str | Path | None = None,
    copy: bool = False,
    **settings: Any,
) -> AnnData | None:
    """Map a query onto a reference: graft it on, and write where its cells lie.

    Parameters
    ----------
    adata
        The query.
    model
        The reference: a model, or the path of its file.
    name, batch_key, batch_name
        As in :meth:`scgraft.Model.map`.
    key_added
        The name of the embedding: ``obsm[key_added]`` gets the posterior means (cells × dimensions),
        ``obsm[key_added + "_var"]`` the variances, ``varm["scgraft_weights"]`` the weights of programs,
        ``uns["scgraft"]`` what the dimensions mean.
    save_model, save_adaptor
        Files for the model with the graft, and for the graft alone.
    copy
        Whether to write into a copy, and give it.
    settings
        Everything else that :meth:`scgraft.Model.map` takes.

    Raises
    ------
    ScgraftError
        As :meth:`scgraft.Model.map`.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
    >>> sg.tl.map(sim.query, model, max_epochs=1, progress=False)
    >>> sim.query.obsm["X_scgraft"].shape
    (100, 10)
    """
    adata = copied(adata, copy)
    mapped = as_model(model).map(adata, name=name, batch_key=batch_key, batch_name=batch_name, **settings)
    mapped.to_adata(key_added=key_added)
    if save_model is not None:
        mapped.save(save_model, overwrite=True)
    if save_adaptor is not None:
        if mapped.adaptor is None:
            raise ScgraftError("save_adaptor: the query added nothing that an adaptor could hold; save the model instead")
        mapped.adaptor.save(save_adaptor)
    return adata if copy else None


def join(adata: AnnData, reference: AnnData | Model | str | Path) -> AnnData:
    """A query and its reference as one AnnData: the cells of the reference, then those of the query.

    ``obs["scgraft_origin"]`` says where a cell is from; columns of ``obs`` of both are kept. A label L that was carried over is
    ``L_pred`` in both. Of ``X``, the layers and ``raw`` the genes that both have are kept, of ``obsm`` the entries that both
    have. What cannot be put together (counts and other values, pictures that were made of each by itself) is left out with a
    warning.

    Parameters
    ----------
    adata
        The mapped query.
    reference
        The reference with its embedding, or a model that brings its cells (:meth:`scgraft.Model.bundle`).

    Returns
    -------
    Both, a new AnnData.

    Raises
    ------
    ScgraftError
        A query that was mapped onto another model.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.tl.map(sim.query, model, max_epochs=1, progress=False)
    >>> both = sg.tl.join(sim.query, sim.reference)
    >>> both.shape, both.obs["scgraft_origin"].value_counts().to_dict()
    ((400, 1000), {'reference': 300, 'query': 100})
    """
    reference = opened_reference(reference)

    def whole_of(data: AnnData, what: str) -> _native.Cells:
        out = stored(data, every=True, obsm=matrices(data), what=what, drawn=False)
        slots = [Slots()] if data.X is not None else []
        slots += [Slots(layer=name) for name in layers(data)] + ([Slots(use_raw=True)] if data.raw is not None else [])
        for slot in slots:
            put_expression(data, slot, out)
        return out

    known = whole_of(reference, "reference") if is_anndata(reference) else of_reference(reference)
    parts, left_out = _native.join(known, whole_of(adata, "adata"), settings.threads)
    for slot, reason in left_out:
        _log.warning("%s is left out: %s", slot, reason)
    return adata_from(parts)
