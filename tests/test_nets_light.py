"""The light net: what it may look at, at any length and size, and how it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from light_kit import small_net  # noqa: E402
from torch import Tensor  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.nets.light import PRESETS, Light  # noqa: E402
from framefill.nets.saved import load_net  # noqa: E402


def clip(T: int = 3, H: int = 64, W: int = 96, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, T, 1, H, W)
    mask[..., H // 4 : H // 2, W // 4 : W // 2] = 1
    return torch.rand(1, T, 3, H, W, generator=generator) * 2 - 1, mask


def changed(net: Light, given: Tensor, mask: Tensor) -> Tensor:
    with torch.no_grad():
        return net(given, mask)


def test_the_shipped_size_has_at_most_three_million_weights() -> None:
    assert sum(p.numel() for p in Light(**PRESETS["light"]).parameters()) == 2_918_144


@pytest.mark.parametrize("preset", PRESETS)
def test_a_new_net_changes_nothing(preset: str) -> None:
    given, mask = clip()
    assert changed(Light(**PRESETS[preset]), given, mask).abs().max() == 0


@pytest.mark.parametrize(("T", "H", "W"), [(1, 64, 64), (2, 100, 100), (5, 17, 33), (1, 1, 1), (3, 270, 480)])
def test_any_length_and_size(T: int, H: int, W: int) -> None:
    given, mask = clip(T, H, W)
    mask[..., H // 2, W // 2] = 1
    out = changed(small_net(), given, mask)
    assert out.shape == given.shape
    assert torch.isfinite(out).all()
    assert (out[(mask == 0).expand_as(out)] == 0).all()
    assert out.abs().max() > 0


def test_a_batch_is_its_singles() -> None:
    net, (one, mask), (two, other) = small_net(), clip(seed=1), clip(seed=2)
    other = other.roll(9, -1)
    both = changed(net, torch.cat((one, two)), torch.cat((mask, other)))
    assert torch.allclose(both[:1], changed(net, one, mask), atol=1e-5)
    assert torch.allclose(both[1:], changed(net, two, other), atol=1e-5)


def test_every_frame_is_seen_from_every_other() -> None:
    net, (given, mask) = small_net(), clip(T=4)
    moved = given.clone()
    moved[:, 0, :, :8, :8] += 0.5  # known, in the first frame
    apart = (changed(net, moved, mask) - changed(net, given, mask)).abs().amax((0, 2, 3, 4))
    assert (apart > 0).all()


def test_without_attention_in_time_frames_are_alone() -> None:
    net, (given, mask) = small_net(), clip(T=4)
    for mixer in net.mixers:
        mixer.in_time.proj.weight.data.zero_()
    moved = given.clone()
    moved[:, 0, :, :8, :8] += 0.5
    apart = (changed(net, moved, mask) - changed(net, given, mask)).abs().amax((0, 2, 3, 4))
    assert apart[0] > 0
    assert apart[1:].max() < 1e-6


def test_what_lies_beyond_a_window_is_seen_through_the_shifted_one() -> None:
    net, (given, mask) = small_net(), clip(T=1, H=64, W=256)
    mask.zero_()
    mask[..., 30:34, 62:66] = 1
    moved = given.clone()
    moved[..., 30:34, 90:94] += 0.5  # 96 pixels are a window and a half of 4 cells
    assert (changed(net, moved, mask) - changed(net, given, mask)).abs().max() > 0


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("count", [1, 3, 4, 6, 7, 8, 9, 15, 16, 40])
def test_windows_cover_an_axis_without_gaps(count: int, shifted: bool) -> None:
    mixer = small_net().mixers[int(shifted)]
    assert mixer.shifted is shifted
    cuts = mixer._cuts(count)
    assert [start for start, _ in cuts] == [0, *(stop for _, stop in cuts[:-1])]
    assert cuts[-1][1] == count
    assert all(0 < stop - start <= 6 for start, stop in cuts)


def test_saved_and_read_it_is_the_same(tmp_path: Path) -> None:
    net, (given, mask) = small_net(), clip()
    net.save_pretrained(tmp_path / "net")
    again = load_net(Light, tmp_path / "net").eval()
    assert torch.equal(changed(net, given, mask), changed(again, given, mask))
    assert not torch.equal(changed(again, given, mask), changed(small_net(seed=1), given, mask))


def test_bad_folders_and_numbers_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read the net"):
        load_net(Light, tmp_path)
    with pytest.raises(UsageError, match="heads"):
        Light(channels=(8, 8, 10), num_heads=4)
    with pytest.raises(UsageError, match="window"):
        Light(window=3)
