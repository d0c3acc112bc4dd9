"""How feature networks are run: without gradients, and in full float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def inference() -> Iterator[None]:
    """Run the body (or the function it decorates) without gradients and without TF32.

    torch lets convolutions on NVIDIA cards round their inputs to 10 bits by default; numbers held against the literature should not
    depend on that.
    """
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
