"""Nets that `save_pretrained` wrote, read back strictly."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from diffusers.models.modeling_utils import ModelMixin

from framefill.errors import WeightsError

Net = TypeVar("Net", bound=ModelMixin)


def load_net(kind: type[Net], folder: str | Path) -> Net:
    """Read a net of class `kind` from a folder on this machine: every weight must be there, and no other.

    Raises WeightsError for a folder without one and for weights of another layout.
    """
    try:
        net, found = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        told, _, _ = str(error).strip().splitlines()[0].partition(". If you")  # what follows is advice to those who call diffusers
        raise WeightsError(f"cannot read the net in {folder}: {told}") from error
    for state, keys in (("lack", found["missing_keys"]), ("hold unknown", found["unexpected_keys"])):
        if keys:
            raise WeightsError(f"the weights in {folder} {state} {len(keys)} tensors ({min(keys)}, ...); they belong to another net")
    net.register_to_config(_name_or_path="")  # diffusers notes where a net was read, and would write that into the next folder
    return net
