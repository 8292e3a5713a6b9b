"""Synthetic images with natural-image statistics, for calibration without a user's images.

The amplitude of natural images falls as 1/f with the spatial frequency f, and they have edges and
occlusion. Both come from the dead-leaves model of A. B. Lee, D. Mumford and J. Huang, "Occlusion
models for natural images: a statistical study of a scale-invariant dead leaves model", IJCV 41
(2001): opaque shapes fall on one another whose radii have the density r^-3, the only one that
looks the same at every scale. Colour, light, texture, focus and exposure are random per image and
per leaf on top of it, because a quantizer's ranges depend on extremes as well.

Lengths are in pixels. Until `_expose` makes bytes, tones are logarithms of light (float32): light
multiplies where surfaces, shading and exposure meet, so its logarithm adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.arrays import Doubles, Floats, Pixels
from edgezoo.core.spec import Frame

Owners = NDArray[np.intp]
_GREY = np.array([[0.299], [0.587], [0.114]], np.float32)
_LEAST = 16  # pixels of a side that `images` draws

# What one unit of luminance, red-green and blue-yellow adds to the logarithms of R, G and B.
_OPPONENT = np.array([[1.0, 1.0, 1.0], [0.6, -0.4, -0.1], [0.35, 0.2, -0.7]], np.float32)


@dataclass(frozen=True, slots=True)
class _Leaves:
    """n leaves, the last one on top; arrays of shape (n,) unless said otherwise."""

    y: Floats  # centre, pixels
    x: Floats
    a: Floats  # half axes, pixels
    b: Floats
    cos: Floats  # of the angle of axis a
    sin: Floats
    shape: Owners  # 0 ellipse, 1 box, 2 rounded box
    colour: Floats  # (n, 3), log R, G, B


def images(count: int, size: int, seed: int) -> Iterator[Pixels]:
    """Yield `count` RGB images, each uint8 of shape (size, size, 3) with values 0..255.

    `size` is at least 16 pixels, `seed` at least 0. Image i depends on (size, seed, i) alone,
    never on `count`: a longer run extends a shorter one, and every process makes the same bytes.
    """
    for index in range(count):
        yield _image(np.random.default_rng(np.random.SeedSequence([seed, index])), size)


def frames(count: int, frame: Frame, seed: int) -> Iterator[Pixels]:
    """Yield images as of `images`, cut out of squares, for a network that takes this frame.

    Grey is 0.299 red + 0.587 green + 0.114 blue, as in ITU-R 601.
    """
    side = max(frame.height, frame.width, _LEAST)
    top, left = (side - frame.height) // 2, (side - frame.width) // 2
    for image in images(count, side, seed):
        cut = image[top : top + frame.height, left : left + frame.width]
        if frame.channels == 1:
            cut = np.rint(cut.astype(np.float32) @ _GREY).astype(np.uint8)
        yield cut


def _image(rng: np.random.Generator, size: int) -> Pixels:
    """Draw one image, uint8 (size, size, 3): leaves, their surfaces, the lens, the exposure."""
    leaves = _scatter(rng, size)
    owner, y, x = _bend(rng, _paint(leaves, size))
    dy, dx = y - leaves.y[owner], x - leaves.x[owner]
    cos, sin = leaves.cos[owner], leaves.sin[owner]
    u: Floats = dx * cos + dy * sin
    v: Floats = dy * cos - dx * sin
    n = len(leaves.y)
    pu: Floats = u / leaves.a[owner]
    pv: Floats = v / leaves.b[owner]
    tone = _shade(rng, n, owner, pu, pv) + _texture(rng, n, owner, u, v)
    light = leaves.colour[owner] + tone[:, :, None]
    return _expose(rng, _focus(rng, light, owner, n))


@lru_cache(maxsize=1)
def _log_frequency(size: int) -> Floats:
    """Logarithm of the cycles per image of each FFT bin, float32 (size, size), 0 at DC."""
    f = np.fft.fftfreq(size) * size
    logarithm: Floats = np.log(np.maximum(np.hypot(f[:, None], f), 1.0)).astype(np.float32)
    return logarithm


def _fields(rng: np.random.Generator, size: int, slope: float) -> tuple[Floats, Floats]:
    """Return two noise fields, float32 (size, size), mean 0, std 1, amplitude ~ f**-slope."""
    # White noise has equal amplitudes at all frequencies: multiplied by f**-slope it has a spectrum
    # like that of natural textures, and no seams, since the FFT is periodic.
    gain = np.exp(np.float32(-slope) * _log_frequency(size))
    gain[0, 0] = 0
    noise = rng.standard_normal((size, size, 2), dtype=np.float32).view(np.complex64)[:, :, 0]
    both = np.fft.ifft2(noise * gain)  # the real and imaginary parts are independent
    one, two = both.real.astype(np.float32), both.imag.astype(np.float32)
    return one / one.std(), two / two.std()


def _places(rng: np.random.Generator, size: int, n: int) -> Doubles:
    """Return rows y, x (pixels) and angle (radians) of n leaves, float64 (3, n)."""
    y, x, angle = rng.random((3, n)) * [[size], [size], [np.pi]]
    if rng.random() < 0.4:  # plants, hair and buildings share a direction
        angle = rng.choice([0.0, np.pi / 2, angle[0]]) + rng.normal(0.0, 0.12, n)
    if rng.random() < 0.6:  # an object in the middle rather than clutter all over
        near = rng.random(n) < rng.uniform(0.6, 1.0)
        centre, spread = size * rng.uniform([[0.35], [0.08]], [[0.65], [0.2]], (2, 2))
        y = np.where(near, rng.normal(centre[0], spread[0], n), y)
        x = np.where(near, rng.normal(centre[1], spread[1], n), x)
    return np.stack([y, x, angle])


def _scatter(rng: np.random.Generator, size: int) -> _Leaves:
    """Draw the leaves of one image; leaf 0 is the ground under all, leaf 1 may be a horizon."""
    small, large = size * rng.uniform(0.008, 0.03), size * rng.uniform(0.15, 0.6)
    n = int(np.exp(rng.uniform(np.log(30), np.log(600))))
    y, x, angle = _places(rng, size, n)
    # Inverse transform sampling of the density r^-3 between small and large.
    radius = (small**-2 - rng.random(n) * (small**-2 - large**-2)) ** -0.5
    stretch = np.exp(np.abs(rng.normal(0.0, rng.uniform(0.1, 0.8), n)))
    stretch *= np.where(rng.random(n) < rng.uniform(0.0, 0.2), 4.0, 1.0)  # twigs, legs, bars
    shape = rng.choice(3, n, p=rng.dirichlet((1.5, 0.5, 0.7)))
    radius[0], stretch[0] = 4 * size, 1
    if rng.random() < 0.5:
        radius[1], stretch[1], shape[1] = 4 * size, 1, 1
        y[1], angle[1] = size * rng.uniform(4.2, 4.9), rng.normal(0.0, 0.03)
    axes = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    columns = (y, x, *axes, np.cos(angle), np.sin(angle))
    y32, x32, a, b, cos, sin = (column.astype(np.float32) for column in columns)
    return _Leaves(y32, x32, a, b, cos, sin, shape.astype(np.intp), _colours(rng, n))


def _colours(rng: np.random.Generator, n: int) -> Floats:
    """Draw log colours (n, 3) around a palette: mostly luminance, some images and leaves vivid."""
    k = int(rng.integers(2, 7))
    vivid = 0.4 * np.exp(rng.normal(0.0, 0.6))
    palette = rng.normal(0.0, 1.0, (k, 3)) * (1.0, 0.6 * vivid, vivid)
    palette[:, 2] += 0.15  # more of the world is warm than blue
    colour = palette[rng.choice(k, n, p=rng.dirichlet(np.full(k, 1.5)))]
    colour += rng.normal(0.0, 1.0, (n, 3)) * (0.35, 0.15 * vivid, 0.15 * vivid)
    colour[:, 1:] *= np.where(rng.random((n, 1)) < 0.05, 3.0, 1.0)
    rgb: Floats = (colour[:, :, None] * _OPPONENT).sum(axis=1).astype(np.float32)
    return rgb


def _paint(leaves: _Leaves, size: int) -> Owners:
    """Return the index of the topmost leaf at each pixel, intp (size, size); 0 for the ground."""
    owner = np.zeros((size, size), np.intp)
    line = np.arange(size, dtype=np.float32)
    columns = (leaves.y, leaves.x, leaves.a, leaves.b, leaves.cos, leaves.sin)
    rows = zip(*(column.tolist() for column in columns), leaves.shape.tolist(), strict=True)
    next(rows)  # the ground is there already
    for k, (cy, cx, a, b, cos, sin, shape) in enumerate(rows, start=1):
        reach = float(np.hypot(a, b))  # of a box's corner; only this window is looked at
        down = slice(max(0, int(cy - reach)), max(0, int(cy + reach) + 2))
        across = slice(max(0, int(cx - reach)), max(0, int(cx + reach) + 2))
        dy, dx = line[down, None] - cy, line[None, across] - cx
        u = (dx * (cos / a) + dy * (sin / a)) ** 2
        v = (dy * (cos / b) - dx * (sin / b)) ** 2
        norm = (u + v, np.maximum(u, v), u * u + v * v)[shape]
        owner[down, across][norm < 1] = k
    return owner


def _bend(rng: np.random.Generator, owner: Owners) -> tuple[Owners, Floats, Floats]:
    """Warp the map of leaves and its coordinates, so that no outline is an exact conic."""
    size = len(owner)
    fy, fx = _fields(rng, size, rng.uniform(1.7, 2.6))
    amount = np.float32(size * 0.05 * rng.random() ** 2)
    line = np.arange(size, dtype=np.float32)
    y, x = line[:, None] + amount * fy, line[None, :] + amount * fx
    if rng.random() < 0.35:  # faces, insects, vessels and cars are symmetric
        middle = np.float32(size / 2)
        x = np.abs(x - middle) + middle
    y, x = np.clip(y, 0, size - 1), np.clip(x, 0, size - 1)
    return owner[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)], y, x


def _shade(rng: np.random.Generator, n: int, owner: Owners, u: Floats, v: Floats) -> Floats:
    """Return log light (size, size): a slope and a bulge across each leaf, one gradient over all.

    `u` and `v` are coordinates within the leaf, -1..1 along its axes.
    """
    slopes = rng.normal(0.0, rng.uniform(0.1, 0.6), (3, n)).astype(np.float32)
    slopes[:, 0] *= 4  # the ground is four times the image
    gu, gv, bulge = slopes
    tone = gu[owner] * u + gv[owner] * v - np.abs(bulge)[owner] * (u * u + v * v)
    line = np.linspace(-1, 1, len(owner), dtype=np.float32)
    ky, kx = rng.normal(0.0, 0.2, 2).astype(np.float32)
    whole: Floats = ky * line[:, None] + kx * line[None, :]
    whole += np.clip(tone, -2, 2)
    return whole


def _texture(rng: np.random.Generator, n: int, owner: Owners, u: Floats, v: Floats) -> Floats:
    """Return log light (size, size): grain, stripes and checks, with amplitudes per leaf.

    `u` and `v` are coordinates within the leaf, pixels along its axes.
    """
    coarse, wobble = _fields(rng, len(owner), 1.3)
    fine, _ = _fields(rng, len(owner), 0.6)
    level = np.exp(rng.normal(-2.0, 0.6))
    rough, grain = (level * rng.exponential(1.0, (2, n))).astype(np.float32)
    # Fur, feathers, cloth, bricks: some leaves have a pattern that repeats every 4 to 40 pixels.
    wavy = rng.random(n) < rng.uniform(0.0, 0.5)
    pace = 2 * np.pi * np.exp(rng.uniform(np.log(1 / 40), np.log(1 / 4), n))
    cross = np.where(rng.random(n) < 0.3, pace * rng.uniform(0.3, 1.0, n), 0.0)
    columns = (wavy * rng.exponential(0.4, n), pace, cross)
    height, pace32, cross32 = (column.astype(np.float32)[owner] for column in columns)
    wave = np.cos(u * pace32 + wobble * np.float32(1.5)) * np.cos(v * cross32)
    tone: Floats = rough[owner] * coarse + grain[owner] * fine + height * wave
    return tone


def _blur(light: Floats, radius: int) -> Floats:
    """Average over (2 * radius + 1) pixels along both axes, twice; the edge pixels repeat."""
    width = 2 * radius + 1
    for _ in range(4):
        padded = np.pad(light, ((radius + 1, radius), (0, 0), (0, 0)), mode="edge")
        total = np.cumsum(padded, axis=0)
        light = ((total[width:] - total[:-width]) / np.float32(width)).swapaxes(0, 1)
    return light


def _focus(rng: np.random.Generator, light: Floats, owner: Owners, n: int) -> Floats:
    """Apply the lens: soften all edges; in some images blur the lower leaves."""
    if rng.random() < 0.25:
        far = _blur(light, max(1, int(len(owner) * rng.uniform(0.01, 0.05))))
        light = np.where((owner < n * rng.uniform(0.0, 0.8))[:, :, None], far, light)
    edge = np.float32(rng.uniform(0.0, 0.12))
    for _ in range(2):
        soft = light.copy()
        soft[1:-1] += edge * (light[2:] + light[:-2] - 2 * light[1:-1])
        light = soft.swapaxes(0, 1)
    return light


def _expose(rng: np.random.Generator, light: Floats) -> Pixels:
    """Turn log light into bytes (size, size, 3): a curve, contrast and brightness per image."""
    curve = np.float32(rng.uniform(0.05, 0.5))  # between a logarithmic and a linear response
    light = np.expm1(curve * (light - light.mean()) / light.std())
    contrast = np.clip(rng.normal(69, 17), 22, 105)
    brightness = np.clip(rng.normal(114, 28), 35, 210)
    light = (light - light.mean()) * np.float32(contrast / light.std()) + np.float32(brightness)
    # A sensor's noise: grey, since cameras and JPEG smooth colour noise away; up to 4 of 255.
    noise = rng.standard_normal((*light.shape[:2], 1), dtype=np.float32)
    light += np.float32(rng.uniform(0, 4)) * noise
    return np.clip(np.rint(light), 0, 255).astype(np.uint8, order="C")
