"""The interactive views of the built book, in a browser without a network.

Needs `make book` and Chromium with its driver, as test_book.py does.
"""

import csv
import json
import shutil
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_book import FLAGS, HTML, PHONE, WIDE, size

from georep_utils import explorers
from georep_utils.geometry import scaling, synthetic
from georep_utils.geometry.neighbors import largest_range, nearest_neighbors
from georep_utils.io import REPOSITORY

pytestmark = pytest.mark.book
PAGES = {
    "layers": "book/runs/igpt-mini/15_explore.html",
    "neighbours": "book/runs/igpt-mini/15_explore.html",
    "runs": "book/runs/paper/16_explore_runs.html",
    "cloud": "book/runs/paper/17_your_cloud.html",
}
MOST_BYTES = 1_500_000
SMALLEST_TYPE = 11

# Set a slider as a hand would: its value, and the event that follows.
SET = """
arguments[0].value = arguments[1];
arguments[0].dispatchEvent(new Event('input', {bubbles: true}));
"""

CURVE = """
const curve = arguments[0].querySelector(`.x-curve[data-name="${arguments[1]}"] .x-line`);
return curve && curve.getAttribute('d');
"""

TO_THE_MIDDLE = "arguments[0].scrollIntoView({block: 'center'})"

# Text of the views that is smaller than it may be.
SMALL_TEXT = """
const least = arguments[0];
const small = [];
for (const section of document.querySelectorAll('.explorer')) {
  const walker = document.createTreeWalker(section, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility()) continue;
    const px = parseFloat(getComputedStyle(parent).fontSize);
    if (px < least) small.push([px, walker.currentNode.data]);
  }
}
return small;
"""

BEYOND = """
const width = document.documentElement.clientWidth;
const scrolls = node => node.closest('.x-wide') !== null;
return [...document.querySelectorAll('.explorer *')]
  .filter(node => node.checkVisibility() && !scrolls(node))
  .filter(node => node.getBoundingClientRect().right > width + 1)
  .map(node => node.outerHTML.slice(0, 120));
"""

DROP = """
const [section, name, bytes] = arguments;
const transfer = new DataTransfer();
transfer.items.add(new File([new Uint8Array(bytes)], name));
section.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true}));
"""

# Inputs without a name that can be heard.
NAMELESS = """
const named = input => input.labels.length || input.getAttribute('aria-label');
return [...document.querySelectorAll('.explorer input, .explorer select, .explorer progress')]
  .filter(input => !named(input)).map(input => input.outerHTML);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert (HTML / "index.html").is_file(), "there is no built book; run make book first"
    driver = shutil.which("chromedriver")
    options = Options()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def view(browser, request):
    """The section of a kind (the test's parameter), on its page."""
    size(browser, *WIDE)
    browser.get_log("browser")
    section = opened(browser, request.param)
    yield section
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def opened(browser, kind):
    browser.get((HTML / PAGES[kind]).as_uri())
    section = browser.find_element(By.CSS_SELECTOR, f"section.explorer[data-explorer={kind}]")
    WebDriverWait(browser, 20).until(lambda _: section.is_displayed())
    browser.execute_script("arguments[0].scrollIntoView()", section)
    return section


def data_of(browser, section):
    script = section.find_element(By.TAG_NAME, "script")
    return json.loads(browser.execute_script("return arguments[0].textContent", script))


def tip(section):
    return section.find_element(By.CSS_SELECTOR, ".x-tip").text


def hover(browser, section, curve, point):
    """Move the pointer over a point of a curve, by its numbers; what is shown then."""
    query = f'.x-curve[data-name="{curve}"] .x-marker'
    marker = section.find_elements(By.CSS_SELECTOR, query)[point]
    browser.execute_script(TO_THE_MIDDLE, marker)
    ActionChains(browser).move_to_element(marker).perform()
    WebDriverWait(browser, 10).until(lambda _: tip(section))
    return tip(section)


def of(*kinds):
    """Mark a test that looks at views of these kinds."""
    return pytest.mark.parametrize("view", kinds, indirect=True)


# --------------------------------------------------------------------------------------- all views


@of(*PAGES)
def test_a_view_can_be_read_on_a_phone_in_both_themes(view, browser):
    size(browser, *PHONE)
    for example in view.find_elements(By.CSS_SELECTOR, ".x-examples button")[1:]:
        example.click()
        numbers(browser, view)
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(BEYOND) == [])
    for theme in ("light", "dark"):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        assert browser.execute_script(SMALL_TEXT, SMALLEST_TYPE) == []
        assert browser.execute_script(BEYOND) == []
        width = browser.execute_script("return document.scrollingElement.scrollWidth")
        assert width <= PHONE[0]


@of(*PAGES)
def test_every_control_has_a_name_and_every_chart_says_what_it_shows(view, browser):
    assert browser.execute_script(NAMELESS) == []
    assert view.get_attribute("aria-label")
    for chart in view.find_elements(By.CSS_SELECTOR, ".x-chart svg"):
        assert len(chart.get_attribute("aria-label")) > 30


@of(*PAGES)
def test_on_paper_a_figure_stands_in_the_place_of_a_view(view, browser):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not view.is_displayed()
        visible = "return [...document.querySelectorAll('article figure img')].map(i => "
        shown = browser.execute_script(f"{visible}i.checkVisibility())")
        assert shown and all(shown)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_without_scripts_there_is_no_empty_frame_but_a_figure(page):
    source = (HTML / page).read_text(encoding="utf-8")
    sections = source.count('<section class="explorer"')
    assert sections and source.count('" hidden>') >= sections
    assert "<figure" in source and "<figcaption" in source


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_a_page_with_a_view_is_light(page, browser):
    browser.get((HTML / page).as_uri())
    sources = "return [...document.querySelectorAll('article img')].map(i => i.src)"
    files = [HTML / page, *(HTML / "_static/explorers").iterdir()]
    files += [HTML / unquote(s).rpartition("/html/")[2] for s in browser.execute_script(sources)]
    assert sum(file.stat().st_size for file in set(files) if file.is_file()) < MOST_BYTES


def test_names_of_others_become_text_and_no_markup(browser, tmp_path):
    name = "<img src=x onerror=alert(1)></script><b>bold</b>"
    near = np.array([[[0, 1]], [[1, 0]]])
    texts = np.array([name, "other"], dtype=object)
    labels = np.array([0, 1])
    data = explorers.neighbour_view(
        near, [0], 1, labels, [name, "b"], note=name, lines=lambda rows: texts[rows]
    )
    folder = (HTML / "_static/explorers").as_uri()
    scripts = "".join(f'<script src="{folder}/{n}.js"></script>' for n in ("core", "neighbours"))
    body = explorers.Explorer("neighbours", name, data)._repr_html_()
    page = tmp_path / "hostile.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8>{body}{scripts}", encoding="utf-8")
    browser.get(page.as_uri())
    section = browser.find_element(By.CSS_SELECTOR, "section.explorer")
    assert section.find_elements(By.CSS_SELECTOR, "img, b") == []
    assert section.find_element(By.CSS_SELECTOR, ".x-text").text == name
    assert name in section.find_element(By.TAG_NAME, "select").text


# --------------------------------------------------------------------------------- layer and scale


@of("layers")
def test_the_layers_slider_moves_the_profile_at_every_step(view, browser):
    slider = view.find_element(By.CSS_SELECTOR, "input[type=range]")
    for estimator in view.find_elements(By.CSS_SELECTOR, "input[type=radio]"):
        browser.execute_script("arguments[0].click()", estimator)
        drawn = set()
        n = int(slider.get_attribute("max")) + 1
        for i in range(n):
            browser.execute_script(SET, slider, i)
            drawn.add(browser.execute_script(CURVE, view, "profile"))
        assert n > 2 and len(drawn) == n


@of("layers")
def test_the_layers_under_the_pointer_have_the_numbers_of_the_tables(view, browser):
    table = pd.read_csv(REPOSITORY / "book/results/igpt-mini/id_scaling.csv")
    profile = pd.read_csv(REPOSITORY / "book/results/igpt-mini/id_profile.csv")
    profile = profile[profile.rule == "paper_text"].set_index("layer")
    shown = hover(browser, view, "profile", 7)
    assert shown == f"layer 7: ID {profile.id[7]:.2f} ± {profile.id_err[7]:.2f}"
    browser.execute_script(SET, view.find_element(By.CSS_SELECTOR, "input[type=range]"), 0)
    first = table[(table.method == "twonn") & (table.scale == 1)].set_index("layer")
    assert hover(browser, view, "profile", 12).startswith(f"layer 12: ID {first.id[12]:.2f} ±")


@of("layers")
def test_the_layers_show_a_control_where_it_was_read_and_nowhere_else(view, browser):
    controls = view.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")
    assert len(controls) >= 4
    names = [c.find_element(By.XPATH, "..").text for c in controls]
    for name, control in zip(names, controls, strict=True):
        before = browser.execute_script(CURVE, view, name)
        browser.execute_script("arguments[0].click()", control)
        assert (browser.execute_script(CURVE, view, name) is None) == (before is not None)
    shuffled = controls[names.index("shuffled features")]
    browser.execute_script(SET, view.find_element(By.CSS_SELECTOR, "input[type=range]"), 0)
    assert not shuffled.is_enabled()
    assert browser.execute_script(CURVE, view, "shuffled features") is None


@of("layers")
def test_the_layers_name_the_layer_that_the_chapter_singled_out_there(view, browser):
    slider = view.find_element(By.CSS_SELECTOR, "input[type=range]")
    readings = [r for r in data_of(browser, view)["readings"] if r["method"] == "twonn"]
    for i, reading in enumerate(readings):
        browser.execute_script(SET, slider, i)
        answer = view.find_element(By.CSS_SELECTOR, ".x-answer").text
        singled = reading["singled"]["layer"]
        if singled is None:
            assert "No layer is singled out" in answer
            assert reading["lowest"] is None or f"is layer {reading['lowest']} " in answer
            assert view.find_elements(By.CSS_SELECTOR, ".x-chosen") == []
        else:
            assert f"layer {singled}, a {reading['singled']['kind']}" in answer
            assert len(view.find_elements(By.CSS_SELECTOR, ".x-chosen")) == 1


@of("layers")
def test_the_layers_can_be_read_with_the_keyboard_alone(view, browser):
    slider = view.find_element(By.CSS_SELECTOR, "input[type=range]")
    before = browser.execute_script(CURVE, view, "profile")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(CURVE, view, "profile") != before
    chart = view.find_element(By.CSS_SELECTOR, ".x-chart svg")
    chart.send_keys(Keys.ARROW_RIGHT)
    assert tip(view).startswith("layer 0: ID")
    chart.send_keys(Keys.ARROW_RIGHT)
    assert tip(view).startswith("layer 1: ID")
    heard = view.find_element(By.CSS_SELECTOR, ".x-heard[aria-live]")
    assert heard.get_attribute("textContent") == tip(view)


# -------------------------------------------------------------------------------------- neighbours


@of("neighbours")
def test_the_neighbours_follow_the_query_and_the_layer(view, browser):
    data = data_of(browser, view)
    slider = view.find_element(By.CSS_SELECTOR, "input[type=range]")
    queries = view.find_elements(By.CSS_SELECTOR, ".x-queries input")
    assert len(queries) == len(data["near"])
    for query, at in ((0, 0), (3, 12), (len(queries) - 1, len(data["layers"]) - 1)):
        browser.execute_script("arguments[0].click()", queries[query])
        browser.execute_script(SET, slider, at)
        near = data["near"][query][at]
        items = view.find_elements(By.CSS_SELECTOR, "ol.x-pictures > li")
        names = [data["names"][data["labels"][sample]] for sample in near]
        shown = [item.text.partition(": ")[2].partition(",")[0].strip() for item in items]
        assert shown == names
        own = [data["labels"][sample] == data["labels"][near[0]] for sample in near[1:]]
        assert [item.get_attribute("class") == "x-same" for item in items[1:]] == own
        answer = view.find_element(By.CSS_SELECTOR, ".x-answer").text
        assert f"In layer {data['layers'][at]}, {sum(own)} of {len(own)} neighbours" in answer


@of("neighbours")
def test_the_neighbours_slider_changes_the_pictures(view, browser):
    slider = view.find_element(By.CSS_SELECTOR, "input[type=range]")
    style = "return [...arguments[0].querySelectorAll('ol .x-picture')].map(p => p.style.cssText)"
    shown = set()
    for at in (0, 8, 16, 24):
        browser.execute_script(SET, slider, at)
        shown.add(tuple(browser.execute_script(style, view)))
    assert len(shown) == 4


# -------------------------------------------------------------------------------------------- runs


@of("runs")
def test_the_runs_that_are_ticked_are_drawn_with_the_numbers_of_their_tables(view, browser):
    label = "igpt-mini, label overlap, measured here"
    box = view.find_element(By.CSS_SELECTOR, f'input[aria-label="{label}"]')
    name = "igpt-mini, label overlap, k = 10 (measured here)"
    assert browser.execute_script(CURVE, view, name) is None
    browser.execute_script("arguments[0].click()", box)
    table = pd.read_csv(REPOSITORY / "book/results/igpt-mini/overlaps.csv")
    rows = table[(table.network == "trained") & (table.other == "labels") & (table.k == 10)]
    row = rows.set_index("layer").loc[5]
    panel = view.find_elements(By.CSS_SELECTOR, ".x-plot")[1]
    shown = hover(browser, panel, name, 5)
    assert shown == f"igpt-mini, layer 5: label overlap {row.overlap:.3f} ± {row.error:.3f}"


@of("runs")
def test_the_runs_of_the_paper_say_that_they_were_read_off_figures(view, browser):
    label = "igpt-large, intrinsic dimension, read off the authors' figures"
    box = view.find_element(By.CSS_SELECTOR, f'input[aria-label="{label}"]')
    browser.execute_script("arguments[0].click()", box)
    legend = view.find_element(By.CSS_SELECTOR, ".x-legend").text
    assert "igpt-large, intrinsic dimension (read off the authors' figures)" in legend
    assert "igpt-mini, intrinsic dimension (measured here)" in legend


# --------------------------------------------------------------------------- a cloud of one's own


def clouds_to_try():
    roll = synthetic.swiss_roll(700, 2, ambient=9, noise=0.3, seed=1).astype(np.float64)
    wide = synthetic.gaussian(400, 30, seed=2)
    return {
        "fortran": np.asfortranarray(roll),
        "duplicates": np.vstack([wide, wide[:50]]).astype(np.float32),
        "few": synthetic.torus(97, 3, seed=4).astype(np.float64),
    }


def in_python(X):
    """The estimates of the page, by this package: method, scale -> ID and error."""
    near = nearest_neighbors(X, 2, largest_range(len(X)))
    gride = scaling.gride_scaling(near)
    found = {("gride", row.scale): (row.id, row.id_err) for row in gride.itertuples()}
    for s in (1, 2, 4, 8, 16, 32):
        if len(X) // s >= scaling.MIN_POINTS:
            parts = [np.ascontiguousarray(X[j::s][: len(X) // s]) for j in range(min(4, s))]
            read = [scaling.twonn_scaling(part, [1]).iloc[0] for part in parts]
            ids = np.array([row.id for row in read])
            error = ids.std(ddof=1) / len(ids) ** 0.5 if s > 1 else read[0].id_err
            found["twonn", float(s)] = (ids.mean(), error)
    return found


def numbers(browser, section):
    """What the page found, from the table that it offers."""
    link = section.find_element(By.CSS_SELECTOR, "a[download]")
    WebDriverWait(browser, 120).until(lambda _: link.is_displayed())
    text = unquote(link.get_attribute("href").partition(",")[2])
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("name", clouds_to_try())
def test_a_cloud_has_the_numbers_of_python(name, browser, tmp_path):
    section = opened(browser, "cloud")
    X = clouds_to_try()[name]
    np.save(tmp_path / "mine.npy", X)
    section.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(tmp_path / "mine.npy"))
    rows = [row for row in numbers(browser, section) if row["cloud"] == "cloud"]
    there = {(r["method"], float(r["scale"])): (float(r["id"]), float(r["error"])) for r in rows}
    expected = in_python(X)
    assert set(there) == set(expected)
    for key, values in expected.items():
        assert there[key] == pytest.approx(values, rel=0, abs=1e-6)
    assert f"mine.npy: {len(X)} points" in section.find_element(By.CSS_SELECTOR, ".x-answer").text


@of("cloud")
def test_the_cloud_beside_it_is_a_gaussian_of_the_estimated_dimension(view, browser):
    view.find_elements(By.CSS_SELECTOR, ".x-examples button")[1].click()
    rows = numbers(browser, view)
    own, beside = (
        [float(r["id"]) for r in rows if r["cloud"] == cloud and r["scale"] == "1"]
        for cloud in ("cloud", "gaussian")
    )
    assert own[0] == pytest.approx(3, abs=0.4)  # a torus of three dimensions
    assert beside[0] == pytest.approx(3, abs=0.4)
    names = [key.text for key in view.find_elements(By.CSS_SELECTOR, ".x-legend li")]
    assert "TwoNN, Gaussian, 3 dimensions" in names


@of("cloud")
def test_the_cloud_of_a_dropped_file_is_measured(view, browser, tmp_path):
    path = tmp_path / "dropped.npy"
    np.save(path, synthetic.hypercube(60, 2, seed=3))
    browser.execute_script(DROP, view, path.name, list(path.read_bytes()))
    assert {row["n_points"] for row in numbers(browser, view)} >= {"60", "30"}
    read = hover(browser, view, "Gride, your cloud", 2).splitlines()
    assert any(point.startswith("Gride, your cloud, N/n = 4: ") for point in read)


def bad_files():
    rng = np.random.default_rng(0)
    points = rng.random((30, 3))
    holes = points.copy()
    holes[7, 1] = np.nan
    return {
        "one dimension": (rng.random(30), "The array has 1 dimension; expected 2"),
        "three": (rng.random((30, 2, 2)), "The array has 3 dimensions; expected 2"),
        "large": (np.zeros((5001, 2)), "5,001 points; this page takes 5,000 at most"),
        "nan": (
            holes,
            "1 of 30 points have NaN, infinity, or a number beyond float32 (first: row 7)",
        ),
        "beyond": (points * 1e300, "beyond float32"),
        "integers": (np.ones((30, 3), np.int64), "holds <i8; expected float32 or float64"),
        "few": (points[:19], "19 points; at least 20 are needed"),
        "constant": (np.ones((30, 3)), "All 30 points are the same"),
        "copies": (
            np.repeat(points[:15], 3, axis=0),
            "Only 0 of 45 points have a positive distance",
        ),
        "text": (b"x,y\n1,2\n", "This is no .npy file"),
        "cut": (None, "ends before its last number"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_file_that_is_no_cloud_is_refused_in_one_line(name, browser, tmp_path):
    section = opened(browser, "cloud")
    content, expected = bad_files()[name]
    path = tmp_path / "bad.npy"
    if content is None:
        np.save(path, np.random.default_rng(0).random((30, 3)))
        path.write_bytes(path.read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    section.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))
    fault = section.find_element(By.CSS_SELECTOR, ".x-fault")
    WebDriverWait(browser, 30).until(lambda _: fault.text)
    assert expected in fault.text and "\n" not in fault.text
    assert not section.find_element(By.CSS_SELECTOR, "a[download]").is_displayed()
