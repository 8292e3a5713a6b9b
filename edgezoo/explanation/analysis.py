"""Runs a file and its float network on the same images, and compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from edgezoo.core import registry
from edgezoo.core.arrays import Floats, Labels, Pixels
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.typed_json import Length, Positive, Range, Share
from edgezoo.explanation.causes import Answers, Cause, Stage, StageName, decompose, logits_of, stage
from edgezoo.explanation.input_view import InputView, compare_inputs
from edgezoo.explanation.layers import LayerReport, report
from edgezoo.explanation.reference import Reference
from edgezoo.explanation.simulation import STREAMS, Simulation
from edgezoo.inference import heads
from edgezoo.inference.conversion import to_input
from edgezoo.inference.predict import predict

# Memory for activations: all streams and the trace of a batch are kept at once.
_BYTES = 64 * 2**20
_MOST_IMAGES = 16
_SURE = 8.0  # the logit of 0.9997, of which float32 has the difference from 1 to four digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All figures about one file.

    Attributes:
        agreement_top1: share of images that keep the source's top-1; of equal best classes the
            first counts.
        lost_agreement: from the source to the file; here and below, equal best classes share an
            image.
        lost_top1: negative for a gain; null without labels.
        stages: source first, file last.
        causes: their shares add up to the whole loss.
        layers: lowest local_sqnr_db first.
        unmatched_layers: weighted layers of the float network that are not in the file.
        trace_difference: largest difference of a score between an ordinary session and the one
            that shows inner tensors; 0 if tracing changes nothing.
    """

    images: Positive
    agreement_top1: Share
    lost_agreement: float
    lost_top1: float | None
    stages: tuple[Stage, ...]
    causes: Annotated[tuple[Cause, ...], Length(5, 5)]
    input: InputView
    layers: tuple[LayerReport, ...]
    unmatched_layers: tuple[str, ...]
    trace_difference: Annotated[float, Range(0)]

    def stage(self, name: StageName) -> Stage | None:
        """Return a stage by name."""
        return next((stage for stage in self.stages if stage.name == name), None)


def analyse(
    artifact: Artifact,
    reference: Reference,
    pixels: Pixels,
    source: Floats | None,
    float_file: Floats | None,
    labels: Labels | None,
) -> Analysis:
    """Run all stages and compare them.

    Args:
        artifact, reference: a quantized file, and its float network.
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
    contract = artifact.required_contract()
    answers = _answers(simulation, scores, contract)
    given: dict[StageName, Floats | None] = {"source": source, "float file": float_file}
    several = contract.multi_label
    answers |= {
        name: Answers(x, logits_of(x, independent=several))
        for name, x in given.items()
        if x is not None
    }
    if several or contract.binary:
        answers = {name: _bounded(answer) for name, answer in answers.items()}
    order: tuple[StageName, ...] = ("source", "float file", *STREAMS, "file")
    present = [name for name in order if name in answers]
    stages = {n: stage(n, answers["source"], answers[n], labels) for n in present}
    kept = int(np.sum(answers["source"].scores.argmax(1) == scores.argmax(1)))
    view = compare_inputs(reference, right, entered, simulation.alignment.reversed)
    before, after = stages["source"].top1, stages["file"].top1
    return Analysis(
        images=len(pixels),
        agreement_top1=kept / len(pixels),
        lost_agreement=1 - stages["file"].agreement_top1,
        lost_top1=None if before is None or after is None else before - after,
        stages=tuple(stages.values()),
        causes=decompose(stages),
        input=view,
        layers=report(simulation),
        unmatched_layers=tuple(simulation.unmatched),
        trace_difference=difference,
    )


def _parts(simulation: Simulation, count: int) -> Iterator[slice]:
    """Yield slices of the images that fit into the memory for activations."""
    size = max(1, min(_MOST_IMAGES, _BYTES // simulation.exact.bytes_per_image))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _run(
    artifact: Artifact, simulation: Simulation, pixels: Pixels
) -> tuple[Floats, Floats, float]:
    """Return the file's scores, the input of its first layer, and the trace difference.

    All streams of the simulation run on the same batches.
    """
    contract = artifact.required_contract()
    reader = registry.anatomy_reader(artifact.path)
    scores, entered, difference = [], [], 0.0
    with (
        reader.open(artifact) as session,
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
    return np.concatenate(scores), np.concatenate(entered), difference


def _bounded(answer: Answers) -> Answers:
    """Bound the logits of sigmoids: in float32, a probability near 1 does not tell its logit."""
    return Answers(answer.scores, np.clip(answer.logits, -_SURE, _SURE))


def _answers(
    simulation: Simulation, scores: Floats, contract: InputContract
) -> dict[StageName, Answers]:
    """Return scores and logits by stage, without a background class before the others."""

    def joined(parts: list[Floats]) -> Floats:
        return np.concatenate([part.reshape(len(part), -1) for part in parts])[:, -classes:]

    def logits_from(parts: list[Floats]) -> Floats:
        found = joined(parts)
        # One logit is the difference of two that make the same probabilities by a softmax.
        return np.concatenate([-found / 2, found / 2], axis=1) if found.shape[1] == 1 else found

    def scores_from(parts: list[Floats]) -> Floats:
        found = joined(parts)
        if contract.head in ("logits", "sigmoid-logits"):
            return heads.probabilities(found, contract)
        return heads.both_sides(found)

    classes = scores.shape[1]
    outcome = simulation.outcome
    found: dict[StageName, Answers] = {
        name: Answers(scores_from(parts), logits_from(outcome.logits[name]))
        for name, parts in outcome.scores.items()
    }
    traced, several = "file" in outcome.logits, contract.multi_label
    own = logits_of(scores, independent=several)
    logits = logits_from(outcome.logits["file"]) if traced else own
    return {**found, "file": Answers(scores, logits)}
