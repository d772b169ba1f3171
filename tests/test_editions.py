import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa.editions import (
    EDITIONS,
    GI_2023,
    GI_2025,
    QUESTIONS,
    find_edition,
    find_question,
    learn_vocabulary,
)
from imageclef_vqa.errors import UsageError


def test_an_edition_is_found_by_its_name_and_an_unknown_one_is_a_usage_error_that_lists_them():
    assert find_edition("gi-2025") is GI_2025
    with pytest.raises(UsageError, match="no edition 'gi-1999'; the editions are gi-2023, gi-2025"):
        find_edition("gi-1999")


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=EDITIONS)
def test_the_default_run_file_has_a_format(edition):
    assert "." + edition.run_file.rpartition(".")[2] in edition.run_formats
    assert edition.team_zip is None or ".zip" in edition.run_formats


@pytest.mark.parametrize("edition", [each for each in EDITIONS.values() if not each.open], ids=lambda each: each.name)
def test_every_question_is_found_by_its_text_in_each_edition(edition):
    for question in QUESTIONS:
        assert edition.find(edition.question(question)) is question
        assert edition.find(question.text) is question
    assert edition.find("Does this image contain any finding?") is None


def test_the_2023_edition_changes_nothing():
    for question in QUESTIONS:
        assert GI_2023.question(question) == question.text
        assert find_question(GI_2023.question(question)) is question
        assert GI_2023.spell(question.id, question.known) == GI_2023.read(question.id, question.known) == question.known


@pytest.mark.parametrize(
    ("question_id", "answers", "spelt"),
    [
        (0, ("Colonoscopy",), ("colonoscopy",)),
        (1, ("Not relevant",), ("not relevant",)),
        (5, ("Red", "Pink"), ("pink", "red")),
        (10, ("Center", "Upper-left", "Center-left"), ("center", "center-left", "upper-left")),
        (11, ("Not relevant",), ("none",)),
        (12, ("No",), ("none",)),
        (15, ("Lower-rigth",), ("lower-right",)),
        (16, ("< 5mm",), ("<5mm",)),
    ],
)
def test_answers_of_later_editions_are_in_lower_case_in_order_and_say_none(question_id, answers, spelt):
    assert GI_2025.spell(question_id, answers) == spelt
    assert GI_2025.spell(question_id, GI_2025.read(question_id, spelt)) == spelt


def test_later_editions_ask_for_all_that_are_present():
    assert GI_2025.question(QUESTIONS[12]).endswith("? Check all that are present.")
    assert GI_2025.question(QUESTIONS[5]).endswith("? If more than one separate with ;")
    assert GI_2025.question(QUESTIONS[9]) == "How many instrumnets are in the image?"


@given(st.integers(0, 17), st.data())
def test_answers_of_a_later_edition_survive_reading_and_spelling(question_id, data):
    known = GI_2025.spell(question_id, QUESTIONS[question_id].known)
    answers = data.draw(st.lists(st.sampled_from(known) | st.just("hemorrhoids"), min_size=1, unique=True))
    assert GI_2025.spell(question_id, GI_2025.read(question_id, answers)) == tuple(sorted(answers))


def test_a_vocabulary_keeps_its_counts_in_another_spelling():
    labels = [(13, ("No",)), (13, ("Not relevant",)), (13, ("Z-line",)), (16, ("< 5mm",))]
    respelt = GI_2025.vocabulary(learn_vocabulary(labels))
    assert respelt[13].sets == ((("none",), 2), (("z-line",), 1))
    assert respelt[13].members == ("none", "z-line")
    assert respelt[16].members == ("<5mm",)


@pytest.mark.parametrize("name", ["us_clef2023_medvqa.zip", "A-1_b_clef2023_medvqa.zip"])
def test_the_team_is_read_from_the_name_of_its_zip(name):
    assert GI_2023.team(name) == name.removesuffix("_clef2023_medvqa.zip")
    for other in (f"x/{name}", name.upper(), "_clef2023_medvqa.zip", "my team_clef2023_medvqa.zip", "run.zip"):
        assert GI_2023.team(other) is None
    assert GI_2025.team(name) is None
