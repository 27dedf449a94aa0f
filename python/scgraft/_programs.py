"""Gene programs from what people have: a dictionary, GMT files, a mask in varm, a long table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from . import _native
from ._adata import nearest
from ._native import ScgraftError

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger("scgraft")

SOURCES = ("source", "geneset", "gene_set", "term", "pathway", "program", "collection")
SIGNS = ("weight", "mor", "sign")
TARGETS = ("target", "genesymbol", "gene", "genes", "symbol")


def read_gmt(*paths: str | Path) -> dict[str, list[str]]:
    """Gene sets of GMT files.

    Parameters
    ----------
    paths
        One or several files, plain or gzipped. Sets of one name in two files get the file's name before theirs.

    Returns
    -------
    The genes of each set, by its name, in the files' order.

    Raises
    ------
    FileNotFoundError
        A file that is not there.
    ScgraftError
        A line that is no gene set.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import scgraft as sg
    >>> path = pathlib.Path(tempfile.mkdtemp(), "sets.gmt")
    >>> _ = path.write_text("INTERFERON\\tna\\tISG15\\tMX1\\n")
    >>> sg.read_gmt(path)
    {'INTERFERON': ['ISG15', 'MX1']}
    """
    if not paths:
        raise ScgraftError("read_gmt: give at least one file")
    return dict(_native.read_gmt([str(p) for p in paths]))


def gene_sets(programs: Any, adata: AnnData | None, genes: Sequence[str] | None = None) -> list[tuple[str, list[str]]]:
    """Gene sets as the library takes them.

    ``programs`` is a dictionary of genes by name; the path of a GMT file, or several; the name of a mask in ``varm``
    (genes × programs, a DataFrame or an array); or a long table with a column for the program (``source``, ``geneset``,
    ``term``, …) and one for the gene (``target``, ``genesymbol``, …).
    """
    if programs is None:
        return []
    if isinstance(programs, Mapping):
        return [(str(name), _listed(name, of)) for name, of in programs.items()]
    if isinstance(programs, pd.DataFrame):
        return _long(programs)
    if isinstance(programs, str) and adata is not None and programs in adata.varm and not Path(programs).exists():
        return _mask(programs, adata, genes)
    if isinstance(programs, (str, Path)):
        if not Path(programs).exists():
            keys = [] if adata is None else list(adata.varm)
            raise FileNotFoundError(
                f"programs={str(programs)!r}: there is no such file, and no such entry in varm (there: "
                f"{nearest(str(programs), keys)})"
            )
        return _native.read_gmt([str(programs)])
    if isinstance(programs, Sequence) and programs and all(isinstance(p, (str, Path)) for p in programs):
        return _native.read_gmt([str(p) for p in programs])
    raise ScgraftError(
        "programs: expected a dictionary of genes by name, GMT files, the name of a mask in varm, or a long table with "
        f"columns such as source and target; found {type(programs).__name__}"
    )


def _listed(name: Any, genes: Any) -> list[str]:
    if isinstance(genes, str) or not hasattr(genes, "__iter__"):
        raise ScgraftError(f"programs[{name!r}]: expected a list of genes, found {genes!r}")
    return [str(g) for g in genes]


def _long(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    lower = {str(c).lower(): c for c in table.columns}
    source = next((lower[c] for c in SOURCES if c in lower), None)
    target = next((lower[c] for c in TARGETS if c in lower), None)
    if (source is None or target is None) and all(pd.api.types.is_numeric_dtype(t) for t in table.dtypes):
        raise ScgraftError("programs: a table of genes × programs; say which genes are of each, for one of weights: "
                           "{name: table.index[table[name].abs() > 0.1].tolist() for name in table}")  # fmt: skip
    if source is None or target is None:
        raise ScgraftError(
            f"programs: a long table needs a column for the program (one of {', '.join(SOURCES)}) and one for the gene "
            f"(one of {', '.join(TARGETS)}); found {', '.join(map(str, table.columns))}"
        )
    sign = next((lower[c] for c in SIGNS if c in lower), None)
    if sign is not None and (n := int((pd.to_numeric(table[sign], errors="coerce") < 0).sum())):
        _log.warning("programs: %d of %d genes have a %r below 0; gene sets have no signs, and they count as the others do",
                     n, len(table), sign)  # fmt: skip
    rows = table[[source, target]].dropna().astype(str)
    return [(str(name), part[target].tolist()) for name, part in rows.groupby(source, sort=False, observed=True)]


def _mask(key: str, adata: AnnData, genes: Sequence[str] | None) -> list[tuple[str, list[str]]]:
    mask = adata.varm[key]
    if isinstance(mask, pd.DataFrame):
        columns, values = [str(c) for c in mask.columns], mask.to_numpy()
    else:
        values = mask.toarray() if sparse.issparse(mask) else np.asarray(mask)
        for note in (f"{key}_names", "terms", key):
            if note in adata.uns and len(adata.uns[note]) == values.shape[1]:
                columns = [str(c) for c in adata.uns[note]]
                break
        else:
            columns = [f"program_{j}" for j in range(values.shape[1])]
    if not np.isin(values, (0, 1)).all():
        raise ScgraftError(f"programs={key!r}: varm[{key!r}] holds weights, not 0 and 1; say from which on a gene is of a "
                           f"program: adata.varm[{key!r}] = abs(adata.varm[{key!r}]) > 0.1")  # fmt: skip
    names = list(genes) if genes is not None else [str(g) for g in adata.var_names]
    return [(name, [names[i] for i in np.flatnonzero(values[:, j])]) for j, name in enumerate(columns)]
