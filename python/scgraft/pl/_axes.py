"""Axes to draw into, and what several pictures share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._native import ScgraftError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def panels_of(size: tuple[float, float], rows: int = 1, columns: int = 1) -> list[Axes]:
    """New axes, each so wide and high in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ScgraftError("pictures need matplotlib: pip install 'scgraft[plot]'; scgraft.pl.draw needs nothing") from None
    figsize = (size[0] * columns, size[1] * rows)
    return list(plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")[1].flat)


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Those that were given, or new ones."""
    return panels_of(size)[0] if ax is None else ax


def short(names: Iterable[Any], most: int = 42) -> list[str]:
    """Names as labels: of long ones the beginning and the end."""
    shown = [str(n) for n in names]
    return [n if len(n) <= most else f"{n[: most - 17]}…{n[-16:]}" for n in shown]


def matrix(table: pd.DataFrame, label: str, diverging: bool, ax: Axes | None, wide: float = 0.22) -> Axes:
    """A table in colours."""
    ax = axes(ax, (wide * table.shape[1] + 3.5, wide * table.shape[0] + 2.5))
    most = float(np.nanmax(np.abs(table.to_numpy()), initial=0.0)) or 1.0
    cmap, least = ("RdBu_r", -most) if diverging else ("viridis", 0.0)
    drawn = ax.imshow(table.to_numpy(), aspect="auto", cmap=cmap, vmin=least, vmax=most)
    ax.set_xticks(range(table.shape[1]), short(table.columns), rotation=90)
    ax.set_yticks(range(table.shape[0]), short(table.index))
    ax.figure.colorbar(drawn, ax=ax, shrink=0.7, label=label)
    return ax
