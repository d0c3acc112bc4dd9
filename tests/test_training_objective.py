"""The mask objective: what is drawn, what counts, and where gradients go."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training_kit import Squares, make_objective

from framefill.errors import UsageError
from framefill.media.tasks import TASKS
from framefill.media.tensors import to_tensor
from framefill.training.build import build_objective
from framefill.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from framefill.training.objective import MaskObjective, masked_loss, model_tensor, task_mask


def batch_of(*positions: int) -> dict[str, torch.Tensor]:
    clips = Squares()
    video = torch.stack([clips[position % 12]["video"] for position in positions])
    return {"video": video, "position": torch.tensor(positions)}


def test_known_positions_give_exactly_zero_gradient() -> None:
    made = torch.randn(2, 3, 2, 4, 4, requires_grad=True)
    unknown = (torch.rand(2, 3, 1, 4, 4) > 0.5).float()
    masked_loss(made, torch.randn(2, 3, 2, 4, 4), unknown, torch.ones(2)).sum().backward()
    assert made.grad is not None
    counted = unknown.expand_as(made) > 0
    assert torch.equal(made.grad[~counted], torch.zeros_like(made.grad[~counted]))
    assert (made.grad[counted] != 0).all()


def test_a_nan_at_a_known_position_reaches_nothing() -> None:
    made = torch.zeros(1, 1, 1, 1, 2, requires_grad=True)
    truth = torch.tensor([float("nan"), 1.0]).reshape(1, 1, 1, 1, 2)
    loss = masked_loss(made, truth, torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 1, 2), torch.ones(1))
    loss.sum().backward()
    assert loss.tolist() == [1.0]
    assert made.grad is not None
    assert made.grad.flatten().tolist() == [0.0, -2.0]


def test_the_loss_is_divided_by_what_is_unknown() -> None:
    """Errors of one everywhere: each sample's loss is 1, whether it hides one position or all."""
    made, truth = torch.ones(3, 4, 3, 8, 8), torch.zeros(3, 4, 3, 8, 8)
    unknown = torch.zeros(3, 4, 1, 8, 8)
    unknown[0, 0, 0, 0, 0] = 1
    unknown[1, :2] = 1
    unknown[2] = 1
    assert masked_loss(made, truth, unknown, torch.ones(3)).tolist() == pytest.approx([1, 1, 1])
    assert masked_loss(made, truth, unknown, torch.tensor([2.0, 3.0, 4.0])).tolist() == pytest.approx([2, 3, 4])


def test_weights_of_frames_count_for_their_frame() -> None:
    made, truth, unknown = torch.ones(1, 2, 1, 2, 2), torch.zeros(1, 2, 1, 2, 2), torch.ones(1, 2, 1, 2, 2)
    assert masked_loss(made, truth, unknown, torch.tensor([[1.0, 5.0]])).tolist() == [3.0]


def test_no_gradient_of_the_net_comes_from_known_frames() -> None:
    """What the truth is at known positions changes the condition, never the target: with the condition held, the loss is the same."""
    objective = make_objective(tasks={"predict": 1})
    name, mask = objective.mask_of(3, 4, 16, 16)
    assert name == "predict"
    losses = []
    for shift in (0, 50):
        batch = batch_of(3)
        objective._pipeline.prepare = _hold_condition(objective, batch_of(3)["video"], mask)  # type: ignore[method-assign]
        batch["video"][0][torch.from_numpy(~mask)] += shift
        losses.append(objective(batch)["loss"].item())
    assert losses[0] == losses[1]


def _hold_condition(objective, video, mask):
    pipeline = type(objective._pipeline)(objective.net)
    held = pipeline.prepare(model_tensor(video), torch.from_numpy(mask)[None, :, None].float(), torch.Generator())

    def prepare(video, mask, generator):
        return type(held)(video, held.keep)

    return prepare


def test_a_batch_is_its_samples() -> None:
    objective = make_objective(per_frame=0.5)
    together = objective(batch_of(4, 5, 6, 7))
    singles = [objective(batch_of(position)) for position in (4, 5, 6, 7)]
    assert together["loss"].item() == pytest.approx(np.mean([single["loss"].item() for single in singles]), rel=1e-5)
    for name in together:
        if name != "loss":
            total = torch.stack([single[name] for single in singles]).sum(0)
            assert together[name].tolist() == pytest.approx(total.tolist(), rel=1e-5)


def test_parts_add_up_to_the_loss() -> None:
    made = make_objective()(batch_of(*range(12)))
    for head in ("task/", "sigma/"):
        parts = torch.stack([made[name] for name in made if name.startswith(head)]).sum(0)
        assert float(parts[1]) == 12
        assert float(parts[0] / parts[1]) == pytest.approx(made["loss"].item(), rel=1e-5)


def test_the_seed_and_the_position_decide_everything() -> None:
    def loss(seed: int, position: int) -> float:
        batch = {**batch_of(2), "position": torch.tensor([position])}
        return make_objective(seed)(batch)["loss"].item()

    assert loss(1, 2) == loss(1, 2)
    assert loss(1, 2) != loss(1, 14)


def test_task_frequencies_are_their_shares() -> None:
    shares = {"predict": 0.2, "completion": 0.5, "single": 0.3, "random": 0.0}
    objective = make_objective(tasks=shares)
    draws = 4000
    counts = Counter(objective.mask_of(position, 4, 4, 4)[0] for position in range(draws))
    assert counts["random"] == 0
    for name, share in list(shares.items())[:3]:
        assert abs(counts[name] - share * draws) < 4 * np.sqrt(draws * share * (1 - share))


def test_predict_learns_from_every_number_of_known_frames() -> None:
    objective = make_objective(tasks={"predict": 1})
    known = Counter(int((~objective.mask_of(position, 8, 4, 4)[1][:, 0, 0]).sum()) for position in range(400))
    assert set(known) == set(range(1, 8))


@pytest.mark.parametrize("name", TASKS)
def test_masks_are_whole_cells_with_an_unknown(name: str) -> None:
    for seed in range(20):
        mask = task_mask(name, np.random.default_rng(seed), (5, 16, 24), 4)
        assert mask.shape == (5, 16, 24)
        assert mask.any()
        assert mask.all() == (name == "generate")
        cells = mask.reshape(5, 4, 4, 6, 4)
        assert (cells.all(axis=(2, 4)) | ~cells.any(axis=(2, 4))).all()


def test_per_frame_noise_gives_each_frame_a_level() -> None:
    objective = make_objective(per_frame=1.0)
    _, sigma = objective._draw([0, 1], torch.zeros(2, 4, 3, 16, 16))
    assert sigma.shape == (2, 4)
    assert len(set(sigma.flatten().tolist())) == 8
    _, sigma = make_objective(per_frame=1e-9)._draw([0, 1], torch.zeros(2, 4, 3, 16, 16))
    assert all(len(set(row.tolist())) == 1 for row in sigma)


def test_model_tensor_is_the_houses_own() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 1, 16, 16, 3)
    assert torch.equal(model_tensor(torch.from_numpy(levels)), to_tensor(levels))


def test_latents_take_the_same_way() -> None:
    objective = make_objective(tasks={"predict": 1, "single": 1}, patch=1)
    latents = model_tensor(batch_of(2, 3)["video"])
    assert objective({"latents": latents, "position": torch.tensor([2, 3])})["loss"].item() == objective(batch_of(2, 3))["loss"].item()


def test_a_batch_may_say_its_tasks() -> None:
    objective = make_objective()
    for number, name in enumerate(objective.tasks):
        parts = objective({**batch_of(1, 2, 3), "task": torch.full((3,), number)})
        assert float(parts[f"task/{name}"][1]) == 3


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="uint8 B T H W 3"):
        model_tensor(torch.zeros(1, 2, 3, 4, 4))
    with pytest.raises(UsageError, match="unknown task walk"):
        make_objective(tasks={"walk": 1})
    with pytest.raises(UsageError, match="mask_patch"):
        make_objective(patch=5).mask_of(0, 4, 16, 16)
    with pytest.raises(UsageError, match="share above 0"):
        make_objective(tasks={"predict": 0})
    with pytest.raises(UsageError, match="checkpointing"):
        make_objective().save_activations()


def paper(**model: object) -> MaskObjective:
    options = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "patch_size": 4}
    config = TrainConfig(
        data=DataConfig(frames=4, size=16),
        model=ModelConfig(**{"net": "vdt-s2-paper", "process": "eps", "options": options, **model}),
        tasks={"predict": 1.0},
        objective=ObjectiveConfig(density="uniform"),
    )
    objective = build_objective(config)
    assert isinstance(objective, MaskObjective)
    generator = torch.Generator().manual_seed(1)
    for parameter in objective.net.parameters():
        parameter.data.normal_(0, 0.1, generator=generator)
    return objective


def test_a_learned_variance_is_trained_by_the_bound_and_by_it_alone() -> None:
    """VDT's published form: 2 C channels come out, of which the squared error sees the first C and the bound the others."""
    batch = {"video": torch.randint(0, 256, (3, 4, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)}
    batch["position"] = torch.arange(3)
    objective, plain = paper(), paper()
    plain._bound = None
    parts, without = objective(batch), plain(batch)
    total, count = parts["bound/bits"].tolist()
    assert count == 3
    assert float(parts["loss"].detach()) == pytest.approx(float(without["loss"].detach()) + total / 3, rel=1e-5)
    assert parts["task/predict"].tolist() == without["task/predict"].tolist()
    for part in (parts, without):
        part["loss"].backward()
    ours, theirs = (each.net.out.weight.grad.view(4, 4, 6, -1) for each in (objective, plain))
    assert torch.allclose(ours[:, :, :3], theirs[:, :, :3], atol=1e-7), "the estimate's own weights see the squared error alone"
    assert theirs[:, :, 3:].abs().max() == 0
    assert ours[:, :, 3:].abs().amax((0, 1, 3)).min() > 0


def test_the_ancestral_sampler_takes_the_variance_that_was_learned() -> None:
    objective = paper()
    clip, mask = np.full((4, 16, 16, 3), 90, np.uint8), np.zeros((4, 16, 16), np.bool_)
    mask[2:] = True

    def made(method: str, variance: float) -> NDArray[np.uint8]:
        with torch.no_grad():
            objective.net.out.weight.view(4, 4, 6, -1)[:, :, 3:] = 0
            objective.net.out.bias.view(4, 4, 6)[:, :, 3:] = variance
        generator = torch.Generator().manual_seed(0)
        return objective._pipeline(clip, mask, num_inference_steps=3, generator=generator, method=method).frames

    assert not np.array_equal(made("ancestral", -1.0), made("ancestral", 1.0))
    assert np.array_equal(made("euler", -1.0), made("euler", 1.0))
    assert np.array_equal(made("ancestral", 1.0)[:2], clip[:2])


def test_a_learned_variance_without_steps_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.process flow does not have; set model\.process eps"):
        paper(process="flow")
