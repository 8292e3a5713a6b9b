"""Runs a file and its float network on the same images, and compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.explanation.causes import Answers, Cause, Stage, StageName, decompose, logits_of, stage
from edgezoo.explanation.input_view import InputView, compare_inputs
from edgezoo.explanation.layers import LayerReport, report
from edgezoo.explanation.reference import Reference
from edgezoo.explanation.simulation import STREAMS, Simulation
from edgezoo.inference.predict import predict, to_input

# Memory for activations: all streams and the trace of a batch are kept at once.
_BYTES = 64 * 2**20
_MOST_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Analysis:
    """All figures about one file.

    Attributes:
        images: number of images.
        kept: number of them that keep the source's top-1 in the file, counted as in `evaluate`.
        stages: by name, "source" first and "file" last.
        layers: worst first.
        view: actual and correct input of the network.
        unmatched: weighted layers of the float network that are not in the file.
        trace_difference: largest difference of a score between the ordinary session and the one
            that shows inner tensors; 0 if tracing changes nothing.
    """

    images: int
    kept: int
    stages: dict[StageName, Stage]
    causes: tuple[Cause, ...]
    layers: tuple[LayerReport, ...]
    view: InputView
    unmatched: tuple[str, ...]
    trace_difference: float


def analyse(
    artifact: Artifact,
    reference: Reference,
    pixels: NDArray[np.uint8],
    source: NDArray[np.float32] | None,
    float_file: NDArray[np.float32] | None,
    labels: NDArray[np.int64] | None,
) -> Analysis:
    """Run all stages and compare them.

    Args:
        artifact: a quantized file with a contract.
        reference: its float network.
        pixels: uint8 RGB, shape (n, size, size, 3).
        source: probabilities of the Keras network, (n, classes); None if the float network
            itself is the source.
        float_file: probabilities of a float file of the same format, if there is one.
        labels: correct classes, (n,), if known.
    """
    anatomy = registry.anatomy_reader(artifact.path).read(artifact.path)
    simulation = Simulation(reference, anatomy)
    scores, entered, difference = _run(artifact, simulation, pixels)
    right = reference.inputs(pixels)
    if source is None:
        for part in _parts(simulation, len(pixels)):
            simulation.plain(right[part], "source")
    answers = _answers(simulation, scores)
    if source is not None:
        answers["source"] = Answers(source, logits_of(source))
    if float_file is not None:
        answers["float file"] = Answers(float_file, logits_of(float_file))
    order: tuple[StageName, ...] = ("source", "float file", *STREAMS, "file")
    stages = {
        name: stage(name, answers["source"], answers[name], labels)
        for name in order
        if name in answers
    }
    kept = int(np.sum(answers["source"].scores.argmax(1) == scores.argmax(1)))
    return Analysis(
        len(pixels),
        kept,
        stages,
        decompose(stages),
        report(simulation),
        compare_inputs(reference, right, np.concatenate(entered), simulation.alignment.reversed),
        tuple(simulation.unmatched),
        difference,
    )


def _parts(simulation: Simulation, count: int) -> Iterator[slice]:
    """Yield slices of the images that fit into the memory for activations."""
    size = max(1, min(_MOST_IMAGES, _BYTES // simulation.bytes_per_image))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _run(
    artifact: Artifact, simulation: Simulation, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], float]:
    """Run the real file and all streams of the simulation.

    Returns:
        The file's scores, the input of its first layer, and `Analysis.trace_difference`.
    """
    contract = artifact.required_contract()
    reader = registry.anatomy_reader(artifact.path)
    scores, entered, difference = [], [], 0.0
    with (
        registry.runtime_for(artifact.path).open(artifact) as session,
        reader.trace(artifact.path, set(simulation.names)) as tracer,
    ):
        for part in _parts(simulation, len(pixels)):
            batches = to_input(pixels[part], contract, session.inputs[0])
            scores.append(predict(session, contract, pixels[part]))
            raw = session.run(batches)
            # A file takes one image at a time, and so does its traced copy.
            traces = [tracer.run(batches[i : i + 1]) for i in range(len(batches))]
            shown = np.concatenate([trace.scores for trace in traces]).reshape(raw.shape)
            difference = max(difference, float(np.abs(shown.astype(np.float32) - raw).max()))
            got = np.concatenate([trace.entered for trace in traces])
            entered.append(simulation.alignment.entered(got))
            names = traces[0].values
            traced = {n: np.concatenate([trace.values[n] for trace in traces]) for n in names}
            simulation.run(entered[-1], traced)
    return np.concatenate(scores), entered, difference


def _answers(simulation: Simulation, scores: NDArray[np.float32]) -> dict[StageName, Answers]:
    """Return scores and logits by stage, without a background class before the others."""

    def joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([part.reshape(len(part), -1) for part in parts])[:, -classes:]

    classes = scores.shape[1]
    outcome = simulation.outcome
    found: dict[StageName, Answers] = {
        name: Answers(joined(parts), joined(outcome.logits[name]))
        for name, parts in outcome.scores.items()
    }
    traced = "file" in outcome.logits
    logits = joined(outcome.logits["file"]) if traced else logits_of(scores)
    return {**found, "file": Answers(scores, logits)}
