"""The public tutorials of scvi-tools and scArches on reference mapping, step by step through ``scgraft.compat.scvi``.

Names of calls and arguments are theirs, the data is simulated, and fits are short. Each step works, or names what to use.
"""

from __future__ import annotations

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import scgraft as sg
from scgraft.compat.scvi import EXPIMAP, SCANVI, SCVI, TOTALVI, TRVAE, NotHere, add_annotations, plot_abs_bfs, scPoli

ARCHES = dict(use_layer_norm="both", use_batch_norm="none", encode_covariates=True, dropout_rate=0.2, n_layers=2)
EARLY = {"early_stopping_metric": "val_unweighted_loss", "threshold": 0, "patience": 50, "reduce_lr": True,
         "lr_patience": 13, "lr_factor": 0.1}  # fmt: skip


@pytest.fixture
def studies(sim):
    """A reference and a query with counts in X and a layer, as the tutorials have them."""
    for adata in (sim.reference, sim.query):
        adata.layers["counts"] = adata.X.copy()
        adata.obs["tech"] = adata.obs["batch"].astype(str)
        adata.obs["celltype"] = adata.obs["cell_type"].astype(str)
    return sim


def test_scvi_tools_reference_mapping_with_scvi(studies, tmp_path):
    ref, query = studies.reference, studies.query
    sc.pp.normalize_total(ref)
    sc.pp.log1p(ref)
    sc.pp.highly_variable_genes(ref, n_top_genes=300, batch_key="tech", subset=True)
    query = query[:, ref.var_names].copy()
    SCVI.setup_anndata(ref, batch_key="tech", layer="counts")
    model = SCVI(ref, **ARCHES)
    model.view_anndata_setup()
    model.train(max_epochs=2)
    ref.obsm["X_scVI"] = model.get_latent_representation()
    sc.pp.neighbors(ref, use_rep="X_scVI")
    sc.tl.leiden(ref, flavor="igraph", n_iterations=2)
    folder = tmp_path / "ref_model"
    model.save(folder, overwrite=True)

    # Both ways: with the folder, and with the model; a query whose genes come in another order.
    query = query[:, query.var_names[::-1]].copy()
    SCVI.prepare_query_anndata(query, folder)
    assert list(query.var_names) == list(ref.var_names)
    SCVI.prepare_query_anndata(query, model)
    mapped = SCVI.load_query_data(query, folder)
    mapped.train(max_epochs=2, plan_kwargs={"weight_decay": 0.0})
    query.obsm["X_scVI"] = mapped.get_latent_representation()
    assert query.obsm["X_scVI"].shape == (query.n_obs, 10)

    full = anndata.concat([query, ref])
    full.obsm["X_scVI"] = mapped.get_latent_representation(full)
    # The reference has not moved: surgery trains the query's weights alone.
    assert np.array_equal(full.obsm["X_scVI"][query.n_obs:], ref.obsm["X_scVI"])
    assert np.allclose(full.obsm["X_scVI"][: query.n_obs], query.obsm["X_scVI"], atol=1e-5)


def test_scvi_tools_reference_mapping_with_scanvi(studies, tmp_path):
    ref, query = studies.reference, studies.query
    SCVI.setup_anndata(ref, batch_key="tech", layer="counts")
    vae = SCVI(ref, **ARCHES)
    vae.train(max_epochs=2)
    ref.obs["labels_scanvi"] = ref.obs["celltype"].values
    model = SCANVI.from_scvi_model(vae, unlabeled_category="Unknown", labels_key="labels_scanvi")
    assert len(model._labeled_indices) == ref.n_obs and len(model._unlabeled_indices) == 0
    model.train(max_epochs=3, n_samples_per_label=100)
    ref.obsm["X_scANVI"] = model.get_latent_representation()
    folder = tmp_path / "scanvi"
    model.save(folder, overwrite=True)

    query.obs["labels_scanvi"] = "Unknown"
    SCANVI.prepare_query_anndata(query, folder)
    mapped = SCANVI.load_query_data(query, folder)
    assert len(mapped._unlabeled_indices) == query.n_obs
    mapped.train(max_epochs=2, plan_kwargs={"weight_decay": 0.0}, check_val_every_n_epoch=10)
    query.obsm["X_scANVI"] = mapped.get_latent_representation()
    query.obs["predicted"] = mapped.predict()
    assert set(query.obs["predicted"]) <= set(ref.obs["celltype"])
    full = anndata.concat([query, ref])
    full.obs["predicted"] = mapped.predict(full)
    table = full.obs.groupby(["celltype", "predicted"]).size().unstack(fill_value=0)
    assert table.to_numpy().sum() == full.n_obs


def test_scarches_surgery_pipelines(studies, tmp_path):
    ref, query = studies.reference, studies.query
    ref.X, query.X = ref.X.toarray(), query.X.toarray()
    SCVI.setup_anndata(ref, batch_key="tech", labels_key="celltype")
    vae = SCVI(ref, n_layers=2, encode_covariates=True, deeply_inject_covariates=False, use_layer_norm="both",
               use_batch_norm="none")  # fmt: skip
    vae.train(max_epochs=2)
    scanvae = SCANVI.from_scvi_model(vae, unlabeled_category="Unknown")
    scanvae.train(max_epochs=2)
    scanvae.save(str(tmp_path / "ref"), overwrite=True)
    # The query has labels of its own, which the tutorial does not let the model see.
    query.obs["celltype"] = [c if c in set(ref.obs["celltype"]) else "Unknown" for c in query.obs["celltype"]]
    model = SCANVI.load_query_data(query, str(tmp_path / "ref"), freeze_dropout=True)
    model._unlabeled_indices = np.arange(query.n_obs)
    model._labeled_indices = []
    assert len(model._labeled_indices) == 0 and len(model._unlabeled_indices) == query.n_obs
    model.train(max_epochs=2, plan_kwargs=dict(weight_decay=0.0), check_val_every_n_epoch=10)
    model.save(str(tmp_path / "surgery"), overwrite=True)
    full = anndata.concat([ref, query])
    latent = anndata.AnnData(model.get_latent_representation(adata=full))
    assert latent.shape == (full.n_obs, 10)
    assert len(model.predict(adata=full)) == full.n_obs
    with pytest.raises(NotHere, match="unlabeled_category"):
        model._labeled_indices = [0, 1]


def test_totalvi_reference_mapping(studies, tmp_path):
    ref, query = studies.reference, studies.query
    rng = np.random.default_rng(0)
    names = [f"P{i}" for i in range(6)]
    ref.obsm["protein_counts"] = pd.DataFrame(rng.poisson(5, (ref.n_obs, 6)), ref.obs_names, names)
    TOTALVI.setup_anndata(ref, layer="counts", batch_key="tech", protein_expression_obsm_key="protein_counts")
    model = TOTALVI(ref, use_layer_norm="both", use_batch_norm="none")
    model.train(max_epochs=2)
    model.save(tmp_path / "totalvi", overwrite=True)
    with pytest.raises(NotHere, match="load\\(folder\\)"):
        TOTALVI.convert_legacy_save(tmp_path / "totalvi", tmp_path / "new")
    model = TOTALVI.load(tmp_path / "totalvi", adata=ref)
    assert {"elbo_train", "elbo_validation"} & set(model.history)
    ref.obsm["X_totalvi"] = model.get_latent_representation()

    # The query has no proteins: columns of zeros say so.
    query.obsm["protein_counts"] = pd.DataFrame(0.0, query.obs_names, names)
    query = query[:, ref.var_names].copy()
    mapped = TOTALVI.load_query_data(query, model, freeze_expression=True)
    mapped.train(max_epochs=2, plan_kwargs={"weight_decay": 0.0, "scale_adversarial_loss": 0.0})
    query.obsm["X_totalvi_scarches"] = mapped.get_latent_representation(query)
    _, imputed = mapped.get_normalized_expression(query, n_samples=2, return_mean=True,
                                                  transform_batch=list(ref.obs["tech"].unique()[:2]))  # fmt: skip
    assert list(imputed.columns) == names and (imputed.to_numpy() > 0).all()
    with pytest.raises(NotHere, match="classifier"):
        mapped.train(max_epochs=1, plan_kwargs={"scale_adversarial_loss": 1.0})


def test_totalvi_of_a_mudata(studies):
    from mudata import MuData

    ref = studies.reference
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, (ref.n_obs, 4)).astype(np.float32)
    # Cells of the two modalities stand in other orders.
    order = rng.permutation(ref.n_obs)
    prot = anndata.AnnData(counts[order], obs=pd.DataFrame(index=ref.obs_names[order]),
                           var=pd.DataFrame(index=[f"P{i}" for i in range(4)]))  # fmt: skip
    mdata = MuData({"rna_subset": ref, "protein": prot})
    TOTALVI.setup_mudata(
        mdata, rna_layer="counts", protein_layer=None, batch_key="tech",
        modalities={"rna_layer": "rna_subset", "protein_layer": "protein", "batch_key": "rna_subset"},
    )  # fmt: skip
    model = TOTALVI(mdata)
    assert np.array_equal(model.adata.obsm["protein_expression"].to_numpy(), counts)
    model.train(max_epochs=2)
    ref.obsm["protein_expression"] = pd.DataFrame(counts, ref.obs_names, prot.var_names)
    TOTALVI.setup_anndata(ref, "protein_expression", batch_key="tech", layer="counts")
    same = TOTALVI(ref)
    same.train(max_epochs=2)
    assert np.array_equal(model.get_latent_representation(mdata), same.get_latent_representation())
    with pytest.raises(sg.ScgraftError, match="modalities='adt': there is no such modality; there are: .*'protein'"):
        TOTALVI.setup_mudata(mdata, modalities={"protein_layer": "adt"})
    # The package's own words take one, too.
    both = MuData({"rna": ref, "prot": prot})
    given = {"model": "totalvi", "batch_key": "tech", "layer": "counts", "hidden": [16], "max_epochs": 1, "progress": False}
    taken = sg.train(both, protein_key="protein_expression", **given).get_latent_representation(both)
    own = sg.train(ref, protein_key="protein_expression", **given).get_latent_representation()
    assert np.array_equal(taken, own)
    with pytest.raises(NotHere, match="TOTALVI.setup_mudata"):
        SCVI.setup_mudata(mdata)


@pytest.fixture
def reactome(studies, tmp_path):
    """A GMT file whose names have a prefix."""
    path = tmp_path / "reactome.gmt"
    path.write_text("".join(f"REACTOME_{n}\tna\t" + "\t".join(g) + "\n" for n, g in studies.programs.items()))
    return str(path)


def reference_of_the_tutorial(adata, reactome):
    """Preparation and training of the basic tutorial."""
    adata.obs["study"] = adata.obs["tech"]
    adata.X = adata.layers["counts"].copy()
    add_annotations(adata, reactome, min_genes=12, clean=True)
    adata._inplace_subset_var(adata.varm["I"].sum(1) > 0)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=500, batch_key="tech", subset=True)
    select_terms = adata.varm["I"].sum(0) > 12
    adata.uns["terms"] = np.array(adata.uns["terms"])[select_terms].tolist()
    adata.varm["I"] = adata.varm["I"][:, select_terms]
    adata._inplace_subset_var(adata.varm["I"].sum(1) > 0)
    adata.X = adata.layers["counts"].copy()
    model = EXPIMAP(adata=adata, condition_key="study", hidden_layer_sizes=[32, 32, 32], recon_loss="nb")
    model.train(n_epochs=4, alpha_epoch_anneal=2, alpha=0.7, alpha_kl=0.5, weight_decay=0.0, early_stopping_kwargs=EARLY,
                use_early_stopping=True, monitor_only_val=False, seed=2020)  # fmt: skip
    return model


def test_expimap_basic(studies, reactome, tmp_path):
    adata, kang = studies.reference, studies.query
    model = reference_of_the_tutorial(adata, reactome)
    assert not any(t.startswith("REACTOME") for t in adata.uns["terms"]) and model.terms == list(adata.uns["terms"])
    adata.obsm["X_cvae"] = model.get_latent(mean=False, only_active=True)
    sc.pp.neighbors(adata, use_rep="X_cvae")

    kang = kang[:, adata.var_names].copy()
    kang.obs["study"] = "Kang"
    kang.uns["terms"] = adata.uns["terms"]
    mapped = EXPIMAP.load_query_data(kang, model)
    mapped.train(n_epochs=2, alpha_epoch_anneal=1, weight_decay=0.0, alpha_kl=0.1, seed=2020, use_early_stopping=True)
    mapped.save(tmp_path / "query_kang_tutorial")

    both = anndata.concat([adata, kang], join="outer", label="batch_join", uns_merge="same")
    both.obsm["X_cvae"] = mapped.get_latent(both.X, both.obs["study"], mean=False, only_active=True)
    assert both.obsm["X_cvae"].shape == (both.n_obs, len(mapped.nonzero_terms()))
    means = mapped.get_latent(both.X, both.obs["study"], mean=True)
    assert np.allclose(means[adata.n_obs:], mapped.get_latent(mean=True), atol=1e-5)
    assert np.allclose(means[: adata.n_obs], model.get_latent(mean=True), atol=1e-5)
    both.obs["condition_joint"] = both.obs["condition"].astype(str).replace("nan", "control")
    mapped.latent_directions(adata=both)
    assert set(np.unique(both.uns["directions"])) <= {-1.0, 0.0, 1.0}
    mapped.latent_enrich(groups="condition_joint", comparison="control", use_directions=True, adata=both)
    scores = both.uns["bf_scores"]
    assert set(scores) == {"stimulated"}

    # The published formulas, from means and variances, over all pairs of cells.
    z, v = mapped.get_latent(both.X, both.obs["study"], mean_var=True)
    z = z * both.uns["directions"]
    one = (both.obs["condition_joint"] == "stimulated").to_numpy()
    from math import erfc, sqrt

    j = int(mapped.nonzero_terms()[0])
    p = np.mean([0.5 * erfc((b - a) / sqrt(2 * (va + vb))) for a, va in zip(z[one, j], v[one, j])
                 for b, vb in zip(z[~one, j][::7], v[~one, j][::7])])  # fmt: skip
    assert abs(scores["stimulated"]["p_h0"][j] - p) < 0.02
    fig = plot_abs_bfs(both, yt_step=0.8, scale_y=2.5, fontsize=7)
    assert fig.axes[0].get_title() == "stimulated"
    plt.close(fig)
    idx = [both.uns["terms"].index(t) for t in both.uns["terms"][:3]]
    latents = (mapped.get_latent(both.X, both.obs["study"], mean=False) * both.uns["directions"])[:, idx]
    assert latents.shape == (both.n_obs, 3)


def test_expimap_advanced(studies, reactome):
    adata, kang = studies.reference, studies.query
    model = reference_of_the_tutorial(adata, reactome)
    kang = kang[:, adata.var_names].copy()
    kang.obs["study"] = "Kang"
    kang.uns["terms"] = list(adata.uns["terms"])
    mask = np.zeros((adata.n_vars, 1), dtype=int)
    mask[:15, 0] = 1
    mapped = EXPIMAP.load_query_data(kang, model, unfreeze_ext=True, new_n_ext=3, new_n_ext_m=1, new_ext_mask=mask.T,
                                     new_soft_ext_mask=True, use_hsic=True, hsic_one_vs_all=True)  # fmt: skip
    mapped.train(n_epochs=3, alpha_epoch_anneal=1, alpha_kl=0.22, weight_decay=0.0, alpha_l1=0.96, gamma_ext=0.7,
                 gamma_epoch_anneal=1, beta=3.0, seed=2020, use_early_stopping=False)  # fmt: skip
    both = anndata.concat([adata, kang], join="outer", uns_merge="first")
    both.obs["condition_joint"] = both.obs["condition"].astype(str).replace("nan", "control")
    n = len(adata.uns["terms"])
    both.uns["terms"] = list(adata.uns["terms"])
    mapped.update_terms(adata=both)
    assert both.uns["terms"][n:] == ["constrained_0", "unconstrained_0", "unconstrained_1", "unconstrained_2"]
    assert mapped.update_terms(list(adata.uns["terms"])) == both.uns["terms"]
    mapped.latent_directions(adata=both)
    mapped.latent_enrich(groups="condition_joint", comparison="control", use_directions=True, adata=both)
    control = both[both.obs["condition_joint"] == "control"].copy()
    mapped.latent_enrich(groups="cell_type", use_directions=True, adata=control, n_sample=1000)
    assert set(control.uns["bf_scores"]) == set(control.obs["cell_type"])
    plt.close(plot_abs_bfs(control, n_cols=3, scale_y=2.6, yt_step=0.6))
    select = ["constrained_0", "unconstrained_0", "unconstrained_1", "unconstrained_2"]
    idx = [both.uns["terms"].index(t) for t in select]
    latents = (mapped.get_latent(both.X, both.obs["study"], mean=False) * both.uns["directions"])[:, idx]
    assert latents.shape == (both.n_obs, 4)
    for term in select:
        genes = mapped.term_genes(term, terms=both.uns["terms"])
        assert list(genes.columns) == ["genes", "weights", "in_mask"]
        assert genes["weights"].abs().is_monotonic_decreasing
    inside = mapped.term_genes("constrained_0", terms=both.uns["terms"])
    assert set(inside.loc[inside["in_mask"], "genes"]) <= set(adata.var_names[:15])
    assert list(model.mask_genes()) == list(adata.uns["terms"])
    with pytest.raises(sg.ScgraftError, match="expected the names of"):
        mapped.update_terms(["one"])
    with pytest.raises(NotHere, match="unfreeze_ext=False"):
        EXPIMAP.load_query_data(kang, model, unfreeze_ext=False)


def test_trvae_surgery_pipeline(studies, tmp_path):
    ref, query = studies.reference, studies.query
    model = TRVAE(adata=ref, condition_key="tech", conditions=ref.obs["tech"].unique().tolist(),
                  hidden_layer_sizes=[32, 32])  # fmt: skip
    model.train(n_epochs=2, alpha_epoch_anneal=1, early_stopping_kwargs=EARLY)
    assert model.get_latent().shape == (ref.n_obs, 10)
    model.save(tmp_path / "reference_model", overwrite=True)
    mapped = TRVAE.load_query_data(adata=query, reference_model=str(tmp_path / "reference_model"))
    mapped.train(n_epochs=2, alpha_epoch_anneal=1, early_stopping_kwargs=EARLY, weight_decay=0)
    mapped.save(tmp_path / "surgery_model", overwrite=True)
    full = anndata.concat([ref, query])
    assert mapped.get_latent(full.X, full.obs["tech"]).shape == (full.n_obs, 10)
    with pytest.raises(sg.ScgraftError, match="cells × 1000 genes"):
        mapped.get_latent(full.X[:, :5], full.obs["tech"])


def test_scpoli_names_what_to_use(studies):
    with pytest.raises(NotHere, match="EXPIMAP or SCANVI.*scgraft.tl.annotate"):
        scPoli(adata=studies.reference, condition_keys="tech", cell_type_keys="celltype", embedding_dims=5)
    with pytest.raises(NotHere, match="scPoli is not here"):
        scPoli.load_query_data(adata=studies.query, reference_model=None, labeled_indices=[])
