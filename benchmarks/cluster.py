"""What a second worker brings to the accuracy part of a sweep on a Dask cluster of this machine.

The same images are scored by the same int8 .tflite file by the steps that `--workers` takes, on a
cluster of one worker and on one of two, in turns. A ratio of wall times: run it where two cores are
free. Writes results/cluster.json and exits 1 where the bound does not hold.

    python benchmarks/cluster.py
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import _common as common
from evaluation import export

ROUNDS = 5
TIMES = 4  # the 650 images, as often
LEAST_RATIO = 1.7


def main() -> int:
    common.require_shared()
    from edgezoo.images.preprocessing import find_images
    from edgezoo.sweep import cluster
    from edgezoo.sweep.grid import SweepRequest

    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        file = export(folder, "0.5", "160")
        for image in find_images(common.SHARED / "imagenet" / "val"):
            place = folder / "images" / image.parent.name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(TIMES):
                (place / f"{i}-{image.name}").symlink_to(image.resolve())
        request = SweepRequest(files=(file,), images=folder / "images")
        steps = {n: stack.enter_context(cluster.connected(request, None, n, None)) for n in (1, 2)}
        taken: dict[int, list[float]] = {1: [], 2: []}
        answers = []
        for number in range(ROUNDS + 1):
            for workers in (1, 2) if number % 2 else (2, 1):
                start = time.perf_counter()
                answers.append(steps[workers].evaluate(request, [file], None))
                if number:  # the first round loads libraries
                    taken[workers].append(time.perf_counter() - start)
    same = all(answer == answers[0] for answer in answers)
    ratio = statistics.median(one / two for one, two in zip(taken[1], taken[2], strict=True))
    missed = [f"two workers are {ratio:.2f} times as fast as one"] if ratio < LEAST_RATIO else []
    missed += [] if same else ["the answers differ"]
    facts = {
        "images": answers[0][0].images,
        "ratio": round(ratio, 3),
        "seconds": {str(n): [round(s, 3) for s in values] for n, values in taken.items()},
        "same_answers": same,
        "missed": missed,
    }
    path = common.save("cluster", facts)
    print(f"two workers: {ratio:.2f} times the throughput of one; "
          f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")  # fmt: skip
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
