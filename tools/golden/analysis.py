"""Golden values of marker genes, enrichment tests, Student's t and donor intervals, on simulated data.

Made with scanpy, scipy and statsmodels (packages of tools/peers/requirements-scarches.txt).
"""

import warnings
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

import fixture

warnings.filterwarnings("ignore")
fixture.FOLDER = Path(__file__).resolve().parents[2] / "crates" / "analysis" / "tests" / "golden"
PACKAGES = ["scanpy", "scipy", "statsmodels", "scikit-learn", "numpy"]


def markers(rng):
    """`rank_genes_groups` on sparse log-normalised counts, one gene without a count, one constant gene."""
    counts, group = fixture.counts(rng, 90, 24, 3)
    counts[:, 5] = 0
    x = np.log1p(1e2 * counts / counts.sum(1, keepdims=True)).astype(np.float32)
    x[:, 6] = 1.5
    adata = anndata.AnnData(x.copy())
    adata.var_names = [str(i) for i in range(x.shape[1])]
    adata.obs["group"] = [f"L{g}" for g in group]
    adata.obs["group"] = adata.obs["group"].astype("category")
    tensors = {"markers.x": x.astype(np.float64), "markers.group": group}
    for tag, ties in (("plain", False), ("ties", True)):
        for versus in ("rest", "L1"):
            sc.tl.rank_genes_groups(
                adata, "group", reference=versus, method="wilcoxon", tie_correct=ties, use_raw=False
            )
            for name in ("L0", "L1", "L2"):
                if name == versus:
                    continue
                table = sc.get.rank_genes_groups_df(adata, name)
                table.index = table["names"].astype(int)
                table = table.sort_index()
                for column in ("scores", "pvals", "pvals_adj", "logfoldchanges"):
                    key = f"markers.{tag}.{versus}.{name}.{column}"
                    tensors[key] = table[column].to_numpy(dtype=np.float64)
    return tensors


def adjusted(rng):
    p = rng.uniform(size=40) ** 3
    p[10:13] = p[3]
    return {"bh.p": p, "bh.adjusted": multipletests(p, method="fdr_bh")[1]}


def student():
    t, df = (v.ravel() for v in np.meshgrid([0.01, 0.5, 1.0, 2.5, 8.0, 40.0], [1.0, 1.7, 4.0, 9.5, 60.0, 3000.0]))
    level = np.resize([0.5, 0.8, 0.95, 0.99], len(t))
    return {
        "t.t": t, "t.df": df, "t.two_sided": 2 * stats.t.sf(t, df),
        "t.level": level, "t.critical": stats.t.ppf(0.5 + level / 2, df),
    }


def hypergeometric(rng):
    cases = []
    for _ in range(60):
        total = int(rng.integers(20, 5000))
        drawn, marked = (int(rng.integers(1, total)) for _ in range(2))
        if len(cases) < 30:
            drawn, marked = min(drawn, 60), min(marked, 200)
        least, most = max(0, drawn + marked - total), min(drawn, marked)
        x = int(np.clip(stats.hypergeom.mean(total, marked, drawn) + rng.integers(-3, 8), least, most))
        cases.append([x, drawn, marked, total])
    p = [stats.hypergeom.sf(x - 1, total, marked, drawn) for x, drawn, marked, total in cases]
    return {"hypergeometric.cases": np.array(cases), "hypergeometric.p": np.array(p)}


def ranks(rng):
    """Gene sets in a ranking with ties; the t test is the equal-variance one (camera with correlation 0)."""
    n = 300
    scores = np.round(rng.standard_normal(n), 2)
    sets = [rng.choice(n, size=size, replace=False) for size in (1, 3, 12, 40, 150)]
    scores[sets[2]] += 1.5
    scores[sets[3]] -= 0.5
    scores = np.round(scores, 2)
    rank = stats.rankdata(-scores)
    out = {k: [] for k in ("auroc", "cerno", "cerno_p", "t", "t_p")}
    for genes in sets:
        inside = np.isin(np.arange(n), genes)
        out["auroc"].append(roc_auc_score(inside, scores))
        cerno = -2 * np.log(rank[genes] / n).sum()
        out["cerno"].append(cerno)
        out["cerno_p"].append(stats.chi2.sf(cerno, 2 * len(genes)))
        # scipy needs two values a side for its variance; with one the pooled form is the same sum of squares.
        a, b = scores[inside], scores[~inside]
        pooled = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / (n - 2)
        t = (a.mean() - b.mean()) / np.sqrt(pooled * (1 / len(a) + 1 / len(b)))
        if len(a) > 1:
            assert np.isclose(t, stats.ttest_ind(a, b).statistic)
        out["t"].append(t)
        out["t_p"].append(2 * stats.t.sf(abs(t), n - 2))
    tensors = {f"ranks.{k}": np.array(v) for k, v in out.items()}
    tensors["ranks.scores"] = scores
    tensors["ranks.sizes"] = np.array([len(s) for s in sets])
    tensors["ranks.members"] = np.concatenate(sets)
    return tensors


def donors(rng):
    # Values that float32 holds exactly, so that donor means do.
    x = np.round(rng.standard_normal(6) * 64 + 40) / 64
    y = np.round(rng.standard_normal(6) * 64) / 64
    paired = stats.ttest_rel(x, y)
    welch = stats.ttest_ind(x, y, equal_var=False)
    out = {"donors.x": x, "donors.y": y}
    for tag, test in (("paired", paired), ("welch", welch)):
        interval = test.confidence_interval(0.95)
        out[f"donors.{tag}"] = np.array([x.mean() - y.mean(), interval.low, interval.high, test.pvalue, test.df])
    return out


if __name__ == "__main__":
    rng = np.random.default_rng(20261121)
    tensors = {**markers(rng), **adjusted(rng), **student(), **hypergeometric(rng), **ranks(rng), **donors(rng)}
    fixture.write("analysis", tensors, {}, PACKAGES, "analysis.py")
