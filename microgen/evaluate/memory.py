"""Did the model learn or copy? The nearest place in the training pictures for every sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Image = NDArray[np.float64]

COPY_RATIO = 1 / 3
"""A sample whose nearest training patch is this much nearer than the next different one counts as copied."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training patch most like one window.

    Attributes
    ----------
    window, patch
        The window and the patch, turned to match, ``(Y, X)``.
    picture
        Number of the training picture.
    correlation
        Normalised cross-correlation at full resolution, 1 for a copy (up to brightness and contrast).
    distance, second
        ``sqrt(2 - 2 correlation)`` of the nearest patch, and of the nearest one elsewhere.
    """

    window: Image
    patch: Image
    picture: int
    correlation: float
    distance: float
    second: float

    @property
    def ratio(self) -> float:
        """`distance` over `second`; near 1 for new structures, near 0 for copies."""
        return self.distance / self.second if self.second > 0 else 1.0

    @property
    def copied(self) -> bool:
        """Whether `ratio` is below :data:`COPY_RATIO` (Yoon et al. 2023 and others use 1/3)."""
        return self.ratio < COPY_RATIO


@dataclass(frozen=True, eq=False)
class _Picture:
    image: Image
    coarse: Image
    spectrum: NDArray[Any]
    shape: tuple[int, int]
    norm: Image


@dataclass(frozen=True)
class _Place:
    score: float
    picture: int
    turn: int
    y: int
    x: int


def nearest(windows: Sequence[Image], training: Sequence[Image], *, coarse_px: int = 16) -> list[Nearest]:
    """Find for each window the most similar patch of the training pictures, over all positions, turns and flips.

    The search runs on windows averaged down to about `coarse_px`, then the best places are compared at full
    resolution in all positions around.

    Parameters
    ----------
    windows
        Windows of one shape, ``(Y, X)``.
    training
        Pictures at the same spacing; those smaller than a window are passed over.

    References
    ----------
    Yoon et al., Diffusion probabilistic models generalize when they fail to memorize, ICML workshop 2023.
    """
    if not windows:
        return []
    factor = max(1, min(windows[0].shape) // coarse_px)
    size = (windows[0].shape[0] // factor, windows[0].shape[1] // factor)
    pictures = [_prepared(image, factor, size) for image in training if min(_room(image, windows[0])) >= 0]
    return [_nearest(window, pictures, factor) for window in windows] if pictures else []


def _nearest(window: Image, pictures: Sequence[_Picture], factor: int) -> Nearest:
    turns = _turned(window)
    places = _apart(sorted(_candidates(turns, pictures, factor), key=lambda p: -p.score), min(window.shape) // 2)
    fine = sorted((_refined(turns, pictures, place, factor) for place in places), key=lambda p: -p.score)
    best = fine[0]
    others = [p.score for p in fine[1:]]
    rows, columns = turns[best.turn].shape
    patch = pictures[best.picture].image[best.y : best.y + rows, best.x : best.x + columns]
    second = _distance(others[0]) if others else float("nan")
    return Nearest(
        window, _turned_back(patch, best.turn), best.picture, best.score, _distance(best.score), second or 1e-12
    )


def _prepared(image: Image, factor: int, size: tuple[int, int]) -> _Picture:
    coarse = _coarse(image, factor)
    shape = (fft.next_fast_len(coarse.shape[0], real=True), fft.next_fast_len(coarse.shape[1], real=True))
    return _Picture(image, coarse, fft.rfft2(coarse - coarse.mean(), shape), shape, _patch_norm(coarse, size))


def _coarse(image: Image, factor: int) -> Image:
    """Every `factor`-th point of the smoothed image; smooth enough that a shift of half a step changes little."""
    if factor == 1:
        return image
    middle = factor // 2
    return np.asarray(ndimage.gaussian_filter(image, 0.6 * factor)[middle::factor, middle::factor])


def _patch_norm(image: Image, size: tuple[int, int]) -> Image:
    """Root of the sum of squares about the mean of every patch of a size."""
    centred = image - image.mean()
    total, squares = _box_sum(centred, size), _box_sum(centred**2, size)
    return np.asarray(np.sqrt(np.maximum(squares - total**2 / (size[0] * size[1]), 1e-9 * (1e-12 + squares.max()))))


def _box_sum(values: Image, size: tuple[int, int]) -> Image:
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    h, w = size
    return np.asarray(table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w])


def _candidates(turns: Sequence[Image], pictures: Sequence[_Picture], factor: int) -> Iterator[_Place]:
    """The two best places of every picture in every orientation."""
    for turn, window in enumerate(turns):
        small = _coarse(window, factor)
        template = small - small.mean()
        template /= np.linalg.norm(template) or 1.0
        for number, picture in enumerate(pictures):
            rows, columns = picture.norm.shape
            template = template[: picture.coarse.shape[0], : picture.coarse.shape[1]]
            score = fft.irfft2(picture.spectrum * np.conj(fft.rfft2(template, picture.shape)), picture.shape)
            score = score[:rows, :columns] / picture.norm
            for _ in range(2):
                y, x = (int(v) for v in np.unravel_index(np.argmax(score), score.shape))
                yield _Place(float(score[y, x]), number, turn, y * factor, x * factor)
                reach = max(1, small.shape[0] // 2)
                score[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = -1


def _apart(places: Sequence[_Place], reach: int, keep: int = 6) -> list[_Place]:
    """The first `keep` places of which no two overlap by much."""
    chosen: list[_Place] = []
    for p in places:
        if all(p.picture != q.picture or max(abs(p.y - q.y), abs(p.x - q.x)) >= reach for q in chosen):
            chosen.append(p)
        if len(chosen) == keep:
            break
    return chosen


def _refined(turns: Sequence[Image], pictures: Sequence[_Picture], place: _Place, factor: int) -> _Place:
    """The best position at full resolution within one coarse step around a place."""
    image, window = pictures[place.picture].image, turns[place.turn]
    rows, columns = window.shape
    top, left = (max(0, min(v - factor, n - m)) for v, n, m in _spans(place, image, window))
    area = image[top : top + rows + 2 * factor, left : left + columns + 2 * factor]
    template = window - window.mean()
    template /= np.linalg.norm(template) or 1.0
    patches = np.lib.stride_tricks.sliding_window_view(area - area.mean(), window.shape)
    score = np.einsum("yxij,ij->yx", patches, template) / _patch_norm(area, (rows, columns))
    y, x = (int(v) for v in np.unravel_index(np.argmax(score), score.shape))
    return _Place(float(min(1.0, score[y, x])), place.picture, place.turn, top + y, left + x)


def _spans(place: _Place, image: Image, window: Image) -> list[tuple[int, int, int]]:
    return list(zip((place.y, place.x), image.shape, window.shape, strict=True))


def _turned(window: Image) -> list[Image]:
    """The window in its orientations: eight, or the four that keep the shape of an oblong one."""
    flips = [window, window[:, ::-1], window[::-1], window[::-1, ::-1]]
    return flips + ([f.T for f in flips] if window.shape[0] == window.shape[1] else [])


def _turned_back(patch: Image, turn: int) -> Image:
    patch = patch.T if turn >= 4 else patch
    return [patch, patch[:, ::-1], patch[::-1], patch[::-1, ::-1]][turn % 4]


def _room(image: Image, window: Image) -> tuple[int, int]:
    return image.shape[0] - window.shape[0], image.shape[1] - window.shape[1]


def _distance(correlation: float) -> float:
    return float(np.sqrt(max(0.0, 2 - 2 * correlation)))
