from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa.editions import contradictions, learn_implications

POLYP = {8: ("1",), 17: ("Paris is",), 16: ("5-10mm",)}
NONE = {8: ("0",), 17: ("Not relevant",), 16: ("Not relevant",)}


def rules(labels):
    return {
        (r.question, r.answer, r.then_question, r.then_answer): (r.held, r.seen) for r in learn_implications(labels)
    }


def test_an_implication_without_exception_is_learnt_with_its_counts():
    found = rules([POLYP] * 30 + [NONE] * 50)
    assert found[8, "0", 17, ("Not relevant",)] == (50, 50)
    assert found[17, "Paris is", 8, ("1",)] == (30, 30)


def test_one_exception_in_fifty_is_too_many_and_one_in_two_hundred_is_not():
    odd = {**NONE, 17: ("Paris is",)}
    assert (8, "0", 17, ("Not relevant",)) not in rules([POLYP] * 50 + [NONE] * 49 + [odd])
    assert rules([POLYP] * 50 + [NONE] * 199 + [odd])[8, "0", 17, ("Not relevant",)] == (199, 200)


def test_few_images_and_nearly_constant_answers_imply_nothing():
    assert rules([POLYP] * 19 + [NONE] * 19) == {}
    text = [
        {0: ("Colonoscopy",) if n % 2 else ("Gastroscopy",), 4: ("Yes",) if n < 149 else ("No",)} for n in range(150)
    ]
    assert rules(text) == {}


def test_the_members_of_a_set_imply_and_whole_sets_are_implied():
    labels = [{14: ("Tube", "Metal clip"), 9: ("2",)}, {14: ("No",), 9: ("0",)}] * 40
    found = rules(labels)
    assert found[14, "Tube", 9, ("2",)] == (40, 40)
    assert found[9, "2", 14, ("Metal clip", "Tube")] == (40, 40)


def test_contradictions_are_listed_and_a_missing_answer_is_none():
    learnt = learn_implications([POLYP] * 30 + [NONE] * 50)
    broken = contradictions({**NONE, 17: ("Paris is",)}, learnt)
    assert "question 8 '0' → question 17 'Not relevant' (50 of 50)" in map(str, broken)
    assert contradictions(POLYP, learnt) == contradictions({8: ("0",)}, learnt) == []


image = st.dictionaries(st.integers(0, 4), st.lists(st.sampled_from("abc"), min_size=1, max_size=2).map(tuple))


@given(st.lists(image, max_size=6).map(lambda images: images * 8))
def test_counts_are_those_of_the_labels_and_their_order_does_not_matter(labels):
    learnt = learn_implications(labels)
    assert learn_implications(labels[::-1]) == learnt
    for rule in learnt:
        applying = [image for image in labels if rule.applies(image)]
        assert (rule.seen, rule.held) == (len(applying), sum(not rule.contradicted_by(image) for image in applying))
