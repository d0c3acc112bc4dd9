"""The light net as a pipeline and as a filler: smooth fill, windows, what may never change."""

from __future__ import annotations

import json
from pathlib import Path

import mediafiles
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from light_kit import small_net, small_pipeline  # noqa: E402

import framefill  # noqa: E402
from framefill import families  # noqa: E402
from framefill.errors import MaskMismatch, UsageError, WeightsError  # noqa: E402
from framefill.evaluation.baselines import get_model  # noqa: E402
from framefill.families.base import GENERATED, PROPAGATED, Span  # noqa: E402
from framefill.families.light import LightPipeline, smooth  # noqa: E402
from framefill.families.light_filler import LightFiller, fill_regions, load_filler  # noqa: E402
from framefill.families.light_still import LightStill  # noqa: E402
from framefill.families.memory import fit_default, fit_memory  # noqa: E402
from framefill.families.trained import Sampling  # noqa: E402
from framefill.jobs.settings import FillSettings  # noqa: E402
from framefill.media.tensors import mask_to_tensor, to_tensor  # noqa: E402
from framefill.nets.light import Light  # noqa: E402

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def clip(T: int = 5, H: int = 48, W: int = 64) -> tuple[Frames, Mask]:
    rng = np.random.default_rng(0)
    mask = np.zeros((T, H, W), np.bool_)
    for t in range(T):
        mask[t, 10:30, 10 + 2 * t : 34 + 2 * t] = True
    return rng.integers(0, 256, (T, H, W, 3), np.uint8), mask


def hidden(frames: Frames, mask: Mask) -> Frames:
    return np.where(mask[..., None], 255 - frames, frames).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (33, 50)])
def test_the_smooth_fill_keeps_what_is_known_and_continues_it(size: tuple[int, int]) -> None:
    flat = torch.full((2, 3, *size), 0.25)
    known = torch.ones(2, 1, *size)
    known[..., size[0] // 2, size[1] // 2] = 0
    if known.sum() == 0:
        assert torch.equal(smooth(flat, known), torch.zeros_like(flat))
        return
    torch.testing.assert_close(smooth(flat, known), flat)
    some = torch.rand(2, 3, *size)
    assert torch.equal(torch.where(known > 0, smooth(some, known), 0), some * known)


def test_the_smooth_fill_of_a_ramp_is_a_ramp_as_near_as_pyramids_come() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    known = torch.ones(1, 1, 64, 64)
    known[..., 24:40, 24:40] = 0
    assert (smooth(ramp, known) - ramp).abs().max() < 0.06


def test_a_new_net_gives_the_smooth_fill() -> None:
    frames, mask = clip()
    pipeline = LightPipeline(Light(channels=(8, 8, 12), blocks=1, layers=1, num_heads=2), ["inpaint-box"])
    prepared = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask))
    assert torch.equal(pipeline.make(prepared), prepared.given)


def test_known_pixels_stay_and_hidden_ones_are_not_looked_at() -> None:
    (frames, mask), pipeline = clip(), small_pipeline()
    made = pipeline(frames, mask).frames
    assert np.array_equal(made[~mask], frames[~mask])
    assert np.array_equal(made, pipeline(hidden(frames, mask), mask).frames)
    assert pipeline(frames, np.zeros_like(mask)).frames is frames
    tensors = [pipeline.prepare(to_tensor(each), mask_to_tensor(mask)).given for each in (frames, hidden(frames, mask))]
    assert torch.equal(*tensors)


@pytest.mark.parametrize("T", [1, 5, 6, 7, 13, 20])
def test_windows_of_any_number_are_put_together(T: int) -> None:
    (frames, mask), pipeline = clip(T), small_pipeline()
    made = pipeline(frames, mask, overlap=2).frames
    assert made.shape == frames.shape
    if pipeline.window >= T:
        assert np.array_equal(made, pipeline.fill(frames, mask))
    else:
        assert not np.array_equal(made, pipeline(frames, mask, overlap=0).frames)


def test_the_gradient_reaches_the_net_through_what_training_calls() -> None:
    frames, mask = clip()
    pipeline = small_pipeline()
    pipeline.make(pipeline.prepare(to_tensor(frames), mask_to_tensor(mask))).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in pipeline.net.parameters())


def test_saved_and_read_it_fills_alike(tmp_path: Path) -> None:
    (frames, mask), pipeline = clip(), small_pipeline()
    pipeline.save_pretrained(tmp_path / "net")
    again = LightPipeline.from_pretrained(tmp_path / "net")
    assert (again.tasks, again.window, again.size) == (pipeline.tasks, pipeline.window, pipeline.size)
    assert np.array_equal(again(frames, mask).frames, pipeline(frames, mask).frames)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (None, "No such file"),
        ("{", "damaged"),
        (json.dumps({"_class_name": "VDTPipeline"}), "holds a VDTPipeline"),
        (json.dumps({"_class_name": "LightPipeline", "tasks": []}), "window|cannot read"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, index: str | None, told: str) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(WeightsError, match=told) as error:
        LightPipeline.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_bad_input_is_told() -> None:
    (frames, mask), pipeline = clip(), small_pipeline()
    with pytest.raises(UsageError, match="uint8"):
        pipeline(frames.astype(np.float32), mask)  # type: ignore[arg-type]
    with pytest.raises(MaskMismatch, match="expected bool"):
        pipeline(frames, mask[:-1])
    with pytest.raises(UsageError, match="unknown task"):
        LightPipeline(small_net(), ["paint"])


def test_only_the_surroundings_of_a_hole_are_looked_at() -> None:
    pipeline = small_pipeline()
    frames, mask = clip(2, 256, 256)
    mask[:] = False
    mask[:, 20:40, 20:40] = True
    far = frames.copy()
    far[:, 150:] = 0  # more than the context away
    made = fill_regions(pipeline, frames, mask)
    assert np.array_equal(made[mask], fill_regions(pipeline, far, mask)[mask])
    near = frames.copy()
    near[:, 60] = 0
    assert not np.array_equal(made[mask], fill_regions(pipeline, near, mask)[mask])


def test_a_large_hole_is_made_in_tiles_that_meet() -> None:
    pipeline = small_pipeline()
    frames = np.full((1, 700, 1200, 3), 90, np.uint8)
    mask = np.zeros((1, 700, 1200), np.bool_)
    mask[:, 20:680, 20:1180] = True
    made = fill_regions(pipeline, frames, mask)
    assert np.array_equal(made[~mask], frames[~mask])
    steps = np.abs(np.diff(made[0].astype(int), axis=1))[40:660, 40:1160].max((0, 2))
    assert steps.max() <= 3 * max(8, np.median(steps)), "no seam stands out"


def test_windows_of_a_filler_are_faded_into_each_other() -> None:
    (frames, mask), filler = clip(12), LightFiller(small_pipeline())
    assert (filler.window, filler.reach) == (2, 2)
    first, state = filler.fill_span(Span(0, frames[:4], mask[:4], 0, 2), None)
    span = Span(0, frames[:6], mask[:6], 2, 4)
    faded, alone = filler.fill_span(span, state)[0].frames, filler.fill_span(span, None)[0].frames
    hole = mask[2:4]
    expected = state["made"] + np.array([1 / 3, 2 / 3])[:, None, None, None] * (alone.astype(float) - state["made"])
    assert np.abs(faded[hole] - expected[hole]).max() <= 1
    assert not np.array_equal(faded, alone)
    stale = filler.fill_span(Span(0, frames[:8], mask[:8], 4, 6), state)[0].frames  # of another place: not used
    assert np.array_equal(stale, filler.fill_span(Span(0, frames[:8], mask[:8], 4, 6), None)[0].frames)
    assert np.array_equal(first.frames[~mask[:2]], frames[:2][~mask[:2]])


def test_an_untrained_task_is_refused_by_name() -> None:
    frames, mask = clip()
    pipeline = LightPipeline(small_net(), ["inpaint-box"], window=6)
    with pytest.raises(UsageError, match="not trained on 'generate'"):
        LightFiller(pipeline).fill_span(Span(0, frames, np.ones_like(mask), 0, 5), None)


def test_a_folder_is_a_model_of_inpaint(tmp_path: Path) -> None:
    frames, mask = clip(9)
    small_pipeline().save_pretrained(tmp_path / "mine")
    filled = framefill.inpaint(frames, mask, str(tmp_path / "mine"), Sampling(dtype="fp32"))
    assert np.array_equal(filled.frames[~mask], frames[~mask])
    assert load_filler(tmp_path / "mine", Sampling()).name == "mine"
    with pytest.raises(UsageError, match="makes no whole frames"):
        families.load(str(tmp_path / "mine"), Sampling())


def test_single_pictures_are_filled_by_the_net_but_for_thin_holes(tmp_path: Path) -> None:
    (frames, mask), pipeline = clip(1), small_pipeline()
    pipeline.save_pretrained(tmp_path)
    still = LightStill(tmp_path)
    made = still(frames[0], mask[0])
    assert np.array_equal(made[~mask[0]], frames[0][~mask[0]])
    assert np.array_equal(made, still(hidden(frames, mask)[0], mask[0]))
    thin = np.zeros_like(mask[0])
    thin[20:22] = True
    assert np.array_equal(still(frames[0], thin), families.still.smooth(frames[0], thin))
    whole = np.ones_like(mask[0])
    assert (still(frames[0], whole) == 127).all()


def test_auto_makes_with_the_net_what_no_frame_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames, _ = clip(6, 64, 80)
    frames = np.repeat(frames[:1], 6, axis=0)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:, 16:44, 20:50] = True
    monkeypatch.setattr("framefill.families.trained.SHIPPED", tmp_path)
    plain = framefill.inpaint(frames, mask)
    assert families.made_by("auto") is None
    small_pipeline().save_pretrained(tmp_path / "light")
    assert families.made_by("auto") == tmp_path / "light"
    made = framefill.inpaint(frames, mask)
    assert not np.array_equal(made.frames, plain.frames)
    assert np.array_equal(made.provenance, plain.provenance)
    assert np.array_equal(made.frames[~mask], frames[~mask])
    assert (made.frames[0] == made.frames).all(), "made once, it stays"
    monkeypatch.setattr("framefill.families.find_spec", {}.get)
    assert np.array_equal(framefill.inpaint(frames, mask).frames, plain.frames)


def test_auto_leaves_its_net_out_where_memory_is_too_little_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=4)
    mask = np.zeros((48, 64), np.uint8)
    mask[12:36, 16:48] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    monkeypatch.setattr("framefill.families.trained.SHIPPED", tmp_path)
    small_pipeline().save_pretrained(tmp_path / "light")

    def warned(memory: int | None) -> list[str]:
        settings = FillSettings(source, tmp_path / "b.mkv", mask=tmp_path / "m.png", memory=memory, lossless=True, overwrite=True)
        return [line for line in framefill.fill_file(settings).warnings if "--memory" in line]

    assert warned(None) == warned(2 * 10**9) == []
    assert warned(300 * 10**6) == ["--memory: what no frame shows is filled smoothly; the net that makes it takes 550 MB more"]


def test_after_auto_the_net_makes_only_what_no_frame_shows(tmp_path: Path) -> None:
    frames = np.repeat(clip(1, 64, 80)[0], 24, axis=0)
    mask = np.zeros(frames.shape[:3], np.bool_)
    for number, frame in enumerate(mask):  # seen in other frames, but for the first columns
        frame[16:44, 10 + number // 2 : 30 + number // 2] = True
    mask[:, 20:40, :10] = True
    small_pipeline().save_pretrained(tmp_path / "net")
    alone = framefill.inpaint(frames, mask, "propagate")
    made = framefill.inpaint(frames, mask, f"auto+{tmp_path / 'net'}")
    assert alone.remaining.any()
    assert (alone.provenance == PROPAGATED).any()
    assert np.array_equal(made.provenance == GENERATED, alone.remaining)
    assert np.array_equal(made.frames[~alone.remaining], alone.frames[~alone.remaining])
    assert not made.remaining.any()


def test_a_net_sees_as_many_frames_as_memory_allows(tmp_path: Path) -> None:
    small_pipeline().save_pretrained(tmp_path / "net")
    filler = families.get(f"auto+{tmp_path / 'net'}")
    assert get_model(f"auto+{tmp_path / 'net'}").name == filler.name, "eval knows it by the same name"
    pixels = 320 * 240
    whole, less = (fit_memory(filler, limit, pixels, pixels) for limit in (2_000_000_000, 1_000_000_000))
    assert (whole.window, fit_default(filler, pixels, pixels).window) == (8, 8)
    assert 1 <= less.window < 8
    with pytest.raises(UsageError, match=r"the smallest that works is 7\d\dMB"):
        fit_memory(filler, 600_000_000, pixels, pixels)
