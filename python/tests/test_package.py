"""The package itself: import, stubs, documentation."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys
from importlib.metadata import requires

import pytest

import scgraft
from scgraft import _native

HERE = pathlib.Path(scgraft.__file__).parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(HERE)], "scgraft.") if m.name != "scgraft._native")


def test_importing_costs_next_to_nothing():
    code = ("import sys, time; t = time.perf_counter(); import scgraft; t = time.perf_counter() - t; "
            "print(t, 'pandas' in sys.modules, 'anndata' in sys.modules)")  # fmt: skip
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
            for _ in range(3)]  # fmt: skip
    assert min(float(r[0]) for r in runs) < 0.3
    assert runs[0][1:] == ["False", "False"]


def test_anndata_is_all_that_is_needed():
    needed = [r for r in requires("scgraft") or [] if "extra ==" not in r]
    assert [r.split(">")[0].strip() for r in needed] == ["anndata"]


def test_types_are_told():
    assert (HERE / "py.typed").exists()
    tree = ast.parse((HERE / "_native.pyi").read_text())
    stubs = {n.name: n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    there = {n for n in dir(_native) if not n.startswith("_")}
    assert set(stubs) == there
    for name, node in stubs.items():
        thing = getattr(_native, name)
        if isinstance(node, ast.ClassDef) and name != "ScgraftError":
            members = {n.name for n in node.body if isinstance(n, ast.FunctionDef)} - {"__new__"}
            own = {n for n in vars(thing) if not n.startswith("_")}
            assert members == own, name
        elif isinstance(node, ast.FunctionDef):
            parameters = list(inspect.signature(thing).parameters)
            assert parameters == [a.arg for a in node.args.args], name


def test_everything_public_is_documented():
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for attribute in getattr(module, "__all__", []):
            thing = getattr(module, attribute)
            if callable(thing):
                assert inspect.getdoc(thing), f"{name}.{attribute}"
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    if not method.startswith("_") and (callable(value) or isinstance(value, (classmethod, property))):
                        assert inspect.getdoc(getattr(thing, method)), f"{name}.{attribute}.{method}"
    for attribute in scgraft.__all__:
        assert getattr(scgraft, attribute) is not None
    with pytest.raises(AttributeError):
        scgraft.nothing


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
