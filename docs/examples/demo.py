"""The main job from end to end; `make demo` runs it. Takes no arguments.

Exports MobileNet 0.5 in int8 to three formats, inspects one of the files and lets each classify
two photographs of scikit-image. If Keras' ImageNet weights cannot be fetched, it says so and
uses EfficientNet-Lite0, whose weights come with a package.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import time
from pathlib import Path

OUTPUT = "exported"
MOBILENET = ["export", "mobilenet", "--alpha", "0.5", "--int8", "-o", OUTPUT]
LITE = ["export", "efficientnet_lite0", "--int8", "-o", OUTPUT]
STEMS = {"mobilenet": "mobilenet_0.5_224_int8", "efficientnet_lite0": "efficientnet_lite0_224_int8"}
SUFFIXES = (".tflite", ".onnx", ".xml")
WEIGHTS_UNREACHABLE = 5


def say(text: str) -> None:
    """Print a line, in order with the output of EdgeZoo."""
    print(text, flush=True)


def edgezoo(*arguments: str) -> int:
    """Show a command as a user would type it, and run it."""
    say(f"\n$ edgezoo {shlex.join(arguments)}")
    return subprocess.run([sys.executable, "-m", "edgezoo", *arguments], check=False).returncode


def program() -> str:
    """The command with a path that works whether or not its environment is active."""
    path = Path(sys.executable).with_name("edgezoo")
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def photographs() -> list[str]:
    """A cup of coffee and a cat."""
    spec = importlib.util.find_spec("skimage")
    places = spec.submodule_search_locations if spec else None
    return (
        [str(Path(places[0], "data", f"{name}.png")) for name in ("coffee", "chelsea")]
        if places
        else []
    )


def export() -> tuple[list[str], int]:
    """Export the model whose weights are available.

    Returns:
        The command that was run last, and its exit code.
    """
    code = edgezoo(*MOBILENET)
    if code != WEIGHTS_UNREACHABLE:
        return MOBILENET, code
    say(
        "\nKeras' ImageNet weights could not be fetched (see the message above). The demo continues"
    )
    say("with EfficientNet-Lite0, whose ImageNet weights are on the Python package index.")
    return LITE, edgezoo(*LITE)


def main() -> int:
    """Run the demo.

    Returns:
        0 if everything succeeded, otherwise the exit code of the command that failed.
    """
    started = time.monotonic()
    say("EdgeZoo's main job: a Keras classifier becomes verified int8 files for three runtimes.")
    done, code = export()
    if code:
        return code
    paths = [f"{OUTPUT}/{STEMS[done[1]]}{suffix}" for suffix in SUFFIXES]
    images = photographs()
    if not images:
        say("\nNo photographs: scikit-image, which contains two, is not installed.")
    commands = [["inspect", paths[0]]]
    commands += [["classify", path, *images, "--top", "3"] for path in paths if images]
    for command in commands:
        code = edgezoo(*command)
        if code:
            return code
    say(f"\nDone in {time.monotonic() - started:.0f} s. The files are in {Path(OUTPUT).resolve()}:")
    for path in paths:
        say(f"  {path}")
    say("Next, with photographs of your own:")
    say(f"  {program()} classify {paths[0]} PHOTO.jpg")
    say(f"  {program()} {shlex.join(done[:-2])} --calibration FOLDER_OF_PHOTOS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
