"""Wilcoxon's signed-rank test by scipy, for `scgraft_analysis::donors`: exact without ties, over all signs with ties, and the
normal approximation.

    python tools/golden/donors.py

numpy 2, scipy 1.15 or later, safetensors.
"""

import itertools
import os

import numpy as np
from safetensors.numpy import save_file
from scipy import stats

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "crates", "analysis", "tests", "golden")


def over_all_signs(differences):
    """The same p-value where ranks are tied, by going over all 2^n signs."""
    d = differences[differences != 0]
    ranks = stats.rankdata(np.abs(d))
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(d))])
    up = ranks[d > 0].sum()
    return min(1.0, 2 * min((sums <= up + 1e-9).mean(), (sums >= up - 1e-9).mean()))


if __name__ == "__main__":
    rng = np.random.default_rng(20261129)
    few = rng.standard_normal(9) + 0.4
    ties = np.round(rng.standard_normal(11) * 2 + 1)
    many = rng.standard_normal(150) + 0.1
    exact = stats.wilcoxon(few, method="exact").pvalue
    assert np.isclose(exact, over_all_signs(few))
    tensors = {
        "few.differences": few,
        "few.p": np.array([exact]),
        "ties.differences": ties,
        "ties.p": np.array([over_all_signs(ties)]),
        "many.differences": many,
        "many.p": np.array([stats.wilcoxon(many, method="asymptotic", correction=False).pvalue]),
    }
    save_file(tensors, os.path.join(FOLDER, "donors.safetensors"))
