"""Tables and slots between pandas and the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._native import ScgraftError


def text(value: Any) -> str:
    """A value as the library writes it: whole floats without a point."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def column(values: Any) -> tuple[Any, ...]:
    """A column as plain arrays."""
    s = values if isinstance(values, pd.Series) else pd.Series(values)
    kind = s.dtype
    if isinstance(kind, pd.CategoricalDtype):
        codes = np.ascontiguousarray(s.cat.codes.to_numpy(), dtype=np.int32)
        return ("categorical", codes, [text(c) for c in s.cat.categories], bool(s.cat.ordered))
    if (boolean := pd.api.types.is_bool_dtype(kind)) or pd.api.types.is_integer_dtype(kind):
        missing = s.isna().to_numpy()
        filled = s.fillna(False if boolean else 0).to_numpy(dtype=bool if boolean else np.int64)
        return ("boolean" if boolean else "integer", np.ascontiguousarray(filled), missing if missing.any() else None)
    if pd.api.types.is_float_dtype(kind):
        return ("real", np.ascontiguousarray(s.to_numpy(dtype=np.float64, na_value=np.nan)))
    return ("text", [None if pd.api.types.is_scalar(v) and pd.isna(v) else text(v) for v in s])


def frame(table: pd.DataFrame) -> dict[str, Any]:
    """A table as plain arrays."""
    name = table.index.name
    return {
        "index": names(table.index),
        "name": None if name is None else str(name),
        "columns": [(str(c), column(table[c])) for c in table.columns],
    }


def names(index: pd.Index) -> list[str]:
    """Row names as a list of texts."""
    return [str(v) for v in index]


def column_from(parts: tuple[Any, ...], index: pd.Index) -> pd.Series:
    """A column of the library for pandas."""
    kind, values = parts[0], parts[1]
    if kind == "categorical":
        return pd.Series(pd.Categorical.from_codes(values, parts[2], ordered=parts[3]), index=index)
    if kind == "text":
        return pd.Series(np.array(values, dtype=object), index=index)
    missing = parts[2] if len(parts) > 2 else None
    if missing is None:
        return pd.Series(values, index=index)
    masked = pd.arrays.BooleanArray if kind == "boolean" else pd.arrays.IntegerArray
    return pd.Series(masked(values, missing), index=index)


def frame_from(table: dict[str, Any], index: pd.Index | None = None) -> pd.DataFrame:
    """A table of the library for pandas."""
    if index is None:
        index = pd.Index(table["index"], name=table["name"], dtype=object)
    columns = {name: column_from(parts, index) for name, parts in table["columns"]}
    return pd.DataFrame(columns, index=index)


def csr_from(parts: tuple[Any, ...]) -> sparse.csr_matrix:
    """A sparse matrix from its parts."""
    shape, indptr, indices, data = parts
    return sparse.csr_matrix((data, indices, indptr), shape=shape, copy=False)


def array_from(value: Any, index: pd.Index) -> Any:
    """An entry of obsm or varm."""
    if isinstance(value, dict):
        return frame_from(value, index)
    if isinstance(value, tuple):
        return csr_from(value)
    return value


def uns_from(value: Any) -> Any:
    """A value of uns as AnnData keeps it."""
    if isinstance(value, dict):
        if "\0table" in value:
            return frame_from(value["\0table"])
        if "\0records" in value:
            return frame_from(value["\0records"]).to_records(index=False)
        if "\0sparse" in value:
            return csr_from(value["\0sparse"])
        if "\0column" in value:
            return column_from(value["\0column"], pd.RangeIndex(len(value["\0column"][1]))).array
        return {k: uns_from(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return np.array(value, dtype=object) if value else np.array([], dtype=object)
    return value


def uns_to(value: Any) -> Any:
    """A value of uns as plain arrays; what the library does not read is left out by it."""
    if isinstance(value, dict):
        return {str(k): uns_to(v) for k, v in value.items()}
    if isinstance(value, pd.DataFrame):
        return {"\0table": frame(value)}
    if isinstance(value, np.ndarray) and value.dtype.names is None:
        if value.dtype.kind in "fiub":
            return np.ascontiguousarray(value, dtype={"f": np.float64, "b": bool}.get(value.dtype.kind, np.int64))
        if value.ndim == 1:
            return [text(v) for v in value]
        return None
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return list(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def dense(value: Any, where: str) -> np.ndarray:
    """An embedding as float32 in rows; copied only where it is not."""
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy()
    if sparse.issparse(value):
        value = value.toarray()
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ScgraftError(
            f"{where}: expected numbers, cells × dimensions, found {array.dtype} of shape {array.shape}; "
            "store a two-dimensional array there"
        )
    return np.ascontiguousarray(array, dtype=np.float32)
