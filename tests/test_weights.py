"""Published checkpoints are converted exactly, or refused with the tensor's name; wrong code fails `verify`.

`tests/parity` holds what transformers 5.23 computed for two small models, every tensor of which is random.
"""

import json
import math
import shutil
import struct
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch_files import pickled, text, write_pth
from typer.testing import CliRunner

from imageclef_vqa.checkpoints import hub
from imageclef_vqa.checkpoints.convert import convert, plan_conversion
from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig, read_folder_config
from imageclef_vqa.checkpoints.formats import hf_blip2, lavis, resnet34
from imageclef_vqa.checkpoints.formats.rules import keep, transpose
from imageclef_vqa.checkpoints.layers import save_weights
from imageclef_vqa.checkpoints.pretrained import load_pretrained
from imageclef_vqa.checkpoints.safetensors import open_safetensors, write_safetensors
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.checkpoints.stored import InMemory
from imageclef_vqa.checkpoints.torch_file import open_torch_file
from imageclef_vqa.checkpoints.verify import verify
from imageclef_vqa.cli import app
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models import activations
from imageclef_vqa.models.presets import PRESETS, find_preset
from imageclef_vqa.models.vision import VisionTransformer, resize_positions

PARITY = Path(__file__).parent / "parity"
KINDS = ("blip2_t5", "blip2_retrieval")


@pytest.fixture(params=KINDS)
def checkpoint(request, tmp_path):
    return Path(shutil.copytree(PARITY / request.param, tmp_path / request.param))


@pytest.fixture
def t5(tmp_path):
    return Path(shutil.copytree(PARITY / "blip2_t5", tmp_path / "blip2_t5"))


def change(folder, file="model.safetensors", **changes):
    """Rewrite a file with some tensors replaced (None: left out); `swap` exchanges two."""
    tensors = {name: tensor.bits() for name, tensor in open_safetensors(folder / file)[0].items()}
    for one, other in changes.pop("swap", {}).items():
        tensors[one], tensors[other] = tensors[other], tensors[one]
    for name, array in changes.pop("put", {}).items():
        tensors[name] = array(tensors[name]) if callable(array) else array
    for name in changes.pop("drop", ()):
        del tensors[name]
    write_safetensors(folder / file, {name: InMemory(np.asarray(array)) for name, array in tensors.items()})


def fails(folder):
    return [row.name for row in verify(folder) if not row.passed]


def test_every_expected_tensor_is_reached(checkpoint):
    rows = verify(checkpoint)
    inputs = {"pixels", "question_ids", "question_mask", "labels", "text_ids", "text_mask"}
    assert {row.name for row in rows} == set(open_safetensors(checkpoint / "expected.safetensors")[0]) - inputs
    assert all(row.passed for row in rows), rows


@pytest.mark.parametrize("name", ["t5_bf16_shards", "t5_fp16_torch_shards", "retrieval_fp16_shards"])
def test_odd_sizes_in_shards_of_half_precision_are_as_exact(name):
    """Odd numbers of layers and heads, no qkv bias, other pictures, T5 untied or plain; shards of either format."""
    rows = verify(PARITY / name)
    assert len(rows) == 6
    assert all(row.passed for row in rows), rows


SWAPS = (
    ("vision_model.encoder.layers.0.mlp.fc2.bias", "vision_model.encoder.layers.1.mlp.fc2.bias"),
    ("vision_model.encoder.layers.0.layer_norm1.weight", "vision_model.encoder.layers.0.layer_norm2.weight"),
    ("qformer.encoder.layer.0.attention.output.LayerNorm.bias", "qformer.encoder.layer.0.output_query.LayerNorm.bias"),
    (
        "qformer.encoder.layer.2.crossattention.attention.query.bias",
        "qformer.encoder.layer.2.attention.attention.query.bias",
    ),
)


@pytest.mark.parametrize("swap", SWAPS, ids=" ".join)
def test_two_swapped_biases_or_norms_fail(checkpoint, swap):
    change(checkpoint, swap=dict([swap]))
    assert "qformer" in fails(checkpoint) or "itc_image" in fails(checkpoint)


def test_two_swapped_norms_of_t5_fail(t5):
    block = "language_model.decoder.block.1.layer"
    change(t5, swap={f"{block}.0.layer_norm.weight": f"{block}.1.layer_norm.weight"})
    assert fails(t5) == ["logits", "loss"] or "logits" in fails(t5)


@pytest.mark.parametrize("variant", ["quick_gelu", "gelu_new"])
def test_the_wrong_gelu_fails(checkpoint, variant, monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "gelu", activations.ACTIVATIONS[variant])
    assert fails(checkpoint)


@pytest.mark.parametrize(
    "name", ["self_attn.projection.weight", "attention.output.dense.weight", "SelfAttention.o.weight"]
)
def test_a_square_matrix_that_is_not_transposed_fails(t5, name):
    def turned(array):
        return np.ascontiguousarray(array.T)

    names = [old for old in open_safetensors(t5 / "model.safetensors")[0] if old.endswith(name)]
    change(t5, put=dict.fromkeys(names[:1], turned))
    assert fails(t5)


def test_a_table_that_forgets_to_transpose_fails(t5, monkeypatch):
    rules = tuple(
        replace(rule, how=keep) if rule.how is transpose and "attention_out" in rule.new else rule
        for rule in hf_blip2.VISION
    )
    monkeypatch.setattr(hf_blip2, "VISION", rules)
    assert "vision" in fails(t5)


@pytest.mark.parametrize("name", ["vision", "logits", "loss", "greedy_ids"])
def test_an_expected_tensor_that_is_off_by_little_fails_alone(t5, name):
    change(
        t5,
        "expected.safetensors",
        put={name: lambda array: array + (1 if name == "greedy_ids" else array.dtype.type(1e-3))},
    )
    assert fails(t5) == [name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"put": {"strange": np.zeros(3, "float32")}}, "strange: unknown"),
        ({"drop": ["question_mask"]}, "question_mask: this input is missing; logits, loss, greedy_ids need it"),
        ({"put": {"labels": lambda x: x + 1000}}, "labels: token ids from"),
        ({"put": {"pixels": lambda x: x[:, :, :40]}}, "the model takes floats"),
    ],
)
def test_expectations_that_cannot_be_met_are_listed(t5, changes, message):
    change(t5, "expected.safetensors", **changes)
    with pytest.raises(MedvqaError, match=message):
        verify(t5)


BIAS = "vision_model.post_layernorm.bias"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": [BIAS]}, rf"- {BIAS}: missing"),
        (
            {"put": {"vision_model.strange": np.zeros(3, "float32")}},
            r"\+ vision_model.strange \[3\]: this format",
        ),
        ({"put": {BIAS: np.zeros(7, "float32")}}, rf"~ {BIAS} \[7\]: makes \[7\], the model has \[48\]"),
        ({"put": {BIAS: np.full(48, np.nan, "float32")}}, f"{BIAS} holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_is_named(t5, tmp_path, changes, message):
    change(t5, **changes)
    with pytest.raises(MedvqaError, match=message):
        convert(open_source(t5), tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_conversion_that_fails_leaves_the_folder_as_it_was(t5, tmp_path):
    """The last part that is written holds the fault; what stood there before, or nothing, is what remains."""
    out, fault = tmp_path / "out", "language_model.encoder.final_layer_norm.weight"
    convert(open_source(PARITY / "blip2_t5"), out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    twice = {BIAS: lambda array: 2 * array, fault: np.full(32, np.nan, "float32")}
    change(t5, put=twice)
    for target in (out, tmp_path / "new"):
        with pytest.raises(MedvqaError, match=f"{fault} holds NaN or infinity"):
            convert(open_source(t5), target)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blip2_t5", "out"]


@pytest.mark.parametrize("kind", ["int32", "int8", "bool", "uint16"])
def test_a_tensor_of_whole_numbers_is_refused_by_name(t5, kind):
    change(t5, put={BIAS: np.zeros(48, kind)})
    with pytest.raises(MedvqaError, match=rf"~ {BIAS}: elements of type \w+; the model has floats"):
        plan_conversion(open_source(t5))


def test_more_dimensions_than_an_array_can_have_are_refused_by_name(t5, tmp_path):
    change(t5, put={"a": np.zeros(1, "float32")})
    path = t5 / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    header["a"]["shape"] = [1] * 33
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
    with pytest.raises(MedvqaError, match="a: 33 dimensions"):
        open_source(t5)
    write_pth(tmp_path / "a.pth", {"b": np.zeros(1, "float32")}, pickled({"b": np.zeros([1] * 32, "float32")}))
    content = pickled({"b": np.zeros([1] * 32, "float32")}).replace(b"(J", b"(" + b"J" + struct.pack("<i", 1) + b"J")
    write_pth(tmp_path / "b.pth", {"b": np.zeros(1, "float32")}, content)
    assert open_torch_file(tmp_path / "a.pth")["b"].bits().ndim == 32
    with pytest.raises(MedvqaError, match=r"b\.pth: b has 33 dimensions"):
        open_torch_file(tmp_path / "b.pth")


def test_a_name_that_stands_twice_in_a_header_is_told(t5):
    path = t5 / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    text = whole[8 : 8 + size].rstrip()[:-1] + b',"query_tokens":{}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
    with pytest.raises(MedvqaError, match="query_tokens occurs twice"):
        open_source(t5)


def test_a_truncated_file_names_the_tensor(t5):
    path = t5 / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(MedvqaError, match=r"query_tokens: truncated|vision_model\.post_layernorm.*: truncated"):
        open_source(t5)


def test_converting_the_result_again_gives_the_same_bytes(checkpoint, tmp_path):
    convert(open_source(checkpoint), tmp_path / "once")
    convert(open_source(tmp_path / "once"), tmp_path / "twice")
    files = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "twice").iterdir())
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def test_shards_and_copies_of_the_embedding_make_no_difference(t5, tmp_path):
    whole = plan_conversion(open_source(t5))
    tensors = {name: InMemory(tensor.bits()) for name, tensor in open_safetensors(t5 / "model.safetensors")[0].items()}
    for copied in ("encoder.embed_tokens", "decoder.embed_tokens"):
        tensors[f"language_model.{copied}.weight"] = tensors["language_model.shared.weight"]
    names = sorted(tensors)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, inside in shards.items():
        write_safetensors(t5 / file, {name: tensors[name] for name in inside})
    (t5 / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, inside in shards.items() for name in inside}}
    (t5 / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not fails(t5)
    sharded = plan_conversion(open_source(t5))
    assert sharded.parts["language"].keys() == whole.parts["language"].keys()
    (t5 / "two.safetensors").unlink()
    with pytest.raises(MedvqaError, match=r"two\.safetensors missing"):
        open_source(t5)


def test_a_copy_that_is_none_is_an_error(t5):
    change(t5, put={"language_model.encoder.embed_tokens.weight": np.zeros((173, 32), "float32")})
    with pytest.raises(
        MedvqaError, match=r"encoder\.embed_tokens\.weight must be a copy of language_model\.shared\.weight"
    ):
        verify(t5)


def test_the_command_exits_with_1_beyond_the_tolerance(t5):
    change(t5, "expected.safetensors", put={"qformer": lambda array: array + array.dtype.type(1e-3)})
    done = CliRunner().invoke(app, ["weights", "verify", str(t5), "--json"])
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert [name for name, row in told["tensors"].items() if not row["passed"]] == ["qformer"]


TENSORS = {"a.weight": np.arange(6, dtype="float32").reshape(2, 3), "b": np.arange(50, dtype="float32")}


def test_tensors_of_a_pth_file_are_read(tmp_path):
    write_pth(tmp_path / "a.pth", TENSORS)
    found = open_torch_file(tmp_path / "a.pth")
    assert list(found) == list(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name].bits(), array)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00true tR.".replace(b"true ", b"true"), r"os\.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", r"builtins\.eval"),
        (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", r"os\.system"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", r"torch\.storage\._load_from_bytes"),
        (b"\x80\x02cos\nsystem\n)\x81.", r"os\.system"),
        (b"\x80\x04}}\x92.", "opcode NEWOBJ_EX"),
    ],
)
def test_a_hostile_file_is_refused_by_what_it_wants(tmp_path, content, wanted):
    write_pth(tmp_path / "evil.pth", {}, content)
    with pytest.raises(MedvqaError, match=rf"evil\.pth: refused: it asks for {wanted}"):
        open_torch_file(tmp_path / "evil.pth")


def test_a_pth_file_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    write_pth(path, TENSORS)
    whole = path.read_bytes()
    huge = pickled(TENSORS).replace(b"J" + struct.pack("<i", 50), b"J" + struct.pack("<i", 2**30))
    write_pth(path, TENSORS, huge)
    with pytest.raises(MedvqaError, match="truncated: b needs"):
        open_torch_file(path)
    path.write_bytes(whole[: whole.index(TENSORS["b"].tobytes()) + 40])
    with pytest.raises(MedvqaError, match="truncated: b needs 200 bytes in storage 1, of which the file has 40"):
        open_torch_file(path)
    write_pth(path, TENSORS, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(MedvqaError, match="compressed, which PyTorch never does"):
        open_torch_file(path)


def stream(tensors):
    """The older form of a .pth file: magic number, protocol, system, content, keys, then the storages."""
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    system = b"\x80\x02}(" + text("little_endian") + b"\x88u."
    keys = b"\x80\x02](" + b"".join(text(str(key)) for key in range(len(tensors))) + b"e."
    storages = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in tensors.values())
    return magic + b"\x80\x02M\xe9\x03." + system + pickled(tensors) + keys + storages


def test_the_older_form_of_a_pth_file_is_read(tmp_path):
    (tmp_path / "a.pth").write_bytes(stream(TENSORS))
    found = open_torch_file(tmp_path / "a.pth")
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name].bits(), array)


@pytest.mark.parametrize("form", ["zip", "stream", "safetensors"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_any_damage_is_read_or_refused_by_its_name(tmp_path, form, data):
    path = tmp_path / form
    if form == "stream":
        whole = stream(TENSORS)
    else:
        (write_pth if form == "zip" else save_weights)(path, TENSORS)
        whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=8)) + whole[start + data.draw(st.integers(0, 8)) :])
    said = str(path)
    try:
        found = open_safetensors(path)[0] if form == "safetensors" else open_torch_file(path)
        for tensor in found.values():
            tensor.bits()
    except MedvqaError as error:
        said = str(error)
    assert str(path) in said


def test_a_name_in_an_archive_that_is_no_text_is_damage(tmp_path):
    path = tmp_path / "a.pth"
    write_pth(path, TENSORS)
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    flagged = bytearray(whole)
    flagged[directory + 9] |= 8  # names in UTF-8
    flagged[directory + 46] = 0xFF
    path.write_bytes(flagged)
    with pytest.raises(MedvqaError, match=r"a\.pth: damaged or truncated"):
        open_torch_file(path)


def test_the_tables_cover_a_resnet34_whole(tmp_path):
    model = paddle.vision.models.resnet34(num_classes=5)
    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal(tensor.shape).astype("float32") for name, tensor in model.state_dict().items()}
    theirs = {
        name.replace("._mean", ".running_mean").replace("._variance", ".running_var"): array.T
        if name == "fc.weight"
        else array
        for name, array in state.items()
    } | {"bn1.num_batches_tracked": np.array(3)}
    save_weights(tmp_path / "resnet34.safetensors", theirs)
    plan = plan_conversion(open_source(tmp_path / "resnet34.safetensors"))
    assert plan.format == "resnet34"
    assert set(plan.dropped) == {"bn1.num_batches_tracked"}
    for name, array in state.items():
        np.testing.assert_array_equal(plan.parts["resnet34"][name].bits(), array)
    assert resnet34.recognises(plan.source)


def test_what_lavis_names_otherwise_gives_the_same_model(t5):
    """The vision part and Q-Former of the fixture under LAVIS's names make the same tensors."""
    tensors = {name: tensor.bits() for name, tensor in open_safetensors(t5 / "model.safetensors")[0].items()}
    ours = plan_conversion(open_source(t5))
    theirs = {}
    for mine, his in (
        ("query_tokens", "query_tokens"),
        ("vision_model.post_layernorm", "ln_vision"),
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("language_projection", "t5_proj"),
        ("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm"),
    ):
        theirs |= {his + name.removeprefix(mine): array for name, array in tensors.items() if name.startswith(mine)}
    inside = {
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "self_attn.projection": "attn.proj",
        "self_attn.qkv": "attn.qkv",
    }
    for name, array in tensors.items():
        if name.startswith("vision_model.encoder.layers."):
            new = name.replace("vision_model.encoder.layers.", "visual_encoder.blocks.")
            for mine, his in inside.items():
                new = new.replace(mine, his)
            if new.endswith("qkv.bias"):
                q, _, v = np.split(array, 3)
                theirs |= {new.replace("qkv.bias", "q_bias"): q, new.replace("qkv.bias", "v_bias"): v}
            else:
                theirs[new] = array
        elif name.startswith("qformer.encoder."):
            theirs["Qformer.bert" + name.removeprefix("qformer").replace("attention.attention.", "attention.self.")] = (
                array
            )
    file = t5 / "lavis.safetensors"
    save_weights(file, theirs)
    plan = plan_conversion(open_source(file))
    assert plan.format == "lavis"
    for part in ("vision", "qformer", "projection"):
        assert plan.parts[part].keys() == ours.parts[part].keys()
        for name, tensor in ours.parts[part].items():
            expected = tensor.bits()
            if name.endswith("qkv.bias"):
                expected[48:96] = 0  # EVA's keys have no bias
            np.testing.assert_array_equal(plan.parts[part][name].bits(), expected)
    assert lavis.log_scale(np.array(0.07, "float32")) == pytest.approx(-np.log(0.07))


def test_tiny_is_a_folder_in_our_format_and_its_config_is_its_preset(tmp_path):
    tiny = PRESETS["tiny"]
    made = convert(open_source(tiny.folder), tmp_path / "again")
    assert (made.config.vision, made.config.qformer, made.config.language) == (tiny.vision, tiny.qformer, tiny.language)
    # The file of `tiny` stays as it is when configs get new fields: runs that started from it stay fresh.
    assert read_folder_config(tmp_path / "again") == read_folder_config(tiny.folder)
    for path in (tmp_path / "again").iterdir():
        assert path.name == CONFIG or path.read_bytes() == (tiny.folder / path.name).read_bytes(), path.name


def test_weights_of_other_sizes_than_the_preset_are_refused_with_the_sizes(tmp_path):
    tiny = PRESETS["tiny"]
    convert(open_source(tiny.folder), tmp_path / "w")
    wrong = replace(find_preset("tiny", tmp_path / "w"), vision=replace(tiny.vision, layers=5))
    with pytest.raises(MedvqaError, match="vision: layers is 3 in the folder, 5 in the preset"):
        load_pretrained(wrong)
    larger = replace(find_preset("tiny", tmp_path / "w"), vision=replace(tiny.vision, image_size=160))
    model, _ = load_pretrained(larger)
    assert model.vision.positions.shape == [1, 101, 128]
    assert FolderConfig().parts == ()


def vision_of(patches, **changes):
    tiny = PRESETS["tiny"].vision
    return replace(tiny, image_size=math.isqrt(patches) * tiny.patch_size, **changes)


@pytest.mark.parametrize(("smaller", "larger"), [(9, 36), (36, 9)])
def test_positions_of_timm_are_resized_as_pillow_resizes_pictures(smaller, larger):
    grid = np.random.default_rng(0).standard_normal((1, 3 + smaller, 8)).astype("float32")
    resized = resize_positions(grid, vision_of(larger, class_tokens=3, antialias=True))
    np.testing.assert_array_equal(resized[:, :3], grid[:, :3])
    old, new = math.isqrt(smaller), math.isqrt(larger)
    picture = Image.fromarray(grid[0, 3:, 5].reshape(old, old)).resize((new, new), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resized[0, 3:, 5].reshape(new, new), np.asarray(picture), atol=1e-6)


def test_positions_are_resized_smoothly_and_the_class_token_keeps_its_own():
    positions = np.random.default_rng(0).standard_normal((1, 17, 8)).astype("float32")
    np.testing.assert_allclose(resize_positions(positions, vision_of(16)), positions, atol=1e-6)
    flat = np.concatenate([positions[:, :1], np.full((1, 16, 8), 3.0, "float32")], axis=1)
    larger = resize_positions(flat, vision_of(49))
    np.testing.assert_array_equal(larger[:, 0], positions[:, 0])
    np.testing.assert_allclose(larger[:, 1:], 3.0, atol=1e-5)


def test_a_slope_keeps_its_direction_and_its_height_when_positions_are_resized():
    """Away from the edges, point p of n is at (p + 0.5) / n; the kernel is up to 0.05 of a step off a straight line."""
    down, across = np.mgrid[:8, :8].astype("float32")
    grid = (10 * down + across).reshape(1, 64, 1)
    resized = resize_positions(np.concatenate([np.zeros((1, 1, 1), "float32"), grid], axis=1), vision_of(256))
    at = (np.arange(16) + 0.5) / 2 - 0.5
    expected = 10 * at[:, None] + at
    np.testing.assert_allclose(resized[0, 1:, 0].reshape(16, 16)[4:-4, 4:-4], expected[4:-4, 4:-4], atol=0.05 * 11)


def test_recomputing_changes_neither_output_nor_gradient():
    config = replace(PRESETS["tiny"].vision, image_size=32, width=32, heads=2, mlp_width=48, stem="linear")
    plain, again = VisionTransformer(config), VisionTransformer(replace(config, recompute=True))
    again.set_state_dict(plain.state_dict())
    pixels = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype("float32"))
    gradients = []
    for model in (plain, again):
        model.train()
        x = pixels.clone()
        x.stop_gradient = False
        out = model(x)
        out.square().sum().backward()
        gradients.append((out.numpy(), model.layers[0].qkv.weight.grad.numpy()))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_drop_path_drops_whole_pictures_in_training_alone():
    config = replace(
        PRESETS["tiny"].vision, image_size=32, width=32, heads=2, mlp_width=48, stem="linear", drop_path=0.9
    )
    model = VisionTransformer(config)
    assert [layer.drop_path.rate for layer in model.layers] == pytest.approx([0, 0.45, 0.9])
    layer, x = model.layers[-1], paddle.randn([200, 5, 32])
    layer.train()
    change_of = (layer._skipped(x) / x).numpy()
    assert set(np.unique(np.round(change_of, 3))) == {0.0, 10.0}
    assert (change_of.reshape(200, -1).min(1) == change_of.reshape(200, -1).max(1)).mean() > 0.5
    layer.eval()
    np.testing.assert_array_equal(layer._skipped(x), x)


def test_a_hub_name_without_a_network_fails_soon_and_says_what_to_provide(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "_SECONDS", 0.05)
    forever = threading.Event()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: forever.wait())
    with pytest.raises(MedvqaError, match=r"some/model: no such folder(.|\n)*\(TimeoutError\)") as caught:
        hub.find_source("some/model")
    forever.set()
    assert "pass that folder" in str(caught.value.remedy)


def test_a_hub_name_is_fetched_in_one_format_where_there_is_a_network(monkeypatch, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    files = [SimpleNamespace(rfilename=name) for name in ("model.safetensors", "pytorch_model.bin")]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=files))
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **wanted: asked.update(wanted) or str(tmp_path)
    )
    assert hub.find_source("some/model") == tmp_path
    assert asked["ignore_patterns"] == ["*.bin"]
    assert "vocab.txt" in asked["allow_patterns"]
    assert hub.find_source(str(tmp_path)) == tmp_path
    assert hub.find_source("no/such/folder") == Path("no/such/folder")


def test_what_verify_cannot_run_is_said_and_is_no_fault_of_the_program(t5):
    config = json.loads((t5 / "config.json").read_text())
    tensors = open_safetensors(t5 / "model.safetensors")[0]
    language = {name: tensor for name, tensor in tensors.items() if name.startswith("language_model.")}
    alone = t5 / "alone"
    alone.mkdir()
    save_weights(
        alone / "model.safetensors",
        {name.removeprefix("language_model."): tensor.bits() for name, tensor in language.items()},
    )
    (alone / "config.json").write_text(json.dumps(config["text_config"]))
    shutil.copy(t5 / "expected.safetensors", alone)
    with pytest.raises(MedvqaError, match=r"\(t5\) is not a BLIP-2"):
        verify(alone)
    convert(open_source(t5), t5 / "ours")
    shutil.copy(t5 / "expected.safetensors", t5 / "ours")
    assert all(row.passed for row in verify(t5 / "ours"))


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("vision_config", "num_attention_heads", 5, "which does not divide the width 48"),
        ("vision_config", "hidden_act", "maxout", "not one of"),
        ("qformer_config", "num_attention_heads", 3, "which does not divide the width 40"),
        ("text_config", "dense_act_fn", "maxout", "the activation is 'maxout', not one of"),
        ("text_config", "d_kv", 0, "not a number from 1 on"),
        ("vision_config", "image_size", 10**6, "not a number from 1 on to 16384"),
    ],
)
def test_sizes_that_no_model_has_name_file_and_field(t5, part, field, value, message):
    config = json.loads((t5 / "config.json").read_text())
    config[part][field] = value
    (t5 / "config.json").write_text(json.dumps(config))
    with pytest.raises(MedvqaError, match=rf"config\.json, {part}: ({field} is (.|\n)*)?{message}"):
        plan_conversion(open_source(t5))


@pytest.mark.parametrize("part", ["vision_config", "qformer_config"])
def test_more_layers_than_there_are_tensors_are_refused_before_any_is_built(t5, part):
    config = json.loads((t5 / "config.json").read_text())
    config[part]["num_hidden_layers"] = 10**9
    (t5 / "config.json").write_text(json.dumps(config))
    with pytest.raises(MedvqaError, match=r"\d+ layers in its config, but only \d+ tensors"):
        plan_conversion(open_source(t5))
