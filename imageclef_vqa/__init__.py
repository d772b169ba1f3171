"""From the MEDVQA-GI files to a submission that is accepted and scored as meant.

    import imageclef_vqa as vqa

    vqa.score("run.csv", gold="data/test/gt.json").mean
    vqa.load_model(".").ask("data/test/images/X.jpg", "size of the polyp")[0].answers

The functions do what the commands of the same names do. They take paths as `str` or `Path`, return typed results, raise
`MedvqaError` where a command would exit with a message, and print nothing.
"""

TYPE_CHECKING = False  # nothing is imported here: the program has no handler of signals yet
if TYPE_CHECKING:
    from imageclef_vqa.errors import MedvqaError
    from imageclef_vqa.pipeline.ask import load_model
    from imageclef_vqa.pipeline.check import check
    from imageclef_vqa.pipeline.development import load_dataset
    from imageclef_vqa.pipeline.explain import explain
    from imageclef_vqa.pipeline.finetune import finetune
    from imageclef_vqa.pipeline.package import package
    from imageclef_vqa.pipeline.predict import predict
    from imageclef_vqa.pipeline.route import route
    from imageclef_vqa.pipeline.score import score
    from imageclef_vqa.pipeline.split import split

__version__ = "0.1.0"
__all__ = [
    "MedvqaError",
    "check",
    "explain",
    "finetune",
    "load_dataset",
    "load_model",
    "package",
    "predict",
    "route",
    "score",
    "split",
]


_MODULES = {"load_dataset": "development", "load_model": "ask"}  # of pipeline; the others are called as their module


def __getattr__(name: str) -> object:
    """A function of the pipeline, imported when it is first asked for: `medvqa --help` needs none of them."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    errors = import_module("imageclef_vqa.errors")
    if name == "MedvqaError":
        return errors.MedvqaError
    function = getattr(import_module(f"imageclef_vqa.pipeline.{_MODULES.get(name, name)}"), name)
    return errors.system_errors_explained()(function)
