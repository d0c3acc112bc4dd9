"""Making records: what is drawn, what stands where, and that workers, breaks and other videos change nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from data_kit import scene, write_frames
from records_kit import SEED, procedural, settings, tree, truth

from framefill.data.progress import Step
from framefill.data.records import list_records
from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.jobs import records as module
from framefill.jobs.record_clip import cut, enough, turned
from framefill.jobs.record_draws import MASKS, MOST, Ranges, draw, parse_masks
from framefill.jobs.records import RecordSettings, _Splitter, clips_of, make_records


@pytest.fixture
def two_shots(tmp_path: Path) -> Path:
    """20 frames of one scene, then 21 of another, with little motion in each."""
    return write_frames(tmp_path / "cut.mp4", np.concatenate([scene(1, 20, 96, 128), scene(2, 21, 96, 128)]))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip.mp4", scene(3, 34, 96, 128))


def drawn(level: int = 1, height: int = 1080, width: int = 1920, size: int = 512, metric: bool = False, count: int = 2000):
    ranges = Ranges(size, (720, 1080, 1080), {"stereo": 3.0, "text": 1.0}, level, metric)
    return [draw(np.random.default_rng(seed), height, width, ranges) for seed in range(count)]


def test_what_is_drawn_has_the_shares_that_are_told() -> None:
    draws = drawn()
    share = {name: np.mean([getattr(each, name) == value for each in draws]) for name, value in [("mapper", "none"), ("short_side", 720)]}
    assert share["mapper"] == pytest.approx(0.7, abs=0.03)
    assert np.mean([each.convergence in (0, 0.5, 1) for each in draws]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([each.angle != 0 for each in draws]) == pytest.approx(0.5, abs=0.035)
    assert max(abs(each.angle) for each in draws) <= 45
    assert np.mean([each.kinds[0] == "stereo" for each in draws]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([each.kinds[1] == "text" for each in draws]) == pytest.approx(0.25, abs=0.03)
    assert {each.mapper for each in drawn(metric=True)} == {"none", "div_25", "div_10", "div_6", "div_4", "div_2", "div_1"}
    assert np.mean([each.edge_dilation(192) == 0 for each in draws]) == pytest.approx(0.5, abs=0.035)
    assert {each.edge_dilation(512) for each in draws} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (2160, 3840), (480, 640)])
def test_the_divergence_keeps_its_bound_on_the_picture_that_is_worked_on(level: int, height: int, width: int) -> None:
    """In pixels: 32 an eye at level 1, in proportion at the others, on any source, turned or not; and the bound is reached."""
    pixels = []
    for each in drawn(level, height, width, 256, count=600):
        longer = each.short_side if each.angle else each.short_side * max(height, width) / min(height, width)
        pixels.append(each.divergence / 100 * longer / 2)
        assert each.divergence <= MOST[level]
    assert max(pixels) <= 32 * MOST[level] / 5 + 0.1
    if max(height, width) >= 1920:
        assert max(pixels) > 31 * MOST[level] / 5


def test_a_picture_is_not_enlarged_beyond_the_crop_and_turned_only_where_enough_is_left() -> None:
    for each in drawn(height=480, width=640, size=256):
        assert each.short_side == (339 if each.angle else 480)
    for each in drawn(height=300, width=400, size=256):
        assert (each.short_side, each.angle) == (300, 0)
    for each in drawn(height=200, width=300, size=256):
        assert (each.short_side, each.angle) == (256, 0)


def test_masks_with_weights_are_read() -> None:
    assert parse_masks("stereo") == {"stereo": 1.0}
    assert parse_masks("stereo=4, object=2,text") == {"stereo": 4.0, "object": 2.0, "text": 1.0}
    assert set(parse_masks(",".join(MASKS))) == set(MASKS)
    for text, says in [
        ("fog", "'fog' is no kind; there are stereo, object"), ("text,text=2", "text stands twice"), ("text=0", "above 0"),
        ("text=x", "above 0"), ("text=inf", "above 0"), ("", "'' is no kind"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=says):
            parse_masks(text)


def test_turned_pictures_are_squares_from_the_middle() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (41, 61, 3), np.uint8)
    assert turned(picture, 0.0, 41) is picture
    square = turned(picture, 90.0, 21)
    assert np.array_equal(square, np.rot90(picture[10:31, 20:41]))
    white = np.full((100, 150), 255, np.uint8)
    assert turned(white, 33.0, int(100 / np.sqrt(2))).min() == 255  # nothing from beyond the picture


def test_crops_go_where_the_hole_is() -> None:
    holes = np.zeros((4, 200, 300), np.bool_)
    holes[:, 150:160, 250:260] = True
    met = 0
    for seed in range(50):
        top, left, mask = cut(np.random.default_rng(seed), "stereo", holes, holes.shape, 50)
        assert np.array_equal(mask, holes[:, top : top + 50, left : left + 50])
        met += int(mask.any())
    assert met == 50
    assert not cut(np.random.default_rng(0), "stereo", holes & False, holes.shape, 50)[2].any()


def test_holes_that_are_too_small_are_not_kept() -> None:
    """300 pixels a frame of 512x512, on average over the frames; more is kept, as many is not."""
    mask = np.zeros((2, 512, 512), np.bool_)
    mask[0, 0, :300], mask[1, 1, :300] = True, True
    assert not enough(mask)
    mask[1, 2, 0] = True
    assert enough(mask)
    assert enough(mask[:, :256, :256])  # 301 of a quarter of the area


def test_clips_lie_within_shots_and_leave_out_what_was_asked() -> None:
    one = settings(seq=16, skip_interval=16)
    assert [(clip[0], clip[-1]) for clip in clips_of([(0, 80)], 25, one)] == [(0, 15), (32, 47), (64, 79)]
    assert [clip[0] for clip in clips_of([(0, 79)], 25, one)] == [0, 32]
    assert [clip[0] for clip in clips_of([(0, 20), (20, 35), (35, 90)], 25, one)] == [0, 35, 67]
    assert [clip[0] for clip in clips_of([(0, 80)], 25, settings(seq=16, skip_interval=0, skip_first=10))] == [10, 26, 42, 58]
    (halved,) = clips_of([(0, 40)], 60, one)
    assert halved == tuple(range(0, 32, 2))
    assert clips_of([(0, 40)], 60, settings(seq=16, skip_first=10)) == []


def hashes(count: int) -> list[str]:
    return [f"{int(number):08x}" + "0" * 56 for number in np.linspace(1, 16**8 - 1, count)]


def test_splits_follow_from_the_output_and_the_content(tmp_path: Path) -> None:
    ten = hashes(10)
    assert set(_Splitter(tmp_path / "train", None)(ten, {}).values()) == {"train"}
    assert set(_Splitter(tmp_path / "eval", None)(ten, {}).values()) == {"eval"}
    half = _Splitter(tmp_path, 0.5)(ten, {})
    assert sum(split == "eval" for split in half.values()) == 5
    known = {"9" * 64: "train"}
    assert {each: _Splitter(tmp_path, 0.5)([each], known)[each] for each in ten} == half  # alone or together
    assert _Splitter(tmp_path / "train", 0.5)(ten, {}) == half
    low, high = hashes(2)
    assert _Splitter(tmp_path, 0.01)([high], {}) == {high: "train"}
    assert _Splitter(tmp_path, 0.5)([low], {}) == {low: "train"}  # or nothing would be trained on
    assert _Splitter(tmp_path, 0.0001)([hashes(4)[1], high], {}) == {hashes(4)[1]: "eval", high: "train"}  # one of two is set apart
    assert _Splitter(tmp_path, 0.9999)([low, hashes(4)[1]], {}) == {low: "eval", hashes(4)[1]: "train"}
    with pytest.raises(UsageError, match="takes records for evaluation only"):
        _Splitter(tmp_path / "eval", 0.2)


def test_a_video_stays_in_its_split(tmp_path: Path) -> None:
    low, high = hashes(2)
    assert _Splitter(tmp_path, 0.5)([low, high], {low: "train"}) == {low: "train", high: "eval"}
    with pytest.raises(UsageError, match="give the answers away"):
        _Splitter(tmp_path / "eval", None)([low], {low: "train"})


def test_no_record_is_across_a_cut(two_shots: Path, tmp_path: Path) -> None:
    made = make_records([str(two_shots)], tmp_path / "data", settings(skip_interval=0, seq=8))
    found = list_records(tmp_path / "data" / "train")
    assert made.clips == 2 + 2
    assert len(found) == made.records["train"] == 2 * 4 - made.skipped
    spans = [record.about["source"]["frames"] for record in found]
    assert all((span[0] < 20) == (span[-1] < 20) for span in spans)
    assert {span[0] for span in spans} <= {0, 8, 20, 28}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(clip: Path, two_shots: Path, tmp_path: Path) -> None:
    make_records([str(clip)], tmp_path / "a", settings())
    make_records([str(two_shots), str(clip)], tmp_path / "b" / "train", settings(workers=3))
    make_records([str(clip)], tmp_path / "c", settings(seed=72))
    a, b, c = (tree(tmp_path / name) for name in "abc")
    assert a
    assert a.items() <= b.items()
    assert not a.items() & c.items()


def test_stopped_it_goes_on_to_the_same_end(clip: Path, tmp_path: Path) -> None:
    whole = settings(skip_interval=0)
    make_records([str(clip)], tmp_path / "whole", whole)

    def stop(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_records([str(clip)], tmp_path / "data", whole, stop)
    some = tree(tmp_path / "data")
    assert 0 < len(some) < len(tree(tmp_path / "whole"))
    said: list[str] = []
    made = make_records([str(clip)], tmp_path / "data", whole, lambda step: said.append(step.line))
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")
    assert any("of 4 clips are there already" in line for line in said)
    assert made.records["train"] < 8


def test_only_what_is_missing_is_made_again(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_records([str(clip)], tmp_path / "data", settings())
    before = tree(tmp_path / "data")
    gone, *kept = list_records(tmp_path / "data" / "train")
    times = {record.folder: record.folder.stat().st_mtime_ns for record in kept}
    for path in gone.folder.iterdir():
        path.unlink()
    gone.folder.rmdir()
    monkeypatch.setattr(module, "measure", None)  # shots are known: the video is not looked through again
    made = make_records([str(clip)], tmp_path / "data", settings())
    assert (made.records["train"], tree(tmp_path / "data")) == (1, before)
    assert {folder: folder.stat().st_mtime_ns for folder in times} == times
    again = make_records([str(clip)], tmp_path / "data", settings())
    assert again.records["train"] == 0


def test_a_journal_that_was_cut_off_loses_nothing(clip: Path, tmp_path: Path) -> None:
    make_records([str(clip)], tmp_path / "data", settings())
    before = tree(tmp_path / "data")
    (journal,) = (tmp_path / "data" / ".records").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-9])
    make_records([str(clip)], tmp_path / "data", settings())
    journal.unlink()
    made = make_records([str(clip)], tmp_path / "data", settings())
    assert (made.records["train"], tree(tmp_path / "data")) == (0, before)
    assert made.there == len(list_records(tmp_path / "data" / "train"))


def test_other_settings_under_the_same_name_are_refused_and_nothing_is_lost(clip: Path, tmp_path: Path) -> None:
    make_records([str(clip)], tmp_path / "data", settings())
    before = tree(tmp_path / "data")
    with pytest.raises(UsageError, match=r"made with size 64, and 48 was asked .* another --prefix"):
        make_records([str(clip)], tmp_path / "data", settings(size=48))
    (journal,) = (tmp_path / "data" / ".records").glob("*.jsonl")
    journal.unlink()
    with pytest.raises(UsageError, match="was made otherwise, and is left as it is"):
        make_records([str(clip)], tmp_path / "data", settings(size=48, masks={"object": 1, "text": 1, "stereo": 1}))
    assert before.items() <= tree(tmp_path / "data").items()
    make_records([str(clip)], tmp_path / "data", settings(size=48, prefix="q"))
    assert before.items() < tree(tmp_path / "data").items()


def test_names_follow_from_the_content(clip: Path, two_shots: Path, tmp_path: Path) -> None:
    for number, source in enumerate([clip, two_shots]):
        (tmp_path / str(number)).mkdir()
        source.rename(tmp_path / str(number) / "video.mp4")
    for number in range(2):
        make_records([str(tmp_path / str(number) / "video.mp4")], tmp_path / "data" / "train", settings())
    contents = {record.about["source"]["sha256"] for record in list_records(tmp_path / "data" / "train")}
    assert len(contents) == 2
    assert {record.folder.name.split("_")[2] for record in list_records(tmp_path / "data" / "train")} == {each[:8] for each in contents}


def test_copies_and_what_cannot_be_read_are_left_out_and_said(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    made = make_records([str(tmp_path / name) for name in ("bad.mp4", "clip.mp4", "copy.mp4")], tmp_path / "data", settings())
    assert made.clips == 3
    small = make_records([str(clip)], tmp_path / "large", settings(size=112, masks={"box": 1.0}))
    assert "enlarged for crops of 112 pixels, which --size 96 spares it" in small.lines[0]
    assert "enlarged" not in made.lines[1]
    assert [line.split(":")[0] for line in made.lines] == ["left out", str(clip), "left out"]
    assert "has the content of" in made.lines[2]
    with pytest.raises(UnreadableMedia):
        make_records([str(tmp_path / "bad.mp4")], tmp_path / "other", settings())


def test_a_clip_that_cannot_be_decoded_is_left_out_and_tried_again(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module.Workshop.make

    def failing(self: module.Workshop, source: module.Source, number: int, frames: list[int]):
        if number == 1:
            raise UnreadableMedia(f"{source.path} is damaged near frame {frames[0]}")
        return whole(self, source, number, frames)

    monkeypatch.setattr(module.Workshop, "make", failing)
    made = make_records([str(clip)], tmp_path / "data", settings())
    assert "clip 1 of" in made.lines[-1]
    assert "damaged near frame" in made.lines[-1]
    first = tree(tmp_path / "data")
    monkeypatch.undo()
    make_records([str(clip)], tmp_path / "data", settings())
    make_records([str(clip)], tmp_path / "whole", settings())
    assert first.items() < tree(tmp_path / "data").items()
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_a_full_disk_ends_the_run_and_the_same_command_goes_on(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, count = module.write_record, iter(range(99))

    def full(*arguments: object) -> None:
        if next(count) >= 2:
            raise UnwritableMedia("there is no space left")
        whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_record", full)
    with pytest.raises(UnwritableMedia):
        make_records([str(clip)], tmp_path / "data", settings(workers=2))
    monkeypatch.undo()
    make_records([str(clip)], tmp_path / "data", settings(workers=2))
    make_records([str(clip)], tmp_path / "whole", settings())
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_two_processes_do_not_write_the_same_folder(clip: Path, tmp_path: Path) -> None:
    def inside(step: Step) -> None:
        with pytest.raises(module.FramefillError, match="another process"):
            make_records([str(clip)], tmp_path / "data", settings())

    make_records([str(clip)], tmp_path / "data", settings(), inside)


def test_no_thread_is_left_and_few_clips_are_under_way(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    whole = module.wait

    def counted(running: dict, **options: str):
        nonlocal most
        most = max(most, len(running))
        return whole(running, **options)

    monkeypatch.setattr(module, "wait", counted)
    make_records([str(clip)], tmp_path / "data", settings(seq=2, skip_interval=0, workers=2))
    assert most == 4
    assert threading.active_count() == 1 or not any("ThreadPool" in each.name for each in threading.enumerate())


def test_stereo_holes_open_beside_what_is_near(tmp_path: Path) -> None:
    """Exact depth of a procedural scene: left of each hole is what is nearer, in the frames as they are and in the mirrored ones."""
    video = procedural(tmp_path / "scene.mp4")
    made = make_records(
        [str(video)],
        tmp_path / "data",
        settings(depth=f"synthetic:{SEED}", masks={"stereo": 1.0}, num_samples=2, short_sides=(96,), divergence_level=3),
    )
    found = list_records(tmp_path / "data" / "train")
    assert made.clips == 3
    assert {record.about["hole"]["method"] for record in found} == {"backward", "forward"}
    disparity, compared, mirrored = truth().disparity, 0, set()
    for record in found:
        about = record.about
        if about["picture"]["angle"] or about["hole"]["edge_dilation"]:  # grown edges are not where the scene's are
            continue
        place, numbers = about["crop"], about["source"]["frames"]
        depth = disparity[numbers][:, :, ::-1] if about["mirrored"] else disparity[numbers]
        depth = depth[:, place["top"] : place["top"] + 64, place["left"] : place["left"] + 64]
        mask = record.read()[1]
        begins = mask[:, :, 2:-2] & ~mask[:, :, 1:-3]
        ends = mask[:, :, 2:-2] & ~mask[:, :, 3:-1]
        assert np.median(depth[:, :, :-4][begins]) > np.median(depth[:, :, 4:][ends]) + 0.5
        compared += int(begins.sum())
        mirrored.add(about["mirrored"])
    assert compared > 200
    assert {True, False} <= mirrored


def test_sidecars_tell_every_draw(clip: Path, tmp_path: Path) -> None:
    make_records([str(clip)], tmp_path / "data", settings(licence="CC0-1.0", num_samples=2))
    folders = list_records(tmp_path / "data" / "train")
    assert {record.folder.name.rpartition("_")[2] for record in folders} == {"0", "1"}
    for record in folders:
        about = json.loads((record.folder / "record.json").read_text())
        assert about["kind"] == record.kind
        assert about["source"]["name"] == "clip.mp4"
        assert about["source"]["licence"] == "CC0-1.0"
        assert len(about["source"]["frames"]) == 8
        video, mask = record.read()
        assert video.shape == (8, 64, 64, 3)
        assert about["hole_pixels"] == pytest.approx(mask.sum() / 8, abs=0.01)
        assert about["hole_pixels"] > 300 * 64 * 64 / 512**2
        assert str(tmp_path) not in (record.folder / "record.json").read_text()


def test_frames_in_a_folder_are_a_video_too(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    for number, rgb in enumerate(scene(5, 12, 96, 128)):
        Image.fromarray(rgb).save(tmp_path / "frames" / f"{number:03}.png")
    made = make_records([str(tmp_path / "frames")], tmp_path / "data", settings(masks={"box": 1.0}))
    (first, *_) = list_records(tmp_path / "data" / "train")
    assert made.clips == 1
    assert first.about["source"]["name"] == "frames"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 8}, "--size is 8, expected 16 or more"),
        ({"seq": 0}, "--seq is 0"),
        ({"num_samples": 0}, "--num-samples is 0"),
        ({"skip_interval": -1}, "--skip-interval is -1"),
        ({"max_fps": 0.0}, "--max-fps is 0"),
        ({"divergence_level": 4}, "--divergence-level is 4, expected 1, 2 or 3"),
        ({"eval_share": 1.5}, "--eval-share is 1.5"),
        ({"workers": 0}, "--workers is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RecordSettings(**changes)  # type: ignore[arg-type]


def test_a_video_without_a_long_enough_shot_is_said(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no video has a shot of 50 frames at 30 a second; lower --seq"):
        make_records([str(clip)], tmp_path / "data", settings(seq=50))


def test_depth_in_files_gives_the_holes_of_the_depth_that_was_written(tmp_path: Path) -> None:
    """16-bit PNGs of a procedural scene's disparity: by frame number, on the upright picture, though every second frame is left out."""
    cv2 = pytest.importorskip("cv2")
    video = write_frames(tmp_path / "scene.mp4", truth().frames, fps=50)
    disparity = truth().disparity
    for number, frame in enumerate(disparity):
        (tmp_path / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "depth" / f"{number:04}.png"), np.rint(frame / disparity.max() * 65535).astype(np.uint16))
    usual = {"masks": {"stereo": 1.0}, "short_sides": (96,), "divergence_level": 3, "max_fps": 25.0, "seq": 6}
    make_records([str(video)], tmp_path / "exact", settings(depth=f"synthetic:{SEED}", **usual))
    make_records([str(video)], tmp_path / "files", settings(depth=f"files:{tmp_path / 'depth'}", **usual))
    exact, files = (list_records(tmp_path / name / "train") for name in ("exact", "files"))
    assert len(exact) == len(files) >= 2
    assert exact[0].about["source"]["frames"] == [0, 2, 4, 6, 8, 10]
    for ours, theirs in zip(files, exact, strict=True):
        (_, mine), (_, other) = ours.read(), theirs.read()
        assert (mine != other).mean() < 0.002
        assert other.mean() > 0.002
    assert all(each.folder.name.startswith("p_files") for each in files)


def test_looking_at_a_long_film_can_be_stopped(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while shots are looked for: the thread that looks ends within a frame."""
    endless = scene(1, 2, 48, 64)
    shown: list[int] = []

    def frames(self: object, start: int = 0):
        while True:
            shown.append(1)
            yield endless[len(shown) % 2]

    def wait(self: object, timeout: float | None = None) -> None:
        while len(shown) < 5:
            threading.Event().wait(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("framefill.data.footage.Footage.small", frames)
    monkeypatch.setattr("concurrent.futures.Future.result", wait)
    with pytest.raises(KeyboardInterrupt):
        make_records([str(clip)], tmp_path / "data", settings())
