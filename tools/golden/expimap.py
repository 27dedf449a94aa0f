"""Golden files of expiMap: scArches' EXPIMAP on simulated counts, in float64.

Run with a Python that has the packages of tools/peers/requirements-scarches.txt:

    python tools/golden/expimap.py

The step curves run scArches' own training loop, trainer and proximal
operators on ten fixed batches, one batch an epoch, with given noise.
"""

import contextlib
import io
import warnings

import anndata
import numpy as np
import torch

import fixture

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

with contextlib.redirect_stdout(io.StringIO()):
    from scarches.models import EXPIMAP
    from scarches.trainers import expiMapTrainer

GENES, PROGRAMS, CELLS, BATCH, CONDITIONS, STEPS = 30, 6, 30, 12, 3, 10
HIDDEN = [9, 8, 7]
PACKAGES = ["scarches", "torch", "numpy", "scipy", "scvi-tools", "anndata"]


def quiet():
    return contextlib.redirect_stdout(io.StringIO())


def make_adata(x, codes, names):
    adata = anndata.AnnData(np.asarray(x, dtype=np.float64))
    adata.obs["condition"] = [names[c] for c in codes]
    return adata


class Noise:
    """Stands in for the model's sampling with noise that we chose."""

    def __init__(self, model):
        self.eps = None
        self.seen = {}
        model.sampling = self.sample

    def sample(self, mean, logvar):
        z = mean + self.eps * torch.sqrt(torch.exp(logvar) + 1e-4)
        self.seen.update(z_mean=mean, z_logvar=logvar, z=z)
        return z


class OneBatchAnEpoch:
    """A loader that yields the next fixed batch every time it is gone through."""

    def __init__(self, batches, noise, eps):
        self.batches, self.noise, self.eps = batches, noise, eps
        self.epoch = 0

    def __iter__(self):
        self.noise.eps = torch.tensor(self.eps[self.epoch])
        batch = self.batches[self.epoch]
        self.epoch += 1
        return iter([dict(batch)])


def batch_of(data, rows):
    x, sizes, codes = data
    return {
        "x": torch.tensor(np.asarray(x, dtype=np.float64)[rows]),
        "labeled": torch.zeros(len(rows), 1),
        "sizefactor": torch.tensor(sizes[rows]),
        "batch": torch.tensor(codes[rows].astype(np.int64)),
    }


def state(model, prefix):
    return {
        f"{prefix}.{k}": v.clone()
        for k, v in model.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }


def spread_batchnorm(model):
    """Batch norm starts at 0 and 1 everywhere, which would hide mistakes."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)


def one_evaluation(outer, data, rows, eps, alpha_kl, beta, train_mode=True):
    """Loss terms, every gradient and the values on the way, for one batch."""
    model = outer.model
    noise = Noise(model)
    noise.eps = torch.tensor(eps)
    model.train(train_mode)
    needs = {n: p.requires_grad for n, p in model.named_parameters()}
    for p in model.parameters():
        p.requires_grad_(True)
        p.grad = None
    hidden = {}

    def keep_decoder(_, __, output):
        hidden["decoder_out"], hidden["decoder_h"] = output

    handle = model.decoder.register_forward_hook(keep_decoder)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recon, kl, hsic = model(**batch_of(data, rows))
    handle.remove()
    hsic = torch.as_tensor(hsic)
    total = recon + alpha_kl * kl + beta * hsic
    total.backward()
    mu = hidden["decoder_out"]
    if model.decoder_last_layer == "softmax":
        mu = mu * torch.tensor(data[1][rows])[:, None]
    out = {
        "loss.recon": recon,
        "loss.kl": kl,
        "loss.hsic": hsic,
        "loss.total": total,
        **{f"out.{k}": v for k, v in noise.seen.items()},
        "out.decoder_h": hidden["decoder_h"],
        "out.mu": mu,
        **{f"grad.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None},
    }
    out = {k: v.detach().clone() for k, v in out.items()}
    model.load_state_dict(before)
    for n, p in model.named_parameters():
        p.requires_grad_(needs[n])
        p.grad = None
    return out


def curve(outer, adata, data, rows, eps, train_args, prefix):
    """Ten steps of scArches' training loop; restores the model afterwards."""
    model = outer.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    noise = Noise(model)
    with quiet():
        trainer = expiMapTrainer(
            model,
            adata,
            condition_key="condition",
            train_frac=1,
            use_early_stopping=False,
            monitor=False,
            **train_args,
        )
        trainer.initialize_loaders = lambda: None
        trainer.dataloader_train = OneBatchAnEpoch(
            [batch_of(data, r) for r in rows], noise, eps
        )
        gamma = []
        original = trainer.on_iteration

        def on_iteration(batch):
            gamma.append(trainer.corr_coeffs["gamma_ext"])
            original(batch)

        trainer.on_iteration = on_iteration
        trainer.train(len(rows), 1e-3, 0.01)
    logs = trainer.logs
    out = {f"{prefix}.{k}": np.array(logs[f"epoch_{k}_loss"]) for k in ("recon", "kl")}
    out[f"{prefix}.total"] = np.array(logs["epoch_loss"])
    out[f"{prefix}.unweighted"] = np.array(logs["epoch_unweighted_loss"])
    if "epoch_hsic_loss" in logs:
        out[f"{prefix}.hsic"] = np.array(logs["epoch_hsic_loss"])
    out[f"{prefix}.gamma_anneal"] = np.array(gamma)
    # Tensors that did not move are left out: they equal `param.`.
    out.update(
        {
            f"{prefix}.final.{k}": v.clone()
            for k, v in model.state_dict().items()
            if not torch.equal(v, before[k]) and not k.endswith("num_batches_tracked")
        }
    )
    # `affine` and `track_running_stats` are switched off in place by the loop.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.affine = True
            module.track_running_stats = True
    model.load_state_dict(before)
    return out


def scenario(name, *, init, train, seed, mask=None, query=None, alpha_kl=0.5, curves=("none", "decay")):
    """Build, evaluate, train, write."""
    rng = np.random.default_rng(seed)
    x, codes = fixture.counts(rng, CELLS, GENES, CONDITIONS)
    table = fixture.membership(rng, PROGRAMS, GENES) if mask is None else mask
    init = dict(init)
    mse = init.get("recon_loss", "nb") == "mse"
    values = np.log1p(1e2 * x / np.maximum(x.sum(1, keepdims=True), 1)) if mse else x
    names = [f"study{c}" for c in range(CONDITIONS)]
    adata = make_adata(values, codes, names)
    torch.manual_seed(seed)
    with quiet():
        outer = EXPIMAP(
            adata,
            condition_key="condition",
            conditions=names,
            hidden_layer_sizes=HIDDEN,
            dr_rate=0.0,
            mask=table,
            **init,
        )
        outer.model.double()
    spread_batchnorm(outer.model)
    settings = {
        "genes": GENES,
        "programs": PROGRAMS,
        "conditions": CONDITIONS,
        "hidden_layer_sizes": HIDDEN,
        "dr_rate": 0.0,
        "recon_loss": init.get("recon_loss", "nb"),
        "decoder_last_layer": outer.model.decoder_last_layer,
        "soft_mask": init.get("soft_mask", False),
        "use_bn": init.get("use_bn", False),
        "use_ln": init.get("use_ln", True),
        "seed": seed,
        "alpha_kl": alpha_kl,
        "lr": 1e-3,
        "adam_eps": 0.01,
        "train": train,
    }
    tensors = {"mask": table}
    if query is not None:
        reference = {k: v.clone() for k, v in outer.model.state_dict().items()}
        x, codes = fixture.counts(rng, CELLS, GENES, query["new"])
        codes = (codes + CONDITIONS).astype(np.int32)
        if query.get("old"):
            codes[::3] = 1
        # New conditions are numbered as they appear: sort the cells by code.
        order = np.argsort(codes, kind="stable")
        codes, x = codes[order], x[order]
        values = x
        names = names + [f"query{c}" for c in range(query["new"])]
        adata = make_adata(values, codes, names)
        extension = dict(query["extension"])
        if "new_ext_mask" in extension:
            extension["new_ext_mask"] = fixture.membership(
                rng, extension["new_n_ext_m"], GENES
            )
            tensors["ext_mask"] = extension["new_ext_mask"]
        torch.manual_seed(seed + 1)
        with quiet():
            outer = EXPIMAP.load_query_data(adata, outer, **extension)
            outer.model.double()
        # Only tensors that grew are kept; the others are the reference's own.
        for k, v in outer.model.state_dict().items():
            if k in reference and v.shape != reference[k].shape:
                tensors[f"ref.param.{k}"] = reference[k]
            elif k in reference:
                assert torch.equal(v, reference[k]), k
        settings["query"] = {
            k: v for k, v in extension.items() if not isinstance(v, np.ndarray)
        }
        settings["n_ext"] = outer.model.n_ext_decoder
        settings["n_ext_m"] = outer.model.n_ext_m_decoder
        settings["use_hsic"] = outer.model.use_hsic
        settings["hsic_one_vs_all"] = outer.model.hsic_one_vs_all
        settings["soft_ext_mask"] = outer.model.soft_ext_mask
    settings["condition_names"] = names
    settings["conditions_total"] = outer.model.n_conditions
    settings["trainable"] = [n for n, p in outer.model.named_parameters() if p.requires_grad]
    assert list(outer.model.condition_encoder) == names

    size = np.asarray(values, dtype=np.float64).sum(1)
    data = (values, size, codes)
    width = outer.model.latent_dim + outer.model.n_ext_encoder
    rows = np.stack(
        [rng.permutation(CELLS)[:BATCH] for _ in range(STEPS + 1)]
    ).astype(np.int32)
    # Noise that float32 holds exactly, kept as such.
    noise32 = rng.standard_normal((STEPS + 1, BATCH, width)).astype(np.float32)
    eps = noise32.astype(np.float64)

    beta = train.get("beta", 1.0) if outer.model.use_hsic else 0.0
    settings["beta"] = beta
    tensors.update(
        {
            "data.x": values if mse else x,
            "data.condition": codes,
            "input.rows": rows[0],
            "input.eps": noise32[0],
            "curve.rows": rows[1:],
            "curve.eps": noise32[1:],
            **{k: v for k, v in state(outer.model, "param").items() if not k.endswith(".mask")},
            **one_evaluation(outer, data, rows[0], eps[0], alpha_kl, beta),
        }
    )
    if outer.model.use_bn:
        held = one_evaluation(outer, data, rows[0], eps[0], alpha_kl, beta, train_mode=False)
        tensors.update(
            {f"eval.{k}": v for k, v in held.items() if k.startswith(("loss.", "out.z_"))}
        )
    for kind in curves:
        tensors.update(
            curve(
                outer, adata, data, rows[1:], eps[1:],
                {
                    **train,
                    "alpha_kl": alpha_kl,
                    "alpha_epoch_anneal": 8,
                    "weight_decay": {"none": 0.0, "decay": 0.04}[kind],
                },
                {"none": "curve", "decay": "curve_decay"}[kind],
            )
        )
    settings["alpha_epoch_anneal"] = 8
    settings["weight_decay"] = {"curve": 0.0, "curve_decay": 0.04}
    fixture.write(f"expimap_{name}", tensors, settings, PACKAGES, "expimap.py")


def main():
    scenario("hard_nb", init={}, train={"alpha": 0.7}, seed=11)
    # A lasso so strong that whole programs die within the ten steps.
    scenario("hard_nb_strong_lasso", init={}, train={"alpha": 65.0}, seed=12, curves=("none",))
    scenario(
        "soft_nb", init={"soft_mask": True}, train={"alpha": 0.7, "alpha_l1": 0.5}, seed=13
    )
    # Steps so long that out-of-mask weights reach zero within the ten steps.
    scenario(
        "soft_nb_strong_l1",
        init={"soft_mask": True},
        train={"alpha": 30.0, "alpha_l1": 20.0},
        seed=14,
        curves=("none",),
    )
    for number, last in enumerate(["identity", "softplus", "exp", "relu"]):
        scenario(
            f"hard_mse_{last}",
            init={"recon_loss": "mse", "decoder_last_layer": last},
            train={"alpha": 0.7},
            seed=20 + number,
            curves=("none",) if last == "identity" else (),
        )
    for number, last in enumerate(["softplus", "exp"]):
        scenario(
            f"hard_nb_{last}",
            init={"decoder_last_layer": last},
            train={"alpha": 0.7},
            seed=30 + number,
            curves=(),
        )
    scenario("batchnorm_nb", init={"use_bn": True, "use_ln": False}, train={"alpha": 0.7}, seed=40)
    scenario("nonorm_nb", init={"use_ln": False}, train={"alpha": 0.7}, seed=41, curves=())

    scenario(
        "surgery_adaptors", init={}, train={"alpha": 0.7}, seed=50,
        query={"new": 2, "extension": {}}, alpha_kl=0.1,
    )
    scenario(
        "surgery_batchnorm", init={"use_bn": True, "use_ln": False}, train={"alpha": 0.7}, seed=51,
        query={"new": 1, "extension": {}}, alpha_kl=0.1, curves=("none",),
    )
    scenario(
        "surgery_first_layers", init={}, train={"alpha": 0.7}, seed=52,
        query={"new": 1, "old": True, "extension": {"freeze_expression": False}},
        alpha_kl=0.1, curves=("none",),
    )
    scenario(
        "surgery_everything", init={}, train={"alpha": 0.7}, seed=53,
        query={"new": 1, "extension": {"freeze": False}}, alpha_kl=0.1, curves=("none",),
    )
    new = {
        "new_n_ext": 3,
        "use_hsic": True,
        "hsic_one_vs_all": True,
    }
    annotated = {"new_n_ext_m": 2, "new_ext_mask": None}
    penalties = {"alpha": 0.7, "gamma_ext": 0.7, "gamma_epoch_anneal": 9, "beta": 3.0}
    scenario(
        "surgery_new_programs_hard", init={}, train={**penalties, "alpha_l1": 0.9}, seed=54,
        query={"new": 1, "extension": {**new, **annotated}}, alpha_kl=0.1,
    )
    scenario(
        "surgery_new_programs_soft", init={"soft_mask": True},
        train={**penalties, "gamma_ext": 25.0, "alpha_l1": 30.0}, seed=55,
        query={"new": 1, "extension": {**new, **annotated, "new_soft_ext_mask": True}},
        alpha_kl=0.1, curves=("none",),
    )
    scenario(
        "surgery_hsic_joint", init={}, train=penalties, seed=56,
        query={"new": 1, "extension": {**new, "hsic_one_vs_all": False, **annotated}},
        alpha_kl=0.1, curves=("none",),
    )
    scenario(
        "surgery_no_hsic", init={}, train=penalties, seed=57,
        query={"new": 1, "extension": {"new_n_ext": 2}}, alpha_kl=0.1, curves=("none",),
    )


if __name__ == "__main__":
    main()
