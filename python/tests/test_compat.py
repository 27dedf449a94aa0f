"""What the public tutorials of scvi-tools and scArches do, step by step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scgraft as sg
from scgraft.compat.scvi import EXPIMAP, SCANVI, SCVI, TOTALVI, LinearSCVI, NotHere, add_annotations

SMALL = dict(n_hidden=32, n_latent=6)


def test_reference_mapping_with_scvi(sim, tmp_path):
    ref, query = sim.reference, sim.query
    ref.layers["counts"], query.layers["counts"] = ref.X.copy(), query.X.copy()
    SCVI.setup_anndata(ref, layer="counts", batch_key="batch")
    model = SCVI(ref, use_layer_norm="both", use_batch_norm="none", encode_covariates=True, dropout_rate=0.2, n_layers=2,
                 **SMALL)  # fmt: skip
    assert not model.is_trained
    model.train(max_epochs=2, accelerator="cpu", plan_kwargs={"lr": 1e-3}, check_val_every_n_epoch=1)
    ref.obsm["X_scVI"] = model.get_latent_representation()
    assert ref.obsm["X_scVI"].shape == (ref.n_obs, 6) and model.is_trained
    assert {"elbo_train", "reconstruction_loss_train"} <= set(model.history)
    model.save(tmp_path / "ref", overwrite=True)
    SCVI.prepare_query_anndata(query, model)
    assert list(query.var_names) == list(model.model.var_names)
    mapped = SCVI.load_query_data(query, str(tmp_path / "ref"))
    mapped.train(max_epochs=2, plan_kwargs={"weight_decay": 0.0})
    query.obsm["X_scVI"] = mapped.get_latent_representation()
    assert query.obsm["X_scVI"].shape == (query.n_obs, 6)
    assert mapped.model.reference_hash == model.model.reference_hash
    means, variances = mapped.get_latent_representation(return_dist=True)
    assert means.shape == variances.shape
    again = SCVI.load(tmp_path / "ref", adata=ref)
    assert np.array_equal(again.get_latent_representation(), ref.obsm["X_scVI"])
    with pytest.raises(ValueError, match="not empty"):
        model.save(tmp_path / "ref")


def test_outputs_of_scvi(sim):
    SCVI.setup_anndata(sim.reference, batch_key="batch")
    model = SCVI(sim.reference, gene_likelihood="nb", **SMALL)
    model.train(2)
    normalised = model.get_normalized_expression(library_size=1e4, n_samples=2)
    assert isinstance(normalised, pd.DataFrame) and normalised.shape == sim.reference.shape
    assert isinstance(model.get_normalized_expression(return_numpy=True, gene_list=list(sim.reference.var_names[:2])),
                      np.ndarray)  # fmt: skip
    assert model.posterior_predictive_sample(n_samples=2, indices=[0, 1]).shape == (2, sim.reference.n_vars, 2)
    assert isinstance(model.get_elbo(), float)
    assert model.get_reconstruction_error()["reconstruction_loss"] > 0
    assert isinstance(model.get_marginal_ll(n_mc_samples=3), float)
    de = model.differential_expression(groupby="cell_type", group1="type_1", group2="type_2", mode="change")
    assert {"proba_de", "proba_not_de", "bayes_factor", "scale1", "scale2", "delta", "lfc_mean", "lfc_median", "lfc_std",
            "lfc_min", "lfc_max", "raw_mean1", "raw_mean2", "non_zeros_proportion1", "non_zeros_proportion2",
            "raw_normalized_mean1", "raw_normalized_mean2", "is_de_fdr_0.05", "comparison", "group1", "group2"
            } <= set(de.columns)  # fmt: skip
    assert set(de["comparison"]) == {"type_1 vs type_2"} and len(de) == sim.reference.n_vars
    de = model.differential_expression(idx1=[0, 1, 2, 3], idx2=list(range(10, 30)))
    assert {"proba_m1", "proba_m2", "bayes_factor"} <= set(de.columns)
    rest = model.differential_expression(groupby="cell_type")
    assert "type_1 vs Rest" in set(rest["comparison"])
    sim.reference.obs["cluster"] = pd.Categorical(np.arange(sim.reference.n_obs) % 3)
    numbered = model.differential_expression(groupby="cluster", group1=0, group2=2)
    first = np.asarray(sim.reference.X[::3].mean(axis=0)).ravel()
    assert np.allclose(numbered["raw_mean1"], first[sim.reference.var_names.get_indexer(numbered.index)])


def test_scanvi_from_scvi(sim):
    ref, query = sim.reference, sim.query
    SCVI.setup_anndata(ref, batch_key="batch", labels_key="cell_type")
    scvi = SCVI(ref, **SMALL)
    scvi.train(max_epochs=2)
    model = SCANVI.from_scvi_model(scvi, unlabeled_category="Unknown")
    model.train(max_epochs=2, n_samples_per_label=100)
    labels = model.predict()
    assert isinstance(labels, np.ndarray) and len(labels) == ref.n_obs
    query.obs["cell_type"] = "Unknown"
    mapped = SCANVI.load_query_data(query, model)
    mapped.train(max_epochs=2, plan_kwargs={"weight_decay": 0.0})
    soft = mapped.predict(soft=True)
    assert list(soft.columns) == model.model.labels and len(soft) == query.n_obs


def test_totalvi(sim):
    rng = np.random.default_rng(1)
    for adata in (sim.reference, sim.query):
        adata.obsm["protein_expression"] = pd.DataFrame(
            rng.poisson(4, (adata.n_obs, 5)), index=adata.obs_names, columns=list("ABCDE")
        )
    TOTALVI.setup_anndata(sim.reference, batch_key="batch", protein_expression_obsm_key="protein_expression")
    model = TOTALVI(sim.reference, **SMALL)
    model.train(max_epochs=2)
    rna, protein = model.get_normalized_expression(n_samples=1)
    assert rna.shape == sim.reference.shape and protein.shape == (sim.reference.n_obs, 5)
    assert list(model.get_protein_foreground_probability(protein_list=["A", "B"]).columns) == ["A", "B"]
    mapped = TOTALVI.load_query_data(sim.query, model)
    mapped.train(max_epochs=2)
    assert mapped.get_latent_representation().shape == (sim.query.n_obs, 6)


def test_expimap(sim, tmp_path):
    ref, query = sim.reference, sim.query
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("".join(f"{n}\tna\t{chr(9).join(g)}\n" for n, g in sim.programs.items()))
    add_annotations(ref, str(gmt), min_genes=5, clean=True)
    ref._inplace_subset_var(ref.varm["I"].sum(1) > 0)
    model = EXPIMAP(adata=ref, condition_key="batch", hidden_layer_sizes=[32, 32], recon_loss="nb")
    model.train(n_epochs=3, alpha_epoch_anneal=2, alpha=0.7, alpha_kl=0.5, weight_decay=0.0, use_early_stopping=True,
                early_stopping_kwargs={"patience": 50}, seed=2020)  # fmt: skip
    assert len(model.terms) == len(ref.uns["terms"])
    query._inplace_subset_var(ref.var_names)
    mapped = EXPIMAP.load_query_data(query, model, new_n_ext=1)
    mapped.train(n_epochs=2, alpha_kl=0.1, use_early_stopping=False)
    z = mapped.get_latent(mean=True)
    assert z.shape == (query.n_obs, len(model.terms) + 1)
    directions = mapped.latent_directions()
    assert directions.shape == (z.shape[1],)
    mapped.latent_directions(adata=query)
    assert len(query.uns["directions"]) == z.shape[1]
    mapped.latent_enrich("condition", comparison="control")
    scores = query.uns["bf_scores"]["stimulated"]
    assert len(scores["bf"]) == z.shape[1] and np.allclose(scores["p_h0"] + scores["p_h1"], 1)
    assert mapped.get_latent(only_active=True, mean=True).shape[1] == len(mapped.nonzero_terms())


def test_linear_decoder(sim):
    LinearSCVI.setup_anndata(sim.reference, batch_key="batch")
    model = LinearSCVI(sim.reference, n_latent=4, n_hidden=16)
    model.train(max_epochs=1)
    assert model.get_latent_representation().shape == (400, 4)


def test_what_is_not_here_names_what_to_use(sim):
    SCVI.setup_anndata(sim.reference, batch_key="batch")
    model = SCVI(sim.reference)
    with pytest.raises(NotHere, match="get_normalized_expression"):
        model.get_feature_correlation_matrix
    assert not hasattr(model, "something_else")
    with pytest.raises(NotHere, match="size_factor_key"):
        SCVI.setup_anndata(sim.reference, size_factor_key="n")
    with pytest.raises(sg.ScgraftError, match="not trained yet"):
        model.get_latent_representation()
    with pytest.raises(sg.ScgraftError, match="setup_anndata"):
        SCVI(sim.query)
    with pytest.raises(sg.ScgraftError, match="no argument 'max_epoch'"):
        model.train(max_epoch=3)
    with pytest.raises(NotHere, match="plan_kwargs"):
        model.train(max_epochs=1, plan_kwargs={"optimizer_creator": None})


def test_one_import_changes(sim, monkeypatch):
    import scgraft.compat.scvi as scvi

    sca = scvi
    for name in ("seed", "threads", "verbosity"):
        monkeypatch.setattr(sg.settings, name, getattr(sg.settings, name))
    scvi.settings.seed, scvi.settings.num_threads, scvi.settings.verbosity, scvi.settings.dl_num_workers = 3, 1, 30, 4
    assert (sg.settings.seed, sg.settings.threads, sg.settings.verbosity) == (3, 1, 1) == (
        scvi.settings.seed, scvi.settings.num_threads, sg.settings.verbosity)  # fmt: skip
    scvi.model.SCVI.setup_anndata(sim.reference, batch_key="batch")
    assert scvi.model.SCVI is SCVI and sca.models.EXPIMAP is EXPIMAP and "SCANVI" in dir(scvi.model)
    sca.utils.add_annotations(sim.reference, sim.programs, min_genes=5)
    assert callable(sca.plotting.plot_abs_bfs)
    with pytest.raises(NotHere, match="MULTIVI is not here: there is no model of accessibility"):
        scvi.model.MULTIVI.setup_anndata(sim.reference)
    with pytest.raises(NotHere, match="scvi.model.SCVII is not here: there are: 'SCVI'"):
        scvi.model.SCVII
    with pytest.raises(sg.ScgraftError, match="data is not here: read files with anndata"):
        scvi.data.heart_cell_atlas_subsampled()
    with pytest.raises(sg.ScgraftError, match="PEAKVI is not here"):
        from scgraft.compat.scvi import PEAKVI  # noqa: F401


def test_names_of_programs_are_cleaned_one_by_one(sim):
    genes = list(sim.reference.var_names[:20])
    long = "INTERFERON_ALPHA_BETA_SIGNALING"
    names = ["REACTOME_" + long, "REACTOME_A_NAME_OF_MORE_THAN_THIRTY_LETTERS_1", "REACTOME_A_NAME_OF_MORE_THAN_THIRTY_LETTERS_2",
             "REACTOME_APOPTOSIS", "KEGG_APOPTOSIS"]  # fmt: skip
    add_annotations(sim.reference, dict.fromkeys(names, genes))
    expected = [long[:30], *(n.split("_", 1)[1] for n in names[1:3]), *names[3:]]
    assert sim.reference.uns["terms"] == expected


def test_wrong_uses_are_told_in_their_words(sim, tmp_path):
    SCVI.setup_anndata(sim.reference, batch_key="batch")
    model = SCVI(sim.reference, **SMALL)
    model.train(max_epochs=1)
    model.save(tmp_path / "model")
    wrong = {
        "n_hidden: expected a whole number": lambda: SCVI(sim.reference, n_hidden="many"),
        "n_latent: expected a whole number": lambda: SCVI(sim.reference, n_latent="many"),
        "dropout_rate: expected a number": lambda: SCVI(sim.reference, dropout_rate="some"),
        "batch_size: expected a whole number": lambda: SCVI(sim.reference).train(max_epochs=1, batch_size="many"),
        "train_size=2.0: expected a share": lambda: SCVI(sim.reference).train(max_epochs=1, train_size=2),
        "give overwrite=True": lambda: model.save(tmp_path / "model"),
        "expected an AnnData or a MuData, found None": lambda: SCVI.load_query_data(None, model),
        "expected a trained model, found AnnData": lambda: SCVI.load_query_data(sim.query, sim.reference),
        "SCVI.histroy is not here: there are: 'history'": lambda: model.histroy,
        "SCVI.trainer is not here: history has the fit": lambda: model.trainer,
    }
    for words, use in wrong.items():
        with pytest.raises(sg.ScgraftError, match=words):
            use()
