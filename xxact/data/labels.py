"""Labels of class targets: what counts as one, their order, and what to say of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from xxact.data.store import SPLITS, Store
from xxact.errors import UserError

#: Texts that stand for no label. `none` and `na` may be classes: no magnetic order, sodium.
_NO_LABEL = frozenset({"", "nan", "null", "n/a"})
_LONGEST_LABEL = 100
#: Class indices are stored as int16.
_MOST_CLASSES = 1 << 15


def read_label(value: object) -> str:
    """The label in a cell or JSON value, "" where there is none; `ValueError` if it is no label.

    Blanks around it are dropped, `True` and `FALSE` become `true` and `false`, whole numbers their
    digits. Everything else stays as it is, capitals included.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"a label is a text or a number, not {value!r:.40}")
    label = value.strip()
    label.encode()  # half a character, which JSON can spell out, is none: UnicodeError
    if label.lower() in _NO_LABEL:
        return ""
    if len(label) > _LONGEST_LABEL or "\0" in label:
        raise ValueError(f"a label has at most {_LONGEST_LABEL} characters, not '{label:.40}...'")
    return label.lower() if label.lower() in ("true", "false") else label


def ordered_classes(labels: Collection[str], target: str) -> list[str]:
    """The classes of `target`: numbers by value, others by name; `UserError` without any."""
    if not labels:
        raise UserError(f"--target {target}:class: no row that is stored has a label of '{target}'")
    if len(labels) > _MOST_CLASSES:
        raise UserError(
            f"--target {target}:class: {len(labels):,} classes are more than {_MOST_CLASSES:,}; "
            f"a number to be predicted is --target {target}:UNIT=COLUMN"
        )
    try:
        return sorted(labels, key=lambda label: (float(label), label))
    except ValueError:
        return sorted(labels)


def class_indices(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(n,) int16 indices into `classes` of (n,) labels as UTF-8; -1 where there is none."""
    index = {label: k for k, label in enumerate(classes)} | {"": -1}
    found, place = np.unique(labels, return_inverse=True)
    return np.array([index[label.decode()] for label in found], np.int16)[place]


def class_counts(store: Store, target: str) -> dict[str, dict[str, int]]:
    """Samples of each class in each split, `unlabelled` ones last and only if there are any."""
    values, classes = store.values(target), store.targets[target].classes
    counts = {
        split: np.bincount(values[store.split == code] + 1, minlength=len(classes) + 1)
        for split, code in reversed(SPLITS.items())
    }
    rows = {
        label: {split: int(n[k]) for split, n in counts.items()}
        for k, label in enumerate(classes, start=1)
    }
    unlabelled = {split: int(n[0]) for split, n in counts.items()}
    return rows | ({"unlabelled": unlabelled} if any(unlabelled.values()) else {})


def remarks(store: Store) -> list[str]:
    """What a user should know of the store's own targets before training on them, a line each."""
    lines = []
    for name in store.manifest["targets"]:
        target = store.targets[name]
        lines += _of_classes(store, name) if target.is_class else _of_numbers(store, name)
    return lines


def _of_numbers(store: Store, name: str) -> list[str]:
    values = store.values(name)
    known = values[~np.isnan(values)]
    if not len(known) or not np.isin(known, (0, 1)).all():
        return []
    return [
        f"{name} holds 0 and 1 alone and is taken as a number (regression); "
        f"for classes: --target {name}:class=COLUMN"
    ]


def _of_classes(store: Store, name: str) -> list[str]:
    classes, values = store.targets[name].classes, store.values(name)
    lines = []
    if len(classes) == 1:
        lines.append(f"{name} has one class alone, '{classes[0]}': there is nothing to tell apart")
    train = np.bincount(values[store.indices("train")] + 1, minlength=len(classes) + 1)[1:]
    unseen = [label for label, n in zip(classes, train, strict=True) if not n]
    if unseen and train.any():  # a store may be there for tests alone
        lines.append(
            f"{name}: no training sample has the class{'es' if len(unseen) > 1 else ''} "
            f"{_listed(unseen)}, which a model cannot learn"
        )
    spellings: dict[object, list[str]] = {}
    for label in classes:
        spellings.setdefault(_meant(label), []).append(label)
    for alike in spellings.values():
        if len(alike) > 1:
            lines.append(f"{name}: {_listed(alike)} are different classes, by their spelling")
    return lines


def _meant(label: str) -> object:
    """What two spellings of a label have in common: the number, or the text without capitals."""
    try:
        return float(label)
    except ValueError:
        return " ".join(label.lower().split())


def _listed(labels: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:most])
    return shown + (f" and {len(labels) - most:,} more" if len(labels) > most else "")
