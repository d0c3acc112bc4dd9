"""Configs: what overrides what, and every mistake in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from framefill.errors import UsageError
from framefill.media.tasks import TASKS
from framefill.training.config import TrainConfig, differences, from_tree, known_keys, read_yaml, resolve, to_tree, to_yaml
from framefill.training.presets import PRESETS, get_preset


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("optim: {lr: 0.5, weight_decay: 0.25}\nrun:\n  batch: 6\n")
    config = resolve(get_preset("vdt-tiny"), file, ["--optim.lr", "1e-3", "--ema.sigma-rel=[0.2]", "--tasks.inpaint-box", "3"])
    assert (config.optim.lr, config.optim.weight_decay, config.run.batch) == (1e-3, 0.25, 6)
    assert config.ema.sigma_rel == (0.2,)
    assert config.tasks["inpaint-box"] == 3.0
    assert config.tasks["predict"] == get_preset("vdt-tiny").tasks["predict"]
    assert config.data == get_preset("vdt-tiny").data


def test_a_files_tasks_replace_the_presets(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tasks: {predict: 1}")
    assert resolve(get_preset("vdt-tiny"), file).tasks == {"predict": 1.0}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_yaml_and_name_real_tasks(name: str, tmp_path: Path) -> None:
    config = get_preset(name)
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert from_tree(read_yaml(file)) == config
    assert config.tasks.keys() <= TASKS.keys()
    assert config.run.name == name
    assert config.data.size % config.objective.mask_patch == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--optim.learning-rate", "1"], "unknown key optim.learning_rate in the command line"),
        (["--optim.weight-decy", "1"], "did you mean optim.weight_decay?"),
        (["--optin.lr", "1"], "did you mean optim?"),
        (["--tasks.predictt", "1"], "did you mean tasks.predict?"),
        (["--optim.lr", "fast"], "optim.lr is 'fast'"),
        (["--optim.kind", "rmsprop"], "optim.kind is 'rmsprop'"),
        (["--optim.lr"], "has no value"),
        (["--optim.lr", "--run.batch", "2"], "has no value"),
        (["--lr", "1"], "--section.key value"),
        (["stray"], "stray is no setting"),
        (["--run.batch", "0"], "run.batch is 0, expected 1 or more"),
        (["--optim.lr", "-1"], "optim.lr is -1.0, expected above 0"),
        (["--run.name", "a/b"], "plain name"),
        (["--tasks.predict", "-1"], "shares of 0 or more"),
        (["--data.shards", "x"], "need data.manifest"),
        (["--data.manifest", "m", "--data.shards", "x", "--data.latents", "y"], "give one of them"),
        (["--data.manifest", "m", "--data.latents", "y"], "model.prior motion guesses from pixels"),
        (["--optim.betas", "[0.9]"], "optim.betas"),
    ],
)
def test_mistakes_are_one_line_with_their_path(flags: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(get_preset("vdt-tiny"), None, flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: 1", "did you mean optim.lr?"),
        ("optim: 3", "optim in"),
        ("- a", "holds a list"),
        ("a: [", "is not YAML"),
        ("tasks: {walk: 1}", "unknown task tasks.walk"),
        ("data: {sizes: 3}", "did you mean data.size?"),
    ],
)
def test_mistakes_of_a_file_name_the_file(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve(TrainConfig(), file)
    assert words in str(caught.value)
    assert "bad.yaml" in str(caught.value)


def test_a_missing_file_and_an_unknown_preset() -> None:
    with pytest.raises(UsageError, match="No such file"):
        resolve(TrainConfig(), Path("nowhere.yaml"))
    with pytest.raises(UsageError, match="did you mean vdt-tiny"):
        get_preset("vdt-tinny")


def test_differences_tell_what_may_not_change() -> None:
    ours = get_preset("vdt-tiny")
    longer = replace(ours, run=replace(ours.run, samples=5, minutes=3.0), log=replace(ours.log, keep=9))
    assert differences(longer, ours) == []
    other = replace(ours, optim=replace(ours.optim, lr=0.5), tasks={"predict": 1.0})
    assert differences(other, ours)[0].split()[0] == "optim.lr"
    assert len(differences(other, ours)) == 1 + len(ours.tasks)


def test_every_leaf_is_a_known_key() -> None:
    tree = to_tree(get_preset("vdt-tiny"))
    leaves = {f"{section}.{key}" for section, values in tree.items() if section != "tasks" for key in values}  # type: ignore[union-attr]
    assert leaves | {"tasks.TASK"} == set(known_keys())
