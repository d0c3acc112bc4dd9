"""Parts that transformers for video share: patches, positions, attention with rotary positions, modulation.

Sinusoidal tables after Vaswani et al. 2017 in the layout of DiT (arXiv 2212.09748); rotary positions after Su et al. (arXiv 2104.09864),
the pairs of a head split over time, height and width; query-key normalisation after ViT-22B (arXiv 2302.05442).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Tokens up to which a CPU is faster in bf16 without the fused kernel: forward and backward of 64 tokens take 14 ms for its 47, of 8
# tokens 14 for 34, of 512 tokens 81 for 82; forward alone 7 for 12 (64 tokens) and 1.6 for 2.2 (16).
SHORT = 128

Rotary = tuple[Tensor, Tensor]  # cosine and sine of the angles, float32 L head_dim/2


def sinusoid(positions: Tensor, size: int, period: float = 10_000.0) -> Tensor:
    """Sines, then cosines, of positions (any shape) at `size`/2 falling frequencies: float32 ... size."""
    angles = positions.float()[..., None] * _frequencies(size // 2, period, positions.device)
    return torch.cat((angles.sin(), angles.cos()), -1)


def plane_table(rows: int, columns: int, size: int, device: torch.device) -> Tensor:
    """Fixed positions of a grid of patches, float32 rows*columns size: the first half tells the column, the second the row (DiT)."""
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.cat((sinusoid(column.flatten(), size // 2), sinusoid(row.flatten(), size // 2)), -1)


def time_table(frames: int, size: int, device: torch.device) -> Tensor:
    """Fixed positions of frames in a clip, float32 frames size."""
    return sinusoid(torch.arange(frames, device=device), size)


def rotary(positions: Tensor, head_dim: int, period: float) -> Rotary:
    """Angles of rotary positions for points L A with A axes (time, height, width, or fewer of them), `head_dim` even.

    The pairs of a head are dealt out evenly over the axes, the first axis taking what is left over.
    """
    pairs, axes = head_dim // 2, positions.shape[1]
    share = pairs // axes
    counts = [pairs - share * (axes - 1)] + [share] * (axes - 1)
    angles = torch.cat(
        [positions[:, axis, None].float() * _frequencies(count, period, positions.device) for axis, count in enumerate(counts)], 1
    )
    return angles.cos(), angles.sin()


def rotate(x: Tensor, angles: Rotary) -> Tensor:
    """Turn the pairs (first half, second half) of queries or keys ... L head_dim by their angles; scores then depend on distances only."""
    cosine, sine = (part.to(x.dtype) for part in angles)
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift normalised tokens by what the condition says: x (1 + scale) + shift."""
    return x * (1 + scale) + shift


class Attention(nn.Module):
    """Full attention among the tokens ... L D of each leading index; biases on all projections.

    normalise: RMS normalisation of queries and keys per head, which keeps the scores bounded in half precision.
    """

    def __init__(self, size: int, heads: int, normalise: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.query_norm = nn.RMSNorm(size // heads, eps=1e-6) if normalise else None
        self.key_norm = nn.RMSNorm(size // heads, eps=1e-6) if normalise else None
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor, angles: Rotary | None = None) -> Tensor:
        """Attend; `angles` of L positions turn queries and keys."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).flatten(0, -5).permute(2, 0, 3, 1, 4)  # n heads l head_dim
        query, key = _normalised(query, self.query_norm), _normalised(key, self.key_norm)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        return self.proj(attended(query, key, value).transpose(1, 2).reshape(x.shape))


class Mlp(nn.Sequential):
    """Two linear layers with a GELU (tanh form) between them, D -> ratio D -> D."""

    def __init__(self, size: int, ratio: float) -> None:
        wide = int(size * ratio)
        super().__init__(nn.Linear(size, wide), nn.GELU(approximate="tanh"), nn.Linear(wide, size))


class LevelEmbedding(nn.Module):
    """A noise level (any shape) as a vector ... D: 256 cosines and sines, then two linear layers with a SiLU between them."""

    WAVES = 256

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.WAVES, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, level: Tensor) -> Tensor:
        """Embed levels; they are kept in float32 until the waves are made."""
        sine, cosine = sinusoid(level, self.WAVES).chunk(2, -1)
        return self.mlp(torch.cat((cosine, sine), -1).to(self.mlp[0].weight.dtype))


def initialise_linear(module: nn.Module) -> None:
    """Give every linear layer inside Xavier's uniform weights and zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def set_to_zero(layer: nn.Linear) -> None:
    """Make a layer give nothing but zeros until it has been trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mix values N heads L head_dim, by PyTorch's fused kernel but where that kernel is the slower way."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[-2] <= SHORT:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return scores.softmax(-1).to(value.dtype) @ value
    return functional.scaled_dot_product_attention(query, key, value)


def _normalised(x: Tensor, norm: nn.RMSNorm | None) -> Tensor:
    # In x's own precision: autocast leaves the weights in float32, for which PyTorch has no fused kernel.
    return x if norm is None else functional.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


def _frequencies(count: int, period: float, device: torch.device) -> Tensor:
    return torch.exp(torch.arange(count, device=device, dtype=torch.float32) * (-math.log(period) / max(count, 1)))


def float32_norms(module: nn.Module) -> None:
    """Let a CPU's autocast compute group norms in float32, as a GPU's does: in bf16 their backward takes three times as long.

    What autocast does not surround stays as it is.
    """
    for norm in module.modules():
        if isinstance(norm, nn.GroupNorm):
            norm.register_forward_pre_hook(_widened)
            norm.register_forward_hook(_narrowed)


def _widened(_norm: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    return (given[0].float(),) if torch.is_autocast_enabled("cpu") else given


def _narrowed(_norm: nn.Module, _given: tuple[Tensor], made: Tensor) -> Tensor:
    return made.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else made
