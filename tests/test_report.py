import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from imageclef_vqa.evaluation import ReportFold, render_report, score_fold, score_table

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
GOLD = {("img1", 5): ("Pink", "Red"), ("img2", 5): ("White",), ("img1", 4): ("Yes",), ("img2", 4): ("No",)}
GIVEN = {("img1", 5): ("<script>document.title='hacked'</script>",), ("img2", 5): ("White",), ("img1", 4): ("Yes",)}
MAJORITY = [("Yes",)] * 18


def fold(name="val", given=GIVEN):
    score = score_fold("routed", given, {}, GOLD, majority=MAJORITY, groups={"img1": 0, "img2": 1})
    return ReportFold(name, score, given, GOLD, dict.fromkeys(given, 0.9))


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
            value for name, value in attrs if name in ("src", "href", "data") and not value.startswith("#")
        ]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_well_formed_loads_nothing_and_runs_nothing():
    page = Page(render_report("main", [fold(), fold("test")]))
    assert page.open == []
    assert page.fetched == []
    assert "script" not in page.tags


def test_what_came_from_files_is_shown_as_text():
    text = render_report("<b>run</b>", [fold()])
    assert "<script>" not in text
    assert "&lt;script&gt;document.title" in text
    assert "<b>run" not in text


def test_every_table_has_a_caption_and_every_heading_cell_a_scope():
    page = Page(render_report("main", [fold()]))
    assert page.tags.count("table") == page.tags.count("caption") > 3
    assert all("scope" in attributes for tag, attributes in page.attributes if tag == "th")


def test_the_papers_table_stands_beside_the_fold_that_it_compares_with():
    assert "Table 3 of the paper" in render_report("main", [fold("val")])
    test = render_report("main", [fold("test")])
    assert "Table 5 of the paper" in test
    assert "0.139" in test  # the paper's colour question, lost to form


def test_the_report_says_what_the_form_costs_and_what_is_missing():
    text = render_report("main", [fold()])
    assert "The form of the answers costs" in text
    assert "1 gold answer has no counterpart here: it counts as wrong." in text


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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the report is not opened in a browser")
def test_a_browser_renders_the_report_without_running_what_it_quotes(tmp_path):
    file = tmp_path / "report.html"
    file.write_text(render_report("main", [fold()]), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    shown = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "<title>MEDVQA-GI: run main</title>" in shown
    assert shown.count("<tr>") == file.read_text(encoding="utf-8").count("<tr>")
