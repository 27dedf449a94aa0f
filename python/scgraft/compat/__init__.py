"""Other packages' ways of speaking: :mod:`scgraft.compat.scvi` for scvi-tools and scArches."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import scvi

__all__ = ["scvi"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "scvi":
            return _import_module(f"{__name__}.scvi")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
