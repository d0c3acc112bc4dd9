"""The loss of the light network: it is shown clips with a hole and fills them by the pipeline's own `prepare` and `make`.

Masks come with the batch (records), or are drawn by the config's tasks, a pure function of (seed, position) like everything random here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from framefill.errors import UsageError
from framefill.training import light_losses as losses
from framefill.training.adversary import Adversary
from framefill.training.config import LossConfig
from framefill.training.dataflow import Batch, draw_seed
from framefill.training.light_perceptual import Eye, open_eye
from framefill.training.objective import Fill, Held, NetObjective, model_tensor, sum_and_count

Ready = TypeVar("Ready")
MOVE, FRAMES, PLACE = 5, 6, 7  # more of a sample's draws, after those of `training.objective`
OF_ERROR = {"gradient": losses.gradient, "temporal": losses.temporal, "rim": losses.rim, "dct": losses.cosines}  # of made - truth


class Feedforward(Held, Protocol[Ready]):
    """What is trained: a pipeline that fills in one pass."""

    def prepare(self, video: Tensor, mask: Tensor) -> Ready:
        """Turn video B T 3 H W in [-1, 1] and mask B T 1 H W (1 = unknown) into the net's terms."""
        ...

    def make(self, prepared: Ready) -> Tensor:
        """Make the clip: B T 3 H W, not clamped, equal to the video where it is known."""
        ...


class LightObjective(NetObjective, Generic[Ready]):
    """The losses of `config`, by their weights, of a pipeline that fills in one pass.

    Batch: `video` uint8 B T H W 3 of `size` pixels a side, `position` B, and with records `mask` bool B T H W. A loader may give the
    truth's motion too: `flow` float B T-1 H W 2 and `visible` B T-1 1 H W. The rest is as in `NetObjective`.
    """

    def __init__(
        self,
        pipeline: Feedforward[Ready],
        net: nn.Module,
        fill: Fill,
        tasks: Mapping[str, float],
        config: LossConfig,
        *,
        size: int,
        opponent: Adversary | None = None,
        seed: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__(pipeline, net, fill, tasks, seed, patch)
        self._pipeline: Feedforward[Ready] = pipeline
        self._weights = config
        self._eye = open_eye(config.perceptual, size) if config.lpips else None
        self.opponent = opponent
        if self._eye is not None and self._eye.name != "lpips-vgg":
            self.notes = (f"loss.lpips is measured with {self._eye.name}, a stand-in: its numbers are not LPIPS",)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `each` sample's, and their (sum, count) by `task/NAME` and by part, `loss/NAME`, before it is weighed."""
        positions = [int(position) for position in batch["position"]]
        device = next(self.net.parameters()).device
        tasks = self._tasks_of(batch, positions)
        with torch.no_grad():
            video = model_tensor(batch["video"].to(device))
            hole = self._holes(batch, tasks, positions, video.shape).to(device)
            prepared = self._pipeline.prepare(video, hole)
        made, truth = self._pipeline.make(prepared).float() / 2 + 0.5, video / 2 + 0.5
        parts = self._parts(made, truth, hole, positions)
        if self._weights.warp:
            parts["warp"] = self._warped(made - truth, hole, batch)
        total = torch.stack([self._weight(name) * part for name, part in parts.items()]).sum(0)
        told = {f"loss/{name}": sum_and_count(part.detach(), torch.ones_like(part, dtype=torch.bool)) for name, part in parts.items()}
        answer = {"loss": total.mean(), "each": total.detach(), **self._by_task(total.detach(), tasks), **told}
        return answer if self.opponent is None else answer | self._against(self.opponent, made, truth, hole, answer["loss"], positions)

    def place(self, device: torch.device) -> None:
        """Move the pipeline, and what looks at its pictures."""
        super().place(device)
        if self._eye is not None:
            self._eye.place(device)
        if self.opponent is not None:
            self.opponent.to(device)

    def _against(
        self, judge: nn.Module, made: Tensor, truth: Tensor, hole: Tensor, learnt: Tensor, positions: Sequence[int]
    ) -> dict[str, Tensor]:
        """What judge and net descend against each other, nothing where nothing is learnt from it."""
        if not torch.is_grad_enabled():
            return {}
        fooling, caught, numbers = judge(made, truth, hole, learnt, positions)
        count = made.new_tensor(float(len(made)))
        told = {f"adversary/{name}": torch.stack([number * count, count]) for name, number in numbers.items()}
        return {"also": fooling + caught, **told}

    def _holes(self, batch: Batch, tasks: Sequence[str], positions: Sequence[int], shape: torch.Size) -> Tensor:
        """The batch's own masks, or drawn ones: float B T 1 H W."""
        if "mask" not in batch:
            return self._masks(tasks, positions, shape, self._patch)
        mask = batch["mask"]
        if mask.shape != (*shape[:2], *shape[-2:]):
            raise UsageError(f"batch mask is {tuple(mask.shape)}, expected bool {(*shape[:2], *shape[-2:])} as the video")
        return mask.unsqueeze(2).float()

    def _parts(self, made: Tensor, truth: Tensor, hole: Tensor, positions: Sequence[int]) -> dict[str, Tensor]:
        """Each part that has a weight, B, but the one that follows motion."""
        weights = self._weights
        if weights.augment:
            draws = [torch.Generator().manual_seed(draw_seed(self._seed, position, MOVE)) for position in positions]
            made, truth, hole = losses.moved_together((made, truth, hole), draws)
        error = made - truth
        parts = {"l1": losses.clamped_l1(made, truth, hole)}
        for name, measure in OF_ERROR.items():
            if getattr(weights, name):
                parts[name] = measure(error, hole)
        if weights.smoothness:
            parts["smoothness"] = losses.smoothness(made, hole)
        if self._eye is not None:
            parts[self._eye.name] = self._seen(self._eye, made, truth, hole, positions)
        return parts

    def _seen(self, eye: Eye, made: Tensor, truth: Tensor, hole: Tensor, positions: Sequence[int]) -> Tensor:
        """The perceptual part, on some of each clip's frames; zeros before its time, which costs nothing."""
        counting = [position >= self._weights.lpips_from for position in positions]
        seen = made.new_zeros(len(made))
        if not any(counting):
            return seen
        count = min(self._weights.lpips_frames or made.shape[1], made.shape[1])
        chosen = torch.stack([self._frames(position, made.shape[1], count) for position in positions]).to(made.device)
        rows = torch.arange(len(made), device=made.device)[:, None]
        looked_at = [part[rows, chosen] for part in (made, truth, hole)]
        if self._weights.lpips_size:
            looked_at = self._squares(looked_at, self._weights.lpips_size, positions)
        found = eye(looked_at[0], looked_at[1], looked_at[2])
        return torch.where(torch.tensor(counting, device=made.device), found, seen)

    def _frames(self, position: int, T: int, count: int) -> Tensor:
        """Draw `count` of T frames, in order."""
        return torch.from_numpy(np.sort(self._rng(position, FRAMES).choice(T, count, replace=False)))

    def _squares(self, parts: Sequence[Tensor], size: int, positions: Sequence[int]) -> list[Tensor]:
        """Cut a square of `size` pixels from each frame of parts B T C H W, the last of which is the hole, about a drawn pixel of that."""
        hole = parts[-1]
        height, width = hole.shape[-2:]
        cut: list[list[Tensor]] = [[] for _ in parts]
        for sample, position in enumerate(positions):
            rng = self._rng(position, PLACE)
            for frame in range(hole.shape[1]):
                inside = hole[sample, frame, 0].nonzero().cpu().numpy()
                row, column = inside[rng.integers(len(inside))] if len(inside) else (rng.integers(height), rng.integers(width))
                top, left = (int(np.clip(at - size // 2, 0, max(0, side - size))) for at, side in ((row, height), (column, width)))
                for kept, part in zip(cut, parts, strict=True):
                    kept.append(part[sample, frame, :, top : top + size, left : left + size])
        return [torch.stack(kept).unflatten(0, hole.shape[:2]) for kept in cut]

    def _warped(self, error: Tensor, hole: Tensor, batch: Batch) -> Tensor:
        if "flow" in batch:
            motion = losses.Motion(batch["flow"].to(error.device), batch["visible"].to(error.device, torch.float32))
        else:
            found = losses.motion_of_truth(batch["video"].cpu().numpy())
            if found is None:
                return error.new_zeros(len(error))
            motion = losses.Motion(found.flow.to(error.device), found.visible.to(error.device))
        return losses.warped(error, hole, motion)

    def _weight(self, name: str) -> float:
        return float(self._weights.lpips if self._eye is not None and name == self._eye.name else getattr(self._weights, name))
