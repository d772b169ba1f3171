"""`medvqa ask`: a trained run, loaded once and asked about pictures, routed as its run file is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imageclef_vqa.data import Dataset, Example, read_pixels
from imageclef_vqa.devices import prepare
from imageclef_vqa.editions import QUESTIONS, Implication, choose_question
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.explanation import Explanation, check_method, explanation
from imageclef_vqa.inputs import sha256
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.router import ImageRouter
from imageclef_vqa.pipeline.selection import AnswerMode, answer_mode
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.replies import Replies, Reply
    from imageclef_vqa.inference.runs import Ensemble

_BANK_BEAM = 2  # of the bank's open questions, which are asked to explain one answer


class Model:
    """A trained run, or the mean of several, that answers questions about pictures, with a router if it was routed."""

    def __init__(self, ensemble: Ensemble, mode: AnswerMode, rules: tuple[Implication, ...] = ()) -> None:
        from imageclef_vqa.inference.answerer import Answerer
        from imageclef_vqa.inference.sentences import SentenceAnswerer

        self._ensemble, self._mode, self._rules = ensemble, mode, rules
        runs = [run.workspace for run in ensemble.runs]
        self._answerers = [] if ensemble.open else [Answerer.of_run(run) for run in runs]
        self._speakers = [SentenceAnswerer.of_run(run) for run in runs] if ensemble.open else []

    def ask(self, image: str | Path, question: int | str | None = None) -> tuple[Reply, ...]:
        """The replies to `question` (its id, its text, or a part of one text only), or to all questions.

        A run of an edition with open questions is asked any text.

        Raises:
            UsageError: no question, or more than one, is meant.
            DataError: the file is no picture.
        """
        return self.replies(image, question).replies

    def ask_open(self, image: str | Path, questions: Sequence[str]) -> list[str]:
        """The answers of a run with open questions to several of them; the picture is encoded once.

        Raises:
            UsageError: the run answers closed questions.
            DataError: the file is no picture.
        """
        from imageclef_vqa.inference.ask import ask_open

        if not self._ensemble.open:
            raise UsageError("this run answers closed questions")
        found = ask_open(self._ensemble, self._speakers, Path(image), questions)
        return [reply.answers[0] for reply in found.replies]

    def replies(self, image: str | Path, question: int | str | None = None) -> Replies:
        """As `ask`, with the name of the model and its calibration."""
        from imageclef_vqa.inference.ask import ask_ensemble, ask_open

        if self._ensemble.open:
            return ask_open(self._ensemble, self._speakers, Path(image), [_required(question)])
        questions = QUESTIONS if question is None else (choose_question(str(question)),)
        plain = ask_ensemble(self._ensemble, self._answerers, Path(image), questions, self._mode.options, self._rules)
        if self._mode.router is None:
            return plain
        return replace(plain, replies=tuple(self._route(self._mode.router, Path(image), plain.replies)))

    def explain(self, image: str | Path, question: int | str, method: str = METHODS[0]) -> Explanation:
        """Why this is the answer to `question`: see `vqa.explain`.

        Raises:
            UsageError: no question, or more than one, is meant; there is no such method.
            DataError: the file is no picture.
        """
        return self.explain_all(image, [question], method)[0]

    def explain_all(
        self, image: str | Path, questions: Sequence[int | str], method: str = METHODS[0]
    ) -> list[Explanation]:
        """As `explain`, for several questions about one picture, which is encoded once for all answers."""
        from imageclef_vqa.explanations.explainer import bank_in_open_words, heat_maps, statement
        from imageclef_vqa.inference.ask import ask_open

        check_method(method)
        if self._ensemble.open:
            asked = [_required(question) for question in questions]
            found = ask_open(self._ensemble, self._speakers, Path(image), asked)
            replies = found.replies
            bank = [text for text in bank_in_open_words() if text not in asked]
            others = ask_open(self._ensemble, self._speakers, Path(image), bank, _BANK_BEAM)
            stated = [statement(each) for each in (*others.replies, *replies)]
        else:
            chosen = [choose_question(str(question)) for question in questions]
            found = self.replies(image)
            replies = tuple(found.replies[question.id] for question in chosen)
            stated = [statement(each) for each in found.replies]
        pairs = [(reply.question.text, reply.answers) for reply in replies]
        drawn = heat_maps([*self._answerers, *self._speakers], Path(image), pairs, method)
        rules = self._learnt_rules
        return [
            explanation(str(image), found, reply, statement(reply), stated, heat, float(around), method, rules)
            for reply, heat, around in zip(replies, drawn.maps, drawn.around, strict=True)
        ]

    @property
    def digest(self) -> str:
        """A hash of the trained models that answer."""
        return self._ensemble.calibration_key(augment=False)

    @cached_property
    def _learnt_rules(self) -> tuple[Implication, ...] | None:
        """The rules between answers; None if they cannot be learnt, as where the training labels are not there."""
        from imageclef_vqa.explanations.explainer import learn_all_rules

        try:
            return learn_all_rules(self._ensemble)
        except MedvqaError:
            return None

    @property
    def answers(self) -> str:
        """Which answers these are: "routed", "plain" or the name of a variant."""
        return self._mode.name

    def _route(self, router: ImageRouter, image: Path, replies: Sequence[Reply]) -> Iterator[Reply]:
        """BLIP-2's replies, or those of the models that were chosen for the questions."""
        from imageclef_vqa.inference.builders import from_reply
        from imageclef_vqa.inference.ranked import members

        picture = Dataset(image.parent, (Example("picture", image, {}, sha256(image), 0, 0),), (), "")
        plain = [from_reply("picture", reply) for reply in replies]
        for reply, before, after in zip(replies, plain, router.route(plain, picture, None), strict=True):
            if after is before:
                yield reply
                continue
            ranked = tuple((each.answers, each.probability) for each in after.candidates)
            own = members(ranked) if self._ensemble.vocabulary[reply.question.id].takes_a_set else {}
            yield replace(reply, ranked=ranked, members=own, model=after.model)


def load_model(
    workspace: str | Path = ".",
    run: str | Sequence[str] = "main",
    *,
    answers: str | None = None,
    device: str = "auto",
    notify: Callable[[str], None] = lambda message: None,
) -> Model:
    """The finished run of that name, or the ensemble of several, on `device`.

    Args:
        answers: "routed", "plain" (BLIP-2 only), or the name of a variant of `predict`; by default, routed if the run
            was routed.

    Raises:
        MissingStepError: it has no finished stage 2, or no such variant.
        ChangedError: what these answers depend on has changed.
        MedvqaError: weights are missing or do not fit; the runs learnt from different images.
    """
    runs = [Workspace.at(workspace, name) for name in ([run] if isinstance(run, str) else run)]
    prepare(device, seed=0)

    from imageclef_vqa.inference.predict import learn_rules
    from imageclef_vqa.inference.runs import read_ensemble

    ensemble = read_ensemble(runs)
    mode = answer_mode(ensemble.workspace, answers, notify)
    return Model(ensemble, mode, learn_rules(ensemble) if mode.options.consistent else ())


def _required(question: int | str | None) -> str:
    if question is None or not str(question).strip():
        raise UsageError(
            "this run answers open questions: which one?", remedy='as in `medvqa ask IMAGE "Is there a polyp?"`'
        )
    return str(question)


def check_picture(image: Path, question: str | None, workspace: str | Path = ".") -> None:
    """Report a mistake before Paddle is imported, which takes seconds.

    Raises:
        UsageError: no question, or more than one, is meant.
        DataError: the file is no picture.
    """
    if edition_of(Workspace.at(workspace)).open:
        _required(question)
    elif question is not None:
        choose_question(question)
    read_pixels(image, 1)
