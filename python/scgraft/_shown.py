"""A model as a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from . import _native
from ._plan import as_json

if TYPE_CHECKING:
    from ._model import Model

ARRIVED = {True: "arrived", False: "NOT ARRIVED: give it more epochs", None: "too few cells or epochs to tell whether it arrived"}


def shown(model: Model) -> str:
    """What is known of a model, beside its training."""
    native, adaptor, imported, report = model._native, model.adaptor, model.imported, model.report or {}
    added, fit = adaptor.conditions if adaptor else [], report.get("fit", report)
    told = {"genes": f"{len(native.genes):,}"}
    if native.n_programs:
        active = int(model.programs()["active"].sum())
        told["gene programs"] = f"{native.n_programs:,}, {active:,} of them kept by the fit"
    else:
        told["latent dimensions"] = f"{model.n_latent:,}"
    told["conditions"] = _few([c for c in model.conditions if c not in added])
    told |= {"of the query": _few(added), "labels": _few(model.labels), "proteins": _few(model.proteins),
             "grafts": _few(model.grafts)}  # fmt: skip
    if report.get("genes_missing"):
        told["genes found"] = f"{report['genes_found']:,}; {report['genes_missing']:,} missing are taken as 0"
    if fit:
        told["fit"] = f"{fit['n_cells']:,} cells, {fit['epochs']} epochs, {fit['steps']:,} steps; {ARRIVED[fit['arrived']]}"
    if adaptor is not None:
        told["adaptor"] = f"{adaptor._native.n_values:,} numbers; the reference is as it was, to the bit"
    if model.n_reference_cells:
        told["brings its cells"] = f"{model.n_reference_cells:,}"
    if imported:
        told["imported"] = f"{imported['class']} of {imported['package']} {imported['version'] or ''}"
    told["reference"] = model.reference_hash[:16]
    rows = "".join(
        "<tr><th style='text-align:left;vertical-align:top;padding-right:1em;font-weight:600'>"
        f"{escape(a)}</th><td style='text-align:left'>{escape(b)}</td></tr>"
        for a, b in told.items() if b
    )  # fmt: skip
    drawn = _native.picture(None, None, native, None, as_json({"what": "training"}), 1)
    svg = "" if drawn is None else drawn[0].svg().replace("<svg", "<svg style='width:100%;height:auto'", 1)
    curve = svg and f"<div style='flex:1 1 420px;max-width:560px'>{svg}</div>"
    what = "mapped query" if adaptor is not None or report.get("new_conditions") else "model"
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start'>"
        f"<div><strong>scgraft {what}: {escape(model.name)}</strong>"
        f"<table style='margin-top:.4em'>{rows}</table></div>{curve}</div>"
    )


def _few(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
