"""Group norms that let an autoencoder of few channels learn: what they divide by has a floor while it trains.

Norms have 32 groups in Stable Video Diffusion's autoencoder. Of 64 channels each has two: what is normed so keeps neither how bright a
flat picture is nor how strong a contrast, and learning to bring both past a dozen norms takes long. A norm adds `eps` to the variance
before it takes the root; with an `eps` as large as the variance it lets both through. The classes' own `eps` is fixed, but only its size
against the variance counts: the same net with all that enters a norm made smaller by `SMALL`, and `eps` by its square, gives the same
pictures. So what is trained has large `eps`, and what is saved has small weights before its norms.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import nn

SMALL = 1e-3
SOFT = 0.1  # least `eps` of such norms; the classes have 1e-6 and 1e-5
HARD = 0.01  # deviation of the first layer's weights, which is about 0.1 where they were not made small
INTO_NORMS = ("conv_in", "conv1", "conv2", "to_out.0")  # layers from what was normed, or the picture, to what will be
BETWEEN = ("conv_shortcut", "samplers.0.conv")  # layers from what will be normed to the same: only their bias has a size of its own


def soften(vae: AutoencoderKLTemporalDecoder) -> None:
    """Turn an autoencoder that `harden` has changed back into what is trained, in place; any other stays as it is."""
    if float(vae.encoder.conv_in.weight.std()) < HARD:
        soften_norms(vae)
        _scale(vae, 1 / SMALL)


def soften_norms(vae: nn.Module) -> None:
    """Give every group norm an `eps` of the size of a variance, in place."""
    for norm in _norms(vae):
        norm.eps /= SMALL**2


def harden(vae: AutoencoderKLTemporalDecoder) -> None:
    """Turn an autoencoder with such norms into the same one for the classes' own `eps`, in place; any other stays as it is."""
    if all(norm.eps < SOFT for norm in _norms(vae)):
        return
    for norm in _norms(vae):
        norm.eps *= SMALL**2
    _scale(vae, SMALL)


def _norms(vae: nn.Module) -> list[nn.GroupNorm]:
    return [module for module in vae.modules() if isinstance(module, nn.GroupNorm)]


@torch.no_grad()
def _scale(vae: nn.Module, factor: float) -> None:
    for name, module in vae.named_modules():
        if name.endswith(INTO_NORMS):
            module.weight.mul_(factor)
            module.bias.mul_(factor)
        elif name.endswith(BETWEEN):
            module.bias.mul_(factor)
