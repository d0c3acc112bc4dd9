"""The pipeline: nothing hidden leaks, nothing known changes, the same noise gives the same video, and what was saved is what runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, AutoencoderTiny  # noqa: E402

from framefill.diffusion.precond import Process  # noqa: E402
from framefill.errors import MaskMismatch, UsageError, WeightsError  # noqa: E402
from framefill.families.guess import guess  # noqa: E402
from framefill.families.vdt import GUESS_ERROR, VDTPipeline  # noqa: E402
from framefill.families.vdt_filler import VDTFiller, work_size  # noqa: E402
from framefill.families.whole import fill_whole  # noqa: E402
from framefill.media.tasks import TASKS  # noqa: E402
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor  # noqa: E402
from framefill.nets.codec import Autoencoder, Codec, Pixels, load_autoencoder  # noqa: E402
from framefill.nets.vdt import VDT, vdt_s2_paper  # noqa: E402

T, H, W = 6, 12, 16
SMALL = {"patch_size": 2, "hidden_size": 32, "num_layers": 2, "num_heads": 2}
Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels() -> Codec:
    return Pixels()


def shuffled() -> Codec:
    return Pixels(2)


def autoencoder() -> Codec:
    """A small one of the real class, with attention over the whole picture in its middle."""
    torch.manual_seed(3)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return Autoencoder(AutoencoderKL(**blocks, block_out_channels=[8, 8], norm_num_groups=4, latent_channels=4, sample_size=16))


CODECS = {"pixels": pixels, "shuffled": shuffled, "autoencoder": autoencoder}
EVERY_CODEC = pytest.mark.parametrize("codec", CODECS)
EVERY_PRIOR = pytest.mark.parametrize("prior", ["none", "motion"])
KINDS = ("flow", "edm", "eps", "v")


def pipeline(
    codec: str = "pixels",
    kind: str = "flow",
    tasks: tuple[str, ...] = tuple(TASKS),
    window: int = 8,
    say: float = 0.05,
    prior: str = "none",
    **config: object,
) -> VDTPipeline:
    """A net whose every weight has a `say`, as after training."""
    torch.manual_seed(0)
    made = CODECS[codec]()
    net = VDT(**{**SMALL, "in_channels": made.channels, **config}).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * say)
    return VDTPipeline(net, Process(kind), made, tasks, window=window, size=16, prior=prior)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clip(frames: int = T, seed: int = 1) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (frames, H, W, 3), np.uint8)


def masked(task: str, frames: int = T, seed: int = 4) -> Mask:
    return TASKS[task](np.random.default_rng(seed), frames, H, W)


def hidden_elsewise(video: Frames, mask: Mask) -> Frames:
    """The same where it is known, something else altogether where it is not."""
    return np.where(mask[..., None], 255 - clip(len(video), 9), video).astype(np.uint8)


@EVERY_CODEC
@EVERY_PRIOR
@pytest.mark.parametrize("task", ["predict", "backward", "interpolate", "single", "random", "completion", "inpaint-blob", "outpaint"])
def test_hidden_content_never_leaks_and_known_pixels_never_change(codec: str, prior: str, task: str) -> None:
    pipe, video, mask = pipeline(codec, prior=prior), clip(), masked(task)
    made = pipe(video, mask, num_inference_steps=2, generator=noise()).frames
    other = pipe(hidden_elsewise(video, mask), mask, num_inference_steps=2, generator=noise()).frames
    assert np.array_equal(made, other)
    assert np.array_equal(made[~mask], video[~mask])
    changed = video.copy()
    changed[~mask] = 255 - changed[~mask]
    assert not np.array_equal(pipe(changed, mask, num_inference_steps=2, generator=noise()).frames[mask], made[mask]), (
        "known content counts"
    )


@EVERY_CODEC
@EVERY_PRIOR
def test_what_training_prepares_tells_the_net_nothing_of_the_hole(codec: str, prior: str) -> None:
    pipe, video, mask = pipeline(codec, prior=prior), clip(), masked("completion")
    unknown = mask_to_tensor(mask)
    one, other = (pipe.prepare(to_tensor(frames), unknown, noise()) for frames in (video, hidden_elsewise(video, mask)))
    for told in ("mask", "known"):
        assert torch.equal(one.cond[told], other.cond[told])
    assert torch.equal(one.keep.x0, other.keep.x0)
    hole = one.keep.mask > 0
    assert not torch.equal(one.x0, other.x0), "but it is what training aims at"
    assert torch.equal(torch.where(hole, 0, one.x0), torch.where(hole, 0, other.x0))
    x, sigma = torch.randn(one.x0.shape, generator=noise()), torch.tensor([0.4])
    with torch.no_grad():
        assert torch.equal(pipe.denoise(one)(x, sigma), pipe.denoise(other)(x, sigma))


def test_a_net_with_a_prior_is_shown_the_guess_in_the_hole_and_zeros_where_nothing_is_known() -> None:
    pipe, video = pipeline(prior="motion"), np.stack([clip(), clip(seed=2)])
    mask = np.stack([masked("predict"), masked("generate")])
    prepared = pipe.prepare(to_tensor(video), mask_to_tensor(mask))
    assert torch.equal(prepared.cond["known"][0], to_tensor(guess(video[0], mask[0]))[0])
    assert not prepared.cond["known"][1].any()
    assert not prepared.keep.x0.any()
    assert torch.equal(prepared.x0[1], to_tensor(video)[1]), "there is nothing to count from"
    assert prepared.scale.flatten().tolist() == pytest.approx([GUESS_ERROR, 1])
    assert torch.allclose(prepared.scale[0] * prepared.x0[0] + prepared.cond["known"][0], to_tensor(video)[0], atol=1e-6)
    assert np.array_equal(from_tensor(pipe.decode(prepared.x0, prepared)), video)
    with pytest.raises(UsageError, match="guidance_scale is 2"):
        pipe(video, mask, generator=noise(), guidance_scale=2)
    with pytest.raises(UsageError, match="cached latents"):
        pipe.prepare_latents(prepared.x0, prepared.keep.mask)
    with pytest.raises(UsageError, match=r"prior is 'magic', expected one of none, motion"):
        pipeline(prior="magic")


@EVERY_CODEC
def test_what_the_net_says_where_all_is_known_has_no_gradient(codec: str) -> None:
    pipe, outputs = pipeline(codec), []
    pipe.net.register_forward_hook(lambda *call: (call[2].retain_grad(), outputs.append(call[2]))[1])
    prepared = pipe.prepare(to_tensor(clip()), mask_to_tensor(masked("inpaint-box")))
    made = pipe.denoise(prepared)(torch.randn(prepared.x0.shape, generator=noise()), torch.tensor([0.4]))
    (made - torch.randn(made.shape, generator=noise(1))).square().sum().backward()
    hole = (prepared.keep.mask > 0).expand_as(made)
    assert not outputs[0].grad[~hole].any()
    assert outputs[0].grad[hole].all()


@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_it_makes_nearly_the_same(kind: str) -> None:
    pipe, video, mask = pipeline(kind=kind), clip(), masked("completion")
    exact = pipe(video, mask, num_inference_steps=3, generator=noise()).frames
    half = pipe.to("cpu", torch.bfloat16)(video, mask, num_inference_steps=3, generator=noise()).frames
    assert np.abs(exact.astype(float) - half)[mask].mean() < 6
    assert np.array_equal(half[~mask], video[~mask])


def test_a_position_is_unknown_when_any_pixel_under_it_is() -> None:
    pipe, mask = pipeline("shuffled"), np.zeros((1, H, W), np.bool_)
    mask[0, 3, 5] = True
    prepared = pipe.prepare(to_tensor(clip(1)), mask_to_tensor(mask))
    assert torch.nonzero(prepared.keep.mask)[:, -2:].tolist() == [[1, 2]]


def test_latents_end_as_they_were_where_they_are_known() -> None:
    pipe, video, mask = pipeline("shuffled"), clip(), masked("inpaint-box")
    ends = []
    pipe(video, mask, num_inference_steps=3, generator=noise(), callback=lambda *state: ends.append(state[2]))
    prepared = pipe.prepare(to_tensor(video), mask_to_tensor(mask))
    known = (prepared.keep.mask == 0).expand_as(prepared.x0)
    assert known.any()
    assert torch.equal(ends[-1][known], prepared.x0[known])
    assert not torch.equal(ends[-1], ends[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ancestral"])
def test_the_same_noise_gives_the_same_video(kind: str, method: str) -> None:
    pipe, video, mask = pipeline(kind=kind), clip(), masked("predict")

    def run(seed: int) -> Frames:
        return pipe(video, mask, num_inference_steps=3, generator=noise(seed), method=method).frames

    assert np.array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))


@EVERY_CODEC
@pytest.mark.parametrize("method", ["euler", "ancestral"])
def test_a_batch_equals_its_singles(codec: str, method: str) -> None:
    pipe, videos = pipeline(codec), np.stack([clip(seed=seed) for seed in range(4)])
    masks = np.stack([masked(task) for task in ("predict", "generate", "inpaint-blob", "interpolate")])
    together = pipe(videos, masks, num_inference_steps=2, generator=[noise(seed) for seed in range(4)], method=method).frames
    for number in range(4):
        alone = pipe(videos[number], masks[number], num_inference_steps=2, generator=noise(number), method=method).frames
        assert np.abs(together[number].astype(int) - alone).max() <= 1  # a level: 1e-4 before rounding


def test_a_paper_net_with_learned_variance_runs() -> None:
    config = vdt_s2_paper(3)
    pipe = pipeline(kind="eps", **{name: config[name] for name in config if name not in {"in_channels", *SMALL}})
    video, mask = clip(), masked("interpolate")
    made = pipe(video, mask, num_inference_steps=2, generator=noise(), method="ancestral").frames
    assert np.array_equal(
        made, pipe(hidden_elsewise(video, mask), mask, num_inference_steps=2, generator=noise(), method="ancestral").frames
    )
    assert np.array_equal(made[~mask], video[~mask])


def test_nothing_to_fill_and_everything_to_fill() -> None:
    pipe, video = pipeline(), clip()
    none, everything = np.zeros((T, H, W), np.bool_), np.ones((T, H, W), np.bool_)
    assert np.array_equal(pipe(video, none, generator=noise()).frames, video)
    one, other = (pipe(frames, everything, num_inference_steps=2, generator=noise()).frames for frames in (video, 255 - video))
    assert np.array_equal(one, other)
    prepared = pipe.prepare(torch.zeros(1, T, 3, H, W), torch.ones(1, T, 1, H, W))
    assert all(torch.equal(prepared.cond[told], prepared.null_cond[told]) for told in ("mask", "known")), "that is unconditional sampling"


def test_the_empty_clip_of_a_batch_stays_as_it_is() -> None:
    videos, masks = np.stack([clip(), clip(seed=2)]), np.stack([masked("predict"), np.zeros((T, H, W), np.bool_)])
    made = pipeline()(videos, masks, num_inference_steps=2, generator=noise()).frames
    assert np.array_equal(made[1], videos[1])
    assert not np.array_equal(made[0], videos[0])


def test_guidance_moves_away_from_what_is_made_without_the_known_content() -> None:
    pipe, video, mask = pipeline(), clip(), masked("predict")
    plain, one, far = (
        pipe(video, mask, num_inference_steps=2, generator=noise(), guidance_scale=scale).frames for scale in (1.0, 1.0, 3.0)
    )
    assert np.array_equal(plain, one)
    assert not np.array_equal(plain[mask], far[mask])
    assert np.array_equal(far[~mask], video[~mask])


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("windows", ["chain", "blend"])
def test_clips_of_any_length(frames: int, windows: str) -> None:
    pipe, video, mask = pipeline(), clip(frames), masked("inpaint-box", frames)
    made = pipe(video, mask, num_inference_steps=1, generator=noise(), windows=windows).frames
    assert made.shape == video.shape
    assert np.array_equal(made[~mask], video[~mask])
    other = pipe(hidden_elsewise(video, mask), mask, num_inference_steps=1, generator=noise(), windows=windows).frames
    assert np.array_equal(made, other)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("windows", ["chain", "blend"])
def test_short_windows_share_what_they_can(window: int, windows: str) -> None:
    pipe, video, mask = pipeline(window=window), clip(9), masked("inpaint-box", 9)
    made = pipe(video, mask, num_inference_steps=1, generator=noise(), windows=windows).frames
    assert np.array_equal(made[~mask], video[~mask])
    assert not np.array_equal(made, video)


def test_what_led_to_the_first_known_frames_is_made_backwards() -> None:
    pipe, video = pipeline(say=0.2, tasks=("backward",)), clip(17)
    mask = np.ones(video.shape[:3], np.bool_)
    mask[-2:] = False
    changed = video.copy()
    changed[-1] = 255 - changed[-1]
    one, other = (pipe(frames, mask, num_inference_steps=1, generator=noise()).frames for frames in (video, changed))
    assert all(not np.array_equal(one[t], other[t]) for t in range(15))


def test_a_long_prediction_goes_on_from_what_was_made() -> None:
    pipe, video = pipeline(say=0.2), clip(17)
    mask = np.ones(video.shape[:3], np.bool_)
    mask[:2] = False
    changed = video.copy()
    changed[0] = 255 - changed[0]  # a window of 8 frames sees it once
    one, other = (pipe(frames, mask, num_inference_steps=1, generator=noise()).frames for frames in (video, changed))
    assert all(not np.array_equal(one[t], other[t]) for t in range(2, 17))


def test_an_untrained_task_is_refused_with_a_line_that_names_who_can() -> None:
    pipe, video = pipeline(tasks=("predict", "inpaint-box")), clip()
    for task in ("predict", "inpaint-blob", "completion"):
        pipe(video, masked(task), num_inference_steps=1, generator=noise())
    for task, able in [
        ("interpolate", "--model flow"),
        ("backward", "framefill train"),
        ("generate", "--model vdt-tiny"),
    ]:
        with pytest.raises(UsageError, match=f"not trained on '{task}', only on inpaint-box, predict; .*{able}"):
            pipe(video, masked(task), num_inference_steps=1, generator=noise())
    with pytest.raises(UsageError, match="not trained on 'outpaint', only on predict; --model auto"):
        pipeline(tasks=("predict",))(video, masked("outpaint"), generator=noise())
    with pytest.raises(UsageError, match="8 frames at a time, was not trained on 'generate'"):
        pipeline(tasks=("predict",))(clip(9), masked("generate", 9), generator=noise())
    pipe = pipeline(tasks=("generate", "predict"))
    pipe(clip(9), masked("generate", 9), num_inference_steps=1, generator=noise())


def test_inputs_that_do_not_fit_are_refused() -> None:
    pipe = pipeline()
    with pytest.raises(MaskMismatch, match="expected bool"):
        pipe(clip(), masked("predict", 5), generator=noise())
    with pytest.raises(UsageError, match="expected uint8"):
        pipe(clip().astype(np.float32), masked("predict"), generator=noise())
    with pytest.raises(UsageError, match="unknown task 'dream'"):
        pipeline(tasks=("dream",))
    with pytest.raises(UsageError, match="4 channels, the codec 3"):
        VDTPipeline(VDT(**SMALL, in_channels=4), Process("flow"), Pixels(), ["predict"])


@pytest.mark.parametrize("codec", ["shuffled", "autoencoder"])
def test_a_saved_pipeline_comes_back_and_is_not_an_untrained_one(codec: str, tmp_path: Path) -> None:
    pipe = pipeline(codec, "edm", ("predict", "generate"), 7, prior="motion")
    pipe.save_pretrained(tmp_path)
    loaded = VDTPipeline.from_pretrained(tmp_path)
    assert (loaded.tasks, loaded.window, loaded.size, loaded.process.kind) == (("predict", "generate"), 7, 16, "edm")
    assert loaded.prior == "motion"
    loaded.save_pretrained(tmp_path / "again")
    assert str(tmp_path) not in (tmp_path / "again" / "transformer" / "config.json").read_text(), "no path of this machine travels along"
    video, mask = clip(), masked("predict")
    trained, again = (which(video, mask, num_inference_steps=2, generator=noise()).frames for which in (pipe, loaded))
    assert np.array_equal(trained, again)
    fresh = VDTPipeline(VDT.from_config(pipe.net.config).eval(), pipe.process, pipe.codec, pipe.tasks)
    assert not np.array_equal(fresh(video, mask, num_inference_steps=2, generator=noise()).frames, trained)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no pipeline in .*nowhere"):
        VDTPipeline.from_pretrained(tmp_path / "nowhere")
    pipeline().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for changed, line in [
        ({**index, "_class_name": "Other"}, "holds a Other"),
        ({**index, "process": {"kind": "flow", "speed": 1}}, "another version"),
        ({name: index[name] for name in index if name != "tasks"}, "another version"),
        ({**index, "codec": {"kind": "wavelet"}}, "codec is 'wavelet'"),
    ]:
        (tmp_path / "model_index.json").write_text(json.dumps(changed))
        with pytest.raises(WeightsError, match=line):
            VDTPipeline.from_pretrained(tmp_path)


def test_cached_latents_prepare_the_same_as_their_video() -> None:
    for codec in ("shuffled", "autoencoder"):
        pipe, video = pipeline(codec), to_tensor(clip())
        mask = mask_to_tensor(masked("interpolate"))
        plain = pipe.prepare(video, mask)
        cached = pipe.prepare_latents(pipe.codec.encode(video), mask[..., :: pipe.codec.factor, :: pipe.codec.factor])
        assert torch.allclose(plain.x0, cached.x0, atol=1e-5)
        assert torch.allclose(plain.cond["known"], cached.cond["known"], atol=1e-5)
        assert plain.size == cached.size
    with pytest.raises(UsageError, match="parts of frames"):
        pipe.prepare_latents(plain.x0, mask_to_tensor(masked("inpaint-box"))[..., ::2, ::2])


def test_pixels_come_back_exactly() -> None:
    video = to_tensor(clip())
    for factor in (1, 2, 4):
        codec = Pixels(factor)
        latents = codec.encode(video)
        assert latents.shape == (1, T, 3 * factor**2, H // factor, W // factor)
        assert torch.equal(codec.decode(latents), video)
    with pytest.raises(UsageError, match="multiples of 8"):
        Pixels(8).encode(video)


def test_red_is_red() -> None:
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    prepared = pipeline().prepare(to_tensor(red), torch.zeros(1, 1, 1, 4, 4))
    assert prepared.x0[0, 0, :, 0, 0].tolist() == [1, -1, -1]


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_autoencoders_work_frame_by_frame_in_the_scale_of_their_config(kind: str, tmp_path: Path) -> None:
    if kind == "kl":
        net = autoencoder()._net
        net.register_to_config(scaling_factor=0.5, shift_factor=0.25)
    else:
        torch.manual_seed(0)
        sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8), "num_encoder_blocks": (1, 1)}
        net = AutoencoderTiny(**sizes, num_decoder_blocks=(1, 1), latent_channels=4, scaling_factor=0.5, shift_factor=0.25)
    net.save_pretrained(tmp_path)
    codec, video = load_autoencoder(tmp_path), to_tensor(np.stack([clip(), clip(seed=2)]))
    assert (codec.factor, codec.channels) == (2, 4)
    posterior = codec.posterior(video)
    with torch.no_grad():
        encoded = net.eval().encode(video[1, 2:3])
        raw = encoded.latent_dist.mean if kind == "kl" else encoded.latents
        assert torch.allclose(posterior.mean[1, 2:3][0], ((raw - 0.25) * 0.5)[0], atol=1e-5)
        assert torch.allclose(codec.decode(posterior.mean)[1, 2], net.decode(raw).sample[0], atol=1e-4)
    assert torch.equal(codec.encode(video), posterior.mean)
    drawn = [posterior.sample(noise(seed)) for seed in range(60)]
    assert torch.equal(drawn[0], posterior.sample(noise(0)))
    if kind == "kl":
        spread = (torch.stack(drawn) - posterior.mean).div(torch.exp(posterior.logvar / 2)).std()
        assert abs(float(spread) - 1) < 0.01
        assert torch.allclose(posterior.logvar[1, 2], encoded.latent_dist.logvar[0] + 2 * np.log(0.5), atol=1e-4)
    else:
        assert torch.equal(drawn[0], posterior.mean)


def test_a_folder_without_an_autoencoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no autoencoder"):
        load_autoencoder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(WeightsError, match="is a UNet2DModel, expected one of AutoencoderKL"):
        load_autoencoder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    with pytest.raises(WeightsError, match="cannot read"):
        load_autoencoder(tmp_path)


def filler(seed: int = 0, say: float = 0.05) -> VDTFiller:
    return VDTFiller(pipeline(say=say), seed=seed, num_inference_steps=1)


@pytest.mark.parametrize("task", ["inpaint-box", "interpolate", "predict"])
def test_as_a_filler_it_fills_a_large_clip_and_keeps_what_is_known(task: str) -> None:
    video = np.random.default_rng(0).integers(0, 256, (11, 35, 42, 3), np.uint8)
    mask = TASKS[task](np.random.default_rng(1), 11, 35, 42)
    made, again, other = (fill_whole(frames, mask, filler(seed)) for frames, seed in ((video, 0), (video, 0), (video, 1)))
    assert np.array_equal(made.frames, again.frames)
    assert not np.array_equal(made.frames, other.frames)
    assert np.array_equal(made.frames[~mask], video[~mask])
    assert not made.remaining.any()
    assert np.array_equal(made.provenance > 0, mask)
    hidden = np.where(mask[..., None], 255 - video, video).astype(np.uint8)
    assert np.array_equal(fill_whole(hidden, mask, filler()).frames, made.frames)


def test_a_filler_goes_on_from_the_frames_it_made() -> None:
    video = np.random.default_rng(0).integers(0, 256, (15, 16, 16, 3), np.uint8)
    mask = np.ones(video.shape[:3], np.bool_)
    mask[0] = False
    changed = video.copy()
    changed[0] = 255 - changed[0]
    one, other = (fill_whole(frames, mask, filler(say=0.2)).frames for frames in (video, changed))
    assert all(not np.array_equal(one[t], other[t]) for t in range(1, 15))


def test_the_size_at_which_a_net_sees_a_picture() -> None:
    assert work_size((360, 640), 64) == (64, 114)
    assert work_size((48, 40), 64) == (48, 40)
    assert work_size((1, 900), 64) == (1, 900)
