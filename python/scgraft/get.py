"""Results as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from . import _native
from ._adata import listed, need, with_obs
from ._frames import uns_to
from ._native import ScgraftError
from ._stored import LATENT, NOTES, notes_of, stored

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["enrich_df", "program_scores", "weights_df"]


def enrich_df(
    adata: AnnData, group: str | None = None, *, key: str | None = None, use_rep: str = LATENT, enriched: bool = False
) -> pd.DataFrame:
    """The table of a program test.

    Parameters
    ----------
    group
        Only this group's rows.
    key
        The name of the test; the one that a report shows first unless told (tests of conditions before tests of types, within
        all cells before within some, of few comparisons before of many).
    use_rep
        The embedding that was tested.
    enriched
        Only the programs that count as enriched.

    Returns
    -------
    One row a program and comparison: ``log_bayes_factor`` and its standard error, ``p``, ``enriched``, ``direction``,
    ``direction_confidence``, ``rank``, sizes of the groups, and what was asked for besides.

    Examples
    --------
    See :func:`scgraft.tl.enrich`.
    """
    tests = notes_of(adata, use_rep).get("tests", {})
    if not tests:
        raise ScgraftError("adata has no program test; make one with scgraft.tl.enrich(adata, groupby=...)")
    if key is None:
        key = next(iter(tests)) if len(tests) == 1 else _main_test(adata, tests)
    need("there is no such test", tests, key=key)
    table = tests[key]
    if group is not None:
        groups = list(dict.fromkeys(table["group"].astype(str)))
        need("the test has no such group", groups, group=str(group))
        table = table[table["group"] == str(group)]
    if enriched:
        table = table[table["enriched"].astype(bool)]
    return table.reset_index(drop=True)


def _main_test(adata: AnnData, tests: dict[str, pd.DataFrame]) -> str | None:
    """The name of the test that a report shows first; the library tells by the labels that were carried over."""
    labels = [c.removesuffix("_pred") for c in map(str, adata.obs.columns) if c.endswith("_pred")]
    columns = {label + end for label in labels for end in ("", "_pred", "_best")}
    cells = with_obs(adata, columns.intersection(adata.obs.columns))
    cells.set_uns({NOTES: {"tests": uns_to(tests)}})
    return _native.main_test(cells)


def program_scores(adata: AnnData, *, use_rep: str = LATENT, active: bool = True) -> pd.DataFrame:
    """The scores of every cell in every program, turned so that higher means that the program's genes are up.

    Parameters
    ----------
    use_rep
        The embedding.
    active
        Leave out programs that the fit pruned.

    Returns
    -------
    Cells × programs.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.get.program_scores(sim.reference).shape[0]
    300
    """
    found = _native.scores(stored(adata, use_rep), LATENT)
    table = pd.DataFrame(found["scores"], index=adata.obs_names, columns=found["names"], copy=False)
    return table.loc[:, found["active"]] if active else table


def weights_df(adata: AnnData) -> pd.DataFrame:
    """The decoder's weights as they stand in ``varm["scgraft_weights"]``.

    Returns
    -------
    Genes × programs; 0 for genes that are not the model's.
    """
    if "scgraft_weights" not in adata.varm:
        raise ScgraftError('varm has no "scgraft_weights"; write them with model.to_adata(adata)')
    programs = listed(notes_of(adata).get("programs"))
    return pd.DataFrame(adata.varm["scgraft_weights"], index=adata.var_names, columns=programs or None)
