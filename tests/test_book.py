"""The built book in a browser without a network: what a reader sees on every page, at two widths.

Needs `make book` and Chromium with its driver; an absent book or browser is a failure, not a skip.
"""

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

from georep_utils.io import REPOSITORY
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
]
WIDE = (1400, 1000)
PHONE = (390, 844)
LEAST_CONTRAST = 3

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
    browser.set_page_load_timeout(60)
    browser.set_script_timeout(60)
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
    button = page.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
    shades = {}
    for _ in range(3):
        page.execute_script("arguments[0].click()", button)
        theme = page.execute_script("return document.documentElement.dataset.theme")
        shades[theme] = page.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
    assert set(shades) == {"light", "dark"}
    assert shades["light"] != shades["dark"]


def test_tables_can_be_read_in_light_and_dark(page):
    button = page.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
    # The button goes round: light, dark, as the system has it.
    for _ in range(3):
        page.execute_script("arguments[0].click()", button)
        assert page.execute_script(CELLS_OF_LITTLE_CONTRAST, LEAST_CONTRAST) == []


def test_a_phone_shows_the_article_without_sideways_scrolling(page):
    size(page, *PHONE)
    try:
        WebDriverWait(page, 10).until(lambda p: p.execute_script("return innerWidth") == PHONE[0])
        assert page.execute_script(ELEMENTS_BEYOND_THE_PAGE) == []
        width = page.execute_script("return document.scrollingElement.scrollWidth")
        assert width <= PHONE[0]
    finally:
        size(page, *WIDE)


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
