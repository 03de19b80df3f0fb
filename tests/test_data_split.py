"""The split: specimens whole, folders covered, gaps real."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.core import InputError, Microstructure
from microgen.data import Item
from microgen.data.split import halves, split_by_specimen


def sizes_of(specimens):
    return dict.fromkeys(specimens, None)


@given(
    members=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=40),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_specimens_stay_whole_and_folders_keep_training_images(members, share, seed):
    specimens = {f"{folder}/{k}": f"{folder}/s{number}" for k, (folder, number) in enumerate(members)}
    split = split_by_specimen(specimens, sizes_of(specimens), share=share, seed=seed)
    assert split == split_by_specimen(specimens, sizes_of(specimens), share=share, seed=seed)
    sides = {s: {split[n] for n, other in specimens.items() if other == s} for s in specimens.values()}
    assert all(len(side) == 1 for side in sides.values())
    folders = {f: {s for s in specimens.values() if s.startswith(f)} for f in "abc"}
    able = [f for f, s in folders.items() if len(s) >= 3]
    held = {s for s, side in sides.items() if side == {"held_out"}}
    for folder in able:
        expected = max(1, round(share * len(folders[folder])))
        assert len(held & folders[folder]) == expected < len(folders[folder])
    assert bool(held) == bool(able or len(sides) >= 3)
    if able:
        assert not any(held & folders[f] for f in set("abc") - set(able))


def test_folders_of_one_overlap_group_go_to_training():
    specimens = {f"steps/{k}": "steps/0" for k in range(4)} | {f"free/{k}": f"free/{k}" for k in range(5)}
    split = split_by_specimen(specimens, sizes_of(specimens), share=0.2, seed=0)
    held = [n for n, s in split.items() if s == "held_out"]
    assert len(held) == 1
    assert held[0].startswith("free/")


def test_the_held_out_images_span_the_grain_sizes():
    specimens = {f"{k:02d}": f"{k:02d}" for k in range(20)}
    sizes = {name: float(100 - int(name)) for name in specimens}
    for seed in range(5):
        split = split_by_specimen(specimens, sizes, share=0.2, seed=seed)
        held = sorted(sizes[n] for n, s in split.items() if s == "held_out")
        assert [int((v - 81) // 5) for v in held] == [0, 1, 2, 3]


def test_seeds_choose_differently_and_small_specimens_are_preferred():
    specimens = {f"{k}": f"{k}" for k in range(9)} | {"9": "8"}
    chosen = set()
    for seed in range(30):
        split = split_by_specimen(specimens, sizes_of(specimens), share=0.1, seed=seed)
        chosen |= {n for n, s in split.items() if s == "held_out"}
    assert len(chosen) > 3
    assert not chosen & {"8", "9"}


def test_none_held_out_on_request_and_bad_shares_refused():
    specimens = {f"{k}": f"{k}" for k in range(5)}
    assert set(split_by_specimen(specimens, sizes_of(specimens), share=0, seed=0).values()) == {"train"}
    with pytest.raises(InputError, match="between 0 and"):
        split_by_specimen(specimens, sizes_of(specimens), share=0.9, seed=0)


@pytest.mark.parametrize("shape", [(100, 400), (400, 100), (300, 90, 90)])
def test_halves_leave_a_gap_and_share_nothing(shape):
    values = np.arange(np.prod(shape)).reshape(shape)
    item = Item("a", Microstructure({"intensity": values}, (0.5,) * len(shape)), "s", "train")
    train, held = halves(item, share=0.25, gap_um=10.0)
    assert (train.split, held.split, train.specimen, held.specimen) == ("train", "held_out", "s", "s")
    axis = int(np.argmax(shape))
    parts = [np.unravel_index(p.microstructure["intensity"], shape)[axis] for p in (train, held)]
    assert parts[1].min() - parts[0].max() - 1 == 20
    assert parts[1].max() == shape[axis] - 1
    assert parts[0].min() == 0
    assert len(np.unique(parts[1])) == max(64, round(0.25 * shape[axis]))
    assert held.microstructure.source["part"]["stop"] == shape[axis]


def test_an_image_too_small_to_divide_is_refused():
    item = Item("a.png", Microstructure({"intensity": np.eye(130)}, (1.0, 1.0)), "s", "train")
    with pytest.raises(InputError, match=r"a\.png is too small"):
        halves(item, share=0.2, gap_um=5.0)
