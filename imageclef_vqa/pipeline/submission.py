"""`medvqa package --submission`: a model repository whose script the organisers run, rehearsed before the upload."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclef_vqa.artefacts import record_path
from imageclef_vqa.data import read_dataset
from imageclef_vqa.data.qa import QA_FILE
from imageclef_vqa.data.reading import has_gold
from imageclef_vqa.editions import Edition
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.files import new_folder
from imageclef_vqa.inputs import read_text
from imageclef_vqa.pipeline.answers import answers_of, questions_of, read_gold
from imageclef_vqa.pipeline.card import model_card
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.package_open import package_open, team_info
from imageclef_vqa.pipeline.prepared_run import Package
from imageclef_vqa.pipeline.rehearsal import Rehearsed, rehearse
from imageclef_vqa.pipeline.selection import select_answers
from imageclef_vqa.pipeline.serving import MODEL_FOLDER, RUN
from imageclef_vqa.submission.template import SCRIPT, Template, fill_template, find_template, read_template
from imageclef_vqa.submission.wheel import make_wheel
from imageclef_vqa.workspace import Workspace

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_BATCH = 32
_ROWS = 60  # of the rehearsal
_TORCH = "torch"  # the template imports it, and the organisers' list of packages lacks it


@dataclass(frozen=True)
class Submission:
    """A repository that was written and rehearsed, and the commands that upload and validate it."""

    folder: Path
    files: tuple[str, ...]
    rehearsed: Rehearsed
    package: Package
    commands: tuple[str, ...]


def make_submission(
    folder: str | Path,
    repo_id: str,
    *,
    template: str | Path | None = None,
    edition: str | None = None,
    workspace: str | Path = ".",
    run: str = "main",
) -> Submission:
    """Write the repository `repo_id` to `folder`, which must be new, if its rehearsal succeeds.

    Raises:
        UsageError: the edition takes no repository, or there is no template.
        MissingStepError: the run has no model or no answers to test rows with gold answers.
        MedvqaError: checks of the answers found errors, or the rehearsal fails.
    """
    at = Workspace.at(workspace, run)
    spoken = edition_of(at, edition)
    _check(at, spoken, repo_id)
    source = find_template(spoken.name, None if template is None else Path(template))
    parts = read_template(read_text(source), str(source))
    checked = package_open(at, spoken, at.root / spoken.run_file, "plain")
    if errors := [str(each) for each in checked.findings if each.severity == "error"]:
        raise MedvqaError("\n".join(["no submission was written: the answers have errors:", *errors]))
    rows, answers = _rehearsal_rows(at)
    with new_folder(Path(folder), "name a new folder: --submission FOLDER") as part:
        _write_repository(at, part, parts, repo_id)
        rehearsed = rehearse(part, parts, spoken.private_set, rows, answers)
        files = tuple(path.relative_to(part).as_posix() for path in sorted(part.rglob("*")) if path.is_file())
    return Submission(Path(folder), files, rehearsed, checked, _commands(Path(folder), repo_id, spoken))


def _check(workspace: Workspace, edition: Edition, repo_id: str) -> None:
    if not edition.private_set:
        raise UsageError(f"--submission: {edition.name} takes no script with open questions")
    if not _REPOSITORY.fullmatch(repo_id):
        raise UsageError(f"--repo-id {repo_id!r}: the name of a repository, as in --repo-id ORG/NAME")
    if Lineage(workspace).adopted:
        raise UsageError(
            f"run {workspace.run} was adopted: its model is not here, so no script can answer with it",
            remedy="submit it from where the model is",
        )
    if not workspace.stage(2).exists():
        where = workspace.shown(workspace.run_folder)
        raise MissingStepError(f"no stage-2 model in {where}", workspace.typed("medvqa finetune --stage 2"))
    if not has_gold(workspace.test):
        raise MissingStepError(
            f"no test rows with gold answers in {workspace.shown(workspace.test)}, and the script computes scores",
            workspace.typed("medvqa import kvasir-vqa-x1 FILES --to test", run=False),
        )


def _rehearsal_rows(workspace: Workspace) -> tuple[list[dict[str, Any]], list[str]]:
    """Test rows as the organisers' data set has them, and our answers to them."""
    test = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
    images = {each.image_id: str(each.image.resolve()) for each in test.examples}
    gold = read_gold(workspace.test / QA_FILE)[0]
    given = answers_of(select_answers(Lineage(workspace), "test", "plain").predictions)
    pairs = sorted(questions_of(test).items(), key=lambda item: item[0][1])[:_ROWS]
    rows = [
        {"img_id": pair[0], "question": each.text, "answer": gold[pair][0], "image": images[pair[0]]}
        for pair, each in pairs
    ]
    return rows, [given[pair][0] for pair, _ in pairs]


def _write_repository(workspace: Workspace, folder: Path, template: Template, repo_id: str) -> None:
    wheel, content = make_wheel()
    (folder / wheel).write_bytes(content)
    url = f"https://huggingface.co/{repo_id}/resolve/main/{wheel}"
    (folder / "requirements.txt").write_text(f"imageclef-vqa @ {url}\n{_TORCH}\n", encoding="utf-8")
    script = fill_template(template, loading_section(team_info(workspace), repo_id), ANSWERING)
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    card = model_card(workspace.root, workspace.run)
    (folder / "README.md").write_text(card, encoding="utf-8")
    target = folder / MODEL_FOLDER / "work" / RUN
    shutil.copytree(workspace.stage(2), target / "stage2", ignore=shutil.ignore_patterns("*.jsonl", "log*"))
    for path in (workspace.calibration, record_path(workspace.calibration)):
        if path.exists():
            shutil.copyfile(path, target / path.name)


def loading_section(team: Mapping[str, Any], repo_id: str) -> str:
    """The first section of the script: who submits, and the model."""
    lines = ["", "SUBMISSION_INFO = {"]
    lines += [f"    {name!r}: {value!r}," for name, value in team.items()]
    lines += ["}", "", "from imageclef_vqa.pipeline.serving import load_submission", ""]
    lines += [f"submitted = load_submission({repo_id!r}, beside=__file__)", f"BATCH_SIZE = {_BATCH}", ""]
    return "".join(f"{line}\n" for line in lines)


ANSWERING = "\nanswers = submitted.answer(exs)\n\n"


def _commands(folder: Path, repo_id: str, edition: Edition) -> tuple[str, ...]:
    """The organisers' program is called through Python: its name may be ours here."""
    validate = f"python -m medvqa.cli {{}} --competition={edition.name} --task=1 --repo_id={repo_id}"
    return (
        f"hf upload {repo_id} {folder} .",
        validate.format("validate"),
        validate.format("validate_and_submit"),
    )
