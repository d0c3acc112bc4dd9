"""What a training run is, as frozen dataclasses by section; a YAML file and `--section.key value` flags override a preset, strictly.

An unknown key, or a value of the wrong kind, is one line with its path and the nearest name that exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeAlias, get_type_hints

from framefill.errors import UsageError
from framefill.training.config_checks import check

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Tree: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True)
class RunConfig:
    """Where a run writes and how long it goes; time is counted in samples (clips seen)."""

    name: str = ""  # "" = the preset's
    folder: str = "runs"
    seed: int = 0
    samples: int = 100_000
    epoch: int = 0  # samples that are called an epoch: the unit of the next and of some schedules; 0 = nothing goes by epochs
    epochs: int = 0  # how long, in epochs, in place of samples; 0 = by samples
    batch: int = 16  # samples of one optimiser step, over all processes
    micro_batch: int = 0  # samples of one forward on one device; 0 = batch / processes; less accumulates
    minutes: float = 0.0  # stop, resumably, after so long; 0 = never


@dataclass(frozen=True)
class DataConfig:
    """Which clips, and how they are cut."""

    # A file made by `framefill data scan`, or a folder of videos, which is scanned once; "" = procedural clips, made as they are needed.
    manifest: str = ""
    records: str = ""  # a folder made by `framefill data records`: clips with their masks, train/ and eval/; in place of a manifest
    shards: str = ""  # a folder made by `framefill data shard`: trained on in place of the manifest's own files
    latents: str = ""  # a folder made by `framefill data cache` with the model's codec: read in place of pixels
    frames: int = 16
    size: int = 64  # pixels a side, of clips that are no squares the height
    width: int = 0  # 0 = as size
    fps: float | None = None  # None = the clip's own
    flip: float = 0.5  # the share of clips that are mirrored; 0 where left and right matter
    zoom: float = 1.0  # clips are cut out of pictures that are up to so many times larger than they: 1 = as much of the picture as fits
    workers: int = 2
    procedural: float = 0.0  # with a manifest: the share of the clips that are procedural ones among its own
    procedural_clips: int = 100_000  # how many different ones an epoch has, when there is no manifest
    # Clips that are still badly filled are shown more often: chances change with every run.epoch, or pass over the data. None = where clips
    # come again, from records or a manifest.
    hard: bool | None = False
    hard_history: int = 4  # the last losses of a clip that count for its chance
    eval_split: Literal["val", "test"] = "val"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the clips."""
        return self.size, self.width or self.size


@dataclass(frozen=True)
class ModelConfig:
    """The network, the process it undoes, and the space it works in."""

    family: str = "vdt"
    net: str = "vdt-tiny"  # one of the family's sizes
    options: dict[str, bool | int | float | str] = field(default_factory=dict)  # the net's own names, in place of the size's
    codec: str = "pixels"  # pixels, pixels/4 (cells of 4 x 4 as channels), or a folder with a diffusers AutoencoderKL or AutoencoderTiny
    prior: Literal["none", "motion"] = "none"  # what the net is shown in the hole: grey, or a guess along the motion of what is known
    process: Literal["flow", "edm", "v", "eps"] = "flow"
    sigma_data: float = 0.5  # edm: the data's standard deviation; 1 for latents
    start: str = ""  # a saved model's folder to go on from; its net, process and codec then count


@dataclass(frozen=True)
class ObjectiveConfig:
    """Noise and loss."""

    density: Literal["log-normal", "logit-normal", "uniform"] = "logit-normal"
    density_mean: float = 0.0
    density_std: float = 1.0
    weight: Literal["edm", "min-snr", "p2", "uniform"] = "uniform"
    per_frame_noise: float = 0.0  # the share of samples whose frames have a noise level each
    mask_patch: int = 4  # pixels; masks are drawn on cells of this size, so that no token is half known


@dataclass(frozen=True)
class LossConfig:
    """What family light descends: the weights of its losses, each a mean over the hole of pictures in [0, 1]."""

    l1: float = 0.8
    gradient: float = 0.0  # differences between neighbouring pixels
    temporal: float = 0.2  # differences from frame to frame
    smoothness: float = 0.01  # the fill's own second difference in time, squared
    rim: float = 0.0  # the seam: the Laplacian one pixel to either side of the hole's border
    warp: float = 0.0  # what changes along the truth's motion
    dct: float = 0.0  # cosines in windows of 32 pixels
    lpips: float = 0.0
    lpips_frames: int = 0  # frames of each clip that lpips looks at, drawn for each; 0 = all
    lpips_size: int = 0  # pixels a side of the square that lpips looks at in each frame, about a drawn pixel of the hole; 0 = all of it
    lpips_from: int = 0  # samples before lpips begins to count
    perceptual: Literal["lpips-vgg", "random-filters"] = "lpips-vgg"  # what measures lpips; the second is a stand-in without weights
    augment: bool = False  # shift or turn a fill and its truth alike before they are compared


@dataclass(frozen=True)
class AdversaryConfig:
    """A judge that family light is trained against, once it fills well: it is to be taken for real."""

    kind: Literal["none", "l3c", "ffc"] = "none"
    weight: float = 0.2
    warmup: int = 2_000  # samples; the net does not listen before 46 % of them
    frames: int = 0  # of each clip that are judged, drawn for each; 0 = all
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)


@dataclass(frozen=True)
class FffConfig:
    """Family fff: what of an image-to-video net is trained to fill, and what it is told (FFF-VDI, arXiv 2408.11402)."""

    # release: the refiner and the temporal transformers; lora: low-rank updates of the attention, and the refiner where there is one
    train: Literal["release", "refiner", "temporal", "all", "lora"] = "release"
    # What it is shown: its clip with the hole grey (masked), or one frame for all (first), which is what image-to-video nets are made with.
    shown: Literal["masked", "first"] = "masked"
    refiner: bool = True  # features of later frames flow into earlier ones along the motion, at the net's entrance
    noise: Literal["own", "propagated"] = "own"  # of each place for itself; or in holes that of later frames, as the mode `latent` begins
    flow: Literal["dis", "raft", "gmflow"] = "dis"  # what finds the motion, on frames whose hole is blanked
    condition_mean: float = -3.0  # ln of the noise on what is shown: mean and deviation
    condition_std: float = 0.5
    dropout: float = 0.1  # of clips, each: without the picture's token, without what is shown, without both
    fps: float = 7.0  # the rate and
    motion: int = 127  # the amount of motion that the net is told, in training as when it fills
    lora_rank: int = 16
    lora_alpha: int = 16  # the update counts alpha / rank
    frozen: Literal["fp32", "bf16", "fp16"] = "fp32"  # in what weights that are not trained are kept; half takes half of the memory


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser and its schedule."""

    kind: Literal[
        "adamw", "adamw-8bit", "adam", "sgd", "lion", "muon", "schedule-free", "schedule-free-sgd", "schedule-free-radam"
    ] = "adamw"  # fmt: skip
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.01
    weight_decay_end: float | None = None  # what it rises to as the rate falls; None = it stays
    momentum: float = 0.95  # Muon's and SGD's
    schedule: Literal["constant", "cosine", "cyclic", "rsqrt", "step"] = "cosine"
    warmup: int = 2_000  # samples
    final: float = 0.1  # cosine and cyclic end at this share of lr
    cycles: int = 5  # cyclic: how often in the run the rate falls from lr; with a run.epoch, it changes from epoch to epoch only
    decay: float = 0.99  # step: the rate is multiplied by it every `decay_epochs`
    decay_epochs: int = 1
    decay_start: int = 1_000_000  # samples; rsqrt
    clip: float = 1.0  # norm of all gradients; 0 = no limit


@dataclass(frozen=True)
class EmaConfig:
    """Averages of the weights; the first one is validated, sampled from and saved as the model."""

    kind: Literal["power", "half-life", "none"] = "power"
    sigma_rel: tuple[float, ...] = (0.05, 0.10)
    half_life: float = 500_000.0  # samples
    warmup: float = 0.05
    snapshot_every: int = 0  # samples between stored averages for post-hoc reconstruction; 0 = none


@dataclass(frozen=True)
class ComputeConfig:
    """Precision, compilation and memory."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    checkpointing: bool = False  # compute activations again in the backward pass
    device: Literal["auto", "cpu"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"  # of several processes: each has all the weights, or a part of them
    offload: bool = False  # what the optimiser and the averages remember lies in the machine's own memory, and so do idle frozen nets


@dataclass(frozen=True)
class LogConfig:
    """What is written while a run goes, in samples between two times; 0 = never."""

    metrics_every: int = 800
    curves_every: int = 8_000
    save_every: int = 20_000
    keep: int = 2  # state folders
    validate_every: int = 20_000
    sample_every: int = 20_000
    trackers: tuple[str, ...] = ()  # Accelerate's names: tensorboard, wandb, ...
    divergence: float = 8.0  # stop when the loss is so many times its recent median; 0 = never


@dataclass(frozen=True)
class ValidateConfig:
    """How the averaged weights are measured on clips held out."""

    clips: int = 8
    steps: int = 10  # of the sampler
    metrics: tuple[str, ...] = ("psnr-hole", "ssim-hole")  # names of `framefill eval list`
    seed: int = 1234
    pictures: int = 0  # every so many fills are kept as a PNG too, a row a frame: given, made, truth; 0 = none


@dataclass(frozen=True)
class TrainConfig:
    """One training run. `tasks` are the shares of the mask tasks by their names in `framefill.media.tasks`, any positive numbers."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tasks: dict[str, float] = field(default_factory=dict)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    fff: FffConfig = field(default_factory=FffConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    log: LogConfig = field(default_factory=LogConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)


MAY_CHANGE = (
    "run.samples",
    "run.epochs",
    "run.minutes",
    "run.folder",
    "data.workers",
    "log",
    "validate",
    "run.micro_batch",
    "compute.device",
)


def resolve(preset: TrainConfig, file: Path | None = None, flags: Sequence[str] = ()) -> TrainConfig:
    """Return the preset with what a YAML file says, then with what flags (`--section.key value` or `--section.key=value`) say.

    Raises UsageError for a key or value that cannot be, with its path, its origin and the nearest name.
    """
    tree = to_tree(preset)
    if file is not None:
        _merge(tree, read_yaml(file), str(file))
    for path, value in _flags(flags):
        _merge(tree, _nested(path, value), "the command line")
    return from_tree(tree)


def read_yaml(file: Path) -> Tree:
    """Read a YAML file of sections. Raises UsageError for a file that is missing or no mapping."""
    import yaml

    try:
        with file.open(encoding="utf-8") as stream:
            tree = yaml.safe_load(stream)
    except OSError as error:
        raise UsageError(f"--config {file} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--config {file} is not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"--config {file} holds a {type(tree).__name__}, expected sections such as 'optim: {{lr: 0.001}}'")
    return tree


def to_tree(config: TrainConfig) -> Tree:
    """Return a config as plain dictionaries and lists, as YAML and JSON hold them."""
    tree = _plain(asdict(config))
    assert isinstance(tree, dict)
    return tree


def to_yaml(config: TrainConfig) -> str:
    """Return a config as the YAML text that `resolve` reads back to the same config."""
    import yaml

    text: str = yaml.safe_dump(to_tree(config), sort_keys=False, default_flow_style=None, width=120)
    return text


def from_tree(tree: Mapping[str, Value]) -> TrainConfig:
    """Build and check a config. Raises UsageError for unknown keys, wrong kinds and numbers that cannot be."""
    from pydantic import TypeAdapter, ValidationError

    _check_keys(tree, TrainConfig, "", "the config")
    try:
        config = TypeAdapter(TrainConfig).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}") from error
    check(config)
    run = config.run
    return replace(config, run=replace(run, samples=run.epochs * run.epoch)) if run.epochs else config


def differences(ours: TrainConfig, theirs: TrainConfig) -> list[str]:
    """List the keys in which two configs differ and may not, when one goes on with the other's run."""
    mine, other = dict(_leaves(to_tree(ours))), dict(_leaves(to_tree(theirs)))
    return [
        f"{key} {other.get(key)!r} -> {mine.get(key)!r}"
        for key in sorted(mine.keys() | other.keys())
        if mine.get(key) != other.get(key) and not any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)
    ]


def known_keys() -> list[str]:
    """List every `section.key` there is."""
    hints = get_type_hints(TrainConfig)
    keys: list[str] = []
    for section in fields(TrainConfig):
        kind = hints[section.name]
        keys += [f"{section.name}.{key.name}" for key in fields(kind)] if is_dataclass(kind) else [f"{section.name}.TASK"]
    return keys


def _flags(flags: Sequence[str]) -> Iterator[tuple[list[str], Value]]:
    import yaml

    rest = iter(flags)
    for flag in rest:
        if not flag.startswith("--") or "." not in flag:
            raise UsageError(f"{flag} is no setting; give --section.key value, such as --optim.lr 0.001")
        key, equals, text = flag[2:].partition("=")
        if not equals:
            text = next(rest, "--")
            if text.startswith("--"):
                raise UsageError(f"--{key} has no value; give --{key} VALUE")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise UsageError(f"--{key} {text} is not a YAML value") from error
        section, *names = key.split(".")
        yield [section, *(names if section == "tasks" else [name.replace("-", "_") for name in names])], value


def _nested(path: Sequence[str], value: Value) -> Tree:
    tree: Value = value
    for part in reversed(path):
        tree = {part: tree}
    assert isinstance(tree, dict)
    return tree


def _merge(tree: Tree, over: Tree, origin: str) -> None:
    """Put `over` into `tree`, section by section. A file's `tasks` replace the preset's; single flags add to them."""
    _check_keys(over, TrainConfig, "", origin)
    for section, values in over.items():
        current = tree[section]
        assert isinstance(current, dict)
        if not isinstance(values, dict):
            raise UsageError(f"{section} in {origin} is {values!r}, expected keys and values: {', '.join(current) or 'task: share'}")
        if section == "tasks" and origin != "the command line":
            current.clear()
        for key, value in values.items():
            inner = current.get(key)
            if isinstance(inner, dict) and isinstance(value, dict):
                inner.update(value)
            else:
                current[key] = value


def _check_keys(tree: Mapping[str, Value], kind: type, path: str, origin: str) -> None:
    hints = get_type_hints(kind)
    for key, value in tree.items():
        at = f"{path}{key}"
        if key not in hints:
            raise UsageError(f"unknown key {at} in {origin}; {_nearest(str(key), list(hints), path)}")
        inner = hints[key]
        if is_dataclass(inner) and isinstance(value, dict):
            _check_keys(value, inner, f"{at}.", origin)  # type: ignore[arg-type]
        elif key == "tasks" and isinstance(value, dict):
            _check_tasks(value, origin)


def _check_tasks(tasks: Mapping[str, Value], origin: str) -> None:
    from framefill.media.tasks import TASKS

    for name in tasks:
        if name not in TASKS:
            raise UsageError(f"unknown task tasks.{name} in {origin}; {_nearest(str(name), list(TASKS), 'tasks.')}")


def _nearest(name: str, known: Sequence[str], path: str) -> str:
    near = get_close_matches(name, known, 1, cutoff=0.5)
    if near:
        return f"did you mean {path}{near[0]}?"
    if not path:  # a key without its section
        homes = [key for key in known_keys() if key.split(".")[1] == name]
        if homes:
            return f"did you mean {homes[0]}?"
    return f"there are {', '.join(known)}"


def _leaves(tree: Mapping[str, Value], path: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _plain(value: object) -> Value:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    assert value is None or isinstance(value, (bool, int, float, str))
    return value
