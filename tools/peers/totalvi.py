"""scvi-tools' totalVI on CITE-seq: proteins of a third of the cells are hidden and imputed.

Needs the packages of requirements-current.txt.

    python tools/peers/totalvi.py DATA --epochs 100 --threads 1

The cells 0, 3, 6, … are the batch `hidden`, whose proteins are 0; the others are `measured`.
Settings: layer norm, encoder 256-256, decoders 256, 20 latent dimensions, dropout 0.2, batches
of 256, Adam 4e-3, no early stopping; the KL weight rises over half of the epochs. The hidden
proteins are decoded as `measured`. With --query-epochs, the cells of citeseq_pbmc5k_totalvi_rna_only.h5ad
are grafted on, and the time of an epoch is told. Prints one JSON object: per protein the Pearson correlation
of ln(1 + imputed) with ln(1 + counts) over the hidden cells.
"""

import time

import common


def arguments():
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=25, help="draws per imputed value")
    parser.add_argument("--no-adversary", action="store_true", help="without the classifier of batches")
    parser.add_argument("--query-epochs", type=int, default=0, help="also map the query without proteins")
    parser.add_argument("--speed-only", action="store_true", help="impute nothing")
    return common.parse(parser)


args = arguments()

import anndata  # noqa: E402
import numpy as np  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(args.threads)


def train(model, epochs, **settings):
    """Seconds of an epoch."""
    start = time.perf_counter()
    model.train(
        max_epochs=epochs, batch_size=256, train_size=1.0, early_stopping=False, reduce_lr_on_plateau=False,
        enable_progress_bar=False, logger=False, enable_model_summary=False, accelerator="cpu", **settings,
    )
    return (time.perf_counter() - start) / epochs


def main():
    scvi.settings.seed = args.seed
    adata = anndata.read_h5ad(args.data / "citeseq_pbmc10k_totalvi.h5ad")
    hidden = np.arange(adata.n_obs) % 3 == 0
    proteins = adata.obsm["protein_expression"]
    names = [str(n) for n in getattr(proteins, "columns", range(proteins.shape[1]))]
    truth = np.asarray(proteins, dtype=np.float64)
    counts = truth.copy()
    counts[hidden] = 0
    adata.obsm["protein_expression"] = counts.astype(np.float32)
    adata.obs["part"] = np.where(hidden, "hidden", "measured")
    scvi.model.TOTALVI.setup_anndata(
        adata, batch_key="part", protein_expression_obsm_key="protein_expression"
    )
    model = scvi.model.TOTALVI(
        adata, use_layer_norm="both", use_batch_norm="none", n_layers_encoder=2, n_layers_decoder=1
    )
    seconds = train(
        model, args.epochs, n_epochs_kl_warmup=max(args.epochs // 2, 1), adversarial_classifier=not args.no_adversary
    )
    report = {
        **common.origin(args, "scvi-tools"),
        "epochs": args.epochs,
        "adversary": not args.no_adversary,
        "seconds_per_epoch": seconds,
    }
    if not args.speed_only:
        for key, background in (("with_background", True), ("foreground", False)):
            _, imputed = model.get_normalized_expression(
                indices=np.flatnonzero(hidden), transform_batch="measured", gene_list=[],
                n_samples=args.samples, return_mean=True, return_numpy=True,
                include_protein_background=background,
            )
            a, b = np.log1p(np.asarray(imputed, dtype=np.float64)), np.log1p(truth[hidden])
            each = [float(np.corrcoef(a[:, j], b[:, j])[0, 1]) for j in range(len(names))]
            report[key] = {"mean": float(np.mean(each)), "by_protein": dict(zip(names, each))}
    if args.query_epochs:
        report["surgery_seconds_per_epoch"] = surgery(model, counts.shape[1])
    common.tell(report)


def surgery(model, n_proteins):
    """Seconds of an epoch of surgery on the query without proteins."""
    query = anndata.read_h5ad(args.data / "citeseq_pbmc5k_totalvi_rna_only.h5ad")
    query.obsm["protein_expression"] = np.zeros((query.n_obs, n_proteins), dtype=np.float32)
    query.obs["part"] = "5k"
    mapped = scvi.model.TOTALVI.load_query_data(query, model, freeze_dropout=True)
    return train(mapped, args.query_epochs, plan_kwargs={"weight_decay": 0.0})


if __name__ == "__main__":
    main()
