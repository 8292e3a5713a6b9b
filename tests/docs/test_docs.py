"""The documents say what the code does: commands parse, generated files are current, links hold."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from edgezoo.cli._main import edgezoo
from edgezoo.core import errors, registry
from edgezoo.core.protocols import ExportJob, Target
from edgezoo.core.spec import ModelSpec
from tests.conftest import Ended, Exported

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ALL_COMMANDS = edgezoo.list_commands(click.Context(edgezoo))
CHEAP = ("list", "show", "doctor")


def _name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def _load(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:  # as for a script, whose neighbours it can import
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
        if language in languages:
            yield body


def _commands(page: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Every `edgezoo …` of a page's console blocks: its arguments, and the output shown.

    Output is told from commands by the prompt, so there is none in a block without `$`.
    """
    for body in _blocks(page, "console", "sh"):
        found: list[tuple[list[str], list[str]]] = []
        for line in body.replace("\\\n", " ").splitlines():
            typed = line.strip().removeprefix("$ ")
            if typed.startswith("edgezoo "):
                words = shlex.split(typed, comments=True)
                end = next((n for n, word in enumerate(words) if word in (">", "|")), len(words))
                found.append((words[1:end], []))
            elif found and body.startswith("$ "):
                found[-1][1].append(line.rstrip())
        yield from found


EXAMPLES = {
    (page, shlex.join(arguments)): (arguments, output)
    for page in PAGES
    for arguments, output in _commands(page)
}


def _is_cheap(arguments: list[str]) -> bool:
    """Whether an example runs in a second and needs no files."""
    if "--on" in arguments:
        return False
    if {"--help", "-h", "--version"} & set(arguments) or arguments[0] in CHEAP:
        return True
    return "--dry-run" in arguments and "random" in arguments


def test_generated_documents_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    code = _load(DOCS / "generate.py").main(["--check"])
    assert code == 0, capsys.readouterr().err


def test_stale_document_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = _load(DOCS / "generate.py").main
    assert main([], tmp_path) == 0
    (tmp_path / "cli.md").write_text("old")
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "docs/cli.md" in said and "make docs" in said and "zoo.md" not in said
    assert (tmp_path / "cli.md").read_text() == "old"


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_command_and_options_are_documented(name: str) -> None:
    text = (DOCS / "cli.md").read_text()
    assert f"## edgezoo {name}\n" in text
    section = text.split(f"## edgezoo {name}\n")[1].split("\n## ")[0]
    command = edgezoo.get_command(click.Context(edgezoo), name)
    assert command is not None
    missing = [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option not in section
    ]
    assert missing == []
    assert f"`edgezoo {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("key", EXAMPLES, ids=lambda key: f"{_name(key[0])}: {key[1]}")
def test_example_parses(key: tuple[Path, str]) -> None:
    arguments, _ = EXAMPLES[key]
    group = click.Context(edgezoo, info_name="edgezoo", **edgezoo.context_settings)
    if arguments[0].startswith("-"):
        assert arguments in (["--help"], ["--version"])
        return
    command = edgezoo.get_command(group, arguments[0])
    assert command is not None
    if "--help" not in arguments:
        command.make_context(arguments[0], arguments[1:], parent=group)


@pytest.mark.parametrize(
    "key",
    [key for key, (arguments, _) in EXAMPLES.items() if _is_cheap(arguments)],
    ids=lambda key: f"{_name(key[0])}: {key[1]}",
)
def test_example_runs(key: tuple[Path, str], cli: Callable[..., Ended], tmp_path: Path) -> None:
    page, (arguments, shown) = key[0], EXAMPLES[key]
    ended = cli(*arguments, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    if arguments[0] != "doctor" and page.name != "cli.md":  # which is compared as a whole
        given = [line.rstrip() for line in ended.stdout.splitlines()]
        assert [line for line in shown if line and line not in given] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_and_json_blocks_are_whole(page: Path) -> None:
    for body in _blocks(page, "python"):
        compile(body, str(page), "exec")
    for body in _blocks(page, "json"):
        json.loads(body)


def test_readme_tells_every_exit_code() -> None:
    text = (ROOT / "README.md").read_text()
    codes = {error.exit_code for error in errors.BY_NAME.values()} | {0, 130, 143}
    assert [code for code in sorted(codes) if f"\n| {code} |" not in text] == []


def test_no_path_of_a_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(home|root|work|Users)/")
    assert [_name(page) for page in PAGES if pattern.search(page.read_text())] == []


def _example(page: str) -> dict[str, Any]:
    """The first Python block of a page, executed."""
    body = next(_blocks(DOCS / page, "python"))
    module = ModuleType(f"example_{Path(page).stem}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(body, page, "exec"), module.__dict__)
    return vars(module)


def test_example_model_is_a_spec() -> None:
    (spec,) = _example("adding-a-model.md")["SPECS"]
    assert isinstance(spec, ModelSpec)
    assert spec == registry.model(spec.name), "the page shows a file of the zoo as it is"
    for exporter in registry.exporters().values():
        assert exporter.refusal(spec, ExportJob(exporter.name, "int8")) is None


def _members(protocol_like: Any) -> set[str]:
    return {name for name in dir(protocol_like) if not name.startswith("_")}


def test_example_exporter_has_what_the_others_have() -> None:
    example = _example("adding-a-format.md")["EXPORTER"]
    for exporter in registry.exporters().values():
        assert _members(exporter) <= _members(example)
    spec = registry.model("mobilenet")
    assert example.refusal(spec, ExportJob(example.name, "float32")) is None
    assert example.refusal(spec, ExportJob(example.name, "int8"))


def test_example_runtime_opens_a_file(tmp_path: Path) -> None:
    example = _example("adding-a-runtime.md")["RUNTIME"]
    for runtime in registry.runtimes().values():
        assert _members(runtime) <= _members(example)
    damaged = tmp_path / f"damaged{example.suffixes[0]}"
    damaged.write_bytes(b"not a model")
    with pytest.raises((errors.DataError, errors.MissingError)):
        example.read_contract(damaged)


def test_example_target_places_a_file(exported: Exported) -> None:
    example = _example("adding-a-target.md")["TARGET"]
    assert isinstance(example, Target) and example.name not in registry.targets()
    placement = example.place(exported.path("tflite", "int8"))
    assert {"QUANTIZE", "SOFTMAX"} <= {op.op for op in placement.cpu_ops}
    assert {op.reason for op in placement.cpu_ops} == {"is not a convolution"}
    assert placement.mapped == 28 and placement.parameter_bytes > 400_000
