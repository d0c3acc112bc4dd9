"""Stable Video Diffusion as an inpainter: what its net is told, its process against diffusers', and what a call gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline  # noqa: E402
from fff_kit import clip_with_hole, saved, tiny_clip, tiny_pipeline, tiny_unet, tiny_vae  # noqa: E402

from framefill.diffusion.noise import normal  # noqa: E402
from framefill.diffusion.precond import Precond  # noqa: E402
from framefill.diffusion.samplers import sample  # noqa: E402
from framefill.errors import MaskMismatch, UsageError, WeightsError  # noqa: E402
from framefill.families.fff.flow import flows_of  # noqa: E402
from framefill.families.fff.pipeline import FFFPipeline, Levels  # noqa: E402
from framefill.families.fff.saved import STOCK_SCHEDULER  # noqa: E402
from framefill.families.fff.token import Embedder, shrunk  # noqa: E402
from framefill.media.tasks import TASKS  # noqa: E402
from framefill.media.tensors import mask_to_tensor, to_tensor  # noqa: E402

SIDE = 16
LISTED = (  # the 25 levels of SVD's sampler
    700, 545.7, 421.6, 322.5, 244.0, 182.5, 134.9, 98.3, 70.5, 49.8, 34.5, 23.5, 15.6, 10.1, 6.35, 3.87, 2.27, 1.27, 0.678, 0.339, 0.157,
    0.0664, 0.0248, 0.0079, 0.002,
)  # fmt: skip


@pytest.fixture(scope="module")
def pipeline() -> FFFPipeline:
    return tiny_pipeline(awake=True, steps=1)


@pytest.fixture(scope="module")
def clip() -> tuple[np.ndarray, np.ndarray]:
    return clip_with_hole(4, SIDE, SIDE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scheduler(steps: int) -> EulerDiscreteScheduler:
    told = {key: value for key, value in STOCK_SCHEDULER.items() if key != "_class_name"}
    made = EulerDiscreteScheduler(**told, sigma_min=0.002, sigma_max=700.0)
    made.set_timesteps(steps)
    return made


def test_the_ladder_is_that_of_svds_own_sampler() -> None:
    ladder = Levels().ladder(25)
    assert ladder[:-1].numpy() == pytest.approx(LISTED, rel=6e-3)
    assert ladder.numpy() == pytest.approx(scheduler(25).sigmas.double().numpy(), rel=1e-4)
    assert float(ladder[0]) == pytest.approx(700, rel=1e-9)
    assert float(ladder[-2]) == pytest.approx(0.002, rel=1e-9)
    assert float(ladder[-1]) == 0


@pytest.mark.parametrize("step", range(5))
def test_an_estimate_is_what_diffusers_makes_of_the_nets_output(pipeline: FFFPipeline, step: int) -> None:
    stock = scheduler(5)
    x, made = normal((1, 2, 4, 3, 3), seeded()) * float(stock.sigmas[step]), normal((1, 2, 4, 3, 3), seeded(1))
    seen = []

    def net(scaled: torch.Tensor, noise_level: torch.Tensor) -> torch.Tensor:
        seen.append((scaled, noise_level))
        return -made

    x0 = Precond(net, pipeline.process)(x, stock.sigmas[step : step + 1])
    time = stock.timesteps[step]
    assert torch.allclose(seen[0][0], stock.scale_model_input(x, time), rtol=1e-5)
    assert torch.allclose(seen[0][1], time, rtol=1e-5)
    assert torch.allclose(x0, stock.step(made, time, x).pred_original_sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 2.01, 46.3, 700.0])
def test_the_weighted_loss_on_estimates_is_that_on_v(pipeline: FFFPipeline, sigma: float) -> None:
    x0, noise, made = (normal((2, 3, 4, 5, 5), seeded(seed)).double() for seed in range(3))
    level = torch.full((2,), sigma, dtype=torch.float64)
    process = pipeline.process
    v = (noise - sigma * x0) / (1 + sigma**2) ** 0.5
    assert torch.allclose(process.target(x0, noise, level), -v, rtol=1e-12)
    estimate = Precond(lambda *_: -made, process)(process.noised(x0, noise, level), level)
    weighted = ((1 + sigma**2) / sigma**2 * (estimate - x0) ** 2).mean()
    assert float(weighted) == pytest.approx(float(((made - v) ** 2).mean()), rel=1e-5)


def test_without_a_hole_it_is_svds_own_pipeline() -> None:
    """A refiner that has learnt nothing, the first frame repeated, no hole: the same latents from the same noise."""
    ours = tiny_pipeline()
    picture = clip_with_hole(1, 32, 32)[0]
    video = to_tensor(picture).repeat(1, 3, 1, 1, 1)
    encoder, vae = tiny_clip(), tiny_vae()

    class Colours:
        """The part of CLIP's image processor that is asked for."""

        def __call__(self, images: torch.Tensor, **_: object) -> object:
            from types import SimpleNamespace

            embedder = Embedder(encoder)
            mean, deviation = (torch.tensor(part).view(1, 3, 1, 1) for part in (embedder.mean, embedder.deviation))
            return SimpleNamespace(pixel_values=(images - mean) / deviation)

    stock = StableVideoDiffusionPipeline(vae, encoder, tiny_unet(), scheduler(3), Colours())
    stock.set_progress_bar_config(disable=True)
    noise = normal((1, 3, 4, 16, 16), seeded())
    image = (video[:, 0] + 1) / 2
    latents = stock(
        image, 32, 32, 3, 3, latents=noise.clone(), noise_aug_strength=0.0, output_type="latent", generator=seeded(), max_guidance_scale=3.0
    ).frames
    with torch.no_grad():
        prepared = ours.prepare(video, torch.zeros(1, 3, 1, 32, 32), noise_aug_strength=0.0)
        assert prepared.motion is not None
        ladder = ours.levels.ladder(3)
        start = noise * (1 + float(ladder[0]) ** 2) ** 0.5
        made = sample(ours.denoise(prepared), start, ladder, process=ours.process, guide=ours.guide(prepared, (1.0, 3.0)))
    assert latents.std() > 0.1
    assert float((made - latents).abs().max()) <= 1e-5 * float(latents.abs().max())


def test_guidance_in_two_calls_is_guidance_in_one_batch(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    video, mask = to_tensor(clip[0]), mask_to_tensor(clip[1])
    with torch.no_grad():
        prepared = pipeline.prepare(video, mask, seeded())
        cond, null, motion = prepared.cond, prepared.null_cond, prepared.motion
        x, level = normal(prepared.x0.shape, seeded(1)), torch.tensor([0.3])
        alone = [
            pipeline.unet(torch.cat((x, one["image"]), 2), level, one["token"], one["ids"], guide=motion).sample for one in (null, cond)
        ]
        both = {name: torch.cat((null[name], cond[name])) for name in cond}
        shown = torch.cat((x.repeat(2, 1, 1, 1, 1), both["image"]), 2)
        batch = pipeline.unet(shown, level.repeat(2), both["token"], both["ids"], guide=motion).sample
    assert torch.allclose(torch.cat(alone), batch, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3), "the condition changes nothing"


def test_what_the_net_is_told(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    video, mask = to_tensor(clip[0]).repeat(2, 1, 1, 1, 1), mask_to_tensor(clip[1]).repeat(2, 1, 1, 1, 1)
    strength = torch.tensor([0.02, 0.5])
    prepared = pipeline.prepare(video, mask, noise_aug_strength=strength)
    assert prepared.x0.shape == prepared.cond["image"].shape == (2, 4, 4, SIDE // 2, SIDE // 2)
    assert prepared.cond["ids"].tolist() == [[6, 127, pytest.approx(0.02)], [6, 127, 0.5]]
    assert torch.equal(prepared.null_cond["ids"], prepared.cond["ids"])
    assert not prepared.null_cond["image"].any()
    assert not prepared.null_cond["token"].any()
    scale = pipeline.vae.config.scaling_factor
    with torch.no_grad():
        mean = pipeline.vae.encode(video[0]).latent_dist.mean
        grey = pipeline.vae.encode((video * (mask == 0))[0]).latent_dist.mean
    assert torch.allclose(prepared.x0[0], mean * scale, atol=1e-6)
    assert torch.allclose(prepared.cond["image"][0], grey, atol=1e-6), "of the masked frames, and not scaled"
    noise = torch.ones_like(video)
    told = pipeline.prepare(video, mask, noise=noise, noise_aug_strength=strength).cond["image"]
    with torch.no_grad():
        louder = pipeline.vae.encode((video * (mask == 0) + 0.5)[1]).latent_dist.mean
    assert torch.allclose(told[1], louder, atol=1e-5), "noise of its own strength for each clip, in the hole too"
    drawn = [pipeline.prepare(video, mask, [seeded(3), seeded(4)]) for _ in range(2)]
    assert torch.equal(drawn[0].cond["image"], drawn[1].cond["image"])
    assert not torch.equal(drawn[0].x0[0], drawn[0].x0[1]), "each clip draws for itself"


def test_a_thin_hole_makes_every_latent_it_touches_unknown_and_soft_masks_are_hard(pipeline: FFFPipeline) -> None:
    video = to_tensor(clip_with_hole(2, SIDE, SIDE)[0])
    mask = torch.zeros(1, 2, 1, SIDE, SIDE)
    mask[:, 0, :, 5, :] = 0.3
    prepared = pipeline.prepare(video, mask)
    unknown = prepared.keep.mask
    assert unknown[0, 0, 0, 2].eq(1).all()
    assert unknown.sum() == SIDE // 2
    hard = pipeline.prepare(video, (mask > 0).float())
    assert torch.equal(prepared.cond["image"], hard.cond["image"])


@pytest.mark.parametrize("mode", ["feature", "latent", "off"])
def test_what_is_hidden_reaches_nothing_that_the_net_is_told(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray], mode: str) -> None:
    frames, mask = clip
    other = np.where(mask[..., None], 255 - frames, frames)
    told = [pipeline.prepare(to_tensor(one), mask_to_tensor(mask), fff_mode=mode) for one in (frames, other)]
    assert not torch.equal(told[0].x0, told[1].x0), "training's target is the clip itself"
    for key in told[0].cond:
        assert torch.equal(told[0].cond[key], told[1].cond[key])
    assert np.array_equal(told[0].first, told[1].first)
    assert (told[0].motion is None) == (mode != "feature")
    if told[0].motion is not None:
        assert all(torch.equal(getattr(told[0].motion, name), getattr(told[1].motion, name)) for name in ("mask", "there", "back"))
    made = [pipeline(one, mask, generator=seeded(), fff_mode=mode).frames for one in (frames, other)]
    assert np.array_equal(made[0][mask], made[1][mask])


def test_the_token_is_of_the_first_frame_filled_from_later_ones(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(6, 32, 48, step=4)
    mask = np.zeros_like(mask)
    mask[0, 8:24, 8:20] = True
    filled = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask), fff_mode="latent")
    smooth = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask), fff_mode="off")
    truth = frames[0].astype(float)
    errors = [np.abs(one.first[0] - truth)[mask[0]].mean() for one in (filled, smooth)]
    assert errors[0] < errors[1] / 2
    assert torch.allclose(filled.cond["token"], pipeline.embedded(filled.first))
    known = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask), flows=[flows_of(frames, mask)], fff_mode="latent")
    assert np.array_equal(known.first, filled.first)


def test_each_mode_makes_something_else_and_the_same_seed_the_same(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(5, SIDE, SIDE, step=3)
    made = {mode: pipeline(frames, mask, generator=seeded(), fff_mode=mode).frames for mode in ("feature", "latent", "off")}
    again = pipeline(frames, mask, generator=seeded(), fff_mode="feature").frames
    assert np.array_equal(made["feature"], again)
    assert not np.array_equal(made["feature"], made["latent"])
    assert not np.array_equal(made["feature"], made["off"])
    assert not np.array_equal(made["latent"], made["off"])
    assert not np.array_equal(pipeline(frames, mask, generator=seeded(1), fff_mode="feature").frames, again)
    for frames_made in made.values():
        assert np.array_equal(frames_made[~mask], frames[~mask])


def test_every_keyword_changes_what_is_made(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    frames, mask = clip
    usual = pipeline(frames, mask, generator=seeded()).frames
    for change in (
        {"num_inference_steps": 2},
        {"max_guidance_scale": 6.0},
        {"min_guidance_scale": 2.0},
        {"invert_until": 30.0},
        {"keep_known": False},
        {"match_colours": False},
        {"first_frame": 7},
        {"decode_chunk_size": 1},
    ):
        made = pipeline(frames, mask, generator=seeded(), **change).frames
        assert not np.array_equal(made, usual) or change == {"decode_chunk_size": 1}, change
        assert np.array_equal(made[~mask], frames[~mask])


def test_the_nets_evaluations_are_counted(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    """The public release spends as many again on an inversion that inverts nothing: 50 calls of two for 25 steps."""
    frames, mask = clip
    asked = []
    hook = pipeline.unet.register_forward_hook(lambda *_: asked.append(1))
    try:
        guided = pipeline(frames, mask, generator=seeded(), num_inference_steps=3)
        assert guided.evaluations == len(asked) == 6
        plain = pipeline(frames, mask, generator=seeded(), num_inference_steps=3, max_guidance_scale=1.0)
        assert plain.evaluations == 3
        inverted = pipeline(frames, mask, generator=seeded(), num_inference_steps=3, max_guidance_scale=1.0, invert_until=10.0)
        assert inverted.evaluations == 5, "the way up ends a level earlier: the lowest is taken to be clean"
    finally:
        hook.remove()


def test_known_latents_are_held_in_every_step(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    frames, mask = clip
    levels, seen = [], []

    def after(step: int, sigma: torch.Tensor, x: torch.Tensor, x0: torch.Tensor) -> None:
        levels.append(float(sigma.max()))
        seen.append(x0)

    pipeline(frames, mask, generator=seeded(), num_inference_steps=3, callback_on_step_end=after)
    known = ~torch.from_numpy(mask.reshape(4, SIDE // 2, 2, SIDE // 2, 2).any((2, 4)))
    assert levels[-1] == 0
    for x0 in seen[1:]:
        assert torch.equal(x0[0].movedim(1, -1)[known], seen[0][0].movedim(1, -1)[known])
        assert not torch.equal(x0, seen[0])


@pytest.mark.parametrize("size", [(37, 53), (5, 3), (1, 1), (18, 16)], ids=lambda size: f"{size[1]}x{size[0]}")
def test_any_size_comes_back_with_its_known_pixels(pipeline: FFFPipeline, size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:, : (size[0] + 1) // 2, : (size[1] + 1) // 2] = True
    mask[0, -1, -1] = size != (1, 1)
    everything = FFFPipeline(pipeline.unet, pipeline.vae, pipeline.embedder, tasks=list(TASKS), window=6, steps=1)
    made = everything(frames, mask, generator=seeded()).frames
    assert made.shape == frames.shape
    assert np.array_equal(made[~mask], frames[~mask])


def test_masks_without_and_with_everything(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray]) -> None:
    frames, mask = clip
    nothing = pipeline(frames, np.zeros_like(mask), generator=seeded())
    assert nothing.evaluations == 0
    assert np.array_equal(nothing.frames, frames)
    everything = FFFPipeline(pipeline.unet, pipeline.vae, pipeline.embedder, tasks=list(TASKS), window=6, steps=1)
    all_of_it = np.ones_like(mask)
    made = [everything(one, all_of_it, generator=seeded()).frames for one in (frames, 255 - frames)]
    assert np.array_equal(made[0], made[1])
    some = mask.copy()
    some[1:3] = False
    made = [pipeline(frames, some, generator=seeded()).frames]
    assert np.array_equal(made[0][1:3], frames[1:3])


def test_one_frame_alone(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(1, SIDE, SIDE)
    for mode in ("feature", "latent", "off"):
        assert np.array_equal(pipeline(frames, mask, generator=seeded(), fff_mode=mode).frames[~mask], frames[~mask])


def test_in_half_the_precision_on_a_cpu(clip: tuple[np.ndarray, np.ndarray]) -> None:
    frames, mask = clip
    small = tiny_pipeline(awake=True).to("cpu", torch.bfloat16)
    assert next(small.unet.parameters()).dtype == torch.bfloat16
    made = small(frames, mask, generator=seeded()).frames
    assert made[mask].std() > 0
    assert np.array_equal(made[~mask], frames[~mask])


def test_parts_are_on_the_device_only_while_they_work(monkeypatch: pytest.MonkeyPatch, clip: tuple[np.ndarray, np.ndarray]) -> None:
    small = tiny_pipeline(awake=True).to("cpu", offload=True)
    names = {id(small.unet): "unet", id(small.vae): "vae", id(small.embedder.net): "clip"}
    moves: list[tuple[str, str]] = []
    move = torch.nn.Module.to

    def noted(module: torch.nn.Module, *where: object, **how: object) -> torch.nn.Module:
        moves.append((names.get(id(module), "?"), str(where[0])))
        return move(module, *where, **how)

    monkeypatch.setattr(torch.nn.Module, "to", noted)
    small.device = torch.device("cpu", 0)  # another name of the same place
    small(*clip, generator=seeded())
    assert [name for name, _ in moves] == ["vae", "vae", "clip", "clip", "unet", "unet", "vae", "vae"]
    assert [place for _, place in moves] == ["cpu:0", "cpu"] * 4


def test_a_folder_holds_the_pipeline(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    frames, mask = clip
    saved(tmp_path, pipeline)
    read = FFFPipeline.from_pretrained(tmp_path)
    for name in ("tasks", "window", "size", "steps", "fps", "motion", "mode", "levels", "factor", "multiple"):
        assert getattr(read, name) == getattr(pipeline, name)
    made, other = (one(frames, mask, generator=seeded()).frames for one in (pipeline, read))
    assert int(np.abs(made.astype(int) - other).max()) <= 1, "weights that lie elsewhere in memory round otherwise"
    assert json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())["sigma_max"] == 700.0


def test_a_published_folder_is_read_as_it_lies_on_the_hub(tmp_path: Path) -> None:
    """Weights in half precision, another program's index, no word of tasks: what a download of SVD looks like."""
    stock = StableVideoDiffusionPipeline(tiny_vae(), tiny_clip(), tiny_unet(refiner=False), scheduler(3), None)
    for name in ("unet", "vae"):
        getattr(stock, name).half().save_pretrained(tmp_path / name, variant="fp16")
    stock.image_encoder.half().save_pretrained(tmp_path / "image_encoder", variant="fp16")
    stock.scheduler.save_pretrained(tmp_path / "scheduler")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"}))
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    del config["refiner"]
    (tmp_path / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "UNetSpatioTemporalConditionModel"}))
    read = FFFPipeline.from_pretrained(tmp_path)
    assert (read.mode, read.window, read.steps, read.levels) == ("off", 6, 25, Levels())
    assert read.embedder is not None
    frames, mask = clip_with_hole(2, SIDE, SIDE)
    assert np.array_equal(read(frames, mask, generator=seeded(), num_inference_steps=1).frames[~mask], frames[~mask])


def test_diffusers_reads_what_was_written_without_a_refiner(tmp_path: Path) -> None:
    saved(tmp_path, tiny_pipeline(refiner=False))
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert {"unet", "vae", "image_encoder", "feature_extractor", "scheduler"} <= index.keys()
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

    net, found = UNetSpatioTemporalConditionModel.from_pretrained(tmp_path / "unet", output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert torch.equal(net.conv_in.weight, tiny_unet(refiner=False).conv_in.weight)
    AutoencoderKLTemporalDecoder.from_pretrained(tmp_path / "vae")
    EulerDiscreteScheduler.from_pretrained(tmp_path / "scheduler").set_timesteps(3)


def test_the_picture_for_clip_is_made_small_as_svds_pipeline_does_it() -> None:
    from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing

    pictures = torch.rand(2, 3, 70, 131, generator=seeded()) * 2 - 1
    for size in (32, 48, 224):
        assert torch.allclose(shrunk(pictures, size), _resize_with_antialiasing(pictures, (size, size)), atol=1e-5)


def test_what_cannot_be_is_refused(pipeline: FFFPipeline, clip: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    frames, mask = clip
    plain = tiny_pipeline(refiner=False)
    assert plain.mode == "off"
    for wrong, why in (
        ({"fff_mode": "first"}, "fff_mode is 'first'"),
        ({"long_video": "loop"}, "long_video is 'loop'"),
        ({"invert_until": 701.0}, "up to noise level 701"),
        ({"num_inference_steps": 0}, "0 steps were asked for"),
        ({"decode_chunk_size": 0}, "window is 0 frames"),
        ({"overlap": 4}, "more than half of the window"),
    ):
        with pytest.raises(UsageError, match=why):
            pipeline(frames, mask, generator=seeded(), **wrong)
    with pytest.raises(UsageError, match="no refiner"):
        plain(frames, mask, generator=seeded(), fff_mode="feature")
    with pytest.raises(MaskMismatch, match="mask is"):
        pipeline(frames, mask[:, :-1], generator=seeded())
    with pytest.raises(UsageError, match="not trained on 'generate'"):
        pipeline(frames, np.ones_like(mask), generator=seeded())
    with pytest.raises(UsageError, match="multiples of 4"):
        pipeline.prepare(to_tensor(frames[:, :-1]), mask_to_tensor(mask[:, :-1]))
    with pytest.raises(UsageError, match="autoencoder of 4"):
        FFFPipeline(tiny_unet(in_channels=9), tiny_vae())
    with pytest.raises(UsageError, match="unknown task"):
        FFFPipeline(tiny_unet(), tiny_vae(), tasks=["dreams"])
    saved(tmp_path, pipeline)
    for part, text, why in (
        ("scheduler/scheduler_config.json", '{"prediction_type": "epsilon"}', "predicts 'epsilon'"),
        ("scheduler/scheduler_config.json", '{"sigma_min": 9, "sigma_max": 2}', "expected rising ones"),
        ("scheduler/scheduler_config.json", "{", "missing or damaged"),
        ("feature_extractor/preprocessor_config.json", "{}", "is damaged"),
        ("vae/config.json", '{"block_out_channels": [32, 32]}', "autoencoder|hold|lack"),
        ("image_encoder/model.safetensors", "no weights", "cannot read the image encoder"),
        ("model_index.json", '{"_class_name": "FFFPipeline"}', "damaged or of another version"),
        ("model_index.json", '{"_class_name": "VDTPipeline"}', "expected a FFFPipeline"),
    ):
        before = (tmp_path / part).read_bytes()
        (tmp_path / part).write_text(text)
        with pytest.raises(WeightsError, match=why):
            FFFPipeline.from_pretrained(tmp_path)
        (tmp_path / part).write_bytes(before)
    with pytest.raises(WeightsError):
        FFFPipeline.from_pretrained(tmp_path / "nothing")
