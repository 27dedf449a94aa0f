"""Labels of a reference are carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import _native
from .._adata import is_anndata, listed, put, put_counts
from .._model import Model
from .._native import ScgraftError
from .._plan import as_json, pairs
from .._settings import number, settings, whole
from .._stored import LATENT, copied, notes_of, of_reference, opened_reference, stored

if TYPE_CHECKING:
    from anndata import AnnData


def annotate(
    adata: AnnData,
    reference: AnnData | Model | str | Path,
    *,
    labels: str | Sequence[str] = "cell_type",
    unlabelled: str | None = None,
    programs: str | Sequence[str] = (),
    truth: str | Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    use_rep: str = LATENT,
    n_neighbors: int = 15,
    kernel: Literal["adaptive", "paper", "compat", "uniform", "gaussian"] = "adaptive",
    rule: Literal["novelty", "paper"] | None = None,
    false_alarms: float = 0.05,
    unknown: float | None = None,
    coverage: float | None = None,
    across: str | Sequence[str] | None = None,
    nested: bool = False,
    numbers: Sequence[str] = (),
    calibrate: Literal["temperature", "isotonic"] | None = None,
    calibrate_across: str | None = None,
    majority: str | None = None,
    approximate: float | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Carry labels of a reference over to mapped cells.

    Parameters
    ----------
    adata, reference
        The mapped query, and the reference with its embedding (``model.to_adata(reference)``), or a model that brings its
        cells (:meth:`scgraft.Model.bundle`), or the path of either.
    labels, unlabelled
        Columns of the reference's ``obs``, and the value of them that means that a cell has none.
    programs
        Find neighbours by the scores of these programs only; ``*`` stands for any text, ``?`` for any letter.
    truth, label_map
        Columns of ``adata.obs`` with labels to compare with, in the order of ``labels`` (those of the same names, where they
        are), and what labels of the query are called in the reference, old names to new ones: adds ``obs["L_verdict"]``.
    use_rep
        The embedding, an entry of ``obsm`` of both.
    n_neighbors, kernel
        Neighbours of each cell in the reference, and how their weight falls with distance.
    rule
        Which cells are ``Unknown``: ``"novelty"`` (those of a type that the reference does not have, at a share of false
        alarms, judged in the embedding and, where both have counts in X, a layer or raw, in their expression), or
        ``"paper"`` (those whose neighbours disagree by more than ``unknown``).
    false_alarms, unknown
        The thresholds of the rules; giving ``unknown`` chooses ``"paper"``.
    coverage
        Give the labels that a cell may have as well, so many that the true one is among them in this share of cells.
    across
        Columns of ``obs`` with study or donor, across which novelty and coverage are learned; the batches of the
        reference's training unless told.
    nested
        The label columns are nested, finest first: fall back to the parent where a label is uncertain.
    numbers
        Numeric columns to carry over.
    calibrate, calibrate_across
        Calibrate uncertainties on the reference's own labels, by neighbours in other studies where a column is named.
    majority
        Column of ``adata.obs`` with clusters: each gets the label that most of its cells got (``obs["L_majority"]``, and the
        share of them in ``obs["L_majority_share"]``).
    approximate
        Search neighbours approximately until this share of the true ones is found; for large data.
    seed
        Seed of the approximate search.
    copy
        Whether to write into a copy, and give it.

    Returns
    -------
    ``None``, or the copy. Writes for each label L ``obs["L_pred"]``, ``obs["L_best"]``, ``obs["L_uncertainty"]`` (0 to 1),
    ``obs["L_novelty"]`` (above 1: unknown), ``obs["L_set"]``, ``obsm["L_probabilities"]``; ``obs["scgraft_distance"]``
    (about 1 inside the reference) and ``obs["scgraft_distance_quantile"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=5, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.tl.map(sim.query, model, max_epochs=2, progress=False)
    >>> sg.tl.annotate(sim.query, sim.reference, labels="cell_type")
    >>> "cell_type_pred" in sim.query.obs
    True
    """
    labels = listed(labels)
    if not labels:
        raise ScgraftError("labels: name at least one column of the reference's obs")
    across = listed(across)
    adata = copied(adata, copy)
    rule = rule or ("paper" if unknown is not None else "novelty")
    notes = notes_of(adata, use_rep)
    needed = {calibrate_across: "calibrate_across"} if calibrate_across else {}
    needed |= dict.fromkeys(listed(numbers), "numbers") | dict.fromkeys(labels, "labels")
    extra = across or listed(notes.get("provenance", {}).get("condition_columns"))
    truth = listed(truth)
    if len(truth) > len(labels):
        raise ScgraftError(f"truth has {len(truth)} columns, labels {len(labels)}")
    reference = opened_reference(reference)
    others = {c: "across" for c in extra if c in reference.obs.columns} if is_anndata(reference) else {}
    known = of_reference(reference, use_rep, obs=others | needed)
    compared = {c: "labels" for c in extra + labels[len(truth):] if c in adata.obs.columns}
    compared |= dict.fromkeys(listed(majority), "majority") | dict.fromkeys(truth, "truth")
    mine = stored(adata, use_rep, obs=compared)
    if rule == "novelty":
        genes = listed(notes.get("genes"))
        if is_anndata(reference):
            put_counts(reference, genes, known)
        put_counts(adata, genes, mine)
    plan = {
        "labels": labels, "unlabelled": unlabelled, "key": LATENT, "k": whole("n_neighbors", n_neighbors),
        "kernel": kernel, "rule": rule, "false_alarms": number("false_alarms", false_alarms), "coverage": coverage,
        "unknown": 0.5 if unknown is None else number("unknown", unknown),
        "across": across, "nested": bool(nested), "numbers": listed(numbers), "calibrate": calibrate,
        "calibrate_across": calibrate_across, "majority": majority, "truth": truth,
        "renamed": pairs(label_map), "programs": listed(programs), "seed": whole("seed", seed), "approximate": approximate,
    }  # fmt: skip
    put(adata, _native.annotate(known, mine, as_json(plan), settings.threads))
    return adata if copy else None
