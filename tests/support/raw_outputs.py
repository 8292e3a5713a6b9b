"""Prints the raw outputs of a file for pictures as JSON: {kernels: [hex of the bytes, ...]}.

python raw_outputs.py FILE COUNT PICTURE...  Runs as well on a device. "default" is what a session
of EdgeZoo gives; "reference" are TFLite's reference kernels, on the first COUNT pictures alone,
since they are slow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.conversion import to_input
from edgezoo.inference.predict import open_artifact


def reference_interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert import interpreter as lite
    except ImportError:
        from tflite_runtime import interpreter as lite
    kernels = lite.OpResolverType.BUILTIN_REF
    made = lite.Interpreter(model_path=str(path), experimental_op_resolver_type=kernels)
    made.allocate_tensors()
    return made


def main(path: Path, count: int, pictures: list[Path]) -> None:
    artifact, session = open_artifact(path)
    contract = artifact.required_contract()
    with session:
        inputs = [
            to_input(load_pixels(p, contract.input_size)[None], contract, session.inputs[0])
            for p in pictures
        ]
        facts = {"default": [session.run(values)[0] for values in inputs]}
    if count:
        interpreter = reference_interpreter(path)
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        facts["reference"] = []
        for values in inputs[:count]:
            interpreter.set_tensor(taken["index"], values)
            interpreter.invoke()
            facts["reference"].append(interpreter.get_tensor(given["index"])[0])
    named = {kernels: [raw.tobytes().hex() for raw in rows] for kernels, rows in facts.items()}
    print(json.dumps(named))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
