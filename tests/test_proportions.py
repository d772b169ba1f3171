"""Intervals of shares hold what they promise, with few mistakes and with groups of near-duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from imageclef_vqa.evaluation import score_answers
from imageclef_vqa.evaluation.proportions import effective_size, share_intervals, wilson_interval

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SIZES = (48, 60, 120, 200, 480, 1938)


def grouped_images(count, rng):
    """The group of each of `count` images: two thirds are by themselves, the others in groups of 2 to 5."""
    sizes = np.where(rng.random(count) < 0.85, 1, rng.integers(2, 6, count))
    return np.repeat(np.arange(count), sizes)[:count]


def right_answers(share, correlation, clusters, rng):
    """Whether each image is right: a share of all, and with this correlation inside a group."""
    spread = (1 - correlation) / correlation
    return (
        rng.random(len(clusters)) < rng.beta(share * spread, (1 - share) * spread, clusters.max() + 1)[clusters]
    ) * 1.0


@pytest.mark.parametrize("size", SIZES)
def test_95_of_100_intervals_of_independent_images_hold_the_true_share(size):
    right = np.arange(size + 1)
    low, high = np.array([wilson_interval(each / size, size) for each in right]).T
    for share in SHARES:
        coverage = binom.pmf(right, size, share)[(low <= share) & (share <= high)].sum()
        # Counts of mistakes are whole: at 0.98 of 48 images, at most two are 0.928 likely, at most three 0.984.
        assert 0.928 <= coverage <= 0.971, (size, share, coverage)


@pytest.mark.parametrize("size", [48, 480, 1938])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_and_so_do_those_of_images_in_groups(size, share, pytestconfig):
    draws = 2000 if pytestconfig.getoption("--long") else 200
    rng, held = np.random.default_rng(size), 0
    for _ in range(draws):
        clusters = grouped_images(size, rng)
        values = right_answers(share, 0.5, clusters, rng)
        [(low, high)] = share_intervals(values[:, None], clusters)
        held += low <= share <= high
    assert abs(held / draws - 0.95) <= 0.02 + 2 * (0.95 * 0.05 / draws) ** 0.5


def test_independent_images_count_each_and_identical_ones_as_one():
    values = np.array([1.0, 0.0] * 60 + [1.0] * 120)
    assert effective_size(values, np.arange(240)) == pytest.approx(240)
    copies = effective_size(np.repeat(values, 4), np.repeat(np.arange(240), 4))
    assert copies == pytest.approx(240, rel=0.02)


def test_near_duplicates_widen_an_interval_and_unknown_values_do_not_count():
    values = np.array([[1.0], [1.0], [0.0], [0.0]] * 30)
    alone, grouped = (share_intervals(values, groups)[0] for groups in (np.arange(120), np.arange(120) // 2))
    assert grouped[0] < alone[0] < 0.5 < alone[1] < grouped[1]
    with_gaps = np.concatenate([values, np.full((50, 1), np.nan)])
    assert share_intervals(with_gaps, np.arange(170))[0] == pytest.approx(alone)
    assert np.isnan(share_intervals(np.full((3, 1), np.nan), np.arange(3))).all()


def test_values_between_right_and_wrong_are_less_uncertain():
    halves, whole = np.array([0.4, 0.6] * 50), np.array([0.0, 1.0] * 50)
    low, high = share_intervals(np.stack([halves, whole], axis=1), np.arange(100))
    assert low[1] - low[0] < (high[1] - high[0]) / 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_an_interval_holds_its_share_and_stays_between_0_and_1(seed, count):
    rng = np.random.default_rng(seed)
    table = rng.choice([0.0, 0.5, 1.0, np.nan], (count, 3), p=rng.dirichlet(np.ones(4)))
    for column, (low, high) in zip(table.T, share_intervals(table, rng.integers(0, count, count)), strict=True):
        known = column[~np.isnan(column)]
        assert not len(known) or 0 <= low <= known.mean() + 1e-12
        assert not len(known) or known.mean() - 1e-12 <= high <= 1


def test_a_score_has_these_intervals_for_questions():
    rng = np.random.default_rng(0)
    values, groups = (rng.random(60) < 0.9) * 1.0, {str(number): number // 2 for number in range(60)}
    gold = {(str(number), 4): ("Yes",) for number in range(60)}
    given_answers = {pair: ("Yes",) if values[int(pair[0])] else ("No",) for pair in gold}
    [expected] = share_intervals(values[:, None], np.arange(60) // 2)
    assert score_answers(given_answers, gold, groups=groups).question(4).interval == pytest.approx(expected, abs=1e-6)
