"""Read a new single-cell experiment against an atlas, in gene programs.

A reference model is trained once on an atlas (:func:`train`), or loaded (:func:`load`). A query is grafted on
(:meth:`Model.map`): a small adaptor for its batches trains, the reference stays identical to the bit. Functions over an
AnnData are in :mod:`scgraft.pp`, :mod:`scgraft.tl`, :mod:`scgraft.pl`, :mod:`scgraft.get`; scvi-tools' way of speaking is in
:mod:`scgraft.compat.scvi`.

Everything is computed by a library in Rust, without torch and without a GPU; the same seed gives the same bits here, on the
command line, and on any number of threads.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._native import ScgraftError, __version__
from ._settings import settings

if _TYPE_CHECKING:
    from . import compat, datasets, get, hub, metrics, pl, pp, tl
    from ._adaptor import Adaptor
    from ._load import import_model, load
    from ._model import Model
    from ._programs import read_gmt
    from ._train import models, train

_MODULES = ("compat", "datasets", "get", "hub", "metrics", "pl", "pp", "tl")
_NAMES = {"Adaptor": "_adaptor", "Model": "_model", "import_model": "_load", "load": "_load", "models": "_train",
          "read_gmt": "_programs", "train": "_train"}  # fmt: skip

__all__ = ["Adaptor", "Model", "ScgraftError", "__version__", "compat", "datasets", "get", "hub", "import_model", "load",
           "metrics", "models", "pl", "pp", "read_gmt", "settings", "tl", "train"]  # fmt: skip


if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # What needs numpy and pandas is loaded when it is first asked for: importing the package costs next to nothing.
        if name in _MODULES:
            return _import_module(f"{__name__}.{name}")
        if name in _NAMES:
            value = getattr(_import_module(f"{__name__}.{_NAMES[name]}"), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
