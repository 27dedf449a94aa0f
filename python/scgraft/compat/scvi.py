"""scvi-tools' and scArches' way of speaking: a notebook of theirs changes one import.

``import scgraft.compat.scvi as scvi`` stands for ``import scvi`` (``scvi.model.SCVI``, ``scvi.settings.seed``), ``import
scgraft.compat.scvi as sca`` for ``import scarches as sca`` (``sca.models.EXPIMAP``, ``sca.utils.add_annotations``,
``sca.plotting.plot_abs_bfs``); the classes can be imported by themselves, too.

``SCVI``, ``SCANVI``, ``TOTALVI``, ``LinearSCVI`` and ``EXPIMAP`` have the methods, shapes and columns of those packages; the
models are scgraft's. Arguments that choose a device or a way to run (``accelerator``, ``devices``, ``use_gpu``, ``mc_samples``,
…) are taken and change nothing. What is not there raises :class:`NotHere`, which names what to use instead.

Defaults of a model are those for reference mapping (two layers, layer norm, covariates in the encoder), so that
``load_query_data`` works; arguments change them as in scvi-tools.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .._native import ScgraftError
from .._settings import settings as session
from ._arches import EXPIMAP, TRVAE, add_annotations, plot_abs_bfs, scPoli
from ._tools import SCANVI, SCVI, TOTALVI, LinearSCVI
from ._words import Names, NotHere, not_here

__all__ = ["EXPIMAP", "SCANVI", "SCVI", "TOTALVI", "TRVAE", "LinearSCVI", "NotHere", "add_annotations", "plot_abs_bfs",
           "scPoli"]  # fmt: skip


class Settings:
    """scvi-tools' settings: ``seed``, ``num_threads`` and ``verbosity`` are those of :data:`scgraft.settings`, the others are
    taken and change nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "verbosity":
            session.verbosity = 2 if value <= logging.INFO else 1 if value <= logging.WARNING else 0
        elif name in ("seed", "num_threads"):
            setattr(session, name.removeprefix("num_"), value)
        else:
            self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "verbosity":
            return (logging.ERROR, logging.WARNING, logging.INFO)[min(session.verbosity, 2)]
        if name in ("seed", "num_threads"):
            return getattr(session, name.removeprefix("num_"))
        raise AttributeError(name)


model = Names("scvi.model", SCVI, SCANVI, TOTALVI, LinearSCVI)
models = Names("scarches.models", EXPIMAP, TRVAE, SCVI, SCANVI, TOTALVI, scPoli)
utils = Names("scarches.utils", add_annotations)
plotting = Names("scarches.plotting", plot_abs_bfs)
settings = Settings()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        error = not_here(__name__, name, __all__)
        # An import would turn an AttributeError into one without the advice.
        raise ScgraftError(str(error)) if isinstance(error, NotHere) else error
