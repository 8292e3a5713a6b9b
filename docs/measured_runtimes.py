"""Committed results about other kernels and other people's programs on our files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables import origin, table


def _kernels(result: dict[str, Any]) -> list[str]:
    """One file on several kernels."""
    names = {"pi": "Raspberry Pi, emulated", "pi reference": "Raspberry Pi, reference",
             "gpu": "GPU (SwiftShader)", "default": "LiteRT's default",
             "reference": "TFLite's reference", "tflite_micro": "TFLite Micro"}  # fmt: skip
    rows = [
        [
            f"{model['alpha']}/{model['size']}",
            made,
            " and ".join(names[kernels] for kernels in pair.split(" / ")),
            facts["images"],
            *(f"{100 * facts[key] / facts['images']:.1f}" for key in ("identical", "within_4")),
            facts["largest"],
            f"{100 * facts['same_top1'] / facts['images']:.1f}",
        ]
        for model in result["models"]
        for made, side in (("EdgeZoo", "edgezoo"), ("by hand", "by_hand"))
        for pair, facts in model[side].items()
    ]
    return [
        f"## One int8 .tflite on several kernels\n\n{origin(result)}\n",
        "Share of images with identical outputs, with outputs within 4 of 256 steps, the largest\n"
        "difference in steps, and the share with the same top-1.\n",
        table(["mobilenet", "made by", "kernels", "images", "identical %", "within 4 %",
               "largest", "same top-1 %"], rows),
    ]  # fmt: skip


def _clients(result: dict[str, Any]) -> list[str]:
    """Other people's programs on our files."""
    rows = [
        [
            row["client"],
            row["precision"],
            *(f"{100 * row[key]:.1f}" for key in ("agreement_same_resize", "agreement_our_crop")),
            *(f"{100 * row[key]:.1f}" for key in ("top1_client", "top1_our_crop")),
            f"{row['names']} of {row['images']}",
        ]
        for row in result["clients"]
    ]
    columns = ["client", "file", "agrees, same resize %", "agrees, our crop %",
               "its top-1 %", "top-1 with our crop %", "names"]  # fmt: skip
    return [
        f"## Other people's programs\n\n{origin(result)}\n",
        f"mobilenet {result['alpha']} at {result['size']} px, told nothing but paths, against our "
        "session on\npictures that are stretched as the client does it, and on our resize and "
        "centre crop.\n",
        table(columns, rows),
    ]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "kernels": _kernels,
    "clients": _clients,
}
