"""What the golden scripts of the scvi-tools models share.

The modules are run as they are, in float64, with the noise of every
reparametrised sample given: `Normal.rsample` takes the next array of a queue.
"""

import contextlib
import io
import logging
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
# scvi-tools makes one-hot codes and buffers with `.float()`.
torch.Tensor.float = torch.Tensor.double

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    import scvi  # noqa: F401
    from scvi import REGISTRY_KEYS as KEYS

GENES, CELLS, BATCH, STEPS = 24, 30, 12, 10
PACKAGES = ["scvi-tools", "torch", "numpy", "anndata"]


class NoiseQueue:
    """Hands out given noise, in the order the model asks for it."""

    def __init__(self):
        self.waiting = []

    def feed(self, *arrays):
        assert not self.waiting, "noise left over"
        self.waiting = [torch.tensor(np.asarray(a, dtype=np.float64)) for a in arrays]

    def take(self, shape):
        eps = self.waiting.pop(0)
        assert eps.shape == shape, (eps.shape, shape)
        return eps


NOISE = NoiseQueue()


def _rsample(self, sample_shape=()):
    assert len(sample_shape) == 0
    return self.loc + self.scale * NOISE.take(self.loc.shape)


torch.distributions.Normal.rsample = _rsample


def spread(module):
    """Move batch norm away from its start at 0 and 1, which would hide mistakes."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            with torch.no_grad():
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.5, 0.5)
                layer.running_mean.uniform_(-0.5, 0.5)
                layer.running_var.uniform_(0.5, 1.5)


def state(module, prefix):
    return {
        f"{prefix}.{k}": v.clone()
        for k, v in module.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }


def minibatch(data, rows):
    """The tensors a scvi-tools loader would give for these rows."""
    take = {
        KEYS.X_KEY: ("x", torch.float64),
        KEYS.BATCH_KEY: ("condition", torch.int64),
        KEYS.LABELS_KEY: ("label", torch.int64),
        KEYS.CAT_COVS_KEY: ("categorical", torch.int64),
        KEYS.CONT_COVS_KEY: ("continuous", torch.float64),
        KEYS.PROTEIN_EXP_KEY: ("protein", torch.float64),
    }
    out = {}
    for key, (name, kind) in take.items():
        if name in data:
            part = np.asarray(data[name])[rows]
            out[key] = torch.tensor(part if part.ndim == 2 else part[:, None]).to(kind)
    return out


def noise(rng, *shape):
    """Noise that float32 holds exactly."""
    return rng.standard_normal(shape).astype(np.float32)


def trained(module):
    return [n for n, p in module.named_parameters() if p.requires_grad]


def drop_unused(tensors, module):
    """Leave out the weights and buffers of parts that this variant never runs."""
    idle = {n for n, p in module.named_parameters() if f"grad.{n}" not in tensors and p.requires_grad}
    if getattr(module, "use_observed_lib_size", False):
        idle |= {k for k in module.state_dict() if k.startswith("l_encoder.")}
    for name in idle:
        tensors.pop(f"param.{name}", None)
        tensors.pop(f"ref.param.{name}", None)


def gradients(module, loss):
    """d loss / d weight for every weight the loss depends on; leaves no trace."""
    for p in module.parameters():
        p.grad = None
    loss.backward()
    out = {
        f"grad.{n}": p.grad.detach().clone()
        for n, p in module.named_parameters()
        if p.grad is not None
    }
    for p in module.parameters():
        p.grad = None
    return out


def curve(module, plan, step_loss, steps):
    """Adam steps with the training plan's own optimiser; restores the module.

    `step_loss(i, kl_weight)` gives the named loss terms of step i, "total" among them.
    """
    before = {k: v.clone() for k, v in module.state_dict().items()}
    optimizer = plan.configure_optimizers()["optimizer"]
    logs = {}
    module.train()
    for i in range(steps):
        terms = step_loss(i, min(i / 8, 1.0))
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        for key, value in terms.items():
            logs.setdefault(f"curve.{key}", []).append(float(value))
    out = {k: np.array(v) for k, v in logs.items()}
    out.update(
        {
            f"curve.final.{k}": v.clone()
            for k, v in module.state_dict().items()
            if not torch.equal(v, before[k]) and not k.endswith("num_batches_tracked")
        }
    )
    for p in module.parameters():
        p.grad = None
    module.load_state_dict(before)
    return out


def mean(value):
    return value.mean() if torch.is_tensor(value) else torch.tensor(float(value))
