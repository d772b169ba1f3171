"""Training's sentences about similar pictures: how they are weighed, and that they come back from disk."""

from pathlib import Path

import numpy as np
import pytest

from imageclef_vqa.data import Dataset, Example
from imageclef_vqa.editions import OpenQuestion
from imageclef_vqa.training import neighbours as training_neighbours
from imageclef_vqa.training.neighbours import Neighbours

COUNT, COLOUR = "How many polyps are in the image?", "What color is the polyp?"


def dataset(answers):
    """Images with a sentence per question: `answers` [image] {question: sentence}."""
    examples = []
    for number, given in enumerate(answers):
        rows = {10 * number + at: question for at, question in enumerate(given)}
        said = {row: (given[question],) for row, question in rows.items()}
        asked = {row: OpenQuestion(question) for row, question in rows.items()}
        examples.append(Example(f"image{number}", Path(), said, "", 8, 8, asked))
    return Dataset(Path(), tuple(examples), (), "")


@pytest.fixture
def neighbours():
    """Two red and two white pictures of four cells a side; the features of each colour have their own channel."""
    return Neighbours.fit(
        np.concatenate([cells(0), cells(0), cells(1), cells(1)]),
        dataset(
            [
                {COUNT: "One.", COLOUR: "Red."},
                {COUNT: "One.", COLOUR: "It is red."},
                {COUNT: "Two.", COLOUR: "White."},
                {COUNT: "Two."},
            ]
        ),
    )


def patches(channel):
    found = np.random.default_rng(channel).normal(0, 0.01, (1, 16, 2))
    found[..., channel] += 1.0
    return found


def cells(channel):
    from imageclef_vqa.statistics import cell_means

    return cell_means(patches(channel))


def test_sentences_about_similar_pictures_come_first(neighbours):
    for channel, expected in ((0, "One."), (1, "Two.")):
        (description,) = neighbours.describe(patches(channel))
        ((first,), probability), *others = neighbours.rank(description, COUNT)
        assert first == expected
        assert probability > 0.95
        assert probability + sum(p for _, p in others) == pytest.approx(1)
        assert {sentence for (sentence,), _ in others} <= {"One.", "Two."}


def test_a_question_takes_the_sentences_of_the_questions_most_like_it(neighbours):
    (description,) = neighbours.describe(patches(0))
    for asked in ("HOW many  polyps are in this image?", COUNT):
        assert {sentence for (sentence,), _ in neighbours.rank(description, asked)} == {"One.", "Two."}
    assert {sentence for (sentence,), _ in neighbours.rank(description, "color")} == {"Red.", "It is red.", "White."}
    assert len(neighbours.rank(description, "?")) == 5  # nothing in common with any


def test_less_alike_questions_weigh_less():
    made = Neighbours.fit(
        np.concatenate([cells(0)] * 3),
        dataset([{"a b c d e f": "Same."}, {"a b c d e g": "Near."}, {"a b c x y z": "Far."}]),
    )
    (description,) = made.describe(patches(0))
    ranked = {sentence: p for (sentence,), p in made.rank(description, "a b c d e f")}
    assert list(ranked) == ["Same.", "Near."]
    assert ranked["Near."] / ranked["Same."] == pytest.approx((5 / 7) ** 16, rel=1e-3)


def test_neighbours_come_back_from_their_files(neighbours, tmp_path):
    neighbours.write(tmp_path)
    again = Neighbours.read(tmp_path)
    (description,), (same,) = neighbours.describe(patches(1)), again.describe(patches(1))
    assert same == pytest.approx(description, abs=1e-5)
    for (one, p), (other, q) in zip(again.rank(same, COLOUR), neighbours.rank(description, COLOUR), strict=True):
        assert (one, p) == (other, pytest.approx(q, abs=1e-5))


@pytest.mark.parametrize("shape", [(9, 30), (40, 12)])
def test_components_are_the_principal_ones(shape):
    x = np.random.default_rng(0).standard_normal(shape) * np.linspace(1, 2, shape[1])
    x -= x.mean(axis=0)
    axes = training_neighbours._principal_axes(x)
    *_, expected = np.linalg.svd(x, full_matrices=False)
    rank = min(shape[0] - 1, shape[1])
    assert axes.shape == (shape[1], rank)
    np.testing.assert_allclose(np.abs(expected[:rank] @ axes), np.eye(rank), atol=1e-5)


def test_a_sentence_weighs_what_the_rows_that_say_it_weigh_together(neighbours):
    (description,) = neighbours.describe(patches(0) + patches(1))
    question = "What color is the small polyp?"
    total = {}
    for alike, rows in neighbours.rows.items():
        words, others = set(question[:-1].lower().split()), set(alike[:-1].split())
        share = len(words & others) / len(words | others)
        for image, sentence in rows if share >= 0.5 else ():
            weight = share**16 * np.exp(4 * neighbours.images[image] @ description)
            total[sentence] = total.get(sentence, 0) + weight
    expected = {sentence: weight / sum(total.values()) for sentence, weight in total.items()}
    assert {sentence: p for (sentence,), p in neighbours.rank(description, question)} == pytest.approx(expected)
    assert len(expected) == 3


def test_one_picture_is_enough():
    alone = Neighbours.fit(cells(0), dataset([{COUNT: "One."}]))
    (description,) = alone.describe(patches(1))
    assert alone.rank(description, COLOUR) == ((("One.",), 1.0),)
