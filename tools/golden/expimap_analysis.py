"""Golden files of what is computed from a trained expiMap: program tests,
directions, HSIC alone, the learning-rate and stopping rule, label transfer.

Run with a Python that has the packages of tools/peers/requirements-scarches.txt.
"""

import contextlib
import io
import warnings

import anndata
import numpy as np
import pandas as pd
import torch
from scipy.special import log_ndtr, ndtr

import fixture
import expimap
from scarches.models.expimap.losses import hsic
from scarches.models import EXPIMAP
from scarches.utils.knn import weighted_knn_trainer, weighted_knn_transfer
from scarches.utils.monitor import EarlyStopping

warnings.filterwarnings("ignore")
SCRIPT = "expimap_analysis.py"
PACKAGES = [*expimap.PACKAGES, "scikit-learn", "pandas"]


def program_test():
    """`latent_enrich` and `latent_directions` on a model with new programs."""
    rng = np.random.default_rng(101)
    cells, genes, groups, draws = 36, 30, 3, 200
    x, codes = fixture.counts(rng, cells, genes, 2)
    group = rng.permutation(np.arange(cells) % groups)
    names = ["study0", "study1"]
    adata = expimap.make_adata(x, codes, names)
    adata.obs["group"] = [f"g{g}" for g in group]
    torch.manual_seed(101)
    table = fixture.membership(rng, 6, genes)
    with expimap.quiet():
        outer = EXPIMAP(
            adata, condition_key="condition", conditions=names, hidden_layer_sizes=[8],
            dr_rate=0.0, mask=table, n_ext=2, n_ext_m=1,
            ext_mask=fixture.membership(rng, 2, genes)[:1],
        )
        outer.model.double()
    with torch.no_grad():
        first = outer.model.decoder.L0
        # A dead program, one with two weights up and two down, one column of L1 zeros.
        first.expr_L.weight[:, 2] = 0
        first.expr_L.weight[:, 3] = 0
        first.expr_L.weight[:4, 3] = torch.tensor([0.5, -0.1, 0.2, -0.9])
        first.ext_L.weight[torch.rand(genes) < 0.5, 0] = 0
        # A latent column that is zero for every cell, as upstream treats apart.
        outer.model.encoder.mean_encoder.weight[5] = 0
        outer.model.encoder.mean_encoder.bias[5] = 0
        # Wide enough that the tests are not all near a half.
        outer.model.encoder.mean_encoder.weight *= 8
        outer.model.encoder.log_var_encoder.bias -= 3
    outer.model.eval()
    mean, var = outer.get_latent(mean_var=True)

    tensors = {
        "latent.mean": mean,
        "latent.var": var,
        "group": group,
        "weight.expr_L": first.expr_L.weight,
        "weight.ext_L_m": first.ext_L_m.weight,
        "weight.ext_L": first.ext_L.weight,
        "active": outer.nonzero_terms(),
    }
    outer.latent_directions(method="sum")
    tensors["directions.sum"] = adata.uns["directions"].copy()
    outer.latent_directions(method="counts", get_confidence=True)
    tensors["directions.counts"] = adata.uns["directions"].copy()
    tensors["directions.counts_confidence"] = adata.uns["directions_confindence"].copy()
    outer.latent_directions(method="sum")

    def exact(a, b, signs):
        """Every pair of a cell of `a` and a cell of `b`, in numpy."""
        d = (mean[a] * signs)[:, None] - (mean[b] * signs)[None]
        q = d / np.sqrt(var[a][:, None] + var[b][None])
        p, r = ndtr(q).mean((0, 1)), ndtr(-q).mean((0, 1))
        return p, np.log(p) - np.log(r)

    for use in (False, True):
        tag = "directed" if use else "plain"
        signs = adata.uns["directions"] if use else np.ones(mean.shape[1])
        for versus in ("rest", "g2"):
            np.random.seed(7)
            with expimap.quiet():
                outer.latent_enrich(
                    "group", comparison=versus, n_sample=draws, use_directions=use,
                    key_added="bf",
                )
            np.random.seed(7)
            for name in adata.obs["group"].unique():
                if name == versus:
                    continue
                g = int(name[1:])
                a = np.flatnonzero(group == g)
                b = np.flatnonzero(group != g if versus == "rest" else group == int(versus[1:]))
                pick_a = a[np.random.choice(len(a), draws)]
                pick_b = b[np.random.choice(len(b), draws)]
                found = adata.uns["bf"][name]
                key = f"{tag}.{versus}.{name}"
                q = (mean[pick_a] * signs - mean[pick_b] * signs) / np.sqrt(
                    var[pick_a] + var[pick_b]
                )
                p = ndtr(q).mean(0)
                live = found["p_h0"] > 0
                assert np.allclose(p[live], found["p_h0"][live], rtol=1e-10), key
                tensors[f"{key}.pick_a"] = pick_a
                tensors[f"{key}.pick_b"] = pick_b
                tensors[f"{key}.p"] = found["p_h0"]
                tensors[f"{key}.bf"] = found["bf"]
                p, bf = exact(a, b, signs)
                tensors[f"{key}.exact_p"] = p
                tensors[f"{key}.exact_bf"] = bf

    # One program further and further apart: p rounds to 1, the Bayes factor does not.
    q = np.array([0.0, 0.5, 1.0, 2.0, 5.0, 8.0, 9.0, 12.0, 20.0, 37.0, 38.0, 60.0])
    tensors["tail.q"] = q
    tensors["tail.log_p"] = log_ndtr(q)
    tensors["tail.log_not_p"] = log_ndtr(-q)
    tensors["tail.bf"] = log_ndtr(q) - log_ndtr(-q)
    settings = {"groups": groups, "n_sample": draws, "n_ext": 2, "n_ext_m": 1, "programs": 6}
    fixture.write("expimap_program_test", tensors, settings, PACKAGES, SCRIPT)


def hsic_alone():
    """HSIC of two blocks and its gradient, for several numbers of columns."""
    rng = np.random.default_rng(102)
    tensors, shapes = {}, {}
    for case, (cells, left, right, link) in {
        "one_one": (12, 1, 1, 0.0),
        "one_nine": (16, 1, 9, 0.5),
        "three_four": (20, 3, 4, 0.9),
        "single_cell_pair": (2, 2, 3, 0.0),
        "wide": (10, 2, 120, 0.0),
    }.items():
        a = rng.standard_normal((cells, left))
        b = rng.standard_normal((cells, right))
        b[:, 0] += link * a[:, 0]
        ta = torch.tensor(a, requires_grad=True)
        tb = torch.tensor(b, requires_grad=True)
        value = hsic(ta, tb)
        value.backward()
        tensors.update(
            {
                f"{case}.a": a, f"{case}.b": b, f"{case}.hsic": value,
                f"{case}.grad_a": ta.grad, f"{case}.grad_b": tb.grad,
            }
        )
        shapes[case] = [cells, left, right]
    fixture.write("hsic", tensors, {"cells_left_right": shapes}, PACKAGES, SCRIPT)


def stopping():
    """scArches' stopping rule on given curves."""
    rng = np.random.default_rng(103)
    curves = {
        "plateau": np.concatenate([np.linspace(10, 5, 12), np.full(40, 5.5)]),
        "noisy": 5 + 5 * np.exp(-np.arange(60) / 8) + 0.1 * rng.standard_normal(60),
        "ties": np.repeat([4.0, 3.0, 3.0, 3.5, 2.0], 8),
        "rising": np.linspace(1, 3, 50),
        "nan": np.array([3.0, 2.0, np.nan, 2.5, 2.5, np.nan, 2.5, 2.4, 2.6] * 4),
    }
    rules = {
        "defaults": {},
        "tutorial": {"patience": 50, "lr_patience": 13},
        "short": {"patience": 6, "lr_patience": 3},
        "threshold": {"patience": 6, "lr_patience": 3, "threshold": 0.05},
        "no_lr": {"patience": 6, "reduce_lr": False},
        "lr_slower_than_stop": {"patience": 4, "lr_patience": 9},
    }
    tensors = {}
    for curve, values in curves.items():
        tensors[f"{curve}.values"] = values
        for rule, given in rules.items():
            stopper = EarlyStopping(**given)
            go, cut, best, best_epoch = [], [], [], -1
            for epoch, value in enumerate(values):
                if stopper.update_state(value):
                    best_epoch = epoch
                with expimap.quiet():
                    keep_on, reduce = stopper.step(value)
                go.append(keep_on)
                cut.append(reduce)
                best.append(best_epoch)
                if not keep_on:
                    break
            tensors[f"{curve}.{rule}.continues"] = np.array(go)
            tensors[f"{curve}.{rule}.reduces_lr"] = np.array(cut)
            tensors[f"{curve}.{rule}.best_epoch"] = np.array(best)
    defaults = {"patience": 20, "lr_patience": 13, "threshold": 0, "lr_factor": 0.1}
    fixture.write(
        "early_stopping", tensors, {"defaults": defaults, "rules": rules}, PACKAGES, SCRIPT
    )


def transfer():
    """Label transfer: scArches' own function, and the paper's formula in numpy."""
    rng = np.random.default_rng(104)
    reference, query, width, labels = 60, 14, 4, 5
    centres = 2.0 * rng.standard_normal((labels, width))
    code = rng.integers(0, labels, reference)
    ref = centres[code] + rng.standard_normal((reference, width))
    truth = rng.integers(0, labels, query)
    que = centres[truth] + 1.4 * rng.standard_normal((query, width))
    que[-1] = 40.0  # far from everything
    tensors = {"reference.latent": ref, "reference.label": code, "query.latent": que}
    r = anndata.AnnData(np.zeros((reference, 1)))
    r.obsm["z"] = ref
    q = anndata.AnnData(np.zeros((query, 1)))
    q.obsm["z"] = que
    r.obs["cell_type"] = pd.Categorical([f"t{c}" for c in code])
    for k in (5, 15):
        with contextlib.redirect_stdout(io.StringIO()):
            knn = weighted_knn_trainer(r, "z", n_neighbors=k)
            pred, uncertainty = weighted_knn_transfer(q, "z", r.obs, "cell_type", knn)
        d, index = knn.kneighbors(que)
        order = np.argsort(d, axis=1, kind="stable")
        d, index = np.take_along_axis(d, order, 1), np.take_along_axis(index, order, 1)

        def probabilities(sd):
            # Shifted by the nearest distance: far from the reference every weight
            # would underflow to zero. The shift cancels in the normalisation.
            w = np.exp(-(d - d[:, :1]) / ((2 / sd) ** 2)[:, None])
            w /= w.sum(1, keepdims=True)
            return np.stack([(w * (code[index] == c)).sum(1) for c in range(labels)], 1)

        upstream = probabilities(d.std(1))
        paper = probabilities(np.sqrt((d**2).mean(1)))
        got = np.array([int(v[1:]) for v in pred["cell_type"]])
        assert (got == upstream.argmax(1)).all()
        # scArches writes uncertainties through a chained index; check where it took.
        seen = uncertainty["cell_type"].to_numpy(dtype=float)
        ok = ~np.isnan(seen)
        assert np.allclose(seen[ok], np.maximum(1 - upstream.max(1), 0)[ok], atol=1e-12)
        tensors.update(
            {
                f"k{k}.distance": d, f"k{k}.index": index,
                f"k{k}.compat.probability": upstream, f"k{k}.compat.label": got,
                f"k{k}.compat.uncertainty": np.maximum(1 - upstream.max(1), 0),
                f"k{k}.paper.probability": paper, f"k{k}.paper.label": paper.argmax(1),
                f"k{k}.paper.uncertainty": 1 - paper.max(1),
            }
        )
    fixture.write("label_transfer", tensors, {"k": [5, 15], "labels": labels}, PACKAGES, SCRIPT)


if __name__ == "__main__":
    program_test()
    hsic_alone()
    stopping()
    transfer()
