"""Top-1 and top-5 on labelled images, and what is lost against a reference, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.calibration import fingerprints
from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.evaluation import drop, ranks
from edgezoo.evaluation.ranks import Ranks
from edgezoo.images import labelled
from edgezoo.images.labelled import LabelledImages
from edgezoo.images.preprocessing import recipe_hash, require_readable
from edgezoo.images.shards import Member
from edgezoo.inference.predict import require_classes, require_third_party
from edgezoo.system import remote

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Find = Callable[[InputContract], LabelledImages]
# Ranks the classes of every image by a file: `scoring.rank`, here or elsewhere.
Ranker = Callable[[Path | str, Callable[[InputContract], Sequence[Path | Member]]], Ranks]


@dataclass(frozen=True, slots=True)
class _Scores:
    """What a file says of the images, and their classes, shape (images,)."""

    contract: InputContract
    ranks: Ranks
    labels: NDArray[np.int32]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each image could be read."""
        mask: NDArray[np.bool_] = self.ranks.top[:, 0] != ranks.UNREADABLE
        return mask


def evaluate(
    artifacts: Iterable[Path | str],
    images: Path | str,
    *,
    ground_truth: Path | str | None = None,
    reference: Path | str | None = None,
    equal_within: float = drop.EQUAL_WITHIN,
    max_drop: float | None = None,
    limit: int | None = None,
    allow_overlap: bool = False,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    jobs: int | None = None,
    resume: bool = True,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
    trust: bool = False,
    on: str | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Top-1 and top-5, and the drop against a reference on the same images.

    Args:
        artifacts: files to score.
        images: see `find_labelled`.
        ground_truth: see `find_labelled`.
        reference: an artifact that the others are compared with; it runs on the CPU in the usual
            runtime of its format.
        equal_within: the largest drop or gain of top-1 that does not matter, as a share.
        max_drop: the largest drop of top-1, as a share, that the interval may hold.
        limit: score only this many images, spread evenly over the sorted list.
        allow_overlap: score images too that a file was calibrated on.
        device: "cpu", "gpu" or "coral"; one that is not there is refused.
        runtime: name of another runtime than the usual one of the format.
        threads: of the runtime, for one image.
        jobs: images that are worked on at a time; by default as many as use all cores.
        resume: go on where the same evaluation was interrupted.
        preprocessing, labels: of those files that carry no contract.
        trust: code in a network of Keras may run.
        on: a device to run it on, as ssh://user@host; see `remote.device.call`.
        progress: called with numbers of images that are done; not from a device.

    Returns:
        What `edgezoo evaluate --json` prints; shares, not percent. `failures` names the files
        whose drop may be larger than `max_drop`.

    Raises:
        RefusedError: images calibrated a file, and `allow_overlap` is not given.
    """
    if max_drop is not None and reference is None:
        raise UsageError(
            "A largest drop needs something to drop from.", "Add --reference with the float file."
        )
    artifacts = list(artifacts)
    truth = Path(ground_truth) if ground_truth is not None else None
    if on is not None:
        paths, truth = labelled.wanted_files(Path(images), truth, limit)
        facts, place = remote.call_limited(
            on,
            ("artifacts", "reference"),
            evaluate,
            artifacts=[Path(path) for path in artifacts],
            images=remote.only(Path(images), paths),
            ground_truth=truth,
            reference=reference and Path(reference),
            equal_within=equal_within,
            max_drop=max_drop,
            limit=limit,
            allow_overlap=allow_overlap,
            device=device,
            runtime=runtime,
            threads=threads,
            jobs=jobs,
            resume=resume,
            preprocessing=preprocessing,
            labels=labels and Path(labels),
            trust=trust,
        )
        return {**facts, "remote": typed_json.encode(place)}
    told: dict[str, Any] = {"preprocessing": preprocessing, "labels": labels}
    common: dict[str, Any] = {
        "threads": threads,
        "jobs": jobs,
        "resume": resume,
        "trust": trust,
        "progress": progress,
        "third_party": _third_party([*artifacts, *([reference] if reference else [])], told, trust),
        "told": told,
    }
    return assess(
        artifacts,
        labelled.finder(Path(images), truth, limit),
        partial(_rank, device=device, runtime=runtime, **common),
        reference,
        partial(_rank, **common),
        equal_within=equal_within,
        max_drop=max_drop,
        allow_overlap=allow_overlap,
    )


def _third_party(
    paths: Sequence[Path | str], told: dict[str, Any], trust: bool
) -> frozenset[Path | str]:
    """The files without a contract, of which alone `told` speaks.

    Raises:
        UsageError: something is told, and there is no such file.
    """
    if not any(told.values()):
        return frozenset()  # nothing is read twice for nothing
    loaded = [registry.load_artifact(path, trust=trust) for path in paths]
    require_third_party(loaded, **told)
    found = zip(paths, loaded, strict=True)
    return frozenset(path for path, artifact in found if artifact.contract is None)


def _rank(
    path: Path | str,
    find: Callable[[InputContract], Sequence[Path | Member]],
    *,
    third_party: frozenset[Path | str],
    told: dict[str, Any],
    **options: Any,
) -> Ranks:
    """`scoring.rank`, told of a file only what its own contract does not tell."""
    return ranks.rank(path, find, **(told if path in third_party else {}), **options)


def assess(
    artifacts: Iterable[Path | str],
    find: Find,
    ranker: Ranker,
    reference: Path | str | None,
    reference_ranker: Ranker,
    *,
    equal_within: float = drop.EQUAL_WITHIN,
    max_drop: float | None = None,
    allow_overlap: bool = False,
) -> dict[str, Any]:
    """What `evaluate` returns, wherever the files are run.

    Args:
        artifacts, reference, equal_within, max_drop, allow_overlap: see `evaluate`.
        find: the images with their classes, by a file's contract.
        ranker, reference_ranker: run the artifacts, and the reference.
    """
    artifacts = list(artifacts)
    every_path = (*([reference] if reference is not None else []), *artifacts)
    loaded = {path: registry.load_artifact(path) for path in every_path}
    for artifact in loaded.values():
        require_classes(artifact)
    overlaps = {path: _overlap(artifact, find, allow_overlap) for path, artifact in loaded.items()}
    standard = _score(reference, find, reference_ranker) if reference is not None else None
    every = [standard] if standard else []
    results = []
    for path in artifacts:
        scores = _score(path, find, ranker)
        every.append(scores)
        facts = {**_result(Path(path), scores), **scores.ranks.place}
        if standard is not None:
            facts |= _against(standard, scores, f"{reference} and {path}", equal_within)
            facts["reference"] = str(reference)
        results.append({**facts, "overlap": overlaps[path]})
    for scores in every:
        if scores.ranks.kept:
            scores.ranks.kept.forget()
    return {
        "results": results,
        "equal_within": equal_within,
        "max_drop": max_drop,
        "failures": _failures(results, max_drop),
    }


def _score(path: Path | str, find: Find, ranker: Ranker) -> _Scores:
    import numpy as np

    found: list[tuple[InputContract, LabelledImages]] = []

    def images(contract: InputContract) -> tuple[Path | Member, ...]:
        found.append((contract, find(contract)))
        return found[0][1].paths

    ranks = ranker(path, images)
    contract, wanted = found[0]
    scores = _Scores(contract, ranks, np.asarray(wanted.labels, np.int32))
    unreadable = int((~scores.readable).sum())
    require_readable(unreadable, len(wanted.paths), wanted.root)
    return scores


def _overlap(artifact: Artifact, find: Find, allowed: bool) -> int | None:
    """How many of the images calibrated a file; None where the file cannot tell."""
    contract = artifact.contract
    if contract is None or contract.calibration is None:
        return 0 if contract is not None and contract.precision != "int8" else None
    paths = find(contract).paths
    shared = fingerprints.overlapping(
        contract.calibration, paths, contract.input_size, contract.resize
    )
    verb = "calibrated" if contract.precision == "int8" else "taught"
    if shared and not allowed:
        raise RefusedError(
            f"{len(shared)} of {len(paths)} images {verb} {artifact.path} ({shared[0].name}"
            f"{' …' if len(shared) > 1 else ''}): accuracy on them is no evidence.",
            "Give other images, or --allow-overlap, which the result will tell.",
        )
    return len(shared) if shared is not None else None


def _against(standard: _Scores, scores: _Scores, pair: str, equal_within: float) -> dict[str, Any]:
    """The fields of a result that compare it with the reference."""
    import numpy as np

    if standard.ranks.classes != scores.ranks.classes:
        raise UsageError(
            f"{pair} have different numbers of classes.", "Compare files of one model."
        )
    hashes = {standard.contract.weights.sha256, scores.contract.weights.sha256}
    both = standard.readable & scores.readable
    labels = scores.labels[both]
    theirs, mine = standard.ranks.top[both, 0], scores.ranks.top[both, 0]
    return {
        "agreement_top1": float(np.mean(theirs == mine)),
        **drop.compare(
            theirs == labels, mine == labels, equal_within, len(hashes) == 1 or "" in hashes
        ),
    }


def _failures(results: list[dict[str, Any]], max_drop: float | None) -> list[str]:
    if max_drop is None:
        return []
    return [
        f"{entry['artifact']}: the drop may be {100 * entry['drop_ci95'][1]:.2f} points, "
        f"more than {100 * max_drop:g}"
        for entry in results
        if entry["drop_ci95"][1] > max_drop
    ]


def _result(path: Path, scores: _Scores) -> dict[str, Any]:
    contract, readable = scores.contract, scores.readable
    n = int(readable.sum())
    hits = scores.ranks.top[readable] == scores.labels[readable, None]
    first, five = int(hits[:, 0].sum()), int(hits.any(1).sum())
    return {
        "artifact": str(path),
        "images": n,
        "unreadable": len(readable) - n,
        "resumed": scores.ranks.resumed,
        "top1": first / n,
        "top5": five / n,
        "top1_ci95": list(drop.share_interval(first, n)),
        "top5_ci95": list(drop.share_interval(five, n)),
        "agreement_top1": None,
        "drop": None,
        "drop_ci95": None,
        "verdict": None,
        "images_needed": None,
        "reference": None,
        "trained": contract.weights.trained,
        "preprocessing": recipe_hash(contract.input_size, contract.resize),
    }
