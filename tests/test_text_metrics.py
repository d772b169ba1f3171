"""Metrics of sentences: equal to the libraries and to values by hand, and what a score of them holds."""

import math
import random

import numpy as np
import pytest
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from imageclef_vqa.editions import OpenQuestion
from imageclef_vqa.evaluation.text import wordnet
from imageclef_vqa.evaluation.text.compare import compare_sentences
from imageclef_vqa.evaluation.text.metrics import TextMeter, metrics_of, tabulate_text
from imageclef_vqa.evaluation.text.scores import score_sentences

WORDS = (
    *("the", "abnormality", "is", "pink", "red", "and", "white", "located", "in", "upper-left", "5-10mm", ",", "."),
    *("no", "polyps", "polyp", "visible", "Yes", "There"),
)


class Synonyms:
    """A WordNet of two words, in the place of its reader."""

    class Lemma:
        def __init__(self, name):
            self.name = lambda: name

    def synsets(self, word):
        same = {"tube": ["pipe"], "pipe": ["tube", "blow_pipe"]}.get(word, [])
        return [type("Synset", (), {"lemmas": lambda self: [Synonyms.Lemma(name) for name in same]})()]


@pytest.fixture
def no_wordnet(monkeypatch):
    """Whatever this machine has: METEOR without synonyms, and each answer as one sentence."""
    for module in (wordnet, "imageclef_vqa.evaluation.text.metrics"):
        monkeypatch.setattr(f"{getattr(module, '__name__', module)}.find_wordnet", lambda: None)
    monkeypatch.setattr("imageclef_vqa.evaluation.text.metrics.has_punkt", lambda: False)


def random_pairs(count):
    draw = random.Random(0)
    pairs = []
    for _ in range(count):
        gold = [draw.choice(WORDS) for _ in range(draw.randint(1, 20))]
        given = [draw.choice(WORDS) if draw.random() < 0.3 else word for word in gold][: draw.randint(0, 20)]
        pairs.append((" ".join(given), " ".join(gold)))
    return pairs


def overall(pairs):
    given = {("image", row): (own,) for row, (own, _) in enumerate(pairs)}
    gold = {("image", row): (answer,) for row, (_, answer) in enumerate(pairs)}
    table = tabulate_text(given, gold, TextMeter())
    return {name: float(value[0]) for name, value in metrics_of(table.by_image().sum(axis=0)[None]).items()}


def test_all_metrics_equal_those_of_the_libraries_on_500_random_pairs(no_wordnet):
    pairs = random_pairs(500)
    own = overall(pairs)
    given, gold = map(list, zip(*pairs, strict=True))
    assert own["bleu"] == pytest.approx(BLEU(smooth_method="none").corpus_score(given, [gold]).score / 100, abs=5e-5)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    rouge = [scorer.score(answer, text) for text, answer in pairs]
    for name in ("rouge1", "rouge2", "rougeL"):
        assert own[name] == pytest.approx(np.mean([each[name].fmeasure for each in rouge]), abs=5e-5)
    meteor = [
        single_meteor_score(
            word_tokenize(answer, preserve_line=True),
            word_tokenize(text, preserve_line=True),
            wordnet=wordnet.NoWordNet(),
        )
        for text, answer in pairs
    ]
    assert own["meteor"] == pytest.approx(np.mean(meteor), abs=5e-5)
    assert own["exact"] == np.mean([text.lower().strip() == answer.lower().strip() for text, answer in pairs])


def test_all_metrics_equal_values_by_hand(no_wordnet):
    # 6 tokens against 7: matches of 1- to 4-grams 6/6, 4/5, 2/4, 1/3 ("There is 1 polyp" breaks before "visible").
    own = overall([("There is 1 polyp visible .", "There is 1 polyp clearly visible .")])
    precision = math.exp((math.log(6 / 6) + math.log(4 / 5) + math.log(2 / 4) + math.log(1 / 3)) / 4)
    assert own["bleu"] == pytest.approx(math.exp(1 - 7 / 6) * precision, abs=1e-9)
    assert own["rouge1"] == pytest.approx(2 * 1 * (5 / 6) / (1 + 5 / 6), abs=1e-9)  # no full stop: 5 of 5, 5 of 6
    assert own["rouge2"] == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5), abs=1e-9)
    assert own["rougeL"] == pytest.approx(2 * 1 * (5 / 6) / (1 + 5 / 6), abs=1e-9)
    f = 1 * (6 / 7) / (0.9 * 1 + 0.1 * 6 / 7)  # 6 matches in 2 chunks
    assert own["meteor"] == pytest.approx(f * (1 - 0.5 * (2 / 6) ** 3), abs=1e-9)
    assert own["exact"] == 0
    assert overall([(" yes ", "Yes")])["exact"] == 1
    assert own["fact_precision"] == own["fact_recall"] == 1  # one, and a polyp


def test_bleu_is_zero_without_a_match_of_four_words_and_of_an_empty_answer(no_wordnet):
    assert overall([("a polyp", "a polyp")])["bleu"] == 0
    assert {name: value for name, value in overall([("", "a red polyp")]).items() if not math.isnan(value)} == {
        **dict.fromkeys(("bleu", "rouge1", "rouge2", "rougeL", "meteor", "exact"), 0.0),
        **dict.fromkeys(("fact_recall", "colour_recall", "finding_recall"), 0.0),
    }


def test_facts_are_counted_as_sets_over_all_pairs(no_wordnet):
    own = overall(
        [
            ("The polyp is red and pink.", "The polyp is red."),  # 3 given, 2 of them gold, 2 gold
            ("There are no polyps.", "There are 2 polyps."),  # 1 given, 0 right, 2 gold
        ]
    )
    assert own["fact_precision"] == pytest.approx(2 / 4)
    assert own["fact_recall"] == pytest.approx(2 / 4)
    assert (own["colour_precision"], own["colour_recall"]) == (0.5, 1)
    assert own["number_recall"] == 0
    assert math.isnan(own["place_precision"])


def test_meteor_knows_synonyms_if_wordnet_is_there_and_says_so_if_not(monkeypatch):
    for here, synonyms in ((None, False), (Synonyms(), True)):
        monkeypatch.setattr("imageclef_vqa.evaluation.text.metrics.find_wordnet", lambda here=here: here)
        meter = TextMeter()
        assert meter.synonyms is synonyms
        assert (meter.meteor("a tube", "the pipe") > 0) is synonyms


def two_images():
    gold = {("a", 0): ("Yes",), ("a", 1): ("There is 1 polyp.",), ("b", 2): ("No",), ("b", 3): ("It is pink.",)}
    questions = {
        ("a", 0): OpenQuestion("Text?", 1, ("text",)),
        ("a", 1): OpenQuestion("How many?", 2, ("count", "text")),
        ("b", 2): OpenQuestion("Text?", 1, ("text",)),
        ("b", 3): OpenQuestion("Colour?"),
    }
    return gold, questions


def test_a_score_has_classes_complexities_missing_and_extra_answers(no_wordnet):
    gold, questions = two_images()
    given = {("a", 0): ("yes",), ("a", 1): ("There is 1 polyp.",), ("c", 9): ("So.",)}
    score = score_sentences(given, gold, questions, resamples=50)
    assert (score.missing, score.extra, score.images, score.overall.n) == (2, 1, 2, 4)
    assert {name: (own.n, own.exact) for name, own in score.classes.items()} == {"count": (1, 1), "text": (3, 0.666667)}
    assert {name: own.n for name, own in score.complexities.items()} == {"1": 2, "2": 1}
    assert score.overall.exact == 0.5
    assert score.overall.intervals["exact"] == (0, 1)  # whole images are drawn


def test_intervals_draw_groups_of_near_duplicates_together(no_wordnet):
    gold = {(f"i{n}", n): ("A polyp",) for n in range(40)}
    given = {pair: ("A polyp",) if pair[1] % 2 else ("No",) for pair in gold}
    questions = dict.fromkeys(gold, OpenQuestion("What?"))
    single = score_sentences(given, gold, questions)
    grouped = score_sentences(given, gold, questions, groups={f"i{n}": n % 8 for n in range(40)})
    width = [high - low for low, high in (each.overall.intervals["exact"] for each in (single, grouped))]
    assert width[1] > 1.5 * width[0]
    assert (single.clusters, grouped.clusters) == (None, 8)


def test_a_comparison_is_paired_and_tests_each_class(no_wordnet):
    gold = {(f"i{n}", n): ("A polyp",) for n in range(20)}
    questions = dict.fromkeys(gold, OpenQuestion("What?", 1, ("presence",)))
    wrong = dict.fromkeys(gold, ("No",))
    found = compare_sentences([("a", wrong), ("b", gold), ("c", wrong)], gold, questions, resamples=50)
    better, same = found.comparisons
    assert better.overall["exact"].difference == 1
    assert same.overall["exact"].interval == (0, 0)
    assert (better.classes["presence"].gained, better.classes["presence"].p_holm) == (20, pytest.approx(2 / 2**20))
