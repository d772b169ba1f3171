"""Paddle's inference engine with oneDNN, for frozen networks on the CPU, where depthwise convolutions are slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import paddle
from paddle import Tensor, inference, nn

from imageclef_vqa.environment import cores


class _Reader(nn.Layer):
    """A layer whose `forward` is `read`; `to_static` replaces it there, and not in the network."""

    def __init__(self, network: nn.Layer, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.read = network, read

    def forward(self, pixels: Tensor) -> Tensor:
        return self.read(pixels)


class Engine:
    """`read`, a method of `network` on pixels [i, 3, side, side], with its present weights; made in seconds."""

    def __init__(self, network: nn.Layer, read: Callable[[Tensor], Tensor], side: int) -> None:
        spec = paddle.static.InputSpec([None, 3, side, side], "float32")
        network.eval()
        with TemporaryDirectory() as folder:
            static = paddle.jit.to_static(_Reader(network, read), input_spec=[spec], full_graph=True)
            paddle.jit.save(static, f"{folder}/network")
            # `.json` where Paddle has its new intermediate representation, `.pdmodel` where it has not.
            program = next(file for file in Path(folder).iterdir() if file.suffix in (".json", ".pdmodel"))
            config = inference.Config(str(program), f"{folder}/network.pdiparams")
            config.enable_mkldnn()
            config.set_cpu_math_library_num_threads(cores())
            config.disable_glog_info()
            self._predictor = inference.create_predictor(config)

    def __call__(self, pixels: Tensor) -> Tensor:
        """The output for float32 [i, 3, side, side]."""
        names = self._predictor.get_input_names(), self._predictor.get_output_names()
        self._predictor.get_input_handle(names[0][0]).copy_from_cpu(pixels.numpy())
        self._predictor.run()
        paddle.base.core.set_num_threads(cores())  # `run` leaves MKL with one thread in the whole process
        return paddle.to_tensor(self._predictor.get_output_handle(names[1][0]).copy_to_cpu())
