"""Where an image-to-video net lies that a model's name asks for: `fff:FOLDER`, `fff:OWNER/NAME` of the hub; either with `auto+` before.

Nothing is ever downloaded here: a repository of the hub is one that was fetched before. Nothing here loads torch.
"""

from __future__ import annotations

import re
from pathlib import Path

from framefill.errors import MissingWeights, UsageError

FFF, AFTER_AUTO = "fff:", "auto+"
INDEX = "model_index.json"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_fff(name: str) -> bool:
    """Whether a model's name asks for an image-to-video net."""
    return name.removeprefix(AFTER_AUTO).startswith(FFF)


def source_of(name: str) -> Path:
    """The folder behind `fff:...` or `auto+fff:...`.

    Raises MissingWeights for a repository of the hub that is not on this machine, UsageError for what is neither that nor a folder.
    """
    source = name.removeprefix(AFTER_AUTO).removeprefix(FFF)
    if not source:
        raise UsageError(f"--model {name} names no weights; give {FFF}FOLDER or {FFF}OWNER/NAME of the hub")
    folder = Path(source)
    if (folder / INDEX).is_file():
        return folder
    if folder.exists():
        raise UsageError(f"{folder} holds no {INDEX}; give the folder of a pipeline, as the hub or framefill train has it")
    if not REPOSITORY.fullmatch(source):
        raise UsageError(f"no folder {source}, and it is no name of the hub either; give {FFF}FOLDER or {FFF}OWNER/NAME")
    fetched = _fetched(source)
    if fetched is None or not (fetched / INDEX).is_file():
        how = f'hf download {source} --include "*.json" "*.fp16.safetensors"'
        raise MissingWeights(f"{source} is neither a folder nor on this machine yet; get it with: {how}")
    return fetched


def _fetched(repository: str) -> Path | None:
    """The folder of a repository in the hub's cache, None where it is not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        return None
