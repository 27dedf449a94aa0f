"""`{model-header} FILE`: the header of a model's file in crates/models/src, as a page.

A header is a sentence, citations, when to use the model, blocks of numbered equations under a word (`Inference`), and a
table of tensors. Equations are plain text with the signs of mathematics; here their letters become slanted and their
indices are lowered, without a script in the reader's browser.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

SOURCE = Path(__file__).parents[2] / "crates/models/src"
NUMBERED = re.compile(r"(\d+)\. ")


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """The parts of a header: `text`, `table`, `title` (a line before equations) and `equations`."""
    out: list[tuple[str, list[str]]] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.split("\n")
        first = next((i for i, line in enumerate(lines) if NUMBERED.match(line)), None)
        if lines[0].startswith("|"):
            out.append(("table", lines))
        elif first is None:
            out.append(("text", lines))
        else:
            if first:
                out.append(("title", lines[:first]))
            out.append(("equations", lines[first:]))
    return out


def equations(lines: list[str]) -> list[tuple[str, str]]:
    """Number and text of each equation; a line that does not begin with a number goes on with the one before."""
    out: list[tuple[str, str]] = []
    for line in lines:
        if found := NUMBERED.match(line):
            out.append((found[1], line[found.end() :].strip()))
        else:
            out[-1] = (out[-1][0], f"{out[-1][1]} {line.strip()}")
    return out


WORD = re.compile(
    r"(?P<code>`[^`]*`)"
    r"|(?P<sub>(?<=[\w)\]\u0304])_(?:[A-Za-z0-9\u0370-\u03ff\u2080-\u209f\u2113]+(?:<[a-z]+)?|\{[^}]*\}))"
    r"|(?P<sup>\^(?:\{[^}]*\}|\w+))"
    r"|(?P<word>[A-Za-z\u0233\u0370-\u03ff][a-zA-Z'\u0370-\u03ff]*\u0304?)"
)


def letters(text: str) -> str:
    """Text of an equation as HTML: single letters slanted, what follows `_` lowered, what follows `^` raised."""

    def mark(found: re.Match[str]) -> str:
        if code := found["code"]:
            return f"<code>{html.escape(code[1:-1])}</code>"
        if low := found["sub"]:
            return f"<sub>{letters(low[1:].strip('{}'))}</sub>"
        if high := found["sup"]:
            return f"<sup>{letters(high[1:].strip('{}'))}</sup>"
        word = found["word"]
        article = word == "a" and re.match(r" [a-z']{2}", text[found.end() :])
        single = len(word.rstrip("\u0304")) == 1 and word not in "ΣNE" and not article
        return f"<i>{word}</i>" if single else word

    out, at = [], 0
    for found in WORD.finditer(text):
        out += [html.escape(text[at : found.start()]), mark(found)]
        at = found.end()
    return "".join([*out, html.escape(text[at:])])


class ModelHeader(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        file = SOURCE / self.arguments[0]
        self.env.note_dependency(str(file))
        source = file.read_text(encoding="utf-8")
        text = "\n".join(re.sub(r"^//! ?", "", line) for line in source.split("\n") if line.startswith("//!"))
        out: list[nodes.Node] = []
        for kind, lines in blocks(text):
            if kind == "equations":
                rows = "".join(
                    f'<div class="equation"><span class="number">{n}</span><span>{letters(t)}</span></div>'
                    for n, t in equations(lines)
                )
                out.append(nodes.raw("", rows, format="html"))
            elif kind == "title":
                title = letters(" ".join(lines).rstrip(":"))
                out.append(nodes.rubric("", "", nodes.raw("", title, format="html")))
            elif kind == "table":
                rows = (re.match(r"(\|[^|`]*)(.*)", line) for line in lines)
                text = "\n".join(re.sub(r"_(\w+)", r"<sub>\1</sub>", r[1]) + r[2] for r in rows)
                out += self.parse_text_to_nodes(text)
            else:
                out += self.parse_text_to_nodes("\n".join(lines))
        return out


def setup(app):
    app.add_directive("model-header", ModelHeader)
    return {"parallel_read_safe": True, "version": "1"}
