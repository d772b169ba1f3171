"""What is dropped of an image does not depend on how its batch is cut up."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.training.loop import _add_gradients
from imageclef_vqa.training.pairs import Pair, PairTable
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe

IMAGES = 5
PIXELS = paddle.to_tensor(np.random.default_rng(0).standard_normal((IMAGES, 3, 16, 16)).astype("float32"))
BATCH = PairTable.batch(np.arange(IMAGES), [[Pair(0, ("x",), [1], [1])]] * IMAGES)
KINDS = {
    "numbers": {"dropout": 0.4},
    "weights of attention": {"attention_dropout": 0.4},
    "layers of vision": {"drop_path": 0.6},
    "layers of vision, recomputed": {"drop_path": 0.6, "recompute": True},
}


def model_with(*, drop_path=0.0, recompute=False, dropout=0.0, attention_dropout=0.0):
    vision = VisionConfig(
        image_size=16,
        patch_size=8,
        width=16,
        layers=3,
        heads=2,
        mlp_width=16,
        drop_path=drop_path,
        recompute=recompute,
    )
    qformer = QFormerConfig(
        queries=3,
        width=16,
        layers=2,
        heads=2,
        mlp_width=16,
        vision_width=16,
        vocabulary=8,
        positions=4,
        dropout=dropout,
        attention_dropout=attention_dropout,
    )
    language = T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_decoder_layers=1, num_heads=2)
    paddle.seed(1)
    return Blip2(Preset(name="small", vision=vision, qformer=qformer, language=language))


def gradients(model, parts):
    model.clear_gradients()
    model.train()

    def losses(shard, _rng):
        own = paddle.to_tensor(shard.own.images)
        return {"loss": shard.pair_weight * paddle.tanh(model.visual_tokens(PIXELS.index_select(own))).mean()}

    context = SimpleNamespace(processes=Processes(), recipe=Recipe(epochs=1, accumulate=parts, precision="fp32"))
    record, _ = _add_gradients(context, BATCH, losses, np.random.default_rng(0), 1.0, {})
    return record["loss"], {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_in_parts_drops_what_it_does_as_a_whole(kind):
    model = model_with(**KINDS[kind])
    loss, whole = gradients(model, 1)
    assert loss != pytest.approx(gradients(model_with(), 1)[0], abs=1e-4), "something is dropped"
    for parts in (2, IMAGES):
        again, in_parts = gradients(model, parts)
        assert again == pytest.approx(loss, abs=1e-5)
        for name, gradient in whole.items():
            np.testing.assert_allclose(in_parts[name], gradient, atol=1e-5, err_msg=name)
