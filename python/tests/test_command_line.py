"""Everything that the command line has is here, under a name that the README gives."""

from __future__ import annotations

import pathlib
import re

import scgraft as sg

README = pathlib.Path(__file__).parents[1] / "README.md"


def listed(told):
    """The subcommands that help lists."""
    block = told.split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    return {m for m in re.findall(r"^  ([a-z-]+)", block, re.MULTILINE)} - {"help"}


def table():
    rows = re.findall(r"^\| `scgraft ([a-z]+)[^`]*` \| (.+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def test_every_command_has_a_name_here(cli):
    assert set(table()) == listed(cli("--help"))


def test_those_names_are_there():
    known = {"sg": sg, "model": sg.Model, "adaptor": sg.Adaptor}
    for command, words in table().items():
        for call in re.findall(r"`((?:sg|model|adaptor)\.[\w.]+)", words):
            root, *path = call.split(".")
            thing = known[root]
            for name in path:
                assert hasattr(thing, name), f"{command}: {call}"
                thing = getattr(thing, name)


def test_every_picture_is_drawn_here(cli):
    assert set(sg.pl.PICTURES) == listed(cli("plot", "--help"))
