"""What `fuzz.py` damages: real files of every kind, made once, and the command that opens each."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _common as common
import _mutations as mutations
from _mutations import Damage, Mutator

SIZE = 32
_NETWORK = ("mobilenet", "--alpha", "0.25", "--input-size", str(SIZE), "--weights", "random",
            "--classes", "10", "--precision", "float32,int8", "--calibration", "synthetic",
            "--calibration-count", "8", "--no-verify", "-q")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A damaged file and what is done with it: a command line, or a call that returns a code."""

    command: tuple[str, ...] = ()
    call: Callable[[], int] | None = None


@dataclass(eq=False)
class Kind:
    """One kind of file.

    Attributes:
        share: of all inputs.
        bases: names below the folder of bases; a folder stands for the files in it.
        mutators: beside blind damage, each as often as it.
        build: writes the damaged bytes and names the command: (bytes, base, folder, rng).
    """

    name: str
    share: float
    bases: tuple[str, ...]
    build: Callable[[bytes, Path, Path, random.Random], Case]
    mutators: tuple[Mutator, ...] = ()
    keras: bool = False
    files: list[tuple[Path, bytes, Damage]] = field(default_factory=list)

    def prepare(self, folder: Path) -> None:
        found = [path for name in self.bases for path in sorted(folder.glob(name))]
        self.files = [(p, p.read_bytes(), Damage(p.read_bytes())) for p in found]

    def make(self, rng: random.Random, place: Path) -> Case:
        base, data, damage = rng.choice(self.files)
        mutators: tuple[Mutator, ...] = (damage, damage, *self.mutators)
        return self.build(rng.choice(mutators)(data, rng), base, place, rng)


def make_bases(folder: Path) -> None:
    """Make the real files, where they are not there yet."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(common.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    away = subprocess.DEVNULL
    quiet: dict[str, Any] = {"check": True, "env": environment, "stdout": away, "stderr": away}
    subprocess.run([*common.EDGEZOO, "export", *_NETWORK, "-o", str(folder / "files")], **quiet)
    script = common.ROOT / "tests" / "support" / "own_networks.py"
    (folder / "networks").mkdir()
    subprocess.run([sys.executable, str(script), str(folder / "networks")], **quiet)
    _make_images(folder / "images")
    _make_others(folder)
    (folder / "done").touch()


def _make_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    photo = coarse.resize((80, 60), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(rng.integers(0, 65536, (40, 50)).astype(np.uint16))
    saved: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "good.png": (photo, {}), "turned.jpg": (photo, {"exif": exif}),
        "progressive.jpg": (photo, {"progressive": True}), "cmyk.jpg": (photo.convert("CMYK"), {}),
        "palette.png": (photo.quantize(16), {}), "grey16.png": (grey16, {}),
        "alpha.png": (photo.convert("RGBA"), {}), "plain.bmp": (photo, {}),
        "lossy.webp": (photo, {}), "lossless.webp": (photo, {"lossless": True}),
        "animated.gif": (photo, {"save_all": True, "append_images": [coarse.resize((80, 60))]}),
        "lzw.tif": (photo, {"compression": "tiff_lzw"}),
        "jpeg.tif": (photo, {"compression": "jpeg"}),
        "deflate.tif": (grey16, {"compression": "tiff_adobe_deflate"}),
    }  # fmt: skip
    for name, (picture, options) in saved.items():
        picture.save(folder / name, **options)


def _make_others(folder: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    np.savez(folder / "plain.npz", images=pixels)
    np.savez_compressed(folder / "packed.npz", images=pixels)
    np.save(folder / "bare.npy", pixels)
    (folder / "labels.txt").write_text("one\ntwo\nthree")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for i, path in enumerate(sorted((folder / "images").iterdir())):
            for name, data in ((f"{i:03}{path.suffix}", path.read_bytes()), (f"{i:03}.cls", b"3")):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    sys.path.insert(0, str(common.ROOT))
    from tests.support.fake_records import failed, record, write_store

    records = [record(), record(precision="float32", median=4.0), record(kind="estimate"), failed()]
    write_store(folder / "store", records)


def _good(base: Path, name: str) -> Path:
    """A whole file beside the damaged one."""
    folder = base
    while not (folder / "done").exists():
        folder = folder.parent
    return next(folder.glob(name))


def _network(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    """A file of one network, whose other part stays whole."""
    target = place / base.name
    target.write_bytes(data)
    main = target
    if base.suffix in (".xml", ".bin"):
        other = base.with_suffix(".bin" if base.suffix == ".xml" else ".xml")
        shutil.copy(other, place)
        main = target.with_suffix(".xml")
    return _opened(main, base, rng)


def _opened(main: Path, base: Path, rng: random.Random) -> Case:
    more = ("--json",) if rng.random() < 0.5 else ()
    if rng.random() < 0.5:
        return Case(("inspect", str(main), *more))
    foreign = ("--preprocessing", "none") if "networks" in base.parts else ()
    picture = str(_good(base, "images/good.png"))
    return Case(("classify", str(main), picture, *foreign, *more))


def _saved_model(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    """A SavedModel, one file of which is damaged."""
    root = next(parent for parent in base.parents if parent.name == "plain")
    shutil.copytree(root, place / "plain")
    (place / "plain" / base.relative_to(root)).write_bytes(data)
    return _opened(place / "plain", base, rng)


def _image(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    target = place / base.name
    target.write_bytes(data)
    return Case(("classify", str(_good(base, "files/*int8*.tflite")), str(target)))


def _tar(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    target = place / base.name
    target.write_bytes(data)
    good = str(_good(base, "files/*int8*.tflite"))
    return Case(("evaluate", good, "--images", str(target), "--jobs", "1", "-q", "--json"))


def _labels(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    target = place / base.name
    target.write_bytes(data)
    file, picture = _good(base, "networks/plain.h5"), _good(base, "images/good.png")
    return Case(("classify", str(file), str(picture), "--preprocessing", "none", "--labels",
                 str(target)))  # fmt: skip


def _pixels(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    """Pixels for calibration: what `edgezoo export` does before any heavy work."""
    from edgezoo.calibration import sources
    from edgezoo.core.errors import EdgeZooError

    target = place / base.name
    target.write_bytes(data)

    def call() -> int:
        try:
            sources.choose(str(target), SIZE, 4, 2, 0)
        except EdgeZooError as error:
            print(f"Error: {error}", file=sys.stderr)
            return error.exit_code
        return 0

    return Case(call=call)


def _store(data: bytes, base: Path, place: Path, rng: random.Random) -> Case:
    root = base.parent.parent
    shutil.copytree(root, place / "store")
    (place / "store" / base.relative_to(root)).write_bytes(data)
    if rng.random() < 0.2:
        command: Sequence[str] = ("recommend", str(place / "store"))
    else:
        as_ = "html" if rng.random() < 0.2 else "csv,md,json"
        command = ("report", str(place / "store"), "--as", as_, "-o", str(place / "report"))
    return Case((*command, "--json", "-q"))


def _rt_info(data: bytes, rng: random.Random) -> bytes:
    """The XML of OpenVINO with another contract inside."""
    import html
    import re

    text = data.decode()
    found = re.search(r'<edgezoo_contract value="([^"]*)"', text)
    if found is None:
        return mutations.xml_text(data, rng)
    facts = json.loads(html.unescape(found[1]))
    new = html.escape(json.dumps(mutations.change_json(facts, rng)))
    return (text[: found.start(1)] + new + text[found.end(1) :]).encode()


KINDS = (
    Kind("tflite", 0.24, ("files/*.tflite",), _network, (mutations.attached_json,)),
    Kind("onnx", 0.22, ("files/*.onnx",), _network, (mutations.onnx_graph,) * 2),
    Kind("xml", 0.09, ("files/*.xml",), _network, (mutations.xml_text,) * 3 + (_rt_info,)),
    Kind("bin", 0.03, ("files/*.bin",), _network),
    Kind("image", 0.19, ("images/*.*",), _image),
    Kind("png", 0.02, ("images/*.png",), _image, (mutations.png_chunks,) * 6),
    Kind("tar", 0.05, ("*.tar",), _tar, (mutations.tar_entries,) * 2),
    Kind("npz", 0.03, ("*.npz",), _pixels, (mutations.zipped,) * 2),
    Kind("npy", 0.01, ("*.npy",), _pixels, (mutations.npy_header,)),
    Kind("store", 0.06, ("store/records/*.json",), _store, (mutations.json_text,) * 4),
    Kind("keras", 0.025, ("networks/plain.keras",), _network, (mutations.zipped,) * 3, True),
    Kind("h5", 0.015, ("networks/plain.h5",), _network, (), True),
    Kind("savedmodel", 0.01, ("networks/plain/*.pb", "networks/plain/variables/*"),
         _saved_model, (), True),
    Kind("labels", 0.01, ("labels.txt",), _labels, (mutations.lines,) * 3, True),
)  # fmt: skip
