"""The report page: valid, self-contained, escaped, true to the record's numbers, and whole for odd records too."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framefill.apps.report import write_report
from framefill.apps.report.page import render
from framefill.apps.report.pictures import strips
from framefill.apps.report.readable import ceiling, count, levels, percent, seconds
from framefill.apps.report.timeline import MOST_COLUMNS, columns
from framefill.errors import UnwritableMedia
from framefill.evaluation.report.markup import Markup, element
from framefill.jobs.record import GENERATED_RGB, PROPAGATED_RGB, FrameRecord, KeyFrame, RunRecord, Shares

VOID = {"meta", "img", "input", "br"}
NASTY = """<script>alert("1")</script> & 'quoted' </title></style> ${title} $style Straße 映画 🎬"""


class Page(HTMLParser):
    """Reads a page, fails on unbalanced tags, and keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids.update(value for name, value in attrs if name == "id" and value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def frame(index: int, propagated: float = 0.06, generated: float = 0.02, seam: float | None = 1.5, jump: float | None = 2.0) -> FrameRecord:
    return FrameRecord(index, index / 25, Shares(1 - propagated - generated, propagated, generated), seam, jump)


def key_frame(index: int, height: int = 36, width: int = 64, seed: int = 0) -> KeyFrame:
    rng = np.random.default_rng(seed)
    before = np.full((height, width, 3), 90, np.uint8)
    before[: height // 2] = rng.integers(0, 256, 3, dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[: max(height // 3, 1), : max(width // 4, 1)] = True
    provenance = mask.astype(np.uint8)
    provenance[: max(height // 9, 1)][mask[: max(height // 9, 1)]] = 2
    after = np.where(mask[..., None], np.uint8(90), before)
    return KeyFrame(index, index / 25, before, mask, after, provenance)


def record(num_frames: int = 60) -> RunRecord:
    return RunRecord(
        output=Path("out/court-filled.mp4"),
        input=Path("clips/court.avi"),
        mask="mask.png, dilated by 4",
        mask_lines=("one still image, held for the whole clip", "white = to be made"),
        frames=num_frames,
        frames_filled=num_frames,
        size=(432, 240),
        sample_aspect_ratio=Fraction(1),
        fps=25.0,
        seconds=12.34,
        frames_per_second=num_frames / 12.34,
        fill_seconds=8.9,
        peak_memory_mb=412.6,
        outside_max_diff=0,
        provenance=Shares(0.92, 0.06, 0.02),
        left=0.0,
        model="propagate",
        copied=False,
        resumed_windows=0,
        warnings=("2 damaged packets were skipped",),
        settings={"model": "auto", "crf": None, "lossless": False, "rule": {"threshold": 127, "ids": [1, 3]}, "start": 0.0},
        versions={"framefill": "0.1.0", "opencv": "5.0.0"},
        hashes={"clips/court.avi": "ab" * 32, "mask.png": "cd" * 32},
        timeline=tuple(frame(index) for index in range(num_frames)),
        window_borders=(0, 20, 40),
        key_frames=(key_frame(3), key_frame(30, seed=1)),
    )


def test_the_page_says_what_the_record_says() -> None:
    page = Page(render(record(), "framefill inpaint court.avi -m mask.png -o out.mp4"))
    for words in (
        "court.avi",
        "filled as court-filled.mp4 · 432 × 240 · 60 frames · 25 frames/s · model propagate",
        "Known pixels unchanged: max difference 0",
        "8.0 %",  # made in all
        "75.0 %",  # of it propagated
        "25.0 %",  # of it generated
        "2 damaged packets were skipped",
        "one still image, held for the whole clip",
        "mask.png, dilated by 4",
        "12.3 s",
        "8.9 s",
        "413 MB",
        "rule.threshold",
        "1, 3",
        "5.0.0",
        "ab" * 32,
        "cd" * 32,
        "framefill inpaint court.avi -m mask.png -o out.mp4",
        "levels; largest 1.5 at frame 0",
    ):
        assert words in page.words
    assert page.tags["article"] == 2
    assert page.tags["figure"] == 8


def test_the_slider_starts_at_the_largest_hole() -> None:
    small, large = key_frame(3), key_frame(9)
    large.mask[:, 32:] = True
    large.mask[:, :32] = False
    page = Page(render(replace(record(), key_frames=(small, large)), None))
    assert ("input", "value", "75") in page.attributes
    chosen = page.attributes.index(("input", "checked", ""))
    assert ("input", "data-frame", "9") in page.attributes[chosen : chosen + 2]


def test_pixels_that_changed_outside_the_mask_are_not_hidden() -> None:
    words = Page(render(replace(record(), outside_max_diff=3), None)).words
    assert "Known pixels changed: max difference 3" in words
    assert "unchanged" not in words


def test_a_copied_clip_is_called_copied() -> None:
    shares = Shares(1.0, 0.0, 0.0)
    still = tuple(frame(index, 0.0, 0.0, None, None) for index in range(5))
    copied = replace(record(5), copied=True, frames_filled=0, provenance=shares, timeline=still, key_frames=(), window_borders=())
    words = Page(render(copied, None)).words
    assert "Nothing was masked" in words
    assert "None: nothing was made in this clip." in words


def odd_records() -> dict[str, RunRecord]:
    base = record()
    nan = tuple(frame(index, seam=math.nan, jump=math.nan) for index in range(60))
    gaps = tuple(frame(index, seam=None if index % 7 == 0 else 1.0, jump=None if index < 30 else 0.0) for index in range(60))
    return {
        "one frame": replace(record(1), window_borders=(0,), key_frames=(key_frame(0),), timeline=(frame(0, jump=None),)),
        "two frames": replace(record(2), window_borders=(0,), key_frames=()),
        "1 x 1": replace(base, size=(1, 1), key_frames=(key_frame(0, 1, 1),)),
        "portrait": replace(base, key_frames=(key_frame(0, 64, 36),)),
        "no key frames": replace(base, key_frames=()),
        "no timeline": replace(base, timeline=(), window_borders=()),
        "no warnings": replace(base, warnings=()),
        "many warnings": replace(base, warnings=tuple(f"frame {index} is damaged" for index in range(300))),
        "no rate": replace(base, fps=None),
        "nan scores": replace(base, timeline=nan),
        "gaps": replace(base, timeline=gaps),
        "full mask": replace(base, provenance=Shares(0.0, 0.0, 1.0), timeline=tuple(frame(i, 0.0, 1.0, None) for i in range(60))),
        "nothing made": replace(base, provenance=Shares(1.0, 0.0, 0.0), timeline=tuple(frame(i, 0.0, 0.0, None, None) for i in range(60))),
        "3,000 frames": replace(record(3000), window_borders=tuple(range(0, 3000, 20))),
        "borders and keys beyond the timeline": replace(base, window_borders=(0, 59, 60, 999), key_frames=(key_frame(4000),)),
        "bare": replace(base, mask_lines=(), settings={}, versions={}, hashes={}),
        "resumed": replace(base, resumed_windows=4),
    }


@pytest.mark.parametrize("name", odd_records())
def test_odd_records_give_a_whole_page(name: str) -> None:
    html = render(odd_records()[name], None)
    page = Page(html)
    assert max(page.ids.values()) == 1
    assert "Known pixels unchanged" in page.words
    assert not re.search(r"\b(nan|inf|None|Infinity)\b", re.sub(r"None\.|None:", "", page.words))
    for path in (value for tag, attribute, value in page.attributes if attribute == "d"):
        assert re.fullmatch(r"M[-+\d. e]+( L[-+\d. e]+)+Z?", path)
    for left in re.findall(r"left:([-\d.e]+)%", html):
        assert 0 <= float(left) <= 100


@pytest.mark.parametrize("name", ["one frame", "gaps", "3,000 frames"])
def test_the_page_asks_nothing_of_any_network(name: str) -> None:
    html = render(odd_records()[name], "framefill demo")
    page = Page(html)
    links = [value for _, attribute, value in page.attributes if attribute in {"src", "href", "srcset", "action", "poster", "xlink:href"}]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert "link" not in page.tags
    assert "iframe" not in page.tags
    assert not re.search(r"//[a-z0-9]|url\(|@import|fetch\(|XMLHttpRequest", re.sub(r"data:image/[^\"]+", "", html))
    policy = next(value for _, attribute, value in page.attributes if attribute == "content" and "default-src" in value)
    assert "default-src 'none'" in policy


def nastily(base: RunRecord) -> RunRecord:
    return replace(
        base,
        input=Path("clips") / NASTY.replace("/", "∕"),
        output=Path("out") / NASTY,
        mask=NASTY,
        mask_lines=(NASTY,),
        model=NASTY,
        warnings=(NASTY,) * 8,
        settings={NASTY: NASTY, "group": {NASTY: [NASTY, NASTY]}},
        versions={"framefill": NASTY, NASTY: NASTY},
        hashes={NASTY: NASTY},
    )


def test_everything_is_escaped() -> None:
    plain, page = Page(render(record(), "x")), Page(render(nastily(record()), NASTY))
    assert page.tags["script"] == plain.tags["script"] == 2
    assert page.tags["title"] == page.tags["style"] == page.tags["h1"] == 1
    assert "alert" not in "".join(page.scripts)
    assert page.words.count(NASTY) >= 18
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in plain.attributes}


def test_elements_escape_text_and_attributes_but_not_markup() -> None:
    assert element("a", {"title": '"<&'}, "<b>", Markup("<i></i>")) == '<a title="&quot;&lt;&amp;">&lt;b&gt;<i></i></a>'
    assert element("input", {"checked": True, "disabled": False, "name": None, "value": 0}) == '<input checked value="0">'


def test_a_name_that_is_not_utf8_and_one_with_a_line_break_can_be_written(tmp_path: Path) -> None:
    odd = replace(record(), input=Path("clip\udcff\n.avi"), output=Path("o\udc80.mp4"))
    html = write_report(odd, tmp_path / "r.html").read_text("utf-8")
    assert "\\udcff" in html
    Page(html)


def test_each_frame_has_its_column_until_there_are_too_many() -> None:
    assert len(columns([frame(index) for index in range(MOST_COLUMNS)])) == MOST_COLUMNS
    timeline = [frame(index, propagated=0.001 * (index % 10), seam=40.0 if index == 1234 else 1.0) for index in range(3001)]
    shown = columns(timeline)
    assert len(shown) <= MOST_COLUMNS
    assert [column.first for column in shown] == [0] + [column.last + 1 for column in shown[:-1]]
    assert shown[-1].last == 3000
    assert max(column.seam.high for column in shown if column.seam) == 40.0
    bad = next(column for column in shown if column.first <= 1234 <= column.last)
    size = bad.last - bad.first + 1
    assert bad.seam is not None
    assert bad.seam.low == 1.0
    assert bad.seam.mean == pytest.approx((40 + size - 1) / size)
    total = sum(column.propagated * (column.last - column.first + 1) for column in shown)
    assert total == pytest.approx(sum(shot.shares.propagated for shot in timeline))


def test_a_long_clip_stays_small_and_says_how_it_was_summed_up() -> None:
    html = render(odd_records()["3,000 frames"], None)
    assert len(html) < 250_000
    assert "The clip's 3,000 frames are summed up 7 at a time" in Page(html).words
    assert "summed up" not in Page(render(record(), None)).words


def test_the_charts_draw_the_values() -> None:
    timeline = tuple(frame(index, propagated=0.5, generated=0.25, seam=value, jump=None) for index, value in enumerate([0.0, 10.0]))
    html = render(replace(record(2), timeline=timeline, key_frames=(), window_borders=()), None)
    assert 'class="area propagated" d="M0 37.5 L250 37.5 L750 37.5 L1000 37.5 ' in html  # 0.5 of 0.8, the top of the axis
    assert 'class="area generated" d="M0 6.25 ' in html
    assert '<path class="line" d="M0 100 L250 100 L750 0 L1000 0"></path>' in html
    data = json.loads(next(text for text in Page(html).scripts if text.startswith("{")))
    assert data == {"step": 1, "columns": [[0, 0, 0.0, 0.5, 0.25, [0.0] * 3, None], [1, 1, 0.04, 0.5, 0.25, [10.0] * 3, None]]}


def test_a_seam_in_time_is_named_with_its_frame_and_a_clip_without_one_says_so() -> None:
    timeline = tuple(frame(index, jump=None if index == 0 else 7.5 if index == 40 else 2.0) for index in range(60))
    words = Page(render(replace(record(), timeline=timeline), None)).words
    assert "2 window borders: the largest seam in time is 5.5 levels above the frames around it, at frame 40." in words
    assert "at none does the hole change more" in Page(render(record(), None)).words


def test_pixels_that_nothing_filled_are_named() -> None:
    key = key_frame(3)
    assert "left as it was" not in Page(render(record(), None)).words
    unfilled = replace(key, provenance=np.where(key.provenance == 2, np.uint8(0), key.provenance))
    share = (key.provenance == 2).sum() / key.mask.sum()
    words = Page(render(replace(record(), key_frames=(unfilled,)), None)).words
    assert f"{percent(1 - share)} of it propagated, 0 % generated, {percent(share)} left as it was" in words


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_the_pictures_show_the_key_frame() -> None:
    key = key_frame(3)
    (strip,) = strips([key])
    assert np.abs(np.asarray(decoded(strip.before)).astype(int) - key.before).mean() < 2
    assert np.abs(np.asarray(decoded(strip.after)).astype(int) - key.after).mean() < 2
    assert (np.asarray(decoded(strip.mask).convert("L")) == key.mask * 255).all()
    colours = np.asarray(decoded(strip.provenance).convert("RGBA"))
    assert (colours[key.provenance == 1] == (*PROPAGATED_RGB, 255)).all()
    assert (colours[key.provenance == 2] == (*GENERATED_RGB, 255)).all()
    assert (colours[key.provenance == 0][:, 3] == 0).all()
    assert {1, 2} <= set(key.provenance.ravel())
    assert (strip.width, strip.height) == (64, 36)


def test_anamorphic_clips_are_drawn_in_their_proportion() -> None:
    key = key_frame(3)
    wide, high = (strips([key], shape)[0] for shape in (Fraction(64, 45), Fraction(3, 4)))
    assert (wide.width, wide.height) == decoded(wide.before).size == decoded(wide.mask).size == (64, 25)
    assert (high.width, high.height) == decoded(high.after).size == decoded(high.provenance).size == (48, 36)
    words = Page(render(replace(record(), sample_aspect_ratio=Fraction(64, 45)), None)).words
    assert "432 × 240, pixels 64:45 ·" in words


def test_what_was_left_is_said() -> None:
    assert "left as it was" not in Page(render(record(), None)).words
    assert "left as it was 12.5 % of the masked pixels" in Page(render(replace(record(), left=0.125), None)).words


def test_a_page_of_pure_noise_stays_below_three_megabytes() -> None:
    rng = np.random.default_rng(0)

    def noise(index: int) -> KeyFrame:
        before, after = (rng.integers(0, 256, (360, 640, 3), dtype=np.uint8) for _ in range(2))
        return KeyFrame(index, 0.0, before, rng.random((360, 640)) < 0.5, after, rng.integers(0, 3, (360, 640), dtype=np.uint8))

    assert len(render(replace(record(), key_frames=tuple(map(noise, range(8)))), None)) < 3_000_000


def test_the_same_record_gives_the_same_bytes_and_nothing_else_lies_about(tmp_path: Path) -> None:
    first, second = write_report(record(), tmp_path / "a.html", command="x"), write_report(record(), tmp_path / "b.html", command="x")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_target_that_cannot_be_written_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(UnwritableMedia, match="does not exist; make it first") as caught:
        write_report(record(), tmp_path / "missing" / "r.html")
    assert "\n" not in str(caught.value)
    folder = tmp_path / "r.html"
    folder.mkdir()
    with pytest.raises(UnwritableMedia):
        write_report(record(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_a_full_disk_keeps_the_report_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(UnwritableMedia, match="No space left on device"):
        write_report(record(), target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize(
    ("call", "argument", "shown"),
    [
        (percent, 0.0, "0 %"),
        (percent, 0.0004, "< 0.1 %"),
        (percent, 0.0716, "7.2 %"),
        (percent, 0.9996, "> 99.9 %"),
        (percent, 1.0, "100 %"),
        (seconds, 0.0, "0.00 s"),
        (seconds, 59.994, "59.99 s"),
        (seconds, 59.999, "1:00.0"),
        (seconds, 125.3, "2:05.3"),
        (seconds, 119.96, "2:00.0"),
        (seconds, 3599.97, "1:00:00"),
        (seconds, 3725.4, "1:02:05"),
        (levels, None, "–"),
        (levels, math.nan, "–"),
        (levels, 2.04, "2.0"),
        (ceiling, 0.0, 1.0),
        (ceiling, 0.071, 0.08),
        (ceiling, 5.0, 5.0),
        (ceiling, 23.0, 30.0),
        (ceiling, 0.3, 0.3),
    ],
)
def test_numbers_read_well(call: Callable[[float | None], object], argument: float | None, shown: object) -> None:
    assert call(argument) == (pytest.approx(shown) if isinstance(shown, float) else shown)


def test_counts_agree_with_their_nouns() -> None:
    assert [count(number, "frame") for number in (0, 1, 3000)] == ["0 frames", "1 frame", "3,000 frames"]
