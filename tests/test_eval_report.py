"""The evaluation's report: true to the run's numbers, whole for odd runs, self-contained, and one line for a damaged run."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from framefill.errors import JobError, UnreadableMedia
from framefill.evaluation.report import gallery as gallery_module
from framefill.evaluation.report import write_comparison, write_reports
from framefill.evaluation.report.comparison import Difference, cautions, verdict
from framefill.evaluation.report.markdown import code, plain, run_markdown
from framefill.evaluation.report.read import Metric, Row, read_run
from framefill.evaluation.report.table import best_of, columns, firsts, sections
from framefill.evaluation.report.words import decimals, listed, signed, written
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter

pytest.importorskip("matplotlib")
from framefill.evaluation.report.plots import HOUSE, curve_plot, looks, thinned
from framefill.evaluation.report.videos import panels, pick

NASTY = """<script>alert("1")<|script> & 'quoted' $x^2$ *bold* Straße 映画 🎬"""
VOID = {"meta", "img", "input", "br", "source"}
METRICS = {
    "psnr": {"title": "PSNR", "unit": "dB", "better": "higher", "region": "whole", "per": "frame", "about": "closeness to the truth"},
    "psnr-hole": {"title": "PSNR", "unit": "dB", "better": "higher", "region": "hole", "per": "frame", "about": "the same in the hole"},
    "flicker": {"title": "Flicker", "unit": "levels", "better": "lower", "region": "whole", "per": "pair", "about": "unrest"},
    "outside": {"title": "Change", "unit": "levels", "better": "lower", "region": "outside", "per": "frame", "about": "known pixels"},
    "vfid": {"title": "VFID", "unit": "", "better": "lower", "region": None, "per": "set", "about": "distance of sets"},
}
VALUES = {"psnr": 30.0, "psnr-hole": 20.0, "flicker": 2.0, "outside": 0.0}
FRAMES = 6
Tell = Callable[[str, str, str], "float | None"]  # clip, model, metric -> value


def as_told(clip: str, model: str, metric: str) -> float | None:
    """Better with every further model, and another value for every clip."""
    return VALUES[metric] + (len(model) % 5 + len(clip) % 7 / 10) * (metric != "outside")


def made_run(
    folder: Path, clips: Sequence[str] = ("a/still", "a/moving"), models: Sequence[str] = ("telea", "auto", "median"),
    videos: int = 1, tell: Tell = as_told, frames: int = FRAMES, **changes: object,
) -> Path:  # fmt: skip
    folder.mkdir()
    cases = {name: name.rpartition("/")[2] if "/" in name else None for name in clips}
    results: list[dict[str, object]] = []
    for clip in clips:
        for model in models:
            for metric in VALUES:
                value = tell(clip, model, metric)
                told: float | str | None = "inf" if value == math.inf else value
                curve = [
                    None if value is None else told if value == math.inf else value + math.sin(t) * (metric != "outside")
                    for t in range(frames)
                ]
                results.append({"clip": clip, "case": cases[clip], "model": model, "metric": metric, "value": told, "frames": curve})
    rows: list[dict[str, object]] = []
    for metric in VALUES:
        for model in models:
            for case in (None, *dict.fromkeys(filter(None, cases.values()))):
                found = [tell(clip, model, metric) for clip in clips if case in (None, cases[clip])]
                known = [value for value in found if value is not None]
                mean = sum(known) / len(known) if known else None
                several = len(known) > 1 and mean != math.inf
                rows.append({
                    "model": model, "metric": metric, "mean": "inf" if mean == math.inf else mean, "clips": len(known), "case": case,
                    "low": min(known) if several else None, "high": max(known) if several else None,
                })  # fmt: skip
    rows += [{"model": model, "metric": "vfid", "mean": 0.1, "low": None, "high": None, "clips": 9, "case": None} for model in models]
    run = {
        "protocol": {"name": "completion", "definition": ["Clips of 64x48.", NASTY], "settings": {"size": "64x48", "dilate": 4}},
        "models": list(models),
        "clips": [{"name": clip, "case": cases[clip], "frames": frames, "width": 64, "height": 48, "sha256": "ab" * 32} for clip in clips],
        "metrics": METRICS, "versions": {"framefill": "9.9.9", "numpy": "2"}, "seed": 7, "weights": {"i3d": "cd" * 32},
        "command": f"framefill eval run completion --clips '{NASTY}'", "machine": "a machine", "seconds": 61.0, "notes": [NASTY],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps({**run, **changes}))
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in results))
    (folder / "summary.json").write_text(json.dumps({"rows": rows}))
    for clip in clips[:videos]:
        film(folder / "clips" / clip, models, frames)
    return folder


def film(folder: Path, models: Sequence[str], frames: int) -> None:
    """Truth, given and results of 64x48: the models differ in a square, most in frame 4."""
    folder.mkdir(parents=True)
    mask = np.zeros((frames, 48, 64), bool)
    mask[:, 12:36, 16:48] = True
    np.savez_compressed(folder / "mask.npz", mask=mask)
    truth = np.full((frames, 48, 64, 3), (40, 120, 60), np.uint8)
    meta = VideoMeta(64, 48, Fraction(1, 25), Fraction(25))
    for position, name in enumerate(("truth", "given", *models)):
        clip = truth.copy()
        if name == "given":
            clip[mask] = 127
        elif name in models:
            for t in range(frames):
                clip[t][mask[t]] = 60 + 8 * position * (4 if t == 4 else 1)
        with VideoWriter(folder / f"{name}.mp4", meta, codec="h264") as writer:
            for index, rgb in enumerate(clip):
                writer.write(Frame(index, rgb, index, 1), rgb)


class Page(HTMLParser):
    """Reads a page, fails on unbalanced tags, and keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.bold: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids.update(value for name, value in attrs if name == "id" and value)
        if tag == "img":
            assert dict(attrs).get("alt"), "a picture without words"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
        if self.open[-2:] == ["td", "b"]:
            self.bold.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for found, key, value in self.attributes if (found, key) == (tag, name)]


def page_of(folder: Path) -> tuple[Page, str]:
    assert write_reports(folder) == [folder / "report.md", folder / "report.html"]
    html = (folder / "report.html").read_text("utf-8")
    return Page(html), html


def check_alone(page: Page, html: str) -> None:
    """Nothing is asked of any network, every reference inside the page leads somewhere, every id is there once."""
    for _, name, value in page.attributes:
        if name in ("src", "href", "poster", "xlink:href") and not value.startswith(("#", "data:")):
            assert re.fullmatch(r"media/[0-9A-Za-z-]+\.mp4", value)
        if name in ("href", "xlink:href") and value.startswith("#"):
            assert page.ids[value[1:]], value
        for reference in re.findall(r"url\(#([^)]+)\)", value):
            assert page.ids[reference], reference
    assert not [name for name, count in page.ids.items() if count > 1]
    assert not re.search(r"(@import|url\((?!#))", html)
    assert page.tags["script"] == 1
    assert "default-src 'none'" in html
    assert '<html lang="en"' in html


# ---- reading


def test_a_run_is_read_with_its_infinities_and_gaps(tmp_path: Path) -> None:
    def tell(clip: str, model: str, metric: str) -> float | None:
        return {"telea": math.inf, "auto": None}.get(model, 3.5)

    run = read_run(made_run(tmp_path / "run", tell=tell, videos=0))
    found = {(result.clip, result.model, result.metric): result for result in run.results}
    assert found["a/still", "telea", "psnr"].value == math.inf
    assert found["a/still", "auto", "psnr"].value is None
    assert found["a/still", "auto", "psnr"].frames == (None,) * FRAMES
    assert found["a/moving", "median", "psnr"].value == 3.5
    assert run.cases == ("still", "moving")
    assert [row.mean for row in run.rows if (row.model, row.metric, row.case) == ("telea", "psnr", None)] == [math.inf]
    assert (run.seed, run.seconds, run.protocol.settings["dilate"]) == (7, 61.0, 4)


def test_metrics_of_one_title_are_told_apart_by_region_then_key(tmp_path: Path) -> None:
    more = {"psnr-b": {**METRICS["psnr-hole"]}}
    run = read_run(made_run(tmp_path / "run", videos=0, metrics={**METRICS, **more}))
    titles = [metric.title for metric in run.metrics.values()]
    assert titles == ["PSNR", "PSNR, hole (psnr-hole)", "Flicker", "Change", "VFID", "PSNR, hole (psnr-b)"]


def half_line(folder: Path) -> None:
    lines = (folder / "results.jsonl").read_text()
    (folder / "results.jsonl").write_text(lines[:-20])


def swapped(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no run.json": (lambda folder: (folder / "run.json").unlink(), "run.json is missing"),
    "no summary": (lambda folder: (folder / "summary.json").unlink(), "summary.json is missing"),
    "a line cut off": (half_line, "results.jsonl line 24 is damaged"),
    "not UTF-8": (lambda folder: (folder / "run.json").write_bytes(b'{"a": "\xff"}'), "is damaged"),
    "a list": (lambda folder: (folder / "summary.json").write_text("[]"), "expected an object"),
    "seed as text": (swapped("run.json", '"seed": 7', '"seed": "7"'), "seed is '7', expected a whole number"),
    "other direction": (swapped("run.json", '"higher"', '"sideways"'), "expected higher or lower"),
    "a truth for a number": (swapped("run.json", '"seconds": 61.0', '"seconds": true'), "seconds is True, expected a number"),
    "a curve of words": (swapped("results.jsonl", '"frames": [', '"frames": ["x", '), "frames is"),
    "another run's model": (swapped("summary.json", '"telea"', '"ns"'), "value of 'ns' in 'psnr'"),
    "another run's clip": (swapped("results.jsonl", '"a/still"', '"b/still"'), "clip 'b/still'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_ends_in_one_line(tmp_path: Path, damage: str) -> None:
    folder = made_run(tmp_path / "run", videos=0)
    spoil, words = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(JobError, match=re.escape(words)) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="leads out of"):
        read_run(made_run(tmp_path / "run", models=("telea", "../../etc"), videos=0))


# ---- numbers


def test_decimals_follow_the_largest_value() -> None:
    assert [decimals([value]) for value in (34.4712, 0.9712, 1.0, 151.26, 3.2, 0.0, math.inf, None, 0.0012)] == [2, 4, 4, 1, 3, 0, 0, 0, 6]
    assert [written(34.4712, 2), written(None, 2), written(math.inf, 2), written(-math.inf, 2)] == ["34.47", "–", "∞", "−∞"]
    assert [written(-0.5, 1), written(-0.001, 1), written(0.00000123, 9)] == ["−0.5", "0.0", "1.23e-06"]
    assert [signed(0.5, 1), signed(-0.5, 1), signed(0.0, 1)] == ["+0.5", "−0.5", "0.0"]
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_the_best_respects_direction_ties_and_nothing_to_choose() -> None:
    higher = Metric("m", "M", "", "higher", "whole", "frame", "")
    lower = Metric("m", "M", "", "lower", "whole", "frame", "")

    def rows(*means: float | None) -> list[Row]:
        return [Row(name, "m", mean, None, None, 3, None) for name, mean in zip("abcd", means, strict=False)]

    assert best_of(rows(1.0, 3.0, 2.0), higher, 2) == {"b"}
    assert best_of(rows(1.0, 3.0, 2.0), lower, 2) == {"a"}
    assert best_of(rows(3.001, 3.004, 2.0), higher, 2) == {"a", "b"}  # equal to the last digit shown
    assert best_of(rows(3.001, 3.004, 2.0), higher, 3) == {"b"}
    assert best_of(rows(math.inf, 40.0, math.inf), higher, 2) == {"a", "c"}
    assert best_of(rows(0.0, 0.0, 0.0), lower, 2) == set()
    assert best_of(rows(5.0, None), higher, 2) == set()


def test_a_mean_over_fewer_clips_is_never_the_best(tmp_path: Path) -> None:
    def tell(clip: str, model: str, metric: str) -> float | None:
        return None if (model, clip) == ("auto", "a/moving") else {"telea": 1.0, "auto": 9.0, "median": 2.0}[model]

    run = read_run(made_run(tmp_path / "run", tell=tell, videos=0))
    psnr = columns(run)[0]
    assert psnr.metric.key == "psnr"
    assert psnr.cells[None]["auto"].partial
    assert [model for model, cell in psnr.cells[None].items() if cell.best] == ["median"]
    assert [model for model, cell in psnr.cells["still"].items() if cell.best] == ["auto"]  # there they have one clip each
    assert "**9.000**" not in run_markdown(run).split("**still, 1 clip**")[0]
    assert "† 1 clip" in run_markdown(run)


def test_columns_go_by_region_and_cases_without_values_are_left_out(tmp_path: Path) -> None:
    run = read_run(made_run(tmp_path / "run", videos=0))
    table = columns(run)
    assert [column.metric.key for column in table] == ["psnr", "flicker", "psnr-hole", "outside", "vfid"]
    assert [section.case for section in sections(run, table)] == [None, "still", "moving"]
    assert [section.case for section in sections(run, table[-1:])] == [None]  # of the whole set only
    wins, decided = firsts(table)
    assert decided == 3  # no model is better than another outside the hole and in VFID
    assert wins["median"] + wins["telea"] + wins["auto"] >= 3


# ---- Markdown


def test_markdown_says_what_was_measured_and_hides_no_markup(tmp_path: Path) -> None:
    clip = f"{NASTY.replace('/', '')}/still"
    run = read_run(made_run(tmp_path / "run", clips=(clip,), videos=0))
    text = run_markdown(run)
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<", outside)
    assert "Clips of 64x48." in text
    assert "higher is better ↑" in text
    assert "cd" * 32 in text
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    body = [line for line in text.splitlines() if line.startswith("| auto")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", head)) for line in body[:1])
    assert re.search(r"\*\*3\d\.\d\d\*\*", text)


def test_markdown_escapes() -> None:
    assert plain("a|b\n*c* <d> [e]") == r"a\|b \*c\* \<d\> \[e\]"
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"


# ---- plots


def test_a_thinned_curve_keeps_its_extremes_and_its_gaps() -> None:
    rng = np.random.default_rng(0)
    curve: list[float | None] = list(rng.normal(size=5000))
    curve[1234], curve[4321] = 99.0, -99.0
    curve[2000:2200] = [None] * 200
    points = thinned(curve, 120)
    assert len(points) <= 120
    assert [place for place, _ in points] == sorted(place for place, _ in points)
    assert {(1234, 99.0), (4321, -99.0)} <= set(points)
    assert any(value is None for _, value in points)
    assert all(curve[place] == value for place, value in points)
    assert thinned(curve[:120], 120) == list(enumerate(curve[:120]))


def test_a_model_looks_the_same_on_every_page_and_unlike_the_others() -> None:
    some, more = looks(["auto", "mine"]), looks(["telea", "mine", "other", "auto", "copy"])
    assert some["auto"] == more["auto"]
    assert len({look.colour for look in more.values()}) == 5
    assert len({look.colour for look in looks(HOUSE).values()}) == len({look.dashes for look in looks(HOUSE).values()}) == len(HOUSE)
    many = looks([*HOUSE, *"abcdefghij"])
    assert len(many) == 18


def test_a_curve_marks_what_is_infinite_and_draws_a_lone_point() -> None:
    metric = Metric("m", NASTY, "dB", "higher", "whole", "frame", "")
    plain_plot = curve_plot(metric, {"auto": [1.0, 2.0, 3.0]}, looks(["auto"]), "words")
    endless = curve_plot(metric, {"auto": [1.0, math.inf, 3.0, None]}, looks(["auto"]), 'words "two"')
    assert plain_plot.count("<use") < endless.count("<use")
    assert "<script" not in endless
    assert 'aria-label="words &quot;two&quot;"' in endless
    assert "映画" in endless
    assert "NaN" not in endless
    long: list[float | None] = list(np.random.default_rng(0).normal(30, 3, 2000))
    assert len(curve_plot(metric, dict.fromkeys(HOUSE[:5], long), looks(HOUSE), "words")) < 16_000


# ---- pictures


def test_key_frames_lie_where_the_models_differ_and_apart() -> None:
    maps = [np.full((4, 4), level, np.uint8) for level in (0, 9, 8, 1, 1, 0, 7, 0)]
    assert pick(maps, 2) == [1, 6]
    assert pick(maps, 1) == [1]
    assert pick(maps[:1], 3) == [0]


def test_panels_come_in_order_with_the_mask(tmp_path: Path) -> None:
    run = read_run(made_run(tmp_path / "run"))
    assert [panel.label for panel in panels(run, run.clips[0])] == ["truth", "given", "mask", "telea", "auto", "median"]
    assert panels(run, run.clips[1]) == []


# ---- the page


def test_the_page_shows_the_runs_numbers_and_pictures(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run")
    page, html = page_of(folder)
    check_alone(page, html)
    text = " ".join(page.text)
    for words in ("Part of every frame was hidden", "smearing the hole's rim", "higher is better", "cd" * 32, "a machine", "frame 4"):
        assert words in text or words in html, words
    run = read_run(folder)
    best = [cell.mean for column in columns(run) for cells in column.cells.values() for cell in cells.values() if cell.best]
    assert sorted(page.bold) == sorted(best)
    (video,) = page.values("video", "src")
    with av.open(io.BytesIO(base64.b64decode(video.partition(",")[2]))) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, len(frames)) == ("h264", "yuv420p", FRAMES)
        assert (frames[0].width, frames[0].height) == (3 * 64 + 2 * 4, 2 * (48 + 20) + 4)
        sheet = frames[4].to_ndarray(format="rgb24").astype(int)
    assert abs(sheet[20 + 24, 64 + 4 + 32] - 127).max() < 12  # the given clip's grey hole stands second
    pictures = page.values("img", "src")
    assert len(pictures) == 2 * 6  # two key frames; the square is most of the picture, so no close-up
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].partition(",")[2]))) as picture:
        assert picture.size == (64, 48)
    assert "The run kept no videos of this clip." in text
    assert not (folder / "media").exists()


def test_strange_names_stay_text(tmp_path: Path) -> None:
    clips = (f"{NASTY}/still", "äöü 映画/moving")
    page, html = page_of(made_run(tmp_path / "run", clips=clips, models=("telea", "mein $Modell$ <b>"), videos=2))
    check_alone(page, html)
    assert NASTY + "/still" in " ".join(page.text)
    assert "mein $Modell$ <b>" in " ".join(page.text)


@pytest.mark.parametrize(("clips", "models"), [(("one",), ("telea",)), (("one",), ("a", "b")), (("a/still", "b/still"), ("telea",))])
def test_small_runs(tmp_path: Path, clips: Sequence[str], models: Sequence[str]) -> None:
    page, html = page_of(made_run(tmp_path / "run", clips=clips, models=models))
    check_alone(page, html)
    if len(models) == 1:
        assert page.bold == []  # nobody to be better than


def test_infinite_and_missing_values_are_drawn_as_such(tmp_path: Path) -> None:
    def tell(clip: str, model: str, metric: str) -> float | None:
        return {"telea": math.inf, "auto": None}.get(model, len(clip) / 10)

    page, html = page_of(made_run(tmp_path / "run", tell=tell, videos=0))
    check_alone(page, html)
    text = " ".join(page.text)
    assert "∞" in text
    assert "infinite and not drawn" in text
    assert "nan" not in text.lower().split()


def test_a_run_where_nothing_was_measured_is_still_a_page(tmp_path: Path) -> None:
    page, html = page_of(made_run(tmp_path / "run", tell=lambda *_: None, videos=0))
    check_alone(page, html)
    assert page.tags["svg"] > 0  # the models' swatches; no plot has anything to show


def test_many_clips_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "MOST_CURVES", 1)
    clips = [f"clip-{number:02}/{case}" for number in range(20) for case in ("still", "moving")]
    page, html = page_of(made_run(tmp_path / "run", clips=clips, frames=400, videos=0))
    check_alone(page, html)
    assert len(html) < 1_500_000  # of curves, boxes and tables alone, so that 50 clips with their pictures stay below 20 MB
    assert page.tags["details"] == 40 + 2  # every value and the clips' hashes are folded too
    assert "Not drawn, for room: PSNR and Flicker" in html


def test_of_very_many_clips_some_have_pictures_and_all_have_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "MOST_CLIPS", 3)
    page, html = page_of(made_run(tmp_path / "run", clips=[f"clip-{number}" for number in range(9)], videos=0))
    check_alone(page, html)
    assert [name for name in page.ids if re.fullmatch(r"clip-\d+", name)] == ["clip-1", "clip-5", "clip-9"]
    assert "3 of the 9 clips" in html
    assert html.count('<th scope="row">clip-1</th>') == 3 + 1  # a line a model, and the clip's hash


def test_videos_beyond_the_budget_lie_beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_run(tmp_path / "run", clips=("a b/still", "映画/moving"), videos=2)
    monkeypatch.setattr(gallery_module, "VIDEO_BUDGET", 0)
    page, html = page_of(folder)
    check_alone(page, html)
    sources = page.values("video", "src")
    assert sources == ["media/001-a-b-still.mp4", "media/002-moving.mp4"]
    assert all((folder / source).stat().st_size > 500 for source in sources)
    monkeypatch.undo()
    page, _ = page_of(folder)
    assert all(source.startswith("data:video/mp4") for source in page.values("video", "src"))
    assert not (folder / "media").exists()


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run")
    (folder / "clips" / "a/still" / "auto.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableMedia, match=r"auto\.mp4"):
        write_reports(folder)
    assert not (folder / "report.html").exists()


def test_without_matplotlib_the_markdown_is_written_and_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made_run(tmp_path / "run", videos=0)
    found = importlib.util.find_spec
    monkeypatch.setattr("framefill.evaluation.report.find_spec", lambda name: None if name == "matplotlib" else found(name))
    with pytest.raises(JobError, match=re.escape("pip install 'framefill[eval]'")):
        write_reports(folder)
    assert "# Evaluation: completion" in (folder / "report.md").read_text()
    assert not (folder / "report.html").exists()


# ---- two runs


def test_a_comparison_says_who_is_better_and_what_else_differs(tmp_path: Path) -> None:
    first = read_run(made_run(tmp_path / "one", videos=0))
    second = read_run(
        made_run(tmp_path / "two", videos=0, seed=8, clips=("a/still", "b/still"), versions={"framefill": "9.9.9", "numpy": "3"})
    )
    rows = [
        Difference("auto", "psnr", 1.5, 0.5, 2.5, 0.01, 12),
        Difference("auto", "flicker", 0.3, 0.1, 0.5, 0.0004, 12),
        Difference("telea against auto", "psnr-hole", -0.2, -0.9, 0.5, 0.6, 12),
        Difference("auto", "outside", None, None, None, None, 0),
    ]
    metrics = second.metrics
    verdicts = [verdict(row, metrics[row.metric]) for row in rows]
    assert verdicts == ["second better", "first better", "no clear difference", "too few clips"]
    lines = " ".join(cautions((first, second)))
    for words in ("seeds are 7 and 8", "numpy: 2 in the first run, 3 in the second", "1 clip only in the first run", "a/moving", "b/still"):
        assert words in lines
    assert cautions((first, first)) == []
    assert write_comparison(rows, (first, second), tmp_path / "out") == [tmp_path / "out/compare.md", tmp_path / "out/compare.html"]
    text = (tmp_path / "out/compare.md").read_text()
    assert "+1.500 | +0.500 to +2.500 | 0.010 | 12 | **second better**" in text
    assert "&lt; 0.001" in text
    html = (tmp_path / "out/compare.html").read_text()
    page = Page(html)
    check_alone(page, html)
    assert page.bold == ["second better", "first better"]
    assert page.tags["figure"] == 3  # the row without a difference has no plot


def test_other_content_or_protocol_is_called_not_comparable(tmp_path: Path) -> None:
    first = read_run(made_run(tmp_path / "one", videos=0))
    changed = made_run(tmp_path / "two", videos=0, protocol={"name": "removal", "definition": [], "settings": {}})
    swapped("run.json", "ab" * 32, "ac" * 32)(changed)
    lines = cautions((first, read_run(changed)))
    assert sum(line.startswith("Not comparable") for line in lines) == 2


def test_a_metric_without_any_value_takes_no_room(tmp_path: Path) -> None:
    def tell(clip: str, model: str, metric: str) -> float | None:
        return None if metric == "flicker" else as_told(clip, model, metric)

    folder = made_run(tmp_path / "run", tell=tell, videos=0)
    page, html = page_of(folder)
    check_alone(page, html)
    assert [column.metric.key for column in columns(read_run(folder))] == ["psnr", "psnr-hole", "outside", "vfid"]
    assert "Flicker" not in html[html.index('id="results"') :]
