"""TRVAE and EXPIMAP, as scArches speaks of them, and what stands around them there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from .._adata import listed, need
from .._native import ScgraftError
from .._programs import gene_sets
from ._base import Base, model_of, set_up
from ._words import IGNORED, NotHere, no_argument, only_given

if TYPE_CHECKING:
    from anndata import AnnData


class Arches(Base):
    """What scArches' models share: no setup, epochs as ``n_epochs``, cells as arrays where asked."""

    def _begin(
        self, adata: AnnData, condition_key: str | None, hidden_layer_sizes: Sequence[int], dr_rate: float,
        recon_loss: str, use_ln: bool, use_bn: bool,
    ) -> None:  # fmt: skip
        if condition_key is None:
            raise ScgraftError(f"{type(self).__name__}: give condition_key=, a column of obs")
        need("obs has no such column", adata.obs, condition_key=condition_key)
        set_up(adata, batch_key=condition_key)
        Base.__init__(self, adata)
        self._settings = {"hidden": [int(h) for h in hidden_layer_sizes], "dropout": float(dr_rate),
                          "likelihood": recon_loss, "norm": "layer" if use_ln else "batch" if use_bn else "none"}  # fmt: skip

    def train(  # type: ignore[override]
        self,
        n_epochs: int | None = None,
        lr: float | None = None,
        *,
        alpha_kl: float | None = None,
        alpha_epoch_anneal: int | None = None,
        weight_decay: float | None = None,
        batch_size: int = 128,
        early_stopping_kwargs: dict[str, Any] | None = None,
        use_early_stopping: bool = True,
        use_stratified_sampling: bool = False,
        seed: int | None = None,
        **more: Any,
    ) -> None:
        """Fit the model, or graft the query on; names as in scArches, what is left out is the model's own.

        Parameters
        ----------
        more
            Of EXPIMAP ``alpha``, ``alpha_l1``, ``gamma_ext``, ``gamma_epoch_anneal``, ``beta``: weights of the lasso of programs,
            of single genes, of new programs (and the epochs over which it comes up), and of their independence.
        """
        fit = self._own_fit(more)
        known = IGNORED | {"monitor", "monitor_only_val", "print_stats", "n_workers", "trainer", "log_train", "eps",
                           "clip_value", "train_frac", "reload_best"}  # fmt: skip
        no_argument("train", more, known)
        share = more.get("train_frac")
        fit |= only_given(
            max_epochs=n_epochs,
            lr=lr,
            batch_size=batch_size,
            seed=seed,
            early_stopping=None if use_early_stopping else False,
            patience=(early_stopping_kwargs or {}).get("patience") if use_early_stopping else None,
            stratified=use_stratified_sampling or None,
            train_size=None if share == 1 else share,
            weight_decay=weight_decay,
            kl_anneal=alpha_epoch_anneal,
            kl_weight=alpha_kl,
        )
        self._fit(fit)

    def _own_fit(self, more: dict[str, Any]) -> dict[str, Any]:
        """Settings of the fit that only this model has, taken out of what ``train`` was given."""
        return {}

    @classmethod
    def load_query_data(  # type: ignore[override]
        cls, adata: AnnData, reference_model: Any, freeze: bool = True, freeze_expression: bool = True,
        remove_dropout: bool = True, **more: Any,
    ) -> Self:  # fmt: skip
        """A model with the query's conditions, to be trained on it."""
        out = super().load_query_data(adata, reference_model, unfrozen=not freeze, **more)
        if freeze and not freeze_expression:
            out._query["surgery"] = "first_layers"
        return out

    def _of_arrays(self, x: Any, c: Any) -> AnnData:
        """Cells of the arrays that scArches takes: expression, genes in the model's order, and conditions."""
        import anndata

        names = self.model.var_names if self.adata is None else self.adata.var_names
        x = sparse.csr_matrix(x)
        if x.shape[1] != len(names):
            raise ScgraftError(f"x: expected cells × {len(names)} genes, as in the model's cells; found {x.shape}")
        key = listed(self.registry["setup_args"].get("batch_key"))[0]
        if c is None or len(c) != x.shape[0]:
            raise ScgraftError(f"c: expected the condition of each of {x.shape[0]} cells")
        obs = pd.DataFrame({key: np.asarray(c, dtype=str)}, index=[str(i) for i in range(x.shape[0])])
        return anndata.AnnData(X=x, obs=obs, var=pd.DataFrame(index=names.astype(str)))

    def get_latent(
        self, x: Any = None, c: Any = None, mean: bool = False, mean_var: bool = False, **_: Any
    ) -> Any:
        """Where cells lie: a draw of each, or with ``mean`` the means, with ``mean_var`` means and variances.

        Parameters
        ----------
        x, c
            Expression of other cells, cells × genes in the order of this model's, and the condition of each.
        """
        adata = None if x is None else self._of_arrays(x, c)
        return self.get_latent_representation(adata, give_mean=mean, return_dist=mean_var and not mean)


class TRVAE(Arches):
    """trVAE, as scArches speaks of it.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import TRVAE
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = TRVAE(sim.reference, condition_key="batch", hidden_layer_sizes=[64, 32])
    >>> model.train(n_epochs=1)
    >>> query = TRVAE.load_query_data(sim.query, model)
    >>> query.train(n_epochs=1, weight_decay=0)
    >>> query.get_latent(mean=True).shape
    (100, 10)
    """

    _name = "trvae"

    def __init__(
        self,
        adata: AnnData | None = None,
        condition_key: str | None = None,
        conditions: Sequence[str] | None = None,
        hidden_layer_sizes: Sequence[int] = (256, 64),
        latent_dim: int = 10,
        dr_rate: float = 0.05,
        use_mmd: bool = True,
        mmd_on: str = "z",
        mmd_boundary: int | None = None,
        recon_loss: str = "nb",
        beta: float = 1,
        use_bn: bool = False,
        use_ln: bool = True,
    ):
        if adata is None:
            super().__init__()
            return
        self._begin(adata, condition_key, hidden_layer_sizes, dr_rate, recon_loss, use_ln, use_bn)
        places = {"z": "latent", "y": "decoder"}
        if mmd_on not in places:
            raise ScgraftError(f"mmd_on={mmd_on!r}: expected 'z' or 'y'")
        self._settings |= {"latent": int(latent_dim), "mmd_weight": float(beta) if use_mmd else 0.0, "mmd_on": places[mmd_on]}
        if mmd_boundary is not None:
            self._settings["mmd_boundary"] = int(mmd_boundary)


class scPoli:  # noqa: N801
    """Not here; making one, or loading one, says what to use instead."""

    def __new__(cls, *_: Any, **__: Any) -> scPoli:
        """Not here; says what to use instead."""
        raise NotHere("scPoli is not here: train EXPIMAP or SCANVI on the same columns; scgraft.tl.annotate carries labels "
                      "over, with a class for new types")

    load_query_data = load = classmethod(__new__)


class EXPIMAP(Arches):
    """expiMap, as scArches speaks of it: programs are a mask in ``varm``, latent dimensions are programs.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import EXPIMAP, add_annotations
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> add_annotations(sim.reference, sim.programs, min_genes=12)
    >>> model = EXPIMAP(sim.reference, condition_key="batch", hidden_layer_sizes=[64, 64])
    >>> model.train(n_epochs=2)
    >>> query = EXPIMAP.load_query_data(sim.query, model)
    >>> query.train(n_epochs=1)
    >>> query.get_latent(mean=True).shape
    (100, 40)
    """

    _name = "expimap"

    def __init__(
        self,
        adata: AnnData | None = None,
        condition_key: str | None = None,
        conditions: Sequence[str] | None = None,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        dr_rate: float = 0.05,
        recon_loss: str = "nb",
        use_l_encoder: bool = False,
        use_bn: bool = False,
        use_ln: bool = True,
        mask: Any = None,
        mask_key: str = "I",
        decoder_last_layer: str | None = None,
        soft_mask: bool = False,
        n_ext: int = 0,
        **more: Any,
    ):
        if adata is None:
            super().__init__()
            return
        if use_l_encoder:
            raise NotHere("use_l_encoder is not here: library sizes are the sums of the counts")
        no_argument("EXPIMAP", more, ("n_ext_m", "use_hsic", "hsic_one_vs_all", "ext_mask", "soft_ext_mask"))
        for name, value in more.items():
            if value not in (0, False, None):
                raise NotHere(f"EXPIMAP({name}=...) is not here in a reference: put the gene sets into the mask, or add "
                              "programs with a query, load_query_data(new_n_ext_m=...)")
        self._begin(adata, condition_key, hidden_layer_sizes, dr_rate, recon_loss, use_ln, use_bn)
        if mask is not None:
            values = mask if isinstance(mask, pd.DataFrame) else np.asarray(mask)
            if len(values) != adata.n_vars:
                values = values.T
            adata.varm["I"], mask_key = values, "I"
        need("varm has no such mask", adata.varm, ". Make one with add_annotations(adata, files)", mask_key=mask_key)
        self._sets = dict(gene_sets(mask_key, adata))
        self._soft, self._n_ext = soft_mask, int(n_ext)
        if decoder_last_layer is not None:
            self._settings["output"] = decoder_last_layer

    def _own_fit(self, more: dict[str, Any]) -> dict[str, Any]:
        if more.pop("omega", None) is not None:
            raise NotHere("omega is not here: every program has the same lasso weight, alpha")
        more.pop("print_n_deactive", None)
        lasso, hsic = more.pop("alpha", None), more.pop("beta", None)
        if self._query:
            # The reference's lasso pruned once and for all; without HSIC asked for at the surgery, beta has nothing to weigh.
            lasso, hsic = None, hsic if self._query["hsic"] else None
        named = {"l1_weight": "alpha_l1", "new_l1_weight": "gamma_ext", "new_l1_anneal": "gamma_epoch_anneal"}
        return only_given(lasso_weight=lasso, hsic_weight=hsic, **{ours: more.pop(name, None) for ours, name in named.items()})

    def _how(self) -> dict[str, Any]:
        return {"programs": self._sets, "min_genes": 1, "exact_case": True, "keep_outside_programs": True, "soft": self._soft,
                "n_free_programs": self._n_ext}  # fmt: skip

    @classmethod
    def load_query_data(  # type: ignore[override]
        cls,
        adata: AnnData,
        reference_model: Any,
        freeze: bool = True,
        freeze_expression: bool = True,
        unfreeze_ext: bool = True,
        remove_dropout: bool = True,
        new_n_ext: int | None = None,
        new_n_ext_m: int | None = None,
        new_ext_mask: Any = None,
        new_soft_ext_mask: bool = False,
        use_hsic: bool = False,
        hsic_one_vs_all: bool = False,
        **more: Any,
    ) -> Self:
        """A model with the query's conditions, and new programs where asked for, to be trained on it.

        Parameters
        ----------
        new_n_ext
            How many programs without gene set.
        new_n_ext_m, new_ext_mask, new_soft_ext_mask
            Programs with gene sets: how many, the sets as programs × genes (or the other way round, or a dictionary), and
            whether they bind softly.
        use_hsic
            Whether new programs are kept independent of the others, with the weight ``beta`` of :meth:`train`.
        """
        no_argument("load_query_data", more, IGNORED | {"new_conditions", "unknown_ct_names"})
        if not unfreeze_ext:
            raise NotHere("unfreeze_ext=False is not here: new programs that do not train say nothing; leave new_n_ext out")
        out = super().load_query_data(adata, reference_model, freeze, freeze_expression)
        programs: dict[str, Any] = {"n_free_programs": int(new_n_ext or 0), "soft": bool(new_soft_ext_mask)}
        if new_n_ext_m or new_ext_mask is not None:
            if new_ext_mask is None:
                raise ScgraftError("new_n_ext_m: give the gene sets as new_ext_mask, genes × programs or a dictionary")
            mask = new_ext_mask
            if not isinstance(mask, dict):
                values = mask.to_numpy() if isinstance(mask, pd.DataFrame) else np.asarray(mask)
                genes = model_of(reference_model).var_names
                values = values if values.shape[0] == len(genes) else values.T
                if values.shape[0] != len(genes):
                    raise ScgraftError(f"new_ext_mask: expected {len(genes)} genes on one side, found {values.shape[::-1]}")
                mask = {f"constrained_{j}": [genes[i] for i in np.flatnonzero(values[:, j])] for j in range(values.shape[1])}
            if new_n_ext_m and new_n_ext_m != len(mask):
                raise ScgraftError(f"new_n_ext_m={new_n_ext_m}: new_ext_mask has {len(mask)} programs")
            programs |= {"new_programs": mask, "min_genes": 1}
        if not use_hsic and (new_n_ext or new_n_ext_m or new_ext_mask is not None):
            programs["hsic_weight"] = 0.0
        out._query |= {"more": programs, "hsic": bool(use_hsic)}
        return out

    def get_latent(  # type: ignore[override]
        self, x: Any = None, c: Any = None, only_active: bool = False, mean: bool = False, mean_var: bool = False
    ) -> Any:
        """Scores of cells in the programs, cells × programs; of ``only_active`` those that the fit kept.

        Parameters
        ----------
        x, c
            Expression of other cells, cells × genes in the order of this model's, and the condition of each.
        """
        found = super().get_latent(x, c, mean, mean_var)
        if not only_active:
            return found
        active = self.nonzero_terms()
        return tuple(f[:, active] for f in found) if isinstance(found, tuple) else found[:, active]

    def nonzero_terms(self) -> np.ndarray:
        """The rows of the programs that the fit kept."""
        return np.flatnonzero(self.model.programs()["active"].to_numpy())

    @property
    def terms(self) -> list[str]:
        """The names of the programs; scArches' for new ones."""
        table = self.model.programs()
        kinds = {"constrained": 0, "unconstrained": 0}
        out = []
        for name, graft, size in zip(table.index, table["graft"], table["set_size"], strict=True):
            if graft is None or pd.isna(graft):
                out.append(str(name))
                continue
            kind = "constrained" if size else "unconstrained"
            out.append(f"{kind}_{kinds[kind]}")
            kinds[kind] += 1
        return out

    def _terms(self, terms: str | Sequence[str], adata: AnnData | None) -> list[str]:
        data = self.adata if adata is None else adata
        if isinstance(terms, str):
            need("uns has no such entry", data.uns, terms=terms)
            terms = data.uns[terms]
        given, own = [str(t) for t in terms], self.terms
        known = int(pd.isna(self.model.programs()["graft"]).sum())
        if len(given) not in (known, len(own)):
            raise ScgraftError(f"terms: expected the names of {known} programs of the reference, or of all {len(own)}; found "
                               f"{len(given)}")
        return given + own[len(given):]

    def update_terms(self, terms: str | Sequence[str] = "terms", adata: AnnData | None = None) -> list[str] | None:
        """Add the names of new programs (``constrained_0``, ``unconstrained_0``, …) to those of the reference's.

        Parameters
        ----------
        terms
            An entry of ``uns``, which is changed, or the names, which are given back with the new ones.
        """
        found = self._terms(terms, adata)
        if not isinstance(terms, str):
            return found
        (self.adata if adata is None else adata).uns[terms] = found
        return None

    def term_genes(self, term: str | int, terms: str | Sequence[str] = "terms") -> pd.DataFrame:
        """The genes of a program, the heaviest first: ``genes``, ``weights``, ``in_mask``."""
        names = self._terms(terms, None) if not isinstance(terms, str) or terms in self.adata.uns else self.terms
        if isinstance(term, str):
            need("there is no such program", names, term=term)
        at = names.index(term) if isinstance(term, str) else int(term)
        if not 0 <= at < len(names):
            raise ScgraftError(f"term={term!r}: there are {len(names)} programs")
        found = self.model.program_genes(self.model.latent_names[at]).drop(columns="share").reset_index()
        table = found.set_axis(["genes", "weights", "in_mask"], axis=1)
        order = np.argsort(-table["weights"].abs().to_numpy(), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    def mask_genes(self, terms: str | Sequence[str] = "terms") -> dict[str, list[str]]:
        """The genes of the mask, by program of the reference."""
        sets = getattr(self, "_sets", None) or (dict(gene_sets("I", self.adata)) if "I" in self.adata.varm else None)
        if sets is None:
            raise NotHere("mask_genes: these cells have no mask; put it into varm['I'] with add_annotations(adata, files)")
        names = [str(t) for t in (self.adata.uns.get(terms, list(sets)) if isinstance(terms, str) else terms)]
        return dict(zip(names, sets.values(), strict=False))

    def latent_directions(
        self, method: str = "sum", get_confidence: bool = False, adata: AnnData | None = None, key_added: str = "directions"
    ) -> Any:  # fmt: skip
        """The direction of every program, 1 or −1 (0: none), into ``uns[key_added]`` of these cells or the model's.

        Parameters
        ----------
        method
            ``"sum"`` of the weights, or ``"counts"``: the sign most of them have; scgraft's own is ``"top"``.
        get_confidence
            Also how clear that is, into ``uns[key_added + "_confindence"]`` (their spelling).

        Returns
        -------
        The directions, where no cells were given.
        """
        table = self.model.programs(direction=method)
        directions = table["direction"].to_numpy().astype(float)
        target = self.adata if adata is None else adata
        target.uns[key_added] = directions
        if get_confidence:
            target.uns[f"{key_added}_confindence"] = table["direction_confidence"].to_numpy()
        return directions if adata is None else None

    def latent_enrich(
        self,
        groups: str | dict[str, list[str]],
        comparison: str | list[str] = "rest",
        n_sample: int = 5000,
        use_directions: bool = False,
        directions_key: str = "directions",
        select_terms: Any = None,
        adata: AnnData | None = None,
        exact: bool = True,
        key_added: str = "bf_scores",
    ) -> dict[str, Any] | None:
        """Bayes factors of every program between groups of cells, into ``uns[key_added]``.

        Each group has ``p_h0``, ``p_h1`` and ``bf``, one value a program; programs that the fit pruned have 0. ``exact``
        takes all pairs of cells, without so many are drawn.

        Parameters
        ----------
        use_directions, directions_key
            Turn scores by ``uns[directions_key]``, which :meth:`latent_directions` writes.
        select_terms
            Rows of the programs wanted.
        """
        from .. import tl
        from ..get import enrich_df

        target = self.adata if adata is None else adata
        if use_directions:
            remedy = ". Write them with latent_directions(adata=...)"
            need("uns has no such entry", target.uns, remedy, directions_key=directions_key)
        data = target.copy()
        self.model.to_adata(self._like(data))
        if isinstance(groups, dict):
            column = np.full(data.n_obs, None, dtype=object)
            for name, members in groups.items():
                column[data.obs_names.isin(members) if isinstance(members[0], str) else np.asarray(members)] = name
            data.obs["_scgraft_groups"], groups = column, "_scgraft_groups"
        tl.enrich(data, groupby=groups, versus=comparison, directed=False, min_cells=1, published=True,
                  n_samples=None if exact else int(n_sample), key_added="latent")  # fmt: skip
        table = enrich_df(data, key="latent")
        names = self.model.latent_names
        sign = np.asarray(target.uns[directions_key] if use_directions else np.ones(len(names)), dtype=np.float64)
        if len(sign) != len(names):
            raise ScgraftError(f"uns[{directions_key!r}] has {len(sign)} directions for {len(names)} programs; call "
                               "latent_directions(adata=...) with this model")  # fmt: skip
        wanted = np.arange(len(names)) if select_terms is None else np.asarray(select_terms)
        scores = {}
        for group, rows in table.groupby("group", sort=False, observed=True):
            rows = rows.set_index("program").reindex(names)
            p, bf = rows["probability"].to_numpy(dtype=float), rows["log_bayes_factor"].to_numpy(dtype=float)
            there = np.isfinite(p) & (sign != 0)
            p, bf = np.where(sign < 0, 1.0 - p, p), bf * sign
            found = {"p_h0": np.where(there, p, 0.0), "p_h1": np.where(there, 1.0 - p, 0.0), "bf": np.where(there, bf, 0.0)}
            scores[str(group)] = {k: v[wanted] for k, v in found.items()}
        target.uns[key_added] = scores
        return scores if adata is not None else None


def plot_abs_bfs(adata: AnnData, scores_key: str = "bf_scores", terms: str | Sequence[str] = "terms", n_cols: int = 3,
                 n_points: int = 30, **_: Any) -> Any:  # fmt: skip
    """Absolute Bayes factors of :meth:`EXPIMAP.latent_enrich`, the leading programs of every group by name.

    Returns
    -------
    The figure.
    """
    from ..pl._axes import panels_of, short

    need("uns has no such entry", adata.uns, scores_key=scores_key, terms=terms if isinstance(terms, str) else None)
    scores = dict(adata.uns[scores_key])
    names = np.asarray(adata.uns[terms] if isinstance(terms, str) else terms, dtype=object)
    n_cols = min(n_cols, len(scores))
    panels = panels_of((4.2, 4.2), -(-len(scores) // n_cols), n_cols)
    for ax in panels[len(scores):]:
        ax.set_axis_off()
    for ax, (group, found) in zip(panels, scores.items(), strict=False):
        bf = np.abs(np.asarray(found["bf"], dtype=float))
        if len(bf) != len(names):
            raise ScgraftError(f"terms: {len(names)} names for {len(bf)} programs; call update_terms(adata=...)")
        order = np.argsort(-bf)[:n_points][::-1]
        ax.barh(np.arange(len(order)), bf[order], color=np.where(np.asarray(found["bf"])[order] > 0, "tab:red", "tab:blue"))
        ax.set_yticks(np.arange(len(order)), short(names[order]), fontsize=6)
        ax.axvline(2.3, color="grey", lw=0.8, ls=":")
        ax.set(title=str(group), xlabel="|log Bayes factor|")
    return panels[0].figure


def add_annotations(
    adata: AnnData,
    files: Any,
    min_genes: int = 0,
    max_genes: int | None = None,
    varm_key: str = "I",
    uns_key: str = "terms",
    clean: bool = True,
    genes_use_upper: bool = True,
) -> None:
    """Lay gene sets over the genes of cells: a mask in ``varm``, the names in ``uns``.

    Parameters
    ----------
    files
        GMT files, or whatever :func:`scgraft.train` takes as programs.
    min_genes, max_genes
        A set is kept with more genes of the data than ``min_genes`` and fewer than ``max_genes``.
    varm_key, uns_key
        Where mask and names go.
    clean
        Drop the first word of a name (``REACTOME_``) and cut it to thirty letters; a name that would be another's then is not
        cut, or stays as it is.
    genes_use_upper
        Whether upper and lower case are the same.
    """
    sets = gene_sets(files, adata)
    names = [str(g).upper() if genes_use_upper else str(g) for g in adata.var_names]
    masks, terms = [], []
    for name, genes in sets:
        among = {g.upper() if genes_use_upper else g for g in genes}
        mask = np.fromiter((g in among for g in names), dtype=bool, count=len(names))
        n = int(mask.sum())
        if n > min_genes and (max_genes is None or n < max_genes):
            masks.append(mask)
            terms.append(name)
    if not terms:
        raise ScgraftError(f"add_annotations: no gene set has more than {min_genes} genes of the data")
    adata.varm[varm_key] = np.stack(masks, axis=1).astype(np.int64)
    adata.uns[uns_key] = cleaned(terms) if clean else terms


def cleaned(terms: list[str]) -> list[str]:
    bare = [t.split("_", 1)[-1] for t in terms]
    forms = list(zip([b[:30] for b in bare], bare, terms, strict=True))
    often = [Counter(form) for form in zip(*forms, strict=True)]
    return [next((f for f, n in zip(of, often, strict=True) if n[f] == 1), of[-1]) for of in forms]
