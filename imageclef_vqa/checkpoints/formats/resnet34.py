"""ResNet34 from torchvision or timm, which name its tensors alike. Our names are those of `paddle.vision`."""

from __future__ import annotations

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, dropped, linear, norm
from imageclef_vqa.checkpoints.source import Source

_BLOCK = "layer#.#"


def _batch_norm(name: str) -> tuple[Rule, ...]:
    return (
        *norm(name, f"resnet34.{name}"),
        Rule(f"{name}.running_mean", f"resnet34.{name}._mean"),
        Rule(f"{name}.running_var", f"resnet34.{name}._variance"),
        dropped(f"{name}.num_batches_tracked", "counts the steps of a training that is over"),
    )


TABLE = (
    Rule("conv1.weight", "resnet34.conv1.weight"),
    *_batch_norm("bn1"),
    *(
        rule
        for conv, bn in (("conv1", "bn1"), ("conv2", "bn2"), ("downsample.0", "downsample.1"))
        for rule in (
            Rule(f"{_BLOCK}.{conv}.weight", f"resnet34.{_BLOCK}.{conv}.weight"),
            *_batch_norm(f"{_BLOCK}.{bn}"),
        )
    ),
    *linear("fc", "resnet34.fc"),
)


def recognises(source: Source) -> bool:
    return source.has("layer1.0.conv1.weight") and source.has("fc.weight")


def read(source: Source) -> SourceLayout:
    """The table of a state dict; its classes are counted in the last layer."""
    return SourceLayout(FolderConfig(resnet34=max(source.tensors["fc.weight"].shape[:1], default=1)), TABLE)
