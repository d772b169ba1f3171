"""What all commands have in common: panels in their help, and options of earlier versions, refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from imageclef_vqa.errors import UsageError

# Options of earlier versions, and keys of medvqa.toml with them.
RENAMED = {"--profile": "--edition", "--expert linear": "--expert classical"}

# Command: panel of its help: names of options. The others stand under "Options"; a recipe's fields name their own.
PANELS: dict[str, dict[str, str]] = {
    "finetune": {
        "Model": "preset weights recipe from_scratch_parts",
        "Data": "fold",
        "Devices": "device devices seed",
        "Output": "track run workspace as_json",
    },
    "predict": {
        "Images": "fold images ids",
        "Answers": "name answers decode optimise augment consistent on_bad_image",
        "Devices": "device devices",
        "Output": "out as_json",
    },
    "route": {
        "Decision": "policy questions folds",
        "Experts": "expert weights shared epochs train_only apply_only",
        "Devices": "device seed",
    },
    "score": {"Output": "report plots heat_maps as_json as_csv as_markdown"},
    "package": {"Output": "out team answer_form edition force as_json"},
    "plan": {
        "Model": "preset image_size language_bits freeze_vision lora_rank lora_targets",
        "Work": "stage images batch accumulate questions epochs precision recompute",
        "Devices": "devices memory flops",
    },
}


def refuse_renamed(words: Sequence[str], where: str = "") -> None:
    """Reject what an earlier version called otherwise.

    Raises:
        UsageError: `words` hold an option or a value of `RENAMED`; the message has its new name.
    """
    typed = f" {' '.join(words).replace('=', ' ')} "
    for old, new in RENAMED.items():
        if f" {old} " in typed:
            raise UsageError(f"{where}{old} has a new name: {new}")


class _Flags:
    """Shows flags in the help without a type: they take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.display_type_rich = _no_type
        return parameters


def _no_type(ctx: Any) -> None:
    return None


class Group(_Flags, TyperGroup):
    """A command that has commands."""


class Command(_Flags, TyperCommand):
    """A command whose options stand in the panels of `PANELS`."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        panel_of = {option: panel for panel, names in PANELS.get(name or "", {}).items() for option in names.split()}
        for parameter in self.params:
            if parameter.name in panel_of:
                parameter.rich_help_panel = panel_of[parameter.name]  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_renamed(args)
        return super().parse_args(ctx, args)
