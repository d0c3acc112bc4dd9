"""What stands in a pipeline's folder beside its nets: model_index.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # what JSON holds

from framefill.errors import WeightsError
from framefill.families.trained import INDEX


@contextmanager
def index_of(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Read the index of a pipeline of class `name`, for the block that makes the pipeline of it.

    Raises WeightsError for a folder without an index, one of another class, and where the block finds something missing or wrong in it.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["_class_name"] != name:
            raise WeightsError(f"{folder} holds a {index['_class_name']}, expected a {name}")
        yield index
    except OSError as error:
        raise WeightsError(f"no pipeline in {folder}: {error.strerror}; give a folder with {INDEX}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{folder / INDEX} is damaged or of another version: {error!r}") from error


def write_index(folder: Path, name: str, told: dict[str, object]) -> None:
    """Write the index that `index_of` reads."""
    (folder / INDEX).write_text(json.dumps({"_class_name": name, **told}, indent=2) + "\n", encoding="utf-8")
