"""The learning curve as an image."""

from __future__ import annotations

from xml.etree import ElementTree

from edgezoo.finetuning import curve
from edgezoo.finetuning.finetune_result import Epoch, Stage

SVG = "{http://www.w3.org/2000/svg}"
STAGES: tuple[Stage, ...] = ("top", "top", "top", "blocks", "blocks")
EPOCHS = [
    Epoch(stage, 1 / (i + 1), i / 4, 2 / (i + 1), i / 5, i < 3) for i, stage in enumerate(STAGES)
]


def test_every_epoch_is_drawn_and_the_best_one_marked() -> None:
    root = ElementTree.fromstring(curve.draw(EPOCHS, "a < b"))
    lines = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [5, 5, 5, 5]
    heights = [float(point.split(",")[1]) for point in lines[0]]
    assert heights == sorted(heights), "the loss falls, so the line goes down"
    spots = [(c.attrib["cx"], c.attrib["cy"]) for c in root.iter(f"{SVG}circle")]
    assert spots == [tuple(lines[1][2].split(",")), tuple(lines[3][2].split(","))]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[0] == "a < b: loss"
    assert texts.count("top, from epoch 1") == texts.count("blocks, from epoch 4") == 2


def test_one_epoch() -> None:
    root = ElementTree.fromstring(curve.draw(EPOCHS[:1], "one"))
    assert len(list(root.iter(f"{SVG}circle"))) == 2
