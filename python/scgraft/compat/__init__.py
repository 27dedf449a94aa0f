"""Other packages' ways of speaking: :mod:`scgraft.compat.scvi` for scvi-tools and scArches."""

from . import scvi

__all__ = ["scvi"]
