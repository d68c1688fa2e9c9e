"""Batches from a store whose columns live on the device: gathered by index, broadened there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from xxact.data.store import Store
from xxact.errors import UserError
from xxact.xrd.grid import N_POINTS

#: Widths that compositions are padded to: few, so that compiled kernels are reused.
COMPOSITION_SIZES = (4, 6, 8, 12, 20)

#: On a CPU, patterns that fit into this many bytes are broadened once and kept.
CACHE_BYTES = 1 << 30

#: Samples that are broadened together to fill the cache.
_CACHE_BLOCK = 256

#: Standard deviation of the Gaussian that broadens reflections, in degrees 2-theta.
SIGMA_DEG = 0.1


@dataclass
class Batch:
    """Inputs of B samples on one device.

    elements: (B, E) int64 atomic numbers, 0 where padded.
    fractions: (B, E) float32 atomic fractions, 0 where padded.
    pattern: (B, 4250) float32 in [0, 100], or None where no pattern was asked for; NaN where a
        degraded one was not measured.
    """

    elements: torch.Tensor
    fractions: torch.Tensor
    pattern: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.elements)


class DeviceStore:
    """A store's columns as tensors on `device`; 5 million Alexandria crystals need 2 to 4 GB.

    `xrd=False` leaves the reflections out, for models that read the composition alone.
    The lengths of the ragged columns are also kept on the host, so that gathering a batch never
    waits for the device. A CPU broadens slowly: there, the patterns of a data set that fit into
    `cache_bytes` (1 GiB: 63,000 patterns) are made when the first batch is asked for, and kept.
    """

    def __init__(
        self,
        store: Store,
        device: torch.device | str = "cpu",
        xrd: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ):
        self.store = store
        self.device = torch.device(device)
        self.has_xrd = xrd and store.has_xrd
        self._elements = _Ragged(
            store.element_offsets, (store.element_z, store.element_fraction), self.device
        )
        self._reflections = None
        if self.has_xrd:
            self._reflections = _Ragged(
                store.reflection_offsets, (store.two_theta, store.intensity), self.device
            )
        self._cached = self.device.type == "cpu" and 4 * N_POINTS * store.n <= cache_bytes
        self._cache: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.store.n

    def gather(
        self,
        indices: torch.Tensor | np.ndarray,
        pattern: bool = True,
        sigma: float = SIGMA_DEG,
        pattern_of: torch.Tensor | np.ndarray | None = None,
        degrade: np.ndarray | None = None,
    ) -> Batch:
        """The samples `indices` (B,), in that order.

        Indices on the CPU (a NumPy array or a tensor) need no wait for the device; those on
        another device are copied to the host first. `pattern=False` skips the broadening, `sigma`
        is its width in degrees 2-theta. `pattern_of` (B,) names samples whose patterns are taken
        in place of the samples' own. `degrade`, (B, ...) from `xxact.xrd.instrument.draw`, gives
        patterns as measured in place of clean ones, some of them NaN; those of `calculated` are
        what they are measurements of.
        """
        host = _on_host(indices)
        elements, fractions = self._elements.padded(host, COMPOSITION_SIZES)
        batch = Batch(elements.long(), fractions)
        if pattern and self._reflections is not None:
            source = host if pattern_of is None else _on_host(pattern_of)
            if degrade is None:
                batch.pattern = self._patterns(source, sigma)
            else:
                batch.pattern = self._degraded(source, degrade)
        return batch

    def calculated(self, indices: torch.Tensor | np.ndarray, degrade: np.ndarray) -> torch.Tensor:
        """The clean patterns (B, 4250) of samples that `gather` degrades by `degrade` (B, ...)."""
        from xxact.xrd.degradation import calculate

        two_theta, intensity, row = self._reflections.flat(_on_host(indices))  # (R,) each
        return calculate(two_theta, intensity, row, self._on_device(degrade))

    def _on_device(self, measurements: np.ndarray) -> torch.Tensor:
        return to_device(np.ascontiguousarray(measurements), self.device)

    def _patterns(self, host: np.ndarray, sigma: float) -> torch.Tensor:
        """Patterns of the samples `host` (B,), from the cache if there is to be one."""
        if not (self._cached and sigma == SIGMA_DEG):
            return self._broadened(host, sigma)
        if self._cache is None:
            # All at once and in blocks of their own: the bits do not depend on who asks first.
            self._cache = torch.empty(len(self), N_POINTS)
            for start in range(0, len(self), _CACHE_BLOCK):
                rows = np.arange(start, min(start + _CACHE_BLOCK, len(self)))
                self._cache[rows[0] : rows[-1] + 1] = self._broadened(rows, sigma)
        return self._cache.index_select(0, torch.from_numpy(host))  # (B, 4250)

    @cached_property
    def _train_rows(self) -> np.ndarray:
        return self.store.indices("train")

    def _broadened(self, host: np.ndarray, sigma: float) -> torch.Tensor:
        from xxact.xrd.broadening import broaden

        two_theta, intensity, row = self._reflections.flat(host)
        return broaden(two_theta, intensity, row, len(host), sigma)  # (B, 4250)

    def _degraded(self, host: np.ndarray, measurements: np.ndarray) -> torch.Tensor:
        """Patterns (B, 4250) of the samples `host` (B,) as measured, never kept; lines of training
        samples are the impurities'."""
        from xxact.xrd.degradation import degrade
        from xxact.xrd.instrument import column

        share, train = column(measurements, "impurity"), self._train_rows
        impure = np.flatnonzero(share) if len(train) else np.arange(0)
        place = (column(measurements, "impurity_at")[impure] * len(train)).astype(int)
        rows = np.concatenate([host, train[np.minimum(place, len(train) - 1)]])
        own = np.concatenate([np.arange(len(host)), impure])
        weight = np.concatenate([np.ones(len(host), "f4"), share[impure]])
        two_theta, intensity, row = self._reflections.flat(rows)  # (R,) each
        own, weight = to_device(own, self.device), to_device(weight, self.device)
        columns = two_theta, intensity * weight[row], own[row]
        return degrade(*columns, self._on_device(measurements))


class _Ragged:
    """Columns of rows of different lengths: row i is entries offsets[i] to offsets[i + 1]."""

    def __init__(self, offsets: np.ndarray, columns: tuple[np.ndarray, ...], device: torch.device):
        self._offsets = np.array(offsets)
        self._lengths = np.diff(self._offsets)
        self._device = device
        self._columns = [torch.from_numpy(np.array(column)).to(device) for column in columns]

    def padded(self, rows: np.ndarray, sizes: tuple[int, ...]) -> list[torch.Tensor]:
        """(B, E) of each column, 0 beyond a row's end; E is the least of `sizes` that will do."""
        lengths = self._lengths[rows]
        longest = int(lengths.max(initial=1))
        width = min((size for size in sizes if size >= longest), default=longest)
        column = np.arange(width)
        inside = column < lengths[:, None]  # (B, E)
        position = np.where(inside, self._offsets[rows][:, None] + column, 0)  # (B, E)
        inside, position = to_device(inside, self._device), to_device(position, self._device)
        return [values[position] * inside for values in self._columns]

    def flat(self, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        """(R,) of each column, row after row, and the (R,) int64 place in `rows` of each entry."""
        total = int(self._lengths[rows].sum())
        start = to_device(self._offsets[rows], self._device)  # (B,)
        length = to_device(self._lengths[rows], self._device)  # (B,)
        place = torch.arange(len(rows), device=self._device)  # (B,)
        row = torch.repeat_interleave(place, length, output_size=total)  # (R,)
        shift = start - (length.cumsum(0) - length)  # (B,)
        position = torch.arange(total, device=self._device) + shift[row]  # (R,)
        return *(values[position] for values in self._columns), row


def _on_host(indices: torch.Tensor | np.ndarray) -> np.ndarray:
    """Indices as a NumPy array of int64; `UserError` if they are no list of integers."""
    host = indices.cpu().numpy() if isinstance(indices, torch.Tensor) else np.asarray(indices)
    if host.ndim != 1 or host.dtype.kind not in "iu":
        raise UserError(
            f"indices must be a list of integers, got {host.dtype} of shape {host.shape}"
        )
    return host.astype(np.int64, copy=False)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array on a device. A copy to a GPU waits for nothing, neither does it for the copy."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
