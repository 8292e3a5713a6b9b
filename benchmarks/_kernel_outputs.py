"""Writes the raw answers of an int8 .tflite file by one set of kernels; run by kernels.py.

python _kernel_outputs.py FILE PIXELS.npy default|reference|gpu|tflite_micro COUNT OUTPUT.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def interpreted(file: str, batch: np.ndarray, kernels: str) -> np.ndarray:
    """By LiteRT's interpreter alone, which a device has too."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
    interpreter = Interpreter(model_path=file, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for row in batch:
        interpreter.set_tensor(taken["index"], row[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"])[0])
    return np.stack(rows)


def on_gpu(file: str, batch: np.ndarray) -> np.ndarray:
    """By LiteRT's GPU accelerator; the session refuses what it cannot run whole."""
    from edgezoo.runtimes import _litert_gpu
    from edgezoo.runtimes.litert import tensor_infos

    path = Path(file)
    session = _litert_gpu.LiteRtGpuSession(path, *tensor_infos(path))
    with session:
        if not session.ran_on.fully_accelerated:
            sys.exit("the GPU left operations to the CPU")
        return session.run(batch)


def on_micro(file: str, batch: np.ndarray) -> np.ndarray:
    """By the kernels of TFLite Micro."""
    from edgezoo.runtimes.tflite_micro import TfliteMicroSession

    with TfliteMicroSession(Path(file)) as session:
        return session.run(batch)


def taken_by(file: str, batch: np.ndarray) -> np.ndarray:
    """Pixels in the file's type: as they are, or less 128."""
    from ai_edge_litert.interpreter import Interpreter

    (taken,) = Interpreter(model_path=file).get_input_details()
    return batch if taken["dtype"] == np.uint8 else (batch.astype(np.int16) - 128).astype(np.int8)


def main(file: str, pixels: str, kernels: str, count: str, output: str) -> None:
    batch = taken_by(file, np.load(pixels)[: int(count)])
    if kernels == "gpu":
        answers = on_gpu(file, batch)
    elif kernels == "tflite_micro":
        answers = on_micro(file, batch)
    else:
        answers = interpreted(file, batch, kernels)
    np.save(output, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
