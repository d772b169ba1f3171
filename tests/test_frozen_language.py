"""A frozen language model in half precision or 8 bits is the float32 model, within what the storage can hold."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from small_models import GLM

from imageclef_vqa.checkpoints import language as loading
from imageclef_vqa.checkpoints.convert import convert
from imageclef_vqa.checkpoints.language import (
    load_language,
)
from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
from imageclef_vqa.checkpoints.safetensors import write_safetensors
from imageclef_vqa.checkpoints.shrink import shrink_language
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.checkpoints.stored import InMemory
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language import frozen
from imageclef_vqa.models.language.frozen import Matrix
from imageclef_vqa.models.language.languages import build_language

T5 = T5Config(vocab_size=70, d_model=24, d_kv=5, d_ff=33, num_layers=1, num_decoder_layers=3, num_heads=3)
MODELS = {
    "t5": T5,
    "flan-t5": replace(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "glm": GLM,
}
# Largest relative error of one stored number.
PRECISION = {"F16": 2**-11, "BF16": 2**-8, "I8": 1 / 127}
VISUAL = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 24)).astype("float32"))
QUESTION = paddle.to_tensor([[20, 21, 22], [23, 0, 0]])
ANSWER = paddle.to_tensor([[30, 1], [31, 1]])


class BFloat16(InMemory):
    dtype = "BF16"


def brain_float(array: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16 at or below in magnitude."""
    return (array.view("uint32") >> 16).astype("uint16")


@pytest.fixture(autouse=True)
def small_matrices_count(monkeypatch):
    monkeypatch.setattr(loading, "_SMALL", 100)


@pytest.fixture(params=MODELS)
def sizes(request):
    return MODELS[request.param]


@pytest.fixture(params=PRECISION)
def precision(request):
    return request.param


def random_language(sizes):
    language = build_language(sizes)
    rng = np.random.default_rng(1)
    for parameter in language.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * 0.2).astype("float32"))
        parameter.stop_gradient = True
    language.eval()
    return language


def store(language, sizes, precision, folder):
    """The file of a language model in this precision, and the model with just the values that the file holds."""
    path = folder / "language.safetensors"
    arrays = {name: tensor.numpy() for name, tensor in own_tensors(language.model).items()}
    if precision == "F16":
        write_safetensors(path, {name: InMemory(array.astype("float16")) for name, array in arrays.items()})
    elif precision == "BF16":
        write_safetensors(path, {name: BFloat16(brain_float(array)) for name, array in arrays.items()})
    else:
        save_weights(folder / "full.safetensors", arrays)
        shrink_language(sizes, folder / "full.safetensors", path)
    return path


def run(language):
    visual = VISUAL.clone()
    visual.stop_gradient = False
    memory = language.encode(visual, QUESTION, (QUESTION != 0).astype("int64"))
    logits = language.answer_logits(memory, ANSWER)
    (logits * paddle.arange(logits.size).reshape(logits.shape).cos()).sum().backward()
    return logits.numpy(), visual.grad.numpy()


def nearness(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_logits_and_gradients_are_those_of_the_full_model_within_the_storage(sizes, precision, tmp_path):
    full = random_language(sizes)
    frozen = load_language(sizes, store(full, sizes, precision, tmp_path))
    frozen.eval()
    for found, expected in zip(run(frozen), run(full), strict=True):
        assert 0 < nearness(found, expected) < 10 * PRECISION[precision]


@pytest.mark.parametrize("precision", ["F16", "BF16"])
def test_logits_and_gradients_are_those_of_a_full_model_with_the_stored_values(sizes, precision, tmp_path):
    full = random_language(sizes)
    path = store(full, sizes, precision, tmp_path)
    for tensor in full.parameters():
        array = tensor.numpy()
        bits = brain_float(array).astype("uint32") << 16
        tensor.set_value(array.astype("float16").astype("float32") if precision == "F16" else bits.view("float32"))
    frozen = load_language(sizes, path)
    frozen.eval()
    for found, expected in zip(run(frozen), run(full), strict=True):
        assert nearness(found, expected) < 1e-5


def test_decoding_by_steps_works_on_stored_weights(sizes, tmp_path):
    frozen = load_language(sizes, store(random_language(sizes), sizes, "F16", tmp_path))
    frozen.eval()
    memory = frozen.encode(VISUAL, QUESTION, (QUESTION != 0).astype("int64"))
    whole, token = frozen.answer_logits(memory, ANSWER), paddle.full([2], frozen.start, dtype="int64")
    for index in range(2):
        logits, memory = frozen.step(memory, token)
        np.testing.assert_allclose(logits, whole[:, index], atol=1e-4)
        token = ANSWER[:, index]


def test_no_matrix_is_kept_widened(sizes, precision, tmp_path):
    frozen = load_language(sizes, store(random_language(sizes), sizes, precision, tmp_path))
    assert max(tensor.size for tensor in frozen.state_dict().values()) <= 32 * 3  # biases, norms, relative positions


def test_one_matrix_is_widened_at_a_time(tmp_path):
    """Of 16 matrices of 4 MB each, forward and backward; activations are small beside them."""
    sizes = replace(T5, d_model=512, d_kv=64, num_heads=8, d_ff=2048, num_layers=2, num_decoder_layers=2)
    frozen = load_language(sizes, store(random_language(sizes), sizes, "F16", tmp_path))
    visual = paddle.randn([1, 3, 512])
    visual.stop_gradient = False
    statistics = paddle.base.core
    before = statistics.host_memory_stat_current_value("Allocated", 0)
    statistics.host_memory_stat_reset_peak_value("Allocated", 0)
    memory = frozen.encode(visual, QUESTION[:1], paddle.ones([1, 3]))
    frozen.score(memory, ANSWER[:1]).sum().backward()
    peak = statistics.host_memory_stat_peak_value("Allocated", 0) - before
    largest = 512 * 2048 * 4
    assert largest <= peak < 1.5 * largest


@pytest.mark.parametrize("damage", ["missing", "shape", "extra"])
def test_a_file_that_does_not_fit_is_an_error_that_names_the_tensor(tmp_path, damage):
    full = random_language(T5)
    arrays = {name: InMemory(tensor.numpy().astype("float16")) for name, tensor in own_tensors(full.model).items()}
    name = "t5.decoder.block.1.layer.0.SelfAttention.q.weight"
    if damage == "missing":
        del arrays[name]
    elif damage == "shape":
        arrays[name] = InMemory(np.zeros((5, 5), "float16"))
    else:
        arrays[name := "t5.odd"] = InMemory(np.zeros(5, "float16"))
    write_safetensors(tmp_path / "a.safetensors", arrays)
    with pytest.raises(MedvqaError, match=rf"does not fit(.|\n)*{name}"):
        load_language(T5, tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", [frozen._Product, frozen._TokenLogits], ids=["linear", "words"])
def test_gradients_in_another_precision_come_back_in_that_of_what_went_in(kind):
    """As after a forward pass in half precision, which a CPU cannot do: here with double."""
    array = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
    matrix, size = Matrix(array), 4 if kind is frozen._Product else 6
    context = SimpleNamespace(weight=matrix, dtype=paddle.float64)
    gradient = paddle.ones([2, size], dtype="float64")
    found = kind.backward(context, gradient)
    assert found.dtype == paddle.float64
    expected = gradient.numpy() @ (array.T if kind is frozen._Product else array)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_eight_bits_are_not_shrunk_again(tmp_path):
    path = store(random_language(T5), T5, "I8", tmp_path)
    with pytest.raises(MedvqaError, match="8 bits already"):
        shrink_language(T5, path, tmp_path / "again.safetensors")


def test_a_shrunk_folder_holds_the_model_in_8_bits_and_all_else_as_it_was(tmp_path):
    from imageclef_vqa.checkpoints.folder import FolderConfig
    from imageclef_vqa.checkpoints.shrink import shrink_folder

    source, target = tmp_path / "full", tmp_path / "small"
    source.mkdir()
    full = random_language(T5)
    save_weights(source / "language.safetensors", own_tensors(full.model))
    (source / "spiece.model").write_bytes(b"pieces")
    FolderConfig(language=T5, sources={"language": "t5"}).write(source)
    with pytest.raises(MedvqaError, match="other than the source"):
        shrink_folder(source, source)
    shrink_folder(source, target)
    assert {file.name for file in target.iterdir()} == {file.name for file in source.iterdir()}
    assert (target / "spiece.model").read_bytes() == b"pieces"
    small = load_language(T5, target / "language.safetensors")
    small.eval()
    assert 0 < nearness(run(small)[0], run(full)[0]) < 10 * PRECISION["I8"]
    with pytest.raises(MedvqaError, match="holds no converted language model"):
        shrink_folder(tmp_path, tmp_path / "other")
    convert(open_source(target), tmp_path / "again")
    for file in target.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
