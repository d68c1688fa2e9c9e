"""Relaxation inside the space of distortions that keep the symmetry, and the E(V) curve.

Both are generators: they yield the structures that they need evaluated and are sent the
evaluations, so that `run_in_step` can put the structures of many crystals into one call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import spglib
from pymatgen.core import Structure

from mini.potential import Evaluation, Potential

GPA = 160.21766208  # GPa in one eV/A^3
FORCE_LIMIT = 0.02  # eV/A, largest component of the symmetric force
STRESS_LIMIT = 0.1  # GPa, largest component of the symmetric stress
VOLUME_RATIOS = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
# Curvatures that the first step assumes: 80 GPa for strains, 6 eV/A^2 for displacements.
STRAIN_STIFFNESS, SITE_STIFFNESS = 0.5, 6.0


class Rejected(Exception):
    """A crystal that is not kept; the message is the reason that is counted."""


@dataclass
class Request:
    """Structures to evaluate, with gradients or energies alone."""

    structures: list[Structure]
    gradients: bool


def dataset_of(structure: Structure, symprec: float):
    """spglib's symmetry data set of a structure; symprec in A."""
    cell = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    return spglib.get_symmetry_dataset(cell, symprec=symprec)


class SymmetricSpace:
    """The distortions of a structure that leave its space group as it is.

    A point is a vector of coefficients, scaled so that the assumed curvature is 1 along each.
    """

    def __init__(self, structure: Structure, symprec: float = 1e-3) -> None:
        self.structure = structure
        self.lattice = structure.lattice.matrix
        self.cart = structure.cart_coords
        strains, shifts = self._invariant(dataset_of(structure, symprec))
        self.strains = strains / np.sqrt(STRAIN_STIFFNESS * structure.volume)  # [n, 3, 3]
        self.shifts = shifts / np.sqrt(SITE_STIFFNESS)  # [m, sites, 3]
        self.size = len(self.strains) + len(self.shifts)

    def _invariant(self, dataset) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal invariant strains and shifts: the operations' mean projects on them."""
        sites = len(self.structure)
        frac = self.structure.frac_coords
        project_strain = np.zeros((9, 9))
        project_shift = np.zeros((3 * sites, 3 * sites))
        for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
            turn = self.lattice.T @ rotation @ np.linalg.inv(self.lattice.T)  # Cartesian
            away = (frac @ rotation.T + translation)[:, None] - frac[None]
            image = np.abs(away - away.round()).sum(-1).argmin(1)
            project_strain += np.kron(turn, turn)
            moved = np.zeros((sites, 3, sites, 3))
            moved[image, :, np.arange(sites), :] = turn
            project_shift += moved.reshape(3 * sites, 3 * sites)
        swap = np.eye(9).reshape(3, 3, 9).transpose(1, 0, 2).reshape(9, 9)
        order = len(dataset.rotations)
        strains = _unit_eigenvectors((project_strain @ (np.eye(9) + swap)) / (2 * order))
        shifts = _unit_eigenvectors(project_shift / order)
        shifts = shifts.reshape(-1, sites, 3)
        return strains.reshape(-1, 3, 3), shifts

    def _split(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Deformation (identity + strain) [3, 3] and displacements [sites, 3] in A."""
        n = len(self.strains)
        strain = np.tensordot(point[:n], self.strains, 1) if n else np.zeros((3, 3))
        shift = np.tensordot(point[n:], self.shifts, 1) if n < self.size else 0 * self.cart
        return np.eye(3) + strain, shift

    def at(self, point: np.ndarray) -> Structure:
        """The structure at a point."""
        deform, shift = self._split(point)
        frac = (self.cart + shift) @ np.linalg.inv(self.lattice)
        return Structure(self.lattice @ deform, self.structure.species, frac)

    def gradient(self, point: np.ndarray, evaluation: Evaluation) -> np.ndarray:
        """Energy gradient with respect to the coefficients."""
        deform, _ = self._split(point)
        by_strain = np.linalg.solve(deform.T, evaluation.strain_gradient)
        by_shift = evaluation.position_gradient @ deform.T
        return np.concatenate(
            [
                np.tensordot(self.strains, by_strain, 2),
                np.tensordot(self.shifts, by_shift, 2) if len(self.shifts) else np.zeros(0),
            ]
        )

    def residuals(self, gradient: np.ndarray, volume: float) -> tuple[float, float]:
        """Largest symmetric force (eV/A) and stress (GPa) of a gradient."""
        n = len(self.strains)
        # An invariant gradient g = sum_k c_k B_k / s has coefficients c_k with B orthonormal.
        stress = np.tensordot(gradient[:n], self.strains, 1) * STRAIN_STIFFNESS
        stress = stress * self.structure.volume / volume * GPA
        force = np.tensordot(gradient[n:], self.shifts, 1) * SITE_STIFFNESS
        return float(np.abs(force).max(initial=0)), float(np.abs(stress).max(initial=0))

    def limit(self, step: np.ndarray, radius: float) -> np.ndarray:
        """The step shortened to strains of `radius` and displacements of 2 A times `radius`."""
        deform, shift = self._split(step)
        longest = max(np.abs(deform - np.eye(3)).max(), np.abs(shift).max() / 2)
        return step * min(1.0, radius / max(longest, 1e-12))


def _unit_eigenvectors(projector: np.ndarray) -> np.ndarray:
    """Rows that span the space that a projector leaves alone."""
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return vectors[:, values > 0.5].T


def check_distances(structure: Structure, least: float = 0.55) -> None:
    """Refuse sites closer than `least` times the sum of their atomic radii (or 0.7 A)."""
    away = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
    shortest = np.minimum(away, min(structure.lattice.abc))
    radii = np.array([float(site.specie.atomic_radius or 1.5) for site in structure])
    if (shortest < np.maximum(least * (radii[:, None] + radii), 0.7)).any():
        raise Rejected("atoms too close")


def relax(
    structure: Structure,
    max_steps: int = 60,
    check: Callable[[Structure], None] | None = None,
) -> Generator[Request, list[Evaluation], tuple[Structure, float, int]]:
    """Relax cell and positions with the symmetry kept: BFGS with a trust radius.

    `check` looks at the structure every twelve steps and may raise Rejected.
    Returns the structure, its energy (eV per cell) and the number of evaluations.
    """
    space = SymmetricSpace(structure)
    point, radius = np.zeros(space.size), 0.06
    hessian = np.eye(space.size)
    best = energy = gradient = None
    for step in range(1, max_steps + 1):
        current = space.at(point)
        check_distances(current)
        if check and step % 12 == 0:
            check(current)
        if not 0.1 < current.volume / structure.volume < 3:
            raise Rejected("volume ran away")
        (evaluation,) = yield Request([current], True)
        new_gradient = space.gradient(point, evaluation)
        if not np.isfinite(new_gradient).all():
            raise Rejected("not finite")
        if best is not None:
            hessian = _bfgs(hessian, point - best, new_gradient - gradient)
        if best is None or evaluation.energy < energy + 1e-4:
            best, energy, gradient = point, evaluation.energy, new_gradient
            radius = min(1.3 * radius, 0.08)
            force, stress = space.residuals(gradient, current.volume)
            if force < FORCE_LIMIT and stress < STRESS_LIMIT:
                return current, energy, step
        else:
            radius *= 0.4
        point = best + space.limit(-np.linalg.solve(hessian, gradient), radius)
    raise Rejected("not relaxed in the step limit")


def _bfgs(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Hessian after a step and the change of the gradient along it, kept positive (Powell)."""
    pushed = hessian @ step
    along = step @ pushed
    if along < 1e-16:
        return hessian
    if step @ change < 0.2 * along:
        mix = 0.8 * along / (along - step @ change)
        change = mix * change + (1 - mix) * pushed
    return hessian - np.outer(pushed, pushed) / along + np.outer(change, change) / (step @ change)


@dataclass
class Equation:
    """Third-order Birch-Murnaghan fit: A^3 and eV per cell, bulk modulus in GPa."""

    volume: float
    energy: float
    bulk_modulus: float
    residual: float  # rms of the fit, eV per cell


def fit_birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> Equation | None:
    """Fit E(V), a cubic in x = V^(-2/3); None where the curve has no minimum."""
    volumes, energies = np.asarray(volumes), np.asarray(energies)
    scale = volumes.mean()
    cubic = np.polynomial.Polynomial.fit((volumes / scale) ** (-2 / 3), energies, 3).convert()
    slope, bend = cubic.deriv(1), cubic.deriv(2)
    real = [root.real for root in slope.roots() if abs(root.imag) < 1e-9]
    roots = [root for root in real if root > 0 and bend(root) > 0]
    if not roots:
        return None
    x = min(roots, key=lambda r: abs(r - 1))
    volume = scale * x**-1.5
    # V d2E/dV2 at the minimum; dx/dV = -(2/3) x / V.
    modulus = bend(x) * (2 / 3 * x) ** 2 / volume * GPA
    rest = energies - cubic((volumes / scale) ** (-2 / 3))
    return Equation(volume, float(cubic(x)), float(modulus), float(np.sqrt((rest**2).mean())))


def equation_of_state(
    structure: Structure, recentre: int = 2
) -> Generator[Request, list[Evaluation], tuple[Structure, Equation]]:
    """E(V) at fixed shape and fractional coordinates, its minimum bracketed.

    Where the minimum lies outside the inner points the curve is taken again around the estimate.
    Returns the structure at the minimum and the fit.
    """
    volume = structure.volume
    for _ in range(1 + recentre):
        points = [_scaled(structure, ratio * volume) for ratio in VOLUME_RATIOS]
        evaluations = yield Request(points, False)
        energies = np.array([e.energy for e in evaluations])
        volumes = np.array(VOLUME_RATIOS) * volume
        fit = fit_birch_murnaghan(volumes, energies)
        lowest = int(energies.argmin())
        if 0 < lowest < len(energies) - 1 and fit and abs(fit.volume / volume - 1) < 0.03:
            return _scaled(structure, fit.volume), fit
        volume = volumes[lowest]
    raise Rejected("E(V) minimum not bracketed")


def _scaled(structure: Structure, volume: float) -> Structure:
    """The structure at another volume (A^3), shape and fractional coordinates kept."""
    scale = (volume / structure.volume) ** (1 / 3)
    return Structure(structure.lattice.matrix * scale, structure.species, structure.frac_coords)


def run_in_step(
    tasks: Iterable[tuple[object, Generator]], potential: Potential, width: int
) -> Iterator[tuple[object, object]]:
    """Advance `width` generators together; yields (key, returned value or Rejected) as they end."""
    source, active = iter(tasks), []
    while True:
        while len(active) < width:
            key, task = next(source, (None, None))
            if task is None:
                break
            result = _advance(task, None)
            if isinstance(result, Request):
                active.append((key, task, result))
            else:
                yield key, result
        if not active:
            return
        answers = _evaluate_all([request for _, _, request in active], potential)
        going = []
        for (key, task, _), answer in zip(active, answers, strict=True):
            result = _advance(task, answer)
            if isinstance(result, Request):
                going.append((key, task, result))
            else:
                yield key, result
        active = going


def _advance(task: Generator, answer: list[Evaluation] | None):
    """The task's next request, or what it returned, or why it stopped."""
    try:
        return task.send(answer)
    except StopIteration as stop:
        return stop.value
    except Rejected as reason:
        return reason


def _evaluate_all(requests: list[Request], potential: Potential) -> list[list[Evaluation]]:
    """Evaluations of each request, those with and those without gradients batched apart."""
    answers: dict[int, list[Evaluation]] = {}
    for gradients in (True, False):
        chosen = [i for i, request in enumerate(requests) if request.gradients is gradients]
        structures = [s for i in chosen for s in requests[i].structures]
        results = iter(potential.evaluate(structures, gradients) if structures else [])
        for i in chosen:
            answers[i] = [next(results) for _ in requests[i].structures]
    return [answers[i] for i in range(len(requests))]
