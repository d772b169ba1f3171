"""Formats in which weights are published, a file each: how to know it, its sizes, and its table of names."""

from __future__ import annotations

from imageclef_vqa.checkpoints.formats import chatglm, hf_blip2, lavis, medvqa, resnet34, t5, visualglm
from imageclef_vqa.checkpoints.formats.reading import Reading
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError

FORMATS = {
    "medvqa": medvqa,
    "hf_blip2": hf_blip2,
    "t5": t5,
    "visualglm": visualglm,
    "chatglm": chatglm,
    "lavis": lavis,
    "resnet34": resnet34,
}


def read_format(source: Source) -> tuple[str, Reading]:
    """The name of the source's format, and what it makes of the source.

    Raises:
        MedvqaError: no format knows it, or its sizes cannot be used.
    """
    for name, kind in FORMATS.items():
        if kind.recognises(source):
            return name, kind.read(source)
    raise MedvqaError(
        f"{source.place}: weights of no known format (first names: {', '.join(sorted(source.tensors)[:3])})",
        remedy=f"known are {', '.join(FORMATS)}; those of Hugging Face need their config.json beside them",
    )
