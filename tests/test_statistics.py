"""Statistics that several parts of the package share, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa.statistics import confidence_bins, expected_calibration_error, holm


def test_holms_correction_by_hand():
    assert holm({1: 0.01, 2: 0.04, 3: 0.03, 4: 0.005}) == pytest.approx({1: 0.03, 2: 0.06, 3: 0.06, 4: 0.02})
    assert list(holm({"b": 0.6, "a": 0.5}).items()) == [("b", 1.0), ("a", 1.0)]
    assert holm({}) == {}


def test_the_expected_calibration_error_by_hand():
    confidences, correct = [0.95, 0.95, 0.95, 0.95, 0.55, 0.55], [1, 1, 1, 0, 1, 0]
    assert expected_calibration_error(confidences, correct) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.randoms())
def test_the_order_of_the_answers_does_not_change_the_calibration_error(confidences, random):
    pairs = [(confidence, random.random() < 0.5) for confidence in confidences]
    shuffled = random.sample(pairs, len(pairs))
    one, other = (expected_calibration_error(*zip(*each, strict=True)) for each in (pairs, shuffled))
    assert one == pytest.approx(other)


def test_bins_have_about_equal_counts_and_equal_confidences_share_one():
    confidences = np.random.default_rng(0).random(864)
    bins = confidence_bins(confidences)
    assert set(np.bincount(bins)) == {86, 87}
    assert (np.diff(bins[np.argsort(confidences)]) >= 0).all()
    assert len(set(confidence_bins([1.0] * 50 + [0.3, 0.5])[:50])) == 1
