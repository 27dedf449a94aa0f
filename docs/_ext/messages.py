"""Headings of the page on troubleshooting are messages, and the output below each has to say so."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.util import logging

PAGE = "troubleshooting"
log = logging.getLogger(__name__)


def check(app, tree, name):
    if name != PAGE:
        return
    for section in tree.findall(nodes.section):
        for message in section[0].findall(nodes.literal):
            said = " ".join(" ".join(b.astext().split()) for b in section.findall(nodes.literal_block))
            parts = [p.strip() for p in re.split("…", message.astext()) if p.strip()]
            if not all(p in said for p in parts):
                log.warning("`%s` is not what the program says: %s", message.astext(), said, location=section)


def setup(app):
    app.connect("doctree-resolved", check)
    return {"parallel_read_safe": True, "version": "1"}
