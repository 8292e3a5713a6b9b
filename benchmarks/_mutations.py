"""Damage to files, by seed: the same seed and bytes give the same damage.

Most of a network's file is weights, where a changed bit changes nothing that a parser sees. So
positions are chosen in the rest (`structure`), and some mutators know the format: they change one
value in JSON, XML, protobuf or a zip and write the whole anew, with lengths and checksums that fit.
"""

from __future__ import annotations

import io
import json
import random
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

Mutator = Callable[[bytes, random.Random], bytes]
_EXTREMES = (0, 1, 2, 4, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
             2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1, 0.5, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**63, 10**30, "",
    "A" * 100_000, "../../../../etc/passwd", "/dev/zero", "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;",
    "\u202e\u0007", "\ud800", "[/red]", "{{7*7}}", "%s%n", "os.system", [], {}, [[]], [None] * 50,
    {"class_name": "Lambda", "config": {}}, "float16", "int64", "NCHW",
)  # fmt: skip
_DEEP = 3000
_TAR_FIELDS = (b"../../../etc/passwd", b"/etc/passwd", b"77777777777\0", b"00000000000\0",
               b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xff" * 12, b"L", b"K", b"x",
               b"g", b"1", b"2", b"S", b"\x1b[2J.jpg")  # fmt: skip
_LABELS = (b"\xff\xfe", b"\x1b]0;title\x07", b"\0", b"A" * 20_000_000, b"<b>", b"[red]",
           b"\xe2\x80\xae", b"")  # fmt: skip
_OPERATIONS = ("Loop", "If", "Scan", "Resize", "Gather", "Conv", "Expand", "Tile", "Slice", "Pad",
               "ConstantOfShape", "Reshape", "x\x1b[31m")  # fmt: skip
_LOCATIONS = ("/etc/passwd", "../../../etc/passwd", "/dev/zero", "weights.bin", "",
              "*/_ORT_MEM_ADDR_/*")  # fmt: skip


def structure(data: bytes, dense: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of a file that are not weights; `dense` are those that are, sorted."""
    places, begin = [], 0
    for start, end in (*dense, (len(data), len(data))):
        if start > begin:
            places.append((begin, start))
        begin = max(begin, end)
    return places


def dense_ranges(data: bytes, block: int = 256) -> list[tuple[int, int]]:
    """Blocks that look like weights: nearly all of their bytes differ and few are zero or text."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(data) - block, block):
        part = data[start : start + block]
        if len(set(part)) > 100 and part.count(0) < block // 8:
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], start + block)
            else:
                found.append((start, start + block))
    return found


class Damage:
    """Blind damage to bytes, mostly in the structure of one file."""

    def __init__(self, data: bytes) -> None:
        places = structure(data, dense_ranges(data))
        self._places = places or [(0, len(data))]
        self._weights = [end - start for start, end in self._places]

    def _place(self, rng: random.Random, length: int) -> int:
        if rng.random() < 0.1:
            return rng.randrange(max(1, length))
        start, end = rng.choices(self._places, self._weights)[0]
        return min(rng.randrange(start, end), length - 1)

    def __call__(self, data: bytes, rng: random.Random) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            kind = rng.choice(
                (self._bit, self._byte, self._number, self._number, self._number, self._block,
                 self._cut, self._copy, self._zero)
            )  # fmt: skip
            if changed:
                kind(changed, rng)
        return bytes(changed)

    def _bit(self, data: bytearray, rng: random.Random) -> None:
        data[self._place(rng, len(data))] ^= 1 << rng.randrange(8)

    def _byte(self, data: bytearray, rng: random.Random) -> None:
        data[self._place(rng, len(data))] = rng.randrange(256)

    def _number(self, data: bytearray, rng: random.Random) -> None:
        size = rng.choice((1, 2, 4, 4, 8))
        place = self._place(rng, len(data)) // min(size, 4) * min(size, 4)
        order: Literal["little", "big"] = rng.choice(("little", "little", "big"))
        value = rng.choice((*_EXTREMES, rng.getrandbits(64))) % 256**size
        data[place : place + size] = value.to_bytes(size, order)

    def _block(self, data: bytearray, rng: random.Random) -> None:
        place, length = self._place(rng, len(data)), rng.choice((1, 4, 16, 64, 1024))
        data[place : place + length] = rng.randbytes(length)

    def _cut(self, data: bytearray, rng: random.Random) -> None:
        place = self._place(rng, len(data))
        if rng.random() < 0.5:
            del data[place:]
        else:
            del data[place : place + rng.choice((1, 3, 4, 100, 5000))]

    def _copy(self, data: bytearray, rng: random.Random) -> None:
        source, target = self._place(rng, len(data)), self._place(rng, len(data))
        length = rng.choice((4, 16, 64, 256, 4096))
        part = data[source : source + length]
        if rng.random() < 0.5:
            data[target:target] = part
        else:
            data[target : target + length] = part

    def _zero(self, data: bytearray, rng: random.Random) -> None:
        place, length = self._place(rng, len(data)), rng.choice((1, 4, 64, 1024))
        data[place : place + length] = bytes(len(data[place : place + length]))


def change_json(facts: Any, rng: random.Random) -> Any:
    """A copy with one value replaced, removed, doubled or buried."""
    facts = json.loads(json.dumps(facts))
    spots: list[tuple[Any, Any]] = []
    waiting = [facts]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))[:20]
            spots += [(value, key) for key in keys]
            waiting += [value[key] for key in keys]
    if not spots:
        return rng.choice(_NASTY)
    holder, key = rng.choice(spots)
    kind = rng.randrange(8)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1:
        deep: Any = 0
        for _ in range(rng.choice((10, 300, 900))):
            deep = [deep]
        holder[key] = deep
    elif kind == 2:
        other, name = rng.choice(spots)
        holder[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else 1))
    else:
        holder[key] = rng.choice(_NASTY)
    return facts


def json_text(data: bytes, rng: random.Random) -> bytes:
    """A JSON file with one value changed, or nested beyond any reader's depth."""
    if rng.random() < 0.02:
        return b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    return json.dumps(change_json(json.loads(data), rng)).encode()


def xml_text(data: bytes, rng: random.Random) -> bytes:
    """OpenVINO's XML with numbers, names, layers or edges changed; some with a document type."""
    text = data.decode("utf-8")
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.randrange(8)
        values = list(re.finditer(r'="([^"]*)"|<dim>([^<]*)</dim>', text))
        parts = list(re.finditer(r"<(layer|edge|port|dim)\b.*?(/>|</\1>)", text, re.DOTALL))
        if kind <= 3 and values:
            found = rng.choice(values)
            group = 1 if found[1] is not None else 2
            new = rng.choice((*map(str, _EXTREMES), "-1", "", "?", "0..18446744073709551615",
                               "1,2,3", "i64", "boolean", "f64", "Loop", "../../etc/passwd",
                               rng.choice(values)[1] or "1", "&lt;&#0;"))  # fmt: skip
            text = text[: found.start(group)] + new + text[found.end(group) :]
        elif kind == 4 and parts:
            found = rng.choice(parts)
            text = text[: found.start()] + text[found.end() :]
        elif kind == 5 and parts:
            found, other = rng.choice(parts), rng.choice(parts)
            text = text[: other.start()] + found[0] + text[other.start() :]
        elif kind == 6:  # an edge back: a cycle
            ids = re.findall(r'<layer id="(\d+)"', text) or ["0"]
            edge = (f'<edge from-layer="{rng.choice(ids)}" from-port="1" '
                    f'to-layer="{rng.choice(ids)}" to-port="0"/>')  # fmt: skip
            text = text.replace("</edges>", edge + "</edges>")
        elif rng.random() < 0.3:
            entities = "".join(
                f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x"}">' for i in range(9)
            )
            text = text.replace("<net", f"<!DOCTYPE net [{entities}]><net", 1)
            text = text.replace('name="', 'name="&e8;', 1)
    return text.encode("utf-8", "surrogatepass")


def onnx_graph(data: bytes, rng: random.Random) -> bytes:
    """A whole ONNX file with one thing wrong in its graph."""
    import onnx

    model = onnx.load_from_string(data)
    graph = model.graph
    node, stored = rng.choice(graph.node), rng.choice(graph.initializer)
    names = [name for n in graph.node for name in (*n.input, *n.output)]
    number = rng.choice((-1, 0, 1, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)))
    kind = rng.randrange(12)
    if kind == 0 and stored.dims:
        stored.dims[rng.randrange(len(stored.dims))] = number
    elif kind == 1:
        stored.data_type = rng.randrange(0, 30)
    elif kind == 2 and node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = number
        else:
            attribute.i = number
    elif kind == 3 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)  # a cycle, perhaps
    elif kind == 4 and node.output:
        node.output[0] = rng.choice(names)
    elif kind == 5:
        node.op_type = rng.choice(_OPERATIONS)
    elif kind == 6:
        stored.ClearField("raw_data")
        stored.data_location = 1
        said = {"location": rng.choice(_LOCATIONS), "offset": str(number),
                "length": str(rng.choice((16, number)))}  # fmt: skip
        for key, value in said.items():
            stored.external_data.add(key=key, value=value)
    elif kind == 7:
        dims = rng.choice((*graph.input, *graph.output)).type.tensor_type.shape.dim
        if dims:
            dims[rng.randrange(len(dims))].dim_value = number
    elif kind == 8:
        rng.choice(model.opset_import).version = rng.choice((0, 1, 7, 99, 2**31, -1))
    elif kind == 9:
        graph.node.append(node)
    elif kind == 10:
        del graph.node[rng.randrange(len(graph.node))]
    elif model.metadata_props:
        entry = rng.choice(model.metadata_props)
        entry.value = _json_or_bytes(entry.value, rng)
    return bytes(model.SerializeToString())


def _json_or_bytes(text: str, rng: random.Random) -> str:
    try:
        return json.dumps(change_json(json.loads(text), rng))
    except ValueError:
        return str(rng.choice(_NASTY)).encode("utf-8", "replace").decode()


def attached_json(data: bytes, rng: random.Random) -> bytes:
    """A .tflite whose attached contract or labels say something else."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        begin = min(entry.header_offset for entry in archive.infolist())
    return data[:begin] + _zip(_with_one_changed(files, rng), rng)


def zipped(data: bytes, rng: random.Random) -> bytes:
    """A .keras or .npz that is packed anew, with one of its files changed, lied about or added."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return _zip(_with_one_changed(files, rng), rng)


def _with_one_changed(files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    name = rng.choice(sorted(files))
    kind = rng.randrange(10)
    if kind == 0:
        del files[name]
    elif kind == 1:
        files[
            rng.choice(("../../evil.txt", "/tmp/evil.txt", "assets/../../x", "a" * 300, name))
        ] = b"x"
    elif kind == 2:
        files[name] = bytes(rng.choice((1, 10_000_000, 150_000_000)))
    elif name.endswith(".json"):
        files[name] = json_text(files[name], rng)
    elif name.endswith(".npy"):
        files[name] = npy_header(files[name], rng)
    else:
        files[name] = Damage(files[name])(files[name], rng)
    return files


def _zip(files: dict[str, bytes], rng: random.Random) -> bytes:
    stream = io.BytesIO()
    way = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(stream, "w", way) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    packed = bytearray(stream.getvalue())
    if files and rng.random() < 0.2:  # lie in the directory: sizes, checksums, offsets, flags
        place = packed.find(b"PK\x01\x02") + rng.randrange(4, 46)
        packed[place] = rng.randrange(256)
    return bytes(packed)


def npy_header(data: bytes, rng: random.Random) -> bytes:
    """An array whose header claims another type or shape: objects (pickles), terabytes, nests."""
    claims = ("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
              "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 32, 32, 3), }",
              "{'descr': '|u1', 'fortran_order': True, 'shape': (-1, 32, 32, 3), }",
              "{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (), }",
              "{'descr': '<U999999999', 'fortran_order': False, 'shape': (8,), }",
              "__import__('os').system('touch evil')", "(" * 5000, "{")  # fmt: skip
    text = rng.choice(claims).encode() + b"\n"
    if rng.random() < 0.3:
        return Damage(data)(data, rng)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[128:]


def png_chunks(data: bytes, rng: random.Random) -> bytes:
    """A PNG with one chunk changed, doubled or gone, and checksums that fit."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    at = rng.choice((0, rng.randrange(len(chunks))))
    name, body = chunks[at]
    kind = rng.randrange(4)
    if kind == 0:
        del chunks[at]
    elif kind == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), (name, body))
    elif name == b"IHDR":
        width, height = (rng.choice((0, 1, 2**16, 2**20, 2**31 - 1, 64)) for _ in "wh")
        rest = bytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 16)) for _ in range(5))
        chunks[at] = (name, struct.pack(">II", width, height) + rng.choice((body[8:], rest)))
    elif body:
        chunks[at] = (name, Damage(body)(body, rng))
    return data[:8] + b"".join(
        struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks
    )


def tar_entries(data: bytes, rng: random.Random) -> bytes:
    """A tar file with headers changed, and checksums that fit."""
    changed = bytearray(data)
    heads = [i for i in range(0, len(data) - 512, 512) if data[i + 257 : i + 262] == b"ustar"]
    for _ in range(rng.choice((1, 1, 3))):
        head = rng.choice(heads)
        field, size = rng.choice(((0, 100), (124, 12), (156, 1), (157, 100), (345, 155)))
        new = rng.choice(_TAR_FIELDS)
        changed[head + field : head + field + size] = new[:size].ljust(size, b"\0")
        changed[head + 148 : head + 156] = b" " * 8
        total = sum(changed[head : head + 512])
        changed[head + 148 : head + 156] = b"%06o\0 " % total
    if rng.random() < 0.1:
        entry = tarfile.TarInfo("long").tobuf(tarfile.GNU_FORMAT)
        return bytes(entry[:156] + b"L" + entry[157:]) * 3000 + bytes(changed)
    return bytes(changed)


def lines(data: bytes, rng: random.Random) -> bytes:
    """A list of labels with one of them changed."""
    found = data.split(b"\n")
    found[rng.randrange(len(found))] = rng.choice(_LABELS)
    return b"\n".join(found)
