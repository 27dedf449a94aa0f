"""Golden files of scVI and its linear decoder: scvi-tools' VAE and LDVAE, in float64.

Run with a Python that has the packages of tools/peers/requirements-current.txt.
"""

import anndata
import numpy as np
import torch

import fixture
from scvi_module import (
    BATCH, CELLS, GENES, NOISE, PACKAGES, STEPS,
    curve, drop_unused, gradients, mean, minibatch, noise, spread, state, trained,
)
from scvi.model import SCVI
from scvi.module import LDVAE, VAE
from scvi.train import TrainingPlan

HIDDEN, LATENT, CONDITIONS, LABELS = 8, 4, 3, 3
MAPPING = {
    "n_layers": 2, "encode_covariates": True, "deeply_inject_covariates": False,
    "use_batch_norm": "none", "use_layer_norm": "both",
}
PLAN = {"lr": 1e-3, "eps": 0.01}


def evaluate(module, tensors, eps, library_eps, kl_weight):
    """One forward pass: loss terms and the values on the way."""
    queue = [eps] if library_eps is None else [eps, library_eps]
    NOISE.feed(*queue)
    inference, generative, loss = module(tensors, loss_kwargs={"kl_weight": kl_weight})
    terms = {
        "recon": mean(loss.reconstruction_loss["reconstruction_loss"]),
        "kl": mean(loss.kl_local["kl_divergence_z"]),
        "kl_library": mean(loss.kl_local["kl_divergence_l"]),
        "total": loss.loss,
    }
    px = generative["px"]
    out = {
        "out.z_mean": inference["qz"].loc,
        "out.z_var": inference["qz"].scale ** 2,
        "out.z": inference["z"],
    }
    kind = type(px).__name__
    out["out.mu"] = {"Poisson": "rate", "Normal": "loc"}.get(kind, "mu")
    out["out.mu"] = getattr(px, out["out.mu"])
    if module.dispersion == "gene-cell":
        out["out.theta"] = px.theta
    if kind == "ZeroInflatedNegativeBinomial":
        out["out.pi"] = px.zi_logits
    if inference["ql"] is not None:
        out["out.library_mean"] = inference["ql"].loc
        out["out.library_var"] = inference["ql"].scale ** 2
    return terms, out


def simulate(rng, conditions=CONDITIONS, covariates=False, values=False):
    x, codes = fixture.counts(rng, CELLS, GENES, conditions)
    x[:, 0] += 1  # no empty cell: their log library size is not finite
    data = {
        "x": np.log1p(x.astype(np.float64)) if values else x,
        "condition": codes,
        "label": rng.integers(0, LABELS, CELLS).astype(np.int32),
    }
    if covariates:
        data["categorical"] = np.stack(
            [rng.permutation(np.arange(CELLS) % 3), rng.permutation(np.arange(CELLS) % 2)], 1
        ).astype(np.int32)
        data["continuous"] = rng.standard_normal((CELLS, 2)).astype(np.float32)
    return data


def log_library(data, conditions):
    total = np.log(np.asarray(data["x"], dtype=np.float64).sum(1))
    groups = [total[data["condition"] == c] for c in range(conditions)]
    as_row = np.array([[g.mean() for g in groups], [g.var() for g in groups]])
    return {"library_log_means": as_row[:1], "library_log_vars": as_row[1:]}


def write(name, module, data, settings, rng, *, kl_weight=0.6, steps=False, hooked=None, extra=()):
    learned = not module.use_observed_lib_size
    rows = np.stack([rng.permutation(CELLS)[:BATCH] for _ in range(STEPS + 1)])
    eps = noise(rng, STEPS + 1, BATCH, LATENT)
    library_eps = noise(rng, STEPS + 1, BATCH, 1) if learned else [None] * (STEPS + 1)
    tensors = {f"data.{k}": v for k, v in data.items()}
    tensors.update(dict(extra))
    tensors.update(state(module, "param"))
    tensors.update({"input.rows": rows[0], "input.eps": eps[0]})
    if learned:
        tensors["input.eps_library"] = library_eps[0]

    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.train()
    terms, out = evaluate(module, minibatch(data, rows[0]), eps[0], library_eps[0], kl_weight)
    tensors.update({f"loss.{k}": v.detach() for k, v in terms.items()})
    tensors.update({k: v.detach().clone() for k, v in out.items()})
    tensors.update(gradients(module, terms["total"]))
    drop_unused(tensors, module)
    module.load_state_dict(before)
    if settings.get("use_batch_norm") != "none":
        module.eval()
        with torch.no_grad():
            held, out = evaluate(
                module, minibatch(data, rows[0]), eps[0], library_eps[0], kl_weight
            )
        tensors.update({f"eval.loss.{k}": v for k, v in held.items()})
        tensors.update({f"eval.{k}": v for k, v in out.items() if k.startswith("out.z_")})
        module.train()
    if steps:
        trainee = hooked if hooked is not None else module
        plan = TrainingPlan(trainee, weight_decay=settings["weight_decay"], **PLAN)

        def step_loss(i, weight):
            batch = minibatch(data, rows[i + 1])
            return evaluate(trainee, batch, eps[i + 1], library_eps[i + 1], weight)[0]

        tensors.update({"curve.rows": rows[1:], "curve.eps": eps[1:]})
        if learned:
            tensors["curve.eps_library"] = library_eps[1:]
        tensors.update(curve(trainee, plan, step_loss, STEPS))
    settings = {**settings, "kl_weight": kl_weight, **PLAN}
    fixture.write(f"scvi_{name}", tensors, settings, PACKAGES, "scvi_vae.py")


def scenario(
    name, *, seed, kind=VAE, conditions=CONDITIONS, covariates=False, learned=False, steps=False,
    **given,
):
    rng = np.random.default_rng(seed)
    data = simulate(rng, conditions, covariates, values=given.get("gene_likelihood") == "normal")
    settings = {
        "n_input": GENES, "n_batch": conditions, "n_labels": LABELS, "n_hidden": HIDDEN,
        "n_latent": LATENT, "dropout_rate": 0.0, "use_observed_lib_size": not learned, **given,
    }
    if covariates:
        settings.update({"n_cats_per_cov": [3, 2], "n_continuous_cov": 2})
    torch.manual_seed(seed)
    library = log_library(data, conditions) if learned else {}
    module = kind(**settings, **library).double()
    spread(module)
    settings = {**settings, "module": kind.__name__, "seed": seed, "weight_decay": 1e-6}
    write(name, module, data, settings, rng, steps=steps)


def surgery(name, *, seed, **given):
    """A new condition grafted by scvi-tools; the curve runs with its gradient hooks."""
    rng = np.random.default_rng(seed)

    def model_of(data, names):
        adata = anndata.AnnData(np.asarray(data["x"], dtype=np.float64))
        adata.obs["condition"] = [names[c] for c in data["condition"]]
        return adata

    names = [f"study{c}" for c in range(CONDITIONS)]
    reference = simulate(rng)
    adata = model_of(reference, names)
    SCVI.setup_anndata(adata, batch_key="condition")
    torch.manual_seed(seed)
    settings = {"n_hidden": HIDDEN, "n_latent": LATENT, "dropout_rate": 0.0, **given}
    outer = SCVI(adata, **settings)
    outer.module.double()
    outer.is_trained_ = True
    kept = {k: v.clone() for k, v in outer.module.state_dict().items()}

    query = simulate(rng, conditions=2)
    query["condition"] = query["condition"] + CONDITIONS
    names = names + ["query0", "query1"]
    torch.manual_seed(seed + 1)
    new = SCVI.load_query_data(model_of(query, names), outer)
    hooked = new.module.double()
    del query["label"]
    query["label"] = np.zeros(CELLS, dtype=np.int32)
    total = CONDITIONS + 2
    plain = VAE(n_input=GENES, n_batch=total, n_labels=1, **settings).double()
    plain.load_state_dict(hooked.state_dict())
    grown = {
        f"ref.param.{k}": kept[k]
        for k, v in plain.state_dict().items()
        if v.shape != kept[k].shape
    }
    described = {
        **settings, "n_input": GENES, "n_batch": CONDITIONS, "n_batch_total": total, "n_labels": 1,
        "module": "VAE", "seed": seed, "weight_decay": 0.0, "condition_names": names,
        "requires_grad": trained(hooked), "gradient_hooks": "categorical columns only",
    }
    write(name, plain, query, described, rng, steps=True, hooked=hooked, extra=grown.items())


def main():
    scenario("default", seed=301, steps=True)
    scenario("mapping", seed=302, steps=True, **MAPPING)
    deep = {**MAPPING, "deeply_inject_covariates": True}
    scenario("nb_gene_batch_deep", seed=303, gene_likelihood="nb", dispersion="gene-batch", **deep)
    scenario("poisson_batchnorm", seed=304, gene_likelihood="poisson", n_layers=2,
             encode_covariates=True)
    scenario("normal", seed=305, gene_likelihood="normal", **MAPPING)
    scenario("zinb_gene_label", seed=306, dispersion="gene-label", **MAPPING)
    scenario("zinb_gene_cell", seed=307, dispersion="gene-cell", **MAPPING)
    scenario("nb_learned_library", seed=308, gene_likelihood="nb", learned=True, steps=True,
             **MAPPING)
    scenario("nb_covariates", seed=309, gene_likelihood="nb", covariates=True, **deep)
    scenario("one_condition", seed=310, gene_likelihood="nb", conditions=1, **MAPPING)
    scenario("logistic_normal", seed=311, gene_likelihood="nb", latent_distribution="ln", **MAPPING)
    scenario("linear", seed=312, kind=LDVAE, learned=True, n_layers_encoder=2, steps=True)
    scenario("linear_zinb", seed=313, kind=LDVAE, gene_likelihood="zinb", use_batch_norm=False,
             bias=True)
    surgery("surgery", seed=314, gene_likelihood="nb", **MAPPING)
    surgery("surgery_gene_batch", seed=315, gene_likelihood="zinb", dispersion="gene-batch", **deep)


if __name__ == "__main__":
    main()
