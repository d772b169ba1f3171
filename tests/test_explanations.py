"""Heat maps of any model, and texts that name nothing but what a model states."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_models import GLM

from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, OpenQuestion, learn_implications
from imageclef_vqa.editions.facts import Fact, facts_in
from imageclef_vqa.explanations import METHODS as NAMES
from imageclef_vqa.explanations.maps import METHODS, dimmed, grid_side, hidden_log_probs, hide
from imageclef_vqa.explanations.picture import draw_over, place_of_peak, png, region_box, small_png
from imageclef_vqa.explanations.relevance import of_patches, trace_answer
from imageclef_vqa.explanations.statements import Statement, asks_about_frame, contradicted, image_values, values_of
from imageclef_vqa.explanations.text import explain_in_words
from imageclef_vqa.explanations.view import field_of_view, shares
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import EfficientNetConfig, QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import Preset

T5 = T5Config(vocab_size=60, d_model=24, d_kv=8, d_ff=16, num_layers=2, num_decoder_layers=2, num_heads=3)
VIT = VisionConfig(image_size=32, patch_size=8, width=16, layers=2, heads=2, mlp_width=16)
LITE = EfficientNetConfig(image_size=72, width_factor=0.1, depth_factor=0.1)


def small_model(vision=VIT, language=T5, seed=0, **changes) -> Blip2:
    paddle.seed(seed)
    qformer = QFormerConfig(
        queries=5, width=16, layers=3, heads=2, mlp_width=16, vision_width=vision.width, vocabulary=60, positions=16
    )
    model = Blip2(Preset(name="small", vision=vision, qformer=qformer, language=language))
    rng = np.random.default_rng(seed)
    for tensor in model.parameters():
        tensor.set_value(rng.normal(0, 0.3, tensor.shape).astype("float32"))
    for name, value in changes.items():
        setattr(model, name, value)
    model.eval()
    return model


def asked(model, n=2, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, [n, model.vision.config.image_size, model.vision.config.image_size, 3], "uint8")
    question, answer = (paddle.to_tensor(rng.integers(2, 50, [n, length])) for length in (4, 3))
    question[0, -1] = answer[-1, -1] = 0  # padding
    return pixels, question, answer


MODELS = {
    "ViT and T5": {},
    "ViT and T5, prefix shared": {"share_prefix": True},
    "ViT and T5, tokens before the image": {"before_image": [7, 9]},
    "ViT and GLM": {"language": GLM},
    "EfficientNet and T5": {"vision": LITE},
}


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request):
    return small_model(**MODELS[request.param])


@pytest.mark.parametrize("method", METHODS)
def test_a_map_covers_the_picture_with_values_from_0_to_1(model, method):
    side = grid_side(model)
    maps = METHODS[method](model, *asked(model))
    assert maps.shape == (2, side, side)
    assert maps.max(axis=(1, 2)) == pytest.approx([1, 1])
    assert maps.min() >= 0
    assert maps.std() > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_a_pair_does_not_depend_on_the_other_pairs(model, method):
    pixels, question, answer = asked(model)
    both = METHODS[method](model, pixels, question, answer)
    for n in range(2):
        alone = METHODS[method](model, pixels[n : n + 1], question[n : n + 1], answer[n : n + 1])
        assert alone[0] == pytest.approx(both[n], abs=2e-4)


def test_padding_an_answer_changes_no_map(model):
    pixels, question, answer = asked(model)
    longer = paddle.concat([answer, paddle.zeros([2, 2], dtype="int64")], axis=1)
    for method in ("combined", "gradient", "rollout"):
        own = METHODS[method](model, pixels, question, answer)
        assert METHODS[method](model, pixels, question, longer) == pytest.approx(own, abs=2e-4)


def test_rollout_shares_what_an_answer_has_among_all_tokens():
    model = small_model()
    trace = trace_answer(model, *asked(model, n=1))
    everywhere = [np.full([1, *each.weights.shape[-2:]], 1 / each.weights.shape[-1]) for each in trace.attentions]
    relevance = of_patches(trace, everywhere, keep=0.5, add=0.5)
    assert (relevance >= 0).all()
    assert relevance.sum() <= trace.answered.sum() + 1e-5
    assert relevance[0] == pytest.approx([relevance[0].mean()] * trace.patches)  # uniform attention prefers no patch


def test_gradients_are_those_of_the_answer_that_is_given():
    model = small_model()
    pixels, question, answer = asked(model, n=1)
    other = (answer + 1) % 50
    one, two = (METHODS["gradient"](model, pixels, question, each) for each in (answer, other))
    assert np.abs(one - two).max() > 0.01
    one, two = (METHODS["rollout"](model, pixels, question, each) for each in (answer[:, :1], other[:, :1]))
    assert one == pytest.approx(two, abs=1e-5)  # the first token of an answer is read by none


def test_every_attention_of_a_model_takes_part(model):
    trace = trace_answer(model, *asked(model))
    weights = [attention.weights for attention in trace.attentions]
    slopes = paddle.grad([trace.log_odds.sum()], weights, allow_unused=True)
    # Where an answer reads each layer's keys, nothing reads what the last layer makes of the prefix.
    unread = model.language.answer_reads == ("both",)
    assert sum(slope is None for slope in slopes) == unread
    assert all(float(slope.abs().sum()) > 0 for slope in slopes if slope is not None)
    layers = len(model.vision.layers) if model.vision.attends else 0
    reads = sum(1 + (layer.cross_attention is not None) for layer in model.qformer.layers)
    encoder = 2 * (1 + model.share_prefix)  # layers; with a shared prefix, visual tokens and questions read apart
    assert len(weights) == layers + reads + encoder + 2 * len(model.language.answer_reads)


def test_maps_leave_the_model_as_it_was():
    model = small_model()
    pixels, question, answer = asked(model)
    METHODS["gradient"](model, pixels, question, answer)
    assert all(tensor.grad is None for tensor in model.parameters())
    frozen = small_model()
    for tensor in frozen.parameters():
        tensor.stop_gradient = True
    expected = METHODS["gradient"](model, pixels, question, answer)
    assert METHODS["gradient"](frozen, pixels, question, answer) == pytest.approx(expected, abs=1e-5)


def test_occlusion_finds_the_cell_that_carries_an_answer():
    model = small_model()
    _, question, answer = asked(model, n=1)
    image = np.full([32, 32, 3], 90, "uint8")
    image[16:24, 0:8] = 250  # the only cell that differs from the others
    heat = METHODS["occlusion"](model, image[None], question, answer)[0]
    hidden = np.zeros([2, 4, 4], bool)
    hidden[1, 2, 0] = True
    plain, without = hidden_log_probs(model, image, hidden, question[0], answer[0])
    near = {(row, column) for row in (1, 2, 3) for column in (0, 1)}
    if without < plain:
        assert {tuple(cell) for cell in np.argwhere(heat == heat.max()).tolist()} <= near
    assert np.abs(heat[0, 3]) <= heat.max()


def test_a_combined_map_is_the_mean_of_its_parts_with_equal_sums():
    model = small_model()
    own, one, two = (METHODS[name](model, *asked(model)) for name in ("combined", "gradient", "rollout"))
    mean = sum(each / each.sum(axis=(1, 2), keepdims=True) for each in (one, two))
    assert own == pytest.approx(mean / mean.max(axis=(1, 2), keepdims=True), abs=1e-5)


def endoscopy(side=90):
    """A picture with a dark frame and text, a recorder's box, and a round view with a dark middle; and that view."""
    row, column = np.mgrid[:side, :side] / side - 0.5
    picture = np.zeros([side, side, 3], "uint8")
    view = np.hypot(row, column) < 0.4
    picture[view] = (190, 90, 70)
    picture[np.hypot(row, column) < 0.1] = (9, 6, 5)
    box = (row > 0.2) & (column < -0.15)
    picture[box] = (20, 160, 140)
    picture[2:5, 2:30:3] = 255
    return picture, view & ~box


def test_the_field_of_view_is_what_the_endoscope_sees():
    picture, view = endoscopy()
    assert (field_of_view(picture) == view).mean() > 0.98
    assert field_of_view(picture)[45, 45], "a dark middle is seen, too"


@pytest.mark.parametrize("grey", [0, 20, 200])
def test_where_there_is_no_frame_all_is_seen(grey):
    assert field_of_view(np.full([40, 30, 3], grey, "uint8")).all()


@given(st.integers(3, 40), st.integers(3, 40), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_shares_of_cells_are_those_of_their_pixels(height, width, rows, columns, seed):
    seen = np.random.default_rng(seed).random([height, width]) < 0.5
    found = shares(seen, rows, columns)
    of = [np.arange(size) * cells // size for size, cells in ((height, rows), (width, columns))]
    for row, column in np.ndindex(rows, columns):
        assert found[row, column] == pytest.approx(seen[of[0] == row][:, of[1] == column].mean(), abs=1e-6)


@given(st.integers(0, 500))
def test_a_dimmed_map_has_its_peak_in_the_view_and_keeps_what_is_below_half_of_it(seed):
    picture, view = endoscopy()
    heat = np.random.default_rng(seed).random([1, 9, 9]).astype("float32") + 0.01
    inside = shares(view, 9, 9)
    heat[0] *= np.where(inside > 0.5, 1, 3)  # the frame carries most
    (shown,), (around,) = dimmed(heat, picture)
    assert inside.ravel()[shown.argmax()] > 0
    assert shown.max() == pytest.approx(1)
    assert (shown[inside == 0] <= 0.5 + 1e-6).all()
    assert around == pytest.approx(1 - (heat[0] * shares(field_of_view(picture), 9, 9)).sum() / heat.sum(), abs=1e-5)
    low = (heat[0] < heat[0][inside > 0.99].max() / 2) & (inside == 0)
    top = (heat[0] * shares(field_of_view(picture), 9, 9)).max()
    assert shown[low] == pytest.approx(heat[0][low] / top, abs=1e-5)


def test_only_questions_about_the_frame_are_about_it():
    assert [each.id for each in QUESTIONS if asks_about_frame(each.text)] == [3, 4]
    assert asks_about_frame("Does the image contain any Text?")
    assert asks_about_frame("Are textual labels or artefacts visible?")
    for other in ("Where is the polyp?", "What is the texture of the mucosa?", "In this context, what is shown?"):
        assert not asks_about_frame(other)


def test_hidden_cells_have_the_mean_colour_and_the_others_stay():
    image = np.random.default_rng(0).integers(0, 256, [10, 10, 3], "uint8")
    hidden = np.zeros([1, 3, 3], bool)
    hidden[0, 2, 0] = True
    view = hide(image, hidden)[0]
    assert (view[7:, :4] == image.mean(axis=(0, 1)).round()).all()  # rows and columns 0 to 3, 4 to 6, 7 to 9
    assert (view[:7] == image[:7]).all()
    assert (view[:, 4:] == image[:, 4:]).all()


def test_the_names_of_the_methods_are_known_without_paddle():
    assert tuple(METHODS) == NAMES


HEATS = st.integers(2, 9).flatmap(
    lambda side: st.lists(st.floats(0, 1, width=32), min_size=side * side, max_size=side * side).map(
        lambda values: np.array(values, "float32").reshape(side, side)
    )
)


@given(HEATS, st.integers(1, 3000), st.integers(1, 3000))
def test_a_box_is_inside_its_picture(heat, width, height):
    x1, y1, x2, y2 = region_box(heat, width, height)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height


def test_a_box_is_around_the_peak_and_what_is_joined_to_it():
    heat = np.zeros([4, 4])
    heat[1, 2], heat[2, 2], heat[3, 0] = 1.0, 0.6, 0.9  # the last one is apart
    assert region_box(heat, 400, 200) == (200, 50, 300, 150)


@pytest.mark.parametrize(
    ("row", "column", "place"), [(0, 0, "upper-left"), (7, 4, "lower-center"), (3, 0, "center-left"), (4, 3, "center")]
)
def test_a_peak_has_the_name_of_its_cell(row, column, place):
    heat = np.zeros([8, 8])
    heat[row, column] = 1
    assert place_of_peak(heat) == place
    known = {answer.lower() for answer in QUESTIONS[10].known}
    assert place in known


@pytest.mark.parametrize("size", [(300, 200), (64, 500), (1, 1), (5000, 40)])
def test_the_map_is_drawn_in_the_shape_of_the_picture(size):
    heat = np.zeros([8, 8], "float32")
    heat[0, 7] = 1
    drawn = draw_over(Image.new("RGB", size, (0, 120, 0)), heat)
    assert drawn.width / drawn.height == pytest.approx(
        min(size[0], 2048) / max(1, round(size[1] * min(1, 2048 / max(size))))
    )
    assert drawn.getpixel((0, drawn.height - 1)) == (0, 120, 0) or min(size) < 8
    assert drawn.getpixel((drawn.width - 1, 0))[0] > 100 or min(size) < 8
    assert png(drawn).startswith(b"\x89PNG")


def test_a_small_map_is_a_picture_of_few_bytes():
    heat = np.random.default_rng(0).random([9, 9]).astype("float32")
    content = small_png(heat)
    assert len(content) < 400


# Texts

ANSWERS = st.sampled_from(QUESTIONS).flatmap(
    lambda question: st.lists(st.sampled_from(question.known), min_size=1, max_size=4, unique=True).map(
        lambda answers: (question, tuple(answers))
    )
)
WORDS = st.sampled_from(
    [
        "upper",
        "left",
        "no",
        "polyp",
        "two",
        "5",
        "mm",
        "pink",
        "-",
        "and",
        ";",
        ".",
        "“",
        "\n",
        "tube",
        "yes",
        "black box",
    ]
)
ODD = st.tuples(st.sampled_from(QUESTIONS), st.lists(WORDS, min_size=1, max_size=4).map(" ".join).map(lambda t: (t,)))
STATED = st.tuples(ANSWERS | ODD, st.floats(0, 1), st.booleans()).map(
    lambda drawn: Statement(drawn[0][0].text, *drawn[0], drawn[0][1], drawn[1], drawn[2])
)


def held(question, answers) -> set[Fact]:
    """What an answer states, told without the code under test."""
    facts = {fact for answer in answers for fact in facts_in(answer)}
    if answers in (("No",), ("0",)):
        return facts | {Fact("finding", f"no {question.about.replace('box', 'box artefact')}")}
    if set(answers) <= {NOT_RELEVANT}:
        return facts
    things = {"polyp": "polyp", "box": "box artefact", "text": "text"}
    about_a_thing = question.about in things and question.topic != "removed"
    return facts | ({Fact("finding", things[question.about])} if about_a_thing else set())


@settings(max_examples=150)
@given(STATED, st.lists(STATED, max_size=12), st.lists(st.tuples(ANSWERS, ANSWERS), max_size=3), st.booleans())
def test_a_text_names_nothing_that_the_facts_do_not_hold(answer, others, pairs, checked):
    labels = [{one.id: given, other.id: then} for (one, given), (other, then) in pairs if one is not other]
    rules = [rule for each in labels for rule in learn_implications([each] * 25 + [{}] * 500)]
    others = [each for each in others if each.question is not answer.question]
    broken = contradicted([answer, *others], rules)
    text = explain_in_words(answer, others, broken, checked=checked)
    stated = set().union(*(held(each.question, each.answers) for each in (answer, *others)))
    assert facts_in(text) <= stated
    assert "\n" not in text
    assert text.count(". ") + 1 >= 2


def stated(question_id, *answers, probability=0.9):
    return Statement(QUESTIONS[question_id].text, QUESTIONS[question_id], answers, answers, probability)


def test_a_text_says_the_answer_what_belongs_to_it_and_what_contradicts_it():
    answer, others = stated(12, "Polyp"), [stated(10, "Upper-left", "Center"), stated(8, "0"), stated(14, "No")]
    agreeing = explain_in_words(answer, others, [], checked=True)
    assert agreeing == (
        "The model answers: polyp; it is fairly sure of this. It also reports: the abnormality is in the upper-left "
        "and center; no polyp; no instrument. Its answers agree with each other."
    )
    (rule,) = contradicted(
        [answer, *others], learn_implications([{12: ("Polyp",), 8: ("1",)}] * 30 + [{8: ("0",)}] * 90)
    )
    text = explain_in_words(answer, others, [rule], checked=True)
    assert "Some of its answers contradict each other: polyp, against: no polyps." in text
    assert "no polyp;" not in text  # what is in doubt is not reported as if it were not


@pytest.mark.parametrize(
    ("question", "sentence", "values"),
    [
        (8, "There are no polyps.", ("0",)),
        (8, "Two polyps are visible.", ("2",)),
        (10, "It lies in the upper-left and the center.", ("Center", "Upper-left")),
        (15, "The landmark is located in the lower-right.", ("Lower-rigth",)),
        (5, "The abnormality is pink and red.", ("Pink", "Red")),
        (12, "The image shows oesophagitis.", ("Oesophagitis",)),
        (12, "There are no abnormalities.", ("No",)),
        (16, "The polyp is between 5 and 10 mm.", ("5-10mm",)),
        (16, "It is smaller than 5mm.", ("< 5mm",)),
        (17, "The polyp is of type Paris is.", ("Paris is",)),
        (0, "A colonoscopy.", ("Colonoscopy",)),
        (4, "No, the image contains no text.", ("No",)),
        (4, "The image contains text.", ("Yes",)),
        (3, "Yes", ("Yes",)),
        (10, "I do not know.", ()),
        (12, "No, the image does not contain a green/black box artefact.", ()),
        (14, "No, the image does not contain any text.", ()),
        (9, "There is 1 finding.", ()),
        (1, "There is 1 polyp.", ()),
        (5, "The polyp is pink.", ("Pink",)),
        (15, "The abnormality is located in the center.", ()),
    ],
)
def test_a_sentence_amounts_to_closed_answers(question, sentence, values):
    assert values_of(QUESTIONS[question], sentence) == values


def test_open_rows_amount_to_the_answers_of_their_classes():
    rows = [
        (OpenQuestion("How many?", 1, ("polyp_count",)), "There is one polyp."),
        (OpenQuestion("What is visible?", 1, ("presence",)), "The z-line is visible."),
        (OpenQuestion("What is visible?", 1, ("presence",)), "The image shows ulcerative colitis."),
        (OpenQuestion("Both?", 2, ("polyp_count", "polyp_size")), "One of 5-10 mm."),
        (OpenQuestion("Is there text?", 1, ("text_presence",)), "Yes"),
        (OpenQuestion("A box?", 1, ("box_artifact_presence",)), "There is no box artefact."),
    ]
    assert image_values(rows) == {8: ("1",), 13: ("Z-line",), 12: ("Ulcerative colitis",), 4: ("Yes",), 3: ("No",)}
