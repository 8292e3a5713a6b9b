"""What each method of the int8 recipe brings on its own, and what methods left out would bring.

One float network, the same 100 calibration images, and 650 labelled images to score the TFLite int8
file on; the rows differ in one method each. The methods of the default recipe are switched off one
by one; range estimators and per-channel equalization, which the recipe leaves out, are switched on.
Writes results/int8-methods.json.

    python benchmarks/int8_methods.py [MODEL...]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import _common as common

# name in the result: arguments of an export
MODELS: dict[str, dict[str, Any]] = {
    "mobilenet 0.25/224": {"model": "mobilenet", "alpha": 0.25},
    "mobilenet 0.5/160": {"model": "mobilenet", "alpha": 0.5, "input_size": 160},
    "efficientnet_lite0": {"model": "efficientnet_lite0"},
}
CALIBRATION = 100
# Values of an activation that a range is estimated from, of each image.
SAMPLES = 4000
# Shares of the observed range among which the MSE estimator looks for the best.
SHARES = [share / 50 for share in range(15, 51)]

Ranges = dict[str, tuple[float, float]]


class Stage:
    """A float network, its observed ranges, and what it answers to the labelled images."""

    def __init__(self, arguments: dict[str, Any], folder: Path) -> None:
        from edgezoo.calibration.observation import Observation
        from edgezoo.calibration.sources import open_images
        from edgezoo.networks.arguments import taken_from
        from edgezoo.pipeline import children
        from edgezoo.pipeline.export_run import Work
        from edgezoo.pipeline.plan import resolve
        from edgezoo.pipeline.request import ExportRequest

        images = common.SHARED / "imagenet"
        others = dict(arguments)
        chosen = taken_from(others)
        request = ExportRequest(
            arguments=chosen,
            **others,
            formats=("tflite",),
            precisions=("int8",),
            calibration=str(images / "calibration"),
            calibration_count=CALIBRATION,
            images=images / "val",
            max_drop_points=100.0,  # has the labelled images decoded; nothing here holds it
        )
        self.work = Work(resolve(request), folder, lambda _: None, False)
        self.work.choose_images()
        self.work.make_source()
        self.images = self.work._calibration_images()
        self.work._call(children.observe_network, folder, self.work.contract, self.images)
        self.folder = folder
        self.plain = folder / "plain.tflite"
        self.feed = children._network_input(self.work.contract)
        self.seen = Observation.load(folder / "observation.json")
        assert self.work.calibration is not None
        self.pixels = open_images(self.work.calibration).array()

    def measure(
        self, effort: str = "default", ranges: Ranges | None = None, equalized: bool = False
    ) -> dict[str, Any]:
        """Prepare, quantize and score once."""
        from edgezoo.calibration import equalization, observation, preparation
        from edgezoo.core.recipe import Recipe

        start = time.process_time()
        plain, seen = self.plain, self.seen
        if equalized:
            plain = self.folder / "equalized.tflite"
            plain.write_bytes(self.plain.read_bytes())
            equalization.equalize(plain, self.pixels, self.feed)
            seen = observation.observe(plain, self.pixels, self.feed)
        if ranges is not None:
            seen = replace(seen, ranges={**seen.ranges, **ranges})
        made = preparation.prepare(
            plain,
            self.folder / "prepared.tflite",
            self.pixels,
            self.feed,
            seen,
            Recipe(effort=effort),  # type: ignore[arg-type]
        )
        made.save(self.folder / "prepared.tflite.json")
        seconds = time.process_time() - start
        return {**self._score(), "prepare_cpu_s": round(seconds, 1)}

    def _score(self) -> dict[str, Any]:
        import numpy as np

        from edgezoo.evaluation.agreement import sqnr_db
        from edgezoo.pipeline import children
        from edgezoo.pipeline.export_run import answers_to

        ((_, job),) = self.work.plan.jobs
        jobs = (children.FileJob(job, "scored"),)
        (path,) = children.export_files(self.folder, self.work.contract, jobs, self.images)
        assert self.work.labelled is not None
        pixels = self.work.labelled.pixels
        found = np.load(self.work.answers({"tflite": [path]}, pixels)[path])
        exact = np.load(answers_to(pixels))
        classes = np.array(self.work.labelled.classes)
        top1 = [float((answers.argmax(1) == classes).mean()) for answers in (exact, found)]
        return {
            "agreement": round(float((exact.argmax(1) == found.argmax(1)).mean()), 4),
            "top1": round(top1[1], 4),
            "drop": round(top1[0] - top1[1], 4),
            "sqnr_db": round(sqnr_db(exact, found), 2),
        }


def samples(stage: Stage) -> dict[str, Any]:
    """Some values of each activation that a range may be estimated for, by tensor name.

    Left out are the input, whose range is known, and what comes after the last layer with weights.
    """
    import numpy as np

    from edgezoo.formats.tflite_stepwise import StepwiseNetwork, preserving_interpreter

    network, interpreter = StepwiseNetwork(stage.plain), preserving_interpreter(stage.plain)
    last = max(step.index for step in network.steps if step.weights is not None)
    tensors = sorted({step.output for step in network.steps if step.index < last})
    taken: dict[int, list[Any]] = {tensor: [] for tensor in tensors}
    rng = np.random.default_rng(0)
    for picture in stage.pixels:
        interpreter.set_tensor(network.input, stage.feed(picture)[None])
        interpreter.invoke()
        for tensor in tensors:
            values = interpreter.get_tensor(tensor).ravel()
            taken[tensor].append(values[rng.integers(0, values.size, SAMPLES)])
    return {network.name(tensor): np.concatenate(rows) for tensor, rows in taken.items()}


def percentile_ranges(stage: Stage, values: dict[str, Any], share: float) -> Ranges:
    """Ranges that hold this share of the values, in percent; never wider than observed."""
    import numpy as np

    return {
        name: (
            float(min(0.0, np.percentile(found, 100 - share))),
            float(max(0.0, np.percentile(found, share))),
        )
        for name, found in values.items()
        if stage.seen.ranges[name][1] > stage.seen.ranges[name][0]
    }


def mse_ranges(stage: Stage, values: dict[str, Any]) -> Ranges:
    """Ranges whose 8-bit grid has the smallest mean squared error on the values."""
    import numpy as np

    from edgezoo.core.rounding import fake_quantize

    found = {}
    for name, sample in values.items():
        low, high = stage.seen.ranges[name]
        errors = [
            float(np.mean((fake_quantize(sample, low * s, high * s) - sample) ** 2)) for s in SHARES
        ]
        share = SHARES[int(np.argmin(errors))]
        found[name] = (low * share, high * share)
    return found


def rows_of(stage: Stage) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every method by name, as something to run."""
    import numpy as np

    values = samples(stage)

    def without(*patches: Any, **options: Any) -> dict[str, Any]:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            return stage.measure(**options)

    module = "edgezoo.calibration.bias_correction"
    nearest = mock.patch(f"{module}.quantize_weights", return_value=None)
    no_shift = mock.patch(f"{module}.mean_shift", return_value=np.float32(0))
    return {
        "min/max ranges alone (fast)": lambda: stage.measure(effort="fast"),
        "bias correction alone": lambda: without(nearest),
        "GPTQ alone": lambda: without(no_shift),
        "default: GPTQ and bias correction": stage.measure,
        "best: four times the images": lambda: stage.measure(effort="best"),
        "default, MSE ranges": lambda: stage.measure(ranges=mse_ranges(stage, values)),
        "default, 99.99 percentile ranges": lambda: stage.measure(
            ranges=percentile_ranges(stage, values, 99.99)
        ),
        "default, 99.9 percentile ranges": lambda: stage.measure(
            ranges=percentile_ranges(stage, values, 99.9)
        ),
        "default, equalized per channel": lambda: stage.measure(equalized=True),
    }


def main() -> int:
    common.require_shared()
    os.environ["KERAS_HOME"] = str(common.SHARED / "keras")
    models = []
    for name in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            stage = Stage(MODELS[name], Path(scratch))
            rows = {}
            for method, run in rows_of(stage).items():
                rows[method] = run()
                print(name, method, json.dumps(rows[method]), flush=True)
        models.append({"model": name, "methods": rows})
        path = common.save("int8-methods", {"calibration_images": CALIBRATION, "models": models})
    print(path.relative_to(common.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
