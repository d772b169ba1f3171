"""`medvqa.toml`: a table for each command, whose keys are its options and whose values have their types."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, create_model

from imageclef_vqa.cli.command import refuse_renamed
from imageclef_vqa.editions import find_edition
from imageclef_vqa.errors import UsageError
from imageclef_vqa.inputs import FileName, faults_of
from imageclef_vqa.models.combinations import ModelParts
from imageclef_vqa.workspace import SETTINGS_FILE, read_settings


def check_settings(workspace: Path, commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of the workspace's `medvqa.toml`: command → parameter → value; all tables are checked.

    Raises:
        UsageError: a table or a key does not exist or has a new name, or a value has another type than its option;
            all faults of a table at once.
    """
    data, tables, path = *read_settings(workspace), workspace / SETTINGS_FILE
    tables.pop("team", None)  # for `package`, which checks it
    if data.edition is not None:
        find_edition(data.edition)
    if (model := tables.pop("model", None)) is not None:
        if faults := faults_of(ModelParts, model):
            raise UsageError("\n".join(f"{path}: [model] {fault}" for fault in faults))
        if "preset" in (training := tables.setdefault("finetune", {})):
            raise UsageError(f"{path}: [finetune] preset: not beside [model], which is one")
        training["preset"] = ModelParts(**model).preset
    if unknown := sorted(set(tables) - set(commands)):
        raise UsageError(f"{path}: no command is called {', '.join(unknown)}")
    settings: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        for key, value in table.items():
            for each in value if isinstance(value, list) else [value]:
                refuse_renamed([f"--{key}", str(each)], f"{path}: [{name}] ")
        keys = _keys(commands[name])
        fields: dict[str, Any] = {key: (kind, None) for key, kind in _types(commands[name]).items()}
        model = create_model(name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)
        named = {keys.get(key.replace("-", "_"), key): value for key, value in table.items()}
        if faults := faults_of(model, named):
            lines = [f"{path}: [{name}] {fault}" for fault in faults]
            raise UsageError("\n".join(lines), remedy=f"`medvqa {name} --help` lists the options")
        settings[name] = model.model_validate(named).model_dump(include=set(named))
    return settings


def _keys(command: Any) -> dict[str, str]:
    """A command's keys in `medvqa.toml`, as in `train_on`, and the parameters of Typer that they stand for."""
    return {
        name.removeprefix("--").replace("-", "_"): parameter.name
        for parameter in command.params
        for name in (parameter.name, *parameter.opts)
    }


def _types(command: Any) -> dict[str, Any]:
    """The type of each parameter for Pydantic, from the command's function; a group of commands has none."""
    if command.callback is None:
        return {}
    function = inspect.signature(command.callback, eval_str=True)
    options = {name: get_args(each.annotation) for name, each in function.parameters.items()}
    return {name: _type_of(*parts[:2]) for name, parts in options.items() if len(parts) > 1}


def _type_of(kind: Any, option: Any) -> Any:
    """A type and what Typer knows of its option, as one type; None is what an option is that is not given."""
    given = [each for each in get_args(kind) if each is not NoneType]
    if isinstance(kind, UnionType):
        return _type_of(given[0], option)
    if get_origin(kind) is list:
        # Click takes a sequence for an option that may be repeated, and would read "main" as four letters.
        many = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
        return Annotated[list[_type_of(given[0], option)], many]  # type: ignore[misc]
    if kind in (int, float):
        return Annotated[kind, Strict(), Field(ge=option.min, le=option.max, allow_inf_nan=False)]
    if kind in (str, Path):
        parse = option.parser
        return FileName if parse is None else Annotated[FileName, AfterValidator(lambda text: _parsed(parse, text))]
    return Annotated[bool, Strict()] if kind is bool else kind


def _parsed(parse: Any, text: str) -> str:
    try:
        parse(text)
    except typer.BadParameter as error:
        raise ValueError(error.message) from error
    return text
