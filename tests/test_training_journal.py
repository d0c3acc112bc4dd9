"""The journal of a run: lines that come again after a kill, half lines, curves."""

from __future__ import annotations

from pathlib import Path

from framefill.training.journal import Journal, curves_of, draw_curves


def test_resuming_drops_what_will_come_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, quiet=False)
    for samples in (8.0, 16.0, 24.0):
        journal.record({"samples": samples, "loss": 1.0 / samples})
    journal.resume(16)
    assert [record["samples"] for record in journal.records()] == [8, 16]


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path, quiet=False)
    journal.record({"samples": 8.0, "loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"samples": 16.0, "lo')
    assert journal.records() == [{"samples": 8.0, "loss": 1.0}]


def test_what_is_no_number_is_no_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path, quiet=False)
    journal.record({"samples": 8.0, "loss": float("nan"), "lr": 0.1})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"samples": 8.0, "lr": 0.1}\n'


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", quiet=True)
    journal.record({"samples": 8.0})
    journal.say("hello")
    journal.draw()
    assert not (tmp_path / "run").exists()


def test_curves_are_grouped(tmp_path: Path) -> None:
    records = [
        {"samples": 1.0, "lr": 0.1, "loss": 2.0, "task/predict": 3.0, "task/single": 1.0},
        {"samples": 2.0, "loss": 1.0, "task/predict": 0.1, "validate/psnr-hole/predict": 9.0},
    ]
    assert curves_of(records) == {
        "loss": {"loss": [(1, 2), (2, 1)]},
        "task": {"predict": [(1, 3), (2, 0.1)], "single": [(1, 1)]},
        "validate/psnr-hole": {"predict": [(2, 9)]},
        "lr": {"lr": [(1, 0.1)]},
    }
    draw_curves(records, tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
