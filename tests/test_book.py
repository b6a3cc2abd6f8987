"""The built book in a browser without a network: what a reader sees on every page, at two widths.

Needs `make book` and Chromium with its driver; an absent book or browser is a failure, not a skip.
"""

import gzip
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from georep_utils import io
from georep_utils.io import REPOSITORY
from georep_utils.workflow import stages
from georep_utils.workflow.pages import entries_of, table_of_contents

pytestmark = pytest.mark.book
HTML = REPOSITORY / "_build/html"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # A page that scrolls smoothly is still on its way when the pointer presses.
    "--force-prefers-reduced-motion",
]
WIDE = (1400, 1000)
PHONE = (390, 844)
LEAST_CONTRAST = 3
LEAST_TYPE = 11  # pixels
MOST_BYTES = 1_500_000  # of a page with all that it loads, compressed as servers send it
AXE = REPOSITORY / "tests/axe-core/axe.min.js"

# Scripts that run in the page.

WAIT_FOR_MATHEMATICS = """
const done = arguments[0];
const wait = () => {
  if (window.MathJax?.startup?.promise) {
    MathJax.startup.promise.then(done, done);
  } else if (document.querySelector('.math') && performance.now() < 30000) {
    setTimeout(wait, 50);
  } else {
    done();
  }
};
wait();
"""

LOAD_IMAGES = "document.querySelectorAll('article img').forEach(i => { i.loading = 'eager' })"

IMAGES_ARE_LOADED = "return [...document.querySelectorAll('article img')].every(i => i.complete)"

IMAGES = """
const about = image => [image.getAttribute('src').slice(-60), image.naturalWidth, image.alt];
return [...document.querySelectorAll('article img')].map(about);
"""

FIGURES = """
const images = document.querySelectorAll('article figure img, article .cell_output img');
return [...images].map(image => image.getAttribute('src').slice(-60));
"""

IMAGES_OUTSIDE_FIGURES = """
const images = [...document.querySelectorAll('article .cell_output img')];
return images.filter(image => !image.closest('figure')).length;
"""

TEXT_WITHOUT_CODE = """
const copy = document.querySelector('article').cloneNode(true);
copy.querySelectorAll('.cell_input, script').forEach(node => node.remove());
return copy.textContent;
"""

VISIBLE_SEARCH_BOXES = """
const visible = query => [...document.querySelectorAll(query)].filter(n => n.checkVisibility());
const fields = visible('input[type=search]').filter(field => !field.closest('dialog'));
const buttons = visible('.search-button-field, .search-button__button');
return fields.length + buttons.length;
"""

SOURCE_BUTTONS = """
const buttons = document.querySelectorAll('a.btn-download-source-button');
return [...buttons].map(button => button.href);
"""

# Contrast as WCAG defines it: of the relative luminance of a cell's text and that of the first
# ground behind it that is not transparent.
CELLS_OF_LITTLE_CONTRAST = """
const least = arguments[0];
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) =>
  0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = numbers(getComputedStyle(node).backgroundColor);
    if (colour.length < 4 || colour[3] > 0.5) return colour;
  }
  return [255, 255, 255];
};
const contrast = cell => {
  const text = luminance(numbers(getComputedStyle(cell).color));
  const behind = luminance(ground(cell));
  return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
};
return [...document.querySelectorAll('.cell_output td, .cell_output th')]
  .filter(cell => cell.textContent.trim())
  .map(cell => [contrast(cell), cell.textContent])
  .filter(([found, text]) => found < least)
  .slice(0, 5);
"""

SHOWN_PICTURES = """
const images = [...document.querySelectorAll('article img')].filter(i => i.checkVisibility());
return images.map(image => [image.currentSrc, image.getBoundingClientRect().width]);
"""

# Formulas are drawn by MathJax, as curves.
SMALL_TEXTS = """
const least = arguments[0];
const walker = document.createTreeWalker(document.querySelector('article'), NodeFilter.SHOW_TEXT);
const small = [];
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  const isText = text && !parent.closest('mjx-container, script, style');
  const size = parseFloat(getComputedStyle(parent).fontSize);
  if (isText && parent.checkVisibility() && size < least) small.push([size, text.slice(0, 40)]);
}
return small.slice(0, 5);
"""

WIDE_TABLES_WITHOUT_A_BOX = """
return [...document.querySelectorAll('article table')]
  .filter(table => !table.closest('.scrolls[tabindex="0"][aria-label]'))
  .map(table => table.outerHTML.slice(0, 80));
"""

LINES_BELOW_FIGURES = """
const about = figure => [
  figure.querySelector('.legend a.download')?.href ?? '',
  figure.querySelector('.legend p > code')?.textContent ?? '',
];
return [...document.querySelectorAll('article .cell_output figure')].map(about);
"""

CUT_CODE = """
const cut = pre => pre.checkVisibility() && pre.scrollWidth > pre.clientWidth + 1;
return [...document.querySelectorAll('article pre')]
  .filter(pre => !pre.closest('.cell_output') && cut(pre))
  .map(pre => pre.textContent.slice(0, 60));
"""

LOADED = """
const entries = performance.getEntriesByType('resource').map(entry => entry.name);
return [document.URL, ...entries];
"""

# Colours change at once, so that none is looked at on its way from one theme to the other.
STILL = """
const style = document.createElement('style');
const none = 'transition: none !important; animation: none !important';
style.textContent = `*, ::before, ::after { ${none} }`;
document.head.append(style);
"""

RUN_AXE = """
const done = arguments[0];
const options = {runOnly: ['wcag2a', 'wcag2aa'], resultTypes: ['violations']};
axe.run(document, options).then(found => done(
  found.violations
    .filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => [one.id, one.nodes.length, one.nodes[0].html.slice(0, 160)])
), error => done([['axe failed', 1, String(error)]]));
"""

# What may be wider than the page is what scrolls by itself, and what is inside of it.
ELEMENTS_BEYOND_THE_PAGE = """
const scrolls = node => /auto|scroll|hidden/.test(getComputedStyle(node).overflowX);
const inside = node => {
  for (let p = node.parentElement; p && p.tagName != 'ARTICLE'; p = p.parentElement) {
    if (scrolls(p)) return true;
  }
  return false;
};
const beyond = node => node.getBoundingClientRect().right > innerWidth + 1;
return [...document.querySelectorAll('article *')]
  .filter(node => node.checkVisibility() && beyond(node) && !inside(node))
  .map(node => node.outerHTML.slice(0, 120))
  .slice(0, 5);
"""


def size(browser, width: int, height: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert (HTML / "index.html").is_file(), "there is no built book; run make book first"
    driver = shutil.which("chromedriver")
    binary = shutil.which("chromium")
    assert driver and binary, (
        "Chromium or its driver is missing (Debian: apt-get install chromium chromium-driver)"
    )
    options = Options()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.set_page_load_timeout(120)
    browser.set_script_timeout(120)
    yield browser
    browser.quit()


def visit(browser, entry: str) -> None:
    """Open a page and wait until its mathematics is set."""
    browser.get((HTML / f"{entry}.html").as_uri())
    browser.execute_async_script(WAIT_FOR_MATHEMATICS)


@pytest.fixture(scope="module", params=entries_of(table_of_contents()))
def page(request, browser):
    size(browser, *WIDE)
    browser.get_log("browser")
    visit(browser, request.param)
    browser.entry = request.param
    return browser


def article(browser):
    return browser.find_element(By.CSS_SELECTOR, "article.bd-article")


def test_a_page_opens_with_one_title_and_no_error_in_the_console(page):
    errors = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    titles = article(page).find_elements(By.TAG_NAME, "h1")
    assert len(titles) == 1


def test_nothing_is_loaded_from_another_place(page):
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if urlparse(name).scheme in ("http", "https")] == []


def test_every_image_is_there_and_has_alternative_text(page):
    load_images(page)
    images = page.execute_script(IMAGES)
    assert [source for source, width, _ in images if not width] == []
    assert [source for source, _, text in images if not is_description(text or "")] == []


def load_images(page) -> None:
    """Load all images, those below the fold too, and wait for them."""
    page.execute_script(LOAD_IMAGES)
    WebDriverWait(page, 20).until(lambda p: p.execute_script(IMAGES_ARE_LOADED))


def is_description(text: str) -> bool:
    """Whether an alternative text says something, rather than repeat the name of the file."""
    return len(text.strip()) >= 10 and not re.fullmatch(r"\S+\.(png|svg)", text)


def test_every_figure_is_a_vector_graphic_or_a_png(page):
    sources = page.execute_script(FIGURES)
    assert [name for name in sources if not name.endswith((".svg", ".png"))] == []


def test_every_internal_link_leads_somewhere(page):
    links = page.execute_script("return [...document.querySelectorAll('a[href]')].map(a => a.href)")
    broken = {link for link in links if urlparse(link).scheme == "file" and not leads(link)}
    assert sorted(broken) == []


def leads(link: str) -> bool:
    """Whether the file of a link is there, and on an html page the place that it names."""
    url = urlparse(link)
    target = Path(unquote(url.path))
    if not target.is_file():
        return False
    if not url.fragment or target.suffix != ".html":
        return True
    place = re.escape(unquote(url.fragment))
    return bool(re.search(rf"""(id|name)=["']{place}["']""", target.read_text()))


def test_figures_are_numbered_and_captioned(page):
    figures = article(page).find_elements(By.TAG_NAME, "figure")
    captions = article(page).find_elements(By.CSS_SELECTOR, "figure figcaption")
    assert len(captions) == len(figures)
    texts = [caption.text.strip() for caption in captions]
    numbered = re.compile(r"Fig(ure|\.) \d+(\.\d+)*\s+\S.{20,}", re.DOTALL)
    assert [text for text in texts if not numbered.match(text)] == []


def test_the_figures_of_a_chapter_that_ran_are_all_captioned(page):
    assert page.execute_script(IMAGES_OUTSIDE_FIGURES) == 0


def test_mathematics_is_set_without_a_network(page):
    formulas = article(page).find_elements(By.CSS_SELECTOR, "span.math, div.math")
    unset = [f.text[:60] for f in formulas if not f.find_elements(By.TAG_NAME, "mjx-container")]
    assert unset == []
    assert article(page).find_elements(By.CSS_SELECTOR, "mjx-merror, [data-mjx-error]") == []


def test_the_text_has_no_traceback_placeholder_or_nan(page):
    text = page.execute_script(TEXT_WITHOUT_CODE)
    assert "Traceback (most recent call last)" not in text
    for placeholder in ("{{", "}}", "{ref}", "{numref}", "{glue", "{cite"):
        assert placeholder not in text
    assert not re.search(r"(?<![\w.])nan(?![\w.-])", text)
    assert not re.search(r"(/home/|/root/|/tmp/|/work/)", text), "a local path"


def test_there_is_one_search_box_and_a_button_for_the_source(page):
    assert page.execute_script(VISIBLE_SEARCH_BOXES) == 1
    sources = page.execute_script(SOURCE_BUTTONS)
    assert len(sources) == 1
    assert Path(unquote(urlparse(sources[0]).path)).is_file()


def test_the_theme_switches_between_light_and_dark(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    shades = {theme: page.execute_script(ground) for theme in themes(page)}
    assert set(shades) == {"light", "dark"}
    assert shades["light"] != shades["dark"]


def test_tables_can_be_read_in_light_and_dark(page):
    for _ in themes(page):
        assert page.execute_script(CELLS_OF_LITTLE_CONTRAST, LEAST_CONTRAST) == []


def on_a_phone(page) -> None:
    size(page, *PHONE)
    WebDriverWait(page, 10).until(lambda p: p.execute_script("return innerWidth") == PHONE[0])


def themes(page):
    """The page in each of its themes: light, dark, and as the system has it."""
    button = page.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
    for _ in range(3):
        page.execute_script("arguments[0].click()", button)
        yield page.execute_script("return document.documentElement.dataset.theme")


def test_a_phone_shows_the_article_without_sideways_scrolling_in_both_themes(page):
    on_a_phone(page)
    try:
        for _ in themes(page):
            assert page.execute_script(ELEMENTS_BEYOND_THE_PAGE) == []
            width = page.execute_script("return document.scrollingElement.scrollWidth")
            assert width <= PHONE[0]
        assert page.execute_script(CUT_CODE) == []
    finally:
        size(page, *WIDE)


def smallest_type(picture: str) -> float:
    """Size of the smallest type of an SVG, over the width of the SVG.

    matplotlib draws letters as curves: a text of 9 points is scaled by 0.09, and an index in it by
    0.7 once more.
    """
    width = float(re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) [\d.]+"', picture)[1])
    sizes = [float(found) for found in re.findall(r'font-size="([\d.]+)"', picture)]
    for text in re.split(r'<g id="text_\d+">', picture)[1:]:
        scale = re.search(r"scale\((0\.\d+) -0\.\d+\)", text)
        if scale:
            inner = re.findall(r"<use [^>]*scale\((0\.\d+)\)", text)
            sizes.append(100 * float(scale[1]) * min([1.0, *map(float, inner)]))
    return min(sizes) / width if sizes else 1.0


@pytest.mark.parametrize("width", [PHONE[0], WIDE[0]])
def test_no_type_is_too_small_to_read(page, width):
    try:
        if width == PHONE[0]:
            on_a_phone(page)
        load_images(page)
        small = {}
        for source, drawn in page.execute_script(SHOWN_PICTURES):
            file = Path(unquote(urlparse(source).path))
            if file.suffix == ".svg":
                found = smallest_type(file.read_text(encoding="utf-8")) * drawn
                if found < LEAST_TYPE:
                    small[file.name] = round(found, 1)
        assert small == {}
        assert page.execute_script(SMALL_TEXTS, LEAST_TYPE) == []
    finally:
        size(page, *WIDE)


def test_a_phone_shows_the_arrangement_that_was_made_for_it(page):
    pictures = page.find_elements(By.CSS_SELECTOR, "article picture")
    wide = {source for source, _ in page.execute_script(SHOWN_PICTURES)}
    on_a_phone(page)
    try:
        load_images(page)
        slim = {source for source, _ in page.execute_script(SHOWN_PICTURES)}
        assert sum(source.endswith("-narrow.svg") for source in slim) == len(pictures)
        assert not any(source.endswith("-narrow.svg") for source in wide)
    finally:
        size(page, *WIDE)


def test_a_figure_offers_its_data_and_the_command_that_makes_it(page):
    for link, command in page.execute_script(LINES_BELOW_FIGURES):
        file = Path(unquote(urlparse(link).path))
        assert file.suffix in (".csv", ".svg") and file.stat().st_size > 0
        assert re.fullmatch(r"python -m georep_utils run \S+( --only \d\d)?", command)


def test_wide_tables_scroll_in_a_box_that_the_keyboard_reaches(page):
    assert page.execute_script(WIDE_TABLES_WITHOUT_A_BOX) == []


def test_a_page_has_a_description_and_an_icon(page):
    head = page.find_element(By.TAG_NAME, "head")
    described = head.find_elements(By.CSS_SELECTOR, "meta[name=description]")
    assert [len(one.get_attribute("content")) > 20 for one in described] == [True]
    icon = head.find_element(By.CSS_SELECTOR, "link[rel~=icon]").get_attribute("href")
    assert Path(unquote(urlparse(icon).path)).is_file()


def test_a_page_and_what_it_loads_are_small(page):
    load_images(page)
    files = {Path(unquote(urlparse(name).path)) for name in page.execute_script(LOADED)}
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in files if file.is_file()}
    assert sum(sizes.values()) < MOST_BYTES, sorted(sizes.items(), key=lambda one: -one[1])[:5]


def test_axe_finds_no_serious_violation_in_either_theme(page):
    page.execute_script(STILL)
    page.execute_script(AXE.read_text(encoding="utf-8"))
    found = {theme: page.execute_async_script(RUN_AXE) for theme in set_of_themes(page)}
    assert {theme: violations for theme, violations in found.items() if violations} == {}


def set_of_themes(page):
    """Light and dark, once each."""
    seen = set()
    for theme in themes(page):
        if theme not in seen:
            seen.add(theme)
            yield theme


def test_a_search_finds_the_chapter_on_overlaps(browser):
    browser.get((HTML / "search.html").as_uri() + "?q=overlap")
    WebDriverWait(browser, 30).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    links = browser.find_elements(By.CSS_SELECTOR, "#search-results li a")
    assert any("05_overlaps" in link.get_attribute("href") for link in links)


def test_the_first_page_leads_to_the_book(browser):
    browser.get((HTML / "index.html").as_uri())
    WebDriverWait(browser, 10).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "article.bd-article h1")
    )


def test_chapters_wait_for_those_whose_tables_they_read_in_other_runs():
    results = sorted((REPOSITORY / "data/runs").glob("*/kept/*/*/result.json"))
    kept = [(path.parts[-5], path.parts[-3], io.read_object(path)) for path in results]
    writers = {short: (run, name) for run, name, entry in kept for short in entry["written"]}
    needed = {
        (name, writers[short][1])
        for run, name, entry in kept
        for short in entry["read"]
        if short in writers and writers[short][0] != run
    }
    assert needed, "some chapter reads tables of another run"
    assert [(name, of) for name, of in needed if of not in stages._header(name)["reads"]] == []
