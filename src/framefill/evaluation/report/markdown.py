"""The report as Markdown: what was measured, the table, what it does not say, and how to repeat it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from framefill.evaluation.report import words
from framefill.evaluation.report.read import Region, Run
from framefill.evaluation.report.table import Cell, Column, Section, cells_of, columns, regions, sections


def run_markdown(run: Run) -> str:
    """Return the whole report of a run, in GitHub's Markdown."""
    table = columns(run)
    parts = [
        f"# Evaluation: {plain(run.protocol.name)}",
        _facts(run),
        "## What was measured",
        words.task(run.protocol.name) or "",
        "The protocol, in its own words:",
        bullets(plain(line) for line in run.protocol.definition),
        "Models:",
        bullets(f"**{plain(model)}**: {words.model(model)}" for model in run.models),
        "Metrics:",
        bullets(
            f"**{plain(metric.title)}** ({words.direction(metric)}{f', in {plain(metric.unit)}' if metric.unit else ''}; "
            f"{words.REGIONS[metric.region].lower()}; {words.PER_WORDS[metric.per]}): {plain(metric.about)}"
            for metric in run.metrics.values()
        ),
        "## Results",
        *(part for region, chosen in regions(table) for part in _region(run, region, chosen)),
        "## How to read this",
        bullets(_reading(table)),
        "## Notes of the run" if run.notes else "",
        bullets(plain(note) for note in run.notes),
        "## To repeat it",
        fenced(run.command),
        lines([("seed", str(run.seed)), ("machine", run.machine), ("time", words.duration(run.seconds))]),
        lines(("setting " + name, json.dumps(value, ensure_ascii=False)) for name, value in run.protocol.settings.items()),
        lines(("version of " + name, version) for name, version in run.versions.items()),
        lines(("weights " + name + ", sha256", digest) for name, digest in run.weights.items()),
        lines(("clip " + clip.name + ", sha256", clip.sha256) for clip in run.clips),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers; the cells are Markdown already."""
    rows = [head, [":--", *["--:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no markup, no HTML, no table border."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", " ".join(text.split()))


def bullets(items: Iterable[str]) -> str:
    """Return a list; the items are Markdown already."""
    return "\n".join(f"* {item}" for item in items)


def lines(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values, the values as code."""
    return bullets(f"{plain(name)}: {code(value)}" for name, value in pairs)


def code(text: str) -> str:
    """Return text as inline code whatever backticks it holds."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text else "–"


def fenced(text: str) -> str:
    """Return text as a block of code whatever backticks it holds."""
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _facts(run: Run) -> str:
    frames = sum(clip.frames for clip in run.clips)
    return f"{words.count(len(run.clips), 'clip')}, {words.count(frames, 'frame')}, {words.count(len(run.models), 'model')}."


def _region(run: Run, region: Region | None, chosen: Sequence[Column]) -> list[str]:
    head = ["model", *(plain(words.heading(column.metric)) for column in chosen)]
    parts = [f"### {words.REGIONS[region]}", words.REGION_WORDS[region]]
    found = sections(run, chosen)
    for section in found:
        if len(found) > 1:
            parts.append(f"**{plain(section_title(run, section))}**")
        parts.append(markdown_table(head, ([plain(model), *map(_cell, cells)] for model, cells in section.lines)))
    return parts


def section_title(run: Run, section: Section) -> str:
    """`all 12 clips` or `still, 6 clips`."""
    if section.case is None:
        return f"all {words.count(len(run.clips), 'clip')}"
    return f"{section.case}, {words.count(sum(clip.case == section.case for clip in run.clips), 'clip')}"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    mean = f"**{cell.mean}**" if cell.best else cell.mean
    interval = f" ({cell.interval})" if cell.interval else ""
    return f"{mean}{interval}" + (f" † {words.count(cell.clips, 'clip')}" if cell.partial else "")


def _reading(table: Sequence[Column]) -> list[str]:
    """Return the notes that the table needs, and none that it does not."""
    cells = list(cells_of(table))
    notes = [words.INTERVAL.replace("under a mean", "in parentheses"), words.BEST]
    if any("∞" in cell.mean for cell in cells):
        notes.append(words.INFINITE)
    if any(cell.partial for cell in cells):
        notes.append(words.PARTIAL)
    notes.append(
        "Numbers of other protocols, other mask sets, other SSIM windows or other feature networks are not comparable with these, "
        "even where the metric has the same name."
    )
    return notes
