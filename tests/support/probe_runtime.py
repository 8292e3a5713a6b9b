"""Tries one runtime on whole, foreign and damaged files, and prints what came of it as JSON.

python probe_runtime.py RUNTIME REQUEST.json. In a process of its own, since the Keras runtime
loads TensorFlow and a damaged file may crash native code: the request's order and the lines on
standard error then tell at which case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import EdgeZooError


def _runs(session: Any, batch: Any) -> bool:
    return bool(session.run(batch).any())


def _text(look: Callable[[Any], object], path: str | Path) -> str:
    return str(look(path))


def _opened(runtime: Any, path: str) -> str:
    return str(runtime.open(plain(path, runtime)))


def outcome(case: str, action: Callable[[], Any]) -> dict[str, Any]:
    """What an action gives: {"value"}, or {"error", "message"}."""
    sys.stderr.write(f"probe: {case}\n")
    sys.stderr.flush()
    try:
        return {"value": action()}
    except EdgeZooError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception as error:  # reported, the test judges
        return {"error": f"unexpected {type(error).__name__}", "message": str(error)}


def plain(path: str, runtime: Any) -> Artifact:
    """An artifact by its path alone, so that opening is tried whatever reading says."""
    return Artifact(Path(path), runtime.format, runtime.files(Path(path)))


def whole(runtime: Any, artifact: Artifact) -> dict[str, Any]:
    """Everything that a file in order must allow, and what a session must refuse."""
    facts: dict[str, Any] = {
        "contract": runtime.read_contract(artifact.path),
        "ops": runtime.describe(artifact.path).ops,
        "files": [str(path) for path in runtime.files(artifact.path)],
        "refusal_cpu": runtime.refusal(artifact, "cpu"),
        "refusal_tpu": runtime.refusal(artifact, "tpu9"),
        "open_tpu": outcome("device", lambda: bool(runtime.open(artifact, "tpu9"))),
    }
    with runtime.open(artifact, "cpu", 1) as session:
        taken = session.inputs[0]
        facts["input"] = [list(taken.shape), taken.dtype]
        facts["output"] = [list(session.outputs[0].shape), session.outputs[0].dtype]
        generator = np.random.default_rng(0)
        batch = generator.integers(0, 256, (5, *taken.shape[1:])).astype(taken.dtype)
        together = session.run(batch)
        singles = np.concatenate([session.run(batch[i : i + 1]) for i in range(5)])
        facts["batch"] = [list(together.shape), str(together.dtype)]
        facts["same_as_single"] = bool(np.array_equal(together, singles))
        facts["same_again"] = bool(np.array_equal(together, session.run(batch)))
        facts["kept"] = bool((together != together[0]).any())
        timed = session.prepared(batch[3:4])
        facts["prepared"] = all(np.array_equal(timed(), together[3:4]) for _ in range(3))
        facts["none"] = list(session.run(batch[:0]).shape)
        wrong = "float64" if taken.dtype == "float32" else "float32"
        bad = {
            "dtype": batch.astype(wrong),
            "size": batch[:, :-1],
            "layout": np.moveaxis(batch, -1, 1),
            "unbatched": batch[0],
        }
        facts["bad"] = {k: outcome(k, partial(_runs, session, v)) for k, v in bad.items()}
    with runtime.open(artifact, "cpu", 2) as more:
        difference = more.run(batch).astype("float32") - together.astype("float32")
        facts["threads"] = float(np.abs(difference).max())
    closed = runtime.open(artifact)
    closed.close()
    facts["closed_twice"] = outcome("close", lambda: closed.close())
    return facts


def main(name: str, request: dict[str, Any]) -> None:
    runtime = registry.runtimes()[name]
    facts: dict[str, Any] = {
        "version": runtime.version(),
        "devices": list(runtime.devices()),
        "whole": whole(runtime, plain(request["file"], runtime)),
        "foreign": outcome("foreign", lambda: runtime.read_contract(Path(request["foreign"]))),
        "damaged": {},
    }
    for case, path in request["damaged"].items():
        facts["damaged"][case] = {
            "load": outcome(f"load {case}", partial(_text, registry.load_artifact, path)),
            "describe": outcome(f"describe {case}", partial(_text, runtime.describe, Path(path))),
            "open": outcome(f"open {case}", partial(_opened, runtime, path)),
        }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
