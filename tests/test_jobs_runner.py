"""The runner over real files: what is kept, what is filled, what is recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from jobs_kit import Tally, box_mask, rgb_of, write_clip, write_mask

from framefill.errors import JobError, UsageError
from framefill.families import get
from framefill.families.base import Filled, Span, State
from framefill.jobs.geometry import Pad, Region
from framefill.jobs.record import RunRecord
from framefill.jobs.runner import Interrupted, Progress, run
from framefill.jobs.settings import FillSettings

WIDTH, HEIGHT, FRAMES = 64, 48, 11


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mkv", FRAMES, WIDTH, HEIGHT)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return write_mask(tmp_path / "mask.npy", box_mask(FRAMES, WIDTH, HEIGHT))


@pytest.fixture
def settings(clip: Path, mask: Path, tmp_path: Path) -> FillSettings:
    return FillSettings(clip, tmp_path / "out.mkv", mask=mask, lossless=True)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_known_pixels_are_bit_equal_and_the_hole_is_what_the_filler_made(settings: FillSettings) -> None:
    filler = Tally()
    before = _sha(Path(settings.input))
    record = run(settings, filler=filler)
    result, source, hole = rgb_of(settings.output), rgb_of(Path(settings.input)), box_mask(FRAMES, WIDTH, HEIGHT)
    assert np.array_equal(result[~hole], source[~hole])
    for index in range(FRAMES):
        assert (result[index][hole[index]][:, 1] == index).all()
    assert filler.calls == [(0, 4), (4, 8), (8, 11)]
    assert record.outside_max_diff == 0
    assert record.frames == record.frames_filled == FRAMES
    assert record.window_borders == (0, 4, 8)
    assert (record.settings["window"], record.settings["reach"]) == (4, 3)
    assert _sha(Path(settings.input)) == before
    assert not settings.output.with_name("out.mkv.framefill").exists()


def test_the_record_tells_shares_hashes_and_times(settings: FillSettings) -> None:
    record = run(settings, filler=Tally())
    hole = box_mask(FRAMES, WIDTH, HEIGHT)
    generated = hole[:, :, : WIDTH // 2].sum() / hole.size
    assert record.provenance.known == pytest.approx(1 - hole.mean())
    assert record.provenance.generated == pytest.approx(generated)
    assert record.provenance.propagated == pytest.approx(hole.mean() - generated)
    assert record.hashes == {str(settings.input): _sha(Path(settings.input)), str(settings.mask): _sha(Path(str(settings.mask)))}
    assert [round(frame.seconds, 3) for frame in record.timeline] == [round(index / 10, 3) for index in range(FRAMES)]
    assert all(frame.seam is not None for frame in record.timeline)
    assert record.timeline[0].jump is None
    assert all(frame.jump is not None for frame in record.timeline[1:])
    assert 1 <= len(record.key_frames) <= 8
    key = record.key_frames[-1]
    assert key.before.shape == key.after.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(key.mask, hole[key.index])
    assert np.array_equal(key.provenance > 0, hole[key.index])
    assert json.loads(json.dumps(record.as_dict()))["frames"] == FRAMES
    for name in (
        "output",
        "frames",
        "size",
        "fps",
        "seconds",
        "frames_per_second",
        "peak_memory_mb",
        "outside_max_diff",
        "provenance",
        "left",
        "model",
        "warnings",
    ):
        assert name in record.summary()


def test_hidden_pixels_never_change_a_byte(tmp_path: Path, mask: Path) -> None:
    hole = box_mask(FRAMES, WIDTH, HEIGHT)
    rng = np.random.default_rng(3)
    outputs = []
    for name in ("a", "b"):
        frames = rgb_of(write_clip(tmp_path / "plain.mkv", FRAMES, WIDTH, HEIGHT))
        frames[hole] = rng.integers(0, 256, frames[hole].shape, np.uint8)
        source = tmp_path / f"{name}.mkv"
        with av.open(str(source), "w") as container:
            stream = container.add_stream("ffv1", rate=10, width=WIDTH, height=HEIGHT, pix_fmt="bgr0")
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        output = tmp_path / f"{name}-out.mkv"
        run(FillSettings(source, output, mask=mask, lossless=True), filler=Tally())
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


@pytest.fixture
def broad(tmp_path: Path) -> FillSettings:
    """A clip to be written as H.264, at a width at which every build of x264 is deterministic."""
    clip = write_clip(tmp_path / "broad.mp4", FRAMES, 256, HEIGHT, codec="libx264", pix_fmt="yuv420p", sound=1.0)
    mask = write_mask(tmp_path / "broad.npy", box_mask(FRAMES, 256, HEIGHT))
    return FillSettings(clip, tmp_path / "whole.mp4", mask=mask)


def test_the_same_run_gives_the_same_bytes(broad: FillSettings, tmp_path: Path) -> None:
    hashes = set()
    for number in range(3):
        output = tmp_path / f"{number}.mp4"
        run(replace(broad, output=output), filler=Tally())
        hashes.add(_sha(output))
    assert len(hashes) == 1


def test_only_the_time_range_is_filled(settings: FillSettings) -> None:
    filler = Tally(window=4, reach=2)
    run(replace(settings, start=0.45, end=0.75), filler=filler)
    result, source, hole = rgb_of(settings.output), rgb_of(Path(settings.input)), box_mask(FRAMES, WIDTH, HEIGHT)
    changed = (result != source).any((1, 2, 3))
    assert list(np.flatnonzero(changed)) == [5, 6, 7]
    assert np.array_equal(result[~hole], source[~hole])
    assert filler.calls == [(4, 8)], "windows without anything to fill are not handed to the filler"


def test_only_the_region_is_filled_and_looked_at(settings: FillSettings) -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Tally):
        def fill_span(self, span, state):
            seen.append(span.frames.shape[1:3])
            return super().fill_span(span, state)

    region = Region(0, 8, 40, 8)
    record = run(replace(settings, roi=region), filler=Watching())
    result, source, hole = rgb_of(settings.output), rgb_of(Path(settings.input)), box_mask(FRAMES, WIDTH, HEIGHT)
    inside = np.zeros_like(hole)
    inside[(slice(None), *region.area)] = hole[(slice(None), *region.area)]
    assert set(seen) == {(8, 40)}
    assert np.array_equal(result[~inside], source[~inside])
    assert (result[inside] != source[inside]).any(1).mean() > 0.9
    assert record.provenance.known == pytest.approx(1 - inside.mean())


def test_a_preview_is_short_small_and_silent(tmp_path: Path, mask: Path) -> None:
    clip = write_clip(tmp_path / "loud.mkv", FRAMES, WIDTH, HEIGHT, sound=1.0)
    output = tmp_path / "preview.mkv"
    record = run(FillSettings(clip, output, mask=mask, lossless=True, preview=4, start=0.2), filler=Tally())
    assert record.frames == 4
    assert record.size == (WIDTH // 2, HEIGHT // 2)
    assert rgb_of(output).shape == (4, HEIGHT // 2, WIDTH // 2, 3)
    with av.open(str(output)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams[0].start_time in (0, None)
    assert "a preview has no sound" in record.warnings


def test_the_picture_outside_the_frame(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "wide.mkv"
    record = run(FillSettings(clip, output, pad=Pad(6, 2, 4, 0), lossless=True), filler=Tally())
    result = rgb_of(output)
    assert record.size == (WIDTH + 10, HEIGHT + 2)
    assert result.shape == (FRAMES, HEIGHT + 2, WIDTH + 10, 3)
    assert np.array_equal(result[:, 2:, 6:-4], rgb_of(clip))
    assert (result[3, 0, :, 1] == 3).all()
    assert record.outside_max_diff == 0


def test_an_aspect_becomes_even_sides_and_sound_follows(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 6, WIDTH, HEIGHT, codec="libx264", pix_fmt="yuv420p", sound=0.5)
    output = tmp_path / "wide.mp4"
    record = run(FillSettings(clip, output, aspect=Fraction(16, 9)), filler=Tally())
    assert record.size == (86, HEIGHT)
    with av.open(str(output)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert (container.streams[0].width, container.streams[0].height) == (86, HEIGHT)


def test_an_empty_mask_copies_the_streams(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 6, WIDTH, HEIGHT, codec="libx264", pix_fmt="yuv420p", sound=0.5)
    mask = write_mask(tmp_path / "mask.npy", np.zeros((HEIGHT, WIDTH), np.bool_))
    output = tmp_path / "out.mp4"
    record = run(FillSettings(clip, output, mask=mask), filler=Tally())
    assert record.copied
    assert record.frames == 6
    assert any("without re-encoding" in warning for warning in record.warnings)
    packets = []
    for path in (clip, output):
        with av.open(str(path)) as container:
            packets.append([(packet.stream.index, packet.pts, bytes(packet)) for packet in container.demux() if packet.size])
    assert packets[0] == packets[1]


def test_an_empty_mask_with_a_codec_asked_for_is_encoded(clip: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "empty.npy", np.zeros((HEIGHT, WIDTH), np.bool_))
    output = tmp_path / "out.mp4"
    filler = Tally()
    record = run(FillSettings(clip, output, mask=mask, codec="h264"), filler=filler)
    assert not record.copied
    assert filler.calls == []
    assert rgb_of(output).shape == (FRAMES, HEIGHT, WIDTH, 3)


def test_a_late_hole_is_found(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    filler = Tally()
    run(FillSettings(clip, output, boxes=("8,8,10,10@0.95-",), lossless=True), filler=filler)
    assert filler.calls == [(8, 11)]
    result, source = rgb_of(output), rgb_of(clip)
    assert np.array_equal(result[:10], source[:10])
    assert (result[10, 8:18, 8:18, 1] == 10).all()


def test_feather_mixes_inside_the_hole_only(settings: FillSettings) -> None:
    soft = replace(settings, rule=replace(settings.rule, feather=3))
    record = run(soft, filler=Tally())
    result, source, hole = rgb_of(settings.output), rgb_of(Path(settings.input)), box_mask(FRAMES, WIDTH, HEIGHT)
    assert np.array_equal(result[~hole], source[~hole])
    assert record.outside_max_diff == 0
    assert (result[4][hole[4]][:, 1] != 4).any(), "the rim is a mixture"
    assert (result[4][hole[4]][:, 1] == 4).any(), "the middle is not"


def test_the_provenance_map_is_a_video_of_the_same_length(settings: FillSettings, tmp_path: Path) -> None:
    drawn = tmp_path / "map.mkv"
    run(replace(settings, provenance=drawn), filler=Tally())
    result, hole = rgb_of(drawn).astype(int), box_mask(FRAMES, WIDTH, HEIGHT)
    left = np.zeros_like(hole)
    left[:, :, : WIDTH // 2] = True
    known, generated, propagated = result[~hole], result[hole & left], result[hole & ~left]
    assert result.shape[0] == FRAMES
    assert np.median(np.ptp(known, axis=1)) <= 4, "known: grey"
    assert np.median(generated[:, 0] - generated[:, 2]) > 60, "generated: orange"
    assert np.median(propagated[:, 2] - propagated[:, 0]) > 60, "propagated: blue"


def test_what_no_frame_shows_is_said(settings: FillSettings) -> None:
    class Shy(Tally):
        def fill_span(self, span, state):
            filled, after = super().fill_span(span, state)
            return replace(filled, remaining=filled.provenance == 2), after

    record = run(settings, filler=Shy())
    assert record.provenance.generated == 0
    assert any("shown by no frame" in warning for warning in record.warnings)


def test_progress_comes_with_every_window_and_says_first_how_the_mask_was_understood(settings: FillSettings) -> None:
    seen: list[Progress] = []
    run(settings, filler=Tally(), progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(0, FRAMES), (4, FRAMES), (8, FRAMES), (11, FRAMES)]
    assert any("mask.npy" in line for line in seen[0].lines)


@pytest.mark.parametrize("windows_before", [0, 1, 2])
def test_ctrl_c_leaves_a_job_that_goes_on_to_the_same_bytes(broad: FillSettings, tmp_path: Path, windows_before: int) -> None:
    run(broad, filler=Tally())
    broken = replace(broad, output=tmp_path / "broken.mp4")
    with pytest.raises(Interrupted) as caught:
        run(broken, filler=Tally(fail_at=windows_before))
    assert not broken.output.exists()
    assert ("the same command goes on" in str(caught.value)) == (windows_before > 0)
    second = Tally()
    record = run(broken, filler=second)
    assert record.resumed_windows == windows_before
    assert len(second.calls) == 3 - windows_before, "finished windows are not made again"
    assert broken.output.read_bytes() == broad.output.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broad.mp4", "broad.npy", "broken.mp4", "whole.mp4"]


def _interrupt(settings: FillSettings) -> Path:
    with pytest.raises(Interrupted):
        run(settings, filler=Tally(fail_at=2))
    return settings.output.with_name(settings.output.name + ".framefill")


def test_a_resumed_record_equals_an_uninterrupted_one(settings: FillSettings, tmp_path: Path) -> None:
    whole = run(replace(settings, output=tmp_path / "whole.mkv"), filler=Tally())
    _interrupt(settings)
    again = run(settings, filler=Tally())

    def lasting(record: RunRecord) -> tuple:
        return record.timeline, record.provenance, record.window_borders, [key.index for key in record.key_frames], record.hashes

    assert lasting(again) == lasting(whole)


def test_other_settings_start_anew_and_say_so(settings: FillSettings) -> None:
    _interrupt(settings)
    filler = Tally()
    record = run(replace(settings, end=1.0), filler=filler)
    assert len(filler.calls) == 3
    assert any("started anew" in warning for warning in record.warnings)


def test_another_codec_goes_on_with_the_made_pixels(settings: FillSettings) -> None:
    _interrupt(settings)
    filler = Tally()
    record = run(replace(settings, lossless=False, codec="h264"), filler=filler)
    assert len(filler.calls) == 1
    assert record.resumed_windows == 2


def test_a_changed_input_starts_anew(settings: FillSettings, mask: Path) -> None:
    _interrupt(settings)
    write_mask(mask, np.roll(box_mask(FRAMES, WIDTH, HEIGHT), 3, axis=1))
    filler = Tally()
    record = run(settings, filler=filler)
    assert len(filler.calls) == 3
    assert any("other inputs" in warning for warning in record.warnings)


def test_a_corrupt_window_is_made_again(settings: FillSettings, tmp_path: Path) -> None:
    whole = replace(settings, output=tmp_path / "whole.mkv")
    run(whole, filler=Tally())
    folder = _interrupt(settings)
    (folder / "window-00001.npz").write_bytes(b"not a window")
    record = run(settings, filler=Tally())
    assert any("damaged" in warning for warning in record.warnings)
    assert settings.output.read_bytes() == whole.output.read_bytes()


def test_a_kept_job_needs_no_filling(settings: FillSettings) -> None:
    run(replace(settings, keep_job=True), filler=Tally())
    first = settings.output.read_bytes()
    filler = Tally()
    record = run(replace(settings, overwrite=True), filler=filler)
    assert filler.calls == []
    assert record.resumed_windows == 3
    assert settings.output.read_bytes() == first


def test_a_job_in_use_is_refused(settings: FillSettings) -> None:
    class Nested(Tally):
        def fill_span(self, span, state):
            with pytest.raises(JobError, match="another process"):
                run(settings, filler=Tally())
            return super().fill_span(span, state)

    run(settings, filler=Nested())
    assert settings.output.exists()


def test_a_second_identical_run_says_the_output_exists(settings: FillSettings) -> None:
    run(settings, filler=Tally())
    with pytest.raises(UsageError, match="--overwrite"):
        run(settings, filler=Tally())
    run(replace(settings, overwrite=True), filler=Tally())


def test_a_failing_filler_leaves_nothing_under_the_name(settings: FillSettings) -> None:
    class Broken(Tally):
        def fill_span(self, span, state):
            if span.fill_start:
                raise RuntimeError("a bug")
            return super().fill_span(span, state)

    with pytest.raises(RuntimeError, match="a bug"):
        run(settings, filler=Broken())
    left = sorted(path.name for path in settings.output.parent.iterdir())
    assert left == ["clip.mkv", "mask.npy", "out.mkv.framefill"]


def test_the_real_family_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 50, WIDTH, HEIGHT)
    mask = write_mask(tmp_path / "mask.npy", box_mask(50, WIDTH, HEIGHT))
    whole = FillSettings(clip, tmp_path / "whole.mkv", mask=mask, lossless=True)
    run(whole)
    broken = replace(whole, output=tmp_path / "broken.mkv")
    filler = get("auto")

    class Stopped:
        name, window, reach = filler.name, filler.window, filler.reach

        def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
            if span.fill_start >= 2 * filler.window:
                raise KeyboardInterrupt
            return filler.fill_span(span, state)

    with pytest.raises(Interrupted):
        run(broken, filler=Stopped())
    record = run(broken)
    assert record.resumed_windows == 2
    assert broken.output.read_bytes() == whole.output.read_bytes()
