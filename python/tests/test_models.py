"""Models as objects."""

from __future__ import annotations

import copy
import pickle

import anndata
import numpy as np
import pandas as pd
import pytest

import scgraft as sg
from scgraft.compat.scvi import SCVI


def test_a_model_says_what_it_is(expimap, sim):
    assert expimap.name == "expimap" and expimap.conditions == ["reference_1", "reference_2", "reference_3"]
    assert expimap.n_latent == len(expimap.latent_names) > 10
    assert isinstance(expimap.history, pd.DataFrame) and len(expimap.history) == 4
    assert expimap.settings["hidden"] == [32]
    assert expimap.provenance["condition_columns"] == ["batch"]
    assert "expimap" in repr(expimap) and "expimap" in expimap._repr_html_()
    weights = expimap.program_weights()
    assert list(weights.columns) == expimap.latent_names and len(weights) == len(expimap.var_names)
    programs = expimap.programs()
    assert set(programs["direction"]) <= {-1, 0, 1}
    name = programs.index[0]
    genes = expimap.program_genes(name)
    assert set(genes.index[genes["in_set"]]) <= set(sim.programs[name])
    assert sum(v.size for v in expimap.parameters().values()) > 1000


def test_a_model_survives_files_copies_and_pickles(scvi, sim, tmp_path):
    expected = scvi.get_latent_representation(sim.reference)
    scvi.save(tmp_path / "m.scgraft")
    with pytest.raises(FileExistsError):
        scvi.save(tmp_path / "m.scgraft")
    scvi.save(tmp_path / "m.scgraft", overwrite=True)
    for again in (sg.load(tmp_path / "m.scgraft"), pickle.loads(pickle.dumps(scvi)), copy.deepcopy(scvi)):
        assert again.reference_hash == scvi.reference_hash
        assert np.array_equal(again.get_latent_representation(sim.reference), expected)


def test_a_query_is_grafted_and_the_reference_stays(expimap, sim, tmp_path):
    mapped = expimap.map(sim.query, name="patients", max_epochs=2, progress=False)
    assert mapped.reference_hash == expimap.reference_hash and mapped.grafts == ["patients"]
    assert mapped.conditions[-2:] == ["query_1", "query_2"]
    z = mapped.get_latent_representation()
    mapped.to_adata()
    assert np.array_equal(sim.query.obsm["X_scgraft"], z)
    assert sim.query.obsm["X_scgraft_var"].shape == z.shape
    assert sim.query.varm["scgraft_weights"].shape == (sim.query.n_vars, mapped.n_latent)
    assert list(sim.query.uns["scgraft"]["programs"]) == mapped.latent_names
    mapped.adaptor.save(tmp_path / "patients.adaptor")
    attached = expimap.attach(tmp_path / "patients.adaptor")
    assert np.array_equal(attached.get_latent_representation(sim.query), z)
    assert pickle.loads(pickle.dumps(mapped.adaptor)).conditions == ["query_1", "query_2"]
    # What a model knows of itself goes along with it, its cells only within a session.
    for again in (pickle.loads(pickle.dumps(mapped)), copy.copy(mapped), copy.deepcopy(mapped)):
        assert again.adaptor.conditions == mapped.adaptor.conditions and again.report == mapped.report
        assert np.array_equal(again.get_latent_representation(sim.query), mapped.get_latent_representation())
    assert copy.copy(mapped).adata is sim.query
    # What was written is found again by AnnData.
    sim.query.write_h5ad(tmp_path / "q.h5ad")
    again = anndata.read_h5ad(tmp_path / "q.h5ad")
    assert list(again.uns["scgraft"]["programs"]) == mapped.latent_names
    assert np.array_equal(again.obsm["X_scgraft"], z)


def test_known_batches_are_encoded_without_training(scvi, sim):
    mapped = scvi.map(sim.reference, progress=False)
    assert mapped.report["fit"] is None and mapped.adaptor is None
    assert np.array_equal(mapped.get_latent_representation(), scvi.get_latent_representation(sim.reference))


def test_new_programs_of_a_query(expimap, sim):
    mapped = expimap.map(sim.query, new_programs=2, max_epochs=2, progress=False)
    assert mapped.n_latent == expimap.n_latent + 2
    sets = {"MINE": list(expimap.var_names[:12])}
    mapped = expimap.map(sim.query, new_programs=sets, n_free_programs=1, max_epochs=2, progress=False)
    assert mapped.n_latent == expimap.n_latent + 2 and "MINE" in mapped.latent_names


def test_programs_from_everything_that_people_have(sim, expimap, tmp_path):
    expected = expimap.reference_hash
    settings = dict(batch_key="batch", min_genes=5, max_epochs=4, hidden=[32], progress=False)
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("".join(f"{n}\tna\t{chr(9).join(g)}\n" for n, g in sim.programs.items()))
    long = pd.DataFrame([(n, g) for n, genes in sim.programs.items() for g in genes], columns=["source", "target"])
    index = {n: i for i, n in enumerate(sim.programs)}
    mask = pd.DataFrame(0, index=sim.reference.var_names, columns=list(index))
    for n, genes in sim.programs.items():
        mask.loc[[g for g in genes if g in mask.index], n] = 1
    sim.reference.varm["mask"] = mask
    for given in (gmt, [gmt], long, "mask"):
        assert sg.train(sim.reference, programs=given, **settings).reference_hash == expected
    with pytest.raises(sg.ScgraftError, match="source"):
        sg.train(sim.reference, programs=long.rename(columns={"source": "a", "target": "b"}), **settings)
    with pytest.raises(FileNotFoundError, match="no such entry in varm"):
        sg.train(sim.reference, programs="nowhere.gmt", **settings)


def test_normalised_expression_and_draws(scvi, sim):
    table = scvi.get_normalized_expression(sim.reference)
    assert table.shape == (400, len(scvi.var_names)) and list(table.index) == list(sim.reference.obs_names)
    assert np.allclose(table.sum(axis=1), 1, atol=1e-4)
    genes = list(scvi.var_names[:3])
    some = scvi.get_normalized_expression(sim.reference, gene_list=genes, transform_batch="reference_1", indices=[5, 0])
    assert list(some.columns) == genes and list(some.index) == list(sim.reference.obs_names[[5, 0]])
    assert scvi.get_normalized_expression(sim.reference, transform_batch="all", return_numpy=True).shape == table.shape
    draws = scvi.posterior_predictive_sample(sim.reference)
    assert draws.shape == table.shape and (draws.data == np.round(draws.data)).all()
    with pytest.raises(sg.ScgraftError, match="no condition `batch9`.*reference_1"):
        scvi.get_normalized_expression(sim.reference, transform_batch="batch9")


def test_likelihoods(scvi, sim):
    table = scvi.get_likelihood(sim.reference, n_marginal_samples=5)
    assert (table["elbo"] < 0).all() and (table["reconstruction_error"] > 0).all()
    assert table["marginal_log_likelihood"].mean() > table["elbo"].mean() - 1


def test_differential_expression(scvi, sim):
    table = scvi.differential_expression(sim.reference, groupby="cell_type", group1="type_1", n_samples=200)
    assert len(table) == len(scvi.var_names) and set(table["comparison"]) == {"rest"}
    assert {"probability", "lfc_mean", "differs", "rank"} <= set(table.columns)
    with pytest.raises(sg.ScgraftError, match="no group `nothing`.*type_1"):
        scvi.differential_expression(sim.reference, groupby="cell_type", group1="nothing")
    with pytest.raises(sg.ScgraftError, match="obs has no such column.*'cell_type'"):
        scvi.differential_expression(sim.reference, groupby="cell_typ")


def test_scanvi_starts_from_scvi_and_predicts(scvi, sim):
    model = sg.train(sim.reference, model="scanvi", start=scvi, batch_key="batch", labels_key="cell_type", max_epochs=3,
                     progress=False)  # fmt: skip
    labels = model.predict()
    assert len(labels) == 400 and set(labels) <= set(sim.reference.obs["cell_type"])
    soft = model.predict(soft=True)
    assert np.allclose(soft.sum(axis=1), 1, atol=1e-5) and list(soft.columns) == model.labels
    with pytest.raises(sg.ScgraftError, match="no classifier of its own.*scgraft.tl.annotate"):
        scvi.predict(sim.reference)


def test_totalvi_and_its_proteins(sim):
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, (400, 6))
    sim.reference.obsm["protein_expression"] = pd.DataFrame(
        counts, index=sim.reference.obs_names, columns=[f"P{i}" for i in range(6)]
    )
    model = sg.train(sim.reference, model="totalvi", batch_key="batch", hidden=[32], max_epochs=2, progress=False)
    assert model.proteins == [f"P{i}" for i in range(6)]
    assert model.get_proteins().shape == (400, 6)
    share = model.get_proteins(kind="foreground")
    assert ((share >= 0) & (share <= 1)).all().all()
    # One factor for all cells of a batch and a protein, in what is expected with background and without.
    ratios = [model.get_proteins(kind=k, efficiency=True) / model.get_proteins(kind=k) for k in ("denoised", "total")]
    by_batch = [r.groupby(sim.reference.obs["batch"].to_numpy()) for r in ratios]
    assert all((b.max() - b.min() < 1e-5).all(axis=None) for b in by_batch)
    assert np.allclose(*[b.mean() for b in by_batch], rtol=1e-5) and not np.allclose(by_batch[0].mean(), 1, rtol=1e-4)


def test_the_table_of_models():
    table = sg.models()
    assert {"expimap", "scvi", "scanvi", "totalvi"} <= set(table.index)
    assert table.loc["scanvi", "needs"] == "cell labels"


def test_anything_else_is_a_setting(sim):
    model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, latent=4, progress=False)
    assert model.n_latent == 4
    with pytest.raises(sg.ScgraftError, match="latnt"):
        sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, latnt=4, progress=False)


def test_covariates_are_found_again_by_a_model_from_a_file(sim, tmp_path):
    rng = np.random.default_rng(0)
    for adata in (sim.reference, sim.query):
        adata.obs["site"] = rng.choice(["a", "b"], adata.n_obs)
        adata.obs["age"] = rng.normal(size=adata.n_obs)
    model = sg.train(sim.reference, model="scvi", batch_key="batch", categorical_covariate_keys=["site"],
                     continuous_covariate_keys=["age"], max_epochs=1, hidden=[16], progress=False)  # fmt: skip
    model.save(tmp_path / "m.scgraft")
    again = sg.load(tmp_path / "m.scgraft")
    assert np.array_equal(again.get_latent_representation(sim.reference), model.get_latent_representation())
    assert again.map(sim.query, max_epochs=1, progress=False).get_latent_representation().shape[0] == 150


def test_proteins_are_no_duty_of_a_query(sim):
    counts = np.random.default_rng(0).poisson(5, (400, 4)).astype(np.float32)
    sim.reference.obsm["adt"] = pd.DataFrame(counts, index=sim.reference.obs_names, columns=list("ABCD"))
    model = sg.train(sim.reference, model="totalvi", batch_key="batch", protein_key="adt", hidden=[16], max_epochs=1,
                     progress=False)  # fmt: skip
    mapped = model.map(sim.query, max_epochs=1, progress=False)
    assert mapped.get_proteins().shape == (150, 4)


def test_what_the_library_tells_is_logged(scvi, sim, caplog):
    some = sim.query[:, : int(0.7 * sim.query.n_vars)].copy()
    with caplog.at_level("WARNING", logger="scgraft"):
        scvi.map(some, max_epochs=1, progress=False)
    assert any("genes" in r.getMessage() for r in caplog.records)


def test_a_model_travels(scvi, expimap, sim, tmp_path):
    mapped = scvi.map(sim.query, batch_key="batch", name="patients", max_epochs=1, progress=False)
    assert mapped.export(tmp_path / "theirs") == "SCVI"
    back = sg.import_model(tmp_path / "theirs")
    assert back.conditions == mapped.conditions and back.grafts == []
    assert SCVI.load(tmp_path / "theirs").history == {}
    assert np.array_equal(back.get_latent_representation(sim.query, batch_key="batch"), mapped.get_latent_representation())
    with pytest.raises(sg.ScgraftError, match="no class there is expimap"):
        expimap.export(tmp_path / "none")
    with pytest.raises(sg.ScgraftError, match="scvi-tools"):
        scvi.export(tmp_path / "none", to="scanpy")

    whole = scvi.bundle("cell_type", sim.reference)
    assert (whole.n_reference_cells, scvi.n_reference_cells) == (sim.reference.n_obs, 0)
    assert whole.reference_hash == scvi.reference_hash
    whole.save(tmp_path / "whole.scgraft")
    assert sg.load(tmp_path / "whole.scgraft").n_reference_cells == sim.reference.n_obs
    assert sim.reference.obs_names[0].encode() not in (tmp_path / "whole.scgraft").read_bytes()
    with pytest.raises(sg.ScgraftError, match="'cell_type'"):
        scvi.bundle("cell_typ", sim.reference)

    card = scvi.card(title="Bone marrow", authors=["Curie, Marie"], metrics={"accuracy": 0.7}, licence="CC-BY-4.0")
    assert "# Bone marrow" in card and "Curie, Marie" in card and "0.7" in card and "reference_1" in card
    with pytest.raises(sg.ScgraftError, match="author"):
        scvi.card(author="Curie, Marie")


def test_signs_of_a_network_are_said_not_to_be_taken_over(sim, caplog):
    genes = sim.programs[next(iter(sim.programs))]
    table = pd.DataFrame({"source": "TF", "target": genes, "weight": [-1.0] + [1.0] * (len(genes) - 1)})
    with caplog.at_level("WARNING", logger="scgraft"):
        sg.train(sim.reference, batch_key="batch", programs=table, max_epochs=1, hidden=[8], progress=False)
    assert f"1 of {len(genes)} genes have a 'weight' below 0" in caplog.text
