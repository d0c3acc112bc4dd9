"""Which tasks a mask stands for, and the windows of a long clip that is made from known frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefill.errors import UsageError
from framefill.families.chain import chain
from framefill.families.known import HOLES, refuse_untrained, tasks_of
from framefill.media.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_every_mask_that_a_task_draws_may_be_filled_by_a_net_trained_on_it(task: str) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        mask = TASKS[task](rng, int(rng.integers(2, 17)), 12, 16)
        assert task in tasks_of(mask)
        refuse_untrained(mask, [task], "this net")


@pytest.mark.parametrize(
    ("unknown", "tasks"),
    [
        ("00111", {"predict", "random"}),
        ("01111", {"single", "predict", "random"}),
        ("11100", {"backward", "random"}),
        ("11110", {"single", "backward", "random"}),
        ("11011", {"single", "random"}),
        ("01010", {"interpolate", "random"}),
        ("01101", {"random"}),
        ("11111", {"generate"}),
        ("00000", set()),
    ],
)
def test_tasks_of_whole_frames(unknown: str, tasks: set[str]) -> None:
    flags = np.array([flag == "1" for flag in unknown])
    assert set(tasks_of(np.repeat(flags, 20).reshape(5, 4, 5))) == tasks


def test_a_still_frame_around_the_picture_is_outpainting_and_a_hole_is_not() -> None:
    mask = np.ones((3, 10, 12), np.bool_)
    mask[:, 2:8, 3:9] = False
    assert tasks_of(mask) == ("outpaint", *HOLES)
    assert "inpaint-box" in tasks_of(~mask)
    mask[1, 2:8, 3:9] = True
    assert "outpaint" not in tasks_of(mask)


def unknown_at(pattern: str) -> np.ndarray:
    return np.repeat(np.array([flag == "1" for flag in pattern]), 4).reshape(1, -1, 2, 2)


def spans(pattern: str, length: int, overlap: int) -> list[tuple[int, int, int]]:
    return [(window.start, window.stop, window.known_stop) for window in chain(unknown_at(pattern), length, overlap)]


def test_windows_end_at_known_frames_where_one_comes_later() -> None:
    assert spans("0001000100010", 8, 2) == [(0, 7, 0), (5, 13, 7)]
    assert spans("0111011101110", 8, 2) == [(0, 5, 0), (1, 9, 5), (5, 13, 9)]


def test_what_comes_before_the_first_known_frame_is_made_backwards_from_it() -> None:
    windows = list(chain(unknown_at("1111111111111100"), 8, 2))
    assert [(window.start, window.stop, window.keep_start, window.keep_stop) for window in windows] == [
        (14, 16, 14, 16),
        (8, 16, 8, 14),
        (2, 10, 2, 8),
        (0, 8, 0, 2),
    ]
    assert spans("11111100", 8, 2) == [(0, 8, 0)], "one window needs no order"


def test_windows_are_full_where_no_known_frame_comes() -> None:
    assert spans("0111111111111", 8, 2) == [(0, 8, 0), (5, 13, 8)]
    assert spans("01111111111111111110", 8, 2) == [(0, 8, 0), (6, 14, 8), (12, 20, 14)]


@given(
    st.lists(st.booleans(), min_size=1, max_size=50).map(lambda flags: "".join("01"[flag] for flag in flags)),
    st.integers(1, 12),
    st.integers(0, 11),
)
def test_every_frame_is_made_once_with_the_overlap_known(pattern: str, length: int, overlap: int) -> None:
    if overlap >= length:
        with pytest.raises(UsageError, match="overlap"):
            spans(pattern, length, overlap)
        return
    windows = list(chain(unknown_at(pattern), length, overlap))
    made: set[int] = set()
    for window in windows:
        kept, seen = set(range(window.keep_start, window.keep_stop)), set(range(window.start, window.stop))
        assert kept
        assert kept <= seen - made
        assert len(seen) <= length
        assert len(seen & made) >= min(overlap, len(made))
        made |= kept
    assert made == set(range(len(pattern)))
