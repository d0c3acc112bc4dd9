"""The protocols by name."""

from __future__ import annotations

import difflib

from framefill.errors import UsageError
from framefill.evaluation.protocols import completion, frames, generation, paired
from framefill.evaluation.protocols.base import Protocol, SetProtocol

PROTOCOLS: dict[str, Protocol | SetProtocol] = {
    protocol.name: protocol
    for protocols in (completion.PROTOCOLS, paired.PROTOCOLS, frames.PROTOCOLS, generation.PROTOCOLS)
    for protocol in protocols
}


def get_protocol(name: str) -> Protocol | SetProtocol:
    """Return a protocol by name; `fvdCOUNT_LENGTHf[_sSTRIDE]` names one for every count and length. Raises UsageError."""
    found = PROTOCOLS.get(name) or generation.by_name(name)
    if found is None:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROTOCOLS)}"
        raise UsageError(f"no protocol is called {name!r}; {hint}")
    return found
