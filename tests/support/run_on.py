"""Runs a file on two devices or runtimes and prints how far they are apart, as JSON.

python run_on.py FILE PIXELS.npy DEVICE [RUNTIME]: the file on DEVICE (in RUNTIME) against the same
file on the CPU, or, where RUNTIME is tflite_micro, against TFLite's reference kernels. In a process
of its own, since GPU drivers are chosen by the environment of a process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import numpy as np

from edgezoo.inference.conversion import to_input
from edgezoo.inference.predict import open_artifact, predict


def reference_kernels(path: str, batch: np.ndarray) -> np.ndarray:
    """Raw outputs of TFLite's reference kernels, input by input."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for row in batch:
        interpreter.set_tensor(taken["index"], row[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"])[0])
    return np.stack(rows)


def main(path: str, pixels: str, device: str, runtime: str | None = None) -> None:
    images = np.load(pixels)
    artifact, session = open_artifact(path, device=device, runtime=runtime)
    contract = artifact.required_contract()
    with session:
        batch = to_input(images, contract, session.inputs[0])
        raw = session.run(batch)
        scores = predict(session, contract, images[:1])
        ran_on = asdict(session.ran_on)
    if runtime == "tflite_micro":
        expected = reference_kernels(path, batch)
    else:
        _, usual = open_artifact(path)
        with usual:
            expected = usual.run(batch)
    apart = np.abs(raw.astype(np.float64) - expected.astype(np.float64))
    facts = {
        "ran_on": ran_on,
        "images": len(images),
        "apart": float(apart.max()),
        "within_4": int((apart.max(1) <= 4).sum()),
        "different_images": int((apart.max(1) > 0).sum()),
        "same_top1": int((raw.argmax(1) == expected.argmax(1)).sum()),
        "sum": float(scores.sum()),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
