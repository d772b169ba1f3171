"""Formats in which weights are published, one file each: how to recognise it, its sizes, its table of names."""

from __future__ import annotations

from imageclef_vqa.checkpoints.formats import (
    chatglm,
    efficientnet,
    hf_blip2,
    lavis,
    medvqa,
    resnet34,
    t5,
    timm,
    visualglm,
    vit,
)
from imageclef_vqa.checkpoints.formats.rules import SourceLayout
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError

FORMATS = {
    "medvqa": medvqa,
    "hf_blip2": hf_blip2,
    "t5": t5,
    "visualglm": visualglm,
    "chatglm": chatglm,
    "lavis": lavis,
    "vit": vit,
    "timm": timm,
    "resnet34": resnet34,
    "efficientnet": efficientnet,
}


def read_format(source: Source) -> tuple[str, SourceLayout]:
    """The name of the source's format, and the source's layout.

    Raises:
        MedvqaError: the format is unknown, or the sizes cannot be used.
    """
    for name, kind in FORMATS.items():
        if kind.recognises(source):
            return name, kind.read(source)
    model = (source.config or {}).get("model_type")
    what = f"model_type {model!r} is not supported" if model else "unknown format of weights"
    raise MedvqaError(
        f"{source.path}: {what} (first names: {', '.join(sorted(source.tensors)[:3])})",
        remedy=f"known formats: {', '.join(FORMATS)}; Hugging Face's need their config.json in the same folder",
    )
