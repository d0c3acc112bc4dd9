"""`framefill train` with the real network, very small: recipes, overrides, the dry run, a run and its model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from framefill.apps.cli.train import EPILOG, EXTRA, train
from framefill.data.manifest import Clip, write_manifest
from framefill.errors import UsageError
from framefill.families.vdt import VDTPipeline
from framefill.media.synthetic import make_clip
from framefill.training.build import build_footage, build_objective, build_trainer, held_out_clips
from framefill.training.config import TrainConfig, resolve
from framefill.training.estimate import estimate, kept_bytes
from framefill.training.presets import PRESETS, get_preset

SMALL = [
    *("--data.size", "16", "--data.frames", "4", "--data.workers", "0", "--data.procedural-clips", "8"),
    *("--model.options.num_layers", "1", "--model.options.hidden_size", "32", "--model.options.num_heads", "2"),
    *("--run.samples", "8", "--run.batch", "4", "--run.micro-batch", "2", "--log.curves-every", "0"),
    *("--validate.clips", "1", "--validate.steps", "2", "--validate.metrics", "[psnr-hole]"),
    *("--log.metrics-every", "4", "--log.validate-every", "8", "--log.sample-every", "0"),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def invoke(*arguments: str):
    app = typer.Typer()
    app.command(context_settings=EXTRA, epilog=EPILOG)(train)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["train", *arguments])


def small(*flags: str) -> TrainConfig:
    return resolve(get_preset("vdt-tiny"), None, [*SMALL, *flags])


def test_without_a_name_the_recipes_are_listed() -> None:
    result = invoke()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [*PRESETS]
    assert {"light", "vdt-tiny", "fff-svd", "svd-nano"} < {*PRESETS}


def test_a_dry_run_prints_settings_parameters_and_memory(tmp_path: Path) -> None:
    result = invoke("vdt-tiny", *SMALL, "--run.folder", str(tmp_path), "--dry-run")
    assert result.exit_code == 0, result.output
    trained = sum(p.numel() for p in build_objective(small()).parameters() if p.requires_grad)
    assert f"parameters: {trained:,} trained, 0 frozen" in result.stdout
    assert "memory for one device: about" in result.stdout
    assert "size: 16" in result.stdout
    assert not list(tmp_path.iterdir())


def test_mistakes_are_one_line_and_exit_2() -> None:
    for arguments, words in [
        (["vdt-tinny"], "did you mean vdt-tiny"),
        (["vdt-tiny", "--optim.lrr", "1"], "did you mean optim.lr?"),
        (["--optim.lr", "1", "vdt-tiny"], "recipe's name first"),
        (["vdt-tiny", *SMALL, "--model.options.num_layer", "1"], "did you mean num_layers?"),
        (["vdt-tiny", *SMALL, "--model.net", "huge"], "there are vdt-s2"),
        (["vdt-tiny", *SMALL, "--validate.metrics", "[sharpness]"], "sharpness"),
        (["vdt-tiny", *SMALL, "--objective.mask-patch", "5"], "mask_patch"),
    ]:
        result = invoke(*arguments)
        assert (result.exit_code, words in result.output) == (2, True), (arguments, result.output)
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_run_gives_a_model_that_loads_and_is_not_untrained(tmp_path: Path) -> None:
    result = invoke("vdt-tiny", *SMALL, "--run.folder", str(tmp_path), "--optim.lr", "0.05", "--optim.warmup", "0")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "vdt-tiny" / "model")
    model = VDTPipeline.from_pretrained(result.stdout.strip())
    assert set(model.tasks) == set(get_preset("vdt-tiny").tasks)
    clip = make_clip(np.random.default_rng(0), 4, 16, 16)
    mask = np.zeros((4, 16, 16), np.bool_)
    mask[2:] = True
    made = [
        build_objective(small()).fill(clip, mask, 2, 1),
        model(clip, mask, num_inference_steps=2, overlap=0, generator=torch.Generator().manual_seed(1)).frames,
    ]
    assert not np.array_equal(made[0], made[1])
    assert np.array_equal(made[1][:2], clip[:2])


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A manifest of four folders of frames, one of them held out."""
    import cv2

    clips = []
    for number in range(4):
        folder = tmp_path / f"clip{number}"
        folder.mkdir()
        for t, frame in enumerate(make_clip(np.random.default_rng(number), 6, 24, 24)):
            cv2.imwrite(str(folder / f"{t:03d}.png"), frame[..., ::-1])
        clips.append(Clip(folder, 0, 6, 8.0, 24, 24, "val" if number == 3 else "train", "CC0-1.0", f"{number}" * 64))
    write_manifest(tmp_path / "all.jsonl", clips)
    return tmp_path / "all.jsonl"


def test_ones_own_footage_is_split_and_told_in_the_card(footage: Path, tmp_path: Path) -> None:
    config = small("--data.manifest", str(footage), "--run.folder", str(tmp_path / "runs"))
    found = build_footage(config)
    assert len(found.train) == 3
    assert held_out_clips(config, found)[0].shape == (4, 16, 16, 3)
    assert [(source.name, source.licence) for source in found.provenance.sources] == [(f"clip{n}", "CC0-1.0") for n in range(3)]
    model = build_trainer(config).fit()
    card = (model / "README.md").read_text()
    assert f"| clip1 | CC0-1.0 | {'1' * 64} |" in card
    assert "clip3" not in card
    assert str(tmp_path) not in card


def test_a_folder_of_videos_is_scanned_once_into_the_run(footage: Path, tmp_path: Path) -> None:
    footage.unlink()
    config = small("--data.manifest", str(tmp_path), "--run.folder", str(tmp_path / "runs"))
    train = build_footage(config).train
    assert 3 <= len(train) <= 4
    manifest = tmp_path / "runs" / "vdt-tiny" / "manifest.jsonl"
    (tmp_path / "clip0" / "000.png").unlink()
    written = manifest.read_text()
    assert len(build_footage(config).train) == len(train)
    assert manifest.read_text() == written


def test_training_goes_on_from_a_saved_model(tmp_path: Path) -> None:
    first = build_trainer(small("--run.folder", str(tmp_path), "--optim.lr", "0.05")).fit()
    begun = build_objective(small("--model.start", str(first)))
    saved = VDTPipeline.from_pretrained(first)
    for name, value in saved.net.state_dict().items():
        assert torch.equal(begun.state_dict()[f"net.{name}"], value)


def test_cached_latents_refuse_tasks_that_hide_parts_of_frames(footage: Path) -> None:
    with pytest.raises(UsageError, match="completion"):
        build_footage(small("--data.manifest", str(footage), "--data.latents", "cache", "--model.prior", "none"))


def test_computing_activations_again_changes_no_gradient() -> None:
    batch = {"video": torch.from_numpy(make_clip(np.random.default_rng(0), 4, 16, 16))[None], "position": torch.tensor([3])}
    gradients, bytes_kept = [], []
    for again in (False, True):
        objective = build_objective(small("--model.options.num_layers", "3"))
        with torch.no_grad():
            for p in objective.parameters():
                p.add_(0.02)  # away from the start, at which most gradients are 0
        if again:
            objective.save_activations()
        objective.train()
        with kept_bytes(objective) as kept:
            loss = objective(batch)["loss"]
        loss.backward()
        bytes_kept.append(sum(kept.values()))
        gradients.append([p.grad for p in objective.parameters() if p.grad is not None])
    assert bytes_kept[1] < 0.5 * bytes_kept[0]
    assert len(gradients[0]) == len(gradients[1]) > 20
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_kept_bytes_are_those_of_a_closed_form() -> None:
    """A linear layer keeps its input (its weight is its own), a square keeps its input, once for both uses."""
    layer = torch.nn.Linear(8, 4)
    with kept_bytes(layer) as kept:
        hidden = layer(torch.zeros(2, 8, requires_grad=True))
        (hidden**2).sum()
    assert sum(kept.values()) == 4 * (2 * 8 + 2 * 4)


def test_the_estimate_grows_with_what_it_counts() -> None:
    adamw = ("--optim.kind", "adamw")
    base = estimate(small(*adamw), build_objective(small()))
    double = estimate(small(*adamw, "--run.micro-batch", "4"), build_objective(small()))
    assert double.activations == 2 * base.activations
    assert base.weights == base.gradients == base.optimizer // 2 == 4 * base.trained
    assert base.averages == 2 * base.weights
    assert estimate(small("--ema.kind", "none"), build_objective(small())).averages == 0


def test_procedural_clips_beside_footage_are_named_in_the_provenance(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    write_manifest(manifest, [Clip(Path("a.mp4"), 0, 12, 8.0, 32, 32, "train", "CC0", "0" * 64)])
    alone = build_footage(small("--data.manifest", str(manifest)))
    mixed = build_footage(small("--data.manifest", str(manifest), "--data.procedural", "0.75"))
    assert len(mixed.train) == 4 * len(alone.train)
    assert "rocedural" in mixed.provenance.about
    assert "rocedural" not in alone.provenance.about
    with pytest.raises(UsageError, match=r"data\.procedural.*manifest"):
        small("--data.procedural", "0.5")
    with pytest.raises(UsageError, match=r"data\.procedural is 1"):
        small("--data.manifest", str(manifest), "--data.procedural", "1.0")
