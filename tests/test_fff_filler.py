"""An image-to-video net as a filler: what it is shown of a picture, how it is told on the command line, what it takes, what is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from jobs_kit import rgb_of, write_clip

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from fff_kit import clip_with_hole, saved, tiny_pipeline  # noqa: E402

import framefill  # noqa: E402
from framefill import families  # noqa: E402
from framefill.apps.cli.main import main  # noqa: E402
from framefill.errors import MissingWeights, UsageError  # noqa: E402
from framefill.families.base import GENERATED, PROPAGATED, State  # noqa: E402
from framefill.families.fff.colour import colours_matched  # noqa: E402
from framefill.families.fff.crop import track, tracks  # noqa: E402
from framefill.families.fff.filler import FFFFiller  # noqa: E402
from framefill.families.fff.latents import Portions  # noqa: E402
from framefill.families.fff.memory import Way, needed, way_within  # noqa: E402
from framefill.families.memory import fit_default, fit_memory  # noqa: E402
from framefill.families.scaled import made_smaller  # noqa: E402
from framefill.families.spans import spans  # noqa: E402
from framefill.families.trained import FFFSampling, Sampling  # noqa: E402

CENTRE = "24,16,12,10"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("fff") / "tiny", tiny_pipeline(awake=True, size=8, steps=1))


def walking(frames: int, height: int, width: int, box: int, step: float) -> np.ndarray:
    """A box that crosses the picture."""
    mask = np.zeros((frames, height, width), np.bool_)
    for number in range(frames):
        left = int(10 + step * number)
        mask[number, 40 : 40 + box, left : left + box] = True
    return mask


def test_a_rectangle_follows_its_hole() -> None:
    mask = walking(20, 200, 400, 24, 15)
    path = track(mask, 64)
    assert (path.width, path.height) == (88, 88), "the hole with 32 pixels all round"
    assert len(set(path.left.tolist())) > 10
    assert path.cut(mask).sum() == mask.sum()
    assert path.left.min() >= 0
    assert (path.left + path.width).max() <= 400
    assert np.abs(np.diff(path.left, 2))[2:-2].max() <= 2, "it does not tremble"
    clip = np.arange(mask.size, dtype=np.float64).reshape(mask.shape)
    copy = np.zeros_like(clip)
    path.paste(copy, path.cut(clip))
    assert np.array_equal(copy[mask], clip[mask])


def test_frames_without_a_hole_are_passed_on_the_way() -> None:
    mask = walking(20, 200, 400, 24, 15)
    mask[5:15] = False
    path = track(mask, 64)
    assert path.cut(mask).sum() == mask.sum()
    assert path.left[4] < path.left[10] < path.left[15]


@pytest.mark.parametrize("step", [0.0, 3.7, -1.0])
def test_a_hole_never_leaves_its_rectangle_however_it_jumps(step: float) -> None:
    rng = np.random.default_rng(int(step * 10) + 20)
    mask = np.zeros((12, 70, 131), np.bool_)
    for frame in mask:
        top, left = rng.integers(0, 50), rng.integers(0, 110)
        frame[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    for path in tracks(mask, 16):
        assert path.top.min() >= 0
        assert (path.top + path.height).max() <= 70
    covered = np.zeros_like(mask)
    for path in tracks(mask, 16):
        path.paste(covered, np.ones((12, path.height, path.width), np.bool_))
    assert covered[mask].all()


def test_holes_apart_have_a_rectangle_each_and_large_ones_the_picture() -> None:
    mask = np.zeros((3, 300, 400), np.bool_)
    assert tracks(mask, 16) == []
    mask[:, 10:20, 10:20] = mask[:, 270:280, 370:380] = True
    assert sorted((path.width, path.height) for path in tracks(mask, 16)) == [(74, 74), (74, 74)]
    mask[:, 100:250, 100:300] = True
    whole = tracks(mask, 16)
    assert [(path.width, path.height) for path in whole] == [(400, 300)]


def test_a_clip_made_smaller_shows_only_what_is_known() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 40, 60, 3), np.uint8)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[0, ::3, ::3] = mask[0, 20:, :30] = True
    other = np.where(mask[..., None], 255 - frames, frames)
    (small, hidden), (twin, same) = (made_smaller(one, mask, 10, 15) for one in (frames, other))
    assert np.array_equal(small, twin)
    assert np.array_equal(hidden, same)
    assert hidden[0, 5:, :7].all()
    assert not hidden[0, :5].any(), "specks hide no pixel that is half known"
    assert not hidden[1].any()
    at_size = made_smaller(frames, mask, 40, 60)
    assert at_size[0] is frames
    assert at_size[1] is mask
    flat = made_smaller(np.full_like(frames, 90), mask, 10, 15)
    assert (flat[0][~flat[1]] == 90).all()


def test_colours_come_back_by_what_is_known() -> None:
    frames, mask = clip_with_hole(5, 64, 64)
    drift = np.clip(0.9 * frames.astype(float) + np.array([12, -4, 7]) + np.arange(5)[:, None, None, None], 0, 255).round().astype(np.uint8)
    matched = colours_matched(drift, np.where(mask[..., None], np.uint8(9), frames), mask)
    before, after = (np.abs(one.astype(float) - frames)[mask].mean() for one in (drift, matched))
    assert after < 1.5 < before / 2
    assert np.array_equal(colours_matched(frames, frames, np.ones_like(mask)), frames), "nothing known tells nothing"


def test_a_clip_of_any_length_takes_the_same_memory(net: Path) -> None:
    def peak(count: int) -> int:
        filler = families.get(f"fff:{net}", Sampling(fff=FFFSampling(guidance=(1.0, 1.0), mode="off")))
        frames, mask = clip_with_hole(1, 96, 96)
        state: State | None = None
        tracemalloc.start()
        stream = ((frames[0], mask[0]) for _ in range(count))
        for span in spans(stream, filler.window, filler.reach, 96, 96):
            _, state = filler.fill_span(span, state)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(9) > 0  # what is loaded once is loaded by now
    short, long = peak(2 * 9), peak(4 * 9)
    assert long == pytest.approx(short, rel=0.1)


def test_after_auto_only_what_no_frame_shows_is_made_by_the_net(net: Path) -> None:
    frames, mask = clip_with_hole(12, 48, 64, step=4)
    mask = np.zeros_like(mask)
    mask[:, 16:28, 20:30] = True  # the camera moves on: other frames show most of it
    mask[:, 40:, :] = True  # and here, none ever does
    filled = framefill.inpaint(frames, mask, f"auto+fff:{net}")
    alone = framefill.inpaint(frames, mask, "propagate")
    assert np.array_equal(filled.provenance == PROPAGATED, alone.provenance == PROPAGATED)
    seen = alone.provenance == PROPAGATED
    assert seen[:, 16:28, 20:30].mean() > 0.5
    assert np.array_equal(filled.frames[seen], alone.frames[seen])
    assert np.array_equal(filled.provenance == GENERATED, alone.remaining)
    assert not filled.remaining.any()


def test_options_reach_the_net_and_known_pixels_stay(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 14)

    def filled(*options: str, model: str = f"fff:{net}") -> np.ndarray:
        command = ["inpaint", str(clip), "--box", CENTRE, "-o", str(tmp_path / "out.mkv"), "--lossless", "--overwrite", "--model", model]
        assert main([*command, "--quiet", "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["outside_max_diff"] == 0
        assert told["model"] == ("auto+tiny" if model.startswith("auto") else "tiny")
        return rgb_of(tmp_path / "out.mkv")

    first = filled()
    assert np.array_equal(first, filled("--seed", "0", "--guidance", "1,3", "--long-video", "blend", "--fff-mode", "feature"))
    assert np.array_equal(first, filled(model=str(net))), "a folder is a folder, with its prefix or without"
    for other in (
        ("--guidance", "2,2"),
        ("--long-video", "keyframe"),
        ("--fff-mode", "latent"),
        ("--seed", "1"),
        ("--steps", "2"),
        ("--inversion", "9"),
    ):
        assert not np.array_equal(first, filled(*other)), other
    filled(model=f"auto+fff:{net}")


BAD = [
    (["--model", "fff:"], 2, "names no weights"),
    (["--model", "fff:nowhere"], 2, "no folder nowhere, and it is no name of the hub either"),
    (["--model", "fff:{tmp}"], 2, "holds no model_index.json"),
    (["--model", "fff:nobody/never-fetched"], 1, "neither a folder nor on this machine yet; get it with: hf download nobody/never-fetched"),
    (["--model", "auto+fff:nowhere"], 2, "no folder nowhere"),
    (["--model", "auto+nowhere"], 2, "no model is called 'auto+nowhere'"),
    (["--model", "auto+vdt-tiny"], 2, "is for light nets and image-to-video nets"),
    (["--model", "auto+fff:{light}"], 1, "is no image-to-video net; give --model"),
    (["--model", "fff:{light}"], 1, "is no image-to-video net; give --model"),
    (["--model", "fff:{net}", "--fff-mode", "first"], 2, "--fff-mode is 'first', expected one of feature, latent, off"),
    (["--model", "fff:{net}", "--long-video", "loop"], 2, "--long-video is 'loop', expected one of blend, chain, keyframe"),
    (["--model", "fff:{net}", "--guidance", "3"], 2, "--guidance is '3', expected two numbers"),
    (["--model", "fff:{net}", "--guidance", "1,101"], 2, "expected 0 to 100; 1,3 is usual"),
    (["--model", "fff:{net}", "--inversion", "nan"], 2, "--inversion is nan, expected a noise level above 0"),
    (["--model", "fff:{net}", "--inversion", "701"], 2, "up to noise level 701, expected one within this net's 0.002 to 700"),
    (["--model", "fff:{net}", "--steps", "0"], 2, "--steps is 0"),
    (["--model", "fff:{net}", "--memory", "10MB"], 2, "the smallest that works is about"),
    (["--model", "fff:{net}", "--device", "cuda"], 2, "torch sees no GPU"),
    (["--model", "fff:{plain}", "--fff-mode", "feature"], 2, "this net has no refiner"),
    (["--model", "fff:{broken}"], 1, "is damaged or was not fetched to its end"),
    (["--model", "fff:{parts}"], 1, "holds no config.json"),
    (["--model", "{light}", "--fff-mode", "off"], 2, "are for image-to-video nets"),
    (["--model", "auto", "--long-video", "chain"], 2, "auto has no use for them"),
]


@pytest.fixture(scope="module")
def folders(net: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from light_kit import small_pipeline

    folder = tmp_path_factory.mktemp("bad")
    small_pipeline().save_pretrained(folder / "light")
    saved(folder / "plain", tiny_pipeline(refiner=False))
    saved(folder / "broken")
    weights = folder / "broken" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (folder / "parts").mkdir()
    (folder / "parts" / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}')
    names = {name: str(folder / name) for name in ("light", "plain", "broken", "parts")}
    return names | {"net": str(net), "tmp": str(folder)}


@pytest.mark.parametrize(("options", "status", "line"), BAD, ids=[" ".join(row[0][1:]) for row in BAD])
def test_what_cannot_be_ends_in_one_line(
    options: list[str], status: int, line: str, folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    before = clip.read_bytes()
    told = [option.format(**folders) for option in options]
    assert main(["inpaint", str(clip), "--box", CENTRE, "-o", str(tmp_path / "out.mkv"), "--quiet", *told]) == status
    out = capsys.readouterr()
    said = [text for text in out.err.splitlines() if text.startswith("framefill:")]
    assert len(said) == 1
    assert line in said[0]
    assert "Traceback" not in out.err
    assert clip.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv"]


def test_an_image_to_video_net_makes_no_whole_frames(net: Path) -> None:
    with pytest.raises(UsageError, match="makes no whole frames"):
        families.load(f"fff:{net}", Sampling())
    assert not isinstance(families.get(str(net)), families.Trained)
    with pytest.raises(MissingWeights):
        families.made_by("auto+fff:nobody/never-fetched")
    assert families.made_by(f"auto+fff:{net}") == net


def test_after_auto_looks_less_far_before_the_net_has_too_little(net: Path) -> None:
    filler = families.get(f"auto+fff:{net}")
    pixels = 1280 * 720
    usual = fit_default(filler, pixels, pixels)
    assert usual.reach > 3
    least = 0
    for limit in range(10**8, 10**10, 10**7):
        try:
            bounded = fit_memory(filler, limit, pixels, pixels)
        except UsageError:
            least = limit
            continue
        break
    assert least
    assert 3 <= bounded.reach < usual.reach, "what is left by the least that the net takes"
    assert bounded.window < usual.window or usual.window == 3
    assert fit_memory(filler, 10**10, pixels, pixels).reach == usual.reach


def test_a_limit_makes_blocks_shorter_then_portions_smaller() -> None:
    pipeline = tiny_pipeline(size=64)
    blocks = [Way(15, 3), Way(9, 3), Way(3, 3)]
    usual = way_within(pipeline, None, 10**5, 10**5, blocks)
    assert usual == Way(15, 3, Portions(decode=6))
    needs = []
    most = needed(pipeline, usual, 10**5, 10**5)
    limit = most
    found = usual
    while True:
        need = needed(pipeline, found, 10**5, 10**5)
        assert need <= limit
        needs.append(found)
        try:
            found = way_within(pipeline, need - 1, 10**5, 10**5, blocks)
        except UsageError as error:
            assert f"about {-(-need // 10**6)}MB" in str(error)  # noqa: PT017 - it is how the search ends
            break
        limit = need - 1
    assert [way.window for way in needs][:3] == [15, 9, 3]
    assert needs[-1].portions.decode == 1
    filler = FFFFiller(pipeline)
    bounded = filler.fitted(needed(pipeline, needs[2], 10**5, 10**5), 10**5, 10**5)
    assert (filler.window, bounded.window) == (9, 3)
    assert bounded.pipeline is not pipeline
