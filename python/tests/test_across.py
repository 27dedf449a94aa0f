"""A query with its reference: tests across both, joined cells, models that bring their cells."""

from __future__ import annotations

import os

import anndata
import numpy as np
import pandas as pd
import pytest

import scgraft as sg


def test_joined_cells(mapped):
    both = sg.tl.join(mapped.query, mapped.reference)
    n = mapped.reference.n_obs
    assert both.n_obs == n + mapped.query.n_obs
    assert list(both.obs["scgraft_origin"][:n].unique()) == ["reference"]
    assert np.array_equal(both.obsm["X_scgraft"][n:], mapped.query.obsm["X_scgraft"])
    assert (both.X[n:] != mapped.query[:, both.var_names].X).nnz == 0
    # A label that was carried over is the reference's own there.
    assert list(both.obs["cell_type_pred"][:n].astype(str)) == list(mapped.reference.obs["cell_type"].astype(str))


def test_enrich_with_the_reference_is_enrich_of_joined_cells(mapped):
    query, reference = mapped.query, mapped.reference
    sg.tl.enrich(query, reference, within="cell_type_pred", min_cells=3)
    found = sg.get.enrich_df(query)
    both = sg.tl.join(query, reference)
    sg.tl.enrich(both, groupby="scgraft_origin", groups="query", versus="reference", within="cell_type_pred", min_cells=3)
    pd.testing.assert_frame_equal(found, sg.get.enrich_df(both), check_exact=True)
    # Groups of the query against all of the reference.
    sg.tl.enrich(query, reference, groupby="condition", groups="stimulated", versus="reference", key_added="stimulated")
    table = sg.get.enrich_df(query, key="stimulated")
    assert set(table["n_comparison"]) == {reference.n_obs}
    assert set(table["n_group"]) == {int((query.obs["condition"] == "stimulated").sum())}


def test_unknown_cells(mapped):
    query = mapped.query
    unknown = (query.obs["cell_type"] == mapped.truth["novel_type"]).to_numpy()
    known = query.obs["cell_type_best"].astype(str)
    query.obs["cell_type_pred"] = np.where(unknown, "Unknown", known)
    sg.tl.enrich(query, unknown=True)
    table = sg.get.enrich_df(query)
    assert set(table["n_group"]) == {int(unknown.sum())} and set(table["comparison"]) == {"known"}
    sg.tl.enrich(query, mapped.reference, unknown="cell_type", n_neighbors=3, key_added="near")
    assert set(sg.get.enrich_df(query, key="near")["comparison"]) == {"nearest of the reference"}
    with pytest.raises(sg.ScgraftError, match="leave groupby"):
        sg.tl.enrich(query, unknown=True, groupby="condition")
    del query.obs["cell_type_pred"]
    with pytest.raises(sg.ScgraftError, match="no labels were carried over.*scgraft.tl.annotate"):
        sg.tl.enrich(query, unknown=True)


def test_gene_sets_beside_it_across_both(mapped):
    query, reference = mapped.query, mapped.reference
    sg.tl.enrich(query, reference, programs=mapped.programs, key_added="sets")
    assert {"cerno_p_adjusted", "camera_p_adjusted"} <= set(sg.get.enrich_df(query, key="sets").columns)
    reference.X = reference.X * 0.5
    with pytest.raises(sg.ScgraftError, match="X: expected the expression of the query and of the reference"):
        sg.tl.enrich(query, reference, programs=mapped.programs)


def test_a_model_that_brings_its_cells(mapped, expimap, tmp_path):
    bundle = expimap.bundle("cell_type", mapped.reference)
    bundle.save(tmp_path / "atlas.scgraft")
    plain = mapped.query.copy()
    sg.tl.annotate(plain, bundle)
    again = mapped.query.copy()
    sg.tl.annotate(again, tmp_path / "atlas.scgraft")
    assert (plain.obs["cell_type_pred"] == again.obs["cell_type_pred"]).all()
    same = (plain.obs["cell_type_pred"].astype(str) == mapped.query.obs["cell_type_pred"].astype(str)).mean()
    assert same > 0.97, "positions are kept on a grid"
    sg.tl.enrich(plain, bundle, key_added="bundle")
    assert set(sg.get.enrich_df(plain, key="bundle")["comparison"]) == {"reference"}
    # A picture that the bundle brings is the one that cells are placed in.
    sg.tl.umap(mapped.reference, max_epochs=20, key_added="X_scgraft_umap")
    bundle = expimap.bundle("cell_type", mapped.reference)
    sg.tl.umap(plain, bundle, max_epochs=20)
    placed = plain.obsm["X_umap"].copy()
    sg.tl.umap(plain, mapped.reference, max_epochs=20, key_added="X_scgraft_umap")
    assert np.median(np.abs(plain.obsm["X_scgraft_umap"] - placed)) < 0.2, "positions are kept on a grid"
    with pytest.raises(sg.ScgraftError, match="does not bring its cells.*model.bundle"):
        sg.tl.annotate(plain, expimap)


def test_truth_and_names_of_labels(mapped):
    query = mapped.query
    query.obs["given"] = ["t " + c for c in query.obs["cell_type"].astype(str)]
    sg.tl.annotate(query, mapped.reference, truth="given", label_map={f"t type_{i}": f"type_{i}" for i in range(1, 9)})
    right = query.obs["cell_type_verdict"] == "right"
    agree = query.obs["given"].str.removeprefix("t ") == query.obs["cell_type_pred"].astype(str)
    assert (right == agree).all() and right.any()
    sg.tl.annotate(query, mapped.reference, programs="PROGRAM*" if any(n.startswith("PROGRAM") for n in mapped.programs) else "*")


def test_programs_are_chosen_by_name(sim):
    names = list(sim.programs)
    model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, only_programs=names[:6],
                     exclude_programs=names[0], max_epochs=1, hidden=[16], progress=False)  # fmt: skip
    assert set(model.latent_names) <= set(names[1:6])
    with pytest.raises(sg.ScgraftError, match="NOTHING"):
        sg.train(sim.reference, batch_key="batch", programs=sim.programs, only_programs="NOTHING*", progress=False)


def test_corrected_counts_and_names_of_genes(sim):
    corrected = sim.reference.copy()
    corrected.X = corrected.X * 1.0
    corrected.X.data[::50] += 0.25
    given = dict(model="scvi", batch_key="batch", max_epochs=1, hidden=[16], n_top_genes=None, progress=False)
    with pytest.raises(sg.ScgraftError, match="0.25|whole"):
        sg.train(corrected, fractions="refuse", **given)
    rounded = sg.train(corrected, fractions="round", **given)
    assert rounded.get_latent_representation().shape[0] == corrected.n_obs
    with pytest.raises(sg.ScgraftError, match='fractions=: expected "accept"'):
        sg.train(corrected, fractions="floor", **given)
    versions = sim.reference.copy()
    versions.var_names = [f"{g}.{i % 9 + 1}" for i, g in enumerate(versions.var_names)]
    model = sg.train(sim.reference, **given)
    mapped = model.map(sim.query, gene_names="strip-version", max_epochs=1, progress=False)
    query = sim.query.copy()
    query.var_names = [f"{g}.1" for g in query.var_names]
    again = model.map(query, gene_names="strip-version", max_epochs=1, progress=False)
    assert np.array_equal(mapped.get_latent_representation(), again.get_latent_representation())
    # The model remembers it: cells of the query are encoded without saying so again.
    assert np.array_equal(again.get_latent_representation(query), again.get_latent_representation())


@pytest.fixture
def client(monkeypatch):
    """A client of Dask with a worker in this process, which counts what it was asked for."""
    from dask.distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        own, asked = client.compute, []
        monkeypatch.setattr(client, "compute", lambda block: asked.append(block) or own(block))
        client.asked = asked
        yield client


def test_a_dask_client_computes_the_blocks(sim, client):
    import dask.array as da

    given = dict(model="scvi", batch_key="batch", max_epochs=1, hidden=[16], n_top_genes=None, progress=False)
    plain = sg.train(sim.reference, **given)
    lazy = sim.reference.copy()
    lazy.X = da.from_array(sim.reference.X.toarray(), chunks=(100, -1))
    model = sg.train(lazy, client=client, **given)
    assert len(client.asked) == 4
    assert all(np.array_equal(v, plain.parameters()[k]) for k, v in model.parameters().items())
    with pytest.raises(sg.ScgraftError, match="blocks of a Dask array, and X is a csr_matrix"):
        sg.train(sim.reference, client=client, **given)
    with pytest.raises(sg.ScgraftError, match="expected a client of dask.distributed, found str"):
        sg.train(lazy, client="tcp://here", **given)


def test_cards_and_services(expimap, sim, tmp_path):
    mapped = expimap.map(sim.query, max_epochs=1, progress=False)
    card = mapped.adaptor.card(title="Patients", reference="zenodo:1234567", metrics={"accuracy": 0.7})
    assert "# Patients" in card and "zenodo:1234567" in card
    with pytest.raises(sg.ScgraftError, match="words='autors': a card has no such word.*'authors'"):
        expimap.card(autors=["Curie, Marie"])
    expimap.save(tmp_path / "m.scgraft")
    with pytest.raises(sg.ScgraftError, match="hf:ORG/NAME"):
        sg.hub.push(tmp_path / "m.scgraft", "my shelf")
    with pytest.raises(sg.ScgraftError, match="private=True is for Hugging Face"):
        sg.hub.push(tmp_path / "m.scgraft", "zenodo", private=True)
    (tmp_path / "text").write_text("text")
    with pytest.raises(sg.ScgraftError, match="none of these files"):
        sg.hub.push({"a": tmp_path / "text"}, "zenodo")
    with pytest.raises(sg.ScgraftError, match="no address"):
        sg.hub.pull("atlas.scgraft")


@pytest.mark.skipif("SCGRAFT_TEST_TOKENS" not in os.environ, reason="no services on this machine: cargo test starts them")
@pytest.mark.parametrize("to", ["zenodo", "hf:lab/atlas"])
def test_a_model_goes_round_by_a_service(expimap, sim, tmp_path, monkeypatch, to):
    tokens = dict(zip(("ZENODO_TOKEN", "HF_TOKEN"), os.environ["SCGRAFT_TEST_TOKENS"].split(), strict=True))
    expimap.save(tmp_path / "m.scgraft")
    words = {"title": "A tiny atlas", "authors": ["Curie, Marie"], "licence": "CC-BY-4.0"}
    monkeypatch.setenv("SCGRAFT_CACHE", str(tmp_path / "sender"))
    with pytest.raises(sg.ScgraftError, match="ZENODO_TOKEN" if to == "zenodo" else "HF_TOKEN"):
        sg.hub.push(tmp_path / "m.scgraft", to, **words)
    for name, token in tokens.items():
        monkeypatch.setenv(name, token)
    made = sg.hub.push(tmp_path / "m.scgraft", to, version="1.0", **words)
    for name in tokens:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SCGRAFT_CACHE", str(tmp_path / "reader"))
    name = "m.scgraft" if to == "zenodo" else "model.safetensors"
    assert {name, "README.md"} <= set(sg.hub.listing(made["address"]).index)
    found = sg.hub.pull(made["address"], tmp_path / "pulled.scgraft")
    assert (tmp_path / "pulled.scgraft").read_bytes() == (tmp_path / "m.scgraft").read_bytes(), found
    again = sg.load(made["address"])
    assert np.array_equal(again.get_latent_representation(sim.reference), expimap.get_latent_representation(sim.reference))


def test_across_files_is_the_command_lines(mapped, tmp_path, cli):
    mapped.reference.write_h5ad(tmp_path / "r.h5ad")
    mapped.query.write_h5ad(tmp_path / "q.h5ad")

    cli("enrich", tmp_path / "q.h5ad", "--reference", tmp_path / "r.h5ad", "--within", "cell_type_pred", "-o",
        tmp_path / "e.h5ad")  # fmt: skip
    sg.tl.enrich(mapped.query, mapped.reference, within="cell_type_pred")
    theirs = sg.get.enrich_df(anndata.read_h5ad(tmp_path / "e.h5ad"))
    ours = sg.get.enrich_df(mapped.query)
    assert np.array_equal(ours["log_bayes_factor"], theirs["log_bayes_factor"])
    # Of several tests the command line, a picture and a table take the same one, whichever was made last.
    sg.tl.enrich(mapped.query, groupby="condition", groups="stimulated", versus="control")
    sg.tl.enrich(mapped.query, groupby="cell_type_pred", min_cells=3)
    mapped.query.write_h5ad(tmp_path / "several.h5ad")
    cli("plot", "bayes", tmp_path / "several.h5ad", "-o", tmp_path / "b.svg")
    assert sg.pl.enrich_svg(mapped.query).svg == (tmp_path / "b.svg").read_text()
    for cells in (mapped.query, anndata.read_h5ad(tmp_path / "several.h5ad")):
        assert set(sg.get.enrich_df(cells)["group"]) == {"stimulated"}
    assert list(ours["program"].astype(str)) == list(theirs["program"].astype(str))
    cli("join", tmp_path / "q.h5ad", "--reference", tmp_path / "r.h5ad", "-o", tmp_path / "j.h5ad")
    joined = anndata.read_h5ad(tmp_path / "j.h5ad")
    both = sg.tl.join(mapped.query, mapped.reference)
    assert (both.X != joined.X).nnz == 0 and list(both.obs_names) == list(joined.obs_names)
    mapped.reference.write_zarr(tmp_path / "r.zarr")
    assert list(sg.tl.join(mapped.query, tmp_path / "r.zarr").obs_names) == list(joined.obs_names)
    cli("plot", "violin", tmp_path / "q.h5ad", mapped.query.var_names[0], "--groups", "cell_type", "-o", tmp_path / "v.svg")
    drawn = sg.pl.draw("violin", mapped.query, names=mapped.query.var_names[0], groupby="cell_type")
    assert drawn.svg == (tmp_path / "v.svg").read_text()


def test_groups_named_by_numbers_and_columns_of_anything(mapped):
    query = mapped.query
    query.obs["cluster"] = pd.Categorical(np.arange(query.n_obs) % 3)
    query.obs["lists"] = [[i, "x"] for i in range(query.n_obs)]
    sg.tl.enrich(query, groupby="cluster", groups=[0, 1], versus=2)
    assert set(sg.get.enrich_df(query, 0)["group"]) == {"0"}
    sg.tl.rank_genes_groups(query, "cluster", groups=[0], reference=1)
    assert query.uns["rank_genes_groups"]["names"].dtype.names == ("0",)
    assert "<canvas" in sg.pl.map(query, color="cluster").html
