"""Work in threads beside the main one: a bounded queue that carries items one way and errors the other.

An exception on either side ends both, and the order of items is the order in which they were put in, so that no timing can
change a result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")
WAKE = 0.1  # seconds between looks at whether the other side has given up


class Abandoned(Exception):
    """The other end of a lane is gone."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class Lane(Generic[T]):
    """A queue of at most `size` items between two threads; `close` ends it in order, `abandon` at once."""

    def __init__(self, size: int) -> None:
        self._queue: Queue[T | _End] = Queue(size)
        self._abandoned = threading.Event()

    def put(self, item: T) -> None:
        """Add an item, waiting for room; raises Abandoned when the reader is gone."""
        self._put(item)

    def close(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; an `error` is raised at the reader after the items before it."""
        self._put(_End(error))

    def abandon(self) -> None:
        """Stop both sides at their next look at the lane."""
        self._abandoned.set()

    def __iter__(self) -> Iterator[T]:
        while True:
            if self._abandoned.is_set():
                raise Abandoned
            try:
                item = self._queue.get(timeout=WAKE)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _put(self, item: T | _End) -> None:
        while not self._abandoned.is_set():
            try:
                self._queue.put(item, timeout=WAKE)
            except Full:
                continue
            return
        raise Abandoned


@contextmanager
def ahead(items: Iterable[T], size: int) -> Iterator[Iterator[T]]:
    """Iterate `items` in a thread, at most `size` items ahead of the reader; leaving the context stops the thread."""
    lane: Lane[T] = Lane(size)

    def work() -> None:
        try:
            for item in items:
                lane.put(item)
            lane.close()
        except Abandoned:
            pass
        except BaseException as error:  # handed to the reader, whatever it is
            _close_with(lane, error)

    thread = threading.Thread(target=work, name="framefill-read", daemon=True)
    thread.start()
    try:
        yield iter(lane)
    finally:
        lane.abandon()
        thread.join()


def _close_with(lane: Lane[T], error: BaseException) -> None:
    try:
        lane.close(error)
    except Abandoned:
        return


class Behind(Generic[T]):
    """A thread that runs `work(items)` on what is `put`, at most `size` items behind; its error is raised at the next `put`."""

    def __init__(self, work: Callable[[Iterator[T]], None], size: int) -> None:
        self._lane: Lane[T] = Lane(size)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="framefill-write", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand over one item, waiting for room."""
        try:
            self._lane.put(item)
        except Abandoned:
            self._raise()

    def finish(self) -> None:
        """Wait until every item is worked off."""
        try:
            self._lane.close()
        except Abandoned:
            self._raise()
        self._thread.join()
        self._raise()

    def stop(self) -> None:
        """End the thread without its remaining items; `work` sees Abandoned."""
        self._lane.abandon()
        self._thread.join()

    def _run(self, work: Callable[[Iterator[T]], None]) -> None:
        try:
            work(iter(self._lane))
        except Abandoned:
            pass
        except BaseException as error:  # raised again in the main thread
            self._error = error
            self._lane.abandon()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
