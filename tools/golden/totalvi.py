"""Golden files of totalVI: scvi-tools' TOTALVAE on simulated counts, in float64.

Run with a Python that has the packages of tools/peers/requirements-current.txt.
"""

import warnings

import anndata
import numpy as np
import torch
from sklearn.mixture import GaussianMixture

import fixture
from scvi_module import (
    BATCH, CELLS, GENES, NOISE, PACKAGES, STEPS,
    curve, drop_unused, gradients, mean, minibatch, noise, spread, state, trained,
)
from scvi.model import TOTALVI
from scvi.module import TOTALVAE
from scvi.train import TrainingPlan

PROTEINS, HIDDEN, LATENT, CONDITIONS, LABELS = 5, 6, 3, 2, 2
LAYERNORM = {"use_batch_norm": "none", "use_layer_norm": "both"}
SMALL = {
    "n_hidden": HIDDEN, "n_latent": LATENT, "dropout_rate_encoder": 0.0,
    "dropout_rate_decoder": 0.0,
}


def evaluate(module, tensors, eps, kl_weight, **generative_kwargs):
    """One forward pass: loss terms and the values on the way."""
    NOISE.feed(eps["z"], eps["library"], eps["background"])
    inference, generative, loss = module(
        tensors, loss_kwargs={"kl_weight": kl_weight}, generative_kwargs=generative_kwargs
    )
    terms = {
        "recon_gene": mean(loss.reconstruction_loss["reconst_loss_gene"]),
        "recon_protein": mean(loss.reconstruction_loss["reconst_loss_protein"]),
        "kl_z": mean(loss.kl_local["kl_div_z"]),
        "kl_library": mean(loss.kl_local["kl_div_l_gene"]),
        "kl_background": mean(loss.kl_local["kl_div_back_pro"]),
        "total": loss.loss,
    }
    px, py = generative["px_"], generative["py_"]
    out = {
        "out.z_mean": inference["qz"].loc,
        "out.z_var": inference["qz"].scale ** 2,
        "out.z": inference["z"],
        "out.mu": px["rate"],
        "out.back_alpha": py["back_alpha"],
        "out.back_beta": py["back_beta"],
        "out.rate_back": py["rate_back"],
        "out.rate_fore": py["rate_fore"],
        "out.mixing": py["mixing"],
    }
    if module.gene_likelihood == "zinb":
        out["out.pi"] = px["dropout"]
    return terms, out


def simulate(rng, conditions, missing=False):
    x, codes = fixture.counts(rng, CELLS, GENES, conditions)
    x[:, 0] += 1
    on = rng.random((CELLS, PROTEINS)) < 0.4
    level = np.where(on, rng.uniform(20, 60, PROTEINS), rng.uniform(1, 4, PROTEINS))
    y = rng.poisson(level * rng.gamma(3.0, 1 / 3.0, (CELLS, PROTEINS))).astype(np.int32)
    if missing:
        y[np.ix_(codes == conditions - 1, [1, 3])] = 0
    return {
        "x": x, "condition": codes, "protein": y,
        "label": rng.integers(0, LABELS, CELLS).astype(np.int32),
    }


class Observed(np.ndarray):
    """A protein mask that becomes float64 where the module asks for float32."""

    def astype(self, _):
        return np.asarray(self).astype(np.float64)


def observed(data, conditions):
    """scvi-tools' rule: a protein is missing in a batch if all its counts there are 0."""
    return {
        str(c): (data["protein"][data["condition"] == c].sum(0) > 0).view(Observed)
        for c in range(conditions)
    }


def write(name, module, data, settings, rng, *, steps=False, hooked=None, extra=()):
    rows = np.stack([rng.permutation(CELLS)[:BATCH] for _ in range(STEPS + 1)])
    eps = {
        "z": noise(rng, STEPS + 1, BATCH, LATENT),
        "library": noise(rng, STEPS + 1, BATCH, 1),
        "background": noise(rng, STEPS + 1, BATCH, PROTEINS),
    }
    learned = not module.use_observed_lib_size

    def run(which, i, weight):
        return evaluate(which, minibatch(data, rows[i]), {k: v[i] for k, v in eps.items()}, weight)

    def named(prefix, take):
        # The draw of the library happens always and matters only if it is learned.
        return {
            f"{prefix}.eps{'' if k == 'z' else '_' + k}": take(v)
            for k, v in eps.items()
            if k != "library" or learned
        }

    kl_weight = 0.6
    tensors = {f"data.{k}": v for k, v in data.items()}
    tensors.update(dict(extra))
    tensors.update(state(module, "param"))
    tensors["input.rows"] = rows[0]
    tensors.update(named("input", lambda v: v[0]))
    if module.protein_batch_mask is not None:
        tensors["protein_observed"] = np.stack(
            [module.protein_batch_mask[str(b)] for b in range(module.n_batch)]
        )
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.train()
    terms, out = run(module, 0, kl_weight)
    tensors.update({f"loss.{k}": v.detach() for k, v in terms.items()})
    tensors.update({k: v.detach().clone() for k, v in out.items()})
    tensors.update(gradients(module, terms["total"]))
    drop_unused(tensors, module)
    module.load_state_dict(before)

    # Decoding as each batch, from the latent mean and the median background.
    module.eval()
    still = {k: np.zeros_like(v[0]) for k, v in eps.items()}
    with torch.no_grad():
        for b in range(module.n_batch):
            _, as_b = evaluate(module, minibatch(data, rows[0]), still, 1.0, transform_batch=b)
            background = torch.sigmoid(as_b["out.mixing"])
            tensors[f"eval.as{b}.foreground_probability"] = 1 - background
            tensors[f"eval.as{b}.protein"] = as_b["out.rate_fore"] * (1 - background)
    module.train()
    if steps:
        trainee = hooked if hooked is not None else module
        plan = TrainingPlan(trainee, lr=4e-3, eps=0.01, weight_decay=settings["weight_decay"])
        tensors["curve.rows"] = rows[1:]
        tensors.update(named("curve", lambda v: v[1:]))
        tensors.update(curve(trainee, plan, lambda i, w: run(trainee, i + 1, w)[0], STEPS))
    settings = {**settings, "kl_weight": kl_weight, "lr": 4e-3, "eps": 0.01}
    fixture.write(f"totalvi_{name}", tensors, settings, PACKAGES, "totalvi.py")


def move_off_start(module):
    """Efficiencies start at 0 and priors at 3 and 0: too special to find mistakes."""
    spread(module)
    with torch.no_grad():
        module.log_per_batch_efficiency.normal_(0, 0.3)
        module.background_pro_alpha.normal_(1.0, 0.5)
        module.background_pro_log_beta.normal_(0, 0.4)


def scenario(name, *, seed, conditions=CONDITIONS, missing=False, learned=False, covariates=False,
             steps=False, **given):
    rng = np.random.default_rng(seed)
    data = simulate(rng, conditions, missing)
    settings = {
        "n_input_genes": GENES, "n_input_proteins": PROTEINS, "n_batch": conditions,
        "n_panel": conditions, "n_labels": LABELS, "use_observed_lib_size": not learned,
        **SMALL, **given,
    }
    if covariates:
        data["categorical"] = rng.integers(0, 3, (CELLS, 1)).astype(np.int32)
        data["continuous"] = rng.standard_normal((CELLS, 1)).astype(np.float32)
        settings.update({"n_cats_per_cov": [3], "n_continuous_cov": 1})
    extra = {}
    if learned:
        total = np.log(data["x"].sum(1))
        groups = [total[data["condition"] == c] for c in range(conditions)]
        extra["library_log_means"] = np.array([[g.mean() for g in groups]])
        extra["library_log_vars"] = np.array([[g.var() for g in groups]])
    if missing:
        extra["protein_batch_mask"] = observed(data, conditions)
    torch.manual_seed(seed)
    module = TOTALVAE(**settings, **extra).double()
    move_off_start(module)
    settings = {**settings, "seed": seed, "weight_decay": 1e-6, "missing_proteins": missing}
    write(name, module, data, settings, rng, steps=steps)


def surgery(name, *, seed, **given):
    """A query without two of the proteins, grafted by scvi-tools; hooks in the curve."""
    rng = np.random.default_rng(seed)
    names = [f"study{c}" for c in range(CONDITIONS)]

    def table(data, names):
        adata = anndata.AnnData(np.asarray(data["x"], dtype=np.float64))
        adata.obs["condition"] = [names[c] for c in data["condition"]]
        adata.obsm["protein_expression"] = np.asarray(data["protein"], dtype=np.float64)
        return adata

    adata = table(simulate(rng, CONDITIONS), names)
    TOTALVI.setup_anndata(
        adata, batch_key="condition", protein_expression_obsm_key="protein_expression"
    )
    torch.manual_seed(seed)
    settings = {**SMALL, **given}
    outer = TOTALVI(adata, **settings)
    outer.module.double()
    move_off_start(outer.module)
    outer.is_trained_ = True
    kept = {k: v.clone() for k, v in outer.module.state_dict().items()}
    query = simulate(rng, 1, missing=True)
    query["condition"] = query["condition"] + CONDITIONS
    query["label"] = np.zeros(CELLS, dtype=np.int32)
    names = names + ["query0"]
    torch.manual_seed(seed + 1)
    hooked = TOTALVI.load_query_data(table(query, names), outer).module.double()
    total = CONDITIONS + 1
    mask = {str(b): np.ones(PROTEINS, dtype=bool) for b in range(total)}
    mask.update(hooked.protein_batch_mask)
    mask = {batch: seen.view(Observed) for batch, seen in mask.items()}
    hooked.protein_batch_mask = mask
    plain = TOTALVAE(
        n_input_genes=GENES, n_input_proteins=PROTEINS, n_batch=total, n_panel=total, n_labels=1,
        protein_batch_mask=mask, **settings,
    ).double()
    plain.load_state_dict(hooked.state_dict())
    grown = {
        f"ref.param.{k}": kept[k]
        for k, v in plain.state_dict().items()
        if v.shape != kept[k].shape
    }
    described = {
        **settings, "n_input_genes": GENES, "n_input_proteins": PROTEINS, "n_batch": CONDITIONS,
        "n_batch_total": total, "n_labels": 1, "seed": seed, "weight_decay": 0.0,
        "condition_names": names, "requires_grad": trained(hooked),
        "gradient_hooks": "categorical columns only",
    }
    write(name, plain, query, described, rng, steps=True, hooked=hooked, extra=grown.items())


def background_prior():
    """Two Gaussians per cell over ln(1 + y): the lower one is the background."""
    rng = np.random.default_rng(520)
    cells, proteins = 24, 14
    on = rng.random((cells, proteins)) < 0.4
    y = rng.poisson(np.where(on, 80, 4) * rng.gamma(2.0, 0.5, (cells, proteins)))
    y[0] = 0
    y[1, :] = 7
    found = {}
    for case, more in {"defaults": {}, "converged": {"tol": 1e-12, "max_iter": 100_000}}.items():
        mean_of, sd_of = [], []
        for cell in y:
            with warnings.catch_warnings():
                # A cell whose values are all equal gets the fallback, as upstream.
                warnings.filterwarnings("error")
                try:
                    fit = GaussianMixture(n_components=2, random_state=0, **more).fit(
                        np.log1p(cell[:, None])
                    )
                except Warning:
                    mean_of.append(0.0)
                    sd_of.append(0.05)
                    continue
            low = fit.means_.ravel().argmin()
            mean_of.append(fit.means_.ravel()[low])
            sd_of.append(np.sqrt(fit.covariances_.ravel()[low]))
        found[f"{case}.mean"], found[f"{case}.sd"] = np.array(mean_of), np.array(sd_of)
        found[f"{case}.prior_mean"] = np.mean(mean_of)
        found[f"{case}.prior_sd"] = np.sqrt(np.sum(np.square(sd_of)) / cells**2)
    settings = {"reg_covar": 1e-6, "defaults": {"tol": 1e-3, "max_iter": 100}, "init": "kmeans"}
    fixture.write(
        "totalvi_background_prior", {"protein": y.astype(np.int32), **found}, settings,
        [*PACKAGES, "scikit-learn"], "totalvi.py",
    )


def main():
    scenario("layernorm", seed=501, n_layers_encoder=1, steps=True, **LAYERNORM)
    scenario("default_batchnorm", seed=502)
    scenario("missing_proteins", seed=503, missing=True, n_layers_encoder=1, **LAYERNORM)
    # The dispersions by label fail upstream: inference is not given the labels.
    scenario("zinb_dispersions", seed=504, gene_likelihood="zinb", gene_dispersion="gene-batch",
             protein_dispersion="protein-batch", n_layers_encoder=1, **LAYERNORM)
    scenario("learned_library", seed=505, learned=True, n_layers_encoder=1, **LAYERNORM)
    scenario("covariates", seed=506, covariates=True, n_layers_encoder=1, **LAYERNORM)
    surgery("surgery", seed=507, n_layers_encoder=1, **LAYERNORM)
    background_prior()


if __name__ == "__main__":
    main()
