"""Pictures: matplotlib axes to go on with, and scgraft's own as SVG.

Every function draws into ``ax`` where one is given, and gives the axes. What notebooks show by itself is the drawing of the
report where there is one (:class:`Svg`).
"""

from . import _drawn
from ._cells import umap, violin
from ._drawn import Svg, draw, enrich_svg, evaluate_svg, history_svg, map
from ._results import confusion, correlation, enriched, history, members, overlap, program, programs, reliability

__all__ = ["PICTURES", "Svg", "confusion", "correlation", "draw", "enrich_svg", "enriched", "evaluate_svg", "history",
           "history_svg", "map", "members", "overlap", "program", "programs", "reliability", "umap", "violin"]  # fmt: skip

PICTURES = _drawn.PICTURES
"""The drawings of the report, and what each is asked with; :func:`draw` makes them."""
