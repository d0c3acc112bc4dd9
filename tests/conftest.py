"""What several test files use: the packaged clips, and the optional folder of data beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from framefill.samples import sample


@pytest.fixture(scope="session")
def city() -> Path:
    """96 frames of 640x360 from a moving camera, with sound."""
    return sample("city.mp4")


@pytest.fixture(scope="session")
def city_mask() -> Path:
    return sample("city-mask.mp4")


@pytest.fixture(scope="session")
def vtest() -> Path:
    """40 frames of 768x576 from a fixed camera, without sound."""
    return sample("vtest.mp4")


@pytest.fixture(scope="session")
def vtest_mask() -> Path:
    return sample("vtest-mask.mp4")


@pytest.fixture(scope="session")
def shared() -> Path:
    """`../shared`: clips that may not be committed; a test that asks for it is an extra and is skipped where the folder is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return folder
