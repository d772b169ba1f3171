"""Whatever is done to a picture at random, its answers stay true or change with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageclef_vqa.data.augmentation import MIRRORED, PLAIN, TURNS, View, draw_mirrored, draw_view
from imageclef_vqa.editions import QUESTIONS

# By the text of the questions, whatever the facts of the bank say.
LOCATIONS = sorted(q.id for q in QUESTIONS if q.text.lower().startswith("where"))
COLOURS = {q.id for q in QUESTIONS if "color" in q.text.lower() or "green" in q.text.lower()}
ANYWHERE = {q.id for q in QUESTIONS if "procedure" in q.text}
SIDE = 24  # three cells of eight pixels
ROWS, COLUMNS = ("Upper", "Center", "Lower"), ("left", "center", "right")
NINE = {f"{row}-{column}": (r, c) for r, row in enumerate(ROWS) for c, column in enumerate(COLUMNS)}
NINE["Center"] = NINE.pop("Center-center")


def picture_of(cells):
    """White cells on black."""
    grid = np.zeros((SIDE, SIDE, 3), "uint8")
    for row, column in cells:
        grid[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
    return grid


@given(st.integers(0, TURNS - 1), st.sets(st.sampled_from(sorted(NINE)), min_size=1), st.sampled_from(LOCATIONS))
def test_locations_in_the_answers_turn_with_the_image(turn, places, question_id):
    spelt = {name.replace("Lower-right", "Lower-rigth") if question_id == 15 else name for name in places}
    view = View(turn=turn)
    seen = view.apply(picture_of(NINE[name] for name in places))
    said = view.answers(question_id, sorted(spelt), QUESTIONS[question_id].known)
    assert set(said) <= set(QUESTIONS[question_id].known), "in the spelling of the question's own list"
    np.testing.assert_array_equal(seen, picture_of(NINE[name.replace("rigth", "right")] for name in said))


@pytest.mark.parametrize("view", MIRRORED)
def test_a_mirrored_view_undoes_itself(view):
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), "uint8")
    np.testing.assert_array_equal(view.apply(view.apply(picture)), picture)
    seen = view.answers(10, ("Upper-left", "Upper-center"), QUESTIONS[10].known)
    assert set(view.answers(10, seen, QUESTIONS[10].known)) == {"Upper-left", "Upper-center"}


def test_all_mirrored_views_are_drawn():
    rng = np.random.default_rng(0)
    assert {draw_mirrored((), rng) for _ in range(50)} == set(MIRRORED)


def test_mirroring_swaps_left_and_right():
    mirrored = View(turn=1)
    assert mirrored.answers(10, ("Upper-left", "Center"), QUESTIONS[10].known) == ("Upper-right", "Center")
    assert mirrored.answers(10, ("Not relevant",), QUESTIONS[10].known) == ("Not relevant",)
    assert mirrored.answers(5, ("Pink",), QUESTIONS[5].known) == ("Pink",)


def test_a_location_without_a_name_in_the_vocabulary_forbids_the_turn():
    with pytest.raises(KeyError):
        View(turn=1).answers(10, ("Upper-left",), ("Upper-left", "Center"))


@settings(max_examples=300)
@given(st.sets(st.integers(0, 17), min_size=1), st.integers(0, 2**32 - 1))
def test_the_questions_decide_which_changes_are_allowed(asked, seed):
    view = draw_view(asked, np.random.default_rng(seed))
    assert (view.jitter == PLAIN.jitter) == bool(asked & COLOURS)
    # Locations, sizes, counts, kinds, text, boxes, and what is there at all.
    assert (view.crop == PLAIN.crop) == bool(asked - ANYWHERE)
    assert all(0.8 <= factor <= 1.2 for factor in view.jitter)
    side, left, top = view.crop
    assert 0.8 <= side <= 1
    assert min(left, top) >= 0
    assert max(left, top) + side <= 1 + 1e-9


def test_the_questions_of_one_image_do_not_affect_the_view_of_the_next():
    def second(asked):
        rng = np.random.default_rng(4)
        draw_view(asked, rng)
        return draw_view({0}, rng)

    assert second({0}) == second({3, 10})


def test_a_crop_keeps_the_size_and_a_plain_view_the_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), "uint8")
    assert View(crop=(0.8, 0.1, 0.2)).apply(picture).shape == picture.shape
    assert PLAIN.apply(picture) is picture
    brighter = View(jitter=(1.2, 1.0, 1.0)).apply(picture)
    assert brighter.mean() > picture.mean()
