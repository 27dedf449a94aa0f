"""Golden files of CVAE and trVAE: scArches' TRVAE on simulated counts, in float64.

Run with a Python that has the packages of tools/peers/requirements-scarches.txt.
The step curves run scArches' own training loop on fixed batches and noise.
"""

import warnings

import numpy as np
import torch

import fixture
from expimap import (
    BATCH, CELLS, GENES, PACKAGES, STEPS,
    Noise, OneBatchAnEpoch, batch_of, make_adata, quiet, spread_batchnorm, state,
)
from scarches.models import TRVAE
from scarches.trainers import trVAETrainer

warnings.filterwarnings("ignore")
# The MMD scales are made with torch.FloatTensor, which float64 inputs refuse.
# They stay float32 values: 1e-6 becomes 9.99999997e-7, as in a float32 run.
torch.FloatTensor = lambda values: torch.tensor(values, dtype=torch.float32).double()

HIDDEN, LATENT, CONDITIONS = [9, 8], 5, 3


def one_evaluation(outer, data, rows, eps, alpha_kl):
    """Loss terms, every gradient and the values on the way, for one batch."""
    model = outer.model
    noise = Noise(model)
    noise.eps = torch.tensor(eps)
    model.train()
    needs = {n: p.requires_grad for n, p in model.named_parameters()}
    for p in model.parameters():
        p.requires_grad_(True)
        p.grad = None
    seen = {}

    def keep(_, __, output):
        if model.recon_loss == "zinb":
            seen["mu"], seen["pi"], seen["y"] = output
        else:
            seen["mu"], seen["y"] = output

    handle = model.decoder.register_forward_hook(keep)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recon, kl, mmd = model(**batch_of(data, rows))
    handle.remove()
    total = recon + alpha_kl * kl + mmd
    total.backward()
    if model.recon_loss != "mse":
        seen["mu"] = seen["mu"] * torch.tensor(data[1][rows])[:, None]
    out = {
        "loss.recon": recon,
        "loss.kl": kl,
        "loss.mmd": mmd,
        "loss.total": total,
        **{f"out.{k}": v for k, v in noise.seen.items()},
        **{f"out.{k}": v for k, v in seen.items()},
        **{f"grad.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None},
    }
    out = {k: v.detach().clone() for k, v in out.items()}
    model.load_state_dict(before)
    for n, p in model.named_parameters():
        p.requires_grad_(needs[n])
        p.grad = None
    return out


def curve(outer, adata, data, rows, eps, alpha_kl):
    """Ten steps of scArches' training loop; restores the model afterwards."""
    model = outer.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    noise = Noise(model)
    with quiet():
        trainer = trVAETrainer(
            model, adata, condition_key="condition", train_frac=1, use_early_stopping=False,
            monitor=False, alpha_kl=alpha_kl, alpha_epoch_anneal=8, weight_decay=0.0,
        )
        trainer.initialize_loaders = lambda: None
        trainer.dataloader_train = OneBatchAnEpoch(
            [batch_of(data, r) for r in rows], noise, eps
        )
        trainer.train(len(rows), 1e-3, 0.01)
    logs = trainer.logs
    names = ("recon", "kl", "mmd") if model.use_mmd else ("recon", "kl")
    out = {f"curve.{k}": np.array(logs[f"epoch_{k}_loss"]) for k in names}
    out["curve.total"] = np.array(logs["epoch_loss"])
    out.update(
        {
            f"curve.final.{k}": v.clone()
            for k, v in model.state_dict().items()
            if not torch.equal(v, before[k]) and not k.endswith("num_batches_tracked")
        }
    )
    model.load_state_dict(before)
    return out


def scenario(name, *, seed, query=None, steps=False, alpha_kl=0.7, only=None, **init):
    rng = np.random.default_rng(seed)
    x, codes = fixture.counts(rng, CELLS, GENES, CONDITIONS)
    if only is not None:
        codes = np.where(codes == 2, 0, codes).astype(np.int32)
    mse = init["recon_loss"] == "mse"
    values = np.log1p(1e2 * x / np.maximum(x.sum(1, keepdims=True), 1)) if mse else x
    names = [f"study{c}" for c in range(CONDITIONS)]
    adata = make_adata(values, codes, names)
    torch.manual_seed(seed)
    with quiet():
        outer = TRVAE(
            adata, condition_key="condition", conditions=names, hidden_layer_sizes=HIDDEN,
            latent_dim=LATENT, dr_rate=0.0, **init,
        )
        outer.model.double()
    spread_batchnorm(outer.model)
    tensors = {}
    if query:
        reference = {k: v.clone() for k, v in outer.model.state_dict().items()}
        values, codes = fixture.counts(rng, CELLS, GENES, 2)
        order = np.argsort(codes, kind="stable")
        codes, values = (codes[order] + CONDITIONS).astype(np.int32), values[order]
        names = names + ["query0", "query1"]
        adata = make_adata(values, codes, names)
        torch.manual_seed(seed + 1)
        with quiet():
            outer = TRVAE.load_query_data(adata, outer)
            outer.model.double()
        for k, v in outer.model.state_dict().items():
            if k in reference and v.shape != reference[k].shape:
                tensors[f"ref.param.{k}"] = reference[k]
    data = (values, np.asarray(values, dtype=np.float64).sum(1), codes)
    rows = np.stack([rng.permutation(CELLS)[:BATCH] for _ in range(STEPS + 1)])
    noise = rng.standard_normal((STEPS + 1, BATCH, LATENT)).astype(np.float32)
    eps = noise.astype(np.float64)
    settings = {
        "mmd_on": "z", "mmd_boundary": None, "beta": 1.0, "use_bn": False, "use_ln": True,
        **init,
        "genes": GENES, "conditions": CONDITIONS, "conditions_total": outer.model.n_conditions,
        "hidden_layer_sizes": HIDDEN, "latent_dim": LATENT, "dr_rate": 0.0, "seed": seed,
        "alpha_kl": alpha_kl, "alpha_epoch_anneal": 8, "lr": 1e-3, "adam_eps": 0.01,
        "weight_decay": 0.0, "condition_names": names,
        "trainable": [n for n, p in outer.model.named_parameters() if p.requires_grad],
    }
    tensors.update(
        {
            "data.x": values, "data.condition": codes,
            "input.rows": rows[0], "input.eps": noise[0],
            **state(outer.model, "param"),
            **one_evaluation(outer, data, rows[0], eps[0], alpha_kl),
        }
    )
    if steps:
        tensors.update({"curve.rows": rows[1:], "curve.eps": noise[1:]})
        tensors.update(curve(outer, adata, data, rows[1:], eps[1:], alpha_kl))
    fixture.write(f"trvae_{name}", tensors, settings, PACKAGES, "trvae.py")


def main():
    scenario("cvae_nb", seed=201, recon_loss="nb", use_mmd=False, steps=True)
    scenario("cvae_zinb", seed=202, recon_loss="zinb", use_mmd=False)
    scenario("cvae_mse", seed=203, recon_loss="mse", use_mmd=False)
    scenario("mmd_z_nb", seed=204, recon_loss="nb", use_mmd=True, mmd_on="z", beta=1.5)
    scenario("mmd_y_nb", seed=205, recon_loss="nb", use_mmd=True, mmd_on="y", beta=2.0, steps=True)
    scenario("mmd_y_zinb", seed=206, recon_loss="zinb", use_mmd=True, mmd_on="y", beta=1.0)
    scenario("mmd_y_mse", seed=207, recon_loss="mse", use_mmd=True, mmd_on="y", beta=1.0)
    # A condition without a cell in the batch.
    scenario("mmd_z_absent", seed=208, recon_loss="nb", use_mmd=True, mmd_on="z", only=2)
    scenario(
        "mmd_y_boundary", seed=209, recon_loss="nb", use_mmd=True, mmd_on="y", mmd_boundary=1,
    )
    scenario("batchnorm", seed=210, recon_loss="nb", use_mmd=True, mmd_on="y",
             use_bn=True, use_ln=False)
    scenario("surgery", seed=211, recon_loss="nb", use_mmd=True, mmd_on="y", query=True,
             steps=True)


if __name__ == "__main__":
    main()
