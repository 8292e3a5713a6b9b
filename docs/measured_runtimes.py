"""Committed results of other kernels and other programs on EdgeZoo's files."""

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
        for made, side in (("EdgeZoo", "edgezoo"), ("libraries", "by_hand"))
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
    """Other programs on EdgeZoo's files."""
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
    columns = ["client", "file", "agrees, same resize %", "agrees, EdgeZoo's crop %",
               "its top-1 %", "top-1 with EdgeZoo's crop %", "names"]  # fmt: skip
    return [
        f"## Other programs\n\n{origin(result)}\n",
        f"mobilenet {result['alpha']} at {result['size']} px, given only paths, compared with "
        "EdgeZoo's session on\nimages that are stretched as by the client, and with EdgeZoo's "
        "resize and centre crop.\n",
        table(columns, rows),
    ]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "kernels": _kernels,
    "clients": _clients,
}
