"""Top-1 and top-5 on labelled images, and what is lost against a reference, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import labelled, registry, remote, statistics
from edgezoo.artifact import InputContract
from edgezoo.calibration import fingerprints
from edgezoo.contracts import RanOn, Runtime
from edgezoo.errors import DataError, RefusedError, UsageError
from edgezoo.inference import open_artifact, predict, require_classes
from edgezoo.labelled import LabelledImages, find_labelled
from edgezoo.preprocessing import load_pixels, recipe_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_UNREADABLE = 0.10


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores of the readable images, and their classes."""

    contract: InputContract
    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    unreadable: int

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the best class is the image's, shape (images,)."""
        hits: NDArray[np.bool_] = self.values.argmax(1) == self.labels
        return hits


def _score(
    images: LabelledImages,
    contract: InputContract,
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    progress: Callable[[int], None],
) -> _Scores:
    """Decode and run image by image, so that any number of them takes the same memory."""
    import numpy as np

    rows, labels, unreadable = [], [], 0
    for path, label in zip(images.paths, images.labels, strict=True):
        try:
            pixels = load_pixels(path, contract.input_size, contract.resize)
        except DataError:
            unreadable += 1
        else:
            rows.append(run(pixels[None])[0])
            labels.append(label)
        progress(1)
    if unreadable > MAX_UNREADABLE * len(images.paths):
        raise DataError(
            f"{unreadable} of {len(images.paths)} files in {images.root} are not readable images.",
            "Up to a tenth is skipped; check the folder.",
        )
    return _Scores(contract, np.stack(rows), np.asarray(labels), unreadable)


def evaluate(
    artifacts: Iterable[Path | str],
    images: Path | str,
    *,
    ground_truth: Path | str | None = None,
    reference: Path | str | None = None,
    equal_within: float = statistics.EQUAL_WITHIN,
    max_drop: float | None = None,
    limit: int | None = None,
    allow_overlap: bool = False,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
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
        threads: of the runtime.
        preprocessing, labels: for files that carry no contract.
        trust: code in a network of Keras may run.
        on: a device to run it on, as ssh://user@host; see `remote.device.call`.
        progress: called with 1 after each image; not from a device.

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
        return remote.call(
            on, "edgezoo.evaluation:evaluate", artifacts=[Path(path) for path in artifacts],
            images=remote.Tree(Path(images), paths), ground_truth=truth,
            reference=reference and Path(reference), equal_within=equal_within,
            max_drop=max_drop, allow_overlap=allow_overlap, device=device, runtime=runtime,
            threads=threads,
            preprocessing=preprocessing, labels=labels and Path(labels), trust=trust,
        )  # fmt: skip

    for path in (*([reference] if reference is not None else []), *artifacts):
        require_classes(path)

    def find(contract: InputContract) -> LabelledImages:
        return find_labelled(Path(images), contract, truth).thinned(limit)

    overlaps = {
        path: _overlap(Path(path), find, allow_overlap)
        for path in (*([reference] if reference is not None else []), *artifacts)
    }

    def score(
        path: Path | str, device: str = "cpu", runtime: str | None = None
    ) -> tuple[_Scores, dict[str, Any]]:
        artifact, session = open_artifact(
            path,
            preprocessing=preprocessing,
            labels=labels,
            trust=trust,
            device=device,
            runtime=runtime,
            threads=threads,
        )
        contract = artifact.required_contract()
        with session:
            scores = _score(
                find(contract), contract, lambda p: predict(session, contract, p), progress
            )
        return scores, _place(registry.runtime_for(artifact.path, runtime), session.ran_on)

    standard = score(reference)[0] if reference is not None else None
    results = []
    for path in artifacts:
        scores, place = score(path, device, runtime)
        facts = {**_result(Path(path), scores), **place}
        if standard is not None:
            facts |= _against(standard, scores, f"{reference} and {path}", equal_within)
            facts["reference"] = str(reference)
        results.append({**facts, "overlap": overlaps[path]})
    return {
        "results": results,
        "equal_within": equal_within,
        "max_drop": max_drop,
        "failures": _failures(results, max_drop),
    }


def _overlap(
    path: Path, find: Callable[[InputContract], LabelledImages], allowed: bool
) -> int | None:
    """How many of the images calibrated a file; None where the file cannot tell."""
    contract = registry.load_artifact(path).contract
    if contract is None or contract.calibration is None:
        return 0 if contract is not None and contract.precision != "int8" else None
    paths = find(contract).paths
    shared = fingerprints.overlapping(
        contract.calibration, paths, contract.input_size, contract.resize
    )
    verb = "calibrated" if contract.precision == "int8" else "taught"
    if shared and not allowed:
        raise RefusedError(
            f"{len(shared)} of {len(paths)} images {verb} {path} ({shared[0].name}"
            f"{' …' if len(shared) > 1 else ''}): accuracy on them is no evidence.",
            "Give other images, or --allow-overlap, which the result will tell.",
        )
    return len(shared) if shared is not None else None


def _place(runtime: Runtime, ran_on: RanOn) -> dict[str, Any]:
    """Where a file ran, by the session's own word."""
    return {"runtime": runtime.version(), "device": ran_on.device, "ran_on": asdict(ran_on)}


def _against(standard: _Scores, scores: _Scores, pair: str, equal_within: float) -> dict[str, Any]:
    """The fields of a result that compare it with the reference."""
    import numpy as np

    if standard.values.shape != scores.values.shape:
        raise UsageError(
            f"{pair} have different numbers of classes.", "Compare files of one model."
        )
    hashes = {standard.contract.weights.sha256, scores.contract.weights.sha256}
    same = standard.values.argmax(1) == scores.values.argmax(1)
    return {
        "agreement_top1": float(np.mean(same)),
        **statistics.compare(
            standard.right, scores.right, equal_within, len(hashes) == 1 or "" in hashes
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
    import numpy as np

    contract, n = scores.contract, len(scores.labels)
    order = np.argsort(-scores.values, axis=1, kind="stable")[:, :5]
    hits = order == scores.labels[:, None]
    first, five = int(hits[:, 0].sum()), int(hits.any(1).sum())
    return {
        "artifact": str(path),
        "images": n,
        "unreadable": scores.unreadable,
        "top1": first / n,
        "top5": five / n,
        "top1_ci95": list(statistics.share_interval(first, n)),
        "top5_ci95": list(statistics.share_interval(five, n)),
        "agreement_top1": None,
        "drop": None,
        "drop_ci95": None,
        "verdict": None,
        "images_needed": None,
        "reference": None,
        "trained": contract.weights.trained,
        "preprocessing": recipe_hash(contract.input_size, contract.resize),
    }
