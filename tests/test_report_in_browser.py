"""The report in headless Chromium: quiet console, filters that filter, nothing fetched, nothing run that was quoted."""

import json
import shutil

import numpy as np
import pytest

from imageclef_vqa.evaluation import ReportFold, render_report, score_fold
from imageclef_vqa.evaluation.folds import SmallMap
from imageclef_vqa.explanations.picture import small_png

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)
HOSTILE = "<script>document.title='hacked'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"
IMAGES = [f"cl8k2{number:020}" for number in range(60)]
JPEG = bytes.fromhex(  # one grey pixel
    "ffd8ffdb004300" + "01" * 64 + "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000ffda0008010100003f0054ffd9"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of 60 images, opened: 40 wrong answers to question 4, one of them hostile, 60 right ones to
    question 8, and to question 10 one set of nine with a wrong member.
    """
    if DRIVER is None or CHROMIUM is None:
        pytest.skip(
            "NO chromium AND chromedriver (apt-get install chromium-driver): THE REPORT IS NOT TESTED IN A BROWSER"
        )
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    gold = {(image_id, 4): ("Yes",) for image_id in IMAGES} | {(image_id, 8): ("1",) for image_id in IMAGES}
    given = {pair: gold[pair] if pair[1] == 8 or pair[0] >= IMAGES[40] else ("No",) for pair in gold}
    given[IMAGES[0], 4] = (HOSTILE,)
    gold[IMAGES[59], 10], given[IMAGES[59], 10] = tuple("abcdefghi"), tuple("zbcdefghi")
    sure = {pair: 0.99 if pair[0] == IMAGES[0] else 0.6 for pair in gold}
    score = score_fold("routed", given, given, gold, majority=[("Yes",)] * 18, groups=None)
    folder = tmp_path_factory.mktemp("report")
    heat = {(IMAGES[0], 4): SmallMap(small_png(np.eye(8, dtype="float32")), "upper-left")}
    fold = ReportFold("val", score, given, gold, sure, heat_maps=heat)
    report = render_report("main", [fold], thumbnails={IMAGES[0]: JPEG})
    (folder / "report.html").write_text(report, encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get((folder / "report.html").as_uri())
    yield driver
    driver.quit()


def choose(page, name, value):
    page.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )


def count(page):
    return page.execute_script("return document.getElementById('count').textContent")


def cards(page):
    return page.execute_script("return [...document.querySelectorAll('#cards > li')].map(card => card.innerText)")


@pytest.fixture
def filters(page):
    """The page, its filters as they are when it opens."""
    for name, value in (("fold", ""), ("kind", "wrong"), ("question", ""), ("answer", ""), ("confidence", "")):
        choose(page, f"f-{name}", value)
    choose(page, "f-order", "sure")
    return page


def test_the_gallery_shows_every_mistake_and_the_surest_first(filters):
    assert count(filters) == "41 wrong answers to 41 images"
    assert HOSTILE in cards(filters)[0]


def test_filters_narrow_the_gallery_down(filters):
    choose(filters, "f-question", "8")
    assert (count(filters), cards(filters)) == ("0 wrong answers to 0 images", [])
    choose(filters, "f-kind", "right")
    assert count(filters) == "60 right answers to 60 images"
    choose(filters, "f-question", "")
    assert count(filters) == "80 right answers to 60 images"
    choose(filters, "f-kind", "wrong")
    choose(filters, "f-confidence", "0.95-1")
    assert count(filters) == "1 wrong answer to 1 image"
    choose(filters, "f-confidence", "")
    choose(filters, "f-answer", "ONERROR")
    assert count(filters) == "1 wrong answer to 1 image"


def test_members_that_two_sets_of_nine_do_not_share_are_marked(filters):
    choose(filters, "f-question", "10")
    (card,) = cards(filters)
    assert "given z; b; c; d; e; f; g; h; i (0.60)\ngold a; b; c; d; e; f; g; h; i (1 missing, 1 too many)" in card
    marks = "return [...document.querySelectorAll('#cards mark')].map(mark => mark.textContent)"
    assert filters.execute_script(marks) == ["z", "a"]
    choose(filters, "f-question", "4")
    assert filters.execute_script(marks) == [], "two single answers differ as a whole"


def test_what_does_not_fit_comes_at_a_key_press(filters):
    from selenium.webdriver.common.keys import Keys

    choose(filters, "f-kind", "all")
    assert len(cards(filters)) == 48
    button = filters.find_element("id", "more")
    assert button.text == "Show 12 more of 12"
    button.send_keys(Keys.ENTER)
    assert len(cards(filters)) == 60
    assert not button.is_displayed()


def test_an_image_opens_to_all_its_answers(filters):
    filters.find_element("css selector", "#cards summary").click()
    opened = filters.find_element("css selector", "#cards details[open]")
    assert "How many polyps are in the image?" in opened.text


def test_heat_maps_show_at_a_key_press_with_words_for_those_who_do_not_see_them(filters):
    from selenium.webdriver.common.keys import Keys

    (figure,) = filters.find_elements("class name", "heat")
    assert not figure.is_displayed()
    filters.find_element("id", "f-maps").send_keys(Keys.SPACE)
    assert figure.is_displayed()
    assert figure.text == "highest at upper-left"
    (stack,) = figure.find_elements("class name", "stack")
    assert (stack.aria_role, stack.accessible_name) == (
        "image",
        "Heat map of the given answer over the image, highest at upper-left",
    )
    sizes = filters.execute_script(
        "return [...document.querySelectorAll('.stack img')].map((img) => [img.naturalWidth, img.width, img.height])"
    )
    assert sizes == [[1, 1, 1], [8, 1, 1]]  # the map is stretched over the thumbnail, which is a pixel here
    filters.find_element("css selector", "#filters button").click()
    assert count(filters) == "41 wrong answers to 41 images"
    assert not any(each.is_displayed() for each in filters.find_elements("class name", "heat"))


def test_what_was_quoted_is_text_and_thumbnails_are_pictures(page):
    assert page.title == "MEDVQA-GI: run main"
    assert page.execute_script("return document.querySelectorAll('img[src^=http], [onerror]').length") == 0
    assert page.execute_script("return document.querySelector('#cards img').naturalWidth") == 1


def test_every_field_has_a_name_and_tab_goes_from_the_skip_link_to_every_table_and_filter(page):
    from selenium.webdriver.common.keys import Keys

    assert page.execute_script(
        "return [...document.querySelectorAll('select, input')].every(field => field.labels.length === 1)"
    )
    page.refresh()
    reached = []
    for _ in range(60):
        page.switch_to.active_element.send_keys(Keys.TAB)
        element = page.switch_to.active_element
        reached.append(element.get_attribute("id") or element.get_attribute("class") or element.tag_name)
        if reached[-1] == "f-maps":
            break
    assert reached[0] == "skip"
    assert "scroll" in reached
    fields = [each for each in reached if each.startswith("f-")]
    assert fields == ["f-fold", "f-kind", "f-question", "f-answer", "f-confidence", "f-order", "f-maps"]


def test_without_scripts_the_figures_stand_and_the_filters_which_would_do_nothing_do_not(page):
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.refresh()
    assert page.find_element("id", "val").is_displayed()
    assert not page.find_element("id", "filters").is_displayed()
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    page.refresh()
    assert page.find_element("id", "filters").is_displayed()


def test_nothing_overflows_a_phone(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    assert page.execute_script("return document.documentElement.scrollWidth") == 390
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_request_leaves_the_page_and_the_console_is_quiet(page):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    urls = [each["request"]["url"] for each in sent if each["documentURL"] == page.current_url]
    assert page.current_url in urls
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    assert page.get_log("browser") == []
