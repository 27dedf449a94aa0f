"""Simulated cells and small models that the tests share."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import pytest

import scgraft as sg


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
