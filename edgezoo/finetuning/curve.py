"""The learning curve as an SVG image, which browsers open and pages embed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgezoo.core import escapes
from edgezoo.finetuning.finetune_result import Epoch

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 260, 48, 34
_PLOT = (_WIDTH - _LEFT - 16, _HEIGHT - _TOP - 40)
_COLOURS = {"training": "#8a6d00", "validation": "#1f5fbf"}
_TICKS = 4
_STYLE = "text{font:12px sans-serif;fill:#333}.t{font-weight:bold}line{stroke:#ccc}"


def draw(epochs: Sequence[Epoch], title: str) -> str:
    """Draw an SVG with loss and accuracy by epoch of both stages, and the best epoch marked."""
    losses = [e.loss for e in epochs], [e.validation_loss for e in epochs]
    accuracies = [e.accuracy for e in epochs], [e.validation_accuracy for e in epochs]
    top = max(*losses[0], *losses[1], 1e-6)
    plots = (
        _plot(0, f"{title}: loss", epochs, losses, top, lambda v: f"{v:.2g}"),
        _plot(1, "accuracy", epochs, accuracies, 1.0, lambda v: f"{100 * v:.0f} %"),
    )
    height = 2 * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(plots)}</svg>\n'
    )


def _plot(
    number: int,
    title: str,
    epochs: Sequence[Epoch],
    series: tuple[list[float], list[float]],
    top: float,
    label: Callable[[float], str],
) -> str:
    """Draw one plot: training and validation series from 0 to `top`, with labelled ticks."""
    width, height = _PLOT
    base = number * _HEIGHT + _TOP

    def x(place: int) -> float:
        return _LEFT + width * (place + 0.5) / len(epochs)

    def y(value: float) -> float:
        return base + height * (1 - min(value / top, 1.0))

    parts = [f'<text class="t" x="{_LEFT}" y="{base - 14}">{escapes.html(title)}</text>']
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label(value)}</text>'
        )
    parts += _stages(epochs, x, base, height)
    for order, (values, (name, colour)) in enumerate(zip(series, _COLOURS.items(), strict=True)):
        line = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        place = _WIDTH - 16 - 90 * (2 - order)
        parts.append(f'<text x="{place}" y="{base - 14}" style="fill:{colour}">{name}</text>')
    best = max((i for i, epoch in enumerate(epochs) if epoch.best), default=None)
    if best is not None:
        parts.append(
            f'<circle cx="{x(best):.1f}" cy="{y(series[1][best]):.1f}" r="4" '
            f'fill="{_COLOURS["validation"]}"><title>best</title></circle>'
        )
    return "".join(parts)


def _stages(
    epochs: Sequence[Epoch], x: Callable[[int], float], base: int, height: int
) -> list[str]:
    """Draw a line where each stage begins, with its name under the axis."""
    parts = []
    for i, epoch in enumerate(epochs):
        if i == 0 or epoch.stage != epochs[i - 1].stage:
            edge = x(i) - (x(1) - x(0) if len(epochs) > 1 else 0) / 2
            parts.append(
                f'<line x1="{edge:.1f}" x2="{edge:.1f}" y1="{base}" y2="{base + height}"/>'
                f'<text x="{edge + 4:.1f}" y="{base + height + 18}">{escapes.html(epoch.stage)}, '
                f"from epoch {i + 1}</text>"
            )
    return parts
