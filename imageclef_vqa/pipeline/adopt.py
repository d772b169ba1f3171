"""`medvqa adopt`: another model's answers as a run of the workspace, for `score`, `check` and `package`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.artefacts import read_record, write_artefact
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.data.reading import list_file, read_pictures
from imageclef_vqa.editions import QUESTIONS, Edition, OpenQuestion, Prediction, predictions_text, split_answers
from imageclef_vqa.errors import DataError, MissingStepError, UsageError, shortened
from imageclef_vqa.inputs import sha256
from imageclef_vqa.locks import run_writer
from imageclef_vqa.pipeline.answer_rows import AnswerRow, Matched, match_rows, read_answer_rows
from imageclef_vqa.pipeline.answers import Answers, Questions, questions_of
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.submission import parse_run, read_bytes
from imageclef_vqa.submission.run import COLUMNS
from imageclef_vqa.workspace import Workspace

COMMAND = "adopt"
_RUNS = (".csv", ".json", ".zip")  # what a run of a closed edition may be written as


@dataclass(frozen=True)
class Adopted:
    """The files of answers by fold, how many rows of each fold they answer, and what belongs to no fold."""

    files: Mapping[str, Path]
    answered: Mapping[str, int]
    asked: Mapping[str, int]
    strangers: tuple[str, ...]


@dataclass(frozen=True)
class _Fold:
    """What a fold asks: questions by image and id (or row), the gold answers, and what answers to it depend on."""

    name: str
    questions: Questions
    gold: Answers
    inputs: Mapping[str, str]


def adopt(
    file: str | Path,
    *,
    run: str,
    model: str | None = None,
    edition: str | None = None,
    fold: int = 0,
    workspace: str | Path = ".",
) -> Adopted:
    """Write the answers in `file` to validation and test questions as predictions of the run `run`.

    Args:
        file: `predictions_1.json`, ms-swift's JSON lines, CSV, Parquet, our predictions, or a run of a closed edition.
        model: the name of the model, by default that of the run.
        edition: whose spelling the answers have.
        fold: the fold that the model was validated on, after `split --folds`.

    Raises:
        UsageError: the run was made by other commands.
        DataError: the file cannot be used, it answers a row twice, or it answers nothing that is asked here.
    """
    at, path = Workspace.at(workspace, run), Path(file)
    spoken = edition_of(at, edition)
    _check_run(at)
    folds = _folds(at, fold)
    rows = read_answer_rows(path) if spoken.open else _closed_rows(path, spoken)
    matched = {each.name: match_rows(rows, each.questions) for each in folds}
    nowhere = [{row.where for row in each.strangers} for each in matched.values()]
    known = {each.where for each in rows} - set[str].intersection(*nowhere)
    repeated = [row for each in matched.values() for row in each.repeated]
    if repeated:
        lines = [f"{row.where}: this question about {row.image_id} is already answered" for row in repeated]
        raise DataError(shortened(lines), remedy="answer each row once")
    if not known:
        asked = ", ".join(each.name for each in folds)
        raise DataError([f"{path}: no row asks what the workspace asks of the same image ({asked})"])
    strangers = [each for each in rows if each.where not in known]
    files = {}
    with run_writer(at.run_folder):
        shares = _accuracy(matched, folds, spoken)
        for each in folds:
            if matched[each.name].answers:
                files[each.name] = at.predictions(each.name)
                _write(at, path, each, _predictions(each, matched[each.name], spoken, model or run, shares))
    return Adopted(
        files,
        {each.name: len(matched[each.name].answers) for each in folds},
        {each.name: len(each.questions) for each in folds},
        tuple(f"{each.where} ({each.image_id})" for each in strangers),
    )


def _check_run(workspace: Workspace) -> None:
    """Reject a run that something else made."""
    trained = [number for number in (1, 2) if workspace.stage(number).exists()]
    records = [read_record(path) for path in (workspace.run_folder / "predictions").glob("*.jsonl")]
    if trained or any(record is None or not record.command.startswith(COMMAND) for record in records):
        raise UsageError(
            f"{workspace.shown(workspace.run_folder)} was made by other commands",
            remedy="give the adopted answers another name with --run",
        )


def _folds(workspace: Workspace, number: int) -> list[_Fold]:
    """The validation fold, if there is a split, and the test set, if there is one."""
    folds = []
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    try:
        split = read_split(workspace.split_file, dataset)
    except MissingStepError:
        split = None
    if split is not None:
        folds.append(_validation(workspace, dataset, split, number))
    if workspace.has_test:
        test = read_pictures(workspace.test / "images", list_file(workspace.test), cache=workspace.cache).readable
        folds.append(_Fold("test", _questions(test), {}, {"test": test.fingerprint}))
    if not folds:
        command = workspace.typed("medvqa split", run=False)
        raise MissingStepError("neither a split nor test images: nothing here asks for answers", command)
    return folds


def _validation(workspace: Workspace, dataset: Dataset, split: Split, number: int) -> _Fold:
    if number >= split.folds:
        raise UsageError(f"--fold {number}: the split has folds 0 to {split.folds - 1}")
    part = dataset.subset(split.val(number))
    inputs = {"development": dataset.fingerprint, "split": sha256(workspace.split_file)}
    return _Fold("val", _questions(part), part.gold(), inputs)


def _questions(dataset: Dataset) -> Questions:
    """Open questions by image and row; closed ones as if they were open, all of them for each image."""
    if dataset.open:
        return questions_of(dataset)
    return {(each.image_id, q.id): OpenQuestion(q.text) for each in dataset.examples for q in QUESTIONS}


def _closed_rows(path: Path, edition: Edition) -> list[AnswerRow]:
    """The answers of a closed edition, with the texts of 2023 and one string for a set.

    Raises:
        DataError: the file cannot be used, or asks what is no question of the edition.
    """
    if path.suffix in _RUNS and _is_run(path):
        parsed = parse_run(read_bytes(path), str(path), path.suffix, edition)
        parsed.refuse()
        return [
            AnswerRow(f"{path}, {image_id}, question {q}", q, image_id, QUESTIONS[q].text, "\n".join(given))
            for (image_id, q), given in parsed.as_lists().items()
        ]
    rows, problems = [], []
    for row in read_answer_rows(path):
        question = edition.find(row.question)
        if question is None:
            problems.append(f"{row.where}: {row.question!r:.80} is no question of {edition.name}")
            continue
        try:
            members = [each.strip() for each in split_answers(row.answer) if each.strip()]
        except ValueError:
            members = [row.answer]
        rows.append(row._replace(question=question.text, number=question.id, answer="\n".join(members)))
    if problems:
        raise DataError(shortened(problems), remedy="name the edition of these answers with --edition")
    return rows


def _is_run(path: Path) -> bool:
    """Whether a file is a run of a closed edition, and not a table with columns of its own."""
    return path.suffix != ".csv" or read_bytes(path).startswith(",".join(COLUMNS).encode())


def _given(answers: tuple[str, ...], question: int, edition: Edition) -> tuple[str, ...]:
    """An answer as predictions hold it: a sentence, or a set in the spelling of 2023."""
    return answers if edition.open else edition.read(question, answers[0].split("\n"))


def _accuracy(matched: Mapping[str, Matched], folds: Sequence[_Fold], edition: Edition) -> dict[str, float]:
    """Question, or class → the share of validation answers that are right, which is the probability of the others.

    Laplace's rule of succession keeps it from 0 and 1. Empty without validation answers.
    """
    counts: dict[str, list[int]] = {}
    for fold in folds:
        for pair, answers in matched[fold.name].answers.items():
            if pair in fold.gold:
                given = _given(answers, pair[1], edition)
                right = {each.strip().casefold() if edition.open else each.strip() for each in given} == {
                    each.strip().casefold() if edition.open else each.strip() for each in fold.gold[pair]
                }
                count = counts.setdefault(_kind(fold.questions[pair]), [1, 2])
                count[0] += right
                count[1] += 1
    return {kind: right / total for kind, (right, total) in counts.items()}


def _kind(question: OpenQuestion) -> str:
    return " ".join(question.classes) or question.text


def _predictions(
    fold: _Fold, matched: Matched, edition: Edition, model: str, accuracy: Mapping[str, float]
) -> list[Prediction]:
    """The predictions in the order of the questions; an answer without a probability has that of its kind, or 0.5."""
    predictions = []
    for pair, question in fold.questions.items():
        answers = matched.answers.get(pair, ())
        given = _given(answers, pair[1], edition) if answers else ()
        if not any(each.strip() for each in given):
            continue  # an empty answer is a missing one: `check` and `score` report it
        predictions.append(
            Prediction(
                image_id=pair[0],
                question=question.text if edition.open else None,
                question_id=pair[1],
                answers=given,
                probability=matched.probabilities.get(pair, accuracy.get(_kind(question), 0.5)),
                model=model,
            )
        )
    return predictions


def _write(workspace: Workspace, source: Path, fold: _Fold, predictions: Sequence[Prediction]) -> None:
    write_artefact(
        workspace.predictions(fold.name),
        predictions_text(predictions).encode(),
        command=f"{COMMAND} {source.name}",
        inputs=fold.inputs,
        options={"file": source.name, "sha256": sha256(source)},
    )
