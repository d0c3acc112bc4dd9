"""What goes along with the picture: sound, subtitles, chapters, attachments, metadata; and whole files copied stream by stream."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import mediafiles
import numpy as np
import pytest
from mediafiles import Sound, Words
from PIL import Image

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.media.container import ATTACHED_PICTURE
from framefill.media.reader import open_video, probe
from framefill.media.remux import can_remux, remux
from framefill.media.writer import VideoWriter

TRACKS = [
    Sound("aac", 0.9, metadata={"language": "deu", "title": "Hauptton"}),
    Sound("ac3", 0.5, layout="mono", metadata={"language": "fra"}),
]


def rewrite(source: Path, target: Path, **settings: object) -> list[str]:
    with open_video(source) as reader, VideoWriter(target, reader, **settings) as writer:  # type: ignore[arg-type]
        for frame in reader:
            writer.write(frame, frame.rgb)
    return writer.warnings


def sound_length(path: Path) -> list[float]:
    """Seconds of sound that can be decoded, track by track."""
    with av.open(str(path)) as container:
        rates = [stream.rate for stream in container.streams.audio]
    lengths = []
    for number, rate in enumerate(rates):
        with av.open(str(path)) as container:
            lengths.append(sum(frame.samples for frame in container.decode(audio=number)) / rate)
    return lengths


@pytest.mark.parametrize("target", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("seconds", [0.2, 0.48, 1.5])
def test_every_sound_track_is_copied_bit_for_bit(tmp_path: Path, target: str, seconds: float) -> None:
    sounds = [
        Sound("aac", seconds, metadata={"language": "deu", "title": "Hauptton"}),
        Sound("ac3", seconds / 2, layout="mono", metadata={"language": "fra"}),
    ]
    source = mediafiles.write_video(tmp_path / "a.mp4", sounds=sounds)
    assert rewrite(source, tmp_path / target) == []
    assert mediafiles.packets(tmp_path / target, "audio") == mediafiles.packets(source, "audio")
    for before, after in zip(mediafiles.packet_times(source, "audio"), mediafiles.packet_times(tmp_path / target, "audio"), strict=True):
        shift = [float(b - a) for a, b in zip(before, after, strict=True)]
        assert max(map(abs, shift)) <= (
            0.0225 if target.endswith("mkv") else 0
        )  # mkv lets nothing begin before zero: the coder's 1024 samples
    assert [track.language for track in probe(tmp_path / target).tracks] == ["ger" if target.endswith("mov") else "deu", "fra"]
    assert len(mediafiles.decode(tmp_path / target)) == 12


def test_picture_and_sound_stay_together_when_the_clip_starts_late(tmp_path: Path) -> None:
    times = [90000 + 3600 * index for index in range(12)]
    source = mediafiles.write_video(tmp_path / "a.ts", time_base=Fraction(1, 90000), times=times, sounds=[Sound("ac3", 1.6)])
    for name in ("b.mp4", "b.mkv", "b.ts"):
        assert rewrite(source, tmp_path / name) == []
        gaps = []
        for path in (source, tmp_path / name):
            picture, sound = min(mediafiles.packet_times(path, "video")[0]), min(mediafiles.packet_times(path, "audio")[0])
            gaps.append(float(picture - sound))
        assert gaps[1] == pytest.approx(gaps[0], abs=0.002)
        assert gaps[0] > 0.9


def test_sound_that_does_not_fit_is_coded_again_and_said(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", sounds=[Sound("aac", 0.9)])
    warnings = rewrite(source, tmp_path / "b.webm")
    assert len(warnings) == 1
    assert "sound track 1 (aac) is coded again as opus" in warnings[0]
    assert [(track.kind, track.codec) for track in probe(tmp_path / "b.webm").tracks] == [("audio", "opus")]
    assert sound_length(tmp_path / "b.webm")[0] == pytest.approx(0.9, abs=0.05)


def test_pcm_sound_is_copied_even_without_a_layout(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mkv", sounds=[Sound("pcm_s16le", 0.6)])
    for name in ("b.mp4", "b.mov", "b.avi"):
        rewrite(source, tmp_path / name)
        assert b"".join(mediafiles.packets(tmp_path / name, "audio")[0]) == b"".join(mediafiles.packets(source, "audio")[0])


@pytest.mark.parametrize(
    ("first", "codec", "second", "kept"),
    [("a.mp4", "mov_text", "b.mkv", "subrip"), ("a.mkv", "srt", "b.mp4", "mov_text"), ("a.mkv", "srt", "b.webm", "webvtt")],
)
def test_subtitles_follow_in_the_containers_own_kind(tmp_path: Path, first: str, codec: str, second: str, kept: str) -> None:
    source = mediafiles.write_video(tmp_path / first, words=[Words(codec, metadata={"language": "deu"})])
    warnings = rewrite(source, tmp_path / second)
    assert len(warnings) == 1
    assert f"is rewritten as {kept}" in warnings[0]
    with av.open(str(tmp_path / second)) as container:
        stream = container.streams.subtitles[0]
        assert (stream.codec_context.codec.canonical_name, stream.language) == (kept, "deu")
        told = [
            (float(packet.pts * packet.time_base), line.text.decode() if line.text else line.ass.decode())
            for packet in container.demux(stream)
            if packet.size > 2
            for line in packet.decode()
        ]
    assert [round(start, 2) for start, _ in told] == [0, 0.24]
    assert "first" in told[0][1]
    assert "second" in told[1][1]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mov_text"), ("a.mkv", "srt"), ("a.mkv", "ass")])
def test_subtitles_that_fit_are_copied(tmp_path: Path, name: str, codec: str) -> None:
    source = mediafiles.write_video(tmp_path / name, words=[Words(codec), Words(codec, [(100, 300, "other")])])
    target = tmp_path / name.replace("a", "b", 1)
    assert rewrite(source, target) == []
    assert mediafiles.packets(target, "subtitle") == mediafiles.packets(source, "subtitle")
    assert mediafiles.packet_times(target, "subtitle") == mediafiles.packet_times(source, "subtitle")


@pytest.mark.parametrize(("first", "second"), [("a.mp4", "b.mp4"), ("a.mp4", "b.mkv"), ("a.mkv", "b.mp4"), ("a.mkv", "b.webm")])
def test_chapters_and_metadata_follow(tmp_path: Path, first: str, second: str) -> None:
    source = mediafiles.write_video(
        tmp_path / first,
        chapters=[(0, 200, "one"), (200, 480, "two")],
        metadata={"title": "A clip", "comment": "Grüße", "artist": "nobody"},
    )
    assert rewrite(source, tmp_path / second) == []
    meta = probe(tmp_path / second)
    assert [(chapter.title, round(chapter.start, 3), round(chapter.end, 3)) for chapter in meta.chapters] == [
        ("one", 0, 0.2),
        ("two", 0.2, 0.48),
    ]
    kept = {key.lower(): value for key, value in meta.metadata.items()}
    assert (kept["title"], kept["comment"], kept["artist"]) == ("A clip", "Grüße", "nobody")


def test_a_phones_own_metadata_is_kept(tmp_path: Path) -> None:
    keys = {"com.apple.quicktime.make": "Maker", "com.apple.quicktime.location.ISO6709": "+48.1+011.5/"}
    source = mediafiles.write_video(tmp_path / "a.mov", metadata=keys, container={"movflags": "use_metadata_tags"})
    assert keys.items() <= probe(source).metadata.items()
    rewrite(source, tmp_path / "b.mov")
    assert keys.items() <= probe(tmp_path / "b.mov").metadata.items()


def test_attachments_follow_where_they_can(tmp_path: Path) -> None:
    font = bytes(range(256)) * 4
    source = mediafiles.write_video(tmp_path / "a.mkv", attachment=("font.ttf", "application/x-truetype-font", font))
    assert rewrite(source, tmp_path / "b.mkv") == []
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [(stream.name, stream.data) for stream in container.streams.attachments] == [("font.ttf", font)]
    warnings = rewrite(source, tmp_path / "b.mp4")
    assert len(warnings) == 1
    assert "left out" in warnings[0]


@pytest.mark.parametrize(("first", "second"), [("a.mp4", "b.mp4"), ("a.mp4", "b.mkv"), ("a.mkv", "b.mkv"), ("a.mkv", "b.mp4")])
def test_cover_art_follows_and_is_not_the_picture(tmp_path: Path, first: str, second: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(mediafiles.picture(9, 32, 32)).save(stream, "JPEG")
    plain = mediafiles.write_video(tmp_path / f"plain{first[1:]}")
    source = tmp_path / first
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        target = new.add_stream_from_template(old.streams.video[0])
        if first.endswith("mkv"):
            new.add_attachment("cover.jpg", "image/jpeg", stream.getvalue())
        else:
            cover = new.add_stream("mjpeg", width=32, height=32, pix_fmt="yuvj420p")
            cover.disposition = ATTACHED_PICTURE
            packet = av.Packet(stream.getvalue())
            packet.pts, packet.dts, packet.time_base, packet.stream = 0, 0, Fraction(1, 25), cover
            new.mux(packet)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = target
                new.mux(packet)
    assert [track.detail for track in probe(source).tracks] == ["32x32 cover"]
    assert rewrite(source, tmp_path / second) == []
    reader = probe(tmp_path / second)
    assert (reader.width, [track.detail for track in reader.tracks]) == (64, ["32x32 cover"])
    with av.open(str(tmp_path / second)) as container:
        covers = [bytes(packet) for packet in container.demux(video=1) if packet.size]
    assert covers == [stream.getvalue()]


def test_sound_and_picture_are_interleaved(tmp_path: Path) -> None:
    """A player that reads from front to back must not have to hold the whole picture before the first sound."""
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=250, pictures=10, sounds=[Sound("aac", 10.0)])
    rewrite(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        order = [(packet.pos, packet.stream.type, float(packet.dts * packet.time_base)) for packet in container.demux() if packet.size]
    heard, seen, worst = 0.0, 0.0, 0.0
    for _, kind, when in sorted(order):
        heard, seen = (when, seen) if kind == "audio" else (heard, when)
        worst = max(worst, abs(heard - seen))
    assert worst < 1.5


@pytest.mark.parametrize(("rotation", "suffix"), [(0, ".mp4"), (90, ".mp4"), (270, ".mkv"), (0, ".mkv"), (180, ".mov")])
def test_remux_copies_every_packet(tmp_path: Path, rotation: int, suffix: str) -> None:
    times = [0, 512, 700, 3000, 3001, 9000]
    source = mediafiles.write_video(
        tmp_path / "a.mp4",
        times=times,
        rotation=rotation,
        colour=(2, 1, 1, 1),
        sounds=TRACKS,
        chapters=[(0, 200, "one")],
        metadata={"title": "A clip"},
    )
    target = tmp_path / f"b{suffix}"
    assert can_remux(source, target)
    assert remux(source, target) == []
    for kind in ("video", "audio"):
        assert mediafiles.packets(target, kind) == mediafiles.packets(source, kind)
    first, second = probe(source), probe(target)
    assert (second.rotation, second.color_range, second.color_space) == (rotation, 2, 1)
    assert (second.metadata.get("title") or second.metadata.get("TITLE")) == "A clip"
    assert [track.language for track in second.tracks[:2]] == ["ger" if suffix == ".mov" else "deu", "fra"]
    assert [chapter.title for chapter in second.chapters] == ["one"]
    with open_video(source) as reader, open_video(target) as copy:
        for before, after in zip(reader, copy, strict=True):
            assert np.array_equal(before.rgb, after.rgb)
            assert copy.seconds(after) == pytest.approx(reader.seconds(before), abs=0.0006)
    assert first.num_frames == 6
    assert not list(tmp_path.glob("*.framefill-part"))


def test_remux_is_the_same_each_time(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", sounds=TRACKS, chapters=[(0, 200, "one")])
    for suffix in (".mp4", ".mkv"):
        remux(source, tmp_path / f"b{suffix}")
        remux(source, tmp_path / f"c{suffix}")
        assert (tmp_path / f"b{suffix}").read_bytes() == (tmp_path / f"c{suffix}").read_bytes()


def test_remux_refuses_what_the_container_cannot_hold(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4")
    assert not can_remux(source, tmp_path / "b.webm")
    with pytest.raises(UsageError, match=r"\.webm cannot hold h264"):
        remux(source, tmp_path / "b.webm")
    with pytest.raises(UnwritableMedia, match="does not exist"):
        remux(source, tmp_path / "nowhere/b.mp4")
    (tmp_path / "text.mp4").write_text("no video" * 50)
    with pytest.raises(UnreadableMedia):
        remux(tmp_path / "text.mp4", tmp_path / "c.mp4")
    with pytest.raises(UsageError, match="is the input too"):
        remux(source, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "text.mp4"]


def test_remux_on_a_full_disk(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=40, size=(160, 120))
    script = (
        "import resource, sys\n"
        "from framefill.errors import UnwritableMedia\n"
        "from framefill.media.remux import remux\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n"
        "    remux(sys.argv[1], sys.argv[2])\n"
        "except UnwritableMedia as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(source), str(tmp_path / "b.mp4")], capture_output=True, text=True, check=True)
    assert "cannot be written" in run.stdout
    assert not list(tmp_path.glob("b*"))


def test_real_files(shared: Path, tmp_path: Path) -> None:
    """Two videos, two sound tracks and two subtitle tracks in one file: all of them follow."""
    source = shared / "data/train/nasa-13013.mp4"
    assert rewrite(source, tmp_path / "b.mp4") == []
    for kind in ("audio", "subtitle"):
        assert mediafiles.packets(tmp_path / "b.mp4", kind) == mediafiles.packets(source, kind)
    assert [track.kind for track in probe(tmp_path / "b.mp4").tracks] == [track.kind for track in probe(source).tracks]
    assert remux(source, tmp_path / "c.mp4") == []
    assert mediafiles.packets(tmp_path / "c.mp4", "video") == mediafiles.packets(source, "video")


def reordered(path: Path, **more: object) -> Path:
    """A clip with B-frames, whose first packets in Matroska have no decoding time."""
    return mediafiles.write_video(path, frames=20, options={"bf": "2", "preset": "fast", "g": "20"}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["b.mkv", "b.mp4", "b.ts"])
def test_remux_makes_up_the_first_decoding_times(tmp_path: Path, target: str) -> None:
    source = reordered(tmp_path / "a.mkv", sounds=[Sound("aac", 0.8)])
    with av.open(str(source)) as container:
        assert next(container.demux(video=0)).dts is None
    assert can_remux(source, tmp_path / target)
    assert remux(source, tmp_path / target) == []
    assert len(mediafiles.decode(tmp_path / target)) == 20
    with open_video(source) as first, open_video(tmp_path / target) as second:
        for before, after in zip(first, second, strict=True):
            assert np.array_equal(before.rgb, after.rgb)
            assert second.seconds(after) == pytest.approx(first.seconds(before), abs=0.0006)


def cut_at_the_front(source: Path, target: Path) -> Path:
    """A copy whose edit list hides the first half: packets before zero stay in the file."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                ticks = round(Fraction(2, 5) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - ticks, packet.dts - ticks, streams[packet.stream.index]
                new.mux(packet)
    return target


def test_what_an_edit_list_hides_stays_hidden(tmp_path: Path) -> None:
    plain = reordered(tmp_path / "plain.mp4", sounds=[Sound("aac", 0.8)])
    source = cut_at_the_front(plain, tmp_path / "a.mp4")
    with open_video(source) as reader:
        shown = len(list(reader))
    assert shown == 10
    assert can_remux(source, tmp_path / "b.mp4")
    assert not can_remux(source, tmp_path / "b.mkv")
    assert rewrite(source, tmp_path / "b.mkv") == []
    assert sound_length(tmp_path / "b.mkv")[0] == pytest.approx(0.4, abs=0.06)


def damage_sound(source: Path, target: Path) -> Path:
    """A copy in which two sound packets come with times before the one before."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    data = bytearray(target.read_bytes())
    with av.open(str(target)) as file:
        places = [packet.pos for packet in file.demux(audio=0) if packet.size]
    for place in places[8:10]:
        start = data.index(b"\xa3", place - 12)  # a SimpleBlock: kind, size, track, time
        data[start + 4 : start + 6] = b"\x00\x00"  # the time within the cluster
    target.write_bytes(bytes(data))
    return target


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv"])
def test_damaged_sound_is_skipped_and_said(tmp_path: Path, target: str) -> None:
    plain = mediafiles.write_video(tmp_path / "plain.mkv", frames=25, sounds=[Sound("aac", 1.0)])
    source = damage_sound(plain, tmp_path / "a.mkv")
    for write in (rewrite, remux):
        warnings = write(source, tmp_path / target)
        assert len(warnings) == 1
        assert "damaged place" in warnings[0]
        assert len(mediafiles.decode(tmp_path / target)) == 25
        assert sound_length(tmp_path / target)[0] > 0.7


def test_sound_of_a_transport_stream_that_mp4_cannot_take_apart_is_skipped_and_said(tmp_path: Path) -> None:
    """Headers that promise several blocks with a checksum: what turns them into mp4's kind does not know these."""
    plain = mediafiles.write_video(tmp_path / "plain.ts", frames=25, sounds=[Sound("aac", 1.0)])
    data = bytearray(plain.read_bytes())
    damaged = mediafiles.packets(plain, "audio")[0][8:40:6]
    for packet in damaged:
        start = data.index(packet[:24])
        data[start + 1] &= 0xFE
        data[start + 6] |= 3
    (tmp_path / "a.ts").write_bytes(bytes(data))
    for write in (rewrite, remux):
        assert write(tmp_path / "a.ts", tmp_path / "b.mp4") == [f"{len(damaged)} damaged places in the sound or subtitles skipped"]
        assert len(mediafiles.decode(tmp_path / "b.mp4")) == 25
        assert sound_length(tmp_path / "b.mp4")[0] > 0.8


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le"])
def test_a_transport_stream_gets_sound_that_players_find(tmp_path: Path, codec: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mkv", sounds=[Sound(codec, 0.5)], words=[Words("srt")])
    warnings = rewrite(source, tmp_path / "b.ts")
    assert "is coded again as aac" in warnings[0]
    assert "subtitle track 2 (subrip) is left out" in warnings[1]
    assert not can_remux(source, tmp_path / "b.ts")
    assert [track.codec for track in probe(tmp_path / "b.ts").tracks] == ["aac"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("b.gif", "1 sound track, 1 subtitle track, 1 chapter left out: .gif holds only pictures"),
        ("folder", "1 sound track, 1 subtitle track, 1 chapter left out: a folder of PNGs holds only pictures"),
        ("b.ts", "chapters are left out: .ts cannot hold them"),
        ("b.avi", "chapters are left out: .avi cannot hold them"),
    ],
)
def test_what_cannot_follow_is_said(tmp_path: Path, target: str, says: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mkv", frames=3, sounds=[Sound("ac3")], words=[Words("srt")], chapters=[(0, 200, "one")])
    assert says in rewrite(source, tmp_path / target)
