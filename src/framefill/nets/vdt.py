"""VDT, a video diffusion transformer that fills whatever a mask marks: prediction, interpolation, generation, completion in one net.

Lu et al., VDT: General-purpose Video Diffusion Transformers via Mask Modeling, ICLR 2024 (arXiv 2305.13311), on the blocks of DiT
(arXiv 2212.09748). `vdt_s2_paper` and `vdt_l2_paper` are that net. The default differs: known content and the mask are inputs of their own,
every frame has its own noise level (a known one is marked as clean; Diffusion Forcing, arXiv 2407.01392), rotary positions take any
length and size, queries and keys are normalised, and the temporal branch is modulated and gated like the others, so that a new net is the
identity. `vdt_tiny` also shares one modulation among its blocks (adaLN-single, PixArt-alpha, arXiv 2310.00426), a third of its weights.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.nets.layers import (
    Attention,
    LevelEmbedding,
    Mlp,
    Rotary,
    initialise_linear,
    modulate,
    plane_table,
    rotary,
    set_to_zero,
    time_table,
)

Kind = Literal["factorised", "full", "frame"]
Conditioning = Literal["concat", "compose"]
Positions = Literal["rotary", "table"]
Temporal = Literal["gated", "plain"]
Modulation = Literal["block", "shared"]
Config = dict[str, int | float | str | bool]


class VDT(ModelMixin, ConfigMixin):
    """The network: `net(x, noise_level, mask, known, labels)` of any length and size; float B T C H W in and B T C_out H W out.

    in_channels: C of what is denoised. out: C, or 2 C with `learned_variance` (the second half is the variance's).
    attention: "factorised" is time, then space; "full" is all tokens at once; "frame" is space alone (DiT, an image net).
    conditioning: "concat" gives known content and mask as further channels and marks wholly known frames as clean; "compose" writes
    known content into `x` and tells no more (the paper's). positions: "rotary", or the paper's sinusoidal "table".
    temporal: "gated" is modulated by the noise level and gated; "plain" is the paper's, with a second output layer and neither.
    modulation: one layer per block ("block") or one for all plus an offset per block ("shared").
    noise_scale multiplies the noise level before it is embedded in waves of 1 to 1/10,000 radians a unit.
    input_skip adds `x` to the output by a learned factor of noise level and channel: the noise of a patch of more numbers than
    `hidden_size` could not pass through the tokens (8 clips of 8x32x32, patches of 192 numbers, 96 wide, 250 steps, flow: loss 0.20,
    without it 0.75).
    num_classes: 0 for none, else labels 0 .. num_classes, of which the last stands for "no label".
    Raises UsageError for a name or a number that cannot be.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("Block",)

    @register_to_config
    def __init__(  # noqa: PLR0913, PLR0917 - what is registered here is the saved config
        self,
        in_channels: int = 4,
        patch_size: int = 2,
        hidden_size: int = 384,
        num_layers: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        num_classes: int = 0,
        attention: Kind = "factorised",
        conditioning: Conditioning = "concat",
        positions: Positions = "rotary",
        temporal: Temporal = "gated",
        modulation: Modulation = "block",
        qk_norm: bool = True,
        learned_variance: bool = False,
        input_skip: bool = True,
        rotary_period: float = 100.0,
        noise_scale: float = 1.0,
    ) -> None:
        super().__init__()
        _check(hidden_size, num_heads, attention, conditioning, positions, temporal, modulation)
        self.gradient_checkpointing = False
        seen = 2 * in_channels + 1 if conditioning == "concat" else in_channels
        self.patch_embed = nn.Conv2d(seen, hidden_size, patch_size, patch_size)
        self.level_embed = LevelEmbedding(hidden_size)
        self.label_embed = nn.Embedding(num_classes + 1, hidden_size) if num_classes else None
        self.clean_embed = nn.Parameter(torch.zeros(hidden_size)) if conditioning == "concat" else None
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, mlp_ratio, attention, temporal, modulation, qk_norm) for _ in range(num_layers)
        )
        parts = self.blocks[0].parts
        self.shared_modulation = nn.Linear(hidden_size, parts * hidden_size) if modulation == "shared" else None
        self.out_norm = nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)
        self.out_modulation = nn.Linear(hidden_size, 2 * hidden_size)
        self.out_channels = in_channels * (2 if learned_variance else 1)
        self.out = nn.Linear(hidden_size, patch_size**2 * self.out_channels)
        self.skip = nn.Linear(hidden_size, in_channels) if input_skip else None
        self._initialise()

    def forward(
        self, x: Tensor, noise_level: Tensor, mask: Tensor | None = None, known: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Estimate what the process wants of `x` (scaled by it), float B T C_out H W of x's size.

        noise_level: B, or B T with a level of its own for every frame. mask: B T 1 H W, 1 = unknown; None: all is unknown.
        known: B T C H W, read where the net's conditioning says; needed with a mask. labels: integer B; None: no label.
        """
        height, width = x.shape[-2:]
        given = self._padded(self._given(x, mask, known))  # b t c h w
        condition = self._condition(noise_level, mask, labels, x.shape[:2])  # b t d or b 1 d
        x = self.patch_embed(given.flatten(0, 1))  # bt d rows columns
        rows, columns = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2).unflatten(0, given.shape[:2])  # b t n d
        active = functional.silu(condition)
        angles = self._angles(x, rows, columns)
        if angles is None:
            frames, size = x.shape[1], x.shape[3]
            x = x + plane_table(rows, columns, size, x.device).to(x.dtype)
            if self.config.attention != "frame":
                x = x + time_table(frames, size, x.device).to(x.dtype)[:, None]
        shared = None if self.shared_modulation is None else self.shared_modulation(active)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, active if shared is None else shared, angles)
            else:
                x = block(x, active if shared is None else shared, angles)
        shift, scale = self.out_modulation(active)[:, :, None].chunk(2, -1)
        made = self._pictures(self.out(modulate(self.out_norm(x), shift, scale)), rows, columns)
        made = made[..., :height, :width]
        if self.skip is None:
            return made
        unknown = given[:, :, : self.config.in_channels, :height, :width]
        passed = self.skip(active)[..., None, None] * unknown
        return made + functional.pad(passed, (0, 0, 0, 0, 0, self.out_channels - passed.shape[2]))

    def _given(self, x: Tensor, mask: Tensor | None, known: Tensor | None) -> Tensor:
        """What the patches are cut from: x with the known content written into it, or all side by side."""
        if (mask is None) != (known is None):
            raise UsageError("the net was given one of mask and known content, expected both or neither")
        compose = self.config.conditioning == "compose"
        if mask is None or known is None:
            return x if compose else torch.cat((x, torch.zeros_like(x), torch.ones_like(x[:, :, :1])), 2)
        mask, known = mask.to(x.dtype), known.to(x.dtype)
        if compose:
            return torch.where(mask > 0, x, known)
        # What stands in x under known content is the sampler's business: nothing may depend on it.
        return torch.cat((torch.where(mask > 0, x, 0), known, mask), 2)

    def _padded(self, given: Tensor) -> Tensor:
        """The picture continued to the right and below to whole patches."""
        patch = self.config.patch_size
        sides = (0, -given.shape[-1] % patch, 0, -given.shape[-2] % patch)
        if not any(sides):
            return given
        return functional.pad(given.flatten(0, 1), sides, mode="replicate").unflatten(0, given.shape[:2])

    def _condition(self, noise_level: Tensor, mask: Tensor | None, labels: Tensor | None, clip: torch.Size) -> Tensor:
        """One vector for each frame, or for all of a sample's frames where they share one: B T D or B 1 D."""
        level = noise_level[:, None] if noise_level.ndim == 1 else noise_level
        if level.shape not in ((clip[0], 1), tuple(clip)):
            raise UsageError(f"noise level is {tuple(noise_level.shape)} for a batch of {clip[0]} clips of {clip[1]} frames; give B or B T")
        condition = self.level_embed(level * self.config.noise_scale)
        if self.clean_embed is not None and mask is not None:
            clean = (mask.amax((2, 3, 4)) == 0)[..., None]  # b t 1
            condition = torch.where(clean, self.clean_embed.to(condition.dtype), condition)
        if self.label_embed is None:
            if labels is not None:
                raise UsageError("labels were given to a net without classes; leave them out")
            return condition
        if labels is None:
            labels = torch.full((clip[0],), self.config.num_classes, device=condition.device)
        return condition + self.label_embed(labels)[:, None]

    def _angles(self, x: Tensor, rows: int, columns: int) -> Angles | None:
        """Rotary angles of the two attentions for tokens B T N D; None where positions are added as a table."""
        if self.config.positions == "table":
            return None
        head_dim, period = self.config.hidden_size // self.config.num_heads, self.config.rotary_period
        axes = [torch.arange(count, device=x.device) for count in (x.shape[1], rows, columns)]
        if self.config.attention == "full":
            return None, rotary(torch.cartesian_prod(*axes), head_dim, period)
        in_time = rotary(axes[0][:, None], head_dim, period) if self.config.attention == "factorised" else None
        return in_time, rotary(torch.cartesian_prod(*axes[1:]), head_dim, period)

    def _pictures(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """Put patches B T N P*P*C together: B T C H W."""
        side, channels = self.config.patch_size, self.out_channels
        batch, frames = patches.shape[:2]
        grid = patches.view(batch, frames, rows, columns, side, side, channels).permute(0, 1, 6, 2, 4, 3, 5)
        return grid.reshape(batch, frames, channels, rows * side, columns * side)

    def _initialise(self) -> None:
        """Start as DiT does: Xavier everywhere, small embeddings, every gate and the last layer zero."""
        initialise_linear(self)
        nn.init.xavier_uniform_(self.patch_embed.weight.view(self.patch_embed.weight.shape[0], -1))
        nn.init.zeros_(self.patch_embed.bias)
        for layer in (self.level_embed.mlp[0], self.level_embed.mlp[2], self.label_embed):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
        if self.clean_embed is not None:
            nn.init.normal_(self.clean_embed, std=0.02)
        for layer in (self.out_modulation, self.out, self.shared_modulation, self.skip, *(block.modulation for block in self.blocks)):
            if layer is not None:
                set_to_zero(layer)


Angles = tuple[Rotary | None, Rotary]  # of the attention in time, and of the one in space (or in both)


class Block(nn.Module):
    """One layer, in the order time, space, MLP, each a residual branch; tokens B T N D in and out."""

    def __init__(  # noqa: PLR0917 - the net is its only caller
        self, size: int, heads: int, mlp_ratio: float, attention: Kind, temporal: Temporal, modulation: Modulation, qk_norm: bool
    ) -> None:
        super().__init__()
        self.full = attention == "full"
        self.gated = attention == "factorised" and temporal == "gated"
        self.parts = 9 if self.gated else 6  # shift, scale and gate of every modulated branch
        self.modulation = nn.Linear(size, self.parts * size) if modulation == "block" else None
        self.offset = nn.Parameter(torch.zeros(self.parts * size)) if modulation == "shared" else None
        self.norm = nn.LayerNorm(size, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(size, heads, qk_norm)
        self.mlp = Mlp(size, mlp_ratio)
        if attention == "factorised":
            self.time_attention: Attention | None = Attention(size, heads, qk_norm)
            self.time_norm = nn.LayerNorm(size, elementwise_affine=not self.gated, eps=1e-6 if self.gated else 1e-5)
            self.time_out = nn.Identity() if self.gated else nn.Linear(size, size)
        else:
            self.time_attention = None

    def forward(self, x: Tensor, condition: Tensor, angles: Angles | None) -> Tensor:
        """Pass the tokens on; `condition` B T D (or B 1 D): what this block's modulation is made of, or the modulation that all share."""
        parts = condition + self.offset if self.modulation is None else self.modulation(condition)
        pieces = list(parts[:, :, None].chunk(self.parts, -1))  # b t 1 d each
        in_time, in_space = (None, None) if angles is None else angles
        if self.time_attention is not None:
            shift, scale, gate = (pieces.pop(0) for _ in range(3)) if self.gated else (None, None, None)
            tokens = self.time_norm(x)
            if shift is not None and scale is not None:
                tokens = modulate(tokens, shift, scale)
            mixed = self.time_out(self.time_attention(tokens.transpose(1, 2), in_time)).transpose(1, 2)
            x = x + (mixed if gate is None else gate * mixed)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = pieces
        tokens = modulate(self.norm(x), shift, scale)
        mixed = self.attention(tokens.flatten(1, 2), in_space).view_as(x) if self.full else self.attention(tokens, in_space)
        x = x + gate * mixed
        return x + mlp_gate * self.mlp(modulate(self.norm(x), mlp_shift, mlp_scale))


def vdt_s2(in_channels: int = 4) -> Config:
    """Config of VDT-S/2 in the modern form: 12 layers of 384 in 6 heads on patches of 2x2."""
    return {"in_channels": in_channels, "patch_size": 2, "hidden_size": 384, "num_layers": 12, "num_heads": 6}


def vdt_l2(in_channels: int = 4) -> Config:
    """Config of VDT-L/2 in the modern form: 28 layers of 1152 in 16 heads on patches of 2x2."""
    return {"in_channels": in_channels, "patch_size": 2, "hidden_size": 1152, "num_layers": 28, "num_heads": 16}


def vdt_s2_paper(in_channels: int = 4, num_classes: int = 1) -> Config:
    """Config of VDT-S/2 as published: 41,361,056 trainable parameters with 4 channels and one class."""
    return {**vdt_s2(in_channels), **_paper(num_classes)}


def vdt_l2_paper(in_channels: int = 4, num_classes: int = 1) -> Config:
    """Config of VDT-L/2 as published: 859,704,224 trainable parameters with 4 channels and one class."""
    return {**vdt_l2(in_channels), **_paper(num_classes)}


def vdt_tiny(in_channels: int = 3, patch_size: int = 4) -> Config:
    """Config of the net that is small enough to be shipped: 8 layers of 160 in 5 heads, for pixels of 64x64 (or latents) in 16 frames."""
    net: Config = {"in_channels": in_channels, "patch_size": patch_size, "hidden_size": 160, "num_layers": 8, "num_heads": 5}
    return {**net, "modulation": "shared"}


PRESETS = {"vdt-s2": vdt_s2, "vdt-l2": vdt_l2, "vdt-tiny": vdt_tiny, "vdt-s2-paper": vdt_s2_paper, "vdt-l2-paper": vdt_l2_paper}


def _paper(num_classes: int) -> Config:
    conditioned: Config = {"conditioning": "compose", "positions": "table", "temporal": "plain", "qk_norm": False}
    return {**conditioned, "learned_variance": True, "input_skip": False, "num_classes": num_classes}


def _check(  # noqa: PLR0917 - one number after the other, as the net takes them
    hidden_size: int, num_heads: int, attention: str, conditioning: str, positions: str, temporal: str, modulation: str
) -> None:
    if hidden_size % (4 * num_heads):
        raise UsageError(f"hidden size is {hidden_size} with {num_heads} heads, expected a multiple of 4 x heads")
    choices = {"attention": (attention, Kind), "conditioning": (conditioning, Conditioning), "positions": (positions, Positions)}
    choices |= {"temporal": (temporal, Temporal), "modulation": (modulation, Modulation)}
    for name, (value, allowed) in choices.items():
        if value not in get_args(allowed):
            raise UsageError(f"{name} is {value!r}, expected one of {', '.join(get_args(allowed))}")
