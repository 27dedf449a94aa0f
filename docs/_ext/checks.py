"""What the book promises, checked at each build: messages are said, functions are described, models have a page."""

from __future__ import annotations

from importlib import import_module

import scgraft
from docutils import nodes
from sphinx.util import logging

TROUBLE = "troubleshooting"
log = logging.getLogger(__name__)


def messages(app, tree, name):
    """Headings of the page on troubleshooting are messages, and the output below each says so."""
    if name != TROUBLE:
        return
    for section in tree.findall(nodes.section):
        for message in section[0].findall(nodes.literal):
            said = " ".join(" ".join(b.astext().split()) for b in section.findall(nodes.literal_block))
            if not all(part.strip() in said for part in message.astext().split("…")):
                log.warning("`%s` is not what the program says: %s", message.astext(), said, location=section)


def complete(app, env):
    """Every public name of the package is in the reference, and every model in a title of a method page."""
    described = env.domains["py"].objects
    modules = [name for name in scgraft._MODULES if name != "compat"] + ["compat.scvi"]
    public = [f"scgraft.{name}" for name in scgraft.__all__ if name not in scgraft._MODULES and not name.startswith("_")]
    for module in modules:
        names = getattr(import_module(f"scgraft.{module}"), "__all__", ())
        public += [f"scgraft.{module}.{name}" for name in names]
    for name in public:
        if name not in described:
            log.warning("%s is in no page of the reference", name)
    titles = " ".join(t.astext().lower() for page, t in env.titles.items() if page.startswith("methods/"))
    for model in scgraft.models().index:
        if model not in titles:
            log.warning("the model %s has no page under methods/", model)


def setup(app):
    app.connect("doctree-resolved", messages)
    app.connect("env-check-consistency", complete)
    return {"parallel_read_safe": True, "version": "1"}
