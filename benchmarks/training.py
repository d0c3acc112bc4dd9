"""Print the figures of training and sampling, measured on this machine; both sides of a ratio in one run, in turn, in processor time.

    python benchmarks/training.py                       everything
    python benchmarks/training.py --only step           a training step of vdt-s2 at 64 px, against the plain net of reference_vdt.py
    python benchmarks/training.py --only sampling       20 steps of the ODE against 250 of the ancestral sampler, by vdt-tiny
    python benchmarks/training.py --only latents        clips a second from the latent cache, against encoding them as they come
    python benchmarks/training.py --only waiting        the share of a run's time that it waits for its clips

Everything is made here: clips are procedural or the packaged samples, autoencoders have weights at random (their speed is that of trained
ones).
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from fill import processor, row
from reference_vdt import PlainVDT, initialised
from sampling import sampling
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from framefill.data.dataset import ClipDataset, Clips
from framefill.data.latents import LatentDataset, cache_for
from framefill.data.manifest import Clip
from framefill.data.scan import ScanSettings, scan
from framefill.diffusion.sigmas import linear_beta
from framefill.media.tensors import mask_to_tensor
from framefill.nets.codec import load_autoencoder
from framefill.samples import sample
from framefill.training.build import build_footage, build_loader, build_objective
from framefill.training.config import (
    ComputeConfig,
    DataConfig,
    LogConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    ValidateConfig,
)
from framefill.training.dataflow import Batch
from framefill.training.journal import read_records
from framefill.training.objective import model_tensor, task_mask
from framefill.training.optim import build_optimizers
from framefill.training.presets import get_preset
from framefill.training.trainer import Trainer

FRAMES, SIDE, FACTOR, CHANNELS = 16, 64, 8, 4
Step = Callable[[], None]


def main() -> None:
    """Measure what was asked for and print one Markdown table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["step", "sampling", "latents", "waiting"])
    parser.add_argument("--repeat", type=int, default=5, help="times each side of a ratio is measured; the median is printed (default 5)")
    parser.add_argument("--batch", type=int, default=4, help="clips of one training step (default 4)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "diffusers"))
    print(f"{processor()}, {args.threads} thread(s), processor time; Python {platform.python_version()}, {versions}")
    with tempfile.TemporaryDirectory(prefix="framefill-bench-") as name:
        scratch = Path(name)
        parts: dict[str, Callable[[], None]] = {
            "step": lambda: step(scratch, args.batch, args.repeat),
            "sampling": sampling,
            "latents": lambda: latents(scratch, args.repeat),
            "waiting": lambda: waiting(scratch),
        }
        for part, measure in parts.items():
            if args.only in (None, part):
                print(f"\n## {part}\n", flush=True)
                measure()


def step(scratch: Path, batch: int, repeat: int) -> None:
    """One training step of VDT-S/2 on latents 4x8x8 of 16 frames: forward, loss, backward, clipping, AdamW."""
    codec = scratch / "vae"
    AutoencoderTiny().save_pretrained(codec)
    torch.manual_seed(0)
    given = {"latents": torch.randn(batch, FRAMES, CHANNELS, SIDE // FACTOR, SIDE // FACTOR), "position": torch.arange(batch)}
    sides = {
        "plain: explicit attention, fp32, AdamW in a loop": plain_step(given),
        "the same net: SDPA, fused AdamW, fp32": own_step(codec, "vdt-s2-paper", given, "fp32", compiled=False),
        "and bf16": own_step(codec, "vdt-s2-paper", given, "bf16", compiled=False),
        "and torch.compile": own_step(codec, "vdt-s2-paper", given, "bf16", compiled=True),
        "the default net (mask channel, rotary, ...), bf16, compiled": own_step(codec, "vdt-s2", given, "bf16", compiled=True),
    }
    first = {name: timed(each) for name, each in sides.items()}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, each in sides.items():
            taken[name].append(timed(each))
    work = operations(given)
    peaks = {dtype: matmul_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(f"{batch} clips a step, {work / batch / 1e9:.1f} GFLOP each in matrix products, forward and backward; matrix products of")
    print(f"2048x2048 reach {peaks[torch.float32] / 1e9:.0f} GFLOP/s in fp32, {peaks[torch.bfloat16] / 1e9:.0f} in bf16 here: the floor is")
    print(f"{work / peaks[torch.float32]:.2f} s in fp32, {work / peaks[torch.bfloat16]:.2f} s in bf16.\n")
    row("step", "seconds", "clips/s", "ratio to plain", "first step")
    row(*["---"] * 5)
    base = statistics.median(next(iter(taken.values())))
    for name, seconds in taken.items():
        own = statistics.median(seconds)
        row(name, f"{own:.2f}", f"{batch / own:.2f}", f"{own / base:.2f}", f"{first[name]:.1f}")


def plain_step(batch: Batch) -> Step:
    """A training step of the plain net: DDPM's noise, the loss over what is unknown."""
    torch.manual_seed(0)
    net = initialised(PlainVDT(CHANNELS, SIDE // FACTOR, FRAMES))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.0)
    x0 = batch["latents"]
    mask, abar = masks_like(x0), linear_beta().abar.float()

    def one() -> None:
        steps = torch.randint(0, 1000, (len(x0),))
        noise = torch.randn_like(x0)
        signal = abar[steps].view(-1, 1, 1, 1, 1)
        noised = signal.sqrt() * x0 + (1 - signal).sqrt() * noise
        made = net(noised, steps.float(), mask, x0)[:, :, :CHANNELS]
        loss = (mask * (noise - made) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return one


def own_step(codec: Path, net: str, batch: Batch, precision: str, compiled: bool) -> Step:
    """A training step of framefill's, from its own objective."""
    config = TrainConfig(
        run=RunConfig(name="step"),
        data=DataConfig(frames=FRAMES, size=SIDE),
        model=ModelConfig(net=net, codec=str(codec), process="eps" if net.endswith("paper") else "flow"),
        tasks={"predict": 1.0},
        objective=ObjectiveConfig(density="uniform", mask_patch=1),
    )
    objective = build_objective(config)
    if compiled:
        objective.compile_parts()
    (optimizer,) = build_optimizers(objective, OptimConfig(weight_decay=0.0))

    def one() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = objective(batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return one


def masks_like(x0: Tensor) -> Tensor:
    """The masks of `predict` for a batch of clips, float B T 1 h w."""
    batch, frames, _, height, width = x0.shape
    rng = np.random.default_rng(0)
    return mask_to_tensor(np.stack([task_mask("predict", rng, (frames, height, width), 1) for _ in range(batch)]))


def operations(batch: Batch) -> int:
    """Floating-point operations of the plain net's matrix products in a forward and a backward pass."""
    x0 = batch["latents"]
    net = initialised(PlainVDT(CHANNELS, SIDE // FACTOR, FRAMES))
    with FlopCounterMode(display=False) as counter:
        net(x0, torch.zeros(len(x0)), masks_like(x0), x0).sum().backward()
    return int(counter.get_total_flops())


def matmul_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of a large matrix product."""
    one, other = torch.randn(2, size, size).to(dtype).unbind()
    one @ other
    return 2 * size**3 / statistics.median(timed(lambda: one @ other) for _ in range(5))


def latents(scratch: Path, repeat: int, clips: int = 24) -> None:
    """Clips of 16 frames a second, encoded as they come and from the cache; the encoder is AutoencoderTiny, the lightest of diffusers."""
    codec = scratch / "vae"
    AutoencoderTiny().save_pretrained(codec)
    encoder, footage = load_autoencoder(codec), packaged(scratch)
    row("clips", "from", "clips/s", "ratio")
    row(*["---"] * 4)
    for size in (64, 128):
        cache = cache_for(scratch / "cache", codec, size)
        cache.write(footage, encoder)
        pixels = ClipDataset(footage, FRAMES, size, split=None)
        cached = LatentDataset(footage, cache, FRAMES, split=None)

        def encode(source: ClipDataset = pixels) -> None:
            for index in range(clips // 8):
                encoder.encode(model_tensor(source[index % len(source)]["video"][None]))

        def read(source: LatentDataset = cached) -> None:
            for index in range(clips):
                source[index % len(source)]

        encode()
        read()
        slow, fast = [], []
        for _ in range(repeat):
            slow.append(clips // 8 / timed(encode))
            fast.append(clips / timed(read))
        label = f"{FRAMES} frames of {size}x{size}"
        row(label, "decoded, cropped and encoded as they come", f"{statistics.median(slow):.1f}", "1.0")
        row(label, "the latent cache", f"{statistics.median(fast):.1f}", f"{statistics.median(fast) / statistics.median(slow):.0f}")


def waiting(scratch: Path, steps: int = 12) -> None:
    """Runs of vdt-tiny at 32x32, 8 frames, 16 clips a step, one worker: what the loop waits for its clips, after the first steps."""
    packaged(scratch)
    row("clips", "share of time waiting", "one clip made by the loader, s", "one clip trained on, s")
    row(*["---"] * 4)
    for name, manifest in (("procedural", ""), ("video files", str(scratch / "samples.jsonl"))):
        preset = get_preset("vdt-tiny")
        config = replace(
            preset,
            run=RunConfig(name=name.replace(" ", "-"), folder=str(scratch), samples=16 * steps, batch=16),
            data=DataConfig(manifest=manifest, frames=8, size=32, workers=1),
            compute=ComputeConfig(device="cpu"),
            log=LogConfig(metrics_every=16 * steps // 3, curves_every=0, save_every=0, validate_every=0, sample_every=0),
            validate=ValidateConfig(clips=0),
        )
        footage = build_footage(config)
        made = timed(partial(taken, footage.train, 16)) / 16
        Trainer(config, build_objective(config), build_loader(config, footage)).fit()
        last = [record for record in read_records(scratch / config.run.name) if "waiting_share" in record][-1]
        row(name, f"{last['waiting_share']:.1%}", f"{made:.4f}", f"{1 / last['samples_per_second']:.4f}")


def taken(clips: Clips, count: int) -> None:
    """Make the first `count` clips, over again where there are fewer."""
    for index in range(count):
        clips[index % len(clips)]


def packaged(scratch: Path) -> list[Clip]:
    """The clips of the two samples that come along, in a manifest `samples.jsonl`."""
    footage = scratch / "footage"
    footage.mkdir(exist_ok=True)
    for name in ("city.mp4", "vtest.mp4"):
        shutil.copy(sample(name), footage)
    return scan(ScanSettings(footage), scratch / "samples.jsonl").clips


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
