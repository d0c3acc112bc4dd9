"""The report of an evaluation: Markdown to paste and one self-contained HTML page to look at, both made from a run's folder.

`write_reports` and `write_comparison` are all that the program calls. A page holds its styles, script, plots and pictures in itself
and asks nothing of any network (its own content policy forbids it); videos beyond a page's budget lie beside it in `media`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from framefill.errors import JobError

if TYPE_CHECKING:
    from framefill.evaluation.report.comparison import Difference
    from framefill.evaluation.report.read import Run


def write_reports(folder: str | Path) -> list[Path]:
    """Write `report.md` and `report.html` into a run's folder and return their paths.

    Raises `JobError` when the run is missing, half written or damaged, or when matplotlib is not installed (`report.md` is then
    written all the same), `UnwritableMedia` when the disk refuses.
    """
    from framefill.evaluation.report.markdown import run_markdown
    from framefill.evaluation.report.read import read_run

    run = read_run(folder)
    written = [write_text(run.folder / "report.md", run_markdown(run))]
    need_matplotlib("report.html")
    from framefill.evaluation.report.page import run_page

    return [*written, write_text(run.folder / "report.html", run_page(run))]


def write_comparison(rows: Sequence[Difference], runs: tuple[Run, Run], folder: str | Path) -> list[Path]:
    """Write `compare.md` and `compare.html` about the second run against the first into `folder`, made where it is missing.

    `rows` are the paired differences, second minus first. Raises as `write_reports` does.
    """
    from framefill.evaluation.report.comparison import comparison_markdown

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_text(folder / "compare.md", comparison_markdown(rows, runs))]
    need_matplotlib("compare.html")
    from framefill.evaluation.report.comparison import comparison_page

    return [*written, write_text(folder / "compare.html", comparison_page(rows, runs))]


def need_matplotlib(page: str) -> None:
    """Raise `JobError` where matplotlib, which draws the plots of `page`, is not installed."""
    if find_spec("matplotlib") is None:
        raise JobError(f"{page} was not written: its plots need matplotlib, which is not installed; pip install 'framefill[eval]'")


def write_text(path: Path, text: str) -> Path:
    """Write `text` under its name whole or not at all; the name is returned. Raises `UnwritableMedia`."""
    from framefill.media.part import Part

    # A file name that is not UTF-8 arrives with lone surrogates, which no encoding takes: they are shown as \udc80.
    with Part(path) as part:
        with part.writing():
            part.path.write_bytes(text.encode("utf-8", "backslashreplace"))
        part.keep()
    return path
