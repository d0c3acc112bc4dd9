"""VDT as one first writes it down from its paper (arXiv 2305.13311) and DiT's (2212.09748): the plain side of the benchmark.

float32, attention by explicit matrices and softmax, nothing fused or compiled, one operation after the other. It is an honest plain
implementation: batched linear layers, fixed tables made once, no work done twice. Its parameters carry the names of framefill's net, so
that the weights of `vdt-s2-paper` load into it, strictly, and the two can be held against each other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PATCH = 2


class PlainVDT(nn.Module):
    """The published net with one class: noisy and known latents B T C h w and a step B in, noise and variance B T 2C h w out.

    Latents are `rows` x `rows`. The defaults are VDT-S/2.
    """

    def __init__(self, channels: int, rows: int, frames: int, size: int = 384, depth: int = 12, heads: int = 6) -> None:
        super().__init__()
        self.channels, self.side = channels, rows // PATCH
        self.patch_embed = nn.Conv2d(channels, size, PATCH, PATCH)
        self.level_embed = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(256, size), nn.SiLU(), nn.Linear(size, size))})
        self.label_embed = nn.Embedding(2, size)
        self.blocks = nn.ModuleList(PlainBlock(size, heads) for _ in range(depth))
        self.out_norm = nn.LayerNorm(size, elementwise_affine=False, eps=1e-6)
        self.out_modulation = nn.Linear(size, 2 * size)
        self.out = nn.Linear(size, PATCH * PATCH * 2 * channels)
        place = torch.arange(self.side)
        row, column = place.repeat_interleave(self.side), place.repeat(self.side)
        self.register_buffer("in_plane", torch.cat([waves(column, size // 2), waves(row, size // 2)], 1), persistent=False)
        self.register_buffer("in_time", waves(torch.arange(frames), size), persistent=False)

    def forward(self, x: Tensor, step: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        """Estimate the noise in x where `mask` B T 1 h w is 1; elsewhere the net sees `known`."""
        x = mask * x + (1 - mask) * known
        batch, frames = x.shape[:2]
        tokens = self.patch_embed(x.flatten(0, 1)).flatten(2).transpose(1, 2) + self.in_plane  # bt n d
        tokens = tokens.reshape(batch, frames, -1, tokens.shape[-1]) + self.in_time[:, None]  # b t n d
        waved = waves(step, 256)
        condition = self.level_embed["mlp"](torch.cat([waved[:, 128:], waved[:, :128]], 1))  # cosines first
        condition = nn.functional.silu(condition + self.label_embed(torch.ones_like(step, dtype=torch.long)))
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.out_modulation(condition)[:, None, None].chunk(2, -1)
        patches = self.out(self.out_norm(tokens) * (1 + scale) + shift)
        grid = patches.reshape(batch, frames, self.side, self.side, PATCH, PATCH, 2 * self.channels)
        return torch.einsum("btijpqc->btcipjq", grid).reshape(batch, frames, 2 * self.channels, *x.shape[-2:])


class PlainBlock(nn.Module):
    """Attention in time, attention in space, MLP."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(size)
        self.time_attention = PlainAttention(size, heads)
        self.time_out = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size, elementwise_affine=False, eps=1e-6)
        self.attention = PlainAttention(size, heads)
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(approximate="tanh"), nn.Linear(4 * size, size))
        self.modulation = nn.Linear(size, 6 * size)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Pass tokens B T N D on."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(condition)[:, None, None].chunk(6, -1)
        in_time = self.time_attention(self.time_norm(x).transpose(1, 2))  # b n t d
        x = x + self.time_out(in_time).transpose(1, 2)
        x = x + gate * self.attention(self.norm(x) * (1 + scale) + shift)
        return x + mlp_gate * self.mlp(self.norm(x) * (1 + mlp_scale) + mlp_shift)


class PlainAttention(nn.Module):
    """softmax(Q K' / sqrt(d)) V among the tokens ... L D of each leading index."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.qkv(x).chunk(3, -1))  # ... heads l d
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        return self.proj((weights @ value).transpose(-2, -3).flatten(-2))


def waves(positions: Tensor, size: int) -> Tensor:
    """Sines, then cosines of positions L at size/2 frequencies 1 to 1/10,000, L size."""
    frequencies = 10_000.0 ** (-torch.arange(size // 2) / (size // 2))
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def initialised(net: PlainVDT) -> PlainVDT:
    """Set the weights as DiT does: Xavier, zero biases, small embeddings, gates and the last layer zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    for layer in (net.out_modulation, net.out, *(block.modulation for block in net.blocks)):
        nn.init.zeros_(layer.weight)
    return net
