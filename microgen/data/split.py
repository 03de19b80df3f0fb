"""Which images are held out: whole specimens, never patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.data.dataset import Item, Split

MIN_SPECIMENS = 3
"""Independent specimens from which one can be held out whole."""
MIN_SIDE = 64
MIN_SIDE_3D = 32
"""Shortest side in pixels of an image, and of each part of a divided one; in voxels of a volume."""
MAX_GAP = 0.2
"""Largest share of a divided image given up between its parts."""


def split_by_specimen(
    specimens: Mapping[str, str],
    sizes: Mapping[str, float | None],
    *,
    share: float,
    seed: int,
    classes: Mapping[str, str] | None = None,
) -> dict[str, Split]:
    """Hold out about `share` of the specimens of every folder and class, spread over the grain sizes.

    Parameters
    ----------
    specimens
        Specimen of each image by name; the folder is what stands before the last ``/`` of a name.
    sizes
        Grain size of each image, None where it is not known.
    share
        Share of the specimens to hold out, 0 for none. A folder with fewer than three goes to training whole, and so
        does a class within it.
    seed
        Which of equally good choices is taken.
    classes
        Class of each image, by name.

    Returns
    -------
    dict
        Split by name; images of one specimen are always on one side. All are ``"train"`` where no folder, and not
        even all of them together, has three specimens.
    """
    if not 0 <= share <= 0.5:
        raise InputError(f"the share held out must be between 0 and 0.5, not {share:g}")
    rng = np.random.default_rng(seed)
    folders: dict[tuple[str, str], list[str]] = {}
    class_of = {specimen: (classes or {}).get(name, "") for name, specimen in reversed(list(specimens.items()))}
    for specimen in specimens.values():
        members = folders.setdefault((specimen.rpartition("/")[0], class_of[specimen]), [])
        if specimen not in members:
            members.append(specimen)
    able = [members for members in folders.values() if len(members) >= MIN_SPECIMENS]
    every = [specimen for members in folders.values() for specimen in members]
    able = able or ([every] if len(every) >= MIN_SPECIMENS else [])
    counts = {s: sum(other == s for other in specimens.values()) for s in every}
    order = {s: sizes.get(next(n for n, other in specimens.items() if other == s)) or 0.0 for s in every}
    held = {s for members in able for s in _chosen(sorted(members, key=order.__getitem__), counts, share, rng)}
    return {name: "held_out" if specimen in held else "train" for name, specimen in specimens.items()}


def _chosen(members: list[str], counts: Mapping[str, int], share: float, rng: np.random.Generator) -> list[str]:
    """One specimen from each of as many equal strata, among those with the fewest images."""
    if share == 0:
        return []
    chosen = []
    for stratum in np.array_split(np.array(members, dtype=object), max(1, round(share * len(members)))):
        fewest = min(counts[s] for s in stratum)
        chosen.append(str(rng.choice([s for s in stratum if counts[s] == fewest])))
    return chosen


def halves(item: Item, *, share: float, gap_um: float) -> list[Item]:
    """Divide one image along its longest axis into a training and a held-out part with a gap between them.

    Parameters
    ----------
    item
        The image.
    share
        Share of the image for the held-out part, which comes last.
    gap_um
        Width of the strip between them that belongs to neither, at most a fifth of the image.

    Raises
    ------
    InputError
        If a part would be shorter than 64 pixels (32 voxels).
    """
    m = item.microstructure
    smallest = MIN_SIDE if m.ndim == 2 else MIN_SIDE_3D
    axis = int(np.argmax(m.extent_um))
    n = m.shape[axis]
    gap = min(int(np.ceil(gap_um / m.spacing[axis])), int(MAX_GAP * n))
    held = max(round(share * n), smallest)
    train = n - gap - held
    if train < smallest:
        raise InputError(
            f"{item.name} is too small to hold a part of it out ({n} pixels); add images, or pass --held-out 0"
        )
    parts: Sequence[tuple[str, Split, int, int]] = [("train", "train", 0, train), ("held_out", "held_out", n - held, n)]
    return [
        Item(f"{item.name}#{label}", _part(m, axis, start, stop), item.specimen, side)
        for label, side, start, stop in parts
    ]


def _part(m: Microstructure, axis: int, start: int, stop: int) -> Microstructure:
    box = [slice(None)] * m.ndim
    box[axis] = slice(start, stop)
    return m.crop(*box).replace(source={**m.source, "part": {"axis": axis, "start": start, "stop": stop}})
