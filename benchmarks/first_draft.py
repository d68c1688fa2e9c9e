"""What one would write first for the same models, losses and data: the reference of `train.py`.

torch's own layers in float32 (autocast on a GPU), dense float32 patterns from a `DataLoader`, one
step after another. The modules carry the parameter names of `xxact.models`, so that weights can be
handed over and both sides shown to compute the same function.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from xxact.data.batches import DeviceStore
from xxact.data.store import Store
from xxact.data.targets import Target
from xxact.models.spec import (
    N_PADDED,
    CompositionSpec,
    ConvolutionSpec,
    EncoderSpec,
    ModelSpec,
    PatternSpec,
    XRDSpec,
)
from xxact.training.sampler import Sampler
from xxact.training.spec import RunSpec
from xxact.xrd.grid import N_POINTS


def options(spec: EncoderSpec) -> dict:
    """The arguments of torch's transformer layers."""
    return {
        "d_model": spec.width,
        "nhead": spec.heads,
        "dim_feedforward": spec.feedforward,
        "dropout": spec.dropout,
        "norm_first": spec.norm_first,
        "batch_first": True,
    }


def encoder(spec: EncoderSpec) -> nn.TransformerEncoder:
    norm = nn.LayerNorm(spec.width) if spec.norm_first else None
    layer = nn.TransformerEncoderLayer(**options(spec))
    return nn.TransformerEncoder(layer, spec.layers, norm, enable_nested_tensor=False)


def decoder(spec: EncoderSpec) -> nn.TransformerDecoder:
    norm = nn.LayerNorm(spec.width) if spec.norm_first else None
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(**options(spec)), spec.layers, norm)


class CompositionEncoder(nn.Module):
    def __init__(self, spec: CompositionSpec, cls: bool) -> None:
        super().__init__()
        self.resolution = spec.resolution
        self.table = nn.Embedding(119, spec.element_width, padding_idx=0)
        self.projection = nn.Linear(spec.element_width, spec.width)
        self.element_scale = nn.Parameter(torch.ones(1))
        self.fraction_scale = nn.Parameter(torch.ones(2))
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, spec.width)) if cls else None
        self.encoder = encoder(spec)
        width = spec.width // 2
        column = torch.arange(width)
        angle = torch.arange(spec.resolution)[:, None] / 50 ** (2 * column / width)
        encoding = torch.where(column % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("encoding", encoding, persistent=False)

    def encode(self, fraction: Tensor) -> Tensor:
        index = (fraction.clamp(1 / self.resolution, 1) * self.resolution).round().long() - 1
        return self.encoding[index]  # (B, E, W / 2)

    def forward(self, elements: Tensor, fractions: Tensor) -> tuple[Tensor, Tensor]:
        x = self.projection(self.table(elements)) * 2**self.element_scale  # (B, E, W)
        scale = 2 ** ((1 - self.fraction_scale) ** 2)
        logarithmic = 0.0025 * torch.log2(fractions) ** 2
        encodings = self.encode(fractions) * scale[0], self.encode(logarithmic) * scale[1]
        x = x + torch.cat(encodings, dim=-1)
        padding = elements == 0  # (B, E)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1)  # (B, 1 + E, W)
            padding = F.pad(padding, (1, 0), value=False)
        return self.encoder(x, src_key_padding_mask=padding), padding


class XRDEncoder(nn.Module):
    def __init__(self, spec: XRDSpec) -> None:
        super().__init__()
        self.tokens = spec.tokens
        self.projection = nn.Linear(N_POINTS // spec.tokens, spec.width)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, spec.width))
        self.positions = nn.Parameter(0.02 * torch.randn(1 + spec.tokens, spec.width))
        self.encoder = encoder(spec)

    def forward(self, windows: Tensor) -> Tensor:
        x = self.projection(windows)  # (B, 17, W)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1) + self.positions
        return self.encoder(x)  # (B, 18, W)


class XxactNN(nn.Module):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        super().__init__()
        window = N_POINTS // spec.xrd.tokens
        self.composition = CompositionEncoder(spec.composition, cls=True)
        self.xrd = XRDEncoder(spec.xrd)
        self.composition_bridge = nn.Linear(spec.composition.width, spec.fusion.width)
        self.xrd_bridge = nn.Linear(spec.xrd.width, spec.fusion.width)
        self.fusion = decoder(spec.fusion)
        self.mxm_head = nn.Linear(spec.fusion.width, window)
        self.mask_token = nn.Parameter(torch.randn(window))
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())
        self.heads = heads(spec.fusion.width, targets)

    def windows(self, pattern: Tensor) -> Tensor:
        return pattern.unflatten(-1, (self.xrd.tokens, -1))  # (B, 17, 250)

    def fuse(self, xrd: Tensor, composition: Tensor, padding: Tensor) -> Tensor:
        memory = self.composition_bridge(composition)
        return self.fusion(self.xrd_bridge(xrd), memory, memory_key_padding_mask=padding)

    def forward(self, elements: Tensor, fractions: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        composition, padding = self.composition(elements, fractions)
        cls = self.fuse(self.xrd(self.windows(pattern)), composition, padding)[:, 0]
        return {name: head(cls) for name, head in self.heads.items()}

    def pretrain(
        self, elements: Tensor, fractions: Tensor, pattern: Tensor, objective: str, mask: Tensor
    ) -> Tensor:
        """Loss of a pretraining objective; `mask` (B, 17) says which windows are masked."""
        loss = torch.zeros((), device=pattern.device)
        composition, padding = self.composition(elements, fractions)
        windows = self.windows(pattern)  # (B, 17, 250)
        if "contrastive" in objective:
            c = F.normalize(composition[:, 0].float(), dim=-1)
            x = F.normalize(self.xrd(windows)[:, 0].float(), dim=-1)
            logits = c @ x.T / self.log_temperature.exp()  # (B, B)
            own = torch.arange(len(logits), device=logits.device)
            loss = loss + (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        if "mxm" in objective:
            masked = torch.where(mask[..., None], self.mask_token, windows)
            fused = self.fuse(self.xrd(masked), composition, padding)[:, 1:]
            error = (torch.relu(self.mxm_head(fused)).float() - windows).square().mean(-1)
            loss = loss + ((error * mask).sum(1) / mask.sum(1)).mean()
        return loss


class PatternEncoder(nn.Module):
    def __init__(self, spec: PatternSpec) -> None:
        super().__init__()
        step, pairs = spec.stride, list(itertools.pairwise(spec.channels))
        self.first = nn.Conv1d(2, spec.channels[0], 2 * step, step, step // 2)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"convolution": nn.Conv1d(a, b, 3, padding=1), "norm": nn.LayerNorm(b)})
            for a, b in pairs
        )
        self.projection = nn.Linear(spec.channels[-1], spec.width)
        self.cls = nn.Sequential(
            nn.Linear(spec.tokens * spec.width, spec.feedforward),
            nn.ReLU(),
            nn.Linear(spec.feedforward, spec.width),
        )
        self.positions = nn.Parameter(0.02 * torch.randn(spec.tokens, spec.width))
        self.encoder = encoder(spec) if spec.layers else nn.Identity()

    def forward(self, pattern: Tensor) -> Tensor:
        pattern = F.pad(pattern, (0, N_PADDED - N_POINTS), value=torch.nan)
        unknown = pattern.isnan()
        x = torch.stack((pattern.nan_to_num().sqrt(), unknown.float()), dim=1)  # (B, 2, 4352)
        x = torch.relu(self.first(x))  # (B, C, L)
        for block in self.blocks:
            x = F.max_pool1d(block["convolution"](x), 2)
            x = torch.relu(block["norm"](x.transpose(1, 2))).transpose(1, 2)
        x = self.projection(x.transpose(1, 2)) + self.positions  # (B, 17, W)
        return self.encoder(torch.cat((self.cls(x.flatten(1))[:, None], x), dim=1))  # (B, 18, W)


class XxactConv(XxactNN):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        nn.Module.__init__(self)
        self.composition = CompositionEncoder(spec.composition, cls=True)
        self.xrd = PatternEncoder(spec.pattern)
        self.composition_bridge = nn.Linear(spec.composition.width, spec.fusion.width)
        self.xrd_bridge = nn.Linear(spec.pattern.width, spec.fusion.width)
        self.fusion = decoder(spec.fusion)
        self.mxm_head = nn.Linear(spec.fusion.width, spec.pattern.points)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())
        self.heads = heads(spec.fusion.width, targets)

    def windows(self, pattern: Tensor) -> Tensor:
        return pattern


class CrabNet(nn.Module):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        super().__init__()
        self.composition = CompositionEncoder(spec.composition, cls=False)
        self.heads = nn.ModuleDict(
            {
                target.name: OutputNet(
                    spec.composition.width,
                    spec.output_widths,
                    target.n_outputs if target.is_class else 3,
                )
                for target in targets
            }
        )

    def forward(self, elements: Tensor, fractions: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        x, padding = self.composition(elements, fractions)
        weight = (~padding).float()[..., None]  # (B, E, 1)
        outputs = {}
        for name, head in self.heads.items():
            mean = (head(x) * weight).sum(1) / weight.sum(1)
            gated = mean.shape[1] == 3
            outputs[name] = mean[:, :1] * torch.sigmoid(mean[:, 2:]) if gated else mean
        return outputs


class OutputNet(nn.Module):
    def __init__(self, n_inputs: int, widths: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        sizes = list(zip([n_inputs, *widths], widths, strict=False))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sizes)
        self.around = nn.ModuleList(
            nn.Linear(a, b, bias=False) if a != b else nn.Identity() for a, b in sizes
        )
        self.output = nn.Linear(sizes[-1][1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer, around in zip(self.layers, self.around, strict=True):
            x = F.leaky_relu(layer(x)) + around(x)
        return self.output(x)


class XRDTransformer(nn.Module):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        super().__init__()
        self.xrd = XRDEncoder(spec.xrd)
        self.heads = heads(spec.xrd.width, targets)

    def forward(self, elements: Tensor, fractions: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        cls = self.xrd(pattern.unflatten(-1, (self.xrd.tokens, -1)))[:, 0]
        return {name: head(cls) for name, head in self.heads.items()}


class Trunk(nn.Module):
    def __init__(self, spec: ConvolutionSpec, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout if spec.dropout is None else spec.dropout)
        sizes = zip((1, *spec.channels), spec.channels, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in sizes)

    def forward(self, pattern: Tensor) -> Tensor:
        x = pattern[:, None]  # (B, 1, L)
        for i, convolution in enumerate(self.convolutions):
            x = self.dropout(x) if i else x
            x = F.max_pool1d(F.leaky_relu(convolution(x), 0.3), 2)
        return x  # (B, C, L >> 12)


class FCN(nn.Module):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        super().__init__()
        self.trunk = Trunk(spec.convolution, 0.2)
        self.dropout = nn.Dropout(spec.convolution.top_dropout)
        self.convolution = nn.Conv1d(spec.convolution.channels[-1], 64, 3, padding=1)
        self.heads = heads(64, targets)

    def forward(self, elements: Tensor, fractions: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        x = self.convolution(self.dropout(self.trunk(pattern)))
        x = self.dropout(F.max_pool1d(x, 2, ceil_mode=True).flatten(1))  # (B, 64)
        return {name: head(x) for name, head in self.heads.items()}


class FCNMLP(nn.Module):
    def __init__(self, spec: ModelSpec, targets: Sequence[Target]) -> None:
        super().__init__()
        self.trunk = Trunk(spec.convolution, 0.1)
        p = self.trunk.dropout.p
        self.composition = perceptron((100, 128, 256, 256, 128, 128, 64), p)
        self.composition.append(nn.Linear(64, 16))
        n_trunk = spec.convolution.channels[-1] * spec.convolution.output_length
        self.joined = perceptron((n_trunk + 16, 128, 16), p)
        self.heads = heads(16, targets)

    def forward(self, elements: Tensor, fractions: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        dense = fractions.new_zeros(len(elements), 101)
        dense.scatter_add_(1, torch.where(elements > 100, 0, elements), fractions)
        both = self.trunk(pattern).flatten(1), self.composition(dense[:, 1:])
        x = self.joined(torch.cat(both, dim=1))  # (B, 16)
        return {name: head(x) for name, head in self.heads.items()}


def perceptron(widths: Sequence[int], dropout: float) -> nn.Sequential:
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.3), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def heads(width: int, targets: Sequence[Target]) -> nn.ModuleDict:
    return nn.ModuleDict({target.name: nn.Linear(width, target.n_outputs) for target in targets})


def build(spec: ModelSpec, targets: Sequence[Target], weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of `spec` with the weights of one of `xxact.models`."""
    kinds = {
        "xxact_nn": XxactNN,
        "xxact_conv": XxactConv,
        "crabnet": CrabNet,
        "xrd_transformer": XRDTransformer,
        "fcn": FCN,
        "fcn_mlp": FCNMLP,
    }
    model = kinds[spec.kind](spec, targets)
    own = model.state_dict()
    model.load_state_dict({name: value.reshape(own[name].shape) for name, value in weights.items()})
    return model


class DenseExamples(Dataset):
    """Examples as NumPy arrays in memory; the composition is padded to the longest there is."""

    def __init__(self, store: Store, patterns: np.ndarray | None, values: Sequence[np.ndarray]):
        lengths = np.diff(store.element_offsets)
        width = int(lengths.max())
        self.elements = np.zeros((store.n, width), dtype=np.int64)
        self.fractions = np.zeros((store.n, width), dtype=np.float32)
        held = np.arange(width) < lengths[:, None]
        self.elements[held], self.fractions[held] = store.element_z, store.element_fraction
        self.patterns, self.values = patterns, values

    def __getitem__(self, slot: tuple[int, int]) -> tuple:
        row, task = slot
        pattern = self.patterns[row] if self.patterns is not None else np.float32(0)
        own = self.values[task][row] if self.values else np.float32(0)
        return self.elements[row], self.fractions[row], pattern, np.float32(own), task


class SlotBatches:
    """The batches of a sampler without end, as the `DataLoader` wants them: lists of slots."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in itertools.count():
            slots = self.sampler.batch(step)
            yield list(zip(slots.rows.tolist(), slots.tasks.tolist(), strict=True))


def loader(
    examples: DenseExamples, sampler: Sampler, workers: int, device: torch.device
) -> DataLoader:
    """Batches of dense examples, in the order of `sampler`."""
    return DataLoader(
        examples,
        batch_sampler=SlotBatches(sampler),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )


def dense_patterns(store: Store, data: DeviceStore) -> np.ndarray:
    """All patterns (N, 4250) float32."""
    rows = np.arange(store.n)
    blocks = [data.gather(rows[start : start + 512]).pattern for start in range(0, store.n, 512)]
    return torch.cat(blocks).cpu().numpy()


class Loop:
    """The training loop: loss, backward, AdamW, on what the loader yields."""

    def __init__(
        self, model: nn.Module, targets: Sequence[Target], spec: RunSpec, device: torch.device
    ) -> None:
        self.model, self.targets, self.spec = model.to(device).train(), targets, spec
        self.device = device
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=spec.optimizer.peak_lr,
            betas=spec.optimizer.betas,
            weight_decay=spec.optimizer.weight_decay,
        )

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """The loss of one batch of the loader."""
        on_gpu = self.device.type == "cuda"
        moved = (x.to(self.device, non_blocking=on_gpu) for x in batch)
        elements, fractions, pattern, value, task = moved
        with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            if not self.spec.supervised:
                mask = self.draw_mask(len(task))
                return self.model.pretrain(elements, fractions, pattern, self.spec.objective, mask)
            outputs = self.model(elements, fractions, pattern)
            return self.multi_target(outputs, value, task)

    def draw_mask(self, batch: int) -> Tensor:
        """Windows to mask (B, 17): 5 % of them, one at random where none was drawn."""
        shape = batch, self.model.xrd.tokens
        mask = torch.rand(shape, device=self.device) < self.spec.mask_fraction
        one = F.one_hot(torch.randint(shape[1], (batch,), device=self.device), shape[1]).bool()
        return mask | (one & ~mask.any(1, keepdim=True))

    def multi_target(self, outputs: dict[str, Tensor], value: Tensor, task: Tensor) -> Tensor:
        """Mean over the slots of each slot's own task's loss."""
        total = torch.zeros((), device=self.device)
        for i, target in enumerate(self.targets):
            own = task == i
            output = outputs[target.name][own].float()
            if target.is_class:
                total = total + F.cross_entropy(output, value[own].long(), reduction="sum")
            else:
                error = (output.squeeze(-1) - value[own]).square().sum()
                total = total + self.spec.regression_weight * error
        return total / len(task)

    def step(self, batch: Sequence[Tensor]) -> float:
        """One optimiser step; its loss, as one prints it."""
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
