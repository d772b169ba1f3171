"""Every key of a recipe as an option of `medvqa finetune`, from the recipe's own fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from imageclef_vqa.training.recipe import Recipe


def options() -> dict[str, tuple[Any, Any]]:
    """Each key of a recipe with its type and its option, both from the recipe's field."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, field in Recipe.model_fields.items():
        assert isinstance(field.json_schema_extra, dict)
        panel = str(field.json_schema_extra["panel"])
        found[name] = field.annotation, typer.Option(help=field.description, rich_help_panel=panel)
    return found


def with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command(…, changes)` with an option per key of a recipe; `changes` holds the keys that the user gave."""
    # Not by `get_type_hints`: Python 3.10 hides `Annotated` in it where the default is None.
    own = inspect.signature(command, eval_str=True).parameters.values()
    named = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [named(each.name, default=each.default, annotation=each.annotation) for each in own]
    index = [each.name for each in own].index("changes")
    parameters[index : index + 1] = [
        named(name, default=None, annotation=Annotated[kind | None, option])
        for name, (kind, option) in options().items()
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        changes = {name: given.pop(name) for name in Recipe.model_fields}
        command(**given, changes={name: value for name, value in changes.items() if value is not None})

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_options
