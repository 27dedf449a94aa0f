"""Everything that the command line has is here, under a name that the README gives."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest

import scgraft as sg

CLI = os.environ.get("SCGRAFT_CLI")
README = pathlib.Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(CLI is None and not os.environ.get("CI"), reason="SCGRAFT_CLI does not name the program")


def listed(*words):
    """The subcommands that help lists."""
    told = subprocess.run([CLI, *words, "--help"], capture_output=True, text=True, check=True).stdout
    block = told.split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    return {m for m in re.findall(r"^  ([a-z-]+)", block, re.MULTILINE)} - {"help"}


def table():
    rows = re.findall(r"^\| `scgraft ([a-z]+)[^`]*` \| (.+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def test_every_command_has_a_name_here():
    assert set(table()) == listed()


def test_those_names_are_there():
    known = {"sg": sg, "model": sg.Model, "adaptor": sg.Adaptor}
    for command, words in table().items():
        for call in re.findall(r"`((?:sg|model|adaptor)\.[\w.]+)", words):
            root, *path = call.split(".")
            thing = known[root]
            for name in path:
                assert hasattr(thing, name), f"{command}: {call}"
                thing = getattr(thing, name)


def test_every_picture_is_drawn_here():
    assert set(sg.pl.PICTURES) == listed("plot")
