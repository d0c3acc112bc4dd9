"""The net: published sizes, what it starts as, axes that must not mix, and attention and positions against their plain forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.nets import vdt as module  # noqa: E402
from framefill.nets.layers import Attention, plane_table, rotary, rotate, time_table  # noqa: E402
from framefill.nets.saved import load_net  # noqa: E402
from framefill.nets.vdt import PRESETS, VDT, Block, Config, vdt_l2_paper, vdt_s2_paper, vdt_tiny  # noqa: E402

SMALL: Config = {"in_channels": 3, "patch_size": 2, "hidden_size": 48, "num_layers": 2, "num_heads": 3}
PAPER: Config = {**vdt_s2_paper(3), **SMALL}
MODES: dict[str, Config] = {
    "modern": SMALL,
    "shared": {**SMALL, "modulation": "shared"},
    "full": {**SMALL, "attention": "full"},
    "frame": {**SMALL, "attention": "frame"},
    "paper": PAPER,
}
EVERY = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alive(config: Config, seed: int = 0) -> VDT:
    """A net whose every weight differs from zero, as after training."""
    torch.manual_seed(seed)
    net = VDT(**config).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return net


def inputs(T: int = 5, H: int = 8, W: int = 12, B: int = 2, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, noise level B T, mask with a known frame, a hole and an unknown frame, known content."""
    generator = torch.Generator().manual_seed(seed)
    x, known = (torch.randn(B, T, 3, H, W, generator=generator) for _ in range(2))
    mask = (torch.rand(B, T, 1, H, W, generator=generator) < 0.5).float()
    mask[:, 0], mask[:, -1] = 0, 1
    return x, torch.rand(B, T, generator=generator), mask, known * (1 - mask)


def parameters(config: Config) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in VDT(**config).parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (vdt_s2_paper(), 41_361_056),
        (vdt_l2_paper(), 859_704_224),
        (vdt_s2_paper(num_classes=101), 41_399_456),
        (vdt_l2_paper(num_classes=101), 859_819_424),
        (vdt_s2_paper(num_classes=1000), 41_744_672),
        (vdt_l2_paper(num_classes=1000), 860_855_072),
        ({**vdt_s2_paper(), "attention": "frame"}, 32_481_440),
        ({**vdt_l2_paper(), "attention": "frame"}, 673_683_872),
        ({**vdt_l2_paper(num_classes=1000), "attention": "frame"}, 674_834_720),  # DiT-XL/2
        ({**vdt_s2_paper(3), "patch_size": 4, "hidden_size": 96, "num_layers": 4}, 923_136),
        ({**vdt_s2_paper(3), "patch_size": 4, "hidden_size": 128, "num_layers": 6, "num_heads": 4}, 2_379_232),
    ],
)
def test_published_sizes(config: Config, count: int) -> None:
    assert parameters(config) == count


def test_fixed_tables_have_the_published_size() -> None:
    device = torch.device("cpu")
    assert plane_table(16, 16, 384, device).numel() + time_table(16, 384, device).numel() == 104_448
    assert plane_table(16, 16, 1152, device).numel() + time_table(16, 1152, device).numel() == 313_344


def test_fixed_tables_say_column_then_row() -> None:
    table = plane_table(3, 4, 16, torch.device("cpu")).view(3, 4, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])
    assert torch.equal(table[:, 0, 8:], table[:, 3, 8:])
    assert not torch.equal(table[0, 1, :8], table[0, 2, :8])
    assert torch.allclose(table[1, 2, :4], torch.sin(2 * 10_000.0 ** (-torch.arange(4) / 4)))


def test_the_net_to_be_shipped_fits_in_8_megabytes_of_half_precision(tmp_path: Path) -> None:
    for patch in (4, 8):
        VDT(**vdt_tiny(patch_size=patch)).half().save_pretrained(tmp_path / str(patch))
        assert sum(path.stat().st_size for path in (tmp_path / str(patch)).iterdir()) < 8_000_000


def test_presets_can_be_built() -> None:
    for make in PRESETS.values():
        assert parameters(make()) > 1_000_000


@EVERY
def test_a_new_net_gives_zeros_and_its_modern_blocks_change_nothing(mode: str) -> None:
    net = VDT(**MODES[mode])
    x, level, mask, known = inputs()
    with torch.no_grad():
        assert not net(x, level, mask, known).any()
    tokens, condition = torch.randn(2, 3, 4, 48), torch.randn(2, 3, 48)
    block = net.blocks[0]
    if mode == "paper":
        with torch.no_grad():
            assert not torch.equal(block(tokens, condition, None), tokens), "W_o begins at Xavier's weights"
            torch.nn.init.zeros_(block.time_out.weight)
    shared = torch.zeros(2, 3, 9 * 48) if mode == "shared" else condition
    with torch.no_grad():
        assert torch.equal(block(tokens, shared, None), tokens)


def test_masked_loss_of_a_new_net_is_one_and_its_variance_midway() -> None:
    x, level, mask, known = inputs(T=16, H=32, W=32)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        made, variance = VDT(**PAPER)(x, level, mask, known).chunk(2, 2)
    hole = mask.expand_as(noise) > 0
    assert abs(float((noise - made)[hole].square().mean()) - 1) < 3 * (2 / int(hole.sum())) ** 0.5
    assert not variance.any(), "0 is the middle between the two bounds in log space"


@EVERY
def test_every_weight_learns(mode: str) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs()
    net(x, level, mask, known).square().sum().backward()
    dead = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not dead


def test_from_its_start_a_modern_net_learns_in_every_branch_within_three_steps() -> None:
    torch.manual_seed(0)
    net = VDT(**SMALL)
    x, level, mask, known = inputs()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    descent = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0)
    for _ in range(4):
        descent.zero_grad()
        (net(x, level, mask, known) - x).square().mean().backward()
        descent.step()
    still = [name for name, weight in net.named_parameters() if torch.equal(weight, before[name])]
    assert not still


@EVERY
def test_samples_do_not_touch_each_other(mode: str) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs(B=3)
    with torch.no_grad():
        together = net(x, level, mask, known)
        for sample in range(3):
            alone = net(*(part[sample : sample + 1] for part in (x, level, mask, known)))
            assert torch.allclose(together[sample : sample + 1], alone, atol=1e-5)
        turned = [2, 0, 1]
        assert torch.allclose(net(x[turned], level[turned], mask[turned], known[turned]), together[turned], atol=1e-5)


@EVERY
def test_without_positions_in_time_the_order_of_frames_is_free(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs()
    turned = [3, 1, 4, 0, 2]

    def difference() -> float:
        with torch.no_grad():
            one, other = net(x, level, mask, known)[:, turned], net(x[:, turned], level[:, turned], mask[:, turned], known[:, turned])
        return float((one - other).abs().max())

    if mode != "frame":
        assert difference() > 1e-3, "with positions the order matters"
    monkeypatch.setattr(module, "time_table", lambda frames, size, device: torch.zeros(frames, size, device=device))
    angles = rotary
    with_time = {"modern": 1, "shared": 1, "full": 3}.get(mode)

    def timeless(positions: Tensor, head_dim: int, period: float) -> tuple[Tensor, Tensor]:
        kept = positions.clone()
        if positions.shape[1] == with_time:
            kept[:, 0] = 0
        return angles(kept, head_dim, period)

    monkeypatch.setattr(module, "rotary", timeless)
    assert difference() < 1e-5


@EVERY
def test_one_level_for_all_frames_is_that_level_for_each(mode: str) -> None:
    net = alive(MODES[mode])
    x, _, mask, known = inputs()
    level = torch.tensor([0.3, 0.8])
    with torch.no_grad():
        once, each = net(x, level, mask, known), net(x, level[:, None].repeat(1, 5), mask, known)
        level_matters = net(x, level + 0.1, mask, known)
    assert torch.allclose(once, each, atol=1e-6)
    assert not torch.allclose(once, level_matters, atol=1e-4)


def test_modulation_by_frame_equals_a_loop_over_frames() -> None:
    block = alive({**SMALL, "attention": "frame"}).blocks[0]
    tokens, condition = torch.randn(2, 3, 4, 48), torch.randn(2, 3, 48)
    with torch.no_grad():
        whole = block(tokens, condition, None)
        parts = [block(tokens[:, t : t + 1], condition[:, t : t + 1], None) for t in range(3)]
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-6)


@pytest.mark.parametrize("mode", ["modern", "shared", "full"])
def test_the_level_of_a_known_frame_says_nothing_and_neither_does_x_where_it_is_known(mode: str) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs()
    other_x, other_level = torch.where(mask > 0, x, torch.full_like(x, torch.inf)), level.clone()
    other_level[:, 0] = 0.123  # frame 0 is wholly known
    with torch.no_grad():
        plain = net(x, level, mask, known)
        assert torch.equal(plain, net(other_x, other_level, mask, known))
        other_level[:, 1] = 0.123  # frame 1 has a hole
        assert not torch.equal(plain, net(x, other_level, mask, known))
        assert not torch.equal(plain, net(x, level, mask, known * 1.1))


def test_the_paper_s_net_reads_known_content_in_place_of_x() -> None:
    net = alive(PAPER)
    x, level, mask, known = inputs()
    with torch.no_grad():
        assert torch.equal(net(x, level, mask, known), net(torch.where(mask > 0, x, known), level))


@EVERY
@pytest.mark.parametrize("size", [(1, 2, 2), (1, 5, 7), (7, 9, 4), (3, 2, 11)], ids=str)
def test_any_length_and_size(mode: str, size: tuple[int, int, int]) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs(*size)
    with torch.no_grad():
        made = net(x, level, mask, known)
    assert made.shape == (2, size[0], net.out_channels, *size[1:])
    assert made.isfinite().all()


def test_padding_to_whole_patches_equals_padding_by_hand() -> None:
    net = alive(SMALL)
    x, level, mask, known = inputs(H=5, W=7)
    by_hand = [functional.pad(part.flatten(0, 1), (0, 1, 0, 1), mode="replicate").unflatten(0, (2, 5)) for part in (x, mask, known)]
    with torch.no_grad():
        assert torch.equal(net(x, level, mask, known), net(by_hand[0], level, by_hand[1], by_hand[2])[..., :5, :7])


def test_a_patch_stays_in_its_place() -> None:
    # With no attention and no MLP the net is a map of each patch to itself, so a change in one patch may change no other.
    net = alive({**SMALL, "num_layers": 1})
    with torch.no_grad():
        for weight in (*net.blocks[0].attention.proj.parameters(), *net.blocks[0].time_attention.proj.parameters()):
            weight.zero_()
        x, level, mask, known = inputs(H=8, W=12)
        changed = x.clone()
        changed[:, 4, :, 2:4, 6:8] += 1  # the last frame is wholly unknown
        away = (net(x, level, mask, known) - net(changed, level, mask, known)).abs().amax((0, 2))
    assert away[4, 2:4, 6:8].min() > 0
    away[4, 2:4, 6:8] = 0
    assert not away.any()


@pytest.mark.parametrize("normalise", [False, True])
def test_attention_equals_explicit_softmax(normalise: bool) -> None:
    torch.manual_seed(0)
    layer = Attention(24, 3, normalise)
    x = torch.randn(2, 4, 5, 24)
    angles = rotary(torch.arange(5)[:, None], 8, 100.0)
    with torch.no_grad():
        query, key, value = (part.reshape(2, 4, 5, 3, 8).transpose(2, 3) for part in layer.qkv(x).chunk(3, -1))
        if normalise:
            query, key = (part * torch.rsqrt(part.square().mean(-1, keepdim=True) + 1e-6) for part in (query, key))
        query, key = rotate(query, angles), rotate(key, angles)
        weights = (query @ key.transpose(-1, -2) / 8**0.5).softmax(-1)
        plain = layer.proj((weights @ value).transpose(2, 3).reshape(x.shape))
        assert torch.allclose(layer(x, angles), plain, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rotary_scores_depend_on_distances_only(axes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(6, 16, generator=generator) for _ in range(2))
    places = torch.randint(0, 9, (6, axes), generator=generator)

    def scores(shift: Tensor) -> Tensor:
        angles = rotary(places + shift, 16, 100.0)
        return rotate(query, angles) @ rotate(key, angles).T

    here = scores(torch.zeros(axes, dtype=torch.long))
    assert torch.allclose(here, scores(torch.tensor([5, 11, 3][:axes])), atol=1e-4)
    assert torch.allclose(rotate(query, rotary(places, 16, 100.0)).norm(dim=-1), query.norm(dim=-1), atol=1e-5)
    for axis in range(axes):  # every axis has its share of the pairs
        moved = places.clone()
        moved[0, axis] += 1
        angles = rotary(moved, 16, 100.0)
        assert not torch.allclose(here, rotate(query, angles) @ rotate(key, angles).T, atol=1e-3)


@EVERY
def test_checkpointing_changes_no_gradient(mode: str) -> None:
    net = alive(MODES[mode])
    x, level, mask, known = inputs()

    def gradients() -> list[Tensor]:
        net.zero_grad()
        net(x, level, mask, known).square().sum().backward()
        return [weight.grad.clone() for weight in net.parameters()]

    plain = gradients()
    net.enable_gradient_checkpointing()
    calls = []
    net.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    assert all(torch.allclose(one, other, atol=1e-6, rtol=1e-5) for one, other in zip(plain, gradients(), strict=True))
    assert len(calls) == 2, "a block is computed again in the backward pass"


def test_labels() -> None:
    net = alive({**SMALL, "num_classes": 3})
    x, level, mask, known = inputs()
    with torch.no_grad():
        none = net(x, level, mask, known)
        assert torch.equal(none, net(x, level, mask, known, labels=torch.tensor([3, 3])))
        assert not torch.equal(none, net(x, level, mask, known, labels=torch.tensor([0, 1])))


def test_what_cannot_be_is_refused() -> None:
    net = alive(SMALL)
    x, level, mask, known = inputs()
    with pytest.raises(UsageError, match="both or neither"):
        net(x, level, mask)
    with pytest.raises(UsageError, match="B or B T"):
        net(x, level[:, :3], mask, known)
    with pytest.raises(UsageError, match="without classes"):
        net(x, level, mask, known, labels=torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="multiple of 4 x heads"):
        VDT(hidden_size=50, num_heads=3)
    with pytest.raises(UsageError, match="factorised, full, frame"):
        VDT(attention="temporal")


@EVERY
def test_a_saved_net_comes_back_the_same_and_differs_from_an_untrained_one(mode: str, tmp_path: Path) -> None:
    net = alive(MODES[mode])
    net.save_pretrained(tmp_path)
    loaded = load_net(VDT, tmp_path).eval()
    assert dict(loaded.config).items() >= MODES[mode].items()
    given = inputs()
    with torch.no_grad():
        assert torch.equal(loaded(*given), net(*given))
        assert not torch.allclose(loaded(*given), VDT(**MODES[mode])(*given), atol=1e-3)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read"):
        load_net(VDT, tmp_path / "nowhere")
    alive(SMALL).save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    tensors = load_file(weights)
    kept = dict(tensors)
    kept.pop("out.bias")
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 1 tensors \(out.bias"):
        load_net(VDT, tmp_path)
    save_file({**tensors, "model.out.bias": tensors["out.bias"].clone()}, weights, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"unknown 1 tensors \(model.out.bias"):
        load_net(VDT, tmp_path)
    save_file({**tensors, "out.bias": torch.zeros(5)}, weights, {"format": "pt"})
    with pytest.raises(WeightsError, match="cannot read"):
        load_net(VDT, tmp_path)


def test_half_precision_stays_close() -> None:
    net = alive(SMALL)
    given = inputs()
    with torch.no_grad():
        exact = net(*given)
        half = net.bfloat16()(given[0].bfloat16(), *given[1:])
    assert half.dtype == torch.bfloat16
    assert float((half.float() - exact).abs().mean() / exact.abs().mean()) < 0.05


def test_blocks_have_the_counted_parts() -> None:
    D = 48
    counts = {mode: sum(weight.numel() for weight in VDT(**MODES[mode]).blocks[0].parameters()) for mode in MODES}
    assert isinstance(VDT(**SMALL).blocks[0], Block)
    assert counts["paper"] == 23 * D**2 + 22 * D
    assert counts["frame"] == 18 * D**2 + 15 * D + 2 * (D // 3)
    assert counts["modern"] == 25 * D**2 + 22 * D + 4 * (D // 3)
    assert counts["shared"] == 16 * D**2 + 22 * D + 4 * (D // 3)
