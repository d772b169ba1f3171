"""`medvqa ask`: a trained run, loaded once and asked about pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imageclef_vqa.data import read_pixels
from imageclef_vqa.devices import prepare
from imageclef_vqa.editions import QUESTIONS, choose_question
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.ask import Replies, Reply
    from imageclef_vqa.inference.runs import Ensemble


class Model:
    """A trained run, or the mean of several, that answers questions about pictures."""

    def __init__(self, ensemble: Ensemble) -> None:
        from imageclef_vqa.inference.answerer import Answerer

        self._ensemble = ensemble
        self._answerers = [Answerer.of_run(run.workspace) for run in ensemble.runs]

    def ask(self, image: str | Path, question: int | str | None = None) -> tuple[Reply, ...]:
        """The replies to `question` (its id, its text, or a part of one text only), or to all questions.

        Raises:
            UsageError: no question, or more than one, is meant.
            DataError: the file is no picture.
        """
        return self.replies(image, question).replies

    def replies(self, image: str | Path, question: int | str | None = None) -> Replies:
        """As `ask`, with the name of the model and its calibration."""
        from imageclef_vqa.inference.ask import ask_ensemble

        questions = QUESTIONS if question is None else (choose_question(str(question)),)
        return ask_ensemble(self._ensemble, self._answerers, Path(image), questions)


def load_model(workspace: str | Path = ".", run: str | Sequence[str] = "main", *, device: str = "auto") -> Model:
    """The finished run of that name, or the ensemble of several, on `device`.

    Raises:
        MissingStepError: it has no finished stage 2.
        MedvqaError: weights are missing or do not fit; the runs learnt from different images.
    """
    runs = [Workspace.at(workspace, name) for name in ([run] if isinstance(run, str) else run)]
    prepare(device, seed=0)

    from imageclef_vqa.inference.runs import read_ensemble

    return Model(read_ensemble(runs))


def check_picture(image: Path, question: str | None) -> None:
    """Report a mistake before Paddle is imported, which takes seconds.

    Raises:
        UsageError: no question, or more than one, is meant.
        DataError: the file is no picture.
    """
    if question is not None:
        choose_question(question)
    read_pixels(image, 1)
