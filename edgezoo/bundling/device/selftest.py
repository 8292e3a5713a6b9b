#!/usr/bin/env python3
"""Test on the device that decoder, resize and runtime work as where the bundle was made.

    python3 selftest.py [--using PROGRAM.py] [--exact] [--threads N] [--json]

Golden images go through `prepare` of the program (classify.py next to this file, or yours, with
the same arguments), and the result is compared with the input that the model should get. Where it
differs, the fault is named: swapped colours, another scale, another resize. Then the model runs on
the right inputs, and its outputs are compared with those of the machine that made the bundle.

Exit code 0: no difference. 1: something differs. 2: the test could not run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import platform
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Other decoders and other roundings of the same resize stay within this many of 255 values.
CLOSE_MEAN, CLOSE_MAX = 1.0, 5.0
# Kernels of another processor or runtime sometimes round an 8-bit activation the other way, and a
# softmax turns that into a few steps of 1/256, which a file may return as floats; float kernels
# differ in the last bits.
CLOSE_STEPS, CLOSE_FLOAT = 16, 1e-3

Json = dict[str, Any]


def load_program(path: Path) -> Any:
    """Load a Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SystemExit(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_list() -> Json:
    """Read bundle.json."""
    path = HERE / "bundle.json"
    try:
        facts: Json = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"file": str, "golden": str, "images": list}
        right = isinstance(facts["sha256"], dict) and all(
            isinstance(model[key], kind) for model in facts["models"] for key, kind in kinds.items()
        )
        right = right and len(facts["models"]) > 0
    except (ValueError, TypeError, LookupError):
        right = False
    if not right:
        raise SystemExit(f"{path} is not what EdgeZoo wrote: copy the bundle again.")
    return facts


def reason(error: BaseException, program: Path | None) -> str:
    """Return why the test could not run, with the line where Python code is at fault."""
    text = (str(error).strip() or "no reason given").splitlines()[0]
    frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    own = [place for place in frames if program and place[0].resolve() == program.resolve()]
    if isinstance(error, SyntaxError):
        text, own = error.msg, [(Path(error.filename or "?"), error.lineno)]
    elif not own and isinstance(error, SystemExit):
        return text
    elif not own and isinstance(error, (OSError, ValueError, RuntimeError, ImportError)):
        return f"{text.rstrip('.')}."
    file, line = (own or frames)[-1]
    return f"{type(error).__name__}: {text.rstrip('.')} ({file}, line {line})."


def changed_files(facts: Json) -> list[str]:
    """Return models and golden files that are missing or were changed."""
    return [
        name
        for name, wanted in facts["sha256"].items()
        if not (HERE / name).is_file()
        or hashlib.sha256((HERE / name).read_bytes()).hexdigest() != wanted
    ]


# What is wrong with an input


def moments(values: Any) -> tuple[Any, Any]:
    """Return mean and spread of each channel; a resize hardly changes them."""
    flat = values.reshape(-1, values.shape[-1]).astype("float64")
    return flat.mean(0), flat.std(0)


def misfit(values: Any, other: Any) -> float:
    """Return the share of the variance of `values` that a line through `other` leaves."""
    import numpy as np

    x, y = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (other, values))
    x, y = x - x.mean(0), y - y.mean(0)
    slope = (x * y).sum(0) / np.maximum((x * x).sum(0), 1e-12)
    return float(((y - slope * x) ** 2).sum() / max(float((y * y).sum()), 1e-12))


def is_swapped(got: Any, wanted: Any) -> bool:
    """Return whether red and blue are swapped."""
    import numpy as np

    if got.shape[-1] == 1:
        return False
    (seen, _), (right, _) = moments(got), moments(wanted)
    seen, right = (mean - mean.mean() for mean in (seen, right))
    # By the means of the channels relative to one another, which no resize and no scale changes.
    length = float(np.linalg.norm(seen) * np.linalg.norm(right)) or 1.0
    nearer = float(seen @ right[::-1] - seen @ right) / length > 0.3
    return nearer and misfit(got[..., ::-1], wanted) < min(0.6, misfit(got, wanted))


def unscaled(got: Any, wanted: Any) -> tuple[Any, bool]:
    """Return `got` on the scale of `wanted`, and whether it had another scale."""
    import numpy as np

    (seen, spread), (right, wide) = moments(got), moments(wanted)
    reach = float(wanted.max() - wanted.min())
    other = bool(
        (spread < 0.4 * wide).any()
        or (spread > 2.5 * wide).any()
        or (np.abs(seen - right) > 0.2 * reach).any()
    )
    if not other:
        return got.astype(np.float64), False
    return (got - seen) * (wide / np.maximum(spread, 1e-12)) + right, True


def compare_input(got: Any, wanted: Any, resizes: Callable[[], Json]) -> list[dict[str, str]]:
    """Return every fault of an input: {"kind", "message"}.

    Args:
        got: the input that the program prepared.
        wanted: the input that the model should get.
        resizes: other ways to resize the same image, by name: uint8 RGB pixels.
    """
    import numpy as np

    got = np.asarray(got)
    faults: list[dict[str, str]] = []

    def fault(kind: str, message: str) -> None:
        faults.append({"kind": kind, "message": message})

    if got.shape != wanted.shape:
        fault("layout", f"the shape is {got.shape}, the model takes {wanted.shape}")
    elif got.dtype != wanted.dtype:
        fault("type", f"the values are {got.dtype}, the model takes {wanted.dtype}")
    if faults or np.array_equal(got, wanted):
        return faults
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)  # int8 overflows
    if not np.isfinite(got).all():
        fault("scale", "some values are not numbers: NaN or infinite")
        return faults
    if wanted.shape[-1] not in (1, 3):  # NCHW
        got, wanted = np.moveaxis(got, 1, -1), np.moveaxis(wanted, 1, -1)
    low, high = wanted.min(), wanted.max()
    if is_swapped(got, wanted):
        fault("colours", "red and blue are swapped: the image was decoded as BGR")
        got = got[..., ::-1]
    values, other_scale = unscaled(got, wanted)
    if other_scale:
        fault(
            "scale",
            f"values go from {got.min():g} to {got.max():g}, the model takes {low:g} to {high:g}",
        )
    error = np.abs(values - wanted) / (float(high - low) / 255)
    if error.mean() > CLOSE_MEAN or error.max() > CLOSE_MAX:
        name = likely(values, wanted, resizes())
        if name or not other_scale:  # a lost scale leaves errors of its own
            fault("resize", f"another way of resizing or cropping{name and f', {name}'}")
    return faults


def likely(values: Any, wanted: Any, resizes: Json) -> str:
    """Return the name of the resize that explains the values, or "" where none does."""
    errors = {name: misfit(values, pixels) for name, pixels in resizes.items()}
    best = min(errors, key=lambda name: errors[name])
    return best if errors[best] < 0.25 * misfit(values, wanted) else ""


def other_resizes(path: Path, contract: Json) -> Json:
    """Resize in other common ways than the contract's: pixels (height, width, channels) by name."""
    import numpy as np
    from PIL import Image, ImageOps

    rows = int(contract["input_size"])
    columns, channels = int(contract.get("input_width") or rows), int(contract.get("channels") or 3)
    share = contract["crop_fraction"] if contract["resize"].get("mode") is None else 0.875
    kind = "L" if channels == 1 else "RGB"
    with Image.open(path) as opened:
        raw = opened.convert("RGB").convert(kind)
        image = ImageOps.exif_transpose(opened).convert("RGB").convert(kind)
    filters = Image.Resampling
    own = filters[contract["resize"]["filter"].upper()]

    def cropped(image: Any, share: float, resample: Any) -> Any:
        across, down = round(columns / share), round(rows / share)
        scale = max(across / image.size[0], down / image.size[1])
        width, height = (round(n * scale) for n in image.size)
        width, height = max(across, width), max(down, height)
        left, top = (width - columns) // 2, (height - rows) // 2
        box = (left, top, left + columns, top + rows)
        return image.resize((width, height), resample).crop(box)

    def stretched(image: Any, resample: Any) -> Any:
        return image.resize((columns, rows), resample)

    def fitted(image: Any, resample: Any) -> Any:
        scale = min(columns / image.size[0], rows / image.size[1])
        width, height = (max(1, round(n * scale)) for n in image.size)
        left, top = (width - columns) // 2, (height - rows) // 2
        whole = image.resize((width, height), resample)
        return whole.crop((left, top, left + columns, top + rows))

    def sampled(image: Any) -> Any:
        if mode == "stretch":
            across, down = image.size[0] / columns, image.size[1] / rows
        else:
            across = down = min(image.size[0] / columns, image.size[1] / rows) * share
        left, top = (image.size[0] - across * columns) / 2, (image.size[1] - down * rows) / 2
        place = (across, 0, left, 0, down, top)
        affine = Image.Transform.AFFINE
        return image.transform((columns, rows), affine, place, filters.BILINEAR)

    mode = contract["resize"].get("mode")

    def right(image: Any, resample: Any) -> Any:
        if mode == "stretch":
            return stretched(image, resample)
        return fitted(image, resample) if mode == "fit" else cropped(image, share, resample)

    found = {
        "not rotated as EXIF says": right(raw, own),
        "squeezed to a square": stretched(image, own),
        "squeezed to a square, nearest pixel": stretched(image, filters.NEAREST),
        "no margin cut off": cropped(image, 1.0, own),
        "its shape kept, with a border": fitted(image, own),
        "the centre cut out": cropped(image, share, own),
        "bilinear without averaging, as OpenCV and TensorFlow do": sampled(image),
    }
    same = {"stretch": "squeezed to a square", "fit": "its shape kept, with a border"}
    del found[same.get(mode, "the centre cut out")]
    others = {
        "nearest pixel": filters.NEAREST,
        "bilinear": filters.BILINEAR,
        "bicubic": filters.BICUBIC,
        "Lanczos": filters.LANCZOS,
        "area averages": filters.BOX,
    }
    found |= {name: right(image, f) for name, f in others.items() if f != own}
    shape = (rows, columns, channels)
    return {name: np.asarray(image, np.uint8).reshape(shape) for name, image in found.items()}


# What the model returns


def allowed(precision: str, dtype: Any, exact: bool) -> float:
    """Return how far a raw output of `dtype` may be from the expected one."""
    if exact and precision == "int8":
        return 0.0
    if dtype.kind in "iu":
        return float(CLOSE_STEPS)
    return CLOSE_STEPS / 256 if precision == "int8" else CLOSE_FLOAT


def compare_output(raw: Any, wanted: Any, limit: float) -> Json:
    """Compare two raw outputs."""
    import numpy as np

    difference = float(np.abs(raw.astype(np.float64) - wanted).max())
    return {
        "equal": bool(np.array_equal(raw, wanted)),
        "max_difference": difference,
        "passed": raw.shape == wanted.shape and difference <= limit,
    }


def check_model(
    facts: Json, prepare: Callable[..., Any], device: Any, exact: bool, threads: int
) -> Json:
    """Test one model with all golden images; `device` is classify.py next to this file."""
    import numpy as np

    model = HERE / facts["file"]
    contract = device.read_contract(model)
    interpreter, runtime = device.open_interpreter(model, threads)
    tensor, given = device.input_of(interpreter, contract), device.output_of(interpreter, contract)
    golden = np.load(HERE / facts["golden"])
    images = []
    for name in facts["images"]:
        path = HERE / name
        wanted, answer = golden[f"input/{path.name}"], golden[f"output/{path.name}"]
        faults = compare_input(
            prepare(path, contract, tensor),
            wanted,
            lambda path=path: other_resizes(path, contract),  # type: ignore[misc]
        )
        limit = allowed(contract["precision"], answer.dtype, exact)
        output = compare_output(device.run(interpreter, wanted, given), answer, limit)
        images.append({"image": name, "faults": faults, "output": output})
    return {
        "file": facts["file"],
        "runtime": runtime,
        "images": images,
        "passed": all(not i["faults"] and i["output"]["passed"] for i in images),
    }


def say(text: str) -> None:
    """Print a line; control characters of names in the bundle's files are escaped."""
    print("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text))


def show(result: Json) -> None:
    """Print the result as text."""
    for name in result["changed_files"]:
        say(f"FAILED: {name} is missing or was changed: copy it again.")
    for model in result["models"]:
        say(f"{model['file']} with {model['runtime']} on {result['machine']}")
        for entry in model["images"]:
            output = entry["output"]
            found = "equal" if output["equal"] else f"differs by {output['max_difference']:g}"
            fed = "input correct" if not entry["faults"] else "INPUT WRONG"
            limit = "" if output["passed"] else ": TOO MUCH"
            say(f"  {entry['image']:<22} {fed}, output {found}{limit}")
        faults = [fault for entry in model["images"] for fault in entry["faults"]]
        for kind, text in {fault["kind"]: fault["message"] for fault in reversed(faults)}.items():
            say(f"  FAILED: {kind}: {text}")
        if not all(entry["output"]["passed"] for entry in model["images"]):
            say("  FAILED: runtime: correct inputs lead to other outputs than expected")
    say("PASSED" if result["passed"] else "FAILED")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Test a bundle on the device.")
    parser.add_argument("--using", type=Path, metavar="FILE", help="a program with `prepare`")
    parser.add_argument("--exact", action="store_true", help="8-bit models: no difference allowed")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    try:
        facts = read_list()
        device = load_program(HERE / "classify.py")
        device.require_packages()
        program = load_program(asked.using) if asked.using else device
        prepare = getattr(program, "prepare", None)
        if not callable(prepare):
            raise SystemExit(f"{asked.using} has no function prepare(path, contract, tensor).")
        changed = changed_files(facts)
        models = [
            check_model(model, prepare, device, asked.exact, asked.threads)
            for model in ([] if changed else facts["models"])
        ]
    except (Exception, SystemExit) as error:  # the user's program may raise anything
        print(f"The test could not run: {reason(error, asked.using)}", file=sys.stderr)
        return 2
    result = {
        "passed": not changed and all(model["passed"] for model in models),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "changed_files": changed,
        "models": models,
    }
    if asked.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
