"""A measured pattern, and what has to be true of one before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact.errors import UserError
from xxact.inference.radiation import Radiation, tube

#: Fewer points are no pattern.
FEWEST_POINTS = 100
#: Angles of a diffractometer, in degrees 2-theta.
LOWEST_DEG, HIGHEST_DEG = -10.0, 180.0
#: Points further apart do not resolve a line of the models' patterns (0.235 degrees wide).
COARSEST_STEP_DEG = 0.25
#: Where the next point is further away than so many steps, and than a line is wide, nothing was
#: measured in between.
GAP_STEPS, GAP_DEG = 20, 0.3
#: Larger numbers, which squares and sums of would overflow, are no counts.
LARGEST = 1e30
#: Counts below zero come with a subtracted background; beyond this share of the highest one, or in
#: most points, they come from something else.
DEEPEST = 0.25
#: Zeros at the ends are padding where fewer of the other points, as a fraction, are zero.
RAREST_ZEROS = 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """A pattern as it was measured: angles ascend and are finite, as are the counts.

    two_theta_deg: (n,) float64, at least 100 points.
    counts: (n,) float64, in whatever unit: counts, counts per second, normalised.
    remarks: what was noticed and what was assumed, a sentence each.
    """

    name: str
    two_theta_deg: np.ndarray
    counts: np.ndarray
    radiation: Radiation
    remarks: tuple[str, ...] = ()

    @property
    def gaps_deg(self) -> list[tuple[float, float]]:
        """Ranges within the pattern in which nothing was measured."""
        steps = np.diff(self.two_theta_deg)
        wide = np.flatnonzero(steps > max(GAP_STEPS * np.median(steps), GAP_DEG))
        return [(self.two_theta_deg[k], self.two_theta_deg[k + 1]) for k in wide]


def measured_pattern(
    name: str,
    two_theta_deg: np.ndarray,
    counts: np.ndarray,
    radiation: Radiation | None = None,
) -> Measured:
    """The pattern of some angles and counts (n,), in any order that a scan can have.

    Descending angles are turned round, overlapping segments put in order and points at one angle
    averaged; remarks say so. Cu K-alpha is assumed without a radiation. Raises `UserError`, naming
    the pattern, for what is none.
    """
    angles, counts = (np.asarray(column, dtype=np.float64) for column in (two_theta_deg, counts))
    try:
        _check_numbers(angles, counts)
        angles, counts, remarks = _in_order(angles, counts)
        angles, counts = _without_padding(angles, counts, remarks)
        _check_pattern(angles, counts)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if radiation is None:
        radiation = tube("Cu", "assumed", certain=False)
        remarks.append("the wavelength is not in the file: Cu K-alpha is assumed (--wavelength)")
    if (negative := int((counts < 0).sum())) > 0:
        remarks.append(f"{negative} of {len(counts)} intensities are negative")
    pattern = Measured(name, angles, counts, radiation, tuple(remarks))
    gaps = [f"nothing was measured from {a:.2f} to {b:.2f} degrees" for a, b in pattern.gaps_deg]
    return Measured(name, angles, counts, radiation, (*remarks, *gaps))


def _check_numbers(angles: np.ndarray, counts: np.ndarray) -> None:
    """`UserError` for columns that cannot be those of one scan, in whatever order."""
    if angles.ndim != 1 or angles.shape != counts.shape:
        raise UserError(
            f"angles and counts have to be two columns of one length, not of shapes {angles.shape}"
            f" and {counts.shape}"
        )
    for what, column in (("2-theta", angles), ("intensity", counts)):
        if (broken := np.flatnonzero(~(np.abs(column) < LARGEST))).size:
            raise UserError(
                f"{broken.size} values of {what} are no numbers or too large (the first is point"
                f" {broken[0] + 1}): repair or remove these points"
            )
    if len(angles) < FEWEST_POINTS:
        raise UserError(
            f"the number of points is {len(angles)}, and a powder pattern has at least"
            f" {FEWEST_POINTS}"
        )


def _in_order(angles: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The points by ascending angle, each angle once, and remarks on what was done for that."""
    remarks = []
    if np.all(np.diff(angles) <= 0):
        angles, counts = angles[::-1], counts[::-1]
        remarks.append("the angles descend: the scan was turned round")
    drops = np.flatnonzero(np.diff(angles) < 0) + 1
    if drops.size:
        segments = np.diff([0, *drops, len(angles)])
        if segments.min() < FEWEST_POINTS:
            raise UserError(
                f"the angles go up and down ({drops.size} times back; first at point"
                f" {drops[0] + 1}): are the columns 2-theta and intensity?"
            )
        remarks.append(f"{len(segments)} overlapping scans were put together by angle")
        order = np.argsort(angles, kind="stable")
        angles, counts = angles[order], counts[order]
    distinct, place, times = np.unique(angles, return_inverse=True, return_counts=True)
    if len(distinct) < len(angles):
        remarks.append(f"points at {(times > 1).sum()} angles that are there twice were averaged")
        angles, counts = distinct, np.bincount(place, counts) / times
    return angles, counts, remarks


def _without_padding(
    angles: np.ndarray, counts: np.ndarray, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The points without runs of zeros at the ends, where zeros are rare elsewhere: some programs
    fill up their last line, or the range of a detector, with them."""
    seen = np.flatnonzero(counts)
    if not seen.size:
        return angles, counts
    first, last = seen[0], seen[-1] + 1
    padding = first + len(counts) - last
    is_line = last - first < FEWEST_POINTS  # one line of a pattern without background
    if padding < 2 or is_line or np.mean(counts[first:last] == 0) > RAREST_ZEROS:
        return angles, counts
    remarks.append(f"{padding} zeros at the ends of the scan were taken for padding")
    return angles[first:last], counts[first:last]


def _check_pattern(angles: np.ndarray, counts: np.ndarray) -> None:
    """`UserError` for points in order that are no powder pattern over 2-theta in degrees."""
    if len(angles) < FEWEST_POINTS:
        raise UserError(f"the points have {len(angles)} different angles: 2-theta has to vary")
    if angles[0] < LOWEST_DEG or angles[-1] > HIGHEST_DEG:
        raise UserError(
            f"angles from {angles[0]:g} to {angles[-1]:g} are no 2-theta in degrees (energies,"
            " channels, times?)"
        )
    if angles[-1] <= np.pi:
        raise UserError(
            f"angles up to {angles[-1]:g} look like radians, and degrees 2-theta are expected"
        )
    if (step := np.median(np.diff(angles))) > COARSEST_STEP_DEG:
        raise UserError(
            f"steps of {step:.2f} degrees do not resolve lines: at most {COARSEST_STEP_DEG:g} do"
        )
    highest = counts.max()
    if highest <= 0:
        kind = "zero" if not counts.any() else "zero or negative"
        raise UserError(f"all intensities are {kind}")
    if np.ptp(counts) == 0:
        raise UserError(f"all intensities are {highest:g}: there is nothing to see")
    if np.mean(counts < 0) > 0.5 or counts.min() < -DEEPEST * highest:
        raise UserError(
            f"{np.mean(counts < 0):.0%} of the intensities are negative, down to {counts.min():g}"
            f" at a maximum of {highest:g}: these are no counts"
        )
