"""The training loop, on Accelerate: one device or several processes, in steps counted in samples, resumed by the same command.

It sees an `Objective` and a `Loader`, never a model. Every random draw of a step comes from (seed, rank, samples seen) or from the
sample's own position, so 20 steps equal 10 and 10 more after a kill, bit for bit on a CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, gather_object
from torch import Tensor

from framefill.errors import JobError, UsageError
from framefill.training import validate
from framefill.training.card import Provenance, write_card
from framefill.training.checkpoint import Progress, States, averages_of, save_batch, saving, snapshot
from framefill.training.config import EmaConfig, OptimConfig, TrainConfig, differences, from_tree, read_yaml, to_yaml
from framefill.training.dataflow import Batch, Loader, Share, draw_seed, lost_workers_told
from framefill.training.ema import HalfLife, Power, Profile, replaced, trainable
from framefill.training.hard import HardExamples
from framefill.training.journal import Journal
from framefill.training.lock import one_run
from framefill.training.objective import Objective
from framefill.training.optim import build_opponents, build_optimizers, decay_at, rate_at, set_decay, set_rate
from framefill.training.sharding import all_whole, sharding_plugin, split_on_cpu, whole
from framefill.training.watch import LONG, reason_to_stop

DONE = "done"  # a file in the run's folder, there once `run.samples` have been seen: a script can tell whether to come back
KNOWN = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.FSDP)


class Trainer:
    """One run in its folder `run.folder/run.name`: `fit` starts it, or goes on where it stopped.

    `held_out` clips (uint8 T H W 3, or with a mask of their own) are filled for validation and sample videos. `provenance` says in the
    model card what it learned from. `hard` is the order of a loader that shows hard clips more often. Raises UsageError for a config that
    differs from the folder's, or numbers that do not divide.
    """

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        loader: Loader,
        held_out: Sequence[validate.HeldOut] = (),
        provenance: Provenance | None = None,
        hard: HardExamples | None = None,
    ) -> None:
        self.config = config
        self.folder = Path(config.run.folder) / config.run.name
        self._loader, self._held_out, self._provenance, self._hard = loader, held_out, provenance, hard
        if held_out:
            validate.check_metrics(config.validate.metrics)
        self._accelerator = accelerator = _accelerator(config, self.folder, objective)
        self._split = accelerator.distributed_type == DistributedType.FSDP
        self._objective = objective
        objective.place(accelerator.device)
        if config.compute.checkpointing:
            objective.save_activations()
        if config.compute.compile:
            objective.compile_parts()
        offload = config.compute.offload
        own, opponents = build_optimizers(objective, config.optim, offload), build_opponents(objective.opponent, config.adversary)
        if len(own + opponents) > 1 and config.compute.precision == "fp16":
            why = "adversary.kind" if opponents else "optim.kind muon"
            raise UsageError(f"{why} makes two optimisers, which fp16's loss scaler cannot serve; set compute.precision bf16 or fp32")
        self._model, *self._optimizers = accelerator.prepare(objective, *own, *opponents)
        self._scheduled = self._optimizers[: len(own)]
        self._averages = averages_of(objective, profiles_of(config.ema), torch.device("cpu") if offload else None)
        self._journal = Journal(self.folder, quiet=not accelerator.is_main_process)
        self._states = States(self.folder / "state", config.log.keep)
        self._progress = Progress()

    def fit(self) -> Path:
        """Train to `run.samples` (or for `run.minutes`) and return the model's folder.

        Raises JobError when the loss is no number or diverges, after the offending batch has been saved, and when another process trains
        in this folder.
        """
        with one_run(self.folder) if self._accelerator.is_main_process else nullcontext():
            return self._fit()

    def _fit(self) -> Path:
        self._agree_on_config()
        progress = self._progress = self._states.load(self._accelerator, self._averages, self._hard)
        self._journal.resume(progress.samples)
        run, share = self.config.run, self._share(progress.samples)
        self._journal.say(
            f"{'going on with' if progress.samples else 'starting'} {run.name} at {progress.samples} of {run.samples} samples: "
            f"{share.world} x {share.micro} x {share.accumulate} a step, {self._accelerator.device}, {self.config.compute.precision}"
        )
        for note in self._objective.notes:
            self._journal.say(note)
        begin, out_of_time = time.monotonic(), False
        batches = self._loader.batches(share)
        self._set_training(True)
        with lost_workers_told():
            while progress.samples < run.samples and not out_of_time:
                started = time.monotonic()
                out_of_time = self._step(batches, share, 0 < run.minutes * 60 < started - begin)
                progress.seconds += time.monotonic() - started
                self._act_on_times(progress.samples - run.batch, progress.samples)
        if self._states.newest() != self._state_of(progress.samples):
            self._save()
        self._finish(progress.samples >= run.samples)
        return self.folder / "model"

    def _step(self, batches: Iterator[Batch], share: Share, late: bool) -> bool:
        """Take one step; returns whether any process is out of time."""
        config, progress, accelerator = self.config, self._progress, self._accelerator
        set_rate(self._scheduled, rate_at(*self._when()))
        set_decay(self._scheduled, decay_at(*self._when()))
        taken: list[Batch] = []
        loss = torch.zeros((), device=accelerator.device)
        each: list[Tensor] = []
        for number in range(share.accumulate):
            waiting = time.monotonic()
            taken.append(next(batches))
            self._add("waiting", time.monotonic() - waiting, 1)
            torch.manual_seed(draw_seed(config.run.seed, share.rank, progress.samples, number))  # for dropout inside a network
            with self._synchronised(number == share.accumulate - 1):
                parts = self._model(taken[-1])
                accelerator.backward((parts["loss"] + parts.get("also", 0.0)) / share.accumulate)
            loss += parts["loss"].detach() / share.accumulate
            if self._hard is not None:
                each.append(
                    torch.stack(
                        [part.double().to(accelerator.device) for part in (taken[-1]["position"], taken[-1]["index"], parts["each"])], 1
                    )
                )
            self._tally(parts)
        norm = self._clip()
        told = accelerator.reduce(torch.stack([loss.float(), loss.new_tensor(float(late))]), "mean")
        self._stop_if_wrong(float(told[0]), float(norm), taken, loss)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress.samples += share.batch
        if self._hard is not None:
            self._learn_which_are_hard(self._hard, torch.cat(each))
        for average in self._averages:
            average.update(self._objective, progress.samples, share.batch)
        progress.recent = [*progress.recent, float(told[0])][-LONG:]
        self._add("loss", float(told[0]), 1)
        self._add("gradient_norm", float(norm), 1)
        return float(told[1]) > 0

    def _learn_which_are_hard(self, hard: HardExamples, shown: Tensor) -> None:
        """Take in (position, clip, loss) of this process's part of a step, N 3, and everyone else's; at a round's end, begin the next."""
        told = self._accelerator.gather(shown).cpu().numpy()
        told = told[told[:, 0].argsort()]
        hard.learn(told[:, 1].astype("int64"), told[:, 2])
        if self._progress.samples % hard.round == 0:
            self._note({"samples": float(self._progress.samples), **hard.turn()})

    def _act_on_times(self, before: int, now: int) -> None:
        """Do what is due between two counts of samples."""
        log, ema = self.config.log, self.config.ema
        if _due(log.metrics_every, before, now):
            self._report()
        if _due(log.curves_every, before, now):
            self._journal.draw()
        if self._averages and _due(ema.snapshot_every, before, now):
            for average in self._averages:
                snapshot(self.folder / "ema", average, now, self._accelerator.is_main_process)
        measuring, showing = _due(log.validate_every, before, now), _due(log.sample_every, before, now)
        if self._held_out and (measuring or showing):
            self._validate(measuring, showing)
        if _due(log.save_every, before, now):
            self._save()

    def _report(self) -> None:
        """Write a line of the journal from what has added up since the last one, over all processes."""
        progress = self._progress
        sums = {name: list(pair) for name, pair in progress.sums.items()}
        names = sorted(name for name in sums if "/" in name)
        if names:
            table = torch.tensor([sums[name] for name in names], device=self._accelerator.device, dtype=torch.float32)
            sums |= dict(zip(names, self._accelerator.reduce(table, "sum").tolist(), strict=True))
        means = {name: total / count for name, (total, count) in sums.items() if count}
        steps = sums["loss"][1]
        since = progress.seconds - sums["since"][0] if "since" in sums else progress.seconds
        waited = sums["waiting"][0]
        values = {
            "samples": float(progress.samples),
            **{name: value for name, value in means.items() if name not in ("waiting", "since")},
            "lr": rate_at(*self._when()),
            "samples_per_second": steps * self.config.run.batch / max(since, 1e-9),
            "waiting_share": min(1.0, waited / max(since, 1e-9)),
        }
        progress.sums = {"since": [progress.seconds, 0]}
        self._note(values)
        self._journal.say(
            f"{progress.samples:>9} samples  loss {values['loss']:.4f}  norm {values['gradient_norm']:.3f}  lr {values['lr']:.2e}  "
            f"{values['samples_per_second']:.1f} samples/s  waiting {values['waiting_share']:.0%}"
        )

    def _validate(self, measuring: bool, showing: bool) -> None:
        """Measure the averaged weights on the clips held out and write sample videos; the work is shared by all processes."""
        config, accelerator, samples = self.config, self._accelerator, self._progress.samples
        scores: list[dict[str, float]] = []
        folder = self.folder / "samples" / f"step-{samples:012d}"
        with self._exported_weights(), torch.no_grad(), accelerator.autocast():
            share = accelerator.process_index, accelerator.num_processes
            patch, every = config.objective.mask_patch, config.validate.pictures
            for filled in validate.fill_held_out(self._objective, self._held_out, config.validate, patch, share, firsts=not measuring):
                if measuring:
                    with torch.autocast(accelerator.device.type, enabled=False):  # networks that measure do so in full precision
                        measured = validate.score(filled, config.validate.metrics)
                    scores.append(measured | validate.loss_of(self._objective, filled))
                if measuring and every and filled.number % every == 0:
                    validate.write_picture(filled, folder / f"{filled.number:04}-{filled.task}.png")
                if showing and filled.first:
                    validate.write_sample(filled, folder / f"{filled.task}.mp4")
        if measuring:
            means = validate.mean_scores(gather_object(scores))
            self._note({"samples": float(samples), **means})
            for metric in ("loss", *config.validate.metrics):
                own = {name.rpartition("/")[2]: value for name, value in means.items() if name.startswith(f"validate/{metric}/")}
                if own:
                    self._journal.say(f"{samples:>9} samples  {metric}: " + ", ".join(f"{task} {value:.3g}" for task, value in own.items()))

    def _save(self) -> None:
        """Save a state to resume from, and the averaged model."""
        with saving(self.folder):
            self._states.save(self._accelerator, self._averages, self._progress, self._hard)
            with self._exported_weights():
                if self._accelerator.is_main_process:
                    self._objective.export(self.folder / "model")
                    write_card(self.folder, self.config, self._objective, self._progress, self._provenance)
        self._accelerator.wait_for_everyone()

    def _finish(self, complete: bool) -> None:
        if self.config.log.curves_every:
            self._journal.draw()
        if self._accelerator.is_main_process:
            (self.folder / DONE).unlink(missing_ok=True)  # of a run that was shorter
            if complete:
                (self.folder / DONE).write_text(f"{self._progress.samples} samples\n", encoding="utf-8")
        if complete:
            self._journal.say(f"done after {self._progress.seconds / 60:.1f} minutes of training; the model is {self.folder / 'model'}")
        else:
            self._journal.say(f"stopped by run.minutes at {self._progress.samples} samples; the same command goes on")
        self._accelerator.end_training()

    def _stop_if_wrong(self, loss: float, norm: float, taken: Sequence[Batch], own_loss: Tensor) -> None:
        """Save the step's batches and raise JobError when the step may not count; all processes come to the same answer."""
        progress, scaled = self._progress, self.config.compute.precision == "fp16"
        reason = reason_to_stop(loss, norm, progress.recent, self.config.log.divergence, scaled)
        if reason is None:
            return
        rank = self._accelerator.process_index
        file = self.folder / "stopped" / f"step-{progress.samples:012d}-rank-{rank}.safetensors"
        save_batch(file, taken)
        positions = ", ".join(str(int(position)) for batch in taken for position in batch["position"][:4])
        message = (
            f"stopped at {progress.samples} samples: {reason}; the batch (positions {positions}, ..., its own loss {float(own_loss):.4g}) "
            f"is saved in {file}; look at it, or lower optim.lr, and run again to go on from the last state"
        )
        self._journal.say(message)
        raise JobError(message)

    def _agree_on_config(self) -> None:
        """Write config.yaml, or hold the config against the one that is there."""
        file = self.folder / "config.yaml"
        if file.exists() and self._states.newest() is not None:
            theirs = from_tree(read_yaml(file))
            if changed := differences(self.config, replace(theirs, run=replace(theirs.run, name=self.config.run.name))):
                raise UsageError(
                    f"{self.folder} is a run of another config ({'; '.join(changed[:4])}); give the same settings, or another --run.name"
                )
        self._accelerator.wait_for_everyone()  # nobody reads what is being written
        if self._accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(to_yaml(self.config), encoding="utf-8")
        self._accelerator.wait_for_everyone()

    def _when(self) -> tuple[OptimConfig, int, int, int]:
        """What the schedules go by."""
        run = self.config.run
        return self.config.optim, self._progress.samples, run.samples, run.epoch

    def _share(self, samples: int) -> Share:
        run, world = self.config.run, self._accelerator.num_processes
        if samples % run.batch:
            raise UsageError(f"the run stands at {samples} samples, no multiple of run.batch {run.batch}; give the batch it began with")
        return Share(samples, run.batch, run.micro_batch or max(1, run.batch // world), self._accelerator.process_index, world)

    def _state_of(self, samples: int) -> Path:
        return self.folder / "state" / f"step-{samples:012d}"

    def _clip(self) -> Tensor:
        limit = self.config.optim.clip or float("inf")
        opponent = self._objective.opponent
        if opponent is None:
            norm = self._accelerator.clip_grad_norm_(self._model.parameters(), limit)
        else:  # each side by itself: a judge's gradients are of another size
            norm = self._accelerator.clip_grad_norm_(trainable(self._objective).values(), limit)
            self._accelerator.clip_grad_norm_(opponent.parameters(), limit)
        assert isinstance(norm, Tensor)
        return whole(norm.detach())

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Gradients travel between processes only with a step's last micro-batch."""
        return nullcontext() if last else self._accelerator.no_sync(self._model)

    def _exported_weights(self) -> AbstractContextManager[object]:
        """The weights that are measured and saved: the first average, else the run's own (schedule-free: its average)."""
        stack = ExitStack()
        if self._split:
            weights = self._averages[0].weights if self._averages else trainable(self._objective)
            stack.enter_context(self._objective.unsplit(all_whole(weights)))
            return stack
        # Schedule-free's way there and back rounds; what was there comes back bit for bit.
        stack.enter_context(replaced(self._objective, trainable(self._objective)))
        self._set_training(False)
        stack.callback(self._set_training, True)
        if self._averages:
            stack.enter_context(self._averages[0].applied(self._objective))
        return stack

    def _set_training(self, training: bool) -> None:
        """Switch dropout and the like; schedule-free's weights stand at one point for training, at another for use."""
        self._objective.train(training)
        for optimizer in self._optimizers:
            switch = getattr(optimizer.optimizer, "train" if training else "eval", None)
            if switch is not None:
                switch()

    def _tally(self, parts: dict[str, Tensor]) -> None:
        names = [name for name in parts if name not in ("loss", "each", "also")]
        for name, (total, count) in zip(names, torch.stack([parts[name] for name in names]).tolist(), strict=True):
            self._add(name, total, count)

    def _add(self, name: str, total: float, count: float) -> None:
        pair = self._progress.sums.setdefault(name, [0.0, 0.0])
        pair[0] += total
        pair[1] += count

    def _note(self, values: dict[str, float]) -> None:
        self._journal.record(values)
        self._accelerator.log(values, step=int(values["samples"]))


def profiles_of(config: EmaConfig) -> list[Profile]:
    """Return the profiles that a config asks for, the one to be saved first."""
    if config.kind == "power":
        return [Power(width) for width in config.sigma_rel]
    return [HalfLife(config.half_life, config.warmup)] if config.kind == "half-life" else []


def _due(every: int, before: int, now: int) -> bool:
    return every > 0 and before // every != now // every


def _accelerator(config: TrainConfig, folder: Path, objective: Objective) -> Accelerator:
    precision = {"fp32": "no"}.get(config.compute.precision, config.compute.precision)
    if precision == "fp16" and (config.compute.device == "cpu" or not torch.cuda.is_available()):
        raise UsageError("compute.precision fp16 needs a GPU; set bf16 or fp32")
    split = config.compute.parallel == "fsdp" and int(os.environ.get("WORLD_SIZE", "1")) > 1
    plugin = sharding_plugin(objective.before_split(), precision) if split else None
    trackers = list(config.log.trackers)
    # Accelerate keeps one state for the process; a second run in it may have another precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=config.compute.device == "cpu",
        log_with=trackers or None,
        project_dir=str(folder),
        fsdp_plugin=plugin,
    )
    if plugin is not None:
        split_on_cpu(accelerator, plugin)
    kind = accelerator.distributed_type
    if kind not in KNOWN or (kind == DistributedType.FSDP) != split:
        raise UsageError(
            f"accelerate was configured for {kind.value}; give it plain processes, and set --compute.parallel fsdp to split weights"
        )
    if trackers:
        accelerator.init_trackers("framefill", {"config": to_yaml(config)})
    return accelerator
