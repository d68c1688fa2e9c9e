"""temporary"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

SIZES = {f"{k}k": k / 1000 for k in (1000, 2000, 3000, 4000, 4500)}


def sizes(control):
    return list(SIZES)


MODELS = {"crabnet": "CrabNet (composition)", "xxact": "XxaCT-NN (XRD + composition)"}
CONTROLS = {"": "equal epochs", "_steps": "equal steps"}
WHOLE = {"crabnet": "table1/crabnet_energy", "xxact": "table2/none"}


def run_name(model, size, control=""):
    return WHOLE[model] if size == "4500k" else f"scaling/{model}_{size}{control}"


@dataclass
class Fit:
    prefactor: float
    exponent: float


def fit_power_law(sizes, losses):
    if len(set(sizes)) < 2:
        return None
    f = stats.linregress(np.log(sizes), np.log(losses))
    return Fit(math.exp(f.intercept), f.slope)
