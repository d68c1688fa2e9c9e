"""The pretrained CHGNet potential, many crystals in one call, on one CPU thread."""

from __future__ import annotations

import ctypes
import warnings
from dataclasses import dataclass

import numpy as np

MISSING = (
    "build_mini needs CHGNet and ASE, which nothing else in xxact does: "
    'install them with  pip install -e ".[mini]"'
)


@dataclass
class Evaluation:
    """Energy (eV per cell) and, where asked for, its gradients (None otherwise)."""

    energy: float
    position_gradient: np.ndarray | None = None  # [sites, 3] eV/A, Cartesian, cell fixed
    strain_gradient: np.ndarray | None = None  # [3, 3] eV, fractional coordinates fixed


class Potential:
    """CHGNet behind one method, `evaluate`."""

    def __init__(self) -> None:
        try:
            import torch
            from chgnet.model import CHGNet
        except ImportError as error:
            raise SystemExit(f"{MISSING}\n({error})") from None
        warnings.filterwarnings("ignore")
        _keep_freed_memory()
        torch.set_num_threads(1)
        self.model = CHGNet.load(use_device="cpu", verbose=False)
        self.model.graph_converter.set_isolated_atom_response("ignore")
        self.model.eval().requires_grad_(False)

    def evaluate(self, structures: list, gradients: bool = True) -> list[Evaluation]:
        """Energies of pymatgen structures, and both gradients if asked for.

        CHGNet's own `predict_graph` builds the graph of the second derivatives too, which is for
        training and costs three times as much.
        """
        import torch
        from chgnet.model.model import BatchedGraph

        with torch.set_grad_enabled(gradients):
            graphs = [self.model.graph_converter(structure) for structure in structures]
            batch = BatchedGraph.from_graphs(
                graphs,
                bond_basis_expansion=self.model.bond_basis_expansion,
                angle_basis_expansion=self.model.angle_basis_expansion,
                compute_stress=gradients,
            )
            per_atom = self.model._compute(batch)["e"]
            sizes = torch.tensor([len(s) for s in structures])
            total = per_atom * sizes
            offset = self.model.composition_model(graphs).detach().view(-1) * sizes
            energies = (total + offset).detach().double().tolist()
            if not gradients:
                return [Evaluation(energy) for energy in energies]
            leaves = [*batch.atom_positions, *batch.strains]
            grads = [g.double().numpy() for g in torch.autograd.grad(total.sum(), leaves)]
        n = len(structures)
        return [Evaluation(e, grads[i], grads[n + i]) for i, e in enumerate(energies)]


def _keep_freed_memory() -> None:
    """Have the C library keep freed memory: returning it costs half of the running time."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass
