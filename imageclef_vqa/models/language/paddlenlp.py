"""What the package takes from PaddleNLP; nothing else imports it.

2.8.1 is its last stable version, and its successor, PaddleFormers, has neither T5 nor ChatGLM-6B.
"""

from __future__ import annotations

import sys
from importlib import reload
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from imageclef_vqa.environment import library_import


class _Package(ModuleType):
    """A package of PaddleNLP whose `__init__` runs when a name is asked for that the module does not have.

    These `__init__` import all models, a web server and data sets: 3 s more for each process.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # Python itself looks for such names in every module
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(reload(self), name)


def _add_package(name: str, **names: Any) -> _Package:
    """A package with `names` only, in `sys.modules` and in the package that holds it."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = sys.modules[name] = module_from_spec(spec)
    module.__class__ = _Package
    vars(module).update(names)
    holder, _, last = name.rpartition(".")
    if holder:
        setattr(sys.modules[holder], last, module)
    return module  # type: ignore[return-value]


with library_import():
    if "paddlenlp" not in sys.modules:
        import paddle

        _add_package("paddlenlp", __version__=version("paddlenlp"))
        _add_package("paddlenlp.data")
        transformers = _add_package("paddlenlp.transformers")
        from paddlenlp.transformers.model_utils import PretrainedModel, register_base_model

        vars(transformers).update(PretrainedModel=PretrainedModel, register_base_model=register_base_model)
        paddle.disable_signal_handler()  # as PaddleNLP's `__init__` does
    from paddlenlp.transformers.bert.tokenizer import BertTokenizer
    from paddlenlp.transformers.chatglm.configuration import ChatGLMConfig
    from paddlenlp.transformers.chatglm.modeling import ChatGLMModel
    from paddlenlp.transformers.model_utils import no_init_weights
    from paddlenlp.transformers.t5.configuration import T5Config
    from paddlenlp.transformers.t5.modeling import (
        T5Attention,
        T5DenseReluDense,
        T5ForConditionalGeneration,
        T5LayerFF,
        T5LayerNorm,
        T5Stack,
    )

__all__ = [
    "BertTokenizer",
    "ChatGLMConfig",
    "ChatGLMModel",
    "T5Attention",
    "T5Config",
    "T5DenseReluDense",
    "T5ForConditionalGeneration",
    "T5LayerFF",
    "T5LayerNorm",
    "T5Stack",
    "no_init_weights",
]
