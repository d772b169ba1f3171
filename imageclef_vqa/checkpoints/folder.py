"""A folder of weights: a file per part, and `config.json` with the sizes of the parts.

vision.safetensors      the Vision Transformer
qformer.safetensors     the Q-Former
projection.safetensors  from the Q-Former's width to the language model's
heads.safetensors       stage 1's heads on the Q-Former
language.safetensors    the language model
resnet34.safetensors    what a ResNet34 expert starts from
spiece.model            the language model's tokenizer (ChatGLM: ice_text.model)
vocab.txt               BERT's tokens, with which the Q-Former reads text in stage 1
config.json             sizes, the format that each part came from, and what that source did not have

Tensors have the names and shapes of our layers and the types of their source; a shared tensor is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import write_json
from imageclef_vqa.inputs import read_json
from imageclef_vqa.models.combinations import SIGN, combine
from imageclef_vqa.models.configs import (
    LANGUAGE_FAMILIES,
    VISION_FAMILIES,
    EncoderConfig,
    LanguageConfig,
    QFormerConfig,
    VisionConfig,
)
from imageclef_vqa.models.presets import FOLDER, Preset, find_preset

CONFIG = "config.json"
FORMAT = "medvqa"
PARTS = ("vision", "qformer", "projection", "heads", "language", "resnet34")
WORDS = "vocab.txt"
TOKENIZERS = (*(family.tokenizer_file for family in LANGUAGE_FAMILIES.values()), WORDS)
_FAMILIES: Mapping[str, Mapping[str, type]] = {"vision": VISION_FAMILIES, "language": LANGUAGE_FAMILIES}


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """What a folder holds. `absent` maps names of tensors that the source did not have to the reason."""

    vision: EncoderConfig | None = None
    qformer: QFormerConfig | None = None
    language: LanguageConfig | None = None
    projection: int = 0  # its output width, which is the language model's; 0: none
    heads: bool = False
    resnet34: int = 0  # its classes
    sources: Mapping[str, str] = field(default_factory=dict)  # part → the format that it came from
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the folder has, in the order of the figure."""
        return tuple(part for part in PARTS if getattr(self, part))

    @property
    def layers(self) -> int:
        """Layers of all parts together, without ResNet34's."""
        blocks = 0 if self.language is None else self.language.blocks
        return blocks + sum(part.layers for part in (self.vision, self.qformer) if part is not None)

    def with_parts_of(self, other: FolderConfig) -> FolderConfig:
        """This config with `other`'s parts added, or in place of its own."""
        mine = [part for part in self.parts if part not in other.parts]
        return FolderConfig(
            **{part: getattr(self if part in mine else other, part) for part in PARTS},
            sources={part: (self if part in mine else other).sources[part] for part in (*mine, *other.parts)},
            absent={name: reason for name, reason in self.absent.items() if name.split(".")[0] in mine}
            | dict(other.absent),
        )

    def write(self, folder: Path) -> None:
        content: dict[str, Any] = {"format": FORMAT, "parts": {}}
        for part in self.parts:
            value = getattr(self, part)
            sizes = {} if value is True else {"size": value} if isinstance(value, int) else asdict(value)
            kind = {"kind": value.kind} if part in _FAMILIES else {}
            content["parts"][part] = kind | {"source": self.sources[part]} | sizes
        content["absent"] = dict(sorted(self.absent.items()))
        write_json(folder / CONFIG, content)


def read_folder_config(folder: Path) -> FolderConfig | None:
    """The config of a folder in our format; None if it has no such `config.json`.

    Raises:
        MedvqaError: its `config.json` is damaged.
    """
    path = folder / CONFIG
    content = read_json(path) if path.exists() else None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    try:
        parts: dict[str, dict[str, Any]] = {part: dict(sizes) for part, sizes in content["parts"].items()}
        sources = {part: str(sizes.pop("source")) for part, sizes in parts.items()}
        kind: dict[str, Any] = {"qformer": QFormerConfig}
        for part in _FAMILIES.keys() & parts.keys():
            # Folders from before there were several kinds of vision do not name it.
            kind[part] = _FAMILIES[part][parts[part].pop("kind", VisionConfig.kind)]
        found: dict[str, Any] = {
            part: _read_sizes(kind[part], sizes) if part in kind else int(sizes["size"]) if sizes else True
            for part, sizes in parts.items()
        }
        return FolderConfig(
            **found,
            sources=sources,
            absent={str(name): str(reason) for name, reason in content["absent"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MedvqaError(
            f"{path} is damaged: {error!r}", remedy="make the folder again with `medvqa weights convert`"
        ) from error


def choose_preset(name: str, weights: Path | None = None) -> Preset:
    """The preset called `name`, which starts from the folder `weights` where one is given.

    The name "folder" stands for the BLIP-2 in the folder, and ENCODER+LANGUAGE for a combination, whose parts may be
    the folder's too.

    Raises:
        UsageError: there is no such preset, or no folder.
        MedvqaError: the folder does not hold these parts, or no whole BLIP-2.
    """
    parts = name.split(SIGN, 1)
    if weights is None and FOLDER in parts:
        raise UsageError(f"--preset {name} takes the sizes from a folder of weights: name it with --weights")
    config = (weights and read_folder_config(weights)) or FolderConfig()
    whole = ("vision", "qformer", "language")
    needed = (
        whole if name == FOLDER else [kind for kind, part in zip(whole[::2], parts, strict=False) if part == FOLDER]
    )
    if missing := [part for part in needed if getattr(config, part) is None]:
        raise MedvqaError(
            f"{weights} is not a BLIP-2: it has no {', '.join(missing)}",
            remedy="`medvqa weights convert` makes such a folder, also from several sources",
        )
    if len(parts) == 2:
        return _combination(name, weights, config)
    if name != FOLDER:
        return find_preset(name, weights)
    own: dict[str, Any] = {part: getattr(config, part) for part in needed}
    return Preset(name=FOLDER, weights=weights, **own)


def _combination(name: str, weights: Path | None, config: FolderConfig) -> Preset:
    """ENCODER+LANGUAGE with the folder's parts; a Q-Former in the folder that reads another encoder is left out."""
    preset = replace(combine(name, config.vision, config.qformer, config.language), weights=weights)
    if config.qformer is None or config.qformer.vision_width == preset.vision.width:
        return preset
    left_out = dict.fromkeys(f"{part}.safetensors" for part in ("qformer", "projection", "heads"))
    return replace(preset, packaged={**preset.packaged, **left_out})


def _read_sizes(kind: type, sizes: Mapping[str, Any]) -> Any:
    """A config from its fields, each checked for its type."""
    hints = get_type_hints(kind)
    known = {entry.name for entry in fields(kind)}
    needed = {entry.name for entry in fields(kind) if entry.default is MISSING}
    if (unknown := sorted(set(sizes) - known)) or (missing := sorted(needed - set(sizes))):
        raise ValueError(f"unknown: {unknown}" if unknown else f"missing: {missing}")
    for name, value in sizes.items():
        options = get_args(hints[name]) or (hints[name],)
        fits = any(value == option or (isinstance(option, type) and type(value) is option) for option in options)
        if not fits and not (float in options and type(value) is int):
            raise ValueError(f"{name} is {value!r}")
    return kind(**sizes)
