"""Paired comparison, slices and published figures, by hand and beside the libraries that have them."""

import json

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.preprocessing import MultiLabelBinarizer

from imageclef_vqa.errors import DataError, MedvqaError
from imageclef_vqa.evaluation import (
    as_csv,
    as_markdown,
    compare_answers,
    comparison_lines,
    published_file,
    read_published,
    score_answers,
)
from imageclef_vqa.evaluation.compare import mcnemar
from imageclef_vqa.evaluation.metrics import PAIR_METRICS, tabulate
from imageclef_vqa.evaluation.paper import TABLE_3, TABLE_5
from imageclef_vqa.evaluation.slices import batch_of, worst_slices

YES, NO = ("Yes",), ("No",)


@each(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_changed(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_mcnemar_is_exact_for_as_many_pairs_as_there_are():
    assert mcnemar(3300, 3100) == pytest.approx(binomtest(3300, 6400).pvalue)
    assert mcnemar(0, 2000) == 0.0


def answers(rights, question=4):
    """Yes where right, No where wrong; the gold answer is always Yes."""
    return {(f"image{number}", question): YES if right else NO for number, right in enumerate(rights)}


def test_a_comparison_is_paired_and_counts_what_changed_each_way():
    gold = answers([1] * 40)
    base, better = answers([1] * 20 + [0] * 20), answers([1] * 19 + [0] + [1] * 15 + [0] * 5)
    found = compare_answers([("base", base), ("better", better), ("empty", {})], gold)
    (question,) = found.comparisons[0].questions
    assert (question.gained, question.lost, question.difference) == (15, 1, 0.35)
    assert question.p == pytest.approx(binomtest(1, 16).pvalue)
    low, high = question.interval
    # Standard deviation of a paired mean: sqrt((16/40 - 0.35²) / 40) = 0.083.
    assert (low, high) == (pytest.approx(0.35 - 1.96 * 0.083, abs=0.02), pytest.approx(0.35 + 1.96 * 0.083, abs=0.02))
    assert found.comparisons[1].missing == 40
    assert found.comparisons[1].overall.difference == -0.5
    lines = comparison_lines(found, found.comparisons[0])
    assert "B − A is +35.0 points" in lines[0]
    assert ": significant at 95%" in lines[0]
    assert "4 (+35.0)" in lines[1]


def test_the_same_answers_differ_in_nothing():
    gold = answers([1] * 10)
    (same,) = compare_answers([("a", gold), ("b", gold)], gold).comparisons
    assert (same.overall.difference, same.overall.interval, same.questions[0].p_holm) == (0.0, (0.0, 0.0), 1.0)


def test_groups_widen_the_interval_of_a_difference():
    gold, base = answers([1] * 60), answers([0] * 60)
    better = answers([number // 10 % 2 for number in range(60)])
    groups = {f"image{number}": number // 10 for number in range(60)}
    alone = compare_answers([("a", base), ("b", better)], gold).comparisons[0].overall.interval
    together = compare_answers([("a", base), ("b", better)], gold, groups=groups).comparisons[0].overall.interval
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


members = st.sampled_from(["a", "b", "c", "d"])


@settings(deadline=None)
@each(st.lists(st.tuples(st.sets(members), st.sets(members, min_size=1)), min_size=1, max_size=20))
def test_f1_precision_and_recall_per_pair_agree_with_scikit_learn(pairs):
    gold = {(str(number), 5): tuple(pair[1]) for number, pair in enumerate(pairs)}
    given = {(str(number), 5): tuple(pair[0]) for number, pair in enumerate(pairs)}
    score = score_answers(given, gold, resamples=10).overall
    binary = MultiLabelBinarizer(classes=["a", "b", "c", "d"]).fit([])
    one, other = binary.transform([pair[0] for pair in pairs]), binary.transform([pair[1] for pair in pairs])
    for name, function in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        expected = function(other, one, average="samples", zero_division=0)
        assert getattr(score, name) == pytest.approx(expected, abs=1e-6)


def test_every_metric_has_an_interval_around_it():
    gold = {(str(number), q): (("Pink", "Red") if number % 3 else ("White",)) for number in range(60) for q in (5, 6)}
    given = {pair: ("Pink", "Red") if int(pair[0]) % 4 else ("White",) for pair in gold}
    score = score_answers(given, gold, majority=[("Pink", "Red")] * 18, classical=dict.fromkeys(gold, ("White",)))
    for figures in (score.overall, *score.questions):
        assert set(figures.intervals) == {*PAIR_METRICS, "macro_f1", "mcc", "majority", "classical"}
        for name, (low, high) in figures.intervals.items():
            assert low <= getattr(figures, name) <= high, name
            assert high > low or getattr(figures, name) in (0, 1), name


def test_the_classical_baseline_has_no_accuracy_where_it_has_no_answer():
    gold = answers([1, 0, 1]) | answers([1, 1, 1], question=3)
    score = score_answers(gold, gold, classical=answers([1, 1, 0]))
    assert score.question(4).classical == pytest.approx(1 / 3, abs=1e-6)
    assert (score.question(3).classical, score.overall.classical) == (None, None)


def test_slices_are_compared_with_the_same_questions_over_all_images():
    ids = [f"cl8k2{number:020}" for number in range(20)] + [f"cla82{number:020}" for number in range(20)]
    gold = {(image_id, 4): YES for image_id in ids} | {(image_id, 12): ("Polyp",) for image_id in ids[:20]}
    gold |= {(image_id, 12): ("No",) for image_id in ids[20:]}
    given = {pair: answer if pair[0] not in ids[:20] or pair[1] == 12 else NO for pair, answer in gold.items()}
    heights = {image_id: (400, 800, 1000, 1001)[index % 4] for index, image_id in enumerate(ids)}
    score = score_answers(given, gold, heights=heights)
    found = {(each.by, each.name): each for each in score.slices}
    weak = found["batch", "cl8k2"]
    assert (weak.images, weak.exact_set, weak.gap) == (20, 0.5, -0.25)
    assert found["polyps", "present"].gap == -0.25
    assert [found["image height", name].images for name in ("under 500 px", "500 to 1,000 px", "over 1,000 px")] == [
        10,
        20,
        10,
    ]
    assert not any(by == "answer length" for by, _ in found)  # all of one length: nothing to compare
    assert [each.by for each in worst_slices(score.slices)] == ["batch", "polyps"]
    assert weak.gap_interval[0] < -0.25 < weak.gap_interval[1] < 0
    assert weak.p_holm < 0.001


def test_the_more_slices_are_compared_the_more_it_takes_to_be_called_worse():
    ids = [f"cl8k2{number:020}" for number in range(30)] + [f"cla82{number:020}" for number in range(30)]
    gold = {(image_id, 4): YES for image_id in ids}
    given = {
        (image_id, 4): NO if index in (0, 5, 10, 15, 20, 25, 28, 29, 40) else YES for index, image_id in enumerate(ids)
    }
    heights = {image_id: (400, 800, 1200)[index % 3] for index, image_id in enumerate(ids)}
    found = []
    for known in (None, heights):
        slices = score_answers(given, gold, heights=known).slices
        [weak] = [each for each in slices if each.name == "cl8k2"]
        found.append((len(slices), weak.gap, weak.p_holm, bool(worst_slices(slices))))
    (few, gap, p_of_few, called), (many, same_gap, p_of_many, still_called) = found
    assert (few, many, gap) == (2, 5, same_gap)
    assert p_of_many > 1.5 * p_of_few
    assert (called, still_called) == (p_of_few < 0.05, p_of_many < 0.05) == (True, False)


def test_a_batch_is_read_from_official_ids_alone():
    assert batch_of("cl8k2u1pm1dw7083203g1b7yv") == "cl8k2"
    assert batch_of("SMITH_JOHN_1950") is None


def test_the_papers_table_5_as_a_per_question_file_gives_its_global_accuracy():
    found = read_published(published_file("table5"))
    assert round(found.overall.exact_set, 4) == TABLE_5.overall == 0.7396
    assert tuple(question.exact_set for question in found.questions) == TABLE_5.accuracy
    assert (
        tuple(question.exact_set for question in read_published(published_file("table3")).questions) == TABLE_3.accuracy
    )
    content = json.loads(found.model_dump_json(by_alias=True))
    assert content["global"] == {"exact_set": 0.739633, "interval": None}
    assert content["questions"][5]["exact_set"] == 0.1393


def test_published_accuracies_may_be_json_or_name_questions_by_their_text(tmp_path):
    rows = [{"question": "How many instruments are in the image?", "accuracy": 0.5}, {"id": 4, "accuracy": 1}]
    for content in (rows, {"questions": rows}, {"questions": [{"id": 9, "exact_set": 0.5}, {"id": 4, "exact_set": 1}]}):
        (tmp_path / "f.json").write_text(json.dumps(content))
        found = read_published(tmp_path / "f.json")
        assert [(question.id, question.exact_set) for question in found.questions] == [(4, 1.0), (9, 0.5)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("18,0.5", "'18' is not a question"),
        ("4,50", "accuracy is '50'"),
        ("4,nan", "accuracy is 'nan'"),
        ("3,1\n3,1", "twice"),
    ],
)
def test_a_fault_in_published_accuracies_is_named(tmp_path, line, complaint):
    (tmp_path / "f.csv").write_text(f"id,accuracy\n0,0.5\n{line}\n")
    with pytest.raises(DataError, match=complaint):
        read_published(tmp_path / "f.csv")


@pytest.mark.parametrize("content", ["ImageID,QuestionID,Question,Answer\n", "[]", "{", "", "\x00"])
def test_any_other_file_holds_no_published_accuracies(tmp_path, content):
    for name in ("f.csv", "f.json"):
        (tmp_path / name).write_text(content)
        assert read_published(tmp_path / name) is None


def test_a_run_of_all_images_is_not_taken_for_published_figures_whatever_its_size(tmp_path):
    for name in ("run.csv", "run.json"):
        (tmp_path / name).write_bytes(b"ImageID,QuestionID,Question,Answer\n" + b"x" * (2 << 20))
        assert read_published(tmp_path / name) is None


def test_csv_and_markdown_hold_the_scores():
    gold = answers([1, 1, 0, 1])
    score = score_answers(answers([1, 0, 0, 1]), gold)
    rows = as_csv({"val": score}).splitlines()
    assert rows[0].startswith("fold,system,question_id,question,n,exact_set,exact_set_low,exact_set_high")
    assert rows[1].startswith("val,file,4,Is there text?,4,0.75,")
    assert rows[2].startswith("val,file,global,mean of questions,,0.75,")
    assert "| **mean of questions** |" in as_markdown({"": score})
    compared = compare_answers([("a|b", gold), ("b", answers([1, 0, 0, 1]))], gold)
    assert "a|b" in as_csv({"": compared})
    table = as_markdown({"": compared}).splitlines()
    assert "| 4. Is there text? | 1.000 | 0.750 | −25.0 |" in table[4]


def test_without_gold_answers_nothing_is_compared():
    with pytest.raises(MedvqaError, match="no gold answers"):
        compare_answers([("a", {}), ("b", {})], {})


def test_pairs_that_were_not_asked_stay_unknown():
    table = tabulate({}, {("a", 3): YES, ("b", 4): YES}).of("exact_set")
    assert np.isnan(table[0, 4])
    assert table[0, 3] == 0
