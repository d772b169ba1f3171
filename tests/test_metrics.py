import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation import coverage_lines, formatting_line, score_answers, score_fold
from imageclef_vqa.evaluation.formatting_loss import CASE, JOINED, SINGLE, SPELLING, formatting_losses
from imageclef_vqa.evaluation.metrics import (
    PAIR_METRICS,
    class_counts,
    class_labels,
    macro_f1,
    matthews,
    measure,
)
from imageclef_vqa.evaluation.paper import TABLE_3, TABLE_5
from imageclef_vqa.evaluation.uncertainty import Bootstrap, clusters_of, interval95, resampled_means
from imageclef_vqa.pipeline.report import epoch_choice
from imageclef_vqa.training.history import StageHistory
from imageclef_vqa.workspace import Workspace


def measured(given, gold):
    return dict(zip(PAIR_METRICS, measure(given, gold), strict=True))


@pytest.mark.parametrize(
    ("given", "gold", "exact", "ordered", "folded", "first", "precision", "recall", "f1"),
    [
        (("Pink", "Red"), ("Pink", "Red"), 1, 1, 1, 0, 1, 1, 1),
        (("Red", "Pink"), ("Pink", "Red"), 1, 0, 1, 0, 1, 1, 1),
        (("Pink", "Pink"), ("Pink",), 1, 0, 1, 1, 1, 1, 1),
        (("pink",), ("Pink",), 0, 0, 1, 0, 0, 0, 0),
        ((" Pink",), ("Pink",), 1, 1, 1, 1, 1, 1, 1),
        (("Pink",), ("Pink", "Red", "White"), 0, 0, 0, 0, 1, 1 / 3, 1 / 2),
        (("Pink", "Blue"), ("Pink",), 0, 0, 0, 1, 1 / 2, 1, 2 / 3),
        (("Pink; Red",), ("Pink", "Red"), 0, 0, 0, 0, 0, 0, 0),
        (("",), ("Pink",), 0, 0, 0, 0, 0, 0, 0),
        ((), ("Pink",), 0, 0, 0, 0, 0, 0, 0),
        (("Pink",), (), 0, 0, 0, 0, 0, 0, 0),
        ((), (), 1, 1, 1, 1, 1, 1, 1),
    ],
)
def test_every_pair_metric_is_as_computed_by_hand(given, gold, exact, ordered, folded, first, precision, recall, f1):
    expected = (exact, ordered, folded, first, precision, recall, f1)
    assert measured(given, gold) == pytest.approx(dict(zip(PAIR_METRICS, expected, strict=True)))


GOLD = {("a", 0): ("Colonoscopy",), ("b", 0): ("Gastroscopy",), ("a", 5): ("Pink", "Red"), ("c", 5): ("Red",)}


def test_a_missing_pair_is_wrong_an_extra_one_is_ignored_and_both_are_counted():
    score = score_answers(
        {
            ("a", 0): ("Colonoscopy",),
            ("a", 5): ("Red", "Pink"),
            ("c", 5): ("Pink",),
            ("z", 0): ("x",),
            ("a", 1): ("No",),
        },
        GOLD,
    )
    assert (score.missing, score.extra, score.images) == (1, 2, 3)
    assert [(question.id, question.n, question.exact_set) for question in score.questions] == [(0, 2, 0.5), (5, 2, 0.5)]


def test_the_global_figure_is_the_plain_mean_of_the_questions_that_have_gold_answers():
    gold = {("a", 0): ("Colonoscopy",), **{(image, 4): ("Yes",) for image in "abc"}}
    score = score_answers({("a", 0): ("Colonoscopy",)}, gold)
    assert score.overall.exact_set == 0.5  # and not 1 of 4 pairs
    assert score.question(1) is None


def test_the_majority_baseline_answers_each_question_by_its_commonest_answer():
    majority = [("Colonoscopy",)] + [("Red",)] * 17
    score = score_answers({}, GOLD, majority=majority)
    assert (score.overall.majority, score.question(0).majority, score.question(5).majority) == (0.5, 0.5, 0.5)


def test_without_gold_answers_there_is_no_score():
    with pytest.raises(MedvqaError, match="no gold answers"):
        score_answers({}, {})


def test_the_papers_table_5_has_the_papers_global_figure():
    assert sum(TABLE_5.accuracy) / 18 == pytest.approx(TABLE_5.overall, abs=5e-5)
    assert sum(TABLE_3.accuracy) / 18 == pytest.approx(0.9297, abs=5e-5)  # the text claims 0.9305


classes = st.sampled_from([("a",), ("b",), ("a", "b"), ()])


@each(st.lists(st.tuples(classes, classes), min_size=1, max_size=30))
def test_macro_f1_and_mcc_agree_with_scikit_learn(pairs):
    given, gold = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    counts = class_counts(*class_labels(given, gold), np.ones((len(pairs), 1)))
    one, other = [str(sorted(answers)) for answers in given], [str(sorted(answers)) for answers in gold]
    assert macro_f1(counts)[0] == pytest.approx(f1_score(other, one, average="macro", zero_division=0))
    if len({*one, *other}) > 1:
        assert matthews(counts)[0] == pytest.approx(matthews_corrcoef(other, one))


def test_macro_f1_and_mcc_of_a_score_agree_with_scikit_learn_and_lie_in_their_intervals():
    random = np.random.default_rng(0)
    given, gold = (
        random.choice(["Yes", "No", "Not relevant"], size=300, p=p) for p in ([0.6, 0.3, 0.1], [0.9, 0.1, 0])
    )
    of_images = [{(f"i{at}", 4): (answer,) for at, answer in enumerate(answers)} for answers in (given, gold)]
    score = score_answers(*of_images, groups={f"i{at}": at // 3 for at in range(300)}).question(4)
    assert score.macro_f1 == pytest.approx(f1_score(gold, given, average="macro", zero_division=0), abs=1e-6)
    assert score.mcc == pytest.approx(matthews_corrcoef(gold, given), abs=1e-6)
    for metric in ("macro_f1", "mcc"):
        low, high = score.intervals[metric]
        assert low < getattr(score, metric) < high < low + 0.3


@each(st.integers(0, 2**32 - 1))
def test_sums_of_resamples_weigh_each_cluster_by_how_often_it_is_drawn(seed):
    random = np.random.default_rng(seed)
    bootstrap = Bootstrap(np.sort(random.integers(5, size=12)) % 5, seed, resamples=20)
    tables = (random.integers(0, 2, (12, 4)), random.integers(0, 2**25, (12, 4)), random.random((12, 4)))
    for table in (*tables, np.concatenate(tables, axis=1)):
        numbers = range(bootstrap.num_clusters)
        per_cluster = np.array([table[bootstrap.clusters == each].sum(axis=0) for each in numbers])
        assert bootstrap.sums(table) == pytest.approx(bootstrap.counts @ per_cluster, rel=1e-14)


def test_each_formatting_fault_is_named_with_its_loss():
    yes = (("Yes",), ("Yes",))
    assert losses(4, [(("yes",), ("Yes",)), yes]) == [(CASE, 1, 0.5)]
    assert losses(16, [(("<5mm",), ("< 5mm",))]) == [(SPELLING, 1, 1.0)]
    assert losses(15, [(("Lower-right",), ("Lower-rigth",))]) == [(SPELLING, 1, 1.0)]
    assert losses(5, [(("Pink, Red",), ("Red", "Pink")), (("['Pink', 'Red']",), ("Red", "Pink"))]) == [(JOINED, 2, 1.0)]
    assert losses(5, [(("Pink",), ("Red", "Pink")), (("Blue",), ("Red", "Pink"))]) == [(SINGLE, 1, 0.5)]


def test_one_answer_for_a_set_is_no_formatting_fault_where_sets_are_given_too():
    assert losses(5, [(("Pink",), ("Red", "Pink")), (("Red", "Pink"), ("Red", "Pink"))]) == []


def test_another_number_size_or_location_is_no_formatting_fault():
    assert losses(16, [(("< 5mm",), (">5mm",)), (("11-20mm",), ("5-10mm",))]) == []
    assert losses(7, [(("12",), ("21",)), (("1",), ("2",))]) == []
    assert losses(10, [(("Upper-left",), ("Lower-left",))]) == []


def losses(question_id, pairs):
    return [(loss.reason, loss.pairs, loss.points) for loss in formatting_losses(question_id, Counter(pairs))]


def test_the_formatting_loss_is_given_in_points_of_the_mean():
    gold = {(image, question): ("Pink", "Red") for image in "ab" for question in (5, 6)}
    score = score_answers({pair: ("Pink",) if pair[1] == 5 else ("Pink", "Red") for pair in gold}, gold)
    expected = "Up to 50.0 points are lost to formatting: question 5 (one answer where a set is scored) 50.0."
    assert formatting_line(score) == expected
    assert "No points are lost" in formatting_line(score_answers(gold, gold))


def test_the_bootstrap_draws_whole_clusters():
    table = np.array([[1.0]] * 50 + [[0.0]] * 50)
    alone = resampled_means(table, clusters_of([str(i) for i in range(100)], None), resamples=2000)
    groups = {str(i): i // 10 for i in range(100)}
    together = resampled_means(table, clusters_of([str(i) for i in range(100)], groups), resamples=2000)
    # Standard deviation of a mean of n draws from {0, 1} is 0.5 / sqrt(n): n is 100 images, or 10 clusters.
    assert alone.std() == pytest.approx(0.05, rel=0.1)
    assert together.std() == pytest.approx(0.158, rel=0.1)
    assert set(np.round(np.unique(together), 6)) <= {step / 10 for step in range(11)}


def test_the_bootstrap_weighs_clusters_by_their_images_and_leaves_gaps_out():
    table = np.array([[1.0, np.nan], [1.0, 0.0], [0.0, np.nan]])
    means = resampled_means(table, np.array([0, 0, 1]), resamples=500)
    assert set(np.round(np.unique(means[:, 0]), 6)) == {0.0, 0.666667, 1.0}
    assert set(means[:, 1][~np.isnan(means[:, 1])]) == {0.0}
    assert np.isnan(means[:, 1]).mean() == pytest.approx(0.25, abs=0.06)  # both draws fell on the cluster without gold
    assert interval95(means[:, 1]) == (0.0, 0.0)


def test_an_interval_holds_its_figure_and_the_same_seed_gives_the_same_one():
    gold = {(str(i), 4): ("Yes",) for i in range(40)}
    given = {pair: ("Yes",) if int(pair[0]) % 4 else ("No",) for pair in gold}
    one, other = score_answers(given, gold), score_answers(given, gold)
    low, high = one.overall.interval
    assert low < 0.75 < high
    assert one == other
    assert one.clusters is None
    assert score_answers(given, gold, groups={str(i): 0 for i in range(40)}).overall.interval is None


def test_a_score_as_json_leads_with_the_global_figure():
    majority = [("Colonoscopy",)] * 18
    fold = score_fold("routed", GOLD, {}, GOLD, majority=majority, groups=None)
    content = json.loads(json.dumps(fold.model_dump(mode="json", by_alias=True)))
    assert content["global"]["exact_set"] == 1.0
    assert content["blip2"]["global"]["exact_set"] == 0.0
    assert content["questions"][0]["id"] == 0
    assert content["questions"][1]["interval"] == pytest.approx([2 / (2 + 1.96**2), 1.0], abs=1e-4)  # 2 of 2


def test_a_fold_that_chose_the_epoch_says_so_and_what_the_last_epoch_has(monkeypatch, tmp_path):
    history = StageHistory(
        2, "tiny", True, 8, 8, 216, 0, best=0.871, best_epoch=6, last=0.868, chance=None, seconds=1, changed=0
    )
    monkeypatch.setattr("imageclef_vqa.pipeline.report.read_history", lambda _folder: history)
    choice = epoch_choice(Workspace.at(tmp_path))
    score = score_fold("blip2", GOLD, None, GOLD, majority=None, groups=None, epoch_choice=choice)
    [line] = [line for line in coverage_lines(score) if "epoch" in line]
    assert "chosen on these images: epoch 6 of 8 has 0.871 in training's validation, the last one 0.868" in line
    unchosen = replace(history, best=None, best_epoch=None, last=None)
    monkeypatch.setattr("imageclef_vqa.pipeline.report.read_history", lambda _folder: unchosen)
    assert epoch_choice(Workspace.at(tmp_path)) is None


def test_where_no_mistake_was_seen_the_interval_says_how_many_may_be_hidden():
    gold = {(str(number), question): ("Yes",) for number in range(60) for question in (3, 4)}
    given = {pair: ("Yes",) if pair[1] == 4 else ("No",) for pair in gold}
    score = score_answers(given, gold, groups={str(number): number // 2 for number in range(60)})
    assert score.clusters == 30
    low, high = score.question(4).interval
    assert 30 / (30 + 1.96**2) < low < 60 / (60 + 1.96**2)  # Wilson's bounds for 30 and for 60 independent images
    assert high == 1.0
    assert score.question(3).interval == pytest.approx((0.0, 1 - low), abs=1e-6)
    assert score.question(4).intervals["macro_f1"] == (0.9, 1.0)  # the rule of three, over groups
    one_wrong = score_answers(given | {("0", 4): ("No",)}, gold).question(4)
    assert one_wrong.interval[0] < score_answers(given, gold).question(4).interval[0] < 1.0  # more right, no wider


def test_an_interval_stays_within_what_its_measure_can_be():
    gold = {(str(number), 7): (str(number % 9),) for number in range(27)}
    score = score_answers({pair: ("0",) if pair[0] != "5" else ("5",) for pair in gold}, gold)
    assert score.overall.intervals["macro_f1"][0] >= 0.0
    assert all(-1.0 <= low <= high <= 1.0 for low, high in score.overall.intervals.values())
