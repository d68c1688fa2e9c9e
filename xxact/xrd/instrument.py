"""What instruments and samples do to patterns: ranges that measurements are drawn from.

A measured pattern is what `xxact.xrd.degradation` makes of reflections and one row of `draw`. The
ranges are those of laboratory powder diffractometers with a copper tube; each says where it comes
from, and those that nothing published fixes say so. Quantiles "of 217 powders" are of measured
patterns, made of Cu K-alpha, of inorganic powders from public repositories; "207 cleaned powders"
are those of them with a sure phase, as `xxact.inference.cleanup` leaves them before their lines
change shape. What is chosen after them makes them a development set, and no test of models that
are trained on it.

Left out, as it needs the indices of the reflections, which stores do not keep: texture by March and
Dollase, for which intensities vary at random; and strain that changes the shape of the cell. To
shift lines at random instead would blur the ratios of d that tell a cubic cell from one nearly so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xxact.xrd.grid import TWO_THETA_MAX_DEG, TWO_THETA_MIN_DEG

_CAGLIOTI = "G. Caglioti et al., Nucl. Instrum. 3, 223 (1958)"
_GSAS = "GSAS-II (B. H. Toby and R. B. Von Dreele, J. Appl. Cryst. 46, 544 (2013))"
_SCHUETZKE = "J. Schuetzke et al., IUCrJ 8, 408 (2021), and their powdiffrac"
_SZYMANSKI = "N. J. Szymanski et al., Chem. Mater. 33, 4204 (2021), and their XRD-AutoAnalyzer"
_SPILLMAN = "M. Spillman, powcodgen"
_POWDERS = "5 and 95 % quantiles of 217 powders"


@dataclass(frozen=True)
class Range:
    """Uniform between `low` and `high`, or uniform in the logarithm; where it comes from.

    A part `share` of the measurements has a value from it, the others have `otherwise`.
    """

    low: float
    high: float
    source: str
    log: bool = False
    share: float = 1.0
    otherwise: float = 0.0

    def at(self, uniform: np.ndarray) -> np.ndarray:
        """Values for numbers uniform in [0, 1); a zero gives `otherwise`, if there is one."""
        drawn = (uniform - (1 - self.share)) / self.share
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = low + (high - low) * drawn
        return np.where(drawn >= 0, np.exp(value) if self.log else value, self.otherwise)


#: By name: what a measurement is made of. Widths are full widths at half maximum; heights are in
#: parts of the strongest line's, before the background is taken off.
RANGES = {
    # Where lines are.
    "zero_deg": Range(-0.03, 0.03, f"{_SPILLMAN}: as large"),
    "displacement_deg": Range(  # 2 s / R, for a sample s below its place in a circle of radius R
        *(-0.15, 0.15),
        f"shift of cos(theta): H. P. Klug and L. E. Alexander, X-ray Diffraction Procedures (1974);"
        f" 0.15 degrees are 0.26 mm in a circle of 200 mm. {_SZYMANSKI}: all lines up to 0.25",
    ),
    "strain": Range(  # of every d
        *(-0.02, 0.02),
        f"{_SZYMANSKI}, and {_SCHUETZKE}: up to 0.04, for solid solutions; calculated cells err by"
        " a percent or two",
    ),
    # How intense.
    "texture": Range(  # standard deviation of the logarithm of an intensity
        *(0.0, 0.5),
        f"{_SZYMANSKI}, and {_SCHUETZKE}: factors from 0.4 to 1, of which the logarithm varies by"
        " 0.26; 97 powders whose structure AMCSD has: 0.05 to 0.43 (5 and 95 %)",
    ),
    "debye_waller": Range(  # B in square angstroms
        *(0.0, 1.6), f"up to twice that of U = 0.01 square angstroms, with which {_GSAS} starts"
    ),
    "alpha2": Range(  # intensity of the line of K-alpha-2, of K-alpha-1's
        *(0.0, 0.5),
        "0.5 is the ratio of the tube's lines; the clean-up takes it out, but of a pattern whose"
        " radiation is not known; chosen: one in four keeps part of it",
        share=0.25,
    ),
    # How wide: Gaussian by Caglioti, U tan^2 + V tan + W; Lorentzian by size and strain.
    "caglioti_w": Range(
        *(0.0025, 0.04),
        f"square degrees: lines of 0.05 to 0.2 degrees. {_CAGLIOTI}; {_GSAS} has 0.0028 for a"
        " laboratory's instrument; the lines of 217 powders have 0.13 to 0.38",
        log=True,
    ),
    "caglioti_u": Range(0.0, 0.01, f"square degrees; {_GSAS} has 0.0011"),
    "caglioti_v": Range(  # in parts of -2 sqrt(U W), at which a width vanishes
        0.0, 0.6, f"{_GSAS} has 0.32"
    ),
    "size_nm": Range(
        *(25.0, 1000.0),
        f"of crystallites: {_SCHUETZKE}: 10 to 100 nm; {_GSAS} starts with 1000. Below 25, lines"
        " are wider than those of 19 powders in 20",
        log=True,
    ),
    "microstrain": Range(  # of it, lines of 217 powders widen by 8 % above 50 degrees
        0.0, 0.001, f"{_GSAS} starts with 0.001; up to 0.0015, lines widen by 30 %"
    ),
    # What the lines stand on.
    "background": Range(0.0016, 0.1, f"its median: {_POWDERS}", log=True),
    "slope": Range(-0.5, 0.5, f"of the background, in its parts: {_SCHUETZKE}: polynomials"),
    "curvature": Range(-0.3, 0.3, f"of the background, in its parts: {_SCHUETZKE}: polynomials"),
    "air": Range(  # height at 5 degrees of what falls as 1 / 2-theta
        *(0.005, 0.2), f"{_SCHUETZKE}: 0.02 to 0.3; 217 powders: up to 0.2", log=True, share=0.6
    ),
    "hump": Range(  # height of an amorphous part
        0.005, 0.1, "chosen: seen in some of 217 powders", log=True, share=0.2
    ),
    "hump_deg": Range(15.0, 35.0, "around the halo of silica glass at 22 degrees"),
    "hump_width_deg": Range(6.0, 16.0, "around that of the halo of silica glass, 8 degrees"),
    "background_left": Range(  # of the background, after it was taken off
        *(-0.03, 0.03),
        "chosen: arPLS goes through the middle of what is between the lines; with it, the median"
        " of a pattern is 0.01 to 1 % of the strongest line, as that of 207 cleaned powders",
    ),
    "tails_taken": Range(  # of what the tails of lines add up to between them, taken off with it
        *(0.7, 1.0),
        "chosen: with arPLS 20 to 38 % of the points of 207 cleaned powders are zero; without"
        " this, hardly any of a degraded pattern",
    ),
    # How well it was counted.
    "counts": Range(  # at the top of the strongest line
        1e3, 1e6, "the noise of 217 powders: 0.006 to 0.22 % of the strongest line", log=True
    ),
    "impurity": Range(  # height of another sample's strongest line
        *(0.01, 0.1),
        "chosen: from what is just seen to what is no longer a trace",
        log=True,
        share=0.3,
    ),
    # What was measured.
    "first_deg": Range(
        *(TWO_THETA_MIN_DEG, 20.0),
        "a tenth of 217 powders begins at 10 degrees or above, one in twenty at 15",
        share=0.3,
        otherwise=TWO_THETA_MIN_DEG,
    ),
    "last_deg": Range(
        *(55.0, TWO_THETA_MAX_DEG),
        "half of 217 powders ends at 65 degrees, three quarters by 87",
        share=0.6,
        otherwise=TWO_THETA_MAX_DEG,
    ),
    # Places in what is drawn anyway: tables of random numbers, the samples of a store.
    "noise_at": Range(0.0, 1.0, "a place"),
    "texture_at": Range(0.0, 1.0, "a place"),
    "impurity_at": Range(0.0, 1.0, "a place"),
}


def draw(seed: int, n: int, cut: bool = True) -> np.ndarray:
    """What `n` measurements are made of: (n, len(RANGES)) float32, in the order of `RANGES`.

    The rows follow from `seed` and their places alone. Without `cut` all is measured from 5 to
    90 degrees, for models that cannot be told of what was not.
    """
    uniform = np.random.default_rng(seed).random((n, len(RANGES)))
    columns = []
    for (name, range_), column in zip(RANGES.items(), uniform.T, strict=True):
        columns.append(range_.at(column if cut or name not in ("first_deg", "last_deg") else 0.0))
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float32)


def column(measurements: np.ndarray, name: str) -> np.ndarray:
    """The values (n,) of `name` in what `draw` gave."""
    return measurements[:, list(RANGES).index(name)]
