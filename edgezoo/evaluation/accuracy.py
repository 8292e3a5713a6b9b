"""Top-1 and top-5 accuracy on labelled images, and the drop from a reference, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import fingerprints
from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.ran_on import RanOn, Remote
from edgezoo.core.sequences import OneOrMany, PathLike, path, paths
from edgezoo.core.spec import THRESHOLD
from edgezoo.core.typed_json import Count, JsonObject, Positive, Range, Share, optional
from edgezoo.evaluation import drop, multi_label, outcomes, ranks
from edgezoo.evaluation.multi_label import MultiLabel
from edgezoo.evaluation.outcomes import Outcomes
from edgezoo.evaluation.ranks import Ranks
from edgezoo.images import folders, labelled
from edgezoo.images.class_names import LabelsFrom
from edgezoo.images.folders import LeftOut
from edgezoo.images.labelled import LabelledImages
from edgezoo.images.preprocessing import recipe_hash, require_readable, why_unreadable
from edgezoo.images.repeats import repeats
from edgezoo.images.shards import Member
from edgezoo.inference.predict import require_classes, require_third_party

Points = Annotated[float, Range(-100, 100)]
Find = Callable[[InputContract], LabelledImages]
FindPaths = Callable[[InputContract], Sequence[Path | Member]]
# Ranks the classes of every image by a file: `ranks.rank`, here or elsewhere.
Ranker = Callable[[Path, FindPaths], Ranks]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy of one file; shares are from 0 to 1, drops in percentage points.

    Attributes:
        runtime: package and version
        device: the value of --device
        ran_on: what the runtime reports that it ran on
        images: that were scored
        unreadable: files that were skipped
        unreadable_files: their names and reasons
        resumed: images that an interrupted run had scored
        top1_ci95, top5_ci95: Wilson interval
        trained: false where the weights are random
        preprocessing: hash of the resize-and-crop recipe
        overlap: images that the file was calibrated on; null where the file does not record them
        agreement_top1: with the reference
        drop_points: top-1 of the reference minus that of the file, in percentage points
        drop_points_ci95: Tango's score interval for paired proportions
        verdict: equal: the interval lies within equal_within_points; better: of another network
        images_needed: about how many images would give a verdict; null where these do
        multi_label: where classes do not exclude one another
        outcomes: of each image, for comparisons in pairs
    """

    artifact: Path
    runtime: str | None
    device: str
    ran_on: RanOn
    images: Positive
    unreadable: Count
    unreadable_files: tuple[LeftOut, ...]
    resumed: Count
    top1: Share
    top5: Share
    top1_ci95: tuple[Share, Share]
    top5_ci95: tuple[Share, Share]
    trained: bool
    preprocessing: str
    overlap: Count | None
    reference: Path | None = None
    agreement_top1: Share | None = None
    drop_points: Points | None = None
    drop_points_ci95: tuple[Points, Points] | None = None
    verdict: drop.Verdict | None = None
    images_needed: Positive | None = None
    multi_label: MultiLabel | None = optional()
    outcomes: Outcomes | None = optional()


@dataclass(frozen=True, slots=True)
class EvaluateResult(JsonObject):
    """The accuracy of files on the same images.

    Attributes:
        equal_within_points: a drop or gain that does not matter, percentage points
        max_drop_points: --max-drop
        failures: files whose drop may exceed max_drop_points (exit code 6)
        left_out: files that are not images of a class, such as pipes, and images in no folder
        repeated: images whose bytes another image has too; they count each time
        warnings: what a reader should know of the images, as sentences
        notes: what was assumed for files without a contract
    """

    results: tuple[Accuracy, ...]
    equal_within_points: Points
    max_drop_points: Points | None
    failures: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    repeated: Count
    warnings: tuple[str, ...]
    remote: Remote | None = optional()
    notes: tuple[str, ...] | None = optional()


@dataclass(frozen=True, slots=True)
class _Scores:
    """What a file ranks, and the true classes of the images, shape (images,)."""

    path: Path
    contract: InputContract
    ranks: Ranks
    labels: NDArray[np.int32]
    labels_hash: str
    images: LabelledImages

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each image could be read."""
        mask: NDArray[np.bool_] = self.ranks.top[:, 0] != ranks.UNREADABLE
        return mask

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether each class is right for each image, where several can be."""
        every = self.images.every or tuple((int(label),) for label in self.labels)
        return multi_label.truth_of(every, self.contract.classes)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each of the best classes is right, shape (images, 5)."""
        top = self.ranks.top
        if not self.images.every:
            plain: NDArray[np.bool_] = top == self.labels[:, None]
            return plain
        found: NDArray[np.bool_] = np.take_along_axis(self.truth, np.maximum(top, 0), axis=1)
        return found & (top >= 0)


def evaluate(
    artifacts: OneOrMany[PathLike],
    images: PathLike,
    *,
    ground_truth: PathLike | None = None,
    split: str | None = None,
    labels_from: LabelsFrom | None = None,
    reference: PathLike | None = None,
    equal_within_points: float | None = None,
    max_drop_points: float | None = None,
    limit: int | None = None,
    allow_overlap: bool = False,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    jobs: int | None = None,
    resume: bool = True,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: PathLike | None = None,
    head: str | None = None,
    output_name: str | None = None,
    threshold: float = THRESHOLD,
    trust: bool = False,
    on: str | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> EvaluateResult:
    """Measure top-1 and top-5, and the drop from a reference on the same images.

    Args:
        artifacts: files to score.
        images, ground_truth, labels_from: see `find_labelled`.
        split: score this folder of `images`, such as "val", alone.
        reference: an artifact to compare the others with; it runs on the CPU in the usual runtime
            of its format.
        equal_within_points: the largest drop or gain of top-1 that does not matter; 1 by default.
        max_drop_points: the largest drop of top-1 that the interval may contain.
        limit: score only this many images, spread evenly over the sorted list.
        allow_overlap: also score images that a file was calibrated on.
        device: "cpu", "gpu" or "coral"; one that is not available is refused.
        runtime: name of a runtime to use instead of the usual one of the format.
        threads: of the runtime, for one image.
        jobs: images that are processed at a time; by default as many as use all cores.
        resume: continue the same evaluation where it was interrupted.
        preprocessing, scale, offset, bgr, resize, crop_fraction: for a file without a contract; see
            `open_artifact`.
        input_size, labels, head, output_name: the same.
        threshold: least probability of a class that does not exclude others.
        trust: allow a Keras model to run the code that it contains.
        on: a device to run on, as ssh://user@host; see `remote.device.call`.
        progress: called with the number of images that are done; not from a device.

    Raises:
        RefusedError: images calibrated a file, and `allow_overlap` is not set.
    """
    for option, value in (("--max-drop", max_drop_points), ("--equal-within", equal_within_points)):
        if value is not None and reference is None:
            raise UsageError(
                f"{option} needs a reference to drop from.",
                f"Add --reference with the float file, or leave {option} out.",
            )
    stated = InputOptions(
        preprocessing,
        scale,
        offset,
        bgr,
        resize,
        crop_fraction,
        input_size,
        labels,
        head,
        output_name,
    )
    files, standard, truth = paths(artifacts), path(reference), path(ground_truth)
    place = folders.part_of(Path(images), split)
    if on is not None:
        from edgezoo.system import remote

        wanted, truth = labelled.wanted_files(place, truth, limit)
        result, machine = remote.call_limited(
            on,
            ("artifacts", "reference"),
            evaluate,
            artifacts=files,
            images=remote.only(place, wanted),
            ground_truth=truth,
            labels_from=labels_from,
            reference=standard,
            equal_within_points=equal_within_points,
            max_drop_points=max_drop_points,
            limit=limit,
            allow_overlap=allow_overlap,
            device=device,
            runtime=runtime,
            threads=threads,
            jobs=jobs,
            resume=resume,
            preprocessing=preprocessing,
            scale=scale,
            offset=offset,
            bgr=bgr,
            resize=resize,
            crop_fraction=crop_fraction,
            input_size=input_size,
            labels=path(labels),
            head=head,
            output_name=output_name,
            threshold=threshold,
            trust=trust,
        )
        return replace(result, remote=machine)
    every = files if standard is None else (*files, standard)
    third_party = _third_party(every, stated, trust)
    plain = partial(
        ranks.rank, threads=threads, trust=trust, jobs=jobs, resume=resume, progress=progress
    )
    described = partial(plain, stated=stated)

    def rank(path: Path, find: FindPaths, **place: Any) -> Ranks:
        return (described if path in third_party else plain)(path, find, **place)

    return assess(
        files,
        labelled.finder(place, truth, limit, labels_from),
        partial(rank, device=device, runtime=runtime),
        standard,
        rank,
        equal_within_points=equal_within_points,
        max_drop_points=max_drop_points,
        allow_overlap=allow_overlap,
        threshold=threshold,
    )


def _third_party(paths: Sequence[Path], stated: InputOptions, trust: bool) -> frozenset[Path]:
    """Return the files without a contract, the only ones that such options apply to."""
    if not stated.given():
        return frozenset()  # no file needs to be read
    loaded = [registry.load_artifact(path, trust=trust) for path in paths]
    require_third_party(loaded, stated)
    found = zip(paths, loaded, strict=True)
    return frozenset(path for path, artifact in found if artifact.contract is None)


def assess(
    artifacts: Sequence[Path],
    find: Find,
    ranker: Ranker,
    reference: Path | None,
    reference_ranker: Ranker,
    *,
    equal_within_points: float | None = None,
    max_drop_points: float | None = None,
    allow_overlap: bool = False,
    threshold: float = THRESHOLD,
) -> EvaluateResult:
    """Do what `evaluate` does, wherever the files are run.

    Args:
        artifacts, reference, equal_within_points, max_drop_points, allow_overlap, threshold: see
            `evaluate`.
        find: finds the images with their classes, by a file's contract.
        ranker, reference_ranker: run the artifacts, and the reference.
    """
    within = 100 * drop.EQUAL_WITHIN if equal_within_points is None else equal_within_points
    every_path = (*([reference] if reference is not None else []), *artifacts)
    loaded = {path: registry.load_artifact(path) for path in every_path}
    for artifact in loaded.values():
        require_classes(artifact)
    overlaps = {path: _overlap(artifact, find, allow_overlap) for path, artifact in loaded.items()}
    standard = _score(reference, find, reference_ranker) if reference is not None else None
    scored = [_score(file, find, ranker) for file in artifacts]
    every = [*([standard] if standard else []), *scored]
    shift = _from_1(every)
    results = []
    for scores in scored:
        result = _accuracy(scores, overlaps[scores.path], threshold)
        if standard is not None:
            result = _compared(result, standard, scores, within / 100)
        results.append(result)
    # Only now: an interrupt between two files must not lose what the first one has done.
    for scores in every:
        if scores.ranks.checkpoint:
            scores.ranks.checkpoint.remove()
    notes = tuple(dict.fromkeys(note for scores in every for note in scores.ranks.notes))
    images = every[0].images
    repeated = repeats(images.paths)
    told = images.remarks + ((shift,) if shift else ()) + _about_repeats(repeated, images)
    failures = _failures(results, max_drop_points)
    return EvaluateResult(
        tuple(results),
        within,
        max_drop_points,
        failures,
        images.left_out,
        repeated,
        told,
        notes=notes or None,
    )


def _about_repeats(repeated: int, images: LabelledImages) -> tuple[str, ...]:
    if not repeated:
        return ()
    return (
        f"{repeated} of {len(images.paths)} images in {images.root} are byte for byte repeats of "
        "others, and count again.",
    )


def _from_1(every: Sequence[_Scores]) -> str | None:
    """Shift classes that were read from numbers by one, where that alone explains the accuracy.

    Returns:
        What was noticed, as a sentence.
    """
    for scores in every:
        if not scores.images.numbered:
            return None
        n, first = int(scores.readable.sum()), scores.ranks.top[scores.readable, 0]
        wanted = scores.labels[scores.readable]
        given, shifted = (int((first == wanted - step).sum()) for step in (0, 1))
        if drop.share_interval(given, n)[1] < drop.share_interval(shifted, n)[0]:
            break
    else:
        return None
    for scores in every:
        scores.labels[:] -= 1
    return (
        f"The numbers of classes in {scores.images.root} seem to count from 1, and were read so: "
        f"from 0, top-1 of {scores.path.name} would be {100 * given / n:.1f} %, and is "
        f"{100 * shifted / n:.1f} %."
    )


def _score(path: Path, find: Find, ranker: Ranker) -> _Scores:
    found: list[tuple[InputContract, LabelledImages]] = []

    def images(contract: InputContract) -> tuple[Path | Member, ...]:
        found.append((contract, find(contract)))
        return found[0][1].paths

    ranks = ranker(path, images)
    contract, wanted = found[0]
    labels, name = np.asarray(wanted.labels, np.int32), _labels_hash(wanted, contract)
    scores = _Scores(path, contract, ranks, labels, name, wanted)
    missed = int((~scores.readable).sum())
    require_readable(missed, len(wanted.paths), wanted.root, _unreadable(scores))
    return scores


def _unreadable(scores: _Scores) -> tuple[LeftOut, ...]:
    missed = [scores.images.paths[i] for i in np.flatnonzero(~scores.readable)]
    contract = scores.contract
    return why_unreadable(missed, scores.images.root, contract.frame, contract.resize)


def _labels_hash(wanted: LabelledImages, contract: InputContract) -> str:
    """Return a hash of the list, in a folder or in tar files, however its classes are counted.

    A file with a background class counts from 1, so classes have their names where they are known.
    """
    names = contract.labels or tuple(map(str, range(contract.classes)))
    classes = (names[label] if label < len(names) else str(label) for label in wanted.labels)
    return outcomes.labels_hash(zip((i.name for i in wanted.paths), classes, strict=True))


def _overlap(artifact: Artifact, find: Find, allowed: bool) -> int | None:
    """Return how many of the images calibrated a file, or None where it does not record them."""
    contract = artifact.contract
    if contract is None or contract.calibration is None:
        return 0 if contract is not None and contract.precision != "int8" else None
    paths = find(contract).paths
    shared = fingerprints.overlapping(contract.calibration, paths, contract.frame, contract.resize)
    verb = "calibrated" if contract.precision == "int8" else "trained"
    if shared and not allowed:
        raise RefusedError(
            f"{len(shared)} of {len(paths)} images {verb} {artifact.path} ({shared[0].name}"
            f"{' …' if len(shared) > 1 else ''}): accuracy on them is not evidence.",
            "Use other images, or --allow-overlap, which the result records.",
        )
    return len(shared) if shared is not None else None


def _compared(
    result: Accuracy, standard: _Scores, scores: _Scores, equal_within: float
) -> Accuracy:
    """Add the comparison with the reference."""
    if standard.ranks.classes != scores.ranks.classes:
        raise UsageError(
            f"{standard.path} and {scores.path} have different numbers of classes.",
            "Compare files of one model.",
        )
    hashes = {standard.contract.weights.sha256, scores.contract.weights.sha256}
    both = standard.readable & scores.readable
    theirs, mine = standard.ranks.top[both, 0], scores.ranks.top[both, 0]
    outcome = drop.paired_drop(standard.hits[both, 0], scores.hits[both, 0])
    same_network = len(hashes) == 1 or "" in hashes  # a file without a contract has no hash
    return replace(
        result,
        reference=standard.path,
        agreement_top1=float(np.mean(theirs == mine)),
        drop_points=100 * outcome.drop,
        drop_points_ci95=(100 * outcome.low, 100 * outcome.high),
        verdict=drop.judge(outcome.low, outcome.high, equal_within, same_network),
        images_needed=drop.images_needed(outcome, equal_within),
    )


def _failures(results: Sequence[Accuracy], limit: float | None) -> tuple[str, ...]:
    if limit is None:
        return ()
    ends = [(r.artifact, r.drop_points_ci95[1]) for r in results if r.drop_points_ci95 is not None]
    return tuple(
        f"{artifact}: the drop may be {end:.2f} points, more than {limit:g}"
        for artifact, end in ends
        if end > limit
    )


def _accuracy(scores: _Scores, overlap: int | None, threshold: float) -> Accuracy:
    contract, ranks, readable = scores.contract, scores.ranks, scores.readable
    n = int(readable.sum())
    hits = scores.hits[readable]
    several = ranks.scores
    found = None
    if several is not None:
        found = multi_label.measure(several[readable], scores.truth[readable], threshold)
    first, five = int(hits[:, 0].sum()), int(hits.any(1).sum())
    correct = scores.hits[:, 0] & readable
    return Accuracy(
        artifact=scores.path,
        runtime=ranks.runtime,
        device=ranks.ran_on.device,
        ran_on=ranks.ran_on,
        images=n,
        unreadable=len(readable) - n,
        unreadable_files=_unreadable(scores),
        resumed=ranks.resumed,
        top1=first / n,
        top5=five / n,
        top1_ci95=drop.share_interval(first, n),
        top5_ci95=drop.share_interval(five, n),
        trained=contract.weights.trained,
        preprocessing=recipe_hash(contract.frame, contract.resize),
        overlap=overlap,
        multi_label=found,
        outcomes=outcomes.outcomes(correct, readable, scores.labels_hash),
    )
