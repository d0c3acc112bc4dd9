"""The loss of FFF-VDI: its identities, its draws, what it leaves alone, and what of a net it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from fff_kit import tiny_pipeline
from fff_training_kit import FRAMES, SIZE, TASKS, batch, clips, density, make_loader, make_objective, weight

from framefill.families.fff.pipeline import FFFPipeline
from framefill.training.config import FffConfig
from framefill.training.dataflow import Share
from framefill.training.fff_lora import bare
from framefill.training.fff_objective import Guided, mode_of
from framefill.training.objective import MaskDraws, Noise


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 20.0, 700.0])
def test_the_weighted_error_is_that_of_v_in_double_precision(sigma: float) -> None:
    """lambda (D - x0)^2 = (F - v*)^2 with v* = (n - s x0) / sqrt(s^2 + 1), the target of Stable Video Diffusion."""
    torch.manual_seed(0)
    x0, noise, output = (torch.randn(2, 3, 4, 4, 4, dtype=torch.float64) for _ in range(3))
    levels = torch.full((2,), sigma, dtype=torch.float64)
    pipeline = tiny_pipeline(clip=False)
    x = pipeline.process.noised(x0, noise, levels)
    scales = pipeline.process.scales(levels)
    estimate = scales.c_skip[0] * x - scales.c_out[0] * output  # the net says minus the target
    target = (noise - sigma * x0) / (sigma**2 + 1) ** 0.5
    weighted = weight(levels)[0] * (estimate - x0).square().mean()
    torch.testing.assert_close(weighted, (output - target).square().mean(), rtol=1e-5, atol=0)


def test_noise_levels_have_the_published_distributions() -> None:
    """Means within three standard errors, deviations too (their own standard error is s / sqrt(2 n))."""
    objective, count = make_objective(), 3000
    _, sigma = objective.drawn(range(count), torch.zeros(count, 1, 1, 1, 1))
    shown = np.array([objective.strength(position) for position in range(count)])
    for values, mean, deviation in ((np.log(sigma.double().numpy()), 0.7, 1.6), (np.log(shown), -3.0, 0.5)):
        assert values.mean() == pytest.approx(mean, abs=3 * deviation / count**0.5)
        assert values.std() == pytest.approx(deviation, abs=3 * deviation / (2 * count) ** 0.5)


def test_dropout_is_of_three_kinds_that_exclude_each_other() -> None:
    objective, count = make_objective(), 4000
    kinds = [objective.drops(position) for position in range(count)]
    for kind, share in (("token", 0.1), ("both", 0.1), ("image", 0.1), ("none", 0.7)):
        assert kinds.count(kind) / count == pytest.approx(share, abs=3 * (share * (1 - share) / count) ** 0.5)


def test_a_batch_is_its_samples_one_by_one() -> None:
    """Noise level, noise on what is shown, time ids, mask and dropout are a sample's own; so are its motion and its loss."""
    objective = make_objective(FffConfig(dropout=0.33), clip=True, pipeline=tiny_pipeline(awake=True, window=FRAMES, size=SIZE)).eval()
    count = 4
    together = batch(count)
    tasks = objective._tasks_of(together, range(count))
    whole = objective.prepared(together, tasks, range(count), torch.device("cpu"))
    _, sigma = objective.drawn(range(count), whole.x0)
    assert len(set(sigma.tolist())) == count
    strengths = [objective.strength(position) for position in range(count)]
    assert whole.cond["ids"].tolist() == [[6.0, 127.0, pytest.approx(strength)] for strength in strengths]
    assert len(set(strengths)) == count
    assert len({objective.drops(position) for position in range(count)}) > 1
    with torch.no_grad():
        alone = [objective({key: value[n : n + 1] for key, value in together.items()})["loss"] for n in range(count)]
        loss = objective(together)["loss"]
    torch.testing.assert_close(loss, torch.stack(alone).mean(), rtol=1e-4, atol=1e-6)
    for n in range(count):
        kind, cond = objective.drops(n), whole.cond
        assert bool(cond["token"][n].any()) == (kind in ("image", "none"))
        assert bool(cond["image"][n].any()) == (kind in ("token", "none"))


def test_noise_of_later_frames_is_trained_on_where_the_mode_latent_begins_with_it() -> None:
    fff = FffConfig(train="temporal", refiner=False, noise="propagated", dropout=0.0)
    objective, shown = make_objective(fff).eval(), batch(3)
    still = {**shown, "video": shown["video"][:, :1].expand_as(shown["video"]).contiguous()}
    mask = torch.zeros(3, FRAMES, SIZE, SIZE, dtype=torch.bool)
    mask[:, 0, 4:12, 4:12] = True  # nothing moves, and the next frame shows what lies there
    together = {**still, "mask": mask}
    noise = torch.randn(3, FRAMES, 4, SIZE // 2, SIZE // 2, generator=torch.Generator().manual_seed(0))
    carried = objective._carried(noise, together, mask.unsqueeze(2).float())
    assert torch.equal(carried[:, 0, :, 2:6, 2:6], noise[:, 1, :, 2:6, 2:6])
    assert torch.equal(carried[:, 1:], noise[:, 1:])
    assert torch.equal(carried[:, 0, :, 6:], noise[:, 0, :, 6:])
    with torch.no_grad():
        loss = objective(together)["loss"]
        alone = [objective({key: value[n : n + 1] for key, value in together.items()})["loss"] for n in range(3)]
        torch.testing.assert_close(loss, torch.stack(alone).mean(), rtol=1e-4, atol=1e-6)
        assert float((make_objective(replace(fff, noise="own")).eval()(together)["loss"] - loss).abs()) > 1e-4


@pytest.mark.parametrize(
    ("fff", "mode"),
    [
        (FffConfig(), "feature"),
        (FffConfig(train="all", refiner=False), "off"),
        (FffConfig(train="all", refiner=False, noise="propagated"), "latent"),
        (FffConfig(train="all", refiner=False, shown="first"), "off"),
    ],
)
def test_a_net_fills_by_the_mode_that_it_was_trained_by(fff: FffConfig, mode: str) -> None:
    assert mode_of(fff) == mode


def test_what_is_hidden_reaches_the_target_alone() -> None:
    objective = make_objective(FffConfig(dropout=0.0), clip=True)
    shown = batch(2)
    tasks = objective._tasks_of(shown, range(2))
    masks = objective._masks(tasks, range(2), torch.Size((2, FRAMES, 3, SIZE, SIZE)), 1)
    other = torch.where(masks.permute(0, 1, 3, 4, 2) > 0, 255 - shown["video"], shown["video"])
    one, two = (objective.prepared({**shown, "video": video}, tasks, range(2), torch.device("cpu")) for video in (shown["video"], other))
    for name in ("image", "token", "ids"):
        assert torch.equal(one.cond[name], two.cond[name]), name
    assert torch.equal(one.motion.there, two.motion.there)
    assert not torch.equal(one.x0, two.x0)


def test_a_loaders_workers_find_what_is_found_here() -> None:
    objective = make_objective()
    loader = make_loader()
    found = next(loader.batches(Share(0, 2, 2)))
    assert set(found) >= {"mask", "there", "back", "task"}
    bare_batch = {"video": found["video"], "position": found["position"]}
    with torch.no_grad():
        theirs, ours = objective(found), objective(bare_batch)
    assert torch.equal(theirs["loss"], ours["loss"])
    assert {name: part.tolist() for name, part in theirs.items()} == {name: part.tolist() for name, part in ours.items()}


@pytest.mark.parametrize("train", ["release", "refiner", "temporal", "all", "lora"])
def test_only_what_is_chosen_learns(train: str) -> None:
    """The refiner's last convolution is zero at first: it alone of the refiner moves in the first step, the rest from the second on."""
    if train == "lora":
        pytest.importorskip("peft")
    objective = make_objective(FffConfig(train=train)).train()
    before = {name: p.detach().clone() for name, p in objective.net.named_parameters()}
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=1e-2)
    moved: list[set[str]] = []
    for step in range(2):
        objective(batch(1, step))["loss"].backward()
        moved.append({name for name, p in objective.net.named_parameters() if p.grad is not None and bool(p.grad.any())})
        optimizer.step()
        optimizer.zero_grad()
    refiner = {name for name in moved[0] if name.startswith("noise_refiner")}
    if train != "temporal":
        assert refiner == {"noise_refiner.fuse.2.weight", "noise_refiner.fuse.2.bias"}
        assert any(name.startswith("noise_refiner.backbone") for name in moved[1])
    parts = {
        "release": ("temporal_transformer_block", "noise_refiner"),
        "refiner": ("noise_refiner",),
        "temporal": ("temporal_transformer_block",),
    }
    parts |= {"all": ("",), "lora": ("lora_", "noise_refiner")}
    for name in moved[0] | moved[1]:
        assert any(part in name for part in parts[train]), name
    for name, p in objective.net.named_parameters():
        if not any(part in name for part in parts[train]):
            assert torch.equal(p, before[name]), name
            assert not p.requires_grad


def test_frozen_nets_stay_frozen_and_in_evaluation_mode() -> None:
    objective = make_objective(clip=True).train()
    pipeline = objective._pipeline
    nets = {"vae": pipeline.vae, "clip": pipeline.embedder.net}
    before = {f"{kind}.{name}": value.clone() for kind, net in nets.items() for name, value in net.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-2)
    for step in range(3):
        objective(batch(1, step))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.train()
    for kind, net in nets.items():
        assert not any(module.training for module in net.modules())
        assert all(torch.equal(value, before[f"{kind}.{name}"]) for name, value in net.state_dict().items())
        assert not any(name.startswith(kind) for name, _ in objective.named_parameters())


def test_computing_activations_again_changes_nothing() -> None:
    found = []
    for again in (False, True):
        objective = make_objective(FffConfig(train="all"), pipeline=tiny_pipeline(awake=True, clip=False, window=FRAMES, size=SIZE)).train()
        if again:
            objective.save_activations()
        loss = objective(batch(1))["loss"]
        loss.backward()
        found.append((loss.detach(), [p.grad for p in objective.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert len(found[0][1]) == len(found[1][1]) > 100
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_net_from_one_frame_is_shown_that_frame_for_all() -> None:
    objective = make_objective(FffConfig(train="all", shown="first", refiner=False, dropout=0.0))
    prepared = objective.prepared(batch(2), ["moving-box"] * 2, range(2), torch.device("cpu"))
    image = prepared.cond["image"]
    assert torch.equal(image, image[:, :1].expand_as(image))
    assert prepared.motion is None
    changed = batch(2)
    changed["video"][:, 1:] = 0
    assert torch.equal(objective.prepared(changed, ["moving-box"] * 2, range(2), torch.device("cpu")).cond["image"], image)
    video, mask = clips(1)[0].numpy(), np.zeros((FRAMES, SIZE, SIZE), np.bool_)
    mask[1:] = True
    hidden = np.where(mask[..., None], np.uint8(9), video)
    made = objective.eval().fill(video, mask, 2, 0)
    assert np.array_equal(made[0], video[0])
    assert np.array_equal(made, objective.fill(hidden, mask, 2, 0))
    assert not np.array_equal(made, objective.fill(video, mask, 2, 1))


def test_companions_that_rest_elsewhere_change_nothing() -> None:
    """On a CPU all places are one; a GPU holds autoencoder and image encoder only while they work."""
    ours, theirs = (make_objective(clip=True, offload=offload) for offload in (False, True))
    theirs.place(torch.device("cpu"))
    with torch.no_grad():
        assert torch.equal(ours(batch(2))["loss"], theirs(batch(2))["loss"])
    where: list[str] = []
    theirs._held._companions = lambda device: where.append(str(device))  # type: ignore[method-assign]
    theirs.prepared(batch(1), ["moving-box"], [0], torch.device("cpu"))
    assert where == ["cpu", "cpu"]


def test_a_lora_is_saved_as_an_ordinary_net(tmp_path) -> None:
    pytest.importorskip("peft")
    objective = make_objective(FffConfig(train="lora", refiner=False))
    with torch.no_grad():
        for name, p in objective.net.named_parameters():
            if "lora_" in name:
                p.normal_(std=0.1)
    names = [name for name, _ in objective.net.named_parameters()]
    given = (torch.randn(1, 2, 8, 8, 8), torch.ones(1), torch.randn(1, 1, 32), torch.rand(1, 3))
    with torch.no_grad():
        ours = objective.net.eval()(*given).sample
        with bare(objective.net):
            assert not any("lora" in name for name, _ in objective.net.named_parameters())
        objective.export(tmp_path)
        saved = FFFPipeline.from_pretrained(tmp_path)
        theirs = saved.unet(*given).sample
    assert [name for name, _ in objective.net.named_parameters()] == names
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_one_clip_is_learnt_by_heart() -> None:
    """The loss at fixed draws falls to a fifth or less; the sampler's upper levels, where nothing can be learnt but the mean, left out."""

    def levels(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.full(shape, 1.0)

    objective = make_objective(FffConfig(train="all", dropout=0.0), noise=Noise(levels, weight)).train()
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=2e-3)
    clip = clips(1)
    fixed = {"video": clip.repeat(4, 1, 1, 1, 1), "position": torch.arange(1000, 1004)}

    def loss() -> float:
        with torch.no_grad():
            return float(objective(fixed)["loss"])

    before = loss()
    for step in range(80):
        objective({"video": clip, "position": torch.tensor([step])})["loss"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert loss() < before / 5


def test_the_draws_of_a_worker_are_those_of_the_objective() -> None:
    objective, guided = make_objective(seed=3), Guided(MaskDraws(TASKS, 3, 1), None)
    for position in range(6):
        task, mask = objective.mask_of(position, FRAMES, SIZE, SIZE)
        made = guided(position, {"video": clips(1)[0]})
        assert list(TASKS)[int(made["task"])] == task
        assert np.array_equal(made["mask"].numpy(), mask)
        assert set(made) == {"task", "mask"}


def test_noise_follows_from_the_position_and_the_seed() -> None:
    x0 = torch.zeros(2, 1, 1, 4, 4)
    ours, theirs = make_objective(seed=1).drawn([4, 5], x0), make_objective(seed=2).drawn([4, 5], x0)
    assert not torch.equal(ours[0][0], ours[0][1])
    assert not torch.equal(ours[0], theirs[0])
    assert torch.equal(make_objective(seed=1).drawn([5], x0[:1])[0][0], ours[0][1])
    assert density((3,), torch.Generator().manual_seed(1)).tolist() == density((3,), torch.Generator().manual_seed(1)).tolist()


def test_half_precision_of_what_is_frozen_is_what_was_asked_for() -> None:
    objective = make_objective(FffConfig(train="refiner", frozen="bf16"))
    kinds = {name: p.dtype for name, p in objective.net.named_parameters()}
    assert kinds["noise_refiner.fuse.0.weight"] == torch.float32
    assert kinds["conv_out.weight"] == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(batch(1))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
