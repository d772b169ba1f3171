"""`medvqa card`: a model card of a run in Markdown, made of what its artefacts record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imageclef_vqa.checkpoints.packaged import PACKAGES
from imageclef_vqa.data.split import Split
from imageclef_vqa.editions import find_edition
from imageclef_vqa.errors import MissingStepError
from imageclef_vqa.inputs import read_json, read_model
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.submission.sentences import PUBLIC_SCORES
from imageclef_vqa.training.config import CONFIG, StageConfig
from imageclef_vqa.workspace import Workspace

_FOLDS = {"val": "validation", "test": "test"}
# Licences of the published weights, as their pages on the hub state them.
_LICENCES = {
    "Salesforce/blip2-flan-t5-xl": "MIT",
    "Salesforce/blip2-itm-vit-g": "MIT",
    "google-t5/t5-base": "Apache-2.0",
    "openai/clip-vit-large-patch14": "MIT (code; the card names no licence of the weights)",
    "THUDM/chatglm-6b": "the ChatGLM-6B model licence, which asks for registration before commercial use",
}
_LIMITS = (
    "It answers questions about still images of the gastrointestinal tract, from the few hospitals of the data set. "
    "Other hospitals, processors and populations have not been tried.",
    "It is a research system for a challenge. It is no medical device, and its answers must not guide treatment.",
    "Probabilities were calibrated on validation images of the same source.",
)


def model_card(workspace: str | Path = ".", run: str = "main") -> str:
    """The card of a run with a finished stage 2, in Markdown.

    Raises:
        MissingStepError: no stage 2 is finished.
        MedvqaError: a file of the run is damaged.
    """
    at = Workspace.at(workspace, run)
    lineage = Lineage(at)
    if not (at.stage(2) / CONFIG).exists():
        raise MissingStepError(f"no stage 2 in {at.shown(at.run_folder)}", at.typed("medvqa finetune --stage 2"))
    remedy = f"`{at.typed('medvqa finetune --stage 2 --fresh')}` trains the stage again"
    config = read_model(at.stage(2) / CONFIG, StageConfig, remedy)
    parts = [
        f"# {run}: {config.preset} for {at.edition}",
        _model(config),
        _data(at, config),
        _scores(at, lineage),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _LIMITS),
        _licence(config),
    ]
    return "\n\n".join(parts) + "\n"


def _model(config: StageConfig) -> str:
    recipe = json.dumps(config.recipe.model_dump(mode="json", exclude_none=True))
    preset = PRESETS.get(config.preset)
    language = "frozen"
    if preset is not None and preset.learns_language:
        language = "learnt from the training texts"
    elif config.recipe.lora_rank:
        language = f"frozen, with trained low-rank adapters of rank {config.recipe.lora_rank}"
    return (
        f"BLIP-2, preset `{config.preset}`, trained with imageclef-vqa {config.version}, seed {config.seed}, fold "
        f"{config.fold}. The language model was {language}.\n\n```json\n{recipe}\n```"
    )


def _data(workspace: Workspace, config: StageConfig) -> str:
    split = read_model(workspace.split_file, Split, f"`{workspace.typed('medvqa split', run=False)}` makes it again")
    certificate = split.certificate
    return (
        f"## Data\n\n{len(split.train(config.fold)):,} training and {len(split.val(config.fold)):,} validation images "
        f"of the development set (fingerprint `{config.data[:16]}`).\n\n"
        f"Certificate of the split: {certificate.groups:,} groups of near-duplicates and frames of one examination, "
        f"{certificate.linked_pairs:,} linked pairs, {certificate.leaked_pairs:,} of them separated by this split "
        f"({certificate.leaked_by_plain_split:,} by a random one)."
    )


def _scores(workspace: Workspace, lineage: Lineage) -> str:
    state = lineage.artefact("scores")
    if state.status != "fresh":
        command = lineage.command("scores")
        return f"## Scores\n\nNone: scores are {state.status}; `{command}` computes them."
    folds: dict[str, Any] = read_json(workspace.scores)["folds"]
    rows = _sentence_rows(folds) if find_edition(workspace.edition).open else _closed_rows(folds)
    return (
        "## Scores\n\n" + "\n".join(rows) + "\n\nThe validation images chose the epoch, so their score is optimistic."
    )


def _closed_rows(folds: dict[str, Any]) -> list[str]:
    rows = ["| images | exact sets | 95% interval | most frequent answers |", "|---|---|---|---|"]
    for name, fold in folds.items():
        overall = fold["global"]
        majority = "–" if overall["majority"] is None else f"{overall['majority']:.3f}"
        interval = _interval(overall["interval"])
        rows.append(f"| {_FOLDS[name]}, {fold['images']:,} | {overall['exact_set']:.3f} | {interval} | {majority} |")
    return rows


def _sentence_rows(folds: dict[str, Any]) -> list[str]:
    """The metrics of open questions, each with its interval and that of the commonest training answers."""
    rows = ["| images | metric | score | 95% interval | commonest answers |", "|---|---|---|---|---|"]
    for name, fold in folds.items():
        overall, common = fold["global"], fold["commonest"]
        for metric in (*PUBLIC_SCORES, "exact"):
            other = "–" if common is None else f"{common[metric]:.4f}"
            interval, where = _interval(overall["intervals"].get(metric)), f"{_FOLDS[name]}, {fold['images']:,}"
            rows.append(f"| {where} | {metric} | {overall[metric]:.4f} | {interval} | {other} |")
    return rows


def _interval(interval: list[float] | None) -> str:
    return "–" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def _licence(config: StageConfig) -> str:
    preset = PRESETS.get(config.preset)
    if preset is not None and not preset.sources:
        encoder = f" {preset.encoder} comes from {PACKAGES[preset.encoder]}, Apache-2.0." if preset.encoder else ""
        return (
            f"## Licence of the weights\n\nThe starting weights are part of imageclef-vqa, under its licence.{encoder}"
        )
    sources = dict.fromkeys(name for names in preset.sources.values() for name in names) if preset is not None else {}
    lines = [f"- {source}: {_LICENCES.get(source.split(' ')[0], 'see its page')}" for source in sources]
    head = "## Licence of the weights\n\nThe starting weights have licences of their own"
    return f"{head}:\n\n" + "\n".join(lines) if lines else f"{head}: see the pages that they come from."
