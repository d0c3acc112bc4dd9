"""The report: one self-contained HTML page that shows what a run did, for people who want to see it before they believe it.

`write_report` is all that the program calls. The page holds its styles, script and pictures in itself, asks nothing of any
network (its own content policy forbids it), and reads well without the script, on paper and on a phone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framefill.jobs.record import RunRecord


def write_report(record: RunRecord, path: str | Path, *, command: str | None = None) -> Path:
    """Write the page about `record` to `path` and return that path; a page that cannot be finished leaves nothing there.

    `command` is the shell line that gives the same result again; it is shown for copying. The same record gives the same bytes.
    Raises UnwritableMedia when the folder is missing or closed, or the disk is full.
    """
    from framefill.apps.report.page import render
    from framefill.media.part import Part

    # A file name that is not UTF-8 arrives with lone surrogates, which no encoding takes: they are shown as \udc80.
    page = render(record, command).encode("utf-8", "backslashreplace")
    target = Path(path)
    with Part(target) as part:
        with part.writing():
            part.path.write_bytes(page)
        part.keep()
    return target
