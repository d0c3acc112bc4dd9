"""GMFlow, optical flow as matching of all pixels with all: features that know of both pictures, then a softmax over the other picture.

Xu, Zhang, Cai, Rezatofighi, Tao, GMFlow: Learning Optical Flow via Global Matching, CVPR 2022 (arXiv 2111.13680), the variant with one
refinement: matched at 1/8 of the size over the whole picture, then at 1/4 over 9x9 pixels around where the first flow points.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.nets.sampling import pixel_grid, warp

WIDTH = 128  # channels of the features
LAYERS = 6  # of the transformer
MULTIPLE = 32  # height and width are padded to a multiple of this: at 1/8 there are 2x2 windows that are shifted by half, at 1/4 8x8
COARSE_WINDOWS, FINE_WINDOWS = 2, 8  # attention windows along each side
RADIUS = 4  # pixels at 1/4 around the first flow's end in which the second match is sought
SIZE = 320, 896  # height and width at which pictures are compared
FACTOR = 4  # by which the flow is enlarged at the end
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, R G B


class Gmflow(nn.Module):
    """The network: `net(first, second)` is the flow from the first picture to the second.

    Pictures are float B 3 H W, RGB in 0 .. 1, of any one size; the flow is B 2 H W in pixels (x, y): what is at p in the first is at
    p + flow in the second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.layers = nn.ModuleList(_Layer(shifted=number % 2 == 1) for number in range(LAYERS))
        self.propagation = _Propagation()
        self.upsampler = nn.Sequential(nn.Conv2d(WIDTH + 2, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 9 * FACTOR**2, 1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow, B 2 H W. Raises UsageError for pictures of two sizes."""
        if first.shape != second.shape:
            raise UsageError(f"flow is between pictures of one size; came {tuple(first.shape)} and {tuple(second.shape)}")
        height, width = first.shape[2:]
        sides = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        pictures = functional.pad(torch.cat((first, second)), sides, mode="replicate")
        fine, coarse = self.encoder((pictures - _colour(MEAN, pictures)) / _colour(DEVIATION, pictures))

        near, far = coarse.chunk(2)
        one, other = self._attend(near, far, COARSE_WINDOWS)
        flow = self.propagation(one, _match_all(one, other))
        flow = 2 * functional.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)

        near, far = fine.chunk(2)
        one, other = self._attend(near, warp(far, flow, padding="zeros"), FINE_WINDOWS)
        flow = self.propagation.around(one, flow + _match_around(one, other))
        return _enlarge(flow, self.upsampler(torch.cat((flow, one), 1)))[..., :height, :width]

    def _attend(self, first: Tensor, second: Tensor, windows: int) -> tuple[Tensor, Tensor]:
        """Let the features B C H W of both pictures look at each other, within `windows` x `windows` windows."""
        height, width = first.shape[2:]
        place = _places(height // windows, width // windows, first).repeat(1, windows, windows)
        both = (torch.cat((first, second)) + place).permute(0, 2, 3, 1)  # b h w c
        for layer in self.layers:
            both = layer(both, windows)
        first, second = both.permute(0, 3, 1, 2).chunk(2)
        return first, second


class FlowBetween:
    """GMFlow for pictures as numpy arrays, to be used wherever a measure wants a flow: `flow(first, second)`.

    Pictures are resized to `SIZE` and the flow back, pictures higher than wide with x and y exchanged: the network is only as exact as it
    can be where its positions are those of its training. Mean error on six synthetic scenes of 432x240 to 640x384 pixels with shifts of
    4 to 24: 0.10 pixels at 896x320, 0.22 at 768x384, 0.29 at 640x320; at their own size, 1.1 to 1.3 for 432x240, 0.4 for 640x384.
    """

    name = "gmflow"

    def __init__(self, net: Gmflow) -> None:
        self._net = net.eval()

    @torch.inference_mode()
    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow from `first` to `second` (uint8 H W 3 of one size), float32 H W 2 in pixels (x, y).

        Raises UsageError for pictures of two sizes.
        """
        if first.shape != second.shape:
            raise UsageError(f"flow is between pictures of one size; came {first.shape} and {second.shape}")
        height, width = first.shape[:2]
        device = next(self._net.parameters()).device
        pictures = torch.tensor(np.stack((first, second)), device=device).permute(0, 3, 1, 2) / 255
        if height > width:
            pictures = pictures.transpose(2, 3)
        size = pictures.shape[2:]
        one, other = functional.interpolate(pictures, SIZE, mode="bilinear", antialias=True).chunk(2)
        flow = functional.interpolate(self._net(one, other), size, mode="bilinear", antialias=True)
        flow = flow * torch.tensor((size[1] / SIZE[1], size[0] / SIZE[0]), device=device)[:, None, None]
        if height > width:
            flow = flow.transpose(2, 3).flip(1)
        result: NDArray[np.float32] = flow[0].permute(1, 2, 0).contiguous().cpu().numpy()
        return result


class _Encoder(nn.Module):
    """Features B 128 h w at 1/4 and 1/8 of the size; the last convolution is one for both, run with strides 1 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        plan = ((64, 64, 1), (64, 64, 1), (64, 96, 2), (96, 96, 1), (96, 128, 1), (128, 128, 1))
        self.blocks = nn.Sequential(*(_Residual(*sizes) for sizes in plan))
        self.head = nn.Conv2d(128, WIDTH, 1)
        self.branch = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = self.head(self.blocks(functional.relu(functional.instance_norm(self.stem(pictures)))))
        return self.branch(x), functional.conv2d(x, self.branch.weight, stride=2, padding=1)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(before, after, 1, stride) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(functional.instance_norm(self.first(x)))
        y = functional.relu(functional.instance_norm(self.second(y)))
        if self.skip is not None:
            x = functional.instance_norm(self.skip(x))
        return functional.relu(x + y)


class _Layer(nn.Module):
    """Attention within a picture, attention to the other one, and a perceptron; in every second layer the windows are shifted by half.

    Works on the features B H W C of two pictures one after the other in the batch.
    """

    def __init__(self, *, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.own = _Attention()
        self.cross = _Attention()
        self.perceptron = nn.Sequential(
            nn.Linear(2 * WIDTH, 8 * WIDTH, bias=False), nn.GELU(), nn.Linear(8 * WIDTH, WIDTH, bias=False), nn.LayerNorm(WIDTH)
        )

    def forward(self, both: Tensor, windows: int) -> Tensor:
        count, height, width = both.shape[:3]
        tall, wide = height // windows, width // windows
        shift, allowed = (0, 0), None
        if self.shifted:
            # All but attention is done pixel by pixel, so the layer's whole work may be shifted, and shifted back at the end.
            shift = tall // 2, wide // 2
            both = both.roll((-shift[0], -shift[1]), (1, 2))
            allowed = _same_side(height, width, windows, shift, both.device)
        x = _cut(both, windows)
        other = x.roll(count // 2, 0)
        x = x + self.own(x, x, allowed)
        x = x + self.perceptron(torch.cat((x, self.cross(x, other, allowed)), -1))
        out = _join(x, windows, tall, wide)
        return out.roll(shift, (1, 2)) if self.shifted else out


class _Attention(nn.Module):
    """Attention of each pixel of `x` to the pixels of `other` in its window, B N L C; `allowed` bool 1 N L L says to which of them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.merge = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, other: Tensor, allowed: Tensor | None) -> Tensor:
        message = functional.scaled_dot_product_attention(self.query(x), self.key(other), self.value(other), allowed)
        out: Tensor = self.norm(self.merge(message))
        return out


class _Propagation(nn.Module):
    """Flow carried to where nothing matches, from pixels that look alike: attention within the first picture's features."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)

    def forward(self, features: Tensor, flow: Tensor) -> Tensor:
        query = self.query(features.flatten(2).transpose(1, 2))  # b n c
        # The key is made of the query: so the published weights were trained.
        found = _attend_all(query, self.key(query), flow.flatten(2).transpose(1, 2))
        return found.transpose(1, 2).reshape(flow.shape)

    def around(self, features: Tensor, flow: Tensor) -> Tensor:
        """Do the same among the 3x3 pixels around each."""
        features = features.permute(0, 2, 3, 1)
        scores = _scores_around(self.query(features), self.key(features), 1)
        near = functional.unfold(flow, 3, padding=1).view(len(flow), 2, 9, *flow.shape[2:])
        return (scores.softmax(1)[:, None] * near).sum(2)


def _match_all(one: Tensor, other: Tensor) -> Tensor:
    """Return the flow B 2 H W to the mean place of what matches in all of `other`; features B C H W."""
    height, width = one.shape[2:]
    grid = pixel_grid(height, width, one)
    places = grid.flatten(1).T.expand(len(one), -1, -1)
    found = _attend_all(one.flatten(2).transpose(1, 2), other.flatten(2).transpose(1, 2), places)
    return found.transpose(1, 2).reshape(len(one), 2, height, width) - grid


def _match_around(one: Tensor, other: Tensor) -> Tensor:
    """Return the flow B 2 H W to the mean place of what matches in `other` within `RADIUS` pixels; features B C H W."""
    weights = _scores_around(one.permute(0, 2, 3, 1).contiguous(), other.permute(0, 2, 3, 1).contiguous(), RADIUS).softmax(1)
    steps = torch.arange(-RADIUS, RADIUS + 1, device=one.device, dtype=one.dtype)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.einsum("bnhw,cn->bchw", weights, torch.stack((x.flatten(), y.flatten())))


def _scores_around(query: Tensor, key: Tensor, radius: int) -> Tensor:
    """Return how well each pixel of `query` fits the (2 radius + 1)² of `key` around it, B N H W; what is outside the picture, not at all.

    Features B H W C.
    """
    height, width = query.shape[1:3]
    padded = functional.pad(key, (0, 0, radius, radius, radius, radius))
    inside = functional.pad(torch.ones(height, width, dtype=torch.bool, device=key.device), (radius,) * 4)
    scores = []
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            rows, columns = slice(down, down + height), slice(right, right + width)
            score = (query * padded[:, rows, columns]).sum(3) / math.sqrt(WIDTH)
            scores.append(score.masked_fill(~inside[rows, columns], -math.inf))
    return torch.stack(scores, 1)


def _attend_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of all pixels to all, B N C; few channels of value are padded, so that the scores are never stored."""
    channels = value.shape[-1]
    value = functional.pad(value, (0, query.shape[-1] - channels))
    return functional.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0, :, :channels]


def _enlarge(flow: Tensor, mask: Tensor) -> Tensor:
    """Enlarge a flow B 2 H W by `FACTOR`: each new pixel is a mean of the 3x3 around it, weighted by `mask` B 9 * FACTOR² H W."""
    count, _, height, width = flow.shape
    weights = mask.view(count, 9, FACTOR, FACTOR, height, width).softmax(1)
    near = functional.unfold(FACTOR * flow, 3, padding=1).view(count, 2, 9, height, width)
    large = torch.einsum("bnyxhw,bcnhw->bchywx", weights, near)
    return large.reshape(count, 2, FACTOR * height, FACTOR * width)


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """Return the sine encoding of each pixel's place, C H W: half of the channels for y, half for x."""
    half = WIDTH // 2
    periods = 10000 ** (torch.arange(0, half, 2, device=like.device, dtype=like.dtype) / half)
    parts = []
    for length in (height, width):
        angles = torch.arange(1, length + 1, device=like.device, dtype=like.dtype) * (2 * math.pi / length)
        angles = angles[:, None] / periods
        parts.append(torch.stack((angles.sin(), angles.cos()), 2).flatten(1).T)  # half length
    down, right = parts
    return torch.cat((down[:, :, None].expand(-1, -1, width), right[:, None].expand(-1, height, -1)))


def _cut(x: Tensor, windows: int) -> Tensor:
    """Cut B H W C into windows, B N L C."""
    count, height, width, channels = x.shape
    x = x.view(count, windows, height // windows, windows, width // windows, channels)
    return x.transpose(2, 3).reshape(count, windows * windows, -1, channels)


def _join(x: Tensor, windows: int, tall: int, wide: int) -> Tensor:
    """Put windows B N L C together again, B H W C."""
    count, channels = len(x), x.shape[-1]
    x = x.view(count, windows, windows, tall, wide, channels).transpose(2, 3)
    return x.reshape(count, windows * tall, windows * wide, channels)


def _same_side(height: int, width: int, windows: int, shift: tuple[int, int], device: torch.device) -> Tensor:
    """Say which pixels of a window may see each other, bool 1 N L L: not those that the shift brought together from opposite edges."""
    down = torch.arange(height, device=device) >= height - shift[0]
    right = torch.arange(width, device=device) >= width - shift[1]
    side = _cut((down[:, None] * 2 + right)[None, ..., None], windows)[0, ..., 0]  # n l
    return (side[:, :, None] == side[:, None, :])[None]


def _colour(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]
