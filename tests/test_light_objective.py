"""The light net's objective: through the pipeline's own path, masks of the batch or drawn, each sample by itself, and it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from light_training_kit import FRAMES, SIZE, TASKS, Holed, batch, clips, loader, small_config, small_objective

from framefill.errors import UsageError
from framefill.training import light_losses as losses
from framefill.training.build import build_loader, build_objective, build_trainer
from framefill.training.config import DataConfig, LossConfig, ModelConfig, TrainConfig
from framefill.training.light_objective import LightObjective
from framefill.training.presets import get_preset
from framefill.training.trainer import Trainer
from framefill.training.validate import Masked

ALL = LossConfig(gradient=0.5, rim=0.1, warp=0.2, dct=0.1, lpips=0.2, perceptual="random-filters", augment=True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gradients(objective: LightObjective) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    return found


def test_every_weight_of_the_net_gets_a_gradient() -> None:
    objective = small_objective(ALL)
    objective(batch())["loss"].backward()
    missing = [name for name, p in objective.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_masks_come_with_the_batch_or_are_those_of_the_position() -> None:
    drawn = batch(2, start=3)
    objective = small_objective()
    masks = [objective.mask_of(position, FRAMES, SIZE, SIZE) for position in (3, 4)]
    names, arrays = zip(*masks, strict=True)
    given = drawn | {
        "mask": torch.from_numpy(np.stack(arrays)),
        "task": torch.tensor([list(TASKS).index(name) for name in names]),
    }
    with torch.no_grad():
        ours, theirs = objective(drawn), objective(given)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with torch.no_grad():
        other = objective(given | {"mask": ~given["mask"]})
    assert not torch.equal(other["each"], ours["each"])


def test_a_mask_of_another_size_is_one_line() -> None:
    wrong = batch() | {"mask": torch.zeros(2, FRAMES, SIZE, SIZE - 1, dtype=torch.bool)}
    with pytest.raises(UsageError, match=r"batch mask is .*31.*expected bool .*32"):
        small_objective()(wrong)


@pytest.mark.parametrize("side", [0, 16])
def test_a_batch_is_its_samples(side: int) -> None:
    objective = small_objective(replace(ALL, lpips_frames=2, lpips_size=side))
    together = batch(3)
    with torch.no_grad():
        whole = objective(together)
        alone = [objective({key: value[i : i + 1] for key, value in together.items()}) for i in range(3)]
    torch.testing.assert_close(whole["each"], torch.cat([one["each"] for one in alone]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole["loss"], whole["each"].mean())
    for name in whole.keys() - {"loss", "each"}:
        torch.testing.assert_close(whole[name], torch.stack([one[name] for one in alone]).sum(0), rtol=1e-4, atol=1e-6)


def test_lpips_looks_at_squares_about_the_hole() -> None:
    objective, seen = small_objective(replace(ALL, lpips_size=16)), []

    class Spy:
        name = "random-filters"

        def __call__(self, made: torch.Tensor, truth: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
            seen.append((made, truth, hole))
            return torch.zeros(len(made))

    objective._eye = Spy()
    source = batch(2, source=Holed(12, FRAMES, SIZE))
    objective(source)
    made, truth, hole = seen[0]
    assert made.shape == truth.shape == (2, FRAMES, 3, 16, 16)
    assert hole.flatten(2).any(2).all()
    known = (hole == 0).expand_as(made)
    assert torch.equal(made[known], truth[known])
    assert not torch.equal(made, truth)
    places = torch.nn.functional.unfold((source["video"][0, 0].permute(2, 0, 1)[None] / 255).float(), 16)[0]
    assert (places - truth[0, 0].flatten()[:, None]).abs().amax(0).min() < 1e-5


def test_four_times_one_clip_is_the_gradient_of_four() -> None:
    objective, four = small_objective(ALL), batch(4)
    objective(four)["loss"].backward()
    whole = gradients(objective)
    for i in range(4):
        (objective({key: value[i : i + 1] for key, value in four.items()})["loss"] / 4).backward()
    for name, gradient in gradients(objective).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-3, atol=1e-5)


def test_known_pixels_get_no_gradient_and_hidden_ones_reach_nothing_but_the_loss() -> None:
    objective, source = small_objective(), batch(2, source=Holed(12, FRAMES, SIZE))
    seen: list[torch.Tensor] = []
    make = objective._pipeline.make

    def spied(prepared: object) -> torch.Tensor:
        seen.append(make(prepared).detach().requires_grad_())
        return seen[-1]

    objective._pipeline.make = spied
    parts = objective(source)
    parts["loss"].backward()
    known = ~source["mask"].unsqueeze(2).expand_as(seen[0])
    assert not seen[0].grad[known].any()
    assert seen[0].grad[~known].any()
    hidden = source["mask"].unsqueeze(-1).expand_as(source["video"])
    other = objective(source | {"video": torch.where(hidden, 255 - source["video"], source["video"])})
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(parts["each"], other["each"])


def test_parts_have_the_same_names_whatever_the_batch_and_only_those_that_weigh() -> None:
    objective = small_objective(ALL)
    names = set(objective(batch()))
    assert names == set(objective(batch(1, start=5)))
    assert names == {"loss", "each", *(f"task/{name}" for name in TASKS)} | {
        f"loss/{name}" for name in ("l1", "gradient", "temporal", "smoothness", "rim", "warp", "dct", "random-filters")
    }
    assert set(small_objective(LossConfig(temporal=0, smoothness=0))(batch())) & {"loss/temporal", "loss/smoothness", "loss/rim"} == set()


def test_the_weighed_parts_add_up() -> None:
    weights = replace(ALL, augment=False)
    parts = small_objective(weights)(batch(3))
    total = sum(getattr(weights, "lpips" if name == "random-filters" else name) * float(parts[f"loss/{name}"][0] / parts[f"loss/{name}"][1])
                for name in ("l1", "gradient", "temporal", "smoothness", "rim", "warp", "dct", "random-filters"))  # fmt: skip
    assert total == pytest.approx(float(parts["loss"].detach()), rel=1e-5)


def test_the_stand_in_goes_by_its_own_name_and_is_told() -> None:
    assert any("stand-in" in note for note in small_objective(ALL).notes)
    assert small_objective().notes == ()


def test_lpips_begins_when_it_is_told_to() -> None:
    objective = small_objective(replace(ALL, lpips_from=4))
    before, across, after = (objective(batch(2, start=start))["loss/random-filters"] for start in (0, 3, 6))
    assert float(before[0]) == 0
    assert float(after[0]) > 0
    assert float(across[0]) > 0


def test_motion_of_the_loader_is_that_of_the_objective(tmp_path: Path) -> None:
    config = small_config(tmp_path, loss=LossConfig(warp=1.0))
    objective = small_objective(config.loss)
    from framefill.training.build import Footage
    from framefill.training.card import Provenance
    from framefill.training.dataflow import Share

    found = next(build_loader(config, Footage(clips(), None, Provenance(""))).batches(Share(0, 2, 2)))
    assert found["flow"].shape == (2, FRAMES - 1, SIZE, SIZE, 2)
    with torch.no_grad():
        given, computed = objective(found), objective({key: found[key] for key in ("video", "position")})
    torch.testing.assert_close(given["loss/warp"], computed["loss/warp"])
    assert float(given["loss/warp"][0]) > 0


def test_it_learns_one_clip_better_than_the_smooth_fill_that_it_is_given() -> None:
    objective = small_objective(LossConfig(l1=1.0, temporal=0.0, smoothness=0.0))
    source = batch(1, source=Holed(12, FRAMES, SIZE))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=4e-3)
    make = objective._pipeline.make
    objective._pipeline.make = lambda prepared: prepared.given
    smooth = float(objective(source)["loss"])
    objective._pipeline.make = make
    for _ in range(60):
        optimizer.zero_grad()
        loss = objective(source)["loss"]
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.75 * smooth  # measured: 0.57


def test_records_held_out_are_filled_by_their_own_masks(tmp_path: Path) -> None:
    config = small_config(tmp_path, 16)
    source = Holed(4, FRAMES, SIZE)
    held = [Masked(source[i]["video"].numpy(), source[i]["mask"].numpy(), "inpaint-box") for i in range(2)]
    config = replace(config, log=replace(config.log, validate_every=16, sample_every=16), validate=replace(config.validate, pictures=2))
    Trainer(config, small_objective(), loader(), held).fit()
    folder = tmp_path / "light" / "samples" / "step-000000000016"
    assert sorted(path.name for path in folder.iterdir()) == ["0000-inpaint-box.png", "inpaint-box.mp4"]
    from PIL import Image

    picture = np.asarray(Image.open(folder / "0000-inpaint-box.png"))
    assert picture.shape == (FRAMES * SIZE, 3 * SIZE, 3)
    rows = picture.reshape(FRAMES, SIZE, 3, SIZE, 3)
    assert np.array_equal(rows[:, :, 2], held[0].video)
    assert (rows[:, :, 0][held[0].mask] == 127).all()
    assert np.array_equal(rows[:, :, 1][~held[0].mask], held[0].video[~held[0].mask])
    text = (tmp_path / "light" / "metrics.jsonl").read_text()
    assert "validate/psnr-hole/inpaint-box" in text
    assert "validate/psnr-hole/inpaint-blob" not in text


def test_the_preset_trains_a_model_that_loads(tmp_path: Path) -> None:
    from framefill.families.light import LightPipeline

    preset = get_preset("light")
    config = replace(
        preset,
        run=replace(preset.run, folder=str(tmp_path), samples=4, batch=2, micro_batch=0),
        data=replace(preset.data, frames=FRAMES, size=SIZE, workers=0),
        model=ModelConfig(family="light", net="light-small"),
        loss=replace(preset.loss, lpips=0.0),
        validate=replace(preset.validate, clips=0),
    )
    folder = build_trainer(config).fit()
    loaded = LightPipeline.from_pretrained(folder)
    assert (loaded.window, loaded.size) == (FRAMES, SIZE)
    assert set(loaded.tasks) == set(preset.tasks)
    again = build_objective(replace(config, model=ModelConfig(family="light", start=str(folder))))
    assert all(torch.equal(p, q) for p, q in zip(again.net.parameters(), loaded.net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": ModelConfig(family="light", net="light", codec="pixels/4")}, "model.codec means nothing to family light"),
        ({"loss": LossConfig(l1=-1.0)}, "loss.l1 is -1.0, expected 0 or more"),
        ({"loss": LossConfig(l1=0.0, temporal=1.0)}, "loss.l1 is 0.0, expected above 0"),
        ({"data": DataConfig(hard=True)}, "data.hard needs clips that come again"),
    ],
)
def test_what_cannot_be_is_one_line(changed: dict[str, object], told: str, tmp_path: Path) -> None:
    from framefill.training.config_checks import check

    with pytest.raises(UsageError, match=told.replace(".", r"\.")):
        check(small_config(tmp_path, **changed))


def test_losses_and_judges_mean_nothing_to_vdt() -> None:
    from framefill.training.config_checks import check

    with pytest.raises(UsageError, match=r"loss\.rim means nothing to family vdt"):
        check(TrainConfig(loss=LossConfig(rim=0.3)))


def test_the_losses_of_a_whole_frame_are_those_of_its_hole() -> None:
    """A loss that is diluted by known pixels would be smaller for a smaller hole with the same error."""
    error = torch.full((1, FRAMES, 3, SIZE, SIZE), 0.2)
    holes = [torch.zeros(1, FRAMES, 1, SIZE, SIZE) for _ in range(2)]
    holes[0][..., :4, :4], holes[1][..., :16, :16] = 1, 1
    values = [float(losses.clamped_l1(error * hole, error * 0, hole)) for hole in holes]
    assert values[0] == pytest.approx(values[1])
