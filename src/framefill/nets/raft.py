"""RAFT, optical flow by looking up, again and again, how well a pixel fits those around where the flow leads so far.

Teed and Deng, RAFT: Recurrent All-Pairs Field Transforms for Optical Flow, ECCV 2020, the large network. Modules carry the names of
torchvision's weights (`raft_large`), which load as they are; `renamed` gives the names of the authors' own files their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError, WeightsError
from framefill.nets.sampling import pixel_grid

HIDDEN, CONTEXT, FEATURES = 128, 128, 256  # channels of the state, of what stays the same, and of what is compared
LEVELS, RADIUS = 4, 4  # of the pyramid of scores, and of the look-up on each of its levels
FACTOR = 8  # by which the pictures are larger than what is compared
LEAST = 128  # pixels of a side that the pyramid needs
LOOKUPS = 20
SIDE = 2 * RADIUS + 1
# From the authors' names to torchvision's; what is left of the names stays.
NAMES = (
    (r"^module\.", ""),
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"encoder\.conv1\.", "encoder.convnormrelu.0."),
    (r"encoder\.norm1\.", "encoder.convnormrelu.1."),
    (r"encoder\.conv2\.", "encoder.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"update_block\.mask\.2\.", "mask_predictor.conv."),
)
TWICE = re.compile(r"layer\d\.\d\.norm3\.")  # the authors' files hold these norms a second time, as part of `downsample`


class Raft(nn.Module):
    """The network: `net(first, second)` is the flow from the first picture to the second, B 2 H W in pixels (x, y); 5,257,536 weights.

    Pictures are float B 3 H W in [-1, 1], of one size, sides multiples of 8 and 128 or more, else UsageError. It is for inference: a
    training step would move its running means, so it refuses to be put in training mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.feature_encoder = _Encoder(nn.InstanceNorm2d, FEATURES)
        self.context_encoder = _Encoder(nn.BatchNorm2d, HIDDEN + CONTEXT)
        self.update_block = _Update()
        self.mask_predictor = nn.Module()
        self.mask_predictor.convrelu = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU())
        self.mask_predictor.conv = nn.Conv2d(256, 9 * FACTOR**2, 1)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Raft:
        """Stay as it is: its running means are those of its training, whatever it is a part of is doing."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor, lookups: int = LOOKUPS) -> Tensor:
        """Return the flow after some look-ups."""
        height, width = first.shape[2:]
        if first.shape != second.shape or height % FACTOR or width % FACTOR or min(height, width) < LEAST:
            came = f"{tuple(first.shape)} and {tuple(second.shape)}"
            raise UsageError(f"pictures are {came}; expected one size, sides multiples of 8 from 128 on")
        one, other = self.feature_encoder(torch.cat((first, second))).chunk(2)
        pyramid = _scores(one, other)
        state, context = self.context_encoder(first).split((HIDDEN, CONTEXT), 1)
        state, context = state.tanh(), context.relu()
        start = pixel_grid(one.shape[2], one.shape[3], one)[None]
        flow = torch.zeros_like(one[:, :2])
        for _ in range(lookups):
            state, step = self.update_block(state, context, _looked_up(pyramid, start + flow), flow)
            flow = flow + step
        weights = self.mask_predictor.conv(self.mask_predictor.convrelu(state)) / 4  # the quarter is a part of the published weights
        return _enlarged(flow, weights)


class RaftBetween:
    """RAFT for pictures as numpy arrays: `flow(first, second)`."""

    def __init__(self, net: Raft) -> None:
        self._net = net

    @torch.inference_mode()
    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow from `first` to `second` (uint8 H W 3 of one size), float32 H W 2 in pixels (x, y)."""
        height, width = first.shape[:2]
        device = next(self._net.parameters()).device
        pictures = torch.tensor(np.stack((first, second)), device=device).permute(0, 3, 1, 2) / 127.5 - 1
        more = [max(LEAST, side + -side % FACTOR) - side for side in (width, height)]
        padded = functional.pad(pictures, (0, more[0], 0, more[1]), mode="replicate")
        one, other = padded.chunk(2)
        flow: NDArray[np.float32] = self._net(one, other)[0, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()
        return flow


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of the authors' files (raft-things.pth and its like) or of torchvision's the names of `Raft`'s state.

    Raises WeightsError for tensors of anything else.
    """
    made = {}
    for name, tensor in tensors.items():
        if TWICE.search(name):
            continue
        for old, new in NAMES:
            name = re.sub(old, new, name)  # noqa: PLW2901 - the rules follow on each other
        made[name] = tensor
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in Raft().state_dict().items()}
    if {name: tensor.shape for name, tensor in made.items()} != wanted:
        strange = sorted(made.keys() ^ wanted.keys())
        told = strange[0] if strange else next(name for name, shape in wanted.items() if made[name].shape != shape)
        raise WeightsError(f"these are no weights of RAFT's large network ({told} does not fit); take raft-things.pth or raft_large")
    return made


class _Encoder(nn.Module):
    """Features at an eighth of the size."""

    def __init__(self, norm: type[nn.InstanceNorm2d | nn.BatchNorm2d], made: int) -> None:
        super().__init__()
        self.convnormrelu = _convolved(norm, 3, 64, 7, 2)
        self.layer1 = nn.Sequential(_Residual(norm, 64, 64, 1), _Residual(norm, 64, 64, 1))
        self.layer2 = nn.Sequential(_Residual(norm, 64, 96, 2), _Residual(norm, 96, 96, 1))
        self.layer3 = nn.Sequential(_Residual(norm, 96, 128, 2), _Residual(norm, 128, 128, 1))
        self.conv = nn.Conv2d(128, made, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(x)))))


class _Residual(nn.Module):
    def __init__(self, norm: type[nn.InstanceNorm2d | nn.BatchNorm2d], seen: int, made: int, stride: int) -> None:
        super().__init__()
        self.convnormrelu1 = _convolved(norm, seen, made, 3, stride)
        self.convnormrelu2 = _convolved(norm, made, made, 3, 1)
        self.downsample = _convolved(norm, seen, made, 1, stride)[:2] if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class _Update(nn.Module):
    """One step: what the look-up and the flow so far say changes the state, and the state says where to go."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = nn.ModuleDict({
            "convcorr1": _rectified(LEVELS * SIDE**2, 256, 1),
            "convcorr2": _rectified(256, 192, 3),
            "convflow1": _rectified(2, 128, 7),
            "convflow2": _rectified(128, 64, 3),
            "conv": _rectified(256, 126, 3),
        })  # fmt: skip
        self.recurrent_block = nn.ModuleDict({"convgru1": _Gru((1, 5)), "convgru2": _Gru((5, 1))})
        self.flow_head = nn.ModuleDict({"conv1": nn.Conv2d(HIDDEN, 256, 3, padding=1), "conv2": nn.Conv2d(256, 2, 3, padding=1)})

    def forward(self, state: Tensor, context: Tensor, scores: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        tell = self.motion_encoder
        told = torch.cat((tell["convcorr2"](tell["convcorr1"](scores)), tell["convflow2"](tell["convflow1"](flow))), 1)
        seen = torch.cat((context, tell["conv"](told), flow), 1)
        for gru in self.recurrent_block.values():
            state = gru(state, seen)
        return state, self.flow_head["conv2"](self.flow_head["conv1"](state).relu())


class _Gru(nn.Module):
    def __init__(self, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.convz, self.convr, self.convq = (nn.Conv2d(HIDDEN + 256, HIDDEN, kernel, padding="same") for _ in range(3))

    def forward(self, state: Tensor, seen: Tensor) -> Tensor:
        both = torch.cat((state, seen), 1)
        update, reset = self.convz(both).sigmoid(), self.convr(both).sigmoid()
        return (1 - update) * state + update * self.convq(torch.cat((reset * state, seen), 1)).tanh()


def _convolved(norm: type[nn.InstanceNorm2d | nn.BatchNorm2d], seen: int, made: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(seen, made, kernel, stride, kernel // 2), norm(made), nn.ReLU())


def _rectified(seen: int, made: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(seen, made, kernel, padding=kernel // 2), nn.ReLU())


def _scores(one: Tensor, other: Tensor) -> list[Tensor]:
    """How well each pixel fits all of the other picture, B*h*w 1 h w, and that at a half, a quarter and an eighth."""
    height, width = one.shape[2:]
    every = torch.einsum("bcn,bcm->bnm", one.flatten(2), other.flatten(2)) / FEATURES**0.5
    pyramid = [every.reshape(-1, 1, height, width)]
    for _ in range(LEVELS - 1):
        pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
    return pyramid


def _looked_up(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """The scores around places B 2 h w on each level, B 324 h w; x steps slowly, y quickly, as in the published weights."""
    batch, _, height, width = places.shape
    steps = torch.arange(-RADIUS, RADIUS + 1, device=places.device, dtype=places.dtype)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), 2)  # 9 9 2 (x, y)
    centres = places.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for level, scores in enumerate(pyramid):
        size = torch.tensor((scores.shape[3], scores.shape[2]), device=places.device, dtype=places.dtype)
        grid = (2 * (centres / 2**level + around) + 1) / size - 1
        found.append(functional.grid_sample(scores, grid, align_corners=False).view(batch, height, width, SIDE**2))
    return torch.cat(found, 3).permute(0, 3, 1, 2)


def _enlarged(flow: Tensor, weights: Tensor) -> Tensor:
    """Enlarge a flow B 2 h w by 8: each new pixel is a mean of the 3x3 around it, weighted by the softmax of `weights` B 576 h w."""
    batch, _, height, width = flow.shape
    shares = weights.view(batch, 1, 9, FACTOR, FACTOR, height, width).softmax(2)
    near = functional.unfold(FACTOR * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    return (shares * near).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, FACTOR * height, FACTOR * width)
