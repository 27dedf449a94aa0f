"""Simulated cells and small models that the tests share."""

from __future__ import annotations

import os
import subprocess

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

import scgraft as sg


@pytest.fixture(scope="session")
def cli():
    """The command line's program by its words, which gives what it said; tests of it are left out where none is named."""
    program = os.environ.get("SCGRAFT_CLI")
    if program is None and not os.environ.get("CI"):
        pytest.skip("SCGRAFT_CLI does not name the program")

    def run(*words):
        done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def _simulated():
    return sg.datasets.simulate(n_reference=400, n_query=150)


@pytest.fixture
def sim(_simulated):
    """A reference and a query of their own for every test."""
    s = _simulated
    return sg.datasets.Simulated(s.reference.copy(), s.query.copy(), s.programs, s.truth)


@pytest.fixture(scope="session")
def expimap(_simulated):
    """A reference of gene programs."""
    return sg.train(_simulated.reference, batch_key="batch", programs=_simulated.programs, min_genes=5, max_epochs=4,
                    hidden=[32], progress=False)  # fmt: skip


@pytest.fixture(scope="session")
def scvi(_simulated):
    """A reference without."""
    return sg.train(_simulated.reference, model="scvi", batch_key="batch", max_epochs=2, hidden=[32], progress=False)


@pytest.fixture
def mapped(expimap, sim):
    """A query that was mapped and got labels, and its reference with its embedding."""
    expimap.to_adata(sim.reference)
    sg.tl.map(sim.query, expimap, max_epochs=2, progress=False)
    sg.tl.annotate(sim.query, sim.reference)
    return sim
