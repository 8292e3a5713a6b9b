"""Runs a file beside its float network on some images: what `edgezoo explain` rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.explanation.causes import Answers, Cause, Stage, decompose, logits_of, stage
from edgezoo.explanation.input_view import InputView, compare_inputs
from edgezoo.explanation.layers import LayerReport, report
from edgezoo.explanation.reference import Reference
from edgezoo.explanation.simulation import STREAMS, Simulation
from edgezoo.inference.predict import predict, to_input

# Activations of as many images as fit are kept at once, for each stream and the trace.
_BYTES = 64 * 2**20
_MOST_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Analysis:
    """All figures about one file.

    Attributes:
        images: how many were run.
        kept: how many of them keep the source's top-1 in the file, as `evaluate` counts.
        stages: by name, "source" first and "file" last.
        layers: worst first.
        view: what the network gets, beside what it should get.
        unmatched: weighted layers of the float network that the file does not show.
        trace_difference: largest difference of a score between the ordinary session and the one
            that shows its inner tensors; 0 where looking changes nothing.
    """

    images: int
    kept: int
    stages: dict[str, Stage]
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
        artifact: a quantized file, with its contract or one that was told.
        reference: its float network.
        pixels: uint8 RGB, shape (n, size, size, 3).
        source: probabilities of the Keras network, (n, classes); None where the float network
            itself is the source.
        float_file: probabilities of a float file of the same format, where there is one.
        labels: the right classes, (n,), where they are known.
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
    order = ("source", "float file", *STREAMS, "file")
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
    """Slices of the images, as many at once as memory is set aside for."""
    size = max(1, min(_MOST_IMAGES, _BYTES // simulation.bytes_per_image))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _run(
    artifact: Artifact, simulation: Simulation, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], float]:
    """The real file and all streams beside it.

    Returns:
        The file's scores, what entered its first layer, and `Analysis.trace_difference`.
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
            traces = [tracer.run(batches[i : i + 1]) for i in range(len(batches))]
            shown = np.concatenate([trace.scores for trace in traces]).reshape(raw.shape)
            difference = max(difference, float(np.abs(shown.astype(np.float32) - raw).max()))
            got = np.concatenate([trace.entered for trace in traces])
            entered.append(simulation.alignment.entered(got))
            names = traces[0].values
            traced = {n: np.concatenate([trace.values[n] for trace in traces]) for n in names}
            simulation.run(entered[-1], traced)
    return np.concatenate(scores), entered, difference


def _answers(simulation: Simulation, scores: NDArray[np.float32]) -> dict[str, Answers]:
    """Scores and logits by stage; a background class in front of the others is left out."""

    def joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([part.reshape(len(part), -1) for part in parts])[:, -classes:]

    classes = scores.shape[1]
    outcome = simulation.outcome
    found = {
        name: Answers(joined(parts), joined(outcome.logits[name]))
        for name, parts in outcome.scores.items()
    }
    seen = "file" in outcome.logits
    logits = joined(outcome.logits["file"]) if seen else logits_of(scores)
    return {**found, "file": Answers(scores, logits)}
