import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

from PIL import Image
from rich.console import Console

from imageclef_vqa.data.thumbnails import make_thumbnails
from imageclef_vqa.editions import OpenQuestion
from imageclef_vqa.evaluation import (
    Model,
    ReportFold,
    as_csv,
    as_markdown,
    draw_plots,
    render_report,
    score_answers,
    score_fold,
)
from imageclef_vqa.evaluation.calibration import calibrate
from imageclef_vqa.evaluation.display import answers_text
from imageclef_vqa.evaluation.folds import SmallMap
from imageclef_vqa.evaluation.mistakes import confusions, member_scores
from imageclef_vqa.evaluation.tables import formatting_table, score_table
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.evaluation.text.report import render_text_report
from imageclef_vqa.evaluation.text.scores import score_sentences

GOLD = {("img1", 5): ("Pink", "Red"), ("img2", 5): ("White",), ("img1", 4): ("Yes",), ("img2", 4): ("No",)}
GIVEN = {("img1", 5): ("<script>document.title='hacked'</script>",), ("img2", 5): ("White",), ("img1", 4): ("Yes",)}
MAJORITY = [("Yes",)] * 18


def fold(name="val", given=GIVEN):
    score = score_fold("routed", given, {}, GOLD, majority=MAJORITY, groups={"img1": 0, "img2": 1})
    return ReportFold(name, score, given, GOLD, dict.fromkeys(given, 0.9), records={"img1": 1, "img2": 7})


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.fetched, self.attributes = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        self.fetched += [
            value for name, value in attrs if name in ("src", "href", "data") and not value.startswith(("#", "data:"))
        ]
        if tag not in ("meta", "br", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def gallery(text):
    """What the page's script reads."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(data)


def test_the_report_is_well_formed_and_loads_nothing():
    page = Page(render_report("main", [fold(), fold("test")], models=[Model("main", 2e6, 0.8, False, (0.7, 0.9))]))
    assert page.open == []
    assert page.fetched == []
    assert page.tags.count("script") == 2  # the data and what shows them
    (policy,) = [a["content"] for tag, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not [a for _, a in page.attributes if "style" in a or any(name.startswith("on") for name in a)]


def test_what_came_from_files_is_shown_as_text():
    text = render_report("<b>run</b>", [fold()])
    assert "<script>document.title" not in text
    assert "&lt;script&gt;document.title" in text  # in a confusion matrix
    assert "\\u003cscript\\u003edocument.title" in text  # in the gallery's data
    assert gallery(text)["answers"].count(["<script>document.title='hacked'</script>"]) == 1
    assert "<b>run" not in text


def test_the_gallery_holds_every_pair_with_its_answers():
    content = gallery(render_report("main", [fold()], thumbnails={"img2": b"jpeg"}))
    one, two = content["images"]
    assert (one[0], one[2], two[2]) == (0, "", "anBlZw==")
    said = [(q, content["answers"][gold], given, share, wrong) for q, gold, given, share, wrong in two[3]]
    white = content["answers"].index(["White"])
    assert said == [(4, ["No"], -1, -1, 1), (5, ["White"], white, 900, 0)]


def test_a_set_written_as_one_string_does_not_look_like_the_set():
    gold = {("cl8k2u1pm1dw7083203g1b7yv", 5): ("Pink", "Red"), ("cl8k2u1pm1dw7083203g1b7yw", 5): ("Pink", "Red")}
    given = dict.fromkeys(gold, ("Pink; Red",))
    score = score_fold("file", given, None, gold, majority=None, groups=None)
    text = render_report("r", [ReportFold("gold", score, given, gold)])
    assert gallery(text)["answers"] == [["Pink", "Red"], ["“Pink; Red”"]]
    assert "</span> “Pink; Red”</th>" in text  # in the confusion matrix
    assert "for example “Pink; Red” ≠ Pink; Red<" in text  # the formatting loss


def test_the_formatting_loss_is_shown_question_by_question():
    gold = {(str(number), question): ("Pink", "Red") for number in range(4) for question in (5, 6)}
    given = {pair: ("Pink",) if pair[1] == 5 else ("Red", "pink" if pair[0] != "0" else "Pink") for pair in gold}
    score = score_answers(given, gold)
    console = Console(width=80, file=io.StringIO())
    console.print(formatting_table(score))
    assert [" ".join(line.split()) for line in console.file.getvalue().splitlines()[5:]] == [
        "5 abnormality: colour one answer where a set is scored 100.0 50.0",
        "6 landmark: colour differs only in case 75.0 37.5",
        "",
        "question 5, for example: Pink ≠ Pink; Red",
    ]
    assert "| 6. What color is the anatomical landmark? | differs only in case | 3 | 75.0 | 37.5 | Red; pink ≠" in (
        as_markdown({"": score})
    )
    rows = csv.DictReader(io.StringIO(as_csv({"": score})))
    assert [float(row["formatting_loss"]) for row in rows] == [1.0, 0.75, 0.875]


def test_an_answer_in_an_example_commands_no_terminal():
    assert answers_text(("Pink\x1b[2J\u202e", "")) == "Pink\ufffd[2J\ufffd; “”"
    assert answers_text(("x" * 90,), 80) == "x" * 80 + "…"


def test_only_official_ids_are_shown_others_may_name_a_patient():
    gold = {("SMITH_JOHN_1950", 4): ("Yes",), ("cl8k2u1pm1dw7083203g1b7yv", 4): ("Yes",)}
    score = score_fold("file", {}, None, gold, majority=None, groups=None)
    text = render_report("r", [ReportFold("gold", score, {}, gold, records={"SMITH_JOHN_1950": 3})])
    assert "SMITH" not in text
    assert [image[1] for image in gallery(text)["images"]] == ["record 3 of gt.json", "cl8k2u1pm1dw7083203g1b7yv"]


def test_a_thumbnail_carries_nothing_but_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "PATIENT SMITH"
    picture = Image.effect_noise((400, 300), 60).convert("RGB")
    file = tmp_path / "a.jpg"
    picture.save(file, exif=exif, comment=b"PATIENT SMITH", icc_profile=b"PATIENT SMITH", quality=90)
    assert file.read_bytes().count(b"PATIENT SMITH") == 3
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    made = make_thumbnails({"a": file, "b": tmp_path / "b.jpg"}, 100_000)
    assert list(made) == ["a"]
    assert b"SMITH" not in made["a"]
    with Image.open(io.BytesIO(made["a"])) as small:
        assert (small.size, small.info.get("exif"), small.info.get("comment")) == ((144, 108), None, None)


def test_thumbnails_stay_within_their_budget(tmp_path):
    files = {}
    for number in range(30):
        files[str(number)] = tmp_path / f"{number}.png"
        Image.effect_noise((200, 150), 90).save(files[str(number)])
    made = make_thumbnails(files, 30_000)
    assert 0 < len(made) < 30
    assert sum(map(len, made.values())) <= 30_000
    assert "images have no thumbnail" not in render_report(
        "r", [fold()], thumbnails=dict.fromkeys(("img1", "img2"), b"")
    )
    assert "1 of 2 images have no thumbnail" in render_report("r", [fold()], thumbnails={"img1": b""})


def test_confusions_keep_the_commonest_classes_and_count_the_others_together():
    gold = {(str(number), 7): (str(min(number // 4, 9)),) for number in range(40)}
    given = {pair: ("0",) for pair in gold if pair[0] != "39"}
    (found,) = confusions(given, gold, most=3)
    assert (found.classes[0], len(found.classes), found.others) == (("0",), 3, 8)
    assert found.counts[0] == (4, 0, 0, 0)
    assert sum(map(sum, found.counts)) == 40
    assert found.counts[3][3] == 1  # no answer is a rare class as well


def test_members_of_sets_have_precision_and_recall():
    gold = {("a", 5): ("Pink", "Red"), ("b", 5): ("Red",), ("a", 4): ("Yes",)}
    given = {("a", 5): ("Pink",), ("b", 5): ("Red", "Pink")}
    red, pink = member_scores(given, gold)[5]
    assert (red.member, red.gold, red.given, red.precision, red.recall) == ("Red", 2, 1, 1.0, 0.5)
    assert (pink.precision, pink.recall) == (0.5, 1.0)
    assert list(member_scores(given, gold)) == [5]


def test_calibration_is_as_computed_by_hand():
    gold = {(str(number), 4): ("Yes",) for number in range(20)}
    given = {pair: ("Yes",) if int(pair[0]) % 2 else ("No",) for pair in gold}
    sure = {pair: 0.9 if int(pair[0]) < 10 else 0.5 for pair in gold}
    found = calibrate(given, gold, sure, None, bins=2)
    assert [(round(each.confidence, 6), each.accuracy, each.pairs) for each in found.bins] == [
        (0.5, 0.5, 10),
        (0.9, 0.5, 10),
    ]
    assert round(found.error, 6) == 0.2
    assert found.bins[0].interval[0] < 0.5 < found.bins[0].interval[1]
    assert calibrate(given, gold, {}, None) is None


def test_the_same_scores_give_the_same_plots():
    one, other = (draw_plots([], [Model("mine", 2.3e6, 0.8, False, (0.7, 0.9))], {}) for _ in range(2))
    assert list(one) == ["accuracy-parameters.png", "accuracy-parameters.svg"]
    assert one == other
    with Image.open(io.BytesIO(one["accuracy-parameters.png"])) as picture:
        assert picture.size == (1200, 800)
    drawn = one["accuracy-parameters.svg"].decode()
    for text in ("paper, vision frozen", "paper, vision trained", "these runs", "other validation images"):
        assert text in drawn


def test_a_fold_has_a_plot_of_its_accuracy_and_one_of_its_calibration():
    plots = draw_plots([fold()], [], {})
    assert list(plots) == [f"{name}-val.{kind}" for name in ("accuracy", "calibration") for kind in ("png", "svg")]
    assert "5. What color is the abnormality?" in plots["accuracy-val.svg"].decode()


def test_figure_2_has_the_papers_eight_models_and_the_runs():
    text = render_report("main", [fold()], models=[Model("mine", 2.3e6, 0.8123, False, (0.7, 0.9))])
    section = text[text.index('<section id="models"') :]
    assert section.count("<circle") == 8
    assert section.count('class="ours"') == 1
    assert "0.9317" in section
    assert "0.8123" in section


def test_every_table_has_a_caption_and_every_heading_cell_a_scope():
    page = Page(render_report("main", [fold()]))
    assert page.tags.count("table") == page.tags.count("caption") > 3
    assert all("scope" in attributes for tag, attributes in page.attributes if tag == "th")


def test_the_papers_table_stands_beside_the_fold_that_it_compares_with():
    assert "Table 3 of the paper" in render_report("main", [fold("val")])
    test = render_report("main", [fold("test")])
    assert "Table 5 of the paper" in test
    assert "0.139" in test  # the paper's colour question, lost to form


def test_the_report_gives_the_formatting_loss_and_the_missing_answers():
    text = render_report("main", [fold()])
    assert "points are lost to formatting" in text
    assert "1 gold answer missing from the given answers: counted as wrong." in text


def test_the_same_scores_give_the_same_report():
    assert render_report("main", [fold()]) == render_report("main", [fold()])


def test_a_question_without_gold_answers_shows_dashes_in_the_terminal():
    console = Console(width=120, file=io.StringIO())
    console.print(score_table("Validation images", fold().score))
    lines = console.file.getvalue().splitlines()
    (row,) = [line for line in lines if "Have all polyps been removed?" in line]
    assert re.findall(r"\S+", row.split("?")[1]) == ["–"] * 5
    (last,) = [line for line in lines if "mean of questions" in line]
    assert "0.500" in last


def test_a_heat_map_of_an_open_answer_lies_over_the_picture_of_its_row():
    """The picture stands in the page once for each row, also where it has a map."""
    gold = {("a", 0): ("a red polyp",), ("a", 1): ("no text",)}
    given = {("a", 0): ("a white polyp",), ("a", 1): ("no text",)}
    meter, questions = TextMeter(), {pair: OpenQuestion(f"question {pair[1]}?") for pair in gold}
    score = score_sentences(given, gold, questions, meter=meter, resamples=10)
    heat = {("a", 0): SmallMap(b"map", "upper-left")}
    fold = TextFold("val", score, given, gold, heat_maps=heat, questions=questions, meter=meter)
    page = render_text_report("main", [fold], thumbnails={"a": b"picture"})
    picture, over = (base64.b64encode(each).decode() for each in (b"picture", b"map"))
    assert (page.count(picture), page.count(over), page.count("highest at upper-left")) == (2, 1, 1)
    (row,) = (row for row in page.split("<tr>") if over in row)
    assert row.index(picture) < row.index(over) < row.index("highest at upper-left")
