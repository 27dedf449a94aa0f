"""The same seed through Python and through the command line gives the same bits, for every model."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

import scgraft as sg

MODELS = {
    "expimap": {},
    "cvae": {},
    "trvae": {},
    "scvi": {},
    "scvi-linear": {},
    "scvi-per-cell": {},
    "scanvi": {"labels_key": "cell_type"},
    "totalvi": {"protein_key": "adt"},
}


def test_every_model_is_here():
    assert set(sg.models().index) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_same_bits(sim, tmp_path, name, cli):
    rng = np.random.default_rng(3)
    for adata in (sim.reference, sim.query):
        counts = rng.poisson(4, (adata.n_obs, 5)).astype(np.float64)
        adata.obsm["adt"] = pd.DataFrame(counts, index=adata.obs_names, columns=list("ABCDE"))
    sim.reference.write_h5ad(tmp_path / "r.h5ad")
    sim.query.write_h5ad(tmp_path / "q.h5ad")
    gmt = tmp_path / "p.gmt"
    gmt.write_text("".join(f"{n}\tna\t{chr(9).join(g)}\n" for n, g in sim.programs.items()))
    more = MODELS[name]
    flags = ["--labels", "cell_type"] if "labels_key" in more else ["--proteins", "adt"] if "protein_key" in more else []
    train = ["train", tmp_path / "r.h5ad", "--model", name, "--batch", "batch", "--epochs", "2", "--hidden", "16,16",
             "--seed", "7", "-o", tmp_path / "m.scgraft", *flags]  # fmt: skip
    given = {"programs": gmt, "min_genes": 5} if name == "expimap" else {}
    if given:
        train += ["--programs", gmt, "--min-genes", "5"]
    cli(*train)
    model = sg.train(sim.reference, model=name, batch_key="batch", max_epochs=2, hidden=[16, 16], seed=7, progress=False,
                     **more, **given)  # fmt: skip
    theirs = sg.load(tmp_path / "m.scgraft")
    ours = model.parameters()
    for tensor, values in theirs.parameters().items():
        assert np.array_equal(ours[tensor], values), tensor
    assert model.reference_hash == theirs.reference_hash
    pd.testing.assert_frame_equal(model.history, theirs.history, check_exact=True)

    query_flags = ["--proteins", "adt"] if "protein_key" in more else []
    cli("map", tmp_path / "m.scgraft", tmp_path / "q.h5ad", "--batch", "batch", "--name", "query", "--epochs", "2",
        "--seed", "7", "-o", tmp_path / "mapped.h5ad", *query_flags)  # fmt: skip
    mapped = model.map(sim.query, name="query", batch_key="batch", max_epochs=2, seed=7, progress=False)
    expected = anndata.read_h5ad(tmp_path / "mapped.h5ad")
    mean, variance = mapped.get_latent_representation(return_dist=True)
    assert np.array_equal(mean, expected.obsm["X_scgraft"])
    assert np.array_equal(variance, expected.obsm["X_scgraft_var"])


def test_the_same_simulated_cells(tmp_path, cli):
    cli("simulate", "-o", tmp_path, "--cells", "300", "--query-cells", "100")
    sim = sg.datasets.simulate(n_reference=300, n_query=100)
    for ours, file in ((sim.reference, "reference.h5ad"), (sim.query, "query.h5ad")):
        theirs = anndata.read_h5ad(tmp_path / file)
        assert (ours.X != theirs.X).nnz == 0
        assert list(ours.obs["batch"]) == list(theirs.obs["batch"])
    assert sg.read_gmt(tmp_path / "programs.gmt") == sim.programs


def test_labels_and_novelty_are_the_command_lines(expimap, sim, tmp_path, cli):
    expimap.to_adata(sim.reference)
    sg.tl.map(sim.query, expimap, batch_key="batch", max_epochs=2, progress=False)
    sim.reference.write_h5ad(tmp_path / "r.h5ad")
    sim.query.write_h5ad(tmp_path / "q.h5ad")
    told = cli("annotate", tmp_path / "r.h5ad", tmp_path / "q.h5ad", "--labels", "cell_type")
    assert "in the expression of" in told
    sg.tl.annotate(sim.query, sim.reference)
    theirs = anndata.read_h5ad(tmp_path / "q.h5ad").obs
    # Nor does it matter where the genes' names stand.
    other = sim.query.copy()
    other.var["symbol"] = other.var_names
    other.var_names = [f"ENSG{i}" for i in range(other.n_vars)]
    sg.tl.annotate(other, sim.reference)
    assert (other.obs["cell_type_novelty"].to_numpy() == theirs["cell_type_novelty"].to_numpy()).all()
    for name in ("cell_type_pred", "cell_type_novelty", "cell_type_uncertainty"):
        assert (sim.query.obs[name].astype(theirs[name].dtype).to_numpy() == theirs[name].to_numpy()).all(), name
