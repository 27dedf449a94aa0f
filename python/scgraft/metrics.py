"""Single metrics on arrays and labels; :func:`scgraft.tl.evaluate` gives all of them side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import _native
from ._frames import column, dense
from ._native import ScgraftError
from ._settings import settings
from .tl import evaluate

__all__ = ["ari", "evaluate", "nmi", "silhouette"]


def _codes(labels: Any) -> np.ndarray:
    codes, _ = pd.factorize(np.asarray(labels, dtype=object))
    if (codes < 0).any():
        raise ScgraftError("labels: some cells have none; leave them out")
    return np.asarray(codes, dtype=np.int32)


def nmi(a: Any, b: Any) -> float:
    """Normalised mutual information of two labellings of the same cells, 0 to 1.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.metrics.nmi(["a", "a", "b", "b"], [0, 0, 1, 1])
    1.0
    """
    return _native.agreements(_codes(a), _codes(b))[0]


def ari(a: Any, b: Any) -> float:
    """Adjusted Rand index of two labellings of the same cells; 1 is agreement, 0 what chance gives.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.metrics.ari(["a", "a", "b", "b"], [1, 1, 0, 0])
    1.0
    """
    return _native.agreements(_codes(a), _codes(b))[1]


def silhouette(x: Any, labels: Any, batches: Any = None) -> float:
    """Silhouette width of labels in an embedding, scaled to 0 to 1; with batches, how well they mix within labels.

    Parameters
    ----------
    x
        The embedding, cells × dimensions.
    labels, batches
        One value a cell.

    Examples
    --------
    >>> import numpy as np
    >>> import scgraft as sg
    >>> x = np.array([[0.0, 0], [0, 1], [9, 0], [9, 1]])
    >>> sg.metrics.silhouette(x, ["a", "a", "b", "b"]) > 0.9
    True
    """
    given = None if batches is None else column(pd.Series(list(batches)))
    return _native.silhouettes(dense(x, "x"), column(pd.Series(list(labels))), given, settings.threads)
