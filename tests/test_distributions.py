"""Checks of distributions: the statistics against SciPy, and findings only where answers changed."""

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import TRAINING, answers, image_id
from scipy import stats

from imageclef_vqa.editions import learn_implications, learn_vocabulary
from imageclef_vqa.statistics import distance, holm, homogeneity
from imageclef_vqa.submission import RunAnswers, check_run

VOCABULARY = learn_vocabulary(pair for image in TRAINING for pair in image.items())
IMPLICATIONS = learn_implications(TRAINING)


def as_run(images, validation=None):
    return RunAnswers(
        {(image_id, q): given for image_id, image in images.items() for q, given in image.items()},
        list(images),
        VOCABULARY,
        implications=IMPLICATIONS,
        validation={(i, q): given for i, image in (validation or {}).items() for q, given in image.items()},
    )


def others(count=300, first=600):
    return {image_id(number): answers(number) for number in range(first, first + count)}


@given(st.lists(st.tuples(st.integers(20, 300), st.integers(20, 300)), min_size=2, max_size=9))
def test_homogeneity_is_scipys_test_where_no_category_is_rare(table):
    one, other = (Counter({frozenset([str(k)]): row[side] for k, row in enumerate(table)}) for side in (0, 1))
    expected = stats.chi2_contingency(np.array(table), correction=False).pvalue
    assert homogeneity(one, other) == pytest.approx(expected, rel=1e-8, abs=1e-300)
    assert homogeneity(one, one) == 1


def test_samples_of_one_distribution_hardly_ever_differ_significantly():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        draws = {q: random.multinomial(200, [0.5, 0.3, 0.15, 0.05], size=2) for q in range(18)}
        values = {
            q: homogeneity(*(Counter({frozenset([str(k)]): int(n) for k, n in enumerate(row)}) for row in pair))
            for q, pair in draws.items()
        }
        alarms += min(holm(values).values()) < 0.001
    assert alarms <= 3


def test_distance_is_the_share_that_would_have_to_change():
    yes, no = frozenset(["Yes"]), frozenset(["No"])
    assert distance(Counter({yes: 3, no: 1}), Counter({yes: 50, no: 50})) == pytest.approx(0.25)


def checks(run):
    return {found.check: found for found in check_run(run)}


def test_other_images_of_the_same_kinds_have_no_finding():
    assert checks(as_run(others(), others(60, 900))) == {}


def test_a_question_whose_answers_drift_is_a_warning_with_the_shares():
    images = others()
    for place, image in enumerate(images.values()):
        image[3] = ("Yes",) if place % 5 else ("No",)
    found = checks(replace(as_run(images, others(60, 900)), implications=()))
    assert list(found) == ["drift"]
    assert found["drift"].severity == "warning"
    assert "question 3" in found["drift"].message
    assert "the model's own to validation" in found["drift"].message
    assert "'Yes' 80%, not 35%" in found["drift"].examples[0] + found["drift"].examples[1]


def constant(images, question_id, *given):
    for image in images.values():
        image[question_id] = given
    return images


def test_a_constant_question_is_an_error_only_if_validation_answers_vary():
    images = constant(others(), 4, "Yes")
    assert checks(as_run(images))["constant"].severity == "warning"
    assert checks(as_run(images, others(60, 900)))["constant"].severity == "error"
    blind = constant(others(60, 900), 4, "Yes")
    assert checks(as_run(images, blind))["constant"].severity == "warning"


def test_answers_shuffled_between_images_are_an_error_by_their_contradictions():
    images, random = others(), Random(0)
    for question_id in (0, 8, 12, 13):
        given = [image[question_id] for image in images.values()]
        random.shuffle(given)
        for image, answer in zip(images.values(), given, strict=True):
            image[question_id] = answer
    assert checks(as_run(images, others(60, 900)))["contradiction"].severity == "error"


def test_a_single_contradiction_is_a_warning_with_the_rule_and_its_counts():
    images = others()
    polyp = next(image_id for image_id, image in images.items() if image[8] != ("0",))
    images[polyp][17] = ("Not relevant",)
    found = checks(as_run(images, others(60, 900)))
    assert list(found) == ["contradiction"]
    assert (found["contradiction"].severity, found["contradiction"].count) == ("warning", 1)
    assert f"{polyp}: question" in found["contradiction"].examples[0]
    assert "in training 100 of 100 say" in found["contradiction"].examples[0]


def test_contradictions_of_a_question_that_is_never_answered_are_a_warning():
    """With "Not relevant" for the colour of every landmark: the answers of a poor model, not slipped ones."""
    landmarks = {image_id: image for image_id, image in others().items() if image[13] == ("Z-line",)}
    found = checks(as_run(constant(landmarks, 6, "Not relevant")))
    assert (found["contradiction"].severity, found["contradiction"].count) == ("warning", len(landmarks))
    assert found["constant"].severity == "warning"


def test_always_one_location_is_an_error_and_a_test_set_without_landmarks_is_none():
    one = others()
    for image in one.values():
        image[10] = image[10][:1]
    found = checks(as_run(one))
    assert found["arity"].severity == "error"
    assert "question 10: you answer 1.0 values on average, the training labels" in found["arity"].message
    polyps = {image_id: image for image_id, image in others().items() if image[8] != ("0",)}
    assert "error" not in {each.severity for each in check_run(as_run(polyps))}


def test_a_question_with_few_sets_in_training_has_no_arity_error():
    labels = [(17, ("Not relevant",))] * 100 + [(17, ("Paris is", "Paris ip"))] * 2
    images = [image_id(number) for number in range(40)]
    found = checks(RunAnswers({(each, 17): ("Paris is",) for each in images}, images, learn_vocabulary(labels)))
    assert "arity" not in found or found["arity"].severity == "warning"


def exchanged(images, one, other):
    for image in images.values():
        image[one], image[other] = image[other], image[one]
    return images


def test_two_questions_with_exchanged_answers_are_an_error_and_images_of_another_kind_are_none():
    def labelled(numbers):
        images = {image_id(number): answers(number) for number in numbers}
        for index, image in enumerate(images.values()):  # a box is rare, text is not
            image[3], image[4] = ("No",) if index % 5 else ("Yes",), ("Yes",) if index % 7 else ("No",)
        return images

    vocabulary = learn_vocabulary(pair for image in labelled(range(150)).values() for pair in image.items())
    right, wrong = (
        replace(as_run(images), vocabulary=vocabulary, implications=())
        for images in (labelled(range(600, 660)), exchanged(labelled(range(600, 660)), 3, 4))
    )
    assert "swapped" not in checks(right)
    found = checks(wrong)["swapped"]
    assert (found.severity, found.examples) == ("error", ("question 3", "question 4"))
    for one in (3, 4):
        images = constant(labelled(range(600, 660)), one, {3: "Yes", 4: "No"}[one])
        assert "swapped" not in checks(replace(as_run(images), vocabulary=vocabulary, implications=()))
