"""Predictions of a model on rows of a store, and what they are worth, in physical units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.data.targets import CRYSTAL_SYSTEMS, Target
from xxact.training.engine import Engine

#: Of n samples by target: values (n,), or probabilities (n, C) of classes.
Outputs = dict[str, np.ndarray]

BATCH_SIZE = 512
#: Points of the embedding summary: enough for a figure, few enough for a JSON.
EMBEDDING_SAMPLE = 2000


@torch.no_grad()
def forward(
    engine: Engine,
    features_of: Callable[[slice], Any],
    n: int,
    names: Sequence[str],
    embed: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Outputs of the heads `names` of `n` samples, and embeddings of those that `embed` selects.

    `features_of` gives what the heads read of a slice of the samples. Outputs are (n,) in
    standardised units for a regression and logits (n, C) of classes; embeddings (k, W) belong to
    the k samples where the mask `embed` (n,) is True. Dropout is off. The processes share the
    batches out among them, and each returns the whole.
    """
    model, world = engine.model.eval(), engine.world
    starts = range(0, n, BATCH_SIZE)
    done: list[dict[str | None, np.ndarray]] = []  # by head, and None for embeddings
    for start in starts[world.rank :: world.size]:
        part = slice(start, start + BATCH_SIZE)
        found: dict[str | None, Tensor] = {}
        with engine.autocast():
            features = features_of(part)
            if embed is not None:
                kept = torch.from_numpy(np.flatnonzero(embed[part])).to(engine.device)
                found[None] = model.embedding(features).float()[kept]  # (b, W)
            for name in names:
                found[name] = model.predict(features, name).float()  # (B,) or (B, C)
        done.append({name: tensor.cpu().numpy() for name, tensor in found.items()})
    batches: list[Any] = [None] * len(starts)
    for rank, others in enumerate(world.gather(done)):
        batches[rank :: world.size] = others
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return joined, joined.pop(None, None)


def in_physical_units(
    outputs: dict[str, np.ndarray], standard: Mapping[str, Sequence[float]]
) -> Outputs:
    """Outputs of `forward`: values (n,) of regressions in their unit, probabilities (n, C) of
    classes; `standard` holds mean and standard deviation of each regression target."""
    found = {}
    for name, output in outputs.items():
        if name in standard:
            mean, std = standard[name]
            found[name] = output * std + mean
        else:
            found[name] = softmax(output.astype(np.float64), axis=1)
    return found


def decided(outputs: Outputs) -> dict[str, np.ndarray]:
    """Values (n,) of regressions as they are, and the most probable class (n,) of the others."""
    return {name: x.argmax(1) if x.ndim == 2 else x for name, x in outputs.items()}


@torch.no_grad()
def fixed_features(engine: Engine, data: DeviceStore) -> Tensor:
    """Features (N, ...) of every sample of a store, from a trunk that is not trained."""
    model = engine.model.eval()
    blocks = []
    for start in range(0, len(data), BATCH_SIZE):
        rows = np.arange(start, min(start + BATCH_SIZE, len(data)))
        with engine.autocast():
            blocks.append(model.features(data.gather(rows)))
    return torch.cat(blocks)


def score(target: Target, predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Error in the target's unit, or accuracy in percent, over the examples that have a label."""
    labelled = target.known(true)
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


def embedding_sample(store: Store, rows: np.ndarray) -> np.ndarray:
    """Mask of the `rows` that the embedding summary is made of.

    They are those whose ids hash lowest, so the same for every run on a store.
    """
    from xxact.data.subset import choose

    system = store.values("crystal_system")[rows]
    return choose(store.ids[rows], min(1.0, EMBEDDING_SAMPLE / len(rows)), seed=0) & (system >= 0)


def summarise_embedding(store: Store, rows: np.ndarray, embedding: np.ndarray) -> dict[str, Any]:
    """PCA to two dimensions and silhouettes by crystal system of the embeddings of `rows`.

    Silhouettes are given in the embedding space (n, W) and in the projection, of each sample and
    as means: of a class over its samples, "mean" over all samples. There are none where the
    samples are of one class, or of a class each.
    """
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_samples

    system = store.values("crystal_system")[rows]
    embedding = embedding.astype(np.float64)
    pca = PCA(n_components=2, svd_solver="full")
    projection = pca.fit_transform(embedding)

    of_sample: dict[str, np.ndarray] = {}  # (n,) in each space
    if 1 < len(np.unique(system)) < len(system):
        for space, points in (("embedding", embedding), ("projection", projection)):
            of_sample[space] = silhouette_samples(points, system)

    def means(values: np.ndarray) -> dict[str, float]:
        by_class = {CRYSTAL_SYSTEMS[k]: values[system == k].mean() for k in np.unique(system)}
        return {key: round(float(v), 6) for key, v in {"mean": values.mean(), **by_class}.items()}

    return {
        "n": len(rows),
        "part": "test",
        "ids": [identifier.decode() for identifier in store.ids[rows]],
        "crystal_system": [CRYSTAL_SYSTEMS[k] for k in system],
        "pca": projection.round(4).tolist(),
        "explained_variance_ratio": pca.explained_variance_ratio_.round(6).tolist(),
        "silhouette": {space: means(values) for space, values in of_sample.items()},
        "silhouette_of_sample": {s: values.round(5).tolist() for s, values in of_sample.items()},
    }
