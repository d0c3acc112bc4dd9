"""The page that the demonstration ends in: the clips, the curves, what each task was given and made, the figures, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from framefill import __version__
from framefill.apps.demo import pictures
from framefill.apps.demo.measure import MEASURES, NET, NO_TRUTH, PLAIN, Filled, Scores
from framefill.apps.demo.recipe import RUN
from framefill.evaluation.report import words
from framefill.evaluation.report.markup import Attributes, Markup, element, joined
from framefill.evaluation.report.page import block, pairs_table, scrolling, whole_page
from framefill.evaluation.report.plots import legend, line_plot, looks
from framefill.evaluation.table import METRICS
from framefill.media.video import Frames
from framefill.training.config import TrainConfig, to_yaml
from framefill.training.journal import Record, curves_of

SHOWN = 2  # clips of each task
OWN = "framefill train vdt-tiny --data.manifest my-videos"
CURVES = {
    "loss": "Loss on the clips trained on",
    "task": "The same, by task",
    "validate/psnr-hole": "PSNR on held-out clips, dB",
}
TASK_WORDS = {
    "predict": "The first frames are known; what follows is made.",
    "backward": "The last frames are known; what led to them is made.",
    "interpolate": "Every few frames one is known, and the last; those between are made.",
    "single": "One frame is known. The hue and the ring are certain, which way the disc goes and how fast is anybody's guess.",
    "random": "Some frames are known, anywhere; the rest is made.",
    "generate": "Nothing is known: the clip is made up. It has no truth to be near to; the held-out clip below it is another one.",
    "completion": "Rectangles hide half of the picture. What they hide now, another frame often shows.",
}
METHOD_WORDS = {NET: "the net that was just trained.", **{name: words.MODELS[name] for name in PLAIN}}


@dataclass(frozen=True)
class Story:
    """What happened: the run's config and records, its clips, what was made of those held out, and how long each part took, in seconds."""

    config: TrainConfig
    parameters: int
    samples: int
    records: Sequence[Record]
    trained_on: Sequence[Frames]
    filled: Sequence[Filled]
    scores: Scores
    seconds: Mapping[str, float]
    machine: str
    folder: Path
    minutes: float

    @property
    def command(self) -> str:
        """The shell line that made this."""
        return shlex.join(["framefill", "demo", "--train", "--minutes", f"{self.minutes:g}", "--folder", str(self.folder)])


def demo_page(story: Story) -> str:
    """Return the whole page as HTML; it asks nothing of any network."""
    facts = [
        f"{story.parameters:,} parameters",
        f"{words.count(story.samples, 'clip')} seen in {words.duration(story.seconds['training'])} of training",
        words.count(len(story.filled), "task"),
        f"{words.duration(sum(story.seconds.values()))} in all",
    ]
    sections = [
        ("short", "In short", _short(story)),
        ("moving", "All tasks, moving", _moving(story)),
        ("clips", "The clips", _clips(story)),
        ("training", "The training", _training(story)),
        ("tasks", "Task by task", _tasks(story)),
        ("figures", "The figures", _figures(story)),
        ("next", "What to do next", _next(story)),
        ("repeat", "To repeat it", _repeat(story)),
    ]
    return whole_page("A net trained from nothing", " · ".join(facts), sections, __version__)


def _short(story: Story) -> Markup:
    lines = [
        "A small video diffusion transformer began with random weights and learned from procedural clips on this machine. One net does all "
        "the tasks below: each is only another mask over what is unknown."
    ]
    ahead = [task for task, methods in story.scores.items() if _psnr(methods, NET) > max(_psnr(methods, name) for name in PLAIN)]
    behind = [task for task in story.scores if task not in ahead]
    if ahead:
        lines.append(f"On clips that it never saw it is nearer to the truth than every plain method in {words.listed(ahead)}.")
    if behind:
        lines.append(f"A plain method is nearer in {words.listed(behind)}; more minutes bring it nearer.")
    return joined(*(element("p", {"class": "lead"}, line) for line in lines))


def _moving(story: Story) -> Markup:
    video: Attributes = {
        "controls": True,
        "loop": True,
        "muted": True,
        "playsinline": True,
        "preload": "metadata",
        "src": pictures.moving([(part, _middling(part)[0]) for part in story.filled]),
        "aria-label": "given, made and truth by each task",
    }
    names = words.listed([part.task for part in story.filled])
    text = f"Columns: {names}. Rows: what was given (striped: unknown), what was made, the truth."
    return joined(element("video", video, "Your browser cannot play H.264 video."), element("p", {"class": "note"}, text))


def _clips(story: Story) -> Markup:
    data = story.config.data
    text = (
        "A disc of any hue goes round the middle, either way, at a speed of its own: that simple because a net can learn it in minutes. "
        f"The clips are drawn by the program, {data.size}x{data.size} pixels, and lie beside this page in clips/ as files with a manifest, "
        "as footage of your own would. Below: some of those trained on, the first frames of each."
    )
    sheet = pictures.contact_sheet([clip[: data.frames] for clip in story.trained_on])
    return joined(
        element("p", {"class": "note"}, text),
        element("img", {"class": "film", "src": sheet, "alt": "Clips that were trained on, a row each"}),
    )


def _training(story: Story) -> Markup:
    groups = curves_of(list(story.records))
    if "loss" not in groups:
        return element("p", {"class": "note"}, "The run was too short for a curve.")
    tasks = looks([part.task for part in story.filled])
    plots = []
    for group, title in CURVES.items():
        if curves := groups.get(group):
            plots.append(line_plot(title, "clips seen", curves, {**tasks, **looks(["loss"])}, f"{title}, against clips seen"))
    text = (
        "The trainer is the one behind framefill train. The loss is the squared error of the net's estimate in what a mask hides, at noise "
        "levels drawn at random; each clip draws a task of its own. Measured and saved is the average of the weights over the last part "
        "of the run."
    )
    return joined(
        element("p", {"class": "note"}, text),
        legend(tasks),
        element("div", {"class": "plots"}, *(element("figure", {"class": "plot"}, plot) for plot in plots)),
    )


def _tasks(story: Story) -> Markup:
    text = (
        f"Of the {len(story.filled[0].cases)} clips held out those two, for each task, whose hole is nearest to the middle in size. "
        "Striped: unknown. Under an orange bar: a frame of which a part was unknown."
    )
    return joined(element("p", {"class": "note"}, text), *(_task(story, part) for part in story.filled))


def _middling(part: Filled) -> list[int]:
    """The clips' numbers, those first whose share of unknown pixels is nearest to the median of all."""
    shares = [float(case.mask.mean()) for case in part.cases]
    return sorted(range(len(shares)), key=lambda number: abs(shares[number] - median(shares)))


def _task(story: Story, part: Filled) -> Markup:
    figures = ""
    if methods := story.scores.get(part.task):
        figures = "PSNR of what was made: " + ", ".join(f"{name} {_psnr(methods, name):.1f} dB" for name in (NET, *PLAIN)) + "."
    films = []
    for number in _middling(part)[:SHOWN]:
        case, made = part.cases[number], part.made[number]
        assert case.truth is not None, "a held-out clip is its own truth"
        rows = [
            ("given", pictures.filmstrip(case.given, case.mask, hidden=True)),
            ("made", pictures.filmstrip(made, case.mask)),
            ("a held-out clip" if part.task == NO_TRUTH else "truth", pictures.filmstrip(case.truth)),
        ]
        films.append(element("div", {"class": "films"}, *(_film(part.task, number, name, source) for name, source in rows)))
    return joined(element("h3", {}, part.task), element("p", {"class": "note"}, f"{TASK_WORDS[part.task]} {figures}".strip()), *films)


def _film(task: str, number: int, name: str, source: str) -> Markup:
    picture = element("img", {"class": "film", "src": source, "alt": f"{task}, clip {number + 1}: {name}", "loading": "lazy"})
    return joined(element("span", {}, name), picture)


def _figures(story: Story) -> Markup:
    methods = (NET, *PLAIN)
    above, below = [element("th", {"scope": "col", "rowspan": 2}, "task")], []
    for measure in MEASURES:
        above.append(element("th", {"scope": "colgroup", "colspan": len(methods), "class": "part"}, _measure_title(measure)))
        below += [element("th", {"scope": "col", "class": "part" if name == NET else None}, name) for name in methods]
    rows = []
    for task, scores in story.scores.items():
        cells = [cell for measure, digits in MEASURES.items() for cell in _cells([scores[name][measure] for name in methods], digits)]
        rows.append(element("tr", {}, element("th", {"scope": "row"}, task), *cells))
    head = element("thead", {}, element("tr", {}, *above), element("tr", {}, *below))
    table = element("table", {"class": "figures"}, head, element("tbody", {}, *rows))
    count = len(story.filled[0].cases)
    note = (
        f"Only pixels that were unknown count: a mean over a clip's frames, then over {count} clips that were not trained on. A frame that "
        "is hit exactly counts as 100 dB: that is how bringing over what another frame shows comes to its mean in completion. generate has "
        "no truth, so there is no figure of this kind; FVD needs a network's weights, which this page does without."
    )
    said = [part for name in methods for part in (element("dt", {}, name), element("dd", {}, METHOD_WORDS[name]))]
    return joined(
        element("p", {"class": "note"}, note),
        scrolling(table, "Figures by task and method"),
        element("p", {}),
        element("dl", {"class": "models"}, *said),
    )


def _cells(values: Sequence[float], digits: int) -> list[Markup]:
    best = max(values)
    cells = []
    for value in values:
        text = words.written(value, digits)
        first = math.isclose(value, best)
        cells.append(element("td", {"class": "best" if first else None}, element("b" if first else "span", {}, text)))
    return cells


def _measure_title(name: str) -> str:
    metric = METRICS[name]
    return f"{metric.title}{', ' + metric.unit if metric.unit else ''} ↑"


def _next(story: Story) -> Markup:
    longer = 5 * story.minutes
    use = ["framefill", "predict", "VIDEO", "--frames", "8", "--model", str(story.folder / RUN / "model"), "-o", "longer.mp4"]
    steps = [
        (
            "Train on your own videos, with curves and samples while it runs:",
            "framefill train vdt-tiny --data.manifest my-videos --run.name mine",
        ),
        ("See first what it would take:", "framefill train vdt-tiny --data.manifest my-videos --dry-run"),
        (f"Let this net go on learning, {longer:g} minutes in all:", replace(story, minutes=longer).command),
        ("Let it say how your own clip goes on; it knows only discs, so expect no more than that:", shlex.join(use)),
    ]
    return joined(*(part for text, line in steps for part in (element("p", {}, text), element("pre", {"tabindex": 0}, line))))


def _repeat(story: Story) -> Markup:
    times = [(name, words.duration(seconds)) for name, seconds in story.seconds.items()]
    facts = [("machine", story.machine), ("framefill", __version__), ("parameters", f"{story.parameters:,}")]
    return joined(
        element("pre", {"tabindex": 0}, story.command),
        element("div", {"class": "facts-grid"}, block("Time", pairs_table(times)), block("Run", pairs_table(facts))),
        element("details", {}, element("summary", {}, "Every setting of the run"), element("pre", {"tabindex": 0}, to_yaml(story.config))),
    )


def _psnr(methods: Mapping[str, Mapping[str, float]], name: str) -> float:
    return methods[name]["psnr-hole"]
