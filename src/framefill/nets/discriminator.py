"""Nets that judge whether a patch of a picture is real, to train a net against: `l3c`, of convolutions, and `ffc`, with Fourier units.

Both answer at an eighth of the picture's size and are told what the whole picture looks like by a vector of the truth, pooled to 4 x 4
(Miyato and Koyama, cGANs with projection discriminator, arXiv 1802.05637). The shapes follow the description of iw3's discriminators
(nunif); squeeze and excitation: Hu et al., arXiv 1709.01507; Fourier units: Chi et al., Fast Fourier convolution, NeurIPS 2020, and LaMa,
arXiv 2109.07161; spectral norm: arXiv 1802.05957.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (64, 128, 256)
CONDITION = 4  # cells a side of the truth that a judge is told
GROUPS = 32
SLOPE = 0.2
STRIDE = 8  # pixels of a cell of the answer


class L3C(nn.Module):
    """Three strided convolutions with squeeze and excitation, a residual block, and the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_halving(before, after, first=before == 3), SqueezeExcite(after))
                for before, after in zip((3, *WIDTHS), WIDTHS, strict=False)
            ),
            Residual(WIDTHS[-1], 2 * WIDTHS[-1]),
        )
        self.answer = Answer(2 * WIDTHS[-1])

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Judge pictures N 3 H W in [0, 1] beside their truth: N 1 H/8 W/8, above 0 for real."""
        return self.answer(self.stages(pictures * 2 - 1), truth)


class FFC(nn.Module):
    """Three strided convolutions, each with a Fourier unit that sees the whole picture, and the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_halving(before, after, first=before == 3), FourierUnit(after))
                for before, after in zip((3, *WIDTHS), WIDTHS, strict=False)
            )
        )
        self.answer = Answer(WIDTHS[-1])

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Judge pictures N 3 H W in [0, 1] beside their truth: N 1 H/8 W/8, above 0 for real."""
        return self.answer(self.stages(pictures * 2 - 1), truth)


class SqueezeExcite(nn.Module):
    """Channels weighed by what the whole picture holds."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh N C H W."""
        return x * torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    """A pair of 3 x 3 convolutions beside their input, into more channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(GROUPS, after), nn.LeakyReLU(SLOPE))
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(GROUPS, after))
        self.beside = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pass N C H W on."""
        return functional.leaky_relu(self.beside(x) + self.second(self.first(x)), SLOPE)


class FourierUnit(nn.Module):
    """A 1 x 1 convolution of a picture's frequencies, mixed with one of its cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequencies = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 1), nn.LeakyReLU(SLOPE))
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pass N C H W on."""
        with torch.autocast(x.device.type, enabled=False):  # there is no Fourier transform in half precision but for powers of two
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            mixed = self.frequencies(torch.cat((spectrum.real, spectrum.imag), 1))
            real, imaginary = mixed.chunk(2, 1)
            seen = torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho")
        return functional.leaky_relu(x + self.mix(torch.cat((x, seen.to(x.dtype)), 1)), SLOPE)


class Answer(nn.Module):
    """One number a cell: how real it is, plus how well it goes with the vector of the truth."""

    def __init__(self, channels: int, size: int = 256) -> None:
        super().__init__()
        self.real = spectral_norm(nn.Conv2d(channels, 1, 3, padding=1))
        self.told = nn.Sequential(nn.Linear(3 * CONDITION**2, size), nn.LeakyReLU(SLOPE), spectral_norm(nn.Linear(size, channels)))

    def forward(self, x: Tensor, truth: Tensor) -> Tensor:
        """Answer for cells N C h w of pictures whose truth is N 3 H W: N 1 h w."""
        vector = self.told(functional.adaptive_avg_pool2d(truth * 2 - 1, CONDITION).flatten(1))
        together = (x * vector[..., None, None]).mean(1, keepdim=True)
        return self.real(x) + together


def _halving(before: int, after: int, first: bool) -> nn.Sequential:
    norm = [] if first else [nn.GroupNorm(GROUPS, after)]  # the first layer sees brightness as it is
    return nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), *norm, nn.LeakyReLU(SLOPE))


DISCRIMINATORS: dict[str, Callable[[], nn.Module]] = {"l3c": L3C, "ffc": FFC}
