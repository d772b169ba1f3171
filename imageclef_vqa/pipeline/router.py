"""The routing decisions of a run, applied to images that `medvqa route` has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from imageclef_vqa import routing
from imageclef_vqa.artefacts import ChangedError
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import Prediction
from imageclef_vqa.errors import UsageError
from imageclef_vqa.experts.answers import CLASSICAL, FEATURES, Expert
from imageclef_vqa.inputs import read_model
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.workspace import Workspace

_PLAIN, _ROUTED, _DECISIONS = "plain", "routed", "routed/decisions"


class ImageRouter:
    """The stored decisions of a run with the experts that they name, for images that `route` has not seen."""

    def __init__(
        self,
        workspace: Workspace,
        decisions: routing.StoredDecisions,
        notify: Callable[[str], None] = lambda message: None,
        *,
        digest: str = "",
    ) -> None:
        self.digest = digest  # of the record of the decisions
        self._decisions = {each.question_id: each for each in decisions.decisions}
        self._load = cache(lambda name: _load_expert(workspace, name, notify))

    def route(self, plain: Sequence[Prediction], images: Dataset, pixels: Path | None) -> list[Prediction]:
        """BLIP-2's predictions, with the answers of the models that were chosen, for images that `images` has.

        Experts are loaded when a question needs them; `pixels` is the folder of the cache for their pixels.
        """
        decisions = [self._decisions[q] for q in {each.question_id for each in plain} & self._decisions.keys()]
        ranked = {name: self._load(name)(images, pixels) for name in routing.experts_of(decisions)}
        readable = set(images.image_ids)
        routed = iter(routing.apply(decisions, [each for each in plain if each.image_id in readable], ranked))
        return [next(routed) if each.image_id in readable else each for each in plain]


def load_router(
    workspace: Workspace, answers: str | None = None, notify: Callable[[str], None] = lambda message: None
) -> ImageRouter | None:
    """What makes a run answer further images as its run file answers the test images; None: BLIP-2 answers them.

    Args:
        answers: "routed" or "plain"; by default, routed if the run was routed.

    Raises:
        UsageError: `answers` is something else, or the run was not routed.
        ChangedError: the decisions, or what they were made from, have changed.
    """
    if answers not in (None, _PLAIN, _ROUTED):
        raise UsageError(f"--answers {answers}: use {_ROUTED} or {_PLAIN}")
    lineage = Lineage(workspace)
    command = lineage.with_options("medvqa route")
    path = lineage.path(_DECISIONS)
    was_routed = path.exists() or any(lineage.path(f"routed/{fold}").exists() for fold in ("val", "test"))
    if answers == _PLAIN or (answers is None and not was_routed):
        return None
    if not was_routed:
        raise UsageError(f"--answers {_ROUTED}: run {workspace.run} was not routed", remedy=f"`{command}` routes it")
    found = lineage.artefact(_DECISIONS)
    if found.status != "fresh":
        raise ChangedError(
            f"{workspace.shown(path)} is {found.state}",
            remedy=f"`{command}` decides again; --answers {_PLAIN} asks BLIP-2 only",
        )
    digest = found.record.digest if found.record else ""
    decisions = read_model(path, routing.StoredDecisions, f"`{command}` writes it again")
    return ImageRouter(workspace, decisions, notify, digest=digest)


def _load_expert(workspace: Workspace, name: str, notify: Callable[[str], None]) -> Expert:
    from imageclef_vqa.experts import classical, features  # with scikit-learn, which most runs do not need

    if name == CLASSICAL:
        return classical.load_expert(workspace, notify=notify)
    if name == FEATURES:
        return classical.load_expert(workspace, features.descriptor(), notify)

    from imageclef_vqa.experts import resnet34

    return resnet34.load_expert(workspace)
