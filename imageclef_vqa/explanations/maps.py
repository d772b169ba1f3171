"""Heat maps of one answer, as pure functions of a loaded model.

combined   the mean of the next two, each with a sum of 1
rollout    attention weights, through language model, Q-Former and vision (Abnar and Zuidema 2020)
gradient   attention weights times their gradients (Chefer et al. 2021)
occlusion  how much less likely the answer becomes where the picture is hidden (Zeiler and Fergus 2014)

A map is an array [rows, columns] from 0 to 1 whose cells cover the picture as the model sees it, a square. An encoder
without attentions, such as EfficientNet, ends at its grid of patches. Maps are of the whole answer. `dimmed` turns
down what lies around the endoscope's field of view.

n pairs of image and question, t question tokens, a answer tokens, p patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np
import paddle
from paddle import Tensor
from PIL import Image

from imageclef_vqa.explanations.relevance import Trace, of_patches, over_heads, trace_answer
from imageclef_vqa.explanations.view import field_of_view, shares
from imageclef_vqa.models.blip2 import Blip2

Method = Callable[[Blip2, np.ndarray, Tensor, Tensor], np.ndarray]
_WINDOW = 3  # patches along a side of what occlusion hides at once: a single patch rarely matters
_AT_ONCE = 64  # pictures of which parts are hidden


def combined(model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor) -> np.ndarray:
    """Maps [n, rows, columns] for pixels uint8 [n, h, w, 3], questions [n, t] and answers [n, a]; 0 is padding."""
    trace, products = _trace_gradients(model, pixels, question, answer)
    both = (_rollout_of(trace), of_patches(trace, products, keep=1.0, add=1.0))
    shown = [_without_class(model, each) for each in both]
    return _of_relevance(model, np.sum([each / each.sum(axis=1, keepdims=True).clip(min=1e-30) for each in shown], 0))


def gradient(model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor) -> np.ndarray:
    """As `combined`."""
    trace, products = _trace_gradients(model, pixels, question, answer)
    return _of_relevance(model, of_patches(trace, products, keep=1.0, add=1.0))


@paddle.no_grad()
def rollout(model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor) -> np.ndarray:
    """As `combined`."""
    return _of_relevance(model, _rollout_of(trace_answer(model, pixels, question, answer)))


def _trace_gradients(
    model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor
) -> tuple[Trace, list[np.ndarray]]:
    """The trace of answers, and its attention weights times their gradients where that is positive, over the heads."""
    with paddle.enable_grad():
        trace = trace_answer(model, pixels, question, answer)
        weights = [attention.weights for attention in trace.attentions]
        gradients = paddle.grad([trace.log_odds.sum()], weights, allow_unused=True)
    products = [
        np.zeros(each.shape, "float32") if slope is None else (each * slope).clip(min=0).numpy()
        for each, slope in zip(weights, gradients, strict=True)
    ]
    return trace, [over_heads(each, len(pixels)) for each in products]


def _rollout_of(trace: Trace) -> np.ndarray:
    averaged = [over_heads(attention.weights.numpy(), len(trace.answered)) for attention in trace.attentions]
    return of_patches(trace, averaged, keep=0.5, add=0.5)


def occlusion(model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor) -> np.ndarray:
    """As `combined`; a patch is hidden with its neighbours."""
    side = grid_side(model)
    near = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= _WINDOW // 2
    windows = near[:, None, :, None] & near[None, :, None, :]  # row and column of the patch, then of what is hidden
    hidden = np.concatenate([np.zeros((1, side, side), bool), windows.reshape(-1, side, side)])
    drops = []
    for image, asked, said in zip(pixels, question, answer, strict=True):
        scores = hidden_log_probs(model, image, hidden, asked, said)
        drops.append(scores[0] - scores[1:])
    above = np.stack(drops) - np.median(drops, axis=1, keepdims=True)  # hiding any part may cost or help a little
    return scaled(above.reshape(-1, side, side).clip(min=0))


# The first one is the default: as faithful as either of its parts, and closer to findings (examples/explanations).
METHODS: Mapping[str, Method] = {"combined": combined, "rollout": rollout, "gradient": gradient, "occlusion": occlusion}


@paddle.no_grad()
def hidden_log_probs(
    model: Blip2, image: np.ndarray, hidden: np.ndarray, question: Tensor, answer: Tensor
) -> np.ndarray:
    """Log-probabilities [m] of `answer` [a] to `question` [t] about one image [h, w, 3] with parts of it hidden.

    `hidden` [m, rows, columns] says which cells are replaced by the picture's mean colour.
    """
    found = []
    for start in range(0, len(hidden), _AT_ONCE):
        views = hide(image, hidden[start : start + _AT_ONCE])
        m = len(views)
        visual = model.encode_features(model.vision.read(views))
        asked, said = (tokens.unsqueeze(0).expand([m, -1]) for tokens in (question, answer))
        memory = model.read(visual, paddle.arange(m), asked, (asked != 0).astype("int64"))
        found.append(model.language.score(memory, said).numpy())
    return np.concatenate(found)


def hide(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Views uint8 [m, h, w, 3] of an image [h, w, 3] in which the cells `hidden` [m, rows, columns] are replaced."""
    row, column = (np.arange(size) * cells // size for size, cells in zip(image.shape, hidden.shape[1:], strict=False))
    masks = hidden[:, row][:, :, column][..., None]
    colour = image.mean(axis=(0, 1)).round().astype("uint8")
    return np.where(masks, colour, image)


def dimmed(maps: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps [n, rows, columns] of one picture uint8 [h, w, 3], at most half as high around its field of view as in it.

    Also how much of the weight of each map [n] is around it: models learn from the frame, which shows no tissue.
    """
    inside = maps * shares(field_of_view(pixels), *maps.shape[1:])
    half = inside.max(axis=(1, 2), keepdims=True) / 2
    around = 1 - inside.sum(axis=(1, 2)) / maps.sum(axis=(1, 2)).clip(min=1e-30)
    return scaled(np.maximum(inside, np.minimum(maps, half))), around.clip(min=0)


def grid_side(model: Blip2) -> int:
    """Cells along a side of a map: the encoder's patches, without a class token."""
    return isqrt(model.vision.config.tokens)


def _of_relevance(model: Blip2, relevance: np.ndarray) -> np.ndarray:
    """Maps [n, rows, columns] from the relevance [n, p] of patches, the class token first if there is one."""
    side, config = grid_side(model), model.vision.config
    maps = _without_class(model, relevance).reshape(-1, side, side).astype("float32")
    # The outer patches of a convolutional encoder reach beyond the picture, equally far on all sides.
    beyond = (side - config.image_size / config.stride) / 2
    if beyond > 0:
        box = (beyond, beyond, side - beyond, side - beyond)
        maps = resized(maps, side, box)
    return scaled(maps)


def _without_class(model: Blip2, relevance: np.ndarray) -> np.ndarray:
    """The relevance [n, p] of what a map shows: all patches but a class token."""
    return relevance[:, -(grid_side(model) ** 2) :]


def resized(maps: np.ndarray, side: int, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Maps [n, rows, columns] as [n, side, side], or the part of them in `box` (left, upper, right, lower)."""
    pictures = [Image.fromarray(each).resize((side, side), Image.Resampling.BILINEAR, box) for each in maps]
    return np.stack([np.asarray(each) for each in pictures])


def scaled(maps: np.ndarray) -> np.ndarray:
    """Maps [n, rows, columns] whose highest value is 1, unless all are 0."""
    return np.asarray(maps / maps.max(axis=(1, 2), keepdims=True).clip(min=1e-30), dtype="float32")
