"""Stable Video Diffusion's network with the refiner: the stock network bit for bit until it is told and trained, and its folders."""

from __future__ import annotations

import copy
import json
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import UNetSpatioTemporalConditionModel  # noqa: E402
from fff_kit import UNET, tiny_unet  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.nets.svd import Guide, SVDUNet, choose_trained, load_unet, widened  # noqa: E402

FILE = "diffusion_pytorch_model.safetensors"
Call = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def call(batch: int = 1, frames: int = 3, side: int = 8, channels: int = 8, seed: int = 0) -> Call:
    """Arguments of the network: sample, timestep, token, time ids."""
    drawn = torch.Generator().manual_seed(seed)
    sample = torch.randn(batch, frames, channels, side, side, generator=drawn)
    token = torch.randn(batch, 1, 32, generator=drawn)
    return sample, torch.tensor([0.3] * batch), token, torch.tensor([[6, 127, 0.02]] * batch)


def guide(batch: int = 1, frames: int = 3, side: int = 8, seed: int = 1) -> Guide:
    drawn = torch.Generator().manual_seed(seed)
    mask = (torch.rand(batch, frames, 1, side, side, generator=drawn) < 0.5).float()
    there, back = (2 * torch.randn(batch, frames - 1, 2, side, side, generator=drawn) for _ in range(2))
    return Guide(mask, there, back)


def run(net: torch.nn.Module, told: Guide | None = None, **over: int) -> torch.Tensor:
    with torch.no_grad():
        return net(*call(**over), return_dict=False, **({"guide": told} if told else {}))[0]


@pytest.fixture(scope="module")
def net() -> SVDUNet:
    return tiny_unet()


@pytest.fixture(scope="module")
def awake() -> SVDUNet:
    return tiny_unet(awake=True)


@pytest.fixture(scope="module")
def stock(net: SVDUNet) -> UNetSpatioTemporalConditionModel:
    made = UNetSpatioTemporalConditionModel(**UNET).eval()
    made.load_state_dict({name: weight for name, weight in net.state_dict().items() if not name.startswith("noise_refiner")})
    return made


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_what_comes_out_has_the_shape_of_the_latents(awake: SVDUNet, batch: int, frames: int) -> None:
    made = run(awake, guide(batch, frames), batch=batch, frames=frames)
    assert made.shape == (batch, frames, 4, 8, 8)
    assert torch.isfinite(made).all()


def test_without_a_guide_it_is_the_stock_network_bit_for_bit(awake: SVDUNet, stock: torch.nn.Module) -> None:
    assert torch.equal(run(awake), run(stock))


def test_an_untrained_refiner_changes_nothing_and_one_step_wakes_it(net: SVDUNet, stock: torch.nn.Module) -> None:
    trained = copy.deepcopy(net)
    for seed in range(3):
        assert torch.equal(run(trained, guide(seed=seed)), run(stock))
    choose_trained(trained, "refiner")
    before = run(trained)  # not the stock network's: PyTorch takes other kernels for weights that need no gradient
    assert torch.equal(run(trained, guide()), before)
    optimizer = torch.optim.SGD(trained.parameters(), lr=1.0)
    trained(*call(), guide=guide()).sample.square().mean().backward()
    optimizer.step()
    assert not torch.allclose(run(trained, guide()), before, atol=1e-4)
    assert torch.equal(run(trained), before)


def test_a_batch_gives_what_its_clips_give_alone(awake: SVDUNet) -> None:
    told, (sample, time, token, ids) = guide(2), call(2)
    with torch.no_grad():
        both = awake(sample, time, token, ids, guide=told).sample
        for clip in range(2):
            part = Guide(*(field[clip : clip + 1] for field in (told.mask, told.there, told.back)))
            alone = awake(*(value[clip : clip + 1] for value in (sample, time, token, ids)), guide=part).sample
            assert torch.allclose(both[clip], alone[0], atol=1e-5)


def test_one_clips_guide_serves_both_halves_of_guidance(awake: SVDUNet) -> None:
    once = guide()
    twice = Guide(*(torch.cat((field, field)) for field in (once.mask, once.there, once.back)))
    assert torch.equal(run(awake, once, batch=2), run(awake, twice, batch=2))


def test_a_copy_is_guided_by_its_own_refiner(awake: SVDUNet) -> None:
    other = copy.deepcopy(awake)
    with torch.no_grad():
        for weight in other.noise_refiner.fuse.parameters():
            weight.zero_()
    assert torch.equal(run(other, guide()), run(other))
    assert not torch.equal(run(awake, guide()), run(awake))


def test_threads_do_not_hear_each_others_guides(awake: SVDUNet) -> None:
    alone = {seed: run(awake, guide(seed=seed)) for seed in range(4)}
    same = {}

    def go(seed: int) -> None:
        same[seed] = all(torch.equal(run(awake, guide(seed=seed)), alone[seed]) for _ in range(3))

    threads = [threading.Thread(target=go, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == dict.fromkeys(alone, True)


def test_a_failed_call_leaves_no_guide_behind(awake: SVDUNet) -> None:
    before = run(awake)
    sample, time, _, ids = call()
    with pytest.raises(RuntimeError):
        awake(sample, time, torch.zeros(1, 1, 7), ids, guide=guide())
    assert torch.equal(run(awake), before)


@pytest.mark.parametrize(("frames", "side"), [(4, 8), (3, 16)])
def test_a_guide_of_another_clip_is_refused(awake: SVDUNet, frames: int, side: int) -> None:
    with pytest.raises(UsageError, match="the guide is for"):
        run(awake, guide(frames=frames, side=side))


def test_a_guide_needs_a_refiner(stock: torch.nn.Module) -> None:
    bare = SVDUNet(**UNET).eval()
    with pytest.raises(UsageError, match="refiner=True"):
        run(bare, guide())
    assert bare.state_dict().keys() == stock.state_dict().keys()


def test_odd_latents_keep_their_size(awake: SVDUNet) -> None:
    assert run(awake, guide(side=9), side=9).shape == (1, 3, 4, 9, 9)


def test_the_real_size_has_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        net = SVDUNet(refiner=True)
    sizes = {name: weight.numel() for name, weight in net.named_parameters()}
    assert sum(sizes.values()) == 1_544_658_826
    added = {name: tuple(weight.shape) for name, weight in net.state_dict().items() if "noise_refiner" in name}
    assert sum(sizes.values()) - sum(sizes[name] for name in added) == 1_524_623_082
    assert sum(sizes[name] for name in choose_trained(net, "release")) == 417_656_224
    assert added == refiner_layout(320)


def refiner_layout(wide: int) -> dict[str, tuple[int, ...]]:
    """The 32 tensors of the public release."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("backward_1", "forward_1"):
        align, mix = f"noise_refiner.deform_align.{name}", f"noise_refiner.backbone.{name}"
        shapes |= {f"{align}.weight": (wide, wide, 3, 3), f"{align}.bias": (wide,)}
        for place, (seen, made) in {0: (2 * wide + 4, wide), 2: (wide, wide), 4: (wide, wide), 6: (wide, 27 * 16)}.items():
            shapes |= {f"{align}.conv_offset.{place}.weight": (made, seen, 3, 3), f"{align}.conv_offset.{place}.bias": (made,)}
        shapes |= mixer_layout(mix, wide)
    return shapes | mixer_layout("noise_refiner.fuse", wide)


def mixer_layout(name: str, wide: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.0.weight": (wide, 2 * wide + 1, 3, 3),
        f"{name}.0.bias": (wide,),
        f"{name}.2.weight": (wide, wide, 3, 3),
        f"{name}.2.bias": (wide,),
    }


def gradients(net: SVDUNet) -> dict[str, torch.Tensor]:
    net.zero_grad()
    net(*call(), guide=guide()).sample.square().mean().backward()
    return {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}


def test_the_release_trains_temporal_transformers_and_refiner_step_by_step(net: SVDUNet) -> None:
    trained = copy.deepcopy(net).train()
    chosen = set(choose_trained(trained, "release"))
    assert chosen == {name for name, _ in trained.named_parameters() if "temporal_transformer_block" in name or "noise_refiner" in name}
    optimizer = torch.optim.SGD([weight for weight in trained.parameters() if weight.requires_grad], lr=0.1)
    trunk = ("conv_offset.0", "conv_offset.2", "conv_offset.4")
    for step in range(3):
        found = gradients(trained)
        assert found.keys() == chosen
        moved = {name for name, grad in found.items() if "noise_refiner" in name and grad.any()}
        if step == 0:
            assert moved == {"noise_refiner.fuse.2.weight", "noise_refiner.fuse.2.bias"}
        else:
            late = {name for name in moved if any(part in name for part in trunk)}
            assert len(late) == (0 if step == 1 else 12)
            assert len(moved - late) == 20
        optimizer.step()


@pytest.mark.parametrize(("which", "has"), [("refiner", "noise_refiner"), ("temporal", "temporal_transformer_block"), ("all", "")])
def test_a_part_can_be_chosen(net: SVDUNet, which: str, has: str) -> None:
    trained = copy.deepcopy(net)
    names = choose_trained(trained, which)
    assert names == [name for name, _ in trained.named_parameters() if has in name]
    assert {name for name, weight in trained.named_parameters() if weight.requires_grad} == set(names)


def test_what_is_not_there_cannot_be_trained(net: SVDUNet) -> None:
    with pytest.raises(UsageError, match="no refiner to train"):
        choose_trained(SVDUNet(**UNET), "refiner")
    with pytest.raises(UsageError, match="'spatial' is no part"):
        choose_trained(net, "spatial")


def test_checkpointing_saves_memory_and_changes_no_gradient(awake: SVDUNet) -> None:
    kept, saving = copy.deepcopy(awake).train(), copy.deepcopy(awake).train()
    saving.enable_gradient_checkpointing()
    calls = []
    for module in (kept, saving):
        module.noise_refiner.backbone["backward_1"].register_forward_pre_hook(lambda *_: calls.append(1))
    expected = gradients(kept)
    assert len(calls) == 3
    found = gradients(saving)
    assert len(calls) == 9  # each step of the pass is run once more on the way back
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, atol=1e-5), name


def test_a_lora_lies_beside_the_refiner(awake: SVDUNet) -> None:
    peft = pytest.importorskip("peft")
    trained, before = copy.deepcopy(awake), run(awake, guide())
    trained.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    assert torch.allclose(run(trained, guide()), before, atol=1e-5)
    found = gradients(trained)
    assert found
    assert all("lora" in name for name in found)
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.5)
    assert not torch.allclose(run(trained, guide()), before, atol=1e-3)


def test_a_widened_network_gives_what_it_gave(awake: SVDUNet) -> None:
    wide = widened(copy.deepcopy(awake), 9)
    sample, *rest = call()
    more = torch.cat((sample, torch.full_like(sample[:, :, :1], 5.0)), 2)
    told = guide()
    with torch.no_grad():
        assert torch.allclose(wide(more, *rest, guide=told).sample, awake(sample, *rest, guide=told).sample, atol=1e-6)
        wide.conv_in.weight[:, 8] = 1.0
        assert not torch.allclose(wide(more, *rest, guide=told).sample, awake(sample, *rest, guide=told).sample, atol=1e-3)
    assert wide.config.in_channels == 9
    with pytest.raises(UsageError, match="only be widened"):
        widened(wide, 8)


@pytest.fixture
def folder(stock: torch.nn.Module, tmp_path: Path) -> Path:
    """A folder that diffusers wrote of the stock network."""
    stock.save_pretrained(tmp_path / "unet")
    return tmp_path / "unet"


def test_a_stock_folder_loads_with_and_without_a_refiner(folder: Path, stock: torch.nn.Module) -> None:
    plain, refined = load_unet(folder), load_unet(folder, refiner=True)
    assert not plain.config.refiner
    assert refined.config.refiner
    assert refined.state_dict().keys() - plain.state_dict().keys() == refiner_layout(32).keys()
    assert torch.equal(run(plain), run(stock))
    assert torch.equal(run(refined, guide()), run(stock))
    assert not plain.training


def test_a_folder_with_a_refiner_loads_as_it_was(awake: SVDUNet, tmp_path: Path) -> None:
    awake.save_pretrained(tmp_path)
    again, bare = load_unet(tmp_path), load_unet(tmp_path, refiner=False)
    assert torch.equal(run(again, guide()), run(awake, guide()))
    assert not bare.config.refiner
    assert torch.equal(run(bare), run(awake))
    SVDUNet.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    assert torch.equal(run(load_unet(tmp_path / "again"), guide()), run(awake, guide()))


def test_a_folder_of_the_public_release_tells_its_refiner_by_its_weights(awake: SVDUNet, tmp_path: Path) -> None:
    awake.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["refiner"]
    config["_class_name"] = "UNetSpatioTemporalRefinerModel"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(run(load_unet(tmp_path), guide()), run(awake, guide()))


def test_what_is_saved_loads_in_diffusers_own_class(net: SVDUNet, tmp_path: Path) -> None:
    load = copy.deepcopy(net)
    del load.noise_refiner
    load.register_to_config(refiner=False)
    load.save_pretrained(tmp_path)
    # Not to the bit: diffusers leaves weights where the file put them in memory, and kernels differ by that.
    assert torch.allclose(run(UNetSpatioTemporalConditionModel.from_pretrained(tmp_path).eval()), run(load), atol=1e-5)


def test_shards_and_half_precision_are_read(stock: torch.nn.Module, awake: SVDUNet, tmp_path: Path) -> None:
    stock.save_pretrained(tmp_path / "shards", max_shard_size="3MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert torch.equal(run(load_unet(tmp_path / "shards", refiner=True), guide()), run(stock))
    half = copy.deepcopy(awake).half()
    for name, over in (("half", {}), ("half-shards", {"max_shard_size": "2MB"})):
        half.save_pretrained(tmp_path / name, variant="fp16", **over)
        read = load_unet(tmp_path / name)
        assert read.dtype == torch.float32
        assert all(torch.equal(value.half(), half.state_dict()[key]) for key, value in read.state_dict().items())
    assert load_unet(tmp_path / "half", dtype=torch.float16).dtype == torch.float16


def changed(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Replace, add or take out tensors of a folder's file; dots are written as two underscores."""
    held = load_file(folder / FILE)
    for name, value in tensors.items():
        key = name.replace("__", ".")
        if value is None:
            del held[key]
        else:
            held[key] = value
    save_file(held, folder / FILE, {"format": "pt"})


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"conv_out__bias": None}, r"lack 1 tensors \(conv_out\.bias"),
        ({"controlnet__weight": torch.zeros(1)}, r"hold unknown 1 tensors \(controlnet\.weight"),
        ({"noise_refiner__fuse__0__bias": torch.zeros(32)}, "lack 31 tensors"),
        ({"conv_in__weight": torch.zeros(32, 4, 3, 3)}, r"hold conv_in\.weight as 32x4x3x3, config\.json beside them makes it 32x8x3x3"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, tensors: dict[str, torch.Tensor | None], told: str) -> None:
    changed(folder, **tensors)
    for refiner in (None, True, False):
        with pytest.raises(WeightsError, match=told):
            load_unet(folder, refiner=refiner)


def test_what_is_no_network_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    def refused(told: str) -> None:
        with pytest.raises(WeightsError, match=told) as caught:
            load_unet(folder)
        assert "\n" not in str(caught.value)

    config = json.loads((folder / "config.json").read_text())
    for wrong in ({"block_out_channels": [32]}, {"down_block_types": ["Nothing", "Nothing"]}, {"num_attention_heads": "many"}):
        (folder / "config.json").write_text(json.dumps({**config, **wrong}))
        refused("makes no network")
    for broken, told in (("{", "cannot read"), ("[]", "describes no network")):
        (folder / "config.json").write_text(broken)
        refused(told)
    (folder / "config.json").write_text(json.dumps(config))
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[: len(whole) // 2])
    refused("damaged or was not fetched to its end")
    (folder / FILE).unlink()
    refused("holds no diffusion_pytorch_model")
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    refused("pickle")
    (folder / f"{FILE}.index.json").write_text(json.dumps({"weight_map": {"conv_in.weight": "gone.safetensors"}}))
    refused(r"gone\.safetensors is missing")
    (folder / "config.json").unlink()
    refused(r"holds no config\.json")
