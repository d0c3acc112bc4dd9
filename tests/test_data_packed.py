"""Shards and cached latents: what is packed comes back, in any reader, and a stopped run goes on."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_kit import scene, write_frames

from framefill.data.dataset import ClipDataset
from framefill.data.footage import Footage
from framefill.data.latents import LatentCache, LatentDataset, codec_key
from framefill.data.manifest import Clip
from framefill.data.packed import ShardDataset, ShardStream
from framefill.data.progress import Step
from framefill.data.shards import ShardSettings, write_shards
from framefill.errors import FramefillError, UnreadableMedia, UsageError


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    paths = [write_frames(folder / f"{seed}.mp4", scene(seed, 20)) for seed in range(6)]
    return [Clip(path, 0, 20, 25.0, 96, 72, "train", sha256=f"{seed}" * 64) for seed, path in enumerate(paths)]


def packed(clips: list[Clip], folder: Path, **other: object) -> list[Path]:
    return write_shards(clips, folder, ShardSettings(**{"size": 36, "frames": 8, "least": 4, "each": 6, **other}))


def test_a_shard_is_plain_tar_with_webdataset_names(clips: list[Clip], tmp_path: Path) -> None:
    paths = packed(clips, tmp_path)
    assert [path.name for path in paths] == ["00000.tar", "00001.tar", "00002.tar"]
    samples: dict[str, dict[str, bytes]] = {}
    for path in paths:
        with tarfile.open(path) as tar:
            for info in tar:
                key, _, kind = info.name.partition(".")
                samples.setdefault(key, {})[kind] = tar.extractfile(info).read()
    assert sorted(samples) == [f"{number:08}" for number in range(18)]  # 20 frames = 8 + 8 + 4
    for parts in samples.values():
        about, frames = json.loads(parts["json"]), np.load(io.BytesIO(parts["npy"]))
        assert frames.shape == (about["end"] - about["start"], 36, 48, 3)
        source = Footage(Path(about["path"])).read(list(range(about["start"], about["end"])), (36, 48))
        assert np.array_equal(frames, np.stack(source))


def test_by_number_and_as_a_stream_the_items_are_the_same(clips: list[Clip], tmp_path: Path) -> None:
    packed(clips, tmp_path)
    data = ShardDataset(tmp_path, 4, 32, seed=2)
    by_number = {index: data[index]["video"] for index in range(len(data))}
    assert len(by_number) == 18
    streamed = {item["index"]: item["video"] for item in ShardStream(tmp_path, 4, 32, seed=2)}
    assert streamed.keys() == by_number.keys()
    assert all(torch.equal(streamed[index], video) for index, video in by_number.items())
    data.set_epoch(1)
    assert sum(torch.equal(data[index]["video"], video) for index, video in by_number.items()) < 2
    longer = ShardDataset(tmp_path, 8, 32)
    assert (len(longer), longer.left_out) == (12, 6)


def test_ranks_share_the_stream_without_overlap(clips: list[Clip], tmp_path: Path) -> None:
    packed(clips, tmp_path, each=3)
    orders = []
    for epoch in (0, 1):
        parts = []
        for rank in range(3):
            stream = ShardStream(tmp_path, 4, 32, rank=rank, world=3, buffer=4)
            stream.set_epoch(epoch)
            parts.append([item["index"] for item in stream])
            assert [item["index"] for item in stream] == parts[-1]
        assert sorted(index for part in parts for index in part) == list(range(18))
        orders.append(parts)
    assert orders[0] != orders[1]


def test_workers_share_the_stream_too(clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Info:
        id: int
        num_workers: int = 2

    packed(clips, tmp_path, each=3)
    found = []
    for rank in range(2):
        for worker in range(2):
            monkeypatch.setattr("framefill.data.packed.get_worker_info", lambda worker=worker: Info(worker))
            found += [item["index"] for item in ShardStream(tmp_path, 4, 32, rank=rank, world=2)]
    assert sorted(found) == list(range(18))
    monkeypatch.setattr("framefill.data.packed.get_worker_info", lambda: Info(0, 7))
    with pytest.raises(UsageError, match="6 shards for 7 readers"):
        next(iter(ShardStream(tmp_path, 4, 32)))


def test_jpg_is_smaller_and_nearly_the_same(clips: list[Clip], tmp_path: Path) -> None:
    exact, small = packed(clips, tmp_path / "npy"), packed(clips, tmp_path / "jpg", encoding="jpg", quality=90)
    assert sum(path.stat().st_size for path in small) < 0.7 * sum(path.stat().st_size for path in exact)
    one, other = (ShardDataset(tmp_path / kind, 4, 32)[3]["video"].int() for kind in ("npy", "jpg"))
    assert 0 < float((one - other).abs().float().mean()) < 5


def test_a_rate_is_met_and_written_down(clips: list[Clip], tmp_path: Path) -> None:
    packed(clips[:1], tmp_path, fps=12.5)
    data = ShardDataset(tmp_path, 8, (36, 48), flip=0)
    expected = ClipDataset(clips[:1], 8, (36, 48), 12.5, sampling="strided")[0]["video"]
    assert torch.equal(data[0]["video"], expected)
    with tarfile.open(tmp_path / "00000.tar") as tar:
        about = json.loads(tar.extractfile(tar.getmembers()[0]).read())
    assert (about["fps"], about["frames"]) == (12.5, 8)


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(clips: list[Clip], tmp_path: Path) -> None:
    whole = {path.name: path.read_bytes() for path in packed(clips, tmp_path / "whole")}

    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "stopped"
    settings = ShardSettings(36, 8, 4, each=6)
    with pytest.raises(KeyboardInterrupt):
        write_shards(clips, target, settings, progress=stop)
    with pytest.raises(UnreadableMedia, match="2 of 3 shards are missing"):
        ShardDataset(target, 4, 32)
    (target / "00001.part").write_bytes(b"half a shard")
    first = (target / "00000.tar").stat().st_mtime_ns
    assert {path.name: path.read_bytes() for path in packed(clips, target)} == whole
    assert (target / "00000.tar").stat().st_mtime_ns == first
    assert not list(target.glob("*.part"))


def test_what_shards_cannot_be(clips: list[Clip], tmp_path: Path) -> None:
    packed(clips, tmp_path / "here")
    for other in ({"size": 40}, {"seed": 1}, {"encoding": "jpg"}):
        with pytest.raises(UsageError, match="holds shards of other clips or settings"):
            packed(clips, tmp_path / "here", **other)
    with pytest.raises(UsageError, match="holds shards of other clips"):
        packed(clips[:3], tmp_path / "here")
    for other in ({"size": 0}, {"least": 9}, {"encoding": "png"}, {"quality": 0}, {"frames": 99, "least": 50}):
        with pytest.raises(UsageError):
            packed(clips, tmp_path / "other", **other)
    assert not (tmp_path / "other").exists()
    with pytest.raises(UsageError, match="packed at 48x36, 64x64 was asked for"):
        ShardDataset(tmp_path / "here", 4, 64)[0]
    with pytest.raises(UsageError, match="no piece in"):
        ShardDataset(tmp_path / "here", 9, 32)
    with pytest.raises(UnreadableMedia, match="holds no shards"):
        ShardDataset(tmp_path / "none", 4, 32)
    shard = tmp_path / "here" / "00001.tar"
    shard.write_bytes(b"\1" * 2000)
    for reader in (lambda: ShardDataset(tmp_path / "here", 4, 32), lambda: list(ShardStream(tmp_path / "here", 4, 32))):
        with pytest.raises(UnreadableMedia, match=r"00001\.tar is damaged"):
            reader()


# --- latents


@dataclass(frozen=True)
class Halves:
    """Mean and log-variance of a codec of ours."""

    mean: torch.Tensor
    logvar: torch.Tensor


class Blocks:
    """A codec whose latents are the means of 4x4 blocks, with a known spread."""

    factor = 4

    def __init__(self, logvar: float) -> None:
        self.logvar = logvar
        self.encoded = 0

    def posterior(self, video: torch.Tensor) -> Halves:
        self.encoded += video.shape[1]
        mean = torch.nn.functional.avg_pool3d(video, (1, 4, 4))
        return Halves(mean, torch.full_like(mean, self.logvar))


def test_latents_are_those_of_encoding_on_the_fly(clips: list[Clip], tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, "blocks", (32, 32))
    assert cache.write(clips, Blocks(-30.0)) == 6
    latents = LatentDataset(clips, cache, 8, 12.5, sampling="strided")
    videos = ClipDataset(clips, 8, 32, 12.5, sampling="strided")
    assert len(latents) == len(videos) == 6
    for index in range(len(videos)):
        pixels = videos[index]["video"].permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = torch.nn.functional.avg_pool2d(pixels, 4)
        assert latents[index]["latents"].shape == (8, 3, 8, 8)
        assert torch.allclose(latents[index]["latents"], expected, atol=2e-3)  # half precision


def test_latents_are_drawn_anew_in_every_epoch(clips: list[Clip], tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, "blocks", (32, 32))
    cache.write(clips, Blocks(float(np.log(0.25))))
    data = LatentDataset(clips, cache, 20, seed=1)
    first, again = data[2]["latents"], data[2]["latents"]
    assert torch.equal(first, again)
    data.set_epoch(1)
    difference = data[2]["latents"] - first  # of two draws with a deviation of 0.5 each
    assert abs(float(difference.std()) / np.sqrt(0.5) - 1) < 0.05
    assert abs(float(difference.mean())) < 0.05


def test_a_stopped_cache_goes_on_and_depends_on_content_codec_and_size(clips: list[Clip], tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, "blocks", (32, 32))

    def stop(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write(clips, Blocks(-30.0), progress=stop)
    with pytest.raises(UsageError, match="4 of 6 clips are not in the cache"):
        LatentDataset(clips, cache, 8)
    codec = Blocks(-30.0)
    assert cache.write(clips, codec) == 4
    assert codec.encoded == 4 * 20
    moved = [replace(clip, path=clip.path.with_name("elsewhere.mp4"), split="val") for clip in clips]
    assert cache.write(moved, codec) == 0
    places = {
        cache.place(clips[0]),
        LatentCache(tmp_path, "other", (32, 32)).place(clips[0]),
        replace(cache, size=(32, 36)).place(clips[0]),
    }
    assert len({*places, cache.place(replace(clips[0], start=1)), cache.place(clips[1])}) == 5


def test_what_cannot_be_cached(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected multiples of 4"):
        LatentCache(tmp_path, "blocks", (30, 32)).write(clips, Blocks(0.0))
    cache = LatentCache(tmp_path, "blocks", (32, 32))
    with pytest.raises(UsageError, match="has no content hash"):
        cache.write([replace(clips[0], sha256="")], Blocks(0.0))
    cache.write(clips[:1], Blocks(0.0))
    with pytest.raises(UsageError, match="none of 1 clips has 21 frames"):
        LatentDataset(clips[:1], cache, 21)
    cache.place(clips[0]).write_bytes(b"damaged")
    with pytest.raises(UnreadableMedia, match=r"is damaged .* remove it"):
        LatentDataset(clips[:1], cache, 8)[0]


def test_a_codec_is_known_by_its_weights_and_settings(tmp_path: Path) -> None:
    def folder(name: str, weights: bytes = b"weights", **config: object) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (tmp_path / name / "diffusion_pytorch_model.safetensors").write_bytes(weights)
        return tmp_path / name

    key = codec_key(folder("a", scaling_factor=1.0, _name_or_path="x", _class_name="AutoencoderKL"))
    assert len(key) == 16
    assert codec_key(folder("b", _class_name="AutoencoderKL", _name_or_path="y", scaling_factor=1.0)) == key
    assert codec_key(folder("c", scaling_factor=2.0, _class_name="AutoencoderKL")) != key
    assert codec_key(folder("d", b"others", scaling_factor=1.0, _class_name="AutoencoderKL")) != key
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FramefillError, match="no autoencoder in"):
            codec_key(path)
