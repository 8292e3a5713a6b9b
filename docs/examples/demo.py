"""The main job from end to end; `make demo` runs it. Takes no arguments.

Exports MobileNet 0.5 in int8 to three formats, looks into one of the files and names what is on
two photographs that scikit-learn ships. Without ImageNet weights it says so and goes on with an
untrained network.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

OUTPUT = "exported"
EXPORT = ["export", "mobilenet", "--alpha", "0.5", "--int8", "-o", OUTPUT]
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


def plan(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """What an export would make; its messages go to the terminal."""
    command = [sys.executable, "-m", "edgezoo", *arguments, "--dry-run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return done.returncode, json.loads(done.stdout or b"{}")


def photographs() -> list[str]:
    """The JPEG files of scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    return [str(p) for place in places or () for p in Path(place).glob("datasets/images/*.jpg")]


def main() -> int:
    """Run the demo.

    Returns:
        0 where everything went through, else the exit code of the command that did not.
    """
    started = time.monotonic()
    say("EdgeZoo's main job: a Keras MobileNet becomes verified int8 files for three runtimes.")
    export = EXPORT
    code, facts = plan(export)
    if code == WEIGHTS_UNREACHABLE:
        say("\nThe ImageNet weights cannot be fetched here (see the message above).")
        say("The demo goes on with untrained random weights: the files and their check are real,")
        say("but what this network answers means nothing, nor does how well int8 keeps it.")
        export = [*EXPORT, "--weights", "random"]
        code, facts = plan(export)
    if code:
        return code
    paths = [entry["path"] for entry in facts["plans"][0]["artifacts"]]
    say(f"This takes about {facts['plans'][0]['cpu_seconds_about']} seconds of CPU time.")
    chosen = next(path for path in paths if path.endswith(".tflite"))
    pictures = sorted(photographs())
    for command in (export, ["inspect", chosen], ["classify", chosen, *pictures]):
        if command[0] == "classify" and not pictures:
            say("\nNo photographs here: scikit-learn, which ships two, is not installed.")
            continue
        code = edgezoo(*command)
        if code:
            return code
    say(f"\nDone in {time.monotonic() - started:.0f} s. The files are in {Path(OUTPUT).resolve()}:")
    for path in paths:
        say(f"  {path}")
    say("Next, with photographs of your own:")
    say(f"  {program()} classify {chosen} PHOTO.jpg")
    if export != EXPORT:
        say("and, once the ImageNet weights are reachable:")
    say(f"  {program()} export mobilenet --alpha 0.5 --int8 --calibration FOLDER_OF_PHOTOS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
