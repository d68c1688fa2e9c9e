"""Result trees with made-up numbers, for tests alone: they are written under tmp_path only."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np

from xxact.data.targets import CRYSTAL_SYSTEMS
from xxact.experiments import predictions
from xxact.experiments.result import (
    data_path,
    result_path,
    write_data_summary,
    write_result,
)
from xxact.training.readings import EARLY

OPEN_MODELS = ("energy", "system", "both", "xrd_system")
OPEN_MODELS += ("energy_kriged", "closed_energy_kriged")
OPEN_MODELS += ("system_grouped", "closed_system_grouped")
OPEN_CHANGES = (
    *("closed_tokens_34", "closed_tokens_85", "raw", "patches", "log_d", "tokens_34", "mean"),
    *("transformer", "swapped", "concatenate", "sum", "width_32", "width_128", "width_192"),
    *("together", "together_grouped"),
)
OPEN_GROUPS = ("xxact", "conv", "joint", "fcn_mlp", "xrd", "xrd_conv", "fcn")
OPEN_PRETRAININGS = (
    *("closed_half", "closed_narrow", "closed_sqrt", "closed_linear", "closed_slow", "closed_all"),
    *("masked_published", "masked", "denoise", "contrastive"),
)
OPEN_LABELS = tuple(
    f"{start}_{share}"
    for start in ("scratch", "masked", "denoise", "contrastive")
    for share in (1, 3, 10, 30, 100)
)
PRETRAININGS = ("contrastive", "mxm", "contrastive_mxm")
SIZES = (141, 281, 562, 1000, 2000, 3000, 4000)  # and 4500: runs of Tables 1 and 2
CONTROL_SIZES = (141, 1000)
ENERGY = "formation_energy_per_atom"
UNSEEN = {"mini": ("bulk_modulus", "mae_gpa"), "mp-small": ("band_gap", "mae_ev")}
STEPS = 480
ELEMENTS = ("H", "Li", "O", "Na", "Cl", "Fe", "La", "U")

#: Runs of the first step: Table 2 with its pretrainings, and two unimodal models.
FIRST = [
    "table2/none",
    *(f"table2/{p}" for p in PRETRAININGS),
    *(f"table2/pretrain_{p}" for p in PRETRAININGS),
    *(f"table1/{m}_{t}" for m in ("crabnet", "xrd") for t in ("energy", "system")),
]
ALL = [
    *FIRST,
    *(f"table1/xxact_{t}" for t in ("energy", "system")),
    *(
        f"table1/{m}_{t}_transfer"
        for m in ("xxact", "crabnet", "xrd")
        for t in ("energy", "system")
    ),
    "table1/xxact_multi_transfer",
    *(
        f"table1/{m}_{t}"
        for m in ("constant", "forest_composition", "forest_xrd", "forest_both")
        for t in ("energy", "system")
    ),
    *(f"table3/fcn_{k}" for k in ("energy_1", "energy_2", "system_2", "system_4")),
    *(f"table3/fcn_mlp_{k}" for k in ("energy_1", "energy_2", "system_1", "system_2", "system_4")),
    *(f"scaling/{m}_{s}k" for m in ("crabnet", "xxact") for s in SIZES),
    *(f"open/{name}" for name in (*OPEN_MODELS, *OPEN_CHANGES, *OPEN_LABELS)),
    *(f"open/group_{name}" for name in OPEN_GROUPS),
    *(f"open/pretrain_{name}" for name in OPEN_PRETRAININGS),
    *(f"scaling/{m}_{s}k_steps" for m in ("crabnet", "xxact") for s in CONTROL_SIZES),
]


def _targets(run: str, scale: str) -> list[str]:
    row = run.split("/")[1]
    if row.startswith("pretrain"):
        return []
    if row.endswith("transfer"):
        return [UNSEEN[scale][0]]
    if row.startswith("group_"):
        return ["space_group"]
    if run.startswith("open") and row not in ("energy", "system", "xrd_system"):
        return [ENERGY, "crystal_system"]
    if run.startswith("table2") or (row.startswith("xxact_") and "scaling" in run):
        return [ENERGY, "crystal_system"]
    if "energy" in row or (row.startswith("crabnet_") and "scaling" in run):
        return [ENERGY]
    return ["crystal_system"]


def _score(target: str, quality: float, n: int, scale: str) -> dict:
    """A score between hopeless (quality 0) and perfect (1)."""
    if target == ENERGY:
        return {"mae_mev_per_atom": round(900 * (1.02 - quality), 3), "n": n}
    if target in ("crystal_system", "space_group"):
        return {"accuracy_percent": round(20 + 79 * quality, 3), "n": n}
    return {UNSEEN[scale][1]: round(40 * (1.1 - quality), 4), "n": n}


def _quality(run: str) -> tuple[float, float]:
    """Final quality and how fast it is reached."""
    row = run.split("/")[1]
    final = 0.7
    if "table2" in run or row.startswith("xxact"):
        final = 0.9
    if run.startswith("open"):
        final = 0.8 if row.startswith("scratch") else 0.95
    if "constant" in row:
        final = 0.1
    if run.startswith("scaling"):
        size = int(row.split("_")[1].removesuffix("k"))
        # power laws that end at the quality of the runs on the whole training part
        final = 1.02 - (
            0.32 * (size / 4500) ** -0.05 if "crabnet" in row else 0.12 * (size / 4500) ** -0.3
        )
    speed = {"none": 1.0, "contrastive": 1.2, "mxm": 1.8, "contrastive_mxm": 3.0}.get(row, 1.0)
    return final, speed


def make(run: str, scale: str = "mini", seed: int = 0, data: str = "a" * 64) -> dict:
    """One fabricated result."""
    draw = random.Random(f"{run} {scale} {seed}")
    targets = _targets(run, scale)
    final, speed = _quality(run)
    final += draw.gauss(0, 0.002)

    def scores(quality: float, n: int) -> dict:
        return {t: _score(t, quality, n, scale) for t in targets}

    def at(progress: float) -> float:
        return final * (1 - math.exp(-8 * speed * progress)) / (1 - math.exp(-8 * speed))

    plain = any(baseline in run for baseline in ("constant", "forest", "kriged"))
    if not targets:
        terms = {"objective": {"loss": 1.5, "n": 500}}
        if "mxm" in run or (run.startswith("open") and "contrastive" not in run):
            explained = round(draw.uniform(0.05, 0.1), 4)
            terms["objective"] |= {
                "mxm_explained_variance": explained,
                "mxm_explained_variance_sqrt": 2 * explained,
                "mxm_dead_share": explained / 10,
            }
        if "denoise" in run:
            terms["objective"] |= {
                "mxm_explained_variance_shown": 5 * explained,
                "mxm_explained_variance_sqrt_shown": 8 * explained,
            }
        curve = [
            {"step": 24 * k, "progress": k / 20, "epoch": 1.6 * k, "train_loss": 9 / k}
            | {"validation": terms, "test": terms}
            for k in range(1, 21)
        ]
        metrics = {"final": {"validation": terms, "test": terms}}
    else:
        points = [] if plain else range(1, 41)
        curve = [
            {
                "step": 12 * k,
                "progress": k / 40,
                "epoch": 0.4 * k,
                "train_loss": 2 / k,
                "validation": scores(at(k / 40), 250),
                "test": scores(at(k / 40), 500),
            }
            for k in points
        ]
        metrics = {
            "final": {
                "validation": scores(final, 250),
                "test": scores(final, 500),
                "test_new_formula": scores(final - 0.05, 120),
                "test_new_chemical_system": scores(final - 0.1, 40),
            }
        }
        if not plain:
            metrics["selected"] = {
                "step": 456,
                "criterion": "validation",
                "validation": scores(final, 250),
                "test": scores(final - 0.001, 500),
            }
            metrics["best_on_test"] = scores(final + 0.001, 500)
    result = {
        "schema": 2,
        "run": run,
        "scale": scale,
        "seed": seed,
        "spec": {
            "model": {"kind": run.split("/")[1].split("_")[0]},
            "objective": "supervised" if targets else run.split("pretrain_")[1],
            "targets": targets,
            "init": None,
            "transfer": run.endswith("transfer"),
            "train_fraction": _fraction(run),
            "equal_steps": run.endswith("_steps"),
            "epochs": 16.0,
            "batch_size": 256,
            "reproduces": f"prose of seed {seed}",
        },
        "data": {
            "name": scale,
            "content_sha256": data,
            "n": {"train": int(4000 * _fraction(run)), "validation": 250, "test": 500},
        },
        "provenance": {
            "git_commit": None,
            "dirty": False,
            "versions": {"torch": "0.0"},
            "command": f"python experiments/{run.split('/')[0]}/run.py --fabricated",
        },
        "hardware": {
            "device": "cpu",
            "name": "made-up processor",
            "cores": 2,
            "precision": "float32",
            "processes": 1,
        },
        "cost": {
            "wall_s": 30.0 + seed,
            "restarts": 0,
            "peak_memory_bytes": 8 * 10**8,
            "samples_per_s": 5000.0,
            "parameters": 1234567,
            "steps": STEPS,
            "samples": 256 * STEPS,
        },
        "metrics": metrics,
        "curve": curve,
    }
    if "crystal_system" in targets and not run.startswith("scaling"):
        result |= _classes(final, draw)
    if ENERGY in targets:
        result["per_element"] = {
            ENERGY: {
                e: {"mae_mev_per_atom": 50.0 + 10 * k, "n": 20 + k} for k, e in enumerate(ELEMENTS)
            }
        }
    if run in ("table1/crabnet_system", "table1/xrd_system") or (targets and "table2" in run):
        result |= _embedding(final, draw)
    return result


def _fraction(run: str) -> float:
    if run.startswith("open") and run.split("_")[-1] in ("1", "3", "10", "30"):
        return int(run.split("_")[-1]) / 100
    if not run.startswith("scaling"):
        return 1.0
    return int(run.split("_")[1].removesuffix("k")) / 4500


def _classes(final: float, draw: random.Random) -> dict:
    accuracies = [round(100 * final * (0.8 + 0.03 * k), 2) for k in range(7)]
    confusion = [[draw.randrange(4) + 50 * (i == j) for j in range(7)] for i in range(7)]
    return {
        "per_class": {
            "crystal_system": {
                name: {"accuracy_percent": min(value, 100.0), "n": 60 + k}
                for k, (name, value) in enumerate(zip(CRYSTAL_SYSTEMS, accuracies, strict=True))
            },
            "confusion": confusion,
        }
    }


def _embedding(final: float, draw: random.Random) -> dict:
    systems = [CRYSTAL_SYSTEMS[k % 7] for k in range(140)]
    spread = 3 * (1 - final) + 0.3
    pca = [
        [
            round(2 * math.cos(k % 7) + draw.gauss(0, spread), 3),
            round(2 * math.sin(k % 7) + draw.gauss(0, spread), 3),
        ]
        for k in range(140)
    ]
    silhouettes = {name: round(final - 0.5 + 0.01 * k, 3) for k, name in enumerate(CRYSTAL_SYSTEMS)}
    return {
        "embedding": {
            "n": 140,
            "part": "test",
            "ids": [f"made-up-{k:03}" for k in range(140)],
            "crystal_system": systems,
            "pca": pca,
            "explained_variance_ratio": [0.4, 0.2],
            "silhouette": {
                "embedding": silhouettes | {"mean": round(final - 0.47, 3)},
                "projection": {k: v - 0.1 for k, v in silhouettes.items()}
                | {"mean": round(final - 0.57, 3)},
            },
            "silhouette_of_sample": {
                "embedding": [final - 0.47 + shift for shift in _shifts(140)],
                "projection": [final - 0.57 + shift for shift in _shifts(140)],
            },
        }
    }


def _shifts(n: int) -> list[float]:
    """How samples lie about their mean, the same for every run."""
    return np.linspace(-0.2, 0.2, n).tolist()


def make_data(scale: str, data: str = "a" * 64) -> dict:
    """A fabricated `data.json`."""
    systems = {name: 100 + 40 * k for k, name in enumerate(CRYSTAL_SYSTEMS)}
    groups = {str(k + 1): (0, 5, 50, 500, 5000)[k % 5] for k in range(230)}
    elements = {name: 50 * (k + 1) for k, name in enumerate(ELEMENTS)}
    parts = {"train": 1.0, "validation": 0.06, "test": 0.125}

    def counts(values: dict[str, int], factor: float) -> dict[str, int]:
        return {name: int(value * factor) for name, value in values.items()}

    return {
        "name": scale,
        "content_sha256": data,
        "n": {"train": 4000, "validation": 250, "test": 500},
        "crystal_systems": {part: counts(systems, f) for part, f in parts.items()},
        "space_groups": {part: counts(groups, f) for part, f in parts.items()},
        "elements": {part: counts(elements, f) for part, f in parts.items()},
        "formula_floors": {ENERGY: {"test": {"mae_mev_per_atom": 82.5, "n": 500}}},
    }


def make_predictions(result: dict) -> dict[str, np.ndarray]:
    """Kept predictions of 500 samples, three of a formula, with the result's final scores.

    The same samples are hard for every run. A bimodal model sees a quarter of the differences
    within a formula, one of compositions none.
    """
    n, row = 500, result["run"].split("/")[1]
    formula = np.arange(n) // 3
    same, own = np.random.default_rng(0), np.random.default_rng(hash_of(result))
    hard = same.exponential(1, n)
    found = {
        "id": np.array([f"made-up-{k:03}".encode() for k in range(n)]),
        "formula": formula.astype(np.uint64),
        "formula_in_training": formula % 4 > 0,
        "n_polymorphs": (1 + formula % 7).astype(np.int16),
    }
    test = result["metrics"]["final"]["test"]
    early = {
        name: point["test"]
        for name, share in EARLY.items()
        for point in result.get("curve", [])
        if abs(point["progress"] - share) < 1e-6
    }
    if ENERGY in test:
        true = same.normal(-1, 0.5, n // 3 + 1)[formula] + same.normal(0, 0.1, n)
        mean = np.bincount(formula, true)[formula] / np.bincount(formula)[formula]
        sees = 0.0 if "crabnet" in row else 0.25
        noise = hard * np.exp(own.normal(0, 0.3, n)) * own.choice([-1, 1], n)
        noise = (np.bincount(formula, noise) / np.bincount(formula))[formula]
        predicted = mean + sees * (true - mean) + noise
        mae = test[ENERGY]["mae_mev_per_atom"] / 1000
        # more noise until the error is the result's
        for _ in range(100):
            noise *= mae / np.abs(predicted - true).mean()
            predicted = mean + sees * (true - mean) + noise
        found[f"{ENERGY}.true"], found[f"{ENERGY}.predicted"] = true, predicted
        for name, scores in early.items():
            times = scores[ENERGY]["mae_mev_per_atom"] / test[ENERGY]["mae_mev_per_atom"]
            found[f"{ENERGY}.{name}"] = true + times * (predicted - true)
        if sees:
            for name in ("permuted_any", "permuted_formula"):
                found[f"{ENERGY}.{name}"] = mean + noise
    if "crystal_system" in test:
        true = np.arange(n) % 7
        easy = np.argsort(np.argsort(hard + own.normal(0, 0.3, n)))
        found["crystal_system.true"] = true.astype(np.int16)
        for name, scores in {"predicted": test, **early}.items():
            right = easy < round(n * scores["crystal_system"]["accuracy_percent"] / 100)
            found[f"crystal_system.{name}"] = np.where(right, true, (true + 1) % 7).astype(np.int16)
    if "space_group" in test:
        probability = own.dirichlet(np.full(230, 0.1), n)
        true = np.arange(n) % 230
        right = np.arange(n) < round(n * test["space_group"]["accuracy_percent"] / 100)
        probability[right, true[right]] += 1
        found["space_group.true"] = true.astype(np.int16)
        found["space_group.predicted"] = probability.argmax(1).astype(np.int16)
        found["space_group.probability"] = (probability / probability.sum(1, keepdims=True)).astype(
            np.float16
        )
    return found


def hash_of(result: dict) -> int:
    """A number for a run and seed, the same in every process."""
    return random.Random(f"{result['run']} {result['seed']}").getrandbits(32)


def write_one(root: Path, result: dict, keep: bool = True) -> Path:
    """Write a result, with predictions beside it if it is of a supervised run; its path."""
    path = result_path(root, result["scale"], result["run"], result["seed"])
    if keep and {ENERGY, "crystal_system", "space_group"} & set(result["spec"]["targets"]):
        kept = predictions.write(path.with_suffix(".npz"), make_predictions(result))
        result = result | {"predictions": kept}
    write_result(path, result)
    return path


def write_tree(
    root: Path, scale: str = "mini", runs=ALL, seeds=(0, 1, 2), keep: bool = True
) -> Path:
    """Write a fabricated tree; returns its root. keep: with predictions."""
    for run in runs:
        for seed in seeds:
            write_one(root, make(run, scale, seed), keep)
    write_data_summary(data_path(root, scale), make_data(scale))
    return root
