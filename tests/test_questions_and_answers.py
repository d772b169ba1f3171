"""The question bank, answers as sets, the vocabulary, and the records of prediction files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from imageclef_vqa.editions import (
    QUESTIONS,
    GtRecord,
    Prediction,
    Question,
    as_set,
    find_question,
    join_answers,
    learn_vocabulary,
    question_that,
    read_predictions,
    same_answer,
    split_answers,
    write_predictions,
)
from imageclef_vqa.errors import DataError, MedvqaError, shortened


def test_the_bank_has_the_organisers_ids_in_order() -> None:
    assert [question.id for question in QUESTIONS] == list(range(18))
    assert len({question.text for question in QUESTIONS}) == 18


def test_the_bank_keeps_the_spelling_of_the_data() -> None:
    assert QUESTIONS[9].text == "How many instrumnets are in the image?"
    assert "Lower-rigth" in QUESTIONS[15].known
    assert "Lower-right" not in QUESTIONS[15].known
    assert "< 5mm" in QUESTIONS[16].known


WORDS = {
    "abnormality": "abnormalit",
    "box": "box",
    "finding": "finding",
    "instrument": "instrum",
    "landmark": "landmark",
}
WORDS |= {"polyp": "polyp", "procedure": "procedure", "text": "text"}
PATTERNS = {"colour": "^what color", "count": "^how many", "kind": "^what type", "location": "^where"}
PATTERNS |= {"presence": "^are there any", "size": "^what is the size", "yes_no": "^(is|have) (?!.*many)"}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question.id))
def test_the_facts_of_a_question_follow_from_its_text(question: Question) -> None:
    text = question.text.lower()
    assert WORDS[question.about] in text
    assert [asks for asks, pattern in PATTERNS.items() if re.search(pattern, text)] == [question.asks]
    assert (question.answer_type == "Number") == (question.asks == "count")
    assert question.answer_type != "Yes/No" or set(question.known) == {"Yes", "No"}


def test_asks_and_about_topic_and_label_each_identify_a_question() -> None:
    for question in QUESTIONS:
        assert question_that(question.asks, question.about) is question
    assert len({question.topic for question in QUESTIONS}) == len({question.label for question in QUESTIONS}) == 18
    with pytest.raises(LookupError, match="no question asks for the size of the text"):
        question_that("size", "text")


def test_the_words_that_tiny_was_trained_on_are_unchanged() -> None:
    words = "\n".join("|".join((q.text, q.topic, *q.known, *q.aliases)) for q in QUESTIONS)
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "008645b5ac08a164001c2f5a623bff0717e7b9fe4a0acc401c50a1622445c508"
    )


def test_long_lists_are_shortened_and_the_rest_is_counted() -> None:
    assert shortened(["a", "b"], 2) == ["a", "b"]
    assert shortened(list("abcde"), 2) == ["a", "b", "… and 3 more"]


def test_a_question_is_found_by_its_text_an_alias_or_another_case() -> None:
    for question in QUESTIONS:
        for spelling in (question.text, *question.aliases, f"  {question.text.upper()} "):
            assert find_question(spelling) is question
    assert find_question("Is it cancer?") is None


def test_the_known_answers_of_a_question_are_distinct() -> None:
    for question in QUESTIONS:
        folded = [answer.casefold() for answer in question.known]
        assert len(set(folded)) == len(folded), question.text


@given(st.lists(st.text(max_size=6) | st.sampled_from(["; ", "[", '["a"]', "Pink; Red", ";"])))
def test_answers_survive_being_joined_and_split(answers: list[str]) -> None:
    assert split_answers(join_answers(answers)) == answers


def test_a_list_without_separators_is_written_plainly() -> None:
    assert join_answers(["Pink", "Red"]) == "Pink; Red"
    with pytest.raises(ValueError, match="list of strings"):
        split_answers("[1, 2]")


def test_answers_compare_as_sets_of_exact_strings() -> None:
    assert same_answer(["Red", "Pink"], ["Pink", "Red", "Red "])
    assert not same_answer(["red"], ["Red"])
    assert not same_answer(["Red"], ["Red", "Pink"])


def test_the_vocabulary_keeps_exact_forms_and_the_more_frequent_of_two_cases() -> None:
    vocabulary = learn_vocabulary([(5, ["Brown"]), (5, ["brown", "Red"]), (5, ["Brown", "Mauve"]), (16, ["< 5mm"])])
    assert vocabulary[5].members == ("Red", "Brown", "Mauve")
    assert vocabulary[5].canonical(["mauve", "BROWN", "Red"]) == ("Red", "Brown", "Mauve")
    assert vocabulary[5].companions["Brown"] == {"Red", "Mauve"}
    assert vocabulary[16].majority == ("< 5mm",)
    with pytest.raises(KeyError):
        vocabulary[5].canonical(["Beige"])


def test_a_question_without_answers_gets_the_known_ones_and_is_marked() -> None:
    vocabulary = learn_vocabulary([(0, ["Gastroscopy"]), (9, [""])])
    assert 9 in vocabulary.untrained
    assert 0 not in vocabulary.untrained
    assert vocabulary[1].members == QUESTIONS[1].known
    assert vocabulary[1].majority == ("Not relevant",)


labels = st.lists(
    st.tuples(st.integers(0, 17), st.lists(st.sampled_from(["Pink", "pink", "PINK", "Red", "", " x "]), max_size=3)),
    max_size=30,
)


@given(labels=labels, data=st.data())
def test_the_vocabulary_does_not_depend_on_the_order_of_labels(
    labels: list[tuple[int, list[str]]], data: st.DataObject
) -> None:
    assert learn_vocabulary(data.draw(st.permutations(labels))) == learn_vocabulary(labels)


@given(labels)
def test_every_training_answer_can_be_given(labels: list[tuple[int, list[str]]]) -> None:
    vocabulary = learn_vocabulary(labels)
    for question_id, answers in labels:
        if told := as_set(answers) - {""}:
            assert vocabulary[question_id].canonical(told) in {members for members, _ in vocabulary[question_id].sets}


@pytest.mark.parametrize("image_id", ["../a", "/etc/passwd", "a/b", "", ".hidden", "a\n", "a" * 129, "a\0"])
def test_an_id_that_could_name_a_file_elsewhere_is_refused(image_id: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(GtRecord).validate_python({"ImageID": image_id, "Labels": []})


def prediction(**fields: object) -> Prediction:
    defaults = {"image_id": "a", "question_id": 5, "answers": ("Red",), "probability": 0.5, "model": "blip2"}
    return Prediction.model_validate(defaults | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"answers": ()},
        {"answers": ("",)},
        {"answers": ("Red", "Red")},
        {"question_id": 18},
        {"probability": 1.5},
        {"probability": float("nan")},
        {"surprise": 1},
    ],
)
def test_a_prediction_that_cannot_be_scored_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        prediction(**fields)


def test_predictions_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = [prediction(answers=("Pink\n", "Röd")), prediction(question_id=6, trained=False, reason="x")]
    write_predictions(tmp_path / "val.jsonl", written)
    assert read_predictions(tmp_path / "val.jsonl") == written


def test_a_line_separator_within_an_answer_does_not_end_the_record(tmp_path: Path) -> None:
    written = [prediction(answers=("Pink\u2028",))]
    write_predictions(tmp_path / "val.jsonl", written)
    assert read_predictions(tmp_path / "val.jsonl") == written


def test_every_faulty_line_of_a_prediction_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    good = prediction().model_dump_json()
    path.write_text("\n".join([good, "{", good, '{"image_id": "a"}']) + "\n")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    told = caught.value.problems
    assert [line.split(":")[0] for line in told] == [f"{path}, line {n}" for n in (2, 3, 4)]
    assert "is already in line 1" in told[1]
    with pytest.raises(MedvqaError, match="there is no such file"):
        read_predictions(tmp_path / "missing.jsonl")
