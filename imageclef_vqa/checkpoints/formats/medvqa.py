"""Our own folder: every tensor stays what it is."""

from __future__ import annotations

from imageclef_vqa.checkpoints.folder import FORMAT, PARTS, read_folder_config
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout
from imageclef_vqa.checkpoints.source import Source


def recognises(source: Source) -> bool:
    return source.config is not None and source.config.get("format") == FORMAT


def read(source: Source) -> SourceLayout:
    """Sizes and table of a folder.

    Raises:
        MedvqaError: its `config.json` is damaged.
    """
    config = read_folder_config(source.path)
    assert config is not None
    rules = tuple(Rule(name, name) for name in source.tensors if name.split(".")[0] in PARTS)
    return SourceLayout(config, rules, config.absent)
