"""The whole report on small etched polycrystals whose truth is known."""

from __future__ import annotations

import dataclasses
import html.parser
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, spatial

from microgen.core import InputError, Microstructure
from microgen.evaluate import Report, evaluate
from microgen.evaluate.ratio import Distances
from microgen.evaluate.report import BAD, GOOD, SILENT, UNSURE, Numbers, Row, make_row

SPACING = 0.5


def gray(seed: int, side: int, grain_px: float = 10.0, widen: int = 0) -> np.ndarray:
    """Etched Voronoi grains: dark lines, grain contrast and noise; `widen` dilates the boundaries."""
    rng = np.random.default_rng(seed)
    margin = int(3 * grain_px)
    big = side + 2 * margin
    points = rng.random((int(big**2 / grain_px**2), 2)) * big
    where = np.stack(np.mgrid[:big, :big], -1).reshape(-1, 2)
    distance, owner = (v.reshape(big, big, 2) for v in spatial.cKDTree(points).query(where, 2))
    line = np.exp(-(((distance[..., 1] - distance[..., 0]) / 2.4) ** 2))
    line = ndimage.grey_dilation(line, (1 + 2 * widen,) * 2) if widen else line
    tone = rng.normal(0, 8, len(points))[owner[..., 0]]
    image = ndimage.gaussian_filter(170 + tone - 90 * line, 0.7) + rng.normal(0, 5, (big, big))
    return np.clip(np.rint(image[margin:-margin, margin:-margin]), 0, 255).astype(np.uint8)


def micrograph(values: np.ndarray, **source: object) -> Microstructure:
    return Microstructure({"intensity": values}, (SPACING, SPACING), source=source)


def pictures(first: int, count: int, side: int = 144) -> list[Microstructure]:
    return [micrograph(gray(first + i, side)) for i in range(count)]


REAL = pictures(100, 5)
TRAIN = pictures(200, 8)
COUNT = 32


def report(generated: list[np.ndarray], **options: object) -> Report:
    made = [micrograph(values) for values in generated]
    return evaluate(REAL, made, train=TRAIN, max_windows=COUNT, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faithful() -> Report:
    return report([gray(i, 48) for i in range(COUNT)])


@pytest.fixture(scope="module")
def copied() -> Report:
    """A memoriser: training patches, turned, with a little noise."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 144 - 48, (COUNT, 2))
    cut = [TRAIN[k % 8]["intensity"][y : y + 48, x : x + 48] for k, (y, x) in enumerate(places)]
    noisy = [np.rot90(c, k) + rng.normal(0, 3, c.shape) for k, c in enumerate(cut)]
    return report([np.clip(np.rint(n), 0, 255).astype(np.uint8) for n in noisy])


def test_samples_of_the_same_law_reach_the_ceiling(faithful: Report) -> None:
    ratios = np.array([row.ratio for row in faithful.rows])
    assert np.median(ratios) < 1.5  # single rows exceed it by chance; test_evaluate_ratio counts how often
    assert np.mean([row.ratio_interval[0] <= 1 <= row.ratio_interval[1] for row in faithful.rows]) > 0.6
    assert faithful["mmd"].verdict == GOOD


def test_real_against_itself_is_at_the_ceiling() -> None:
    windows = [p["intensity"][y : y + 48, x : x + 48] for p in TRAIN[:5] for y in (0, 48, 96) for x in (0, 48, 96)]
    found = evaluate(REAL, [micrograph(w) for w in windows], train=TRAIN[:5], max_windows=45)
    for row in found.rows:  # the same windows on both sides; the ceiling averages over random divisions too
        assert row.ratio < 1.45, row.descriptor
        assert row.ratio_interval[0] < row.ratio < row.ratio_interval[1]


def test_floor_is_below_ceiling_where_structure_counts(faithful: Report) -> None:
    for name in ("s2", "lineal_path", "chord_length_um", "mean_intercept_um", "correlation_length_um", "mmd"):
        row = faithful[name]
        assert max(row.floors.values()) > 3 * row.ceiling, name
        assert row.floor == min(row.floors[kind] for kind in ("same spectrum", "shuffled pixels"))
    assert faithful["power_spectrum"].floors["same spectrum"] < faithful["power_spectrum"].floors["shuffled pixels"]


def test_classifier_guesses_on_the_same_law(faithful: Report) -> None:
    two = faithful.two_sample
    assert two.generated is not None
    assert two.real is not None
    assert 0.3 < two.generated.interval[0] < 0.62
    assert 0.4 < two.generated.interval[1] < 0.8
    assert 0.35 < two.generated.best < 0.7
    assert two.p_generated > 0.01


@pytest.mark.parametrize(
    ("distortion", "found_in"),
    [
        (lambda i: gray(i, 48, widen=1), ["intensity_mean", "power_spectrum", "mmd"]),
        (lambda i: ndimage.gaussian_filter(gray(i, 48), 1.5), ["power_spectrum", "intensity_std", "mmd"]),
        (lambda i: gray(i, 48, grain_px=12.0), ["mean_intercept_um", "s2", "chord_length_um", "mmd"]),
        (
            lambda i: np.clip(gray(i, 48) + np.random.default_rng(i).normal(0, 15, (48, 48)), 0, 255).astype(np.uint8),
            ["power_spectrum", "mmd"],
        ),
    ],
    ids=["boundaries 1 px wider", "blurred", "grains 20 % larger", "noise"],
)
def test_known_distortions_are_found(distortion: object, found_in: list[str]) -> None:
    found = report([distortion(i) for i in range(COUNT)])  # type: ignore[operator]
    for name in found_in:
        assert found[name].ratio > 1.5, (name, found[name].ratio)
    assert found.verdict == BAD
    assert found.two_sample.generated is not None
    assert found.two_sample.generated.best > 0.8


def test_a_memoriser_is_flagged(copied: Report, faithful: Report) -> None:
    assert copied.memorisation.copied == 1.0
    assert copied.memorisation.suspicious
    assert copied.memorisation.copied_held_out == 0.0
    assert faithful.memorisation.copied == 0.0
    assert not faithful.memorisation.suspicious
    assert copied["mean_intercept_um"].ratio < 2  # as good as real in every other way: that is why it is looked for


def test_same_seed_same_report() -> None:
    made = [micrograph(gray(i, 48)) for i in range(16)]
    first, again, other = (
        evaluate(REAL[:3], made, train=TRAIN[:3], max_windows=16, seed=seed).to_dict() for seed in (5, 5, 6)
    )
    assert again == first
    assert other["rows"] != first["rows"]


class _Addresses(html.parser.HTMLParser):
    """Collects everything a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_page_stands_alone(copied: Report, tmp_path: Path) -> None:
    copied.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    addresses = _Addresses()
    addresses.feed(page)
    assert len(addresses.found) >= 5
    assert all(address.startswith("data:image/") for address in addresses.found)
    assert not {"script", "link", "iframe"} & set(addresses.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert copied.headline.replace("'", "&#39;") in page
    for row in copied.rows:
        assert f">{row.descriptor}<" in page
        assert row.verdict in page


def test_samples_of_sizes_that_no_real_window_has_give_no_verdict(tmp_path: Path) -> None:
    made = [micrograph(gray(i, 48), recipe={"condition": {"grain_size_um": 60.0}}) for i in range(16)]
    found = evaluate(REAL, made, train=TRAIN, max_windows=16)
    assert found.verdict == SILENT
    assert all(row.verdict == SILENT and np.isnan(row.ratio) and row.n.compared == 0 for row in found.rows)
    (note,) = [note for note in found.notes if "Nothing could be compared" in note]
    assert "grain_size_um 60 to 60" in note
    assert "too few real windows of the requested values" in found.headline
    (row,) = found.obeyed
    assert row.error < -0.8
    found.to_html(tmp_path / "report.html")
    found.to_json(tmp_path / "report.json")


def a_row(
    ratio: float,
    *,
    name: str = "mean_intercept_um",
    high: float = 1.4,
    floors: tuple[float, float] = (9, 9),
    **numbers: int,
) -> Row:
    n = Numbers(**({"generated": 64, "held_out": 64, "train": 64, "compared": 64, "pictures": 6} | numbers))
    found = Distances(
        ratio, (0, 9), 1.0, {"same spectrum": floors[0], "shuffled pixels": floors[1]}, ratio, (0.5, high)
    )
    return make_row(name, "um", "scalar", found, n, medians=(1, 1))


def test_like_real_needs_pictures_a_narrow_interval_and_windows_that_can_be_measured() -> None:
    assert a_row(1.0).verdict == GOOD
    assert a_row(1.0).why == ""
    few = a_row(1.0, pictures=3)
    assert (few.verdict, "too few pictures to conclude" in few.why) == (UNSURE, True)
    assert a_row(1.0, high=2.9).verdict == GOOD
    assert a_row(1.0, high=3.1).verdict == UNSURE
    lost = a_row(1.0, generated_missing=30)
    assert lost.verdict == UNSURE
    assert lost.why == "could not be measured on 32% of generated and 0% of real windows"
    assert a_row(1.0, generated_missing=30, held_out_missing=28).verdict == GOOD
    assert a_row(1.0, generated_missing=2).verdict == GOOD


def test_a_row_that_one_kind_of_noise_passes_says_little() -> None:
    assert "says little" in a_row(1.0, floors=(1.2, 30)).why
    assert "says little" in a_row(1.0, floors=(30, 1.2)).why
    assert a_row(1.0, floors=(2, 30)).why == ""


def test_descriptors_that_say_the_same_count_once(faithful: Report) -> None:
    rows = [a_row(1.0), a_row(1.2, name="astm_g"), a_row(1.1, name="anisotropy"), a_row(1.3, name="s2")]
    assert dataclasses.replace(faithful, rows=rows).headline.startswith("3 of 3 descriptors")
    assert dataclasses.replace(faithful, rows=rows[1:]).headline.startswith("3 of 3 descriptors")


def test_requests_are_measured_on_samples_of_their_own() -> None:
    made = [micrograph(gray(i, 48), recipe={"condition": {"grain_size_um": 5.0}}) for i in range(16)]
    fine = [micrograph(gray(i, 48, grain_px=8.0), recipe={"condition": {"grain_size_um": 3.5}}) for i in range(5)]
    found = evaluate(REAL[:2], made, conditioned=fine, max_windows=16)
    assert [(row.requested, row.n) for row in found.obeyed] == [(3.5, 5)]
    assert evaluate(REAL[:2], made, max_windows=16).obeyed[0].requested == 5.0


def test_numbers_survive_json(faithful: Report, tmp_path: Path) -> None:
    faithful.to_json(tmp_path / "report.json")
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers == json.loads(json.dumps(faithful.to_dict(), allow_nan=False))
    assert {row["descriptor"] for row in numbers["rows"]} >= {"s2", "mean_intercept_um", "mmd"}
    assert numbers["provenance"]["seed"] == 0
    assert numbers["provenance"]["window_px"] == [48, 48]


def test_too_few_samples_give_no_verdict() -> None:
    found = evaluate(REAL[:2], [micrograph(gray(i, 48)) for i in range(6)], max_windows=18)
    assert found.verdict == SILENT
    assert "n=6" in found.headline
    assert "too few to conclude" in found.headline
    assert all(row.verdict == SILENT and np.isnan(row.ratio) for row in found.rows)
    assert found.two_sample.generated is None


def test_one_real_picture_gives_no_verdict(tmp_path: Path) -> None:
    made = [micrograph(gray(i, 48)) for i in range(20)]
    found = evaluate([micrograph(gray(100, 288))], made, max_windows=20)
    assert found.verdict == SILENT
    found.to_html(tmp_path / "report.html")
    assert "Nothing can be concluded" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("generated", "words"),
    [
        ([gray(0, 48)], "at least 2 generated"),
        ([np.full((48, 48), 7, np.uint8)] * 20, "one constant value"),
    ],
)
def test_hopeless_input_is_one_sentence(generated: list[np.ndarray], words: str) -> None:
    with pytest.raises(InputError, match=words):
        report(generated)


def test_unequal_pixel_sizes_are_refused() -> None:
    made = [micrograph(gray(i, 48)) for i in range(3)]
    other = dataclasses.replace(made[0], spacing=(1.0, 1.0))
    with pytest.raises(InputError, match="each size by itself"):
        evaluate(REAL, [*made, other])
    with pytest.raises(InputError, match="one for each"):
        evaluate(REAL, made, real_groups=["a"])
