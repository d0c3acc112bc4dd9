"""Records on disk and as a data set: whole or not there, read both ways, and a pure function of seed, epoch and number."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from records_kit import frames_of, record

from framefill.data import records as module
from framefill.data.records import list_records, record_name, root_of, split_folders, write_record
from framefill.errors import FramefillError, UnreadableMedia, UnwritableMedia, UsageError

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

from framefill.data.record_set import RecordDataset, grown_sideways, recoloured  # noqa: E402

SHA = "0123456789abcdef" * 4


def test_names_have_the_five_parts() -> None:
    assert record_name("walk", "Any_B", SHA, 12, 1) == "walk_Any-B_01234567_000012_1"
    assert record_name("", "heuristic", SHA, 0, 0) == "heuristic_01234567_000000_0"
    assert record_name("my walk/2", "onnx:a b", SHA, 0, 0) == "my-walk-2_onnx-a-b_01234567_000000_0"


def test_both_splits_are_found_from_the_root_or_from_one_of_them(tmp_path: Path) -> None:
    for given in (tmp_path, tmp_path / "train", tmp_path / "eval"):
        assert root_of(given) == tmp_path
        assert split_folders(given) == {"train": tmp_path / "train", "eval": tmp_path / "eval"}


def test_a_record_is_what_the_reference_reads(tmp_path: Path) -> None:
    """RGB and grey PNGs, 0 and 255, numbered from 0000; and it comes back as it went."""
    folder = record(tmp_path / "train")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*(f"{n:04}_{kind}.png" for n in range(16) for kind in "CM"), "record.json"])
    with Image.open(folder / "0003_C.png") as colour, Image.open(folder / "0003_M.png") as mask:
        assert (colour.mode, colour.size, mask.mode, mask.size) == ("RGB", (64, 48), "L", (64, 48))
        assert np.array_equal(np.asarray(colour), frames_of(16, 48, 64)[3])
        assert np.unique(np.asarray(mask)).tolist() == [0, 255]
    (found,) = list_records(tmp_path / "train")
    assert (len(found), found.kind, found.size()) == (16, "stereo", (48, 64))
    video, holes = found.read(2, 5)
    assert np.array_equal(video, frames_of(16, 48, 64)[2:5])
    assert holes.sum() == 3 * 60


def test_a_record_of_the_reference_is_a_stereo_hole_with_layers_in_grey(tmp_path: Path) -> None:
    folder = record(tmp_path / "train", kind=None)
    layered = np.zeros((48, 64), np.uint8)
    layered[5:9, 5:9], layered[30:32, 5:9] = 128, 255
    cv2.imwrite(str(folder / "0000_M.png"), layered)
    (found,) = list_records(tmp_path / "train")
    assert (found.kind, found.about) == ("stereo", {})
    assert found.read(0, 1)[1].sum() == 16 + 8


def test_other_things_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    record(tmp_path / "train")
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("x")
    record(tmp_path / "train", ".hidden")
    assert [found.folder.name for found in list_records(tmp_path / "train")] == ["r"]


def test_a_record_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    whole = module._png

    def full(picture: np.ndarray) -> bytes:
        written.append(1)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        return whole(picture)

    monkeypatch.setattr(module, "_png", full)
    with pytest.raises(UnwritableMedia, match="No space left on device"):
        record(tmp_path / "train")
    assert not list(tmp_path.rglob("*.png"))
    monkeypatch.undo()
    (tmp_path / ".parts" / "r").mkdir(parents=True)
    (tmp_path / ".parts" / "r" / "9999_C.png").write_bytes(b"of a run that was killed")
    assert len(list(record(tmp_path / "train").glob("*.png"))) == 32


DAMAGE = {
    "a colour picture that is gone": (lambda folder: (folder / "0003_C.png").unlink(), "0003_C.png is missing"),
    "a picture that was cut off": (lambda folder: (folder / "0003_C.png").write_bytes(b"\x89PNG"), "0003_C.png is damaged"),
    "an empty mask file": (lambda folder: (folder / "0003_M.png").write_bytes(b""), "0003_M.png is damaged"),
    "a first picture that is none": (lambda folder: (folder / "0000_C.png").write_bytes(b"JFIF" * 9), "0000_C.png is no PNG"),
    "two sizes": (lambda folder: Image.new("L", (9, 9)).save(folder / "0003_M.png"), "holds pictures of 9x9 and 64x48"),
    "a sidecar that is no JSON": (lambda folder: (folder / "record.json").write_text("{"), "record.json is damaged"),
    "a sidecar that is a list": (lambda folder: (folder / "record.json").write_text("[]"), "holds a list"),
    "a kind that does not exist": (lambda folder: (folder / "record.json").write_text('{"kind": "fog"}'), "kind is 'fog'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line_that_names_the_record(name: str, tmp_path: Path) -> None:
    spoil, says = DAMAGE[name]
    spoil(record(tmp_path / "train"))
    with pytest.raises(FramefillError, match=says) as error:
        RecordDataset(tmp_path / "train", 16, 32)[0]
    assert str(tmp_path / "train" / "r") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="make some: framefill data records"):
        RecordDataset(tmp_path / "none")


@pytest.fixture
def some(tmp_path: Path) -> Path:
    for kind in ("stereo", "inpaint-object", "text"):
        record(tmp_path / "train", kind, kind)
    return tmp_path / "train"


def test_items_follow_from_seed_epoch_and_number(some: Path) -> None:
    first, again, other = RecordDataset(some, 12, 32, seed=1), RecordDataset(some, 12, 32, seed=1), RecordDataset(some, 12, 32, seed=2)
    before = [first[index] for index in range(3)]
    for ours, theirs in zip(before, reversed([again[index] for index in (2, 1, 0)]), strict=True):
        assert torch.equal(ours["video"], theirs["video"])
        assert torch.equal(ours["mask"], theirs["mask"])
    assert not all(torch.equal(ours["video"], other[index]["video"]) for index, ours in enumerate(before))
    first.set_epoch(1)
    assert not all(torch.equal(ours["video"], first[index]["video"]) for index, ours in enumerate(before))


def test_items_have_the_promised_form_and_a_hole(some: Path) -> None:
    data = RecordDataset(some, 5, 16, seed=3, tasks=("text", "stereo", "inpaint-object"))
    for epoch in range(30):
        data.set_epoch(epoch)
        for index in range(3):
            item = data[index]
            assert (item["video"].dtype, tuple(item["video"].shape)) == (torch.uint8, (5, 16, 16, 3))
            assert (item["mask"].dtype, tuple(item["mask"].shape)) == (torch.bool, (5, 16, 16))
            assert item["mask"].any()
            assert (int(item["task"]), item["index"]) == ((2, 1, 0)[index], index)


@pytest.mark.slow
def test_workers_change_nothing(some: Path) -> None:
    data = RecordDataset(some, 5, 16)
    helped = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="spawn"))
    assert all(torch.equal(data[index]["video"], item["video"]) for index, item in enumerate(helped))


def test_left_and_right_are_changed_only_where_they_mean_nothing(some: Path) -> None:
    """The pictures get brighter to the right: a mirrored clip gets darker."""
    data, mirrored = RecordDataset(some, 5, 32, flip=0.5), {"stereo": 0, "inpaint-object": 0, "text": 0}
    for epoch in range(40):
        data.set_epoch(epoch)
        for index, found in enumerate(data.records):
            video = data[index]["video"].float()
            mirrored[found.kind] += int(video[:, :, 0].mean() > video[:, :, -1].mean())
    assert mirrored["stereo"] == 0
    assert 10 <= mirrored["text"] <= 30
    assert 10 <= mirrored["inpaint-object"] <= 30


def test_time_runs_either_way(some: Path) -> None:
    data, back = RecordDataset(some, 5, 32), 0
    for epoch in range(60):
        data.set_epoch(epoch)
        video = data[0]["video"].float()
        back += int(video[0].mean() > video[-1].mean())
    assert 18 <= back <= 42


def test_only_stereo_holes_are_grown_and_more_to_the_background(tmp_path: Path) -> None:
    record(tmp_path / "train", "a", "stereo", (2, 48, 128))
    record(tmp_path / "train", "b", "text", (2, 48, 128))
    data = RecordDataset(tmp_path / "train", 2, 48, flip=0)
    widths = {"stereo": [], "text": []}
    for epoch in range(40):
        data.set_epoch(epoch)
        for index, found in enumerate(data.records):
            columns = data[index]["mask"].any(0).any(0)
            widths[found.kind].append(int(columns.sum()))
    assert max(widths["text"]) == 6
    assert max(widths["stereo"]) > 18
    assert max(widths["stereo"]) <= 6 + 20 + 4
    assert 0.2 < np.mean(np.array(widths["stereo"]) <= 6) < 0.65  # 0.5 x 0.75, and where the crop cuts it off


def test_growing_moves_one_edge_by_so_many_pixels() -> None:
    mask = np.zeros((1, 3, 20), np.bool_)
    mask[0, 1, 8:10] = True
    assert np.flatnonzero(grown_sideways(mask, 0, 5)[0, 1]).tolist() == list(range(8, 15))
    assert np.flatnonzero(grown_sideways(mask, 3, 0)[0, 1]).tolist() == list(range(5, 10))
    assert np.flatnonzero(grown_sideways(mask, 0, 50)[0, 1]).tolist() == list(range(8, 20))
    assert not grown_sideways(mask, 3, 5)[0, [0, 2]].any()


def test_colours_are_left_alone_half_of_the_time_and_else_an_affine_map() -> None:
    video = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    video[..., 1] //= 2
    kept = grey = 0
    for seed in range(300):
        out = recoloured(video, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        if np.array_equal(out, video):
            kept += 1
        elif np.array_equal(out[..., 0], out[..., 1]):
            grey += 1
        else:
            red = out[0, :, :, 0].ravel().astype(float)
            slope, rise = np.polyfit(np.arange(256), red, 1)
            assert 0.69 < slope < 0.91
            assert -1 < rise < 255 * (1 - slope) + 1
    assert 120 < kept < 180
    assert 1 <= grey < 25


def test_crops_seek_the_hole(tmp_path: Path) -> None:
    """A crop of a quarter of the side meets a hole of 6 x 10 in a corner far more often than the 1 in 6 of a random one."""
    record(tmp_path / "train", shape=(2, 128, 128))
    data = RecordDataset(tmp_path / "train", 2, 32)
    whole = 0
    for epoch in range(60):
        data.set_epoch(epoch)
        whole += int(data[0]["mask"][0].sum() >= 60)
    assert whole >= 12


def test_for_measuring_the_middle_frames_and_the_fullest_crop_are_taken(tmp_path: Path) -> None:
    record(tmp_path / "eval", shape=(16, 64, 64))
    data = RecordDataset(tmp_path / "eval", 12, 32, sampling="fixed")
    item = data[0]
    video, mask = list_records(tmp_path / "eval")[0].read(2, 14)
    places = [(top, left) for top in range(0, 33, 8) for left in range(0, 33, 8)]
    most = max(mask[:, top : top + 32, left : left + 32].sum() for top, left in places)
    assert item["mask"].sum() == most
    assert any(np.array_equal(item["video"], video[:, top : top + 32, left : left + 32]) for top, left in places)
    data.set_epoch(5)
    assert torch.equal(data[0]["video"], item["video"])


def test_a_stretch_without_a_hole_gives_way_to_one_with(tmp_path: Path) -> None:
    mask = np.zeros((16, 48, 64), np.bool_)
    mask[14, 3, 4] = True
    write_record(tmp_path / "train" / "r", tmp_path / ".parts", frames_of(16, 48, 64), mask, {"kind": "dust"})
    data = RecordDataset(tmp_path / "train", 4, 16)
    for epoch in range(20):
        data.set_epoch(epoch)
        assert data[0]["mask"].any()
    write_record(tmp_path / "none" / "r", tmp_path / ".parts", frames_of(16, 48, 64), np.zeros_like(mask), {"kind": "dust"})
    with pytest.raises(UsageError, match="empty mask"):
        RecordDataset(tmp_path / "none", 4, 16)[0]


def test_what_is_too_short_is_left_out_and_too_small_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "train", "long")
    record(tmp_path / "train", "short", shape=(8, 48, 64))
    data = RecordDataset(tmp_path / "train", 12, 32)
    assert (len(data), data.left_out) == (1, 1)
    with pytest.raises(UsageError, match=r"no record of 20 frames \(the longest has 16\); make some: .* --seq 20"):
        RecordDataset(tmp_path / "train", 20, 32)
    with pytest.raises(UsageError, match=r"is 64x48, crops of 256 were asked for; lower data\.size"):
        RecordDataset(tmp_path / "train")


def test_the_sidecar_is_sorted_json(tmp_path: Path) -> None:
    text = (record(tmp_path / "train") / "record.json").read_text()
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text
