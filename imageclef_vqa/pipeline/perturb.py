"""`medvqa score --perturb`: what a run loses where pictures are cropped, turned, shifted, brighter or duller.

The answers to perturbed pictures are compared and dropped. They never lie among those of the run, and their record
names the perturbed pictures, so `package` takes them for no answers to the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from imageclef_vqa.artefacts import ChangedError
from imageclef_vqa.data import Dataset, Pictures
from imageclef_vqa.data.perturbation import PERTURBATIONS, perturbed
from imageclef_vqa.devices import prepare
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import UsageError
from imageclef_vqa.evaluation import Comparisons
from imageclef_vqa.evaluation.text.compare import TextComparisons
from imageclef_vqa.locks import run_writer
from imageclef_vqa.pipeline.answers import Answers, answers_of
from imageclef_vqa.pipeline.compare import compare_fold
from imageclef_vqa.pipeline.development import read_development
from imageclef_vqa.pipeline.gold import Gold, workspace_golds
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.predict import answer_pictures
from imageclef_vqa.pipeline.selection import Selection, select_answers
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.runs import Ensemble

ORIGINAL = "original"


@dataclass(frozen=True)
class Perturbed:
    """Each kind of perturbed pictures of a fold, compared with the `selected` answers to the original ones."""

    fold: str
    seed: int
    selected: Selection
    compared: Comparisons | TextComparisons


def perturb(
    workspace: str | Path = ".",
    *,
    answers: str | None = None,
    device: str = "auto",
    run: str = "main",
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> Perturbed:
    """Answer the questions about the test images, or else the validation images, again with perturbed pictures.

    Args:
        answers: "routed", "plain" or the name of a variant; by default, those that `package` takes.

    Raises:
        UsageError: the run holds another model's answers.
        MissingStepError: the run has no answers to images with gold answers.
        ChangedError: these answers are not those of the model that is there now.
    """
    at = Workspace.at(workspace, run)
    lineage = Lineage(at)
    if lineage.adopted:
        raise UsageError(f"run {run} holds another model's answers, and perturbed pictures need the model itself")
    golds = workspace_golds(lineage)
    gold = next((each for each in reversed(golds) if lineage.has_answers(each.name)), golds[0])
    selected = select_answers(lineage, gold.name, answers)
    if selected.warning is not None:
        raise ChangedError(selected.warning, remedy=f"begin with `{lineage.remedy(selected.artefact.name)}`")
    dataset = _pictures(lineage, gold)
    readable = {each.image_id for each in dataset.examples}
    gold = replace(gold, answers={pair: given for pair, given in gold.answers.items() if pair[0] in readable})
    on = prepare(device, seed=0)

    from imageclef_vqa.inference.runs import read_ensemble
    from imageclef_vqa.inference.sharding import device_names

    named: list[tuple[str, Answers]] = [(ORIGINAL, answers_of(selected.predictions))]
    at.cache.mkdir(parents=True, exist_ok=True)
    with run_writer(at.run_folder):
        for kind in PERTURBATIONS:
            with TemporaryDirectory(prefix="perturbed-", dir=at.cache) as folder:
                runs = [replace(each, cache_folder=Path(folder)) for each in at.members()]
                changed = perturbed(dataset, kind, seed, Path(folder))
                given = _answer(read_ensemble(runs), changed, selected.name, device_names(on, []), notify)
                named.append((kind, given))
    return Perturbed(gold.name, seed, selected, compare_fold(named, gold))


def _pictures(lineage: Lineage, gold: Gold) -> Dataset:
    """The images of the fold that have gold answers, with their questions if these are open."""
    if gold.name == "test":
        fold = lineage.sources.pictures.readable
    else:
        fold = read_development(lineage.workspace, dataset=lineage.sources.dataset).validation
    return fold.subset(each.image_id for each in fold.examples if each.image_id in gold.image_ids)


def _answer(
    ensemble: Ensemble, changed: Dataset, answers: str, devices: Sequence[str], notify: Callable[[str], None]
) -> Answers:
    """The answers to pictures that lie in a temporary folder, where the file of answers lies too."""
    from imageclef_vqa.inference.jobs import PredictOptions

    pictures = Pictures(tuple(each.image_id for each in changed.examples), changed, {})
    out, options = changed.folder / "answers.jsonl", PredictOptions()
    answer_pictures(ensemble, pictures, out, answers, options=options, devices=devices, notify=notify)
    return answers_of(read_predictions(out))
