"""`medvqa ask`: the answers of a trained run, or of several, about one image; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imageclef_vqa.data import read_pixels
from imageclef_vqa.editions import QUESTIONS, Implication, Question
from imageclef_vqa.inference.answerer import Answerer
from imageclef_vqa.inference.calibration import apply_temperature, read_calibration
from imageclef_vqa.inference.choice import Chooser
from imageclef_vqa.inference.closed_questions import ClosedChoice
from imageclef_vqa.inference.jobs import PredictOptions
from imageclef_vqa.inference.ranked import Answers, Ranked, mean, members
from imageclef_vqa.inference.replies import AskedQuestion, Replies, Reply
from imageclef_vqa.inference.runs import Ensemble
from imageclef_vqa.inference.sentences import BEAM, SentenceAnswerer


def ask_open(
    ensemble: Ensemble, answerers: Sequence[SentenceAnswerer], image: Path, questions: Sequence[str], beam: int = BEAM
) -> Replies:
    """The answers to open `questions` about the image in the file `image`, as `medvqa predict` would choose them.

    A narrower `beam` finds less likely ones sooner.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    sizes = [run.preset.vision.image_size for run in ensemble.runs]
    found = [
        answerer.rank(read_pixels(image, size)[None], [list(questions)], beam)[0]
        for size, answerer in zip(sizes, answerers, strict=True)
    ]
    calibration = read_calibration(ensemble.workspace, ensemble.calibration_key(augment=False), augment=False)
    temperature, rule = (calibration.temperature, calibration.rule) if calibration else (1.0, None)
    replies, chooser = [], Chooser()
    for question, *lists in zip(questions, *found, strict=True):
        ranked = apply_temperature(mean(lists) if len(lists) > 1 else lists[0], temperature)
        chosen = chooser.choose(ranked, rule or "likeliest")
        first = ((chosen.text,), chosen.probability)
        ranked = (first, *(each for each in ranked if each[0] != first[0]))
        replies.append(Reply(AskedQuestion(question), ranked, {}, True, ensemble.name))
    return Replies(ensemble.name, tuple(replies), calibration)


def ask_ensemble(
    ensemble: Ensemble,
    answerers: Sequence[Answerer],
    image: Path,
    questions: Sequence[Question] = QUESTIONS,
    options: PredictOptions | None = None,
    rules: tuple[Implication, ...] = (),
) -> Replies:
    """The answers to `questions` about the image in the file `image`, as `medvqa predict` gives them with `options`.

    `answerers` has one for each run of the ensemble; `rules` are kept between the answers.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    options = options or PredictOptions()
    pixels = {size: read_pixels(image, size)[None] for size in {run.preset.vision.image_size for run in ensemble.runs}}
    of_runs = []
    for run, answerer in zip(ensemble.runs, answerers, strict=True):
        own = pixels[run.preset.vision.image_size]
        answered = answerer.generate(own) if options.decode == "free" else answerer.rank(own, options.augment)
        of_runs.append(answered[0])
    of_image = [mean(lists) if len(lists) > 1 else lists[0] for lists in zip(*of_runs, strict=True)]
    calibration = None
    if options.decode == "closed":
        key = ensemble.calibration_key(augment=options.augment)
        calibration = read_calibration(ensemble.workspace, key, augment=options.augment)
        ranked, _, given = ClosedChoice(ensemble, options, calibration, rules).choose(of_image)
        of_image = [_with_first(each, answers) for each, answers in zip(ranked, given, strict=True)]
    replies = []
    for question in questions:
        entry, own_ranked = ensemble.vocabulary[question.id], of_image[question.id]
        own_members = members(own_ranked) if entry.takes_a_set and options.decode == "closed" else {}
        replies.append(Reply(question, own_ranked, own_members, entry.trained, ensemble.name))
    return Replies(ensemble.name, tuple(replies), calibration)


def _with_first(ranked: Ranked, given: Answers) -> Ranked:
    """`ranked` with the answer that is given before the others."""
    return tuple(sorted(ranked, key=lambda each: each[0] != given))
