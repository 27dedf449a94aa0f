"""Functions over an AnnData, and scanpy's own readers and plots on what they write."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import scgraft as sg


def test_neighbours_clusters_and_pictures_are_scanpys(sim):
    adata = sim.reference
    sg.tl.pca(adata, n_comps=10)
    sg.tl.neighbors(adata, use_rep="X_pca")
    sg.tl.leiden(adata, resolution=0.5)
    sg.tl.umap(adata, use_rep="X_pca", max_epochs=30)
    assert adata.obs["leiden"].dtype == "category"
    sc.pl.umap(adata, color=["leiden", "cell_type"], show=False)
    sc.pl.pca(adata, color="cell_type", show=False)
    sc.tl.leiden(adata, key_added="theirs", flavor="igraph", n_iterations=2, directed=False)
    sc.tl.umap(adata, maxiter=10)
    theirs = sc.Neighbors(adata)
    assert theirs.connectivities.shape == (adata.n_obs, adata.n_obs)
    before = adata.obsp["connectivities"].copy()
    sc.pp.neighbors(adata, use_rep="X_pca", n_neighbors=15, method="umap")
    same = (before > 0).multiply(adata.obsp["connectivities"] > 0).sum() / (before > 0).sum()
    assert same > 0.95
    sg.tl.leiden(adata, resolution=[0.2, 1.0], key_added="c")
    assert {"c_0.2", "c_1"} <= set(adata.obs)
    assert sg.metrics.nmi(adata.obs["leiden"], adata.obs["cell_type"]) > 0.2


def test_ranked_genes_are_scanpys(sim):
    adata = sim.reference
    sg.tl.rank_genes_groups(adata, "cell_type", key_added="ours")
    table = sc.get.rank_genes_groups_df(adata, group="type_1", key="ours")
    assert len(table) == adata.n_vars
    sc.pl.rank_genes_groups(adata, key="ours", show=False)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.tl.rank_genes_groups(adata, "cell_type", method="wilcoxon", key_added="theirs")
    theirs = sc.get.rank_genes_groups_df(adata, group="type_1", key="theirs").set_index("names")
    ours = table.set_index("names").loc[theirs.index]
    assert np.allclose(ours["scores"], theirs["scores"], atol=1e-3)
    assert np.allclose(ours["logfoldchanges"], theirs["logfoldchanges"], rtol=1e-2, atol=1e-2)


def test_variable_genes_are_scanpys(sim):
    adata = sim.reference
    theirs = adata.copy()
    sc.pp.normalize_total(theirs, target_sum=1e4)
    sc.pp.log1p(theirs)
    sc.pp.highly_variable_genes(theirs, n_top_genes=100, flavor="seurat")
    sg.pp.highly_variable_genes(adata, n_top_genes=100, flavor="seurat")
    assert (adata.var["highly_variable"] == theirs.var["highly_variable"]).mean() > 0.98
    sg.pp.highly_variable_genes(adata, n_top_genes=50, batch_key="batch", subset=True)
    assert adata.n_vars == 50


def test_copies_leave_the_original_alone(sim, scvi):
    out = sg.tl.map(sim.query, scvi, max_epochs=1, progress=False, copy=True)
    assert "X_scgraft" in out.obsm and "X_scgraft" not in sim.query.obsm


def test_labels_are_carried_over(mapped):
    sg.tl.annotate(mapped.query, mapped.reference, labels="cell_type")
    q = mapped.query
    assert {"cell_type_pred", "cell_type_best", "cell_type_uncertainty", "cell_type_novelty", "scgraft_distance"} <= set(q.obs)
    p = q.obsm["cell_type_probabilities"]
    assert isinstance(p, pd.DataFrame) and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    sg.tl.annotate(q, mapped.reference, labels="cell_type", unknown=0.3, coverage=np.float32(0.9), calibrate="temperature")
    assert "cell_type_set" in q.obs
    with pytest.raises(sg.ScgraftError, match="kernel="):
        sg.tl.annotate(q, mapped.reference, kernel="round")


def test_programs_are_tested(mapped, tmp_path):
    q = mapped.query
    sg.tl.enrich(q, groupby="condition", groups="stimulated", reference="control")
    table = sg.get.enrich_df(q)
    assert set(table["group"]) == {"stimulated"} and table["rank"].iloc[0] == 1
    sg.tl.enrich(q, groupby="condition", reference="control", within="cell_type", min_cells=3, key_added="within")
    assert sg.get.enrich_df(q, key="within")["within"].nunique() > 1
    sg.tl.enrich(q, groupby="condition", programs=mapped.programs, key_added="classical")
    assert "camera_p_adjusted" in sg.get.enrich_df(q, key="classical")
    scores = sg.get.program_scores(q)
    assert scores.shape[0] == q.n_obs
    assert sg.get.weights_df(q).shape[0] == q.n_vars
    with pytest.raises(sg.ScgraftError, match="groups='treated': 'condition' has no such value"):
        sg.tl.enrich(q, groupby="condition", groups="treated")
    q.write_h5ad(tmp_path / "q.h5ad")
    assert len(sg.get.enrich_df(sc.read_h5ad(tmp_path / "q.h5ad"), key="within")) > 0


def test_embeddings_stand_under_other_names(sim, expimap):
    sg.tl.map(sim.query, expimap, key_added="X_mine", max_epochs=1, progress=False)
    assert "X_scgraft" not in sim.query.obsm and "scgraft" not in sim.query.uns
    assert list(sg.get.program_scores(sim.query, use_rep="X_mine", active=False).columns) == expimap.latent_names
    sg.tl.enrich(sim.query, groupby="condition", use_rep="X_mine", key_added="t")
    assert len(sg.get.enrich_df(sim.query, use_rep="X_mine"))
    sc.pp.neighbors(sim.query, use_rep="X_mine")


def test_a_query_is_placed_in_its_references_picture(mapped):
    sg.tl.umap(mapped.reference, max_epochs=30)
    sg.tl.umap(mapped.query, mapped.reference)
    assert mapped.query.obsm["X_umap"].shape == (mapped.query.n_obs, 2)


def test_embeddings_are_compared(mapped):
    table = sg.tl.evaluate(mapped.query, mapped.reference, batch_key="batch", labels_key="cell_type", resolutions=[1.0],
                           kbet_neighbors=20, lisi_neighbors=30)  # fmt: skip
    assert table.index.tolist() == ["X_scgraft"] and "Overall" in table
    assert sg.pl.evaluate_svg(table)._repr_svg_().startswith("<svg")
    one_each = sg.tl.evaluate(mapped.query, mapped.reference, labels_key="cell_type", resolutions=[1.0], before=None)
    assert 0 <= one_each["kBET"].item() < 1


def test_pictures(mapped, expimap, tmp_path):
    q = mapped.query
    sg.tl.umap(q, max_epochs=20)
    sg.tl.enrich(q, groupby="condition", groups="stimulated", reference="control")
    assert sg.pl.umap(q, color="cell_type").get_title() == "cell_type"
    sg.pl.umap(q, color=expimap.latent_names[0])
    sg.pl.umap(q, color=str(q.var_names[0]))
    sg.pl.enriched(q)
    sg.pl.programs(q, "cell_type")
    sg.pl.program(expimap, expimap.programs().query("active").index[0])
    ax = plt.subplots()[1]
    assert sg.pl.history(expimap, ax=ax) is ax
    assert sg.pl.enrich_svg(q)._repr_svg_().startswith("<svg")
    sg.pl.history_svg(expimap).save(tmp_path / "h.svg")
    page = sg.tl.report(q, tmp_path / "r.html", model=expimap)
    assert "<iframe" in page._repr_html_() and (tmp_path / "r.html").stat().st_size > 10_000
    with pytest.raises(sg.ScgraftError, match="neither a column of obs.*; genes: .*; programs: "):
        sg.pl.umap(q, color="nothing")


def test_metrics_of_labels():
    assert sg.metrics.ari(["a", "b", "a"], ["x", "y", "x"]) == 1
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    labels, batches = ["a", "b"] * 30, ["x"] * 30 + ["y"] * 30
    assert 0 <= sg.metrics.silhouette(x, labels) <= 1
    assert 0 <= sg.metrics.silhouette(x, labels, batches) <= 1
