"""Two runs against each other: paired differences over the clips that both have, and whether the runs may be compared at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framefill.evaluation.report import words
from framefill.evaluation.report.markdown import bullets, fenced, markdown_table, plain
from framefill.evaluation.report.markup import Markup, element, joined
from framefill.evaluation.report.read import Metric, Region, Run
from framefill.evaluation.report.table import ORDER

HEAD = ("metric", "model", "difference", "95 % interval", "p", "clips", "verdict")
CLEAR = 0.05  # p below which one run is called better
READING = (
    "Every difference is the second run minus the first, clip by clip on the clips that both runs have, then the mean. "
    "The range is its 95 % interval: where it leaves out 0, the difference is unlikely to be luck of the clips.",
    f"p is the chance of a difference at least as large if the runs were equally good. “Better” is said where p is below {CLEAR}.",
)


@dataclass(frozen=True)
class Difference:
    """The mean paired difference, second run minus first, of a model in a metric over `clips` clips.

    `low`, `high` bound its 95 % interval, `p` is the test's p-value; each None where there are too few clips for it. `mean` is None
    where no clip has a finite value in both runs.
    """

    model: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    clips: int


def comparison_markdown(rows: Sequence[Difference], runs: tuple[Run, Run]) -> str:
    """Return the comparison in GitHub's Markdown."""
    first, second = runs
    parts = [
        f"# Comparison: {plain(second.protocol.name)}",
        bullets([f"first: {plain(str(first.folder))}", f"second: {plain(str(second.folder))}"]),
        "## Differences between the runs themselves",
        bullets(map(plain, cautions(runs))) or "None: same protocol, settings, clips, seed, versions and weights.",
        "## Results",
        bullets([*READING, *_chance(rows)]),
    ]
    for region in ORDER:
        body = [_line(row, metric) for metric, row in _in_region(rows, runs, region)]
        if body:
            parts += [f"### {words.REGIONS[region]}", markdown_table(HEAD, body)]
    parts += ["## To repeat the runs", fenced(first.command), fenced(second.command)]
    return "\n\n".join(parts) + "\n"


def comparison_page(rows: Sequence[Difference], runs: tuple[Run, Run]) -> str:
    """Return the comparison as one HTML page that needs nothing else."""
    from framefill.evaluation.report.page import whole_page

    first, second = runs
    caution = cautions(runs)
    notes = element("ul", {"class": "notes"}, *(element("li", {}, line) for line in caution)) if caution else Markup("")
    sections = [
        ("short", "In short", _short(rows, runs)),
        ("notes", "What differs between the runs themselves", notes),
        ("results", "Results", _tables(rows, runs)),
        ("plots", "The same as a picture", _plots(rows, runs)),
        ("repeat", "To repeat the runs", joined(*(element("pre", {"tabindex": 0}, run.command) for run in runs))),
    ]
    facts = f"first: {first.folder} · second: {second.folder}"
    return whole_page(f"Comparison: {second.protocol.name}", facts, sections, second.versions.get("framefill", ""))


def metrics_of(runs: tuple[Run, Run]) -> Mapping[str, Metric]:
    """Return the metrics that both runs have."""
    return {key: metric for key, metric in runs[1].metrics.items() if key in runs[0].metrics}


def _in_region(rows: Sequence[Difference], runs: tuple[Run, Run], region: Region | None) -> list[tuple[Metric, Difference]]:
    metrics = [metric for metric in metrics_of(runs).values() if metric.region == region]
    return [(metric, row) for metric in metrics for row in rows if row.metric == metric.key]


def cautions(runs: tuple[Run, Run]) -> list[str]:
    """Say in lines what else differs between two runs than their results: each is a reason to doubt a difference."""
    first, second = runs
    lines = []
    if first.protocol.name != second.protocol.name:
        lines.append(f"Not comparable: the protocols are {first.protocol.name} and {second.protocol.name}.")
    elif first.protocol.definition != second.protocol.definition:
        lines.append("Not comparable as they stand: the protocol's definition is not the same in both runs.")
    lines += _changes("Setting", *(_texts(run.protocol.settings) for run in runs))
    one, other = ({clip.name: clip.sha256 for clip in run.clips} for run in runs)
    changed = [name for name in one if name in other and one[name] != other[name]]
    if changed:
        lines.append(f"Not comparable: {words.count(len(changed), 'clip')} of the same name but other content: {_some(changed)}.")
    alone = [name for name in one if name not in other], [name for name in other if name not in one]
    for run, names in zip(("first", "second"), alone, strict=True):
        if names:
            lines.append(f"{words.count(len(names), 'clip')} only in the {run} run, left out: {_some(names)}.")
    if first.seed != second.seed:
        lines.append(f"The seeds are {first.seed} and {second.seed}.")
    return lines + _changes("Version of", first.versions, second.versions) + _changes("Weights", first.weights, second.weights)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if names[5:] else "")


def _texts(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: json.dumps(value, ensure_ascii=False) for name, value in settings.items()}


def _changes(what: str, first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    return [f"{what} {name}: {first.get(name, 'none')} in the first run, {second.get(name, 'none')} in the second." for name in names]


def verdict(row: Difference, metric: Metric) -> str:
    """`second better`, `first better`, `no clear difference` or, without a p-value, `too few clips`."""
    if row.p is None or row.mean is None:
        return "too few clips"
    if row.p >= CLEAR or row.mean == 0:
        return "no clear difference"
    return "second better" if (row.mean > 0) == (metric.better == "higher") else "first better"


def _figures(row: Difference) -> tuple[str, str, str]:
    """The difference, its interval and p as they are shown."""
    digits = words.decimals((row.mean, row.low, row.high))
    interval = "–" if row.low is None or row.high is None else f"{words.signed(row.low, digits)} to {words.signed(row.high, digits)}"
    p = "–" if row.p is None else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
    return words.signed(row.mean, digits), interval, p


def _line(row: Difference, metric: Metric) -> list[str]:
    difference, interval, p = _figures(row)
    found = verdict(row, metric)
    strong = f"**{found}**" if found.endswith("better") else found
    return [plain(words.heading(metric)), plain(row.model), difference, interval, p.replace("<", "&lt;"), str(row.clips), strong]


def _chance(rows: Sequence[Difference]) -> list[str]:
    tests = sum(row.p is not None for row in rows)
    expected = round(CLEAR * tests)
    return [f"There are {tests} tests here: between equal runs about {expected} of them would look clear by chance."] if expected else []


def _short(rows: Sequence[Difference], runs: tuple[Run, Run]) -> Markup:
    metrics = metrics_of(runs)
    found = [verdict(row, metrics[row.metric]) for row in rows]
    parts = [(found.count(kind), kind) for kind in ("second better", "first better", "no clear difference", "too few clips")]
    line = "; ".join(f"{kind}: {number}" for number, kind in parts if number)
    return joined(
        element("p", {"class": "lead"}, f"Of {words.count(len(rows), 'difference')} – {line}."),
        *(element("p", {"class": "note"}, note) for note in (*READING, *_chance(rows))),
    )


def _tables(rows: Sequence[Difference], runs: tuple[Run, Run]) -> Markup:
    from framefill.evaluation.report.page import scrolling

    parts: list[Markup] = []
    for region in ORDER:
        body = []
        for metric, row in _in_region(rows, runs, region):
            found = verdict(row, metric)
            clear = found.endswith("better")
            cells = [element("td", {}, cell) for cell in (row.model, *_figures(row), str(row.clips))]
            cells.append(element("td", {"class": "best" if clear else None}, element("b" if clear else "span", {}, found)))
            body.append(element("tr", {}, element("th", {"scope": "row"}, words.heading(metric)), *cells))
        if body:
            head = element("tr", {}, *(element("th", {"scope": "col"}, title) for title in HEAD))
            table = element("table", {"class": "figures differences"}, element("thead", {}, head), element("tbody", {}, *body))
            parts += [element("h3", {}, words.REGIONS[region]), scrolling(table, words.REGIONS[region])]
    return joined(*parts)


def _plots(rows: Sequence[Difference], runs: tuple[Run, Run]) -> Markup:
    from framefill.evaluation.report.plots import difference_plot, looks

    shown = looks(list(dict.fromkeys(row.model for row in rows)))
    plots = []
    for metric in metrics_of(runs).values():
        mine = [(row.model, row.mean, row.low, row.high) for row in rows if row.metric == metric.key and row.mean is not None]
        if mine:
            said = "; ".join(f"{row.model} {_figures(row)[0]} ({_figures(row)[1]})" for row in rows if row.metric == metric.key)
            about = f"{metric.title} ({metric.key}): mean paired difference with its 95 % interval. {said}"
            drawing = difference_plot(metric, mine, shown, about)
            plots.append(element("figure", {"class": "plot"}, drawing, element("figcaption", {}, words.REGIONS[metric.region])))
    return element("div", {"class": "plots"}, *plots) if plots else Markup("")
