"""Genes that differ between groups of cells, in scvi-tools' columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from .._adata import matrix
from .._frames import text

if TYPE_CHECKING:
    from anndata import AnnData


def grouped(data: AnnData, column: str, idx1: Any, idx2: Any) -> AnnData:
    """Cells with a column of two groups: rows by number, by a mask or by a query of ``obs``, and all others unless told."""

    def rows(idx: Any) -> np.ndarray:
        if isinstance(idx, str):
            return np.asarray(data.obs.eval(idx), dtype=bool)
        mask = np.zeros(data.n_obs, dtype=bool)
        mask[np.asarray(idx)] = True
        return mask

    one = rows(idx1)
    other = ~one if idx2 is None else rows(idx2) & ~one
    out = data.copy()
    out.obs[column] = pd.Categorical.from_codes(np.where(one, 0, np.where(other, 1, -1)), ["group1", "group2"])
    return out


def their_columns(
    found: pd.DataFrame, mode: str, delta: float, fdr: float, read: Callable[[pd.Index, str, str | None], dict[str, Any]]
) -> pd.DataFrame:
    """A table of ours as theirs; ``read`` says of genes and two groups what is read off their counts."""
    parts, change = [], mode == "change"
    for (one, two), rows in found.groupby(["group", "comparison"], sort=False, observed=True):
        rows = rows.set_index(rows["gene"].astype(str))
        p, bf = rows["probability"], rows["log_bayes_factor"]
        one_is, other_is = ("proba_de", "proba_not_de") if change else ("proba_m1", "proba_m2")
        columns = {one_is: p, other_is: 1 - p, "bayes_factor": bf}
        columns |= {"scale1": rows["mean_group"], "scale2": rows["mean_comparison"]}
        if change:
            columns |= {"delta": delta, **{f"lfc_{name}": rows[f"lfc_{name}"] for name in ("mean", "median")},
                        "lfc_std": rows["lfc_sd"], "lfc_min": rows["lfc_min"], "lfc_max": rows["lfc_max"]}  # fmt: skip
        columns |= read(rows.index, str(one), None if two == "rest" else str(two))
        if change:
            columns[f"is_de_fdr_{fdr}"] = rows["differs"].astype(bool)
        two = "Rest" if two == "rest" else two
        columns |= {"comparison": f"{one} vs {two}", "group1": str(one), "group2": two}
        parts.append(pd.DataFrame(columns).iloc[np.argsort(-(p if change else bf).to_numpy(), kind="stable")])
    return pd.concat(parts) if parts else found


def counted(data: AnnData, layer: str | None, groupby: str, genes: pd.Index, one: str, two: str | None) -> dict[str, np.ndarray]:
    """Means of counts, shares of cells that express a gene, and means of normalised counts."""
    x, var, _ = matrix(data, layer, False)
    x, at = sparse.csr_matrix(x), var.index.get_indexer(genes)
    of = data.obs[groupby].map(text, na_action="ignore").astype(object)
    mask1 = (of == one).to_numpy()
    mask2 = (of == two).to_numpy() if two is not None else (~mask1 & of.notna().to_numpy())
    normalised = sparse.diags(1e4 / np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1.0)) @ x
    read = (("raw_mean", x), ("non_zeros_proportion", x != 0), ("raw_normalized_mean", normalised))
    return {f"{name}{i}": np.asarray(values[mask].mean(axis=0)).ravel()[at]
            for name, values in read for i, mask in ((1, mask1), (2, mask2))}  # fmt: skip
