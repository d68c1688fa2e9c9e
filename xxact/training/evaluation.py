"""Predictions of a model on rows of a store, and what they are worth, in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.data.targets import CRYSTAL_SYSTEMS, Target
from xxact.training.engine import TorchEngine

BATCH_SIZE = 512
#: Points of the embedding summary: enough for a figure, few enough for a JSON.
EMBEDDING_SAMPLE = 2000


@torch.no_grad()
def forward(
    engine: TorchEngine, data: DeviceStore, rows: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Outputs of the heads `names` and the embeddings (n, W) of `rows`, dropout off.

    Outputs are (n,) in standardised units for a regression and class indices (n,) otherwise.
    """
    model = engine.model.eval()
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}
    embeddings = []
    for start in range(0, len(rows), BATCH_SIZE):
        with engine.autocast():
            features = model.features(data.gather(rows[start : start + BATCH_SIZE]))
            embeddings.append(model.embedding(features).float())  # (B, W)
            for name in names:
                output = model.predict(features, name).float()  # (B,) or (B, C)
                outputs[name].append(output.argmax(1) if output.ndim == 2 else output)
    joined = {name: torch.cat(parts).cpu().numpy() for name, parts in outputs.items()}
    return joined, torch.cat(embeddings).cpu().numpy()


def score(target: Target, predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Error in the target's unit, or accuracy in percent, over the examples that have a label."""
    labelled = true >= 0 if target.is_class else np.isfinite(true)
    n = int(labelled.sum())
    if n == 0:
        return {target.metric: None, "n": 0}
    predicted, true = predicted[labelled], true[labelled]
    if target.is_class:
        value = 100 * np.mean(predicted == true)
    else:
        value = target.metric_factor * np.mean(np.abs(predicted.astype(np.float64) - true))
    return {target.metric: float(value), "n": n}


def score_all(
    targets: Sequence[Target],
    predictions: dict[str, np.ndarray],
    store: Store,
    rows: np.ndarray,
    keep: np.ndarray | slice = slice(None),
) -> dict[str, dict[str, Any]]:
    """`score` of every target on `rows`, or on those of them that `keep` selects."""
    return {
        target.name: score(
            target, predictions[target.name][keep], store.values(target.name)[rows][keep]
        )
        for target in targets
    }


def accuracy_by_system(predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Accuracy of each crystal system and the confusion counts (rows true, columns predicted)."""
    n = len(CRYSTAL_SYSTEMS)
    labelled = true >= 0
    confusion = np.zeros((n, n), dtype=int)
    np.add.at(confusion, (true[labelled], predicted[labelled]), 1)
    systems = {
        name: {
            "accuracy_percent": float(100 * row[k] / row.sum()) if row.sum() else None,
            "n": int(row.sum()),
        }
        for k, (name, row) in enumerate(zip(CRYSTAL_SYSTEMS, confusion, strict=True))
    }
    return {"crystal_system": systems, "confusion": confusion.tolist()}


def error_by_element(
    target: Target, predicted: np.ndarray, store: Store, rows: np.ndarray
) -> dict[str, Any]:
    """Mean error of the compounds that contain an element, for each element."""
    from pymatgen.core import Element

    true = store.values(target.name)[rows]
    error = np.abs(predicted.astype(np.float64) - true) * target.metric_factor
    rows, error = rows[np.isfinite(error)], error[np.isfinite(error)]
    start, stop = store.element_offsets[rows], store.element_offsets[rows + 1]
    z = np.concatenate([store.element_z[a:b] for a, b in zip(start, stop, strict=True)] or [[]])
    total = np.bincount(z.astype(int), np.repeat(error, stop - start))
    count = np.bincount(z.astype(int))
    return {
        Element.from_Z(int(z)).symbol: {
            target.metric: float(total[z] / count[z]),
            "n": int(count[z]),
        }
        for z in np.flatnonzero(count)
    }


def not_in(keys: np.ndarray, train_rows: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mask of `rows` whose key (formula, chemical system) no row of `train_rows` has."""
    return ~np.isin(keys[rows], keys[train_rows])


def summarise_embedding(store: Store, rows: np.ndarray, embedding: np.ndarray) -> dict[str, Any]:
    """PCA to two dimensions and silhouettes by crystal system, of a fixed sample of `rows`.

    The sample is the rows whose ids hash lowest, so it is the same for every run on a store.
    Silhouettes are given in the embedding space and in the projection; a class's silhouette is
    the mean over its samples, "mean" the mean over all samples.
    """
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_samples

    from xxact.data.subset import choose

    system = store.values("crystal_system")[rows]
    keep = choose(store.ids[rows], min(1.0, EMBEDDING_SAMPLE / len(rows)), seed=0) & (system >= 0)
    rows, embedding, system = rows[keep], embedding[keep].astype(np.float64), system[keep]
    pca = PCA(n_components=2, svd_solver="full")
    projection = pca.fit_transform(embedding)

    def silhouette(points: np.ndarray) -> dict[str, float]:
        values = silhouette_samples(points, system)
        by_class = {
            CRYSTAL_SYSTEMS[k]: round(float(values[system == k].mean()), 6)
            for k in np.unique(system)
        }
        return {"mean": round(float(values.mean()), 6), **by_class}

    return {
        "n": len(rows),
        "part": "test",
        "ids": [identifier.decode() for identifier in store.ids[rows]],
        "crystal_system": [CRYSTAL_SYSTEMS[k] for k in system],
        "pca": projection.round(4).tolist(),
        "explained_variance_ratio": pca.explained_variance_ratio_.round(6).tolist(),
        "silhouette": {
            "embedding": silhouette(embedding),
            "projection": silhouette(projection),
        },
    }
