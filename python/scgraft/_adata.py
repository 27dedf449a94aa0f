"""The way from an AnnData to the library: reads matrices where they stand, copies what the model's genes need."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
from scipy import sparse

from . import _native
from ._frames import array_from, column, column_from, csr_from, dense, frame, frame_from, names, uns_from
from ._native import ScgraftError
from ._settings import number, settings

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 8192
"""Cells read at a time from a file."""


def nearest(name: str, known: Iterable[Any], most: int = 12) -> str:
    """Names in words, those most like one first."""
    known = [str(k) for k in known]
    if not known:
        return "none"
    like = difflib.get_close_matches(str(name), known, n=5, cutoff=0.4)
    shown = (like + [k for k in known if k not in like])[:most]
    more = len(known) - len(shown)
    return ", ".join(map(repr, shown)) + (f" and {more} more" if more else "")


def need(lacking: str, known: Iterable[Any], remedy: str = "", /, **given: Any) -> None:
    """Refuses names, by argument, that are not there: ``need("obs has no such column", adata.obs, groupby=groupby)``."""
    for argument, name in given.items():
        if name is None:
            continue
        if not isinstance(name, (str, int, np.integer)):
            raise ScgraftError(f"{argument}: expected a name, found {type(name).__name__}: {name!r}")
        if name not in known:
            raise ScgraftError(f"{argument}={name!r}: {lacking}; there are: {nearest(str(name), known)}{remedy}")


def opened(data: Any, what: str = "adata") -> AnnData:
    """An AnnData from what a user gives: one, a MuData's RNA, or the path of a file, which is read block by block."""
    if isinstance(data, (str, Path)):
        return _read(Path(data))
    if is_mudata(data):
        return of_mudata(data)
    if not is_anndata(data):
        raise ScgraftError(f"{what}: expected an AnnData, a MuData or the path of a file, found {type(data).__name__}")
    return data


def is_anndata(data: Any) -> TypeGuard[AnnData]:
    """Whether it has the slots that are read."""
    return all(hasattr(data, slot) for slot in ("obs", "var", "obsm"))


def is_mudata(data: Any) -> bool:
    """Whether it holds several AnnData; a table has a method of this name."""
    return isinstance(getattr(data, "mod", None), Mapping)


def _read(path: Path) -> AnnData:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    import anndata

    if path.suffix == ".h5mu":
        raise ScgraftError(f"{path}: read it with mudata.read_h5mu(path), and give the MuData")
    if path.name.removesuffix(".gz").endswith((".csv", ".tsv", ".txt")):
        raise ScgraftError(f"{path}: expected an h5ad file, found a table; give anndata.AnnData(pandas.read_csv(path, sep=None, "
                           "engine='python', index_col=0).T), without .T where cells are rows")  # fmt: skip
    try:
        return anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path, backed="r")
    except Exception as error:
        what = f"the folder of a Zarr store{', which the package zarr reads' if isinstance(error, ImportError) else ''}"
        expected = what if path.is_dir() else "an h5ad file"
        raise ScgraftError(f"{path}: expected {expected}; it cannot be read: {error}") from error


def layers(adata: AnnData) -> dict[str, Any]:
    """The layers by name; from anndata 0.13 on X is among them, without one."""
    return {name: adata.layers[name] for name in adata.layers if name is not None}


def of_mudata(
    mdata: Any, rna: str | None = None, protein: str | None = None, protein_layer: str | None = None
) -> AnnData:
    """The RNA of a MuData, its proteins as ``obsm["protein_expression"]``; modalities by their usual names unless told."""
    import anndata

    rna = rna or next((k for k in ("rna", "gex", "RNA") if k in mdata.mod), None)
    if rna is None:
        raise ScgraftError(f"mdata: expected a modality 'rna', found {nearest('rna', mdata.mod)}; pass mdata.mod[...]")
    protein = protein or next((k for k in ("prot", "protein", "adt", "proteins") if k in mdata.mod), None)
    of = mdata.mod[rna]
    obs = of.obs.join(mdata.obs[[c for c in mdata.obs.columns if c not in of.obs.columns]])
    out = anndata.AnnData(X=of.X, obs=obs, var=of.var, layers=layers(of))
    if protein is not None:
        table = mdata.mod[protein]
        missing = of.obs_names.difference(table.obs_names)
        if len(missing):
            raise ScgraftError(
                f"mdata: {len(missing)} cells have no proteins, {missing[0]!r} first; keep the cells of both: "
                "muon.pp.intersect_obs(mdata)"
            )
        table = table[of.obs_names]
        values = table.X if protein_layer is None else table.layers[protein_layer]
        values = values.toarray() if sparse.issparse(values) else np.asarray(values)
        out.obsm["protein_expression"] = pd.DataFrame(values, index=out.obs_names, columns=table.var_names)
    return out


def _is_dask(x: Any) -> bool:
    return type(x).__module__.startswith("dask.") and hasattr(x, "blocks")


def _is_backed_sparse(x: Any) -> bool:
    return not sparse.issparse(x) and hasattr(x, "to_memory") and hasattr(x, "format")


def _is_on_disk(x: Any) -> bool:
    return type(x).__module__.split(".")[0] in ("h5py", "zarr") and hasattr(x, "shape")


def gather(x: Any, wanted: Sequence[bool], where: str, client: Any = None) -> _native.Counts:
    """The columns wanted of any matrix that an AnnData may hold.

    CSR, CSC and dense arrays in memory are read where they stand; files and Dask arrays a block of cells at a time, the
    blocks of a Dask array computed by ``client``, or by Dask's own scheduler.
    """
    if client is not None and not (hasattr(client, "compute") and hasattr(client, "gather")):
        raise ScgraftError(f"client=: expected a client of dask.distributed, found {type(client).__name__}")
    if client is not None and not _is_dask(x):
        raise ScgraftError(
            f"client=: a client computes the blocks of a Dask array, and {where} is a {type(x).__name__}; leave client= out "
            "(training itself runs on the threads of this process)"
        )
    counts = _native.Counts(list(wanted), settings.threads)
    _add(counts, x, where, client)
    return counts


def _add(counts: _native.Counts, x: Any, where: str, client: Any = None) -> None:
    if isinstance(x, np.matrix):
        x = np.asarray(x)
    if sparse.issparse(x):
        if x.format not in ("csr", "csc"):
            x = x.tocsr()
        data = x.data.astype(np.float32) if x.dtype == np.float16 else x.data
        parts = (np.ascontiguousarray(x.indptr), np.ascontiguousarray(x.indices), np.ascontiguousarray(data))
        counts.add_sparse(x.shape[0], x.format == "csr", *parts)
    elif isinstance(x, np.ma.MaskedArray):
        raise ScgraftError(f"{where}: expected a plain or sparse matrix, found a masked array; fill it: x.filled(0)")
    elif isinstance(x, np.ndarray):
        if x.ndim != 2:
            raise ScgraftError(f"{where}: expected cells × genes, found an array of shape {x.shape}")
        counts.add_dense(np.asarray(x, dtype=np.float32) if x.dtype == np.float16 else np.asarray(x))
    elif _is_dask(x):
        if len(x.chunks[1]) > 1:
            x = x.rechunk({1: -1})
        for i in range(len(x.chunks[0])):
            block = x.blocks[i]
            _add(counts, block.compute() if client is None else client.gather(client.compute(block)), where)
    elif _is_backed_sparse(x) and x.format == "csc":
        _add(counts, x.to_memory(), where)
    elif _is_backed_sparse(x) or _is_on_disk(x):
        for first in range(0, x.shape[0], BLOCK):
            _add(counts, x[first : first + BLOCK], where)
    elif x is None:
        raise ScgraftError(f"{where} is empty; expected raw counts, cells × genes")
    else:
        raise ScgraftError(
            f"{where}: expected a CSR, CSC or dense matrix, in memory, on disk or as a Dask array, found "
            f"{type(x).__name__}; convert it with scipy.sparse.csr_matrix"
        )


def matrix(adata: AnnData, layer: str | None, use_raw: bool) -> tuple[Any, pd.DataFrame, str]:
    """Expression, its table of genes, and what the slot is called."""
    if layer is not None and use_raw:
        raise ScgraftError("give layer= or use_raw=True, not both")
    if use_raw:
        if adata.raw is None:
            raise ScgraftError("adata.raw is empty; leave use_raw out, or name a layer=")
        return adata.raw.X, adata.raw.var, "raw.X"
    if layer is not None:
        need("adata has no such layer", layers(adata), layer=layer)
        return adata.layers[layer], adata.var, f"layer `{layer}`"
    return adata.X, adata.var, "X"


def check_names(index: pd.Index, what: str) -> None:
    """Refuses rows without names."""
    if len(index) and (index.isna().any() or any(str(v).strip() == "" for v in index)):
        raise ScgraftError(f"{what}: some names are empty; set them, for instance adata.obs_names = ...")


def listed(names: Any) -> list[str]:
    """One name, several, or none."""
    if names is None:
        return []
    one = isinstance(names, str) or not isinstance(names, Iterable)
    return [str(n) for n in ([names] if one else names)]


@dataclass
class Slots:
    """Where things stand in the cells: what every call that takes an AnnData shares, by the names of its arguments."""

    layer: str | None = None
    use_raw: bool = False
    gene_key: str | None = None
    batch_key: Any = ()
    batch_name: str | None = None
    labels_key: str | None = None
    unlabeled_category: str | None = None
    protein_key: str | None = None
    protein_names_key: str | None = None
    categorical_covariate_keys: Any = ()
    continuous_covariate_keys: Any = ()
    min_overlap: float | None = None
    orthologs: str | Path | None = None
    ortholog_rule: str = "one-to-one"
    fractions: str | None = None
    gene_names: Any = None
    client: Any = None

    def __post_init__(self) -> None:
        self.use_raw = bool(self.use_raw)
        for name in ("batch_key", "categorical_covariate_keys", "continuous_covariate_keys"):
            setattr(self, name, listed(getattr(self, name)))
        if self.batch_key and self.batch_name is not None:
            raise ScgraftError("give batch_key=, a column of obs, or batch_name=, one name for all cells, not both")
        if self.min_overlap is not None and number("min_overlap", self.min_overlap) > 1:
            raise ScgraftError(f"min_overlap={self.min_overlap!r}: expected a share, 0 to 1")
        for name in ("batch_name", "unlabeled_category", "orthologs"):
            if getattr(self, name) is not None:
                setattr(self, name, str(getattr(self, name)))
        if self.gene_names is not None:
            self.gene_names = ",".join(listed(self.gene_names))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Slots:
        """What a call was given of them."""
        return cls(**{name: given[name] for name in SLOTS if name in given})

    def options(self, adata: AnnData) -> dict[str, Any]:
        """As the library takes them, of these cells."""
        told = {name: getattr(self, name) for name in SLOTS if name != "client"}
        return {**told, "counts_elsewhere": counts_elsewhere(adata, self) is not None}

    def genes(self, adata: AnnData) -> list[str] | None:
        """The names of genes in their column, where one was named."""
        return names(adata.var[self.gene_key]) if self.gene_key in adata.var.columns else None

    def columns(self) -> dict[str, str]:
        """Columns of obs, and which argument named each."""
        named = ("batch_key", "labels_key", "categorical_covariate_keys", "continuous_covariate_keys")
        return {key: argument for argument in named for key in listed(getattr(self, argument))}


SLOTS = tuple(f.name for f in fields(Slots))


def with_obs(adata: AnnData, columns: Iterable[str], what: str = "") -> _native.Cells:
    """Cells and genes by name, with columns of obs; a dictionary says which argument named each."""
    out = _native.Cells(names(adata.obs_names), names(adata.var_names))
    for name in columns:
        named = {columns[name] if isinstance(columns, Mapping) else "column": name}
        need(f"obs {what and f'of {what} '}has no such column", adata.obs, **named)
        out.set_obs(str(name), column(adata.obs[name]))
    return out


def cells(
    adata: AnnData, slots: Slots, wanted: Callable[[list[str]], Sequence[bool] | None] = lambda _: None, more: Sequence[str] = ()
) -> _native.Cells:
    """Cells with what a model reads of them; ``wanted`` says of a list of genes which are (all unless told), ``more`` are columns
    of obs to take where they are there."""
    x, var, where = matrix(adata, slots.layer, slots.use_raw)
    need(f"{'adata.raw.var' if slots.use_raw else 'adata.var'} has no such column", var, gene_key=slots.gene_key)
    check_names(adata.obs_names, "adata.obs_names")
    if slots.gene_key is None:
        check_names(var.index, "adata.var_names")
    out = with_obs(adata, slots.columns() | {key: "column" for key in more if key in adata.obs.columns})
    if not slots.use_raw:
        for key in adata.var.columns:
            if key == slots.gene_key or adata.var[key].dtype.kind == "O":
                out.set_var(str(key), column(adata.var[key]))
    genes = names(var.index) if slots.gene_key is None else [str(v) for v in var[slots.gene_key]]
    _put(out, gather(x, wanted(genes) or [True] * len(genes), where, slots.client), slots, var)
    _proteins(adata, slots, out)
    return out


def _put(out: _native.Cells, counts: _native.Counts, slots: Slots, var: pd.DataFrame) -> None:
    slot = "raw" if slots.use_raw else "layer" if slots.layer is not None else "X"
    out.set_expression(slot, counts, slots.layer, frame(var) if slots.use_raw else None)


def put_expression(adata: AnnData, slots: Slots, out: _native.Cells) -> None:
    """Puts the whole expression of a slot into cells."""
    x, var, where = matrix(adata, slots.layer, slots.use_raw)
    if slots.gene_key is not None:
        need("var has no such column", var, gene_key=slots.gene_key)
        if not slots.use_raw:
            out.set_var(slots.gene_key, column(var[slots.gene_key]))
    _put(out, gather(x, [True] * len(var), where), slots, var)


def put_genes(parts: Iterable[tuple[Any, _native.Cells | None]], slots: Slots, wanted: Iterable[str]) -> None:
    """Puts the expression of those cells that have genes of these names, or of all where a slot is named."""
    wanted = {str(name).removeprefix("gene/") for name in wanted}
    for data, out in parts:
        if out is None or not hasattr(data, "obsm"):
            continue
        var = data.raw.var if slots.use_raw and data.raw is not None else data.var
        genes = var.index if slots.gene_key is None else var.get(slots.gene_key, pd.Index([]))
        if slots.use_raw or slots.layer is not None or not wanted.isdisjoint(map(str, genes)):
            put_expression(data, slots, out)


def matrices(data: Any, tables: bool = False) -> list[str]:
    """The entries of obsm that are matrices of numbers, or also those that are tables of them. A model has none."""

    def numbers(value: Any) -> bool:
        if isinstance(value, pd.DataFrame):
            return tables and all(pd.api.types.is_numeric_dtype(kind) for kind in value.dtypes)
        return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "fiub"

    return [name for name, value in getattr(data, "obsm", {}).items() if numbers(value)]


def _proteins(adata: AnnData, slots: Slots, out: _native.Cells) -> None:
    key = slots.protein_key
    if key is None and "protein_expression" in adata.obsm:
        key = "protein_expression"
    if key is None:
        return
    need("obsm has no such entry", adata.obsm, protein_key=key)
    values = adata.obsm[key]
    if isinstance(values, pd.DataFrame):
        try:
            out.set_obsm(key, frame(values.astype(np.float64)))
        except (TypeError, ValueError) as error:
            raise ScgraftError(f'obsm["{key}"]: expected counts of proteins, cells × proteins; {error}') from None
    else:
        out.set_obsm(key, dense(values, f'obsm["{key}"]'))
    if slots.protein_names_key is not None:
        need("uns has no such entry", adata.uns, protein_names_key=slots.protein_names_key)
        out.set_uns({slots.protein_names_key: [str(v) for v in adata.uns[slots.protein_names_key]]})


def put_counts(adata: AnnData, genes: Sequence[str], out: _native.Cells) -> None:
    """Puts what X, the layers and raw hold of these genes, named by the rows of ``var`` or by a column of it; the library takes
    the first that are counts."""
    wanted = set(genes)
    found = [("X", None, adata.X, adata.var), *(("layer", key, x, adata.var) for key, x in layers(adata).items())]
    if adata.raw is not None:
        found.append(("raw", None, adata.raw.X, adata.raw.var))
    for slot, layer, x, var in found:
        there = [name in wanted for name in names(var.index)]
        for key in var.columns if not any(there) else ():
            if var[key].dtype.kind == "O" and not wanted.isdisjoint(of := names(var[key])):
                there = [a or name in wanted for a, name in zip(there, of, strict=True)]
                if slot != "raw":
                    out.set_var(str(key), column(var[key]))
        if x is None or not any(there):
            continue
        try:
            counts = gather(x, there, layer or slot)
        except ScgraftError:  # what no model could read holds no counts
            continue
        out.set_expression(slot, counts, layer, frame(var) if slot == "raw" else None)


NO_COUNTS = "no other slot holds whole numbers either"
"""How the library's error begins its advice where it saw one slot only."""


KINDS = {"expected usize": "expected a whole number, 0 or more", "expected f32": "expected a number",
         "expected f64": "expected a number", "expected a sequence": "expected a list",
         "unknown field": "the unknown setting", "unknown variant": "the unknown value"}  # fmt: skip
"""Kinds of values in the words of the library, and in Python's."""


@contextmanager
def in_words(adata: AnnData, slots: Slots) -> Iterator[None]:
    """Errors of the library in Python's words: about values that are no counts, with the slot that has them where there is one;
    about settings, with the nearest names first."""
    try:
        yield
    except ScgraftError as error:
        raise ScgraftError(_in_words(str(error), adata, slots)) from None


def _in_words(message: str, adata: AnnData, slots: Slots) -> str:
    if "expected known names with fitting values" in message:
        for ours, theirs in KINDS.items():
            message = message.replace(ours, theirs)
        found = re.search(r"the unknown \w+ `([^`]+)`, expected one of (.+)$", message)
        if found:
            known = re.findall(r"`([^`]+)`", found[2])
            message = f"{message[: found.start(0)]}{found[0].split(',')[0]}; there are: {nearest(found[1], known)}"
        return message
    advice = counts_elsewhere(adata, slots) if NO_COUNTS in message else None
    return message if advice is None else message[: message.index(NO_COUNTS)] + advice


def counts_elsewhere(adata: AnnData, slots: Slots) -> str | None:
    """What to do where a slot beside the one asked for holds whole numbers; of the first rows of each."""
    others: list[tuple[str, Any]] = [(f"layer `{k}` holds whole numbers: use it (layer={k!r})", x)
                                     for k, x in layers(adata).items() if k != slots.layer]
    if slots.layer is not None or slots.use_raw:
        others.insert(0, ("X holds whole numbers: leave the choice of a layer out to use it", adata.X))
    if adata.raw is not None and not slots.use_raw:
        others.append(("raw.X holds whole numbers: use it (use_raw=True)", adata.raw.X))
    for advice, x in others:
        if whole_numbers(x):
            return advice
    return None


def whole_numbers(x: Any) -> bool:
    """Whether the first rows of a matrix are counts."""
    try:
        rows = x[:200]
        rows = rows.compute() if hasattr(rows, "compute") else rows
        values = rows.data if sparse.issparse(rows) else np.asarray(rows).ravel()
    except (TypeError, ValueError, IndexError):
        return False
    return bool(values.size and np.all(np.isfinite(values)) and np.all(values >= 0) and values.max() > 1
                and np.all(values == np.round(values)))


def adata_from(parts: dict[str, Any]) -> AnnData:
    """An AnnData of what the library made."""
    import anndata

    obs, var = frame_from(parts["obs"]), frame_from(parts["var"])
    x = None if parts["x"] is None else csr_from(parts["x"])
    out = anndata.AnnData(X=x, obs=obs, var=var)
    for name, values in parts["layers"].items():
        out.layers[name] = csr_from(values)
    if parts["raw"] is not None:
        values, var = parts["raw"]
        out.raw = anndata.AnnData(X=csr_from(values), obs=obs[[]], var=frame_from(var))
    put(out, {"obs": {}, "varm": {}, "obsp": {}, "obsm": parts["obsm"], "uns": parts["uns"]})
    return out


def put(adata: AnnData, written: dict[str, Any]) -> None:
    """Puts what the library wrote into the slots of an AnnData; arrays are not copied."""
    for name, parts in written["obs"].items():
        adata.obs[name] = column_from(parts, adata.obs_names)
    for slot, index in (("obsm", adata.obs_names), ("varm", adata.var_names), ("obsp", adata.obs_names)):
        for name, value in written[slot].items():
            getattr(adata, slot)[name] = array_from(value, index)
    for name, value in written["uns"].items():
        value = uns_from(value)
        if isinstance(value, dict) and isinstance(adata.uns.get(name), dict):
            adata.uns[name] = {**adata.uns[name], **value}
        else:
            adata.uns[name] = value


def among(of: Sequence[str], some: Sequence[str], case: bool = True) -> list[bool]:
    if case:
        among = set(some)
        return [g in among for g in of]
    among = {g.upper() for g in some} | set(some)
    return [g in among or g.upper() in among for g in of]
