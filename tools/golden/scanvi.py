"""Golden files of scANVI: scvi-tools' SCANVAE on simulated counts, in float64.

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
from scvi.model import SCANVI
from scvi.module import SCANVAE
from scvi.train import SemiSupervisedTrainingPlan

HIDDEN, LATENT, CONDITIONS, LABELS, LABELLED = 7, 4, 2, 3, 8
MAPPING = {
    "n_layers": 2, "encode_covariates": True, "deeply_inject_covariates": False,
    "use_batch_norm": "none", "use_layer_norm": "both",
}
RATIO = 50


def evaluate(module, tensors, labelled, eps, kl_weight):
    """One forward pass with a batch of labelled cells beside it (or none)."""
    queue = [eps["z"]]
    if not module.use_observed_lib_size:
        queue.append(eps["library"])
    queue.append(eps["z2"])
    given = {"kl_weight": kl_weight}
    if labelled is not None:
        # The encoder draws here too; the posterior mean is what is used.
        queue.append(np.zeros((len(labelled["X"]), LATENT)))
        given.update(labelled_tensors=labelled, classification_ratio=RATIO)
    NOISE.feed(*queue)
    inference, generative, loss = module(tensors, loss_kwargs=given)
    terms = {
        # Reconstruction with the z1 terms in it, as scvi-tools reports it.
        "recon": mean(loss.reconstruction_loss["reconstruction_loss"]),
        "likelihood": -mean(generative["px"].log_prob(tensors["X"]).sum(-1)),
        "kl": mean(loss.kl_local["kl_local"]),
    }
    if labelled is not None:
        terms["classification"] = loss.classification_loss
    terms["total"] = loss.loss
    z = inference["z"]
    out = {
        "out.z_mean": inference["qz"].loc,
        "out.z_var": inference["qz"].scale ** 2,
        "out.z": z,
        "out.mu": generative["px"].mu,
    }
    if labelled is not None:
        out["out.labelled_logits"] = loss.logits
    return terms, out


def labels_of(rng, cells, classes):
    """Every class present, about a third unlabelled (code = number of classes)."""
    code = rng.permutation(np.arange(cells) % classes)
    code[rng.permutation(cells)[: cells // 3]] = classes
    return code.astype(np.int32)


def write(name, module, data, settings, rng, *, steps=False, hooked=None, extra=(), classify=True):
    classes = module.n_labels
    learned = not module.use_observed_lib_size
    known = np.flatnonzero(data["label"] < classes)
    rows = np.stack([rng.permutation(CELLS)[:BATCH] for _ in range(STEPS + 1)])
    label_rows = np.stack([rng.permutation(known)[:LABELLED] for _ in range(STEPS + 1)])
    eps = {
        "z": noise(rng, STEPS + 1, BATCH, LATENT),
        "z2": noise(rng, STEPS + 1, classes * BATCH, LATENT),
    }
    if learned:
        eps["library"] = noise(rng, STEPS + 1, BATCH, 1)

    def run(which, i, weight):
        batch = minibatch(data, rows[i])
        labelled = minibatch(data, label_rows[i]) if classify else None
        return evaluate(which, batch, labelled, {k: v[i] for k, v in eps.items()}, weight)

    kl_weight = 0.6
    tensors = {f"data.{k}": v for k, v in data.items()}
    tensors.update(dict(extra))
    tensors.update(state(module, "param"))
    tensors["input.rows"] = rows[0]
    if classify:
        tensors["input.labelled_rows"] = label_rows[0]
    tensors.update({f"input.eps{'' if k == 'z' else '_' + k}": v[0] for k, v in eps.items()})
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.train()
    terms, out = run(module, 0, kl_weight)
    tensors.update({f"loss.{k}": v.detach() for k, v in terms.items()})
    tensors.update({k: v.detach().clone() for k, v in out.items()})
    tensors.update(gradients(module, terms["total"]))
    drop_unused(tensors, module)
    module.load_state_dict(before)
    if steps:
        trainee = hooked if hooked is not None else module
        plan = SemiSupervisedTrainingPlan(
            trainee, classes, lr=1e-3, weight_decay=settings["weight_decay"]
        )
        tensors["curve.rows"] = rows[1:]
        if classify:
            tensors["curve.labelled_rows"] = label_rows[1:]
        tensors.update(
            {f"curve.eps{'' if k == 'z' else '_' + k}": v[1:] for k, v in eps.items()}
        )
        tensors.update(curve(trainee, plan, lambda i, w: run(trainee, i + 1, w)[0], STEPS))
    module.eval()
    with torch.no_grad():
        NOISE.feed(np.zeros((BATCH, LATENT)))
        batch = minibatch(data, rows[0])
        logits = module.classify(
            batch["X"], batch["batch"],
            cat_covs=batch.get("extra_categorical_covs"),
            cont_covs=batch.get("extra_continuous_covs"),
        )
    tensors["eval.probability"] = torch.softmax(logits, -1)
    settings = {
        **settings, "kl_weight": kl_weight, "classification_ratio": RATIO, "lr": 1e-3, "eps": 0.01,
        "unlabelled_code": classes,
    }
    fixture.write(f"scanvi_{name}", tensors, settings, PACKAGES, "scanvi.py")


def scenario(name, *, seed, covariates=False, learned=False, steps=False, classes=LABELS,
             labelled="mixed", **given):
    rng = np.random.default_rng(seed)
    x, codes = fixture.counts(rng, CELLS, GENES, CONDITIONS)
    x[:, 0] += 1
    data = {"x": x, "condition": codes, "label": labels_of(rng, CELLS, classes)}
    settings = {
        "n_input": GENES, "n_batch": CONDITIONS, "n_labels": classes, "n_hidden": HIDDEN,
        "n_latent": LATENT, "dropout_rate": 0.0, "use_observed_lib_size": not learned, **given,
    }
    if labelled == "all":
        data["label"] = (np.arange(CELLS) % classes).astype(np.int32)
    if covariates:
        data["categorical"] = rng.integers(0, 2, (CELLS, 1)).astype(np.int32)
        data["continuous"] = rng.standard_normal((CELLS, 1)).astype(np.float32)
        settings.update({"n_cats_per_cov": [2], "n_continuous_cov": 1})
    library = {}
    if learned:
        total = np.log(x.sum(1))
        groups = [total[codes == c] for c in range(CONDITIONS)]
        library = {
            "library_log_means": np.array([[g.mean() for g in groups]]),
            "library_log_vars": np.array([[g.var() for g in groups]]),
        }
    torch.manual_seed(seed)
    module = SCANVAE(**settings, **library).double()
    spread(module)
    write(name, module, data, {**settings, "seed": seed, "weight_decay": 1e-6}, rng, steps=steps,
          classify=labelled != "none")


def surgery(name, *, seed, **given):
    """A partly labelled query grafted by scvi-tools; the curve runs with its hooks."""
    rng = np.random.default_rng(seed)
    names = [f"study{c}" for c in range(CONDITIONS)]
    kinds = [f"type{k}" for k in range(LABELS)] + ["unknown"]

    def simulate(conditions, offset):
        x, codes = fixture.counts(rng, CELLS, GENES, conditions)
        x[:, 0] += 1
        return {"x": x, "condition": (codes + offset).astype(np.int32),
                "label": labels_of(rng, CELLS, LABELS)}

    def table(data, names):
        adata = anndata.AnnData(np.asarray(data["x"], dtype=np.float64))
        adata.obs["condition"] = [names[c] for c in data["condition"]]
        adata.obs["label"] = [kinds[k] for k in data["label"]]
        return adata

    adata = table(simulate(CONDITIONS, 0), names)
    SCANVI.setup_anndata(
        adata, labels_key="label", unlabeled_category="unknown", batch_key="condition"
    )
    torch.manual_seed(seed)
    settings = {"n_hidden": HIDDEN, "n_latent": LATENT, "dropout_rate": 0.0, **given}
    outer = SCANVI(adata, **settings)
    outer.module.double()
    outer.is_trained_ = True
    kept = {k: v.clone() for k, v in outer.module.state_dict().items()}
    query = simulate(1, CONDITIONS)
    names = names + ["query0"]
    torch.manual_seed(seed + 1)
    hooked = SCANVI.load_query_data(table(query, names), outer).module.double()
    plain = SCANVAE(
        n_input=GENES, n_batch=CONDITIONS + 1, n_labels=LABELS, **settings
    ).double()
    plain.load_state_dict(hooked.state_dict())
    grown = {
        f"ref.param.{k}": kept[k]
        for k, v in plain.state_dict().items()
        if v.shape != kept[k].shape
    }
    described = {
        **settings, "n_input": GENES, "n_batch": CONDITIONS, "n_batch_total": CONDITIONS + 1,
        "n_labels": LABELS, "seed": seed, "weight_decay": 0.0, "condition_names": names,
        "requires_grad": trained(hooked), "gradient_hooks": "categorical columns only",
    }
    write(name, plain, query, described, rng, steps=True, hooked=hooked, extra=grown.items())


def main():
    scenario("mapping", seed=401, steps=True, **MAPPING)
    scenario("default_batchnorm", seed=402, steps=True)
    scenario("unlabelled_only", seed=403, labelled="none", gene_likelihood="nb", **MAPPING)
    # gene-label is left out: SCANVAE does not hand the number of labels on and fails.
    scenario("nb_gene_batch", seed=404, labelled="all", gene_likelihood="nb",
             dispersion="gene-batch", **MAPPING)
    scenario("linear_classifier", seed=405, linear_classifier=True, gene_likelihood="nb", **MAPPING)
    scenario("learned_library", seed=406, learned=True, gene_likelihood="nb", **MAPPING)
    scenario("covariates_deep", seed=407, covariates=True, gene_likelihood="nb",
             **{**MAPPING, "deeply_inject_covariates": True})
    surgery("surgery", seed=408, gene_likelihood="nb", **MAPPING)


if __name__ == "__main__":
    main()
