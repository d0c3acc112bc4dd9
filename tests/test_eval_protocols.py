"""Protocols: which clips are found, what is hidden, what a setting changes, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_kit import moving_clip, save_frames

from framefill.errors import MaskMismatch, UnreadableMedia, UsageError
from framefill.evaluation.clips import find_clips, find_part, read_clip
from framefill.evaluation.protocols import PROTOCOLS, get_protocol
from framefill.evaluation.protocols.base import Case, Protocol, SetProtocol, parse_size
from framefill.evaluation.protocols.completion import dilated, fixed_box, mask_for
from framefill.evaluation.protocols.generation import draw_real, list_made, read_drawn
from framefill.evaluation.unit import write_clip


def cases(name: str, folder: Path, seed: int = 0, **settings: object) -> dict[str, Case]:
    protocol = get_protocol(name)
    assert isinstance(protocol, Protocol)
    found = protocol.find(folder, protocol.settle({key: str(value) for key, value in settings.items()}), seed)
    return {source.name: source.load() for source in found.cases}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    save_frames(folder / "b10", moving_clip(seed=1))
    save_frames(folder / "b2" / "frames", moving_clip(seed=2))
    write_clip(folder / "a.mp4", moving_clip(seed=3))
    (folder / "c").mkdir()
    write_clip(folder / "c" / "video.mp4", moving_clip(seed=4))
    write_clip(folder / "c" / "other.mp4", moving_clip(seed=5))
    (folder / "two").mkdir()
    for name in ("x", "y"):
        write_clip(folder / "two" / f"{name}.mp4", moving_clip(seed=6))
    (folder / "notes.txt").write_text("no clip")
    cv2.imwrite(str(folder / "still.png"), moving_clip()[0])
    return folder


def test_clips_are_found_in_every_layout_and_in_natural_order(clips: Path) -> None:
    found = find_clips(clips)
    assert list(found) == ["a", "b2", "b10", "c"], "two videos in a folder without a telling name are no one clip"
    assert found["b2"] == clips / "b2" / "frames"
    assert found["c"] == clips / "c" / "video.mp4"
    assert np.array_equal(read_clip(found["b10"], None, 3), moving_clip(seed=1)[:3])


def test_a_single_clip_is_a_folder_of_one(clips: Path) -> None:
    assert list(find_clips(clips / "a.mp4")) == ["a"]
    assert list(find_clips(clips / "b10")) == ["b10"]


def test_no_clip_and_two_of_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="does not exist"):
        find_clips(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableMedia, match="holds no clip"):
        find_clips(tmp_path / "empty")
    save_frames(tmp_path / "a", moving_clip())
    write_clip(tmp_path / "a.mp4", moving_clip())
    with pytest.raises(UsageError, match="both be called 'a'"):
        find_clips(tmp_path)


def test_the_parts_of_a_clip_are_found_either_way_round(tmp_path: Path) -> None:
    inside = save_frames(tmp_path / "walk" / "mask", moving_clip())
    beside = save_frames(tmp_path / "masks" / "run", moving_clip())
    assert find_part(tmp_path, "walk", ("mask", "masks")) == inside
    assert find_part(tmp_path, "run", ("mask", "masks")) == beside
    assert find_part(tmp_path, "jump", ("mask", "masks")) is None


@pytest.mark.parametrize("shape", ["object", "box", "stroke", "blob", "fixed-box"])
def test_a_generated_mask_depends_on_clip_case_and_seed_alone(shape: str) -> None:
    size = (12, 60, 108)
    still, moving = (mask_for("walk", shape, case, 0, size) for case in ("still", "moving"))
    assert np.array_equal(still, mask_for("walk", shape, "still", 0, size))
    assert (still == still[0]).all()
    assert (moving != moving[0]).any()
    assert still.any()
    assert not still.all()
    if shape != "fixed-box":
        assert (still != mask_for("run", shape, "still", 0, size)).any()
        assert (still != mask_for("walk", shape, "still", 1, size)).any()


def test_the_fixed_box_is_that_of_the_reference_figures() -> None:
    mask = fixed_box(20, 240, 432, moving=True)
    for t in (0, 7, 19):
        rows, columns = np.nonzero(mask[t])
        left = round(60 + 272 * (0.5 + 0.5 * math.sin(t / 12)))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (80, 159, left, left + 89)
    assert np.flatnonzero(fixed_box(1, 240, 432, moving=False)[0].any(0))[0] == 150
    assert fixed_box(1, 120, 216, moving=False).sum() == 45 * 40


def test_completion_gives_the_clip_as_its_own_truth(clips: Path) -> None:
    made = cases("completion", clips, size="48x40", frames=4, shape="box")
    assert list(made) == [f"{name}/{case}" for name in ("a", "b2", "b10", "c") for case in ("still", "moving")]
    case = made["b10/moving"]
    assert np.array_equal(case.truth, moving_clip(seed=1)[:4])
    assert case.mask.shape == (4, 40, 48)
    assert list(cases("completion", clips / "b10", case="still", size="source")) == ["b10/still"]


def test_the_benchmarks_masks_are_dilated_four_times_by_a_cross() -> None:
    point = np.zeros((1, 21, 21), np.bool_)
    point[0, 10, 10] = True
    rows, columns = np.indices((21, 21))
    assert np.array_equal(dilated(point)[0], abs(rows - 10) + abs(columns - 10) <= 4)


def benchmark_folder(root: Path, level: int = 1) -> Path:
    for name, frames in (("bear", 3), ("swan", 2)):
        save_frames(root / "JPEGImages" / "480p" / name, moving_clip(frames, 120, 216))
        mask = np.zeros((1, 120, 216), np.uint8)
        mask[:, 30:60, 40:80] = level
        save_frames(root / "test_masks" / name, np.repeat(mask, frames, axis=0))
    return root


def test_completion_davis_reads_the_data_sets_own_layout(tmp_path: Path) -> None:
    made = cases("completion-davis", benchmark_folder(tmp_path))
    assert list(made) == ["bear", "swan"]
    bear = made["bear"]
    assert bear.given.shape == (3, 240, 432, 3)
    assert bear.mask[0].sum() > 60 * 80, "twice as large, and dilated: even level 1 is hole"
    wanted = cv2.resize(moving_clip(3, 120, 216)[1], (432, 240), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(bear.given[1], wanted)
    other = cases("completion-davis", tmp_path, resize="bicubic")["bear"]
    assert (other.given != bear.given).any()


def test_test_json_names_the_videos_and_their_lengths(tmp_path: Path) -> None:
    root = benchmark_folder(tmp_path)
    (root / "test.json").write_text(json.dumps({"bear": 2}))
    protocol = get_protocol("completion-davis")
    assert isinstance(protocol, Protocol)
    found = protocol.find(root, protocol.settle({}), 0)
    assert [source.name for source in found.cases] == ["bear"]
    assert len(found.cases[0].load().given) == 2
    assert "50 videos and 3455 frames; this folder has 1 videos and 2 frames" in found.notes[0]
    (root / "test.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"test\.json"):
        protocol.find(root, protocol.settle({}), 0)
    (root / "test.json").write_text(json.dumps({"lion": 2}))
    with pytest.raises(UnreadableMedia, match="lion"):
        protocol.find(root, protocol.settle({}), 0)
    with pytest.raises(UnreadableMedia, match="has no frames"):
        protocol.find(tmp_path / "test_masks", protocol.settle({}), 0)


def test_a_benchmark_mask_of_another_length_is_refused(tmp_path: Path) -> None:
    root = benchmark_folder(tmp_path)
    (root / "test_masks" / "bear" / "000.png").unlink()
    with pytest.raises(MaskMismatch, match="2 masks, its clip 3 frames"):
        cases("completion-davis", root)


def test_interpolation_hides_whole_frames_between_known_ones(clips: Path) -> None:
    hidden = cases("interpolation", clips / "b10", size="source")["b10"].mask.all(axis=(1, 2))
    assert hidden.tolist() == [False, True, False, True, False, False], "nothing is known behind the last frame"
    hidden = cases("interpolation", clips / "b10", size="source", gap=3)["b10"].mask.all(axis=(1, 2))
    assert hidden.tolist() == [False, True, True, False, False, False]
    hidden = cases("interpolation", clips / "b10", size="source", every=3)["b10"].mask.all(axis=(1, 2))
    assert hidden.tolist() == [False, False, True, False, False, False]
    with pytest.raises(UnreadableMedia, match="too few"):
        cases("interpolation", clips / "b10", frames=2)
    with pytest.raises(UsageError, match="every=1"):
        cases("interpolation", clips / "b10", every=1)


def test_prediction_gives_the_first_frames(clips: Path) -> None:
    case = cases("mcvd-cityscapes", clips / "b10", frames=5, size="32x32")["b10"]
    assert case.mask.all(axis=(1, 2)).tolist() == [False, False, True, True, True]
    assert case.given.shape == (5, 32, 32, 3)
    with pytest.raises(UnreadableMedia, match="has 6 frames, the protocol wants 30"):
        cases("mcvd-cityscapes", clips / "b10")
    with pytest.raises(UsageError, match="nothing is left to predict"):
        cases("mcvd-cityscapes", clips / "b10", known=5, frames=5)


def removal_folder(root: Path) -> Path:
    for name in ("with", "without"):
        save_frames(root / name / "frames", moving_clip(3))
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20, 10:20] = 255
        cv2.imwrite(str(root / name / "mask.png"), mask)
    save_frames(root / "with" / "background", moving_clip(3, seed=9))
    save_frames(root / "bare" / "frames", moving_clip(3))
    return root


def test_removal_takes_the_true_background_where_it_is(tmp_path: Path) -> None:
    protocol = get_protocol("removal")
    assert isinstance(protocol, Protocol)
    found = protocol.find(removal_folder(tmp_path), protocol.settle({}), 0)
    assert [source.name for source in found.cases] == ["with", "without"]
    assert any("bare" in note and "no mask" in note and "left out" in note for note in found.notes)
    with_truth, without = (source.load() for source in found.cases)
    assert np.array_equal(with_truth.truth, moving_clip(3, seed=9))
    assert without.truth is None
    assert with_truth.mask[:, 10:20, 10:20].all()
    assert with_truth.mask.sum() == 300


def test_stereo_needs_the_true_view(tmp_path: Path) -> None:
    assert list(cases("stereo", removal_folder(tmp_path))) == ["with"]
    with pytest.raises(UnreadableMedia, match="a mask and the truth"):
        cases("stereo", save_frames(tmp_path / "alone", moving_clip(3)))


def test_a_background_of_another_length_is_refused(tmp_path: Path) -> None:
    root = removal_folder(tmp_path)
    (root / "with" / "background" / "000.png").unlink()
    with pytest.raises(MaskMismatch, match=r"48x40 with 2 frames, the clip 48x40 with 3 frames"):
        cases("removal", root)


def test_an_edit_gives_the_edited_first_frame_and_hides_the_rest(tmp_path: Path) -> None:
    save_frames(tmp_path / "cat" / "frames", moving_clip(4))
    cv2.imwrite(str(tmp_path / "cat" / "edited.png"), np.full((80, 96, 3), 200, np.uint8))
    case = cases("edit", tmp_path)["cat"]
    assert (case.given[0] == 200).all(), "resized to the clip"
    assert case.mask.all(axis=(1, 2)).tolist() == [False, True, True, True]
    assert np.array_equal(case.source, moving_clip(4))
    assert case.truth is None
    with pytest.raises(UnreadableMedia, match="edited first frame"):
        cases("edit", tmp_path / "cat" / "frames")


@pytest.mark.parametrize(
    ("name", "count", "length", "stride"), [("fvd2048_16f", 2048, 16, 1), ("fvd256_20f", 256, 20, 1), ("fvd64_128f_s8", 64, 128, 8)]
)
def test_fvd_protocols_of_any_count_and_length_have_names(name: str, count: int, length: int, stride: int) -> None:
    protocol = get_protocol(name)
    assert isinstance(protocol, SetProtocol)
    assert protocol.name == name
    settings = protocol.settle({})
    assert (settings["count"], settings["length"], settings["stride"]) == (count, length, stride)


def test_real_clips_are_drawn_from_videos_that_are_long_enough(clips: Path) -> None:
    save_frames(clips / "short", moving_clip(2))
    protocol = get_protocol("fvd11_3f_s2")
    settings = protocol.settle({})
    drawn, notes = draw_real(clips, settings, 0)
    assert len(drawn) == 11
    assert {item.path for item in drawn} == set(find_clips(clips).values()) - {clips / "short"}
    assert {item.start for item in drawn} == {0, 1}, "frames 0, 2, 4 or 1, 3, 5 of six"
    assert {item.mirrored for item in drawn} == {True, False}
    assert (drawn, notes) == draw_real(clips, settings, 0)
    assert drawn != draw_real(clips, settings, 1)[0]
    assert not any(item.mirrored for item in draw_real(clips, protocol.settle({"mirror": "off"}), 0)[0])
    assert "1 real videos are shorter than 5 frames" in notes[0]
    at = next(item for item in drawn if item.path.name == "b10")
    wanted = moving_clip(seed=1)[at.start :: 2][:3]
    assert np.array_equal(read_drawn(at, settings), wanted[:, :, ::-1] if at.mirrored else wanted)
    with pytest.raises(UnreadableMedia, match="no video of 31 frames"):
        draw_real(clips, get_protocol("fvd2_31f").settle({}), 0)


def test_generated_clips_are_taken_as_they_are(clips: Path) -> None:
    drawn, notes = list_made(clips, get_protocol("fvd9_6f").settle({}))
    assert [(item.start, item.mirrored) for item in drawn] == [(0, False)] * 4
    assert "4 clips; the protocol wants 9" in notes[0]
    with pytest.raises(UnreadableMedia, match="has 6 frames, the protocol wants 7"):
        list_made(clips, get_protocol("fvd9_7f").settle({}))


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_setting_is_told_in_the_definition(name: str) -> None:
    protocol = PROTOCOLS[name]
    usual = protocol.define(protocol.settle({}))
    assert all(line.endswith(".") for line in usual)
    for key, option in protocol.options.items():
        other = next((choice for choice in option.choices if choice != option.default), "64x32" if key == "size" else "7")
        told = protocol.define(protocol.settle({key: other}))
        assert told != usual, f"{key} changes nothing that is told"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"frame": "3"}, "did you mean frames"),
        ({"zebra": "3"}, "there are"),
        ({"frames": "many"}, "expected a number"),
        ({"frames": "0"}, "above 0"),
        ({"frames": "-2"}, "above 0"),
        ({"shape": "star"}, "give one of"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        get_protocol("completion").settle(setting)


@pytest.mark.parametrize("text", ["432", "432x", "x240", "0x10", "axb", "432x240x3"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        parse_size(text)


def test_unknown_protocols_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean completion-davis"):
        get_protocol("completion-davids")
    with pytest.raises(UsageError, match="there are completion"):
        get_protocol("zzz")
    with pytest.raises(UsageError):
        get_protocol("fvd0_16f")
