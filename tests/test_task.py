from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from imageclef_vqa.editions import (
    QUESTIONS,
    GtRecord,
    Prediction,
    SubmittedAnswer,
    as_set,
    find_question,
    join_answers,
    learn_vocabulary,
    read_predictions,
    same_answer,
    split_answers,
    write_predictions,
)
from imageclef_vqa.errors import DataError, MedvqaError


def test_the_bank_holds_the_organisers_ids_in_order() -> None:
    assert [question.id for question in QUESTIONS] == list(range(18))
    assert len({question.text for question in QUESTIONS}) == 18


def test_the_bank_keeps_the_spelling_of_the_data() -> None:
    assert QUESTIONS[9].text == "How many instrumnets are in the image?"
    assert "Lower-rigth" in QUESTIONS[15].known
    assert "Lower-right" not in QUESTIONS[15].known
    assert "< 5mm" in QUESTIONS[16].known


def test_a_question_is_found_by_its_text_an_alias_or_another_case() -> None:
    for question in QUESTIONS:
        for spelling in (question.text, *question.aliases, f"  {question.text.upper()} "):
            assert find_question(spelling) is question
    assert find_question("Is it cancer?") is None


def test_no_known_answer_of_a_question_stands_there_twice() -> None:
    for question in QUESTIONS:
        folded = [answer.casefold() for answer in question.known]
        assert len(set(folded)) == len(folded), question.text


@given(st.lists(st.text(max_size=6) | st.sampled_from(["; ", "[", '["a"]', "Pink; Red", ";"])))
def test_answers_survive_a_cell_of_text(answers: list[str]) -> None:
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


def test_a_question_without_answers_gets_the_banks_and_says_so() -> None:
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
def test_an_id_that_could_leave_its_folder_is_no_id(image_id: str) -> None:
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


def test_a_submitted_answer_spells_its_question_as_the_data_do() -> None:
    SubmittedAnswer(QuestionID=9, Question="How many instrumnets are in the image?", Answer=["0"])
    with pytest.raises(ValidationError, match="is spelt"):
        SubmittedAnswer(QuestionID=9, Question="How many instruments are in the image?", Answer=["0"])


def test_predictions_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = [prediction(answers=("Pink\n", "Röd")), prediction(question_id=6, trained=False, reason="x")]
    write_predictions(tmp_path / "val.jsonl", written)
    assert read_predictions(tmp_path / "val.jsonl") == written


def test_a_line_separator_within_an_answer_does_not_end_the_record(tmp_path: Path) -> None:
    written = [prediction(answers=("Pink\u2028",))]
    write_predictions(tmp_path / "val.jsonl", written)
    assert read_predictions(tmp_path / "val.jsonl") == written


def test_every_faulty_line_of_a_prediction_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    good = prediction().model_dump_json()
    path.write_text("\n".join([good, "{", good, '{"image_id": "a"}']) + "\n")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    told = caught.value.problems
    assert [line.split(":")[0] for line in told] == [f"{path}, line {n}" for n in (2, 3, 4)]
    assert "is already in line 1" in told[1]
    with pytest.raises(MedvqaError, match="medvqa predict"):
        read_predictions(tmp_path / "missing.jsonl")
