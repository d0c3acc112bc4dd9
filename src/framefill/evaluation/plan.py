"""What an evaluation is to do, settled before anything is filled, and the folder that it does it in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import framefill
from framefill.errors import JobError
from framefill.evaluation.protocols.base import CaseSource, Protocol, SetProtocol, Settings
from framefill.evaluation.results import find_result
from framefill.evaluation.unit import Model, Save
from framefill.media.hashes import sha256_of

PLAN = "plan.json"


@dataclass(frozen=True)
class EvalSettings:
    """What an evaluation is of: a protocol on a folder of clips, models by name, results of other programs by name and folder.

    `metrics` empty: the protocol's own; `only`: names or patterns of clips; `settings`: the protocol's, as text; `workers` processes.
    """

    protocol: str
    clips: Path
    output: Path
    models: tuple[str, ...] = ()
    results: Mapping[str, Path] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    workers: int = 1
    save: Save = "video"
    command: str = ""


@dataclass(frozen=True)
class Plan:
    """Settings with every name looked up: the protocol and its settings, the metrics, the models, the weights' sha256 by name."""

    settings: EvalSettings
    protocol: Protocol | SetProtocol
    chosen: Settings
    metrics: tuple[str, ...]
    models: tuple[Model, ...]
    weights: Mapping[str, str]

    @property
    def flow(self) -> str:
        """The optical flow that metrics measure motion with."""
        return str(self.chosen.get("flow", "dis"))

    def key(self, source: CaseSource, model: Model) -> str:
        """Hash all that a model's values on a case come from."""
        made = None if model.results is None else find_result(model.results, source.name)
        parts = [
            framefill.__version__, self.protocol.name, sorted(self.chosen.items()), self.settings.seed, list(self.metrics),
            self.settings.save, source.name, [sha256_of(file) for file in source.files], model.name, model.filler,
            None if made is None else sha256_of(made), _digest_of(model.filler), sorted(self.weights.items()),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def claim(self) -> None:
        """Make the run's folder, or go on in the one that this evaluation has begun; raises JobError where another one lies there."""
        folder = self.settings.output
        plan = {"protocol": self.protocol.name, "settings": dict(self.chosen), "seed": self.settings.seed}
        plan["clips"] = str(self.settings.clips.resolve())
        path = folder / PLAN
        if path.exists():
            try:
                there = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                raise JobError(f"{path} is damaged; take {folder} away or choose another folder") from None
            if there != plan:
                other = ", ".join(name for name in plan if there.get(name) != plan[name])
                raise JobError(f"{folder} holds an evaluation with other {other}; choose another folder for this one")
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise JobError(f"{folder} exists and is no evaluation's folder; choose another or an empty one")
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        part.replace(path)


@cache
def _digest_of(filler: str) -> list[str]:
    """Hash the files of a trained pipeline's folder; nothing for a model that is a part of framefill."""
    folder = Path(filler)
    return [sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()] if filler and folder.is_dir() else []
