"""The page on layers: what each layer of Keras becomes, and what Keras 2 wrote."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tables import RESULTS, table

_FORMATS, _PRECISIONS = ("tflite", "onnx", "openvino"), ("float32", "float16", "int8")
_ALL = len(_FORMATS) * len(_PRECISIONS)
_KINDS = {
    "layer": "layers",
    "variant": "variants of layers",
    "activation": "activations",
    "function": "functions of `keras.ops`",
}


def layers() -> str:
    """Counts, what is refused and why, decibels of every file, and the layers of Keras 2."""
    swept: dict[str, Any] = json.loads((RESULTS / "layers.json").read_text())
    old: dict[str, Any] = json.loads((RESULTS / "keras2_layers.json").read_text())
    return f"""# Layers of your own network

Each layer, activation and function of Keras stood in a network of its own. It was converted to
TFLite and from there to ONNX, which must agree with Keras within 60 dB in float32. Some of them
went through every format and precision (`benchmarks/layer_sweep.py`, which goes on where it was
ended): float16 within 40 dB, and int8 files are made and run; their figure says what 8 bits cost
that network of random weights.

{_counts(swept)}
Augmentation layers pass images through. Recurrent layers are written step by step. In int8 files
roots, quotients and exponentials, and so the inner parts of normalization layers, stay in float
([why](decisions/0096-roots-stay-in-float.md)).

## Refused

{_refused(swept)}
## Decibels

{_decibels(swept)}
## Keras 2

Each layer of Keras 2 in a network of its own, written by tf_keras as `.h5` and as `.keras`, loaded
by EdgeZoo and compared with what Keras 2 answered (`benchmarks/keras2_layers.py`).
{_keras2(old)}
"""


def _made(entry: dict[str, Any], key: str) -> bool:
    return isinstance(entry["files"].get(key), int | float)


def _counts(swept: dict[str, Any]) -> str:
    rows = []
    for kind, words in _KINDS.items():
        entries = [entry for entry in swept.values() if entry["kind"] == kind]
        refused = sum(not any(_made(entry, key) for key in entry["files"]) for entry in entries)
        whole = sum(len(entry["files"]) == _ALL for entry in entries)
        rows.append([words, len(entries), len(entries) - refused, refused, whole])
    return table(["", "cases", "converted", "refused", "all nine"], rows)


def _refused(swept: dict[str, Any]) -> str:
    rows = []
    for name, entry in sorted(swept.items()):
        reasons: dict[str, list[str]] = {}
        for key, value in entry["files"].items():
            if isinstance(value, str):
                reasons.setdefault(value, []).append(key)
        for reason, keys in reasons.items():
            formats = Counter(key.split(" ")[0] for key in keys)
            where = "all" if len(keys) == 9 or keys == ["all"] else ", ".join(formats)
            rows.append([name, where, reason.replace("|", "/")])
    return table(["case", "formats", "reason"], rows)


def _decibels(swept: dict[str, Any]) -> str:
    rows = []
    for name, entry in sorted(swept.items()):
        if any(_made(entry, key) for key in entry["files"]):
            cells = [
                " / ".join(_cell(entry, f"{form} {precision}") for precision in _PRECISIONS)
                for form in _FORMATS
            ]
            rows.append([name, *cells])
    note = (
        "float32 / float16 / int8; 200 where nothing differs, a dash where the file is refused, a "
        "dot where it was not measured.\n\n"
    )
    return note + table(["case", *_FORMATS], rows)


def _cell(entry: dict[str, Any], key: str) -> str:
    """Decibels; a dash where it is refused, a dot where that file was not measured."""
    value = entry["files"].get(key, entry["files"].get("all"))
    return f"{value:.0f}" if _made(entry, key) else "·" if value is None else "-"


def _keras2(old: dict[str, Any]) -> str:
    bound, rows = old["bound"], old["layers"]
    same = [row for row in rows if all(_close(row.get(kind), bound) for kind in (".h5", ".keras"))]
    text = f"{len(same)} of {len(rows)} answer the same within {bound:g}. The others:\n\n"
    others = [
        [row["layer"], row.get(".h5", row["not_written"]), row.get(".keras", row["not_written"])]
        for row in rows
        if row not in same
    ]
    return text + table(["layer", ".h5", ".keras"], others)


def _close(value: object, bound: float) -> bool:
    return isinstance(value, float) and value <= bound
