"""What a run may write: nobody else's file is ever replaced, removed or taken for framefill's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mediafiles as media
import numpy as np
import pytest
from jobs_kit import Tally, rgb_of, write_clip, write_mask
from PIL import Image

from framefill.apps.cli.main import main
from framefill.errors import JobError, UnwritableMedia, UsageError
from framefill.jobs.batch import expand_inputs, many
from framefill.jobs.runner import Interrupted, run
from framefill.jobs.settings import FillSettings
from framefill.media.hashes import files_of, sha256_of
from framefill.media.reader import open_video
from framefill.media.writer import VideoWriter

BOX = ("24,16,12,10",)


def test_names_in_the_making_take_nobody_elses_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 5)
    theirs = clip.rename(tmp_path / "out.mkv.part")
    before = theirs.read_bytes()
    run(FillSettings(theirs, tmp_path / "out.mkv", boxes=BOX, lossless=True), filler=Tally())
    assert theirs.read_bytes() == before
    ours = theirs.rename(tmp_path / ".b.mkv.framefill-part")
    with pytest.raises(UsageError, match="also an input"):
        run(FillSettings(ours, tmp_path / "b.mkv", boxes=BOX), filler=Tally())
    assert ours.read_bytes() == before


def test_a_folder_that_framefill_did_not_make_stays(tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "out.mkv.framefill", 3)
    with pytest.raises(UsageError, match="input"):
        run(FillSettings(frames, tmp_path / "out.mkv", boxes=BOX), filler=Tally())
    clip = write_clip(tmp_path / "clip.mkv", 5)
    with pytest.raises(JobError, match="not framefill's own"):
        run(FillSettings(clip, tmp_path / "out.mkv", boxes=BOX), filler=Tally())
    assert len(list(frames.glob("*.png"))) == 3


def test_frames_are_not_replaced_in_their_own_folder(tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "fr[1]", 3)
    before = {path.name: path.read_bytes() for path in frames.iterdir()}
    for source in (frames, frames / "*.png", frames / _pattern(frames)):
        with pytest.raises(UsageError, match="input"):
            run(FillSettings(source, frames, boxes=BOX, overwrite=True), filler=Tally())
    assert {path.name: path.read_bytes() for path in frames.iterdir()} == before


def _pattern(frames: Path) -> str:
    name = min(path.name for path in frames.iterdir())
    digits = "".join(sign for sign in name if sign.isdigit())
    return name.replace(digits, f"%0{len(digits)}d")


def test_patterns_of_frames_are_listed_hashed_and_expanded_as_they_are_read(tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "fr[1]", 3)
    for pattern in (frames / _pattern(frames), frames / "*.png"):
        assert files_of(pattern) == sorted(frames.iterdir())
        assert sha256_of(pattern) == sha256_of(frames)
        assert expand_inputs([str(pattern)]) == [str(pattern)]
        assert not many([str(pattern)], expand_inputs([str(pattern)]))


def test_changed_frames_of_a_pattern_start_anew(tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "frames", 10)
    settings = FillSettings(frames / _pattern(frames), tmp_path / "out.mkv", boxes=("2,2,8,8",), lossless=True)
    with pytest.raises(Interrupted):
        run(settings, filler=Tally(fail_at=2))
    first = min(frames.iterdir())
    with Image.open(first) as image:
        changed = 255 - np.asarray(image)
    Image.fromarray(changed).save(first)
    filler = Tally()
    record = run(settings, filler=filler)
    assert filler.calls[0][0] == 0
    assert any("other inputs" in warning for warning in record.warnings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_a_fifo_is_no_output(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 2)
    os.mkfifo(tmp_path / "out.mkv")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        run(FillSettings(clip, tmp_path / "out.mkv", boxes=BOX, overwrite=True), filler=Tally())


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_sheet_of_a_mask_is_a_picture_of_its_own(tmp_path: Path, link) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 2)
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(mask)
    sheet = mask if link is None else tmp_path / "sheet.png"
    if link is not None:
        link(mask, sheet)
    before = mask.read_bytes()
    for target in (sheet, clip):
        assert main(["mask", "check", str(clip), "-m", str(mask), "-o", str(target)]) == 2
    assert mask.read_bytes() == before
    assert len(rgb_of(clip)) == 2


def test_an_untouched_clip_has_a_provenance_map_too(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 4)
    mask = write_mask(tmp_path / "mask.npy", np.zeros((48, 64), np.bool_))
    record = run(FillSettings(clip, tmp_path / "out.mkv", mask=mask, provenance=tmp_path / "map.mkv"), filler=Tally())
    assert record.copied
    drawn = rgb_of(tmp_path / "map.mkv").astype(int)
    assert len(drawn) == 4
    assert np.median(np.ptp(drawn, axis=3)) <= 4


@pytest.mark.parametrize("mask", [None, "empty"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_at_the_report_the_same_command_ends_with_a_report(tmp_path: Path, mask: str | None) -> None:
    clip, output, report = write_clip(tmp_path / "clip.mkv", 6), tmp_path / "out.mkv", tmp_path / "report.html"
    given = ["--box", BOX[0]]
    if mask is not None:
        given = ["-m", str(write_mask(tmp_path / "mask.npy", np.zeros((48, 64), np.bool_)))]
    command = ["inpaint", str(clip), *given, "-o", str(output), "--report", str(report), "--quiet"]
    program = "import os, sys, signal; import framefill.apps.cli.fill as fill; from framefill.apps.cli.main import main; "
    program += "fill.write_report = lambda *a, **b: os.kill(os.getpid(), signal.SIGKILL); sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", program, *command], env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = output.read_bytes()
    assert not report.exists()
    (tmp_path / "other.html").write_text("somebody else's")
    assert main([*command[:-3], "--report", str(tmp_path / "other.html"), "--quiet"]) == 2, "only its own files are expected there"
    assert main(command) == 0
    assert output.read_bytes() == whole
    assert "</html>" in report.read_text()
    assert not list(tmp_path.glob("*.framefill*"))
    assert main(command) == 2, "now the output is a finished one"


def test_another_job_does_not_replace_what_a_killed_one_has_finished(tmp_path: Path) -> None:
    settings = FillSettings(write_clip(tmp_path / "clip.mkv", 6), tmp_path / "out.mkv", boxes=BOX, lossless=True)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(settings, filler=Tally(), finish=stop)
    whole = settings.output.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        run(replace(settings, boxes=("1,1,9,9",)), filler=Tally())
    assert settings.output.read_bytes() == whole


def test_no_frame_in_the_time_range_is_said_as_it_is(tmp_path: Path) -> None:
    settings = FillSettings(write_clip(tmp_path / "clip.mkv", 6), tmp_path / "out.mkv", boxes=BOX, start=0.41, end=0.42)
    with pytest.raises(UsageError, match="no frame lies between"):
        run(settings, filler=Tally())
    with pytest.raises(UsageError, match="after the clip's last frame"):
        run(replace(settings, start=9.0, end=10.0), filler=Tally())


@pytest.mark.parametrize("through", ["program", "settings"])
def test_a_slash_at_the_end_means_frames(tmp_path: Path, through: str) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    if through == "program":
        assert main(["inpaint", str(clip), "--box", BOX[0], "-o", f"{tmp_path}/fold.v2/", "--preview", "2", "--quiet"]) == 0
    else:
        settings = FillSettings(clip, f"{tmp_path}/fold.v2/", boxes=BOX, preview=2)
        assert run(replace(settings, crf=None), filler=Tally()).output == tmp_path / "fold.v2"
    assert sorted(path.name for path in (tmp_path / "fold.v2").iterdir()) == ["000000.png", "000001.png"]


def test_a_slash_asks_for_frames_of_an_untouched_clip_too(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    mask = write_mask(tmp_path / "mask.npy", np.zeros((48, 64), np.bool_))
    assert not run(FillSettings(clip, f"{tmp_path}/out.mkv/", mask=mask), filler=Tally()).copied
    assert len(list((tmp_path / "out.mkv").iterdir())) == 3


def test_frames_do_not_take_a_files_name(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    theirs = tmp_path / "notes.txt"
    theirs.write_text("keep")
    with pytest.raises(UsageError, match="is a file"):
        run(FillSettings(clip, f"{theirs}/", boxes=BOX, overwrite=True), filler=Tally())
    assert theirs.read_text() == "keep"


def test_several_clips_get_names_that_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [str(media.write_images(tmp_path / name, 2) / "*.png") for name in ("one.v2", "two")]
    film = write_clip(tmp_path / "film.mpg", 3, codec="mpeg2video", pix_fmt="yuv420p", rate=25)
    assert main(["inpaint", *frames, str(film), "--box", "2,2,8,8", "-o", f"{tmp_path}/out.v3/", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in (tmp_path / "out.v3").iterdir()) == ["film.mp4", "one.v2", "two"]
    assert len(list((tmp_path / "out.v3/one.v2").iterdir())) == 2
    other = write_clip(tmp_path / "other.webm", 3, codec="libvpx-vp9", pix_fmt="yuv420p")
    assert main(["inpaint", str(film), str(other), "--box", "2,2,8,8", "-o", str(tmp_path / "exact"), "--quiet", "--lossless"]) == 0
    assert sorted(path.name for path in (tmp_path / "exact").iterdir()) == ["film.mkv", "other.mkv"]


KILLED_AT = {
    "the report": "import framefill.apps.cli.fill as fill; fill._figures = lambda record: die()",
    **{
        f"removing the job's file {number}": f"""
from framefill.jobs.folder import JobFolder
remove, unlink, left = JobFolder.remove, Path.unlink, [{number}]
def counted(path, missing_ok=False):
    left[0] -= 1
    if left[0] < 0:
        die()
    unlink(path, missing_ok)
def removing(folder):
    if folder.windows:
        Path.unlink = counted
    remove(folder)
    Path.unlink = unlink
JobFolder.remove = removing
"""
        for number in range(6)
    },
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("moment", KILLED_AT.values(), ids=KILLED_AT)
def test_killed_behind_the_renaming_a_batch_ends_clean(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mkv", 6)
    folder = tmp_path / "out"
    command = ["inpaint", str(tmp_path / "*.mkv"), "--box", BOX[0], "-o", str(folder), "--lossless"]
    program = f"""
import os, signal, sys
from pathlib import Path
import framefill.jobs.plan as plan
from framefill.apps.cli.main import main
from jobs_kit import Tally
plan._family = lambda settings: Tally()
def die():
    os.kill(os.getpid(), signal.SIGKILL)
{moment}
sys.exit(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", program, *command], env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == (-signal.SIGKILL), killed.stderr
    whole = (folder / "a.mkv").read_bytes()
    monkeypatch.setattr("framefill.jobs.plan._family", lambda _: Tally())
    assert main(command) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.mkv", "b.mkv"]
    assert (folder / "a.mkv").read_bytes() == whole


@pytest.mark.parametrize("sign", ["n", "ü", "漢"])
def test_names_as_long_as_the_disk_takes_them(tmp_path: Path, sign: str) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 6)
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    count = (longest - 5) // len(sign.encode())
    pair = [tmp_path / f"{sign * count}{end}.mkv" for end in "ab"]
    for number, output in enumerate(pair):
        settings = FillSettings(clip, output, boxes=BOX, lossless=True)
        with pytest.raises(Interrupted):
            run(settings, filler=Tally(fail_at=1))
        assert len(list(tmp_path.iterdir())) == 2 + number, "the clip, what is done, and a job folder"
        assert run(settings, filler=Tally()).resumed_windows == 1
    assert sorted(tmp_path.iterdir()) == sorted([clip, *pair])
    with pytest.raises(UnwritableMedia, match="give a shorter one"):
        run(FillSettings(clip, tmp_path / f"{'n' * longest}.mkv", boxes=BOX), filler=Tally())


@pytest.mark.parametrize("name", [".out.framefill-part", ".out.framefill-old"])
def test_somebodys_file_under_an_unfinished_name_stays(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    theirs = tmp_path / name
    theirs.write_text("somebody's")
    with pytest.raises(UsageError, match="needs that name"):
        run(FillSettings(clip, tmp_path / "out", boxes=BOX, overwrite=True), filler=Tally())
    with open_video(clip) as reader, pytest.raises(UnwritableMedia, match="in the way"):
        VideoWriter(tmp_path / "out", reader)
    assert theirs.read_text() == "somebody's"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["clip.mkv", name])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_killed_while_frames_replace_frames(tmp_path: Path, renamed: int) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 3)
    first = FillSettings(clip, tmp_path / "out", boxes=("1,1,9,9",))
    run(first, filler=Tally())
    again = replace(first, boxes=BOX, overwrite=True)
    program = f"""
import os, signal, sys
from pathlib import Path
from framefill.jobs.runner import run
from framefill.jobs.settings import FillSettings
from framefill.media.part import Part
from jobs_kit import Tally
keep, rename, left = Part.keep, Path.replace, [{renamed}]
def counted(path, target):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(path, target)
def keeping(part):
    Path.replace = counted
    import shutil
    shutil.rmtree = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    keep(part)
Part.keep = keeping
run(FillSettings({str(clip)!r}, {str(first.output)!r}, boxes={BOX!r}, overwrite=True), filler=Tally())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run(again, filler=Tally())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "out"]
    assert len(list((tmp_path / "out").iterdir())) == 3
