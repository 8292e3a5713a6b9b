"""A model as C source with its contract as the header, for firmware without a file system."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from edgezoo.core import escapes
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.protocols import TensorInfo

_C_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "float32": "float"}
# Keywords of C and C++, and what gcc defines: a variable of that name does not compile.
_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while _Alignas _Alignof _Atomic _Bool _Complex _Generic _Imaginary _Noreturn
_Static_assert _Thread_local alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t
char32_t class co_await co_return co_yield compl concept const_cast consteval constexpr constinit
decltype delete dynamic_cast explicit export false friend linux main mutable namespace new noexcept
not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires
static_assert static_cast template this thread_local throw true try typeid typename typeof
typeof_unqual unix using virtual wchar_t xor xor_eq
"""
# Suffixes of the files and arrays of a model.
_ENDS = ("len", "labels", "golden", "golden_input", "golden_output")
_BACKGROUND = "background"


def identifier(stem: str) -> str:
    """Turn a file name into a C name: mobilenet_0.5 becomes mobilenet_0_5, int int_model."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    if name in _KEYWORDS.split():
        return f"{name}_model"
    return f"_{name}" if name[:1].isdigit() else name


def clash(stems: Sequence[str]) -> tuple[str, str, str] | None:
    """Return two models that would share a name in C, and the name; None where there are none."""
    owners: dict[str, str] = {}
    for stem in stems:
        name = identifier(stem)
        for part in (name, *(f"{name}_{end}" for end in _ENDS)):
            # Macros and guards are in capitals, and some file systems ignore the case.
            other = owners.setdefault(part.upper(), stem)
            if other != stem:
                return other, stem, part
    return None


def names(stem: str) -> tuple[str, str, str, str]:
    """Return the file names of the header and source of a model, and of its golden image."""
    name = identifier(stem)
    return f"{name}.h", f"{name}.c", f"{name}_golden.h", f"{name}_golden.c"


def write(
    artifact: Artifact,
    input: TensorInfo,
    output: TensorInfo,
    example: tuple[str, NDArray[Any], NDArray[Any]],
) -> dict[str, str]:
    """Return C99 sources by file name.

    Args:
        artifact: a .tflite file with its contract.
        input, output: its tensors.
        example: name, input tensor and raw output of one golden image.
    """
    name = identifier(artifact.path.stem)
    header, source, golden_header, golden_source = names(artifact.path.stem)
    image, values, answer = example
    arrays = ((f"{name}_golden_input", values, input), (f"{name}_golden_output", answer, output))
    declared = "\n".join(
        f"extern const {_C_TYPES[tensor.dtype]} {array}[{data.size}];"
        for array, data, tensor in arrays
    )
    defined = "\n".join(
        f"const {_C_TYPES[tensor.dtype]} {array}[{data.size}] = {{\n{_values(data)}}};\n"
        for array, data, tensor in arrays
    )
    return {
        header: _header(name, artifact, input, output),
        source: _source(name, artifact, output),
        golden_header: _guarded(
            f"{name}_golden", f"/* {escapes.c_comment(image)}: input and output. */\n{declared}\n"
        ),
        golden_source: f'#include "{golden_header}"\n\n{defined}',
    }


def _guarded(name: str, body: str) -> str:
    guard = f"{name.upper()}_H"
    return f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n{body}\n#endif\n"


def _header(name: str, artifact: Artifact, input: TensorInfo, output: TensorInfo) -> str:
    contract = artifact.required_contract()
    upper, how, crops = name.upper(), contract.normalization, contract.resize_mode is None
    defines: list[tuple[str, object]] = [
        ("INPUT_HEIGHT", contract.frame.height),
        ("INPUT_WIDTH", contract.frame.width),
        ("INPUT_CHANNELS", contract.frame.channels),
        *_quantization("INPUT", input),
        *([("RESIZE_SHORTER_SIDE", contract.resize_record.shorter_side)] if crops else []),
        ("OUTPUT_COUNT", _values_of(output)),
        *_quantization("OUTPUT", output),
        ("CLASSES", contract.classes),
    ]
    background = _has_background(contract, output)
    comment = [
        f"{contract.model}, {contract.precision}. Made by EdgeZoo; do not edit.",
        f"Takes {contract.color_order} {contract.input_kind}, {contract.layout}, batch "
        f"{contract.batch}, as {_C_TYPES[input.dtype]}: {_resize_rule(contract)}",
        _rule(_fed(contract, input), input.dtype, how.channel_order),
        f"Returns {contract.output_kind} as {_C_TYPES[output.dtype]}"
        + (": (value - zero point) * scale." if output.scale else "."),
        *_head_rule(contract),
        *(["The first output is a background class, which CLASSES does not count."] * background),
    ]
    lines = ["/*", *(f" * {escapes.c_comment(line)}" for line in comment), " */"]
    lines += [f"#define {upper}_{key} {value}" for key, value in defines]
    if contract.input_kind == "normalized":
        for key, numbers in (("SCALE", how.scale), ("OFFSET", how.offset)):
            text = ", ".join(f"{number!r}f" for number in numbers)
            lines.append(f"#define {upper}_NORMALIZATION_{key} {{{text}}}")
    lines += ["", f"extern const unsigned char {name}[];", f"extern const unsigned int {name}_len;"]
    if contract.labels:
        lines += [
            "/* A name for each output, in the same order. */"
            if not contract.binary
            else "/* The second one is the class whose probability the output is. */",
            f"extern const char *const {name}_labels[{upper}_{_labels_count(contract)}];",
        ]
    return _guarded(name, "\n".join(lines) + "\n")


def _has_background(contract: InputContract, output: TensorInfo) -> bool:
    return _values_of(output) == contract.values + 1


def _values_of(output: TensorInfo) -> int:
    """Return the number of values for an image, whatever the shape: (1, N), (N), (1, N, 1, 1)."""
    return math.prod(output.shape[1:]) if len(output.shape) > 1 else output.shape[0]


def _labels_count(contract: InputContract) -> str:
    return "CLASSES" if contract.binary else "OUTPUT_COUNT"


def _resize_rule(contract: InputContract) -> str:
    if contract.resize_mode is None:
        return f"resize the shorter side ({contract.resize_filter}), crop the centre."
    return f"{contract.resize_text}."


def _head_rule(contract: InputContract) -> list[str]:
    """Return how the outputs become probabilities, where they are something else."""
    if contract.head is None:
        return []
    lines = []
    if contract.head == "logits":
        lines = ["A softmax over the outputs makes probabilities of them."]
    elif contract.head == "sigmoid-logits":
        lines = ["1 / (1 + exp(-output)) is a probability."]
    if contract.binary:
        return [*lines, "The output is the probability of the second class; 1 minus it, the first."]
    if contract.multi_label:
        return [*lines, "Each output is of its own: several classes can be right."]
    return lines


def _quantization(side: str, tensor: TensorInfo) -> list[tuple[str, object]]:
    """Return scale and zero point; nothing for a float tensor."""
    if tensor.scale is None:
        return []
    return [(f"{side}_SCALE", f"{tensor.scale!r}f"), (f"{side}_ZERO_POINT", tensor.zero_point)]


def _fed(contract: InputContract, input: TensorInfo) -> str:
    """Return what a program feeds: pixels too where bytes have no quantization."""
    whole = input.dtype == "uint8" and input.scale is None
    return "pixels" if whole else contract.input_kind


def _rule(kind: str, dtype: str, order: str) -> str:
    if kind == "pixels":
        return {"int8": "Feed pixel - 128.", "uint8": "Feed the pixel as it is."}.get(
            dtype, "Feed values 0 to 255."
        )
    rule = f"Feed pixel * NORMALIZATION_SCALE + NORMALIZATION_OFFSET, channels in {order} order"
    if dtype == "float32":
        return f"{rule}."
    limits = "-128 to 127" if dtype == "int8" else "0 to 255"
    return (
        f"{rule}, divided by INPUT_SCALE, rounded, plus INPUT_ZERO_POINT, and clipped to {limits}."
    )


def _source(name: str, artifact: Artifact, output: TensorInfo) -> str:
    contract, data = artifact.required_contract(), artifact.path.read_bytes()
    rows = "".join(f"{','.join(map(str, data[i : i + 24]))},\n" for i in range(0, len(data), 24))
    text = (
        f'#include "{name}.h"\n\n'
        "/* The flatbuffer must start at a multiple of 16 bytes. */\n"
        "#if defined(__GNUC__)\n__attribute__((aligned(16)))\n#endif\n"
        f"const unsigned char {name}[] = {{\n{rows}}};\n"
        f"const unsigned int {name}_len = {len(data)};\n"
    )
    if contract.labels:
        front = (_BACKGROUND,) if _has_background(contract, output) else ()
        listed = "".join(f"  {escapes.c_string(label)},\n" for label in front + contract.labels)
        count = f"{name.upper()}_{_labels_count(contract)}"
        text += f"const char *const {name}_labels[{count}] = {{\n{listed}}};\n"
    return text


def _values(data: NDArray[Any]) -> str:
    flat = data.reshape(-1)
    words = [f"{value!r}f" if flat.dtype.kind == "f" else str(value) for value in flat.tolist()]
    return "".join(f"  {', '.join(words[i : i + 12])},\n" for i in range(0, len(words), 12))
