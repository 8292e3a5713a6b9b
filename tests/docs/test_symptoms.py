"""Whoever searches for a tool's exact words finds them as a heading."""

from __future__ import annotations

import re

import pytest

from tests.docs.test_docs import DOCS

HEADINGS = re.findall(r"^#{2,3} (.+)$", (DOCS / "symptoms.md").read_text(), re.M)


@pytest.mark.parametrize(
    "text",
    [
        "delegate that only supports static-sized tensors",
        "Didn't find op for builtin opcode 'CONV_2D' version '5'",
        "AttributeError: _ARRAY_API not found",
        "LLVM ERROR",
        "IndexError: list index out of range",
        "AddInitializerWithOrtValue",
        "Attempt to replace the existing tensor",
        "DecodeImage(-1) is not a registered function/op",
        "OSError: libedgetpu.so.1: cannot open shared object file: No such file or directory",
        "OSError: libusb-1.0.so.0: cannot open shared object file",
        "ValueError: Failed to load delegate from",
        "RuntimeError: Encountered unresolved custom op: edgetpu-custom-op.",
        "Model not quantized",
        "More than one subgraph is not supported",
        "Operation is otherwise supported, but not mapped due to some unspecified limitation",
        "Operation is working on an unsupported data type",
        "Operation version not supported",
        "Tensor has unsupported rank (up to 3 innermost dimensions mapped)",
        "Internal compiler error",
        "Failed to resize buffer. Requested:",
        "Hybrid models are not supported on TFLite Micro.",
        "Failed to initialize WebGPU environment: INTERNAL: No adapters found",
        "Requested one of these types: uint8/float32, got INT8.",
        "Per-channel image normalization is not available.",
        "Expected uncompressed zip archive.",
        "No module named 'mediapipe.tasks.cc'",
        "Permission denied (publickey).",
        "Killed",
    ],
)
def test_message_is_a_heading(text: str) -> None:
    assert [heading for heading in HEADINGS if text in heading]


def test_headings_are_said_once() -> None:
    assert len(set(HEADINGS)) == len(HEADINGS)
