"""`medvqa package` for open questions: the answers to the test rows as `predictions_1.json`, checked."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Literal

from imageclef_vqa.data import Dataset, read_dataset
from imageclef_vqa.data.qa import QA_FILE
from imageclef_vqa.data.reading import has_gold
from imageclef_vqa.editions import Edition
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.evaluation.text.metrics import TextMeter, tabulate_text
from imageclef_vqa.evaluation.text.scores import measured
from imageclef_vqa.pipeline.answers import Answers, answers_of, questions_of, read_gold
from imageclef_vqa.pipeline.development import read_development
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.open_reference import read_open_reference
from imageclef_vqa.pipeline.prepared_run import Package, check_fold
from imageclef_vqa.pipeline.reference import with_commands
from imageclef_vqa.pipeline.selection import select_answers
from imageclef_vqa.pipeline.timing import read_timing
from imageclef_vqa.submission.checks.header import check_header
from imageclef_vqa.submission.checks.sentences import Asked, check_sentences
from imageclef_vqa.submission.manifest import versions
from imageclef_vqa.submission.sentences import MEASURES, PUBLIC_SCORES, SUBMISSION_INFO, read_sentences, write_sentences
from imageclef_vqa.workspace import SETTINGS_FILE, Workspace, read_settings

_DECIMALS = 4  # of public scores, as the organisers round them


def package_open(workspace: Workspace, edition: Edition, target: Path, answers: str | None) -> Package:
    """The answers of a run to the test rows, or to validation where there is no test set, checked.

    Raises:
        MissingStepError: there are no predictions.
        UsageError: `[team]` in medvqa.toml has an unknown entry.
    """
    fold: Literal["test", "val"] = "test" if workspace.has_test else "val"
    selection = select_answers(Lineage(workspace), fold, answers)
    development = read_development(workspace)
    data = development.validation
    fingerprints = {"development": development.dataset.fingerprint}
    if workspace.has_test:
        data = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
        fingerprints |= {"test": data.fingerprint}
    questions = dict(sorted(questions_of(data).items(), key=lambda item: item[0][1]))  # in the order of qa.jsonl
    given = answers_of(selection.predictions)
    header = _header(workspace, fold, data, given)
    rows = [(pair[0], each.text, given[pair][0]) for pair, each in questions.items() if pair in given]
    content = write_sentences(rows, header)
    back = read_sentences(content)
    if [(row.image_id, row.question, row.answer) for row in back.rows] != rows:
        raise MedvqaError(f"{target}: the run does not read back as the same answers; nothing was written")
    asked = [Asked(image_id, each.text) for (image_id, _), each in questions.items()]
    customs = read_open_reference(workspace, edition).customs
    found = [*back.findings, *check_sentences(back, asked, customs), *check_header(header)]
    found = [*check_fold(workspace, workspace.test), *selection.findings, *with_commands(workspace, found)]
    return Package(
        workspace=workspace,
        edition=edition,
        target=target,
        selection=selection,
        fold=fold,
        image_ids=data.image_ids,
        answers={pair: given[pair] for pair in questions if pair in given},
        findings=tuple(sorted(found, key=lambda each: each.severity)),
        render=lambda: content,
        fingerprints=fingerprints,
        inputs=(selection.path, workspace.split_file),
        seed=development.split.seed,
        scores=selection.scores,
        options={"answers": answers},
    )


def _header(workspace: Workspace, fold: str, data: Dataset, given: Answers) -> dict[str, Any]:
    """The fields around the rows. Public scores are unknown where the test rows have no gold answers."""
    timing = read_timing(workspace, fold)
    scores: dict[str, float | None] = dict.fromkeys(PUBLIC_SCORES)
    gold: Answers = data.gold()
    if fold == "test" and has_gold(workspace.test):
        gold = read_gold(workspace.test / QA_FILE)[0]
    if gold:
        metrics = measured(tabulate_text(given, gold, TextMeter()).by_image(), None)
        scores = {name: round(getattr(metrics, name), _DECIMALS) for name in PUBLIC_SCORES}
    return {
        "submission_info": team_info(workspace),
        "public_scores": scores,
        **{name: timing.get(name) for name in MEASURES},
        "gpu_name": timing.get("gpu_name", ""),
        "debug": {"packages": versions(), "system": {"platform": platform.platform(), "machine": platform.machine()}},
    }


def team_info(workspace: Workspace) -> dict[str, Any]:
    """`submission_info` from `[team]` in medvqa.toml, whose keys may be in lower case; missing ones are left out.

    Raises:
        UsageError: `[team]` has another key.
    """
    table = {key.casefold(): value for key, value in read_settings(workspace.root)[1].get("team", {}).items()}
    if unknown := sorted(set(table) - {name.casefold() for name in SUBMISSION_INFO}):
        known = ", ".join(name.lower() for name in SUBMISSION_INFO)
        raise UsageError(f"{workspace.root / SETTINGS_FILE}: [team] has {known}, not {', '.join(unknown)}")
    found: dict[str, Any] = {}
    for name in SUBMISSION_INFO:
        value = table.get(name.casefold())
        if value is not None and name == "Contact_emails":  # a list in the organisers' files
            found[name] = [str(each).strip() for each in (value if isinstance(value, list) else str(value).split(","))]
        elif value is not None:
            found[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found
