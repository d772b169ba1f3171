"""What each command does, as one function: the public Python API. Paddle is imported only where it computes."""

from imageclef_vqa.pipeline.ask import Model, load_model
from imageclef_vqa.pipeline.check import Checked, check
from imageclef_vqa.pipeline.development import load_dataset
from imageclef_vqa.pipeline.finetune import finetune
from imageclef_vqa.pipeline.package import Package, package
from imageclef_vqa.pipeline.predict import predict
from imageclef_vqa.pipeline.route import route
from imageclef_vqa.pipeline.score import Scores, score
from imageclef_vqa.pipeline.split import SplitResult, split

__all__ = [
    "Checked",
    "Model",
    "Package",
    "Scores",
    "SplitResult",
    "check",
    "finetune",
    "load_dataset",
    "load_model",
    "package",
    "predict",
    "route",
    "score",
    "split",
]
