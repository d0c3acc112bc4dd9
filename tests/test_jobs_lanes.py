"""Threads beside the main one: order is kept, errors cross over, nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from framefill.jobs.lanes import Behind, ahead


def test_items_come_in_order_and_not_far_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    with ahead(numbers(), 3) as items:
        for number in items:
            assert number <= made[-1] <= number + 5
    assert made == list(range(50))


def test_an_error_of_the_reader_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the file ends here")

    with ahead(broken(), 3) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="the file ends here"):
            next(items)


def test_leaving_early_ends_the_reading_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 0

    with ahead(endless(), 2) as items:
        next(items)
    assert "framefill-read" not in {thread.name for thread in threading.enumerate()}


def test_an_error_of_the_writer_is_raised_where_items_are_put() -> None:
    def work(items: Iterator[int]) -> None:
        next(items)
        raise OSError("disk full")

    behind = Behind(work, 2)
    with pytest.raises(OSError, match="disk full"):
        for number in range(100):
            behind.put(number)
    behind.stop()


def test_an_error_on_the_last_item_is_not_lost() -> None:
    def work(items: Iterator[int]) -> None:
        for _ in items:
            pass
        raise OSError("disk full")

    behind = Behind(work, 2)
    behind.put(1)
    with pytest.raises(OSError, match="disk full"):
        behind.finish()


def test_stopping_drops_what_waits() -> None:
    gate, seen = threading.Event(), []

    def work(items: Iterator[int]) -> None:
        for item in items:
            seen.append(item)
            gate.wait()

    behind = Behind(work, 5)
    for number in range(4):
        behind.put(number)
    threading.Timer(0.05, gate.set).start()
    behind.stop()
    assert len(seen) < 4
