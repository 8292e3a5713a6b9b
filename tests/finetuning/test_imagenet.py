"""Fine-tuning on photographs; benchmarks/finetune.py does it at full size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED, run_cli

pytestmark = pytest.mark.imagenet
# Of Keras' order of ImageNet's classes: wading birds against sporting dogs.
GROUPS = {"bird": range(127, 147), "dog": range(205, 222)}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """calibration/<group> and val/<group>, as links."""
    from edgezoo.images import imagenet_classes

    for part in ("calibration", "val"):
        for group, indices in GROUPS.items():
            place = tmp_path / part / group
            place.mkdir(parents=True)
            for wnid in (imagenet_classes.classes()[index][0] for index in indices):
                for file in sorted((SHARED / "imagenet" / part / wnid).glob("*")):
                    (place / file.name).symlink_to(file.resolve())
    return tmp_path


def test_photographs(photographs: Path) -> None:
    """ImageNet's own classes tell birds from dogs, so the features must too."""
    ended = run_cli("finetune", "mobilenet", "--alpha", "0.25", "--input-size", "128", "--data",
                    photographs / "calibration", "--held-out", photographs / "val",
                    "--unfreeze-blocks", "0", "-o", photographs / "net.keras", "--json",
                    KERAS_HOME=os.path.relpath(SHARED / "keras", ROOT))  # fmt: skip
    assert ended.code == 0, ended.stderr
    facts = ended.json
    assert facts["images"]["held_out"] >= 20
    assert facts["held_out"]["top1"] >= 0.9
