"""Top-1 of a file in runtimes of years ago: ask_old_runtimes.py MODEL PIXELS.npy.

PIXELS.npy has shape (n, size, size, 3) and the file's own input type.
"""

from __future__ import annotations

import json
import sys

import numpy as np


def main(model: str, pixels: str) -> None:
    best = []
    if model.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(model)
        name = session.get_inputs()[0].name
        for one in np.load(pixels):
            best.append(int(session.run(None, {name: one[None]})[0].argmax()))
    else:
        from tflite_runtime.interpreter import Interpreter

        interpreter = Interpreter(model)
        interpreter.allocate_tensors()
        for one in np.load(pixels):
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[None])
            interpreter.invoke()
            index = interpreter.get_output_details()[0]["index"]
            best.append(int(interpreter.get_tensor(index).argmax()))
    print(json.dumps(best))


main(*sys.argv[1:])
