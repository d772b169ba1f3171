"""What a format makes of a source: the sizes, the table of names, and what of ours the source does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.formats.rules import Rule


@dataclass(frozen=True)
class Reading:
    """`absent` maps patterns of our names to why this format has no such tensor."""

    config: FolderConfig
    rules: tuple[Rule, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
