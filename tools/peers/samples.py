"""Published models as their authors saved them: the package that saved them beside `scgraft`, from import to export.

    python tools/peers/samples.py target/debug/scgraft MODELS [OUT [PART]]

MODELS has a folder for each model (`model.pt`, or `model_params.pt` with `attr.pkl`). With requirements-current.txt (or scvi-tools
1.5.1 on Python 3.12) the models of scvi-tools are compared, with requirements-scarches.txt those of scArches too. For each:
latent means of simulated cells of its batches; a query of a new batch mapped by surgery, after which the reference's latent means
are the same bits; and the model exported and loaded by scvi-tools. PART: only folders with it in their names. With OUT, its files
and `expected.safetensors` for `SCGRAFT_PUBLISHED=OUT cargo test -p scgraft-hub --test parity`, which compares expression,
probabilities and proteins.

The files are pickles of others: they are read by names that are allowed, and whatever else they name is an inert object.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import types
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scvi
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import exported
import published_models

warnings.filterwarnings("ignore")
scvi.settings.verbosity = 40
TOLERANCE = {"SCVI": 1e-5}
ALLOWED = {
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"),
    ("torch", "LongStorage"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("bytes", "dict", "list", "set")),
}


class Inert:
    """What a name that is not allowed becomes: takes anything, does nothing."""

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, _):
        pass

    def __call__(self, *_, **__):
        return self


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return super().find_class(module, name) if (module, name) in ALLOWED else Inert


ALLOW = types.SimpleNamespace(Unpickler=Unpickler, load=lambda file, **_: Unpickler(file).load(), __name__="allow")
loaded = torch.load
torch.load = lambda file, *_, **__: loaded(file, map_location="cpu", pickle_module=ALLOW, weights_only=False)


def simulated(genes, columns, proteins, values, seed):
    """Cells with these genes, a random level of each column, and proteins."""
    rng = np.random.default_rng(seed)
    n = 300
    x = rng.negative_binomial(2, 2 / (2 + rng.gamma(0.6, 2, (1, len(genes))) * rng.gamma(2, 0.5, (n, 1)))).astype(np.float32)
    x[x.sum(1) == 0, 0] = 1
    obs = {name: pd.Categorical(rng.choice(levels, n), categories=levels) for name, levels in columns.items()}
    adata = anndata.AnnData(np.log1p(x) if values == "log" else x, pd.DataFrame(obs, index=[f"cell{i}" for i in range(n)]), pd.DataFrame(index=genes))
    if proteins:
        name, names = proteins
        counts = rng.negative_binomial(3, 0.2, (n, len(names))).astype(np.float32)
        adata.obsm[name] = counts  # without names, as the model that is compared was set up
    return adata


def of_scvi_tools(folder):
    """The model in its package with simulated cells: class, model, cells, columns, the unlabelled value."""
    saved = torch.load(folder / "model.pt")
    registry = saved["attr_dict"]["registry_"]
    kind, fields = registry["model_name"], registry["field_registries"]
    columns, unlabelled = {}, None
    for field in ("batch", "labels"):
        state = fields[field]["state_registry"]
        levels = [str(level) for level in np.asarray(state["categorical_mapping"])]
        if len(levels) > 1 or not state["original_key"].startswith("_scvi"):
            columns[state["original_key"]] = levels
        unlabelled = state.get("unlabeled_category", unlabelled)
    proteins = None
    if "proteins" in fields and fields["proteins"]["data_registry"]:
        names = [str(name) for name in np.asarray(fields["proteins"]["state_registry"]["column_names"])]
        proteins = (fields["proteins"]["data_registry"]["attr_key"], names)
    adata = simulated([str(gene) for gene in saved["var_names"]], columns, proteins, "counts", 1)
    model = getattr(scvi.model, kind).load(folder, adata=adata)
    return kind, model, adata, columns, unlabelled


def of_scarches(folder):
    import scarches
    import scarches.models.base._base as base

    base.pickle = ALLOW
    with open(folder / "attr.pkl", "rb") as file:
        attributes = ALLOW.load(file)
    column, levels = attributes["condition_key_"], list(attributes["conditions_"])
    genes = np.genfromtxt(folder / "var_names.csv", delimiter=",", dtype=str).tolist()
    values = "log" if attributes["recon_loss_"] == "mse" else "counts"
    adata = simulated(genes, {column: levels}, None, values, 1)
    adata.obs[column] = adata.obs[column].astype(str)
    model = scarches.models.EXPIMAP.load(str(folder), adata=adata)
    return "EXPIMAP", model, adata, {column: levels}, None


def in_package(folder):
    """Class, cells, what the package computes of them, and what else the files say."""
    if (folder / "model.pt").exists():
        kind, model, adata, columns, unlabelled = of_scvi_tools(folder)
        tensors = published_models.computed(model, adata, kind, {})
        if kind == "SCANVI":
            soft = model.predict(soft=True)
            tensors["probability"] = soft.to_numpy()
            return kind, adata, tensors, columns, unlabelled, [str(label) for label in soft.columns]
        return kind, adata, tensors, columns, unlabelled, None
    kind, model, adata, columns, _ = of_scarches(folder)
    (column, levels), x = next(iter(columns.items())), torch.tensor(adata.X)
    codes = torch.tensor([model.model.condition_encoder[level] for level in adata.obs[column]])
    model.model.eval()
    with torch.no_grad():
        mean = torch.as_tensor(model.model.get_latent(x, codes, mean=True))
        tensors = {"latent": mean.numpy(), "expression": model.model.decoder(mean, codes)[0].numpy()}
    return kind, adata, tensors, columns, None, None


def apart(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def compare(scgraft, folder, at, out):
    """Everything of one model, as one line."""
    kind, adata, tensors, columns, unlabelled, labels = in_package(folder)
    run = lambda *args: subprocess.run([scgraft, *map(str, args), "--json", "--quiet"], cwd=at, capture_output=True, text=True)

    def well(*args):
        done = run(*args)
        assert done.returncode == 0, (args, done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    told = well("import", folder.resolve(), "-o", "m.scgraft")
    batch = (told["condition_columns"] or [None])[0]
    named = [] if batch else ["--condition-name", told["conditions"][0]]
    if told["proteins"]:
        slot = next(iter(adata.obsm))
        named += ["--proteins", slot]
        adata.obsm[slot] = pd.DataFrame(adata.obsm[slot], index=adata.obs_names, columns=told["proteins"])
    adata.write_h5ad(at / "cells.h5ad")
    well("map", "m.scgraft", "cells.h5ad", "-o", "mapped.h5ad", *named)
    latent = anndata.read_h5ad(at / "mapped.h5ad").obsm["X_scgraft"]
    error, most = apart(latent, tensors["latent"]), TOLERANCE.get(kind, 1e-4)
    assert error <= most, (folder.name, error)
    line = f"{folder.name} ({kind}): latent {error:.1e}"

    query = adata[:120].copy()
    if batch:
        query.obs[batch] = "new"
    query.write_h5ad(at / "query.h5ad")
    named_new = named if batch else ["--condition-name", "new", *named[2:]]
    done = run("map", "m.scgraft", "query.h5ad", "--epochs", "3", "-o", "query_out.h5ad", "--save-model", "g.scgraft", *named_new)
    if done.returncode == 0:
        well("map", "g.scgraft", "cells.h5ad", "-o", "again.h5ad", *named)
        again = anndata.read_h5ad(at / "again.h5ad").obsm["X_scgraft"]
        assert (again == latent).all(), f"{folder.name}: surgery moved the reference"
        moved = apart(anndata.read_h5ad(at / "query_out.h5ad").obsm["X_scgraft"], latent[:120])
        line += f", a query mapped (moved by {moved:.1e}), reference the same bits"
    else:
        assert "encode_covariates" in done.stderr, done.stderr
        line += ", no surgery (its encoder reads no batch)"
    if kind == "EXPIMAP":
        assert "expimap" in run("export", "m.scgraft", "--to", "scvi-tools", "-o", "as_theirs").stderr
        line += ", no class in scvi-tools"
    else:
        error, _ = exported.compared(scgraft, at, "m.scgraft", "cells.h5ad", named)
        assert error <= 1e-4, (folder.name, error)
        line += f", exported and loaded {error:.1e}"
    print(line, flush=True)

    if out:
        to = out / folder.name
        shutil.copytree(folder, to, dirs_exist_ok=True)
        tensors["x"] = np.asarray(adata.X)
        meta = {"genes": adata.var_names.tolist(), "proteins": [], "class": kind, "settings": {}, "versions": {"scvi-tools": scvi.__version__}}
        meta["obs"] = {name: adata.obs[name].astype(str).tolist() for name in columns}
        if kind == "EXPIMAP":
            meta["settings"] = {"recon_loss": "mse"}
        if labels:
            meta["labels"] = labels
        for name, frame in adata.obsm.items():
            if isinstance(frame, pd.DataFrame):
                tensors["protein"], meta["proteins"] = frame.to_numpy(), frame.columns.tolist()
        published_models.write(to / "expected.safetensors", tensors, meta)


def main():
    scgraft, models = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    print(f"scvi-tools {scvi.__version__}")
    n = 0
    for folder in sorted(models.iterdir()):
        if len(sys.argv) > 4 and sys.argv[4] not in folder.name:
            continue
        whole = (folder / "model.pt").exists()
        if not whole and int(scvi.__version__.split(".")[1]) > 1:
            print(f"{folder.name}: left to the environment with scArches")
            continue
        with tempfile.TemporaryDirectory() as at:
            compare(scgraft, folder, Path(at), out)
        n += 1
    assert n, "no model was compared"


if __name__ == "__main__":
    main()
