"""Paddle's inference engine with oneDNN for a frozen network on the CPU, where depthwise convolutions are slow."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import paddle
from paddle import Tensor, inference, nn

from imageclef_vqa.environment import cores


class Engine:
    """A network of one image input [i, 3, s, s] with its present weights, compiled once (seconds)."""

    def __init__(self, network: nn.Layer, side: int) -> None:
        spec = paddle.static.InputSpec([None, 3, side, side], "float32")
        static = paddle.jit.to_static(network, input_spec=[spec], full_graph=True)
        try:
            with TemporaryDirectory() as folder:
                paddle.jit.save(static, f"{folder}/network")
                # `.json` where Paddle has its new intermediate representation, `.pdmodel` where it has not.
                program = next(file for file in Path(folder).iterdir() if file.suffix in (".json", ".pdmodel"))
                config = inference.Config(str(program), f"{folder}/network.pdiparams")
                config.enable_mkldnn()
                config.set_cpu_math_library_num_threads(cores())
                config.disable_glog_info()
                self._predictor = inference.create_predictor(config)
        finally:
            static.forward.rollback()  # `to_static` replaces the network's own `forward`

    def __call__(self, pixels: np.ndarray | Tensor) -> Tensor:
        """The network's output for float32 [i, 3, s, s]."""
        predictor = self._predictor
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.asarray(pixels))
        predictor.run()
        return paddle.to_tensor(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
