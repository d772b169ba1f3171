"""Computed from ranked answers: the best set, probabilities of members, the temperature, consistent answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa.editions import Implication
from imageclef_vqa.editions.rankings import rank
from imageclef_vqa.inference.calibration import LabelledPair, apply_temperature, calibrate
from imageclef_vqa.inference.consistency import Consistency
from imageclef_vqa.inference.ranked import best, mean, members

SETS = ((("Pink", "Red"), 0.35), (("White",), 0.4), (("Pink",), 0.25))
RANKED = rank(dict(SETS))


def test_the_likeliest_set_is_best_for_exact_match_and_the_most_shared_one_for_f1():
    assert best(RANKED, "exact") == (("White",), 0.4)
    # By hand: White 0.4; Pink, Red 0.35 + 0.25 · 2/3; Pink 0.25 + 0.35 · 2/3.
    assert best(RANKED, "f1") == (("Pink", "Red"), 0.35)


def test_a_member_is_as_probable_as_the_sets_that_hold_it_together():
    assert members(RANKED) == pytest.approx({"Pink": 0.6, "White": 0.4, "Red": 0.35})
    assert members(((("Pink", "Red"), 0.2), (("Pink",), 0.2))) == pytest.approx({"Pink": 1.0, "Red": 0.5})


def test_the_mean_takes_a_set_for_the_same_in_whatever_order():
    pooled = dict(mean([((("Pink", "Red"), 1.0),), ((("Red", "Pink"), 0.5), (("White",), 0.5))]))
    assert pooled == pytest.approx({("Pink", "Red"): 0.75, ("White",): 0.25})


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0.25, 4))
def test_a_temperature_bends_probabilities_and_keeps_their_order(weights, temperature):
    shares = np.array(weights) / sum(weights)
    ranked = rank({(str(index),): float(share) for index, share in enumerate(shares)})
    bent = apply_temperature(ranked, temperature)
    assert [answers for answers, _ in bent] == [answers for answers, _ in ranked]
    powers = np.array([p for _, p in ranked]) ** (1 / temperature)
    assert [p for _, p in bent] == pytest.approx(list(powers / powers.sum()))


def labelled(rng, bend, count=3000):
    """Pairs of two answers whose probability is too sure (`bend` > 1) or not sure enough."""
    for number in range(count):
        true = rng.uniform(0.5, 0.99)
        said = true**bend / (true**bend + (1 - true) ** bend)
        right = rng.random() < true
        yield LabelledPair(((("Yes",), said), (("No",), 1 - said)), ("Yes",) if right else ("No",), number // 3)


@pytest.mark.parametrize("bend", [0.5, 2.0])
def test_the_temperature_undoes_what_was_too_sure_or_not_sure_enough(bend):
    found = calibrate(labelled(np.random.default_rng(0), bend), "a model")
    assert found.temperature == pytest.approx(bend, rel=0.15)
    assert found.error[1] < 0.5 * found.error[0]
    assert found.nll[1] < found.nll[0]
    assert (found.model, found.pairs) == ("a model", 3000)


def test_calibrated_probabilities_hardly_change():
    found = calibrate(labelled(np.random.default_rng(1), 1.0), "a model")
    assert found.temperature == pytest.approx(1, abs=0.1)


def test_a_temperature_that_does_not_help_on_other_images_is_not_used():
    rng = np.random.default_rng(2)
    found = calibrate([each for seed in range(4) for each in labelled(rng, 1.0, count=6)], "a model")
    plain = calibrate(labelled(np.random.default_rng(3), 1.0, count=4), "a model")
    for each in (found, plain):
        assert each.nll[1] <= each.nll[0]
        assert each.temperature == 1.0 or each.nll[1] < each.nll[0]


def test_a_temperature_is_not_evaluated_on_near_duplicates_of_the_pairs_that_it_was_fitted_to():
    """All pairs are in one group, so there are no other pairs to fit a temperature to."""
    pairs = [each._replace(group=7) for each in labelled(np.random.default_rng(0), 2.0)]
    assert calibrate(pairs, "a model").temperature == 1.0


RULES = (
    Implication(0, "No", 1, ("Not relevant",), 50, 50),
    Implication(1, "Not relevant", 0, ("No",), 50, 50),
)
CANDIDATES = (
    ((("Yes",), 0.6), (("No",), 0.4)),
    ((("Not relevant",), 0.9), (("Small",), 0.1)),
    ((("Red",), 0.8), (("Pink",), 0.2)),
)


def test_a_repair_is_the_likeliest_joint_answer_that_keeps_every_rule():
    likely = [ranked[0][0] for ranked in CANDIDATES]
    consistency = Consistency(RULES)
    assert not consistency.holds(likely)
    # By hand: No and Not relevant 0.36, Yes and Small 0.06, both without a word on the third question.
    assert consistency.repair(likely, CANDIDATES) == [("No",), ("Not relevant",), ("Red",)]


def test_answers_that_break_no_rule_stay_though_others_are_likelier():
    given_ = [("Yes",), ("Small",), ("Pink",)]
    assert Consistency(RULES).repair(given_, CANDIDATES) == given_
    assert Consistency(()).repair([ranked[0][0] for ranked in CANDIDATES], CANDIDATES) == [
        ("Yes",),
        ("Not relevant",),
        ("Red",),
    ]


def test_without_a_consistent_combination_the_answers_stay():
    only = (((("No",), 1.0),), ((("Small",), 1.0),), ((("Red",), 1.0),))
    assert Consistency(RULES).repair([("No",), ("Small",), ("Red",)], only) == [("No",), ("Small",), ("Red",)]
