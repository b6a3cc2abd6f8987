"""The built book in a browser without a network: what a reader sees on every page, wide and on a phone.

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

from georep_utils.workflow import stages as pipeline

pytestmark = pytest.mark.book
HTML = pipeline.REPOSITORY / "_build/html"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage",
         "--host-resolver-rules=MAP * ~NOTFOUND"]  # fmt: skip
WIDE, PHONE = (1400, 1000), (390, 844)


def entries() -> list[str]:
    toc = pipeline.table_of_contents()
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


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
    assert driver and binary, "Chromium or its driver is missing (Debian: apt-get install chromium chromium-driver)"
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
    browser.execute_async_script(
        "const done = arguments[0]; const wait = () => window.MathJax?.startup?.promise"
        " ? MathJax.startup.promise.then(done, done)"
        " : document.querySelector('.math') && performance.now() < 30000 ? setTimeout(wait, 50) : done(); wait();"
    )


@pytest.fixture(scope="module", params=entries())
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
    assert [h.text.rstrip("#") for h in article(page).find_elements(By.TAG_NAME, "h1")] != []
    assert len(article(page).find_elements(By.TAG_NAME, "h1")) == 1


def test_nothing_is_loaded_from_another_place(page):
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if urlparse(name).scheme in ("http", "https")] == []


def test_every_image_is_there_and_has_alternative_text(page):
    page.execute_script("document.querySelectorAll('article img').forEach(i => { i.loading = 'eager' })")
    WebDriverWait(page, 20).until(
        lambda p: p.execute_script("return [...document.querySelectorAll('article img')].every(i => i.complete)")
    )
    images = page.execute_script(
        "return [...document.querySelectorAll('article img')].map(i => [i.getAttribute('src').slice(-60), i.naturalWidth, i.alt])"
    )
    assert [source for source, width, _ in images if not width] == []
    unnamed = [
        source for source, _, text in images if len((text or "").strip()) < 10 or re.fullmatch(r"\S+\.(png|svg)", text)
    ]
    assert unnamed == []


def test_every_internal_link_leads_somewhere(page):
    here = HTML / f"{page.entry}.html"
    broken = []
    for link in page.execute_script("return [...document.querySelectorAll('a[href]')].map(a => a.href)"):
        url = urlparse(link)
        if url.scheme != "file":
            continue
        target = Path(unquote(url.path))
        if not target.is_file():
            broken.append(link)
        elif url.fragment and target.suffix == ".html":
            text = (here if target == here else target).read_text()
            if not re.search(rf"""(id|name)=["']{re.escape(unquote(url.fragment))}["']""", text):
                broken.append(link)
    assert sorted(set(broken)) == []


def test_figures_are_numbered_and_captioned(page):
    captions = [figure.text.strip() for figure in article(page).find_elements(By.CSS_SELECTOR, "figure figcaption")]
    figures = article(page).find_elements(By.TAG_NAME, "figure")
    assert len(captions) == len(figures)
    assert [text for text in captions if not re.match(r"Fig(ure|\.) \d+(\.\d+)*\s+\S.{20,}", text, re.DOTALL)] == []


def test_the_figures_of_a_chapter_that_ran_are_all_captioned(page):
    loose = page.execute_script(
        "return [...document.querySelectorAll('article .cell_output img')].filter(i => !i.closest('figure')).length"
    )
    assert loose == 0


def test_mathematics_is_set_without_a_network(page):
    formulas = article(page).find_elements(By.CSS_SELECTOR, "span.math, div.math")
    unset = [f.text[:60] for f in formulas if not f.find_elements(By.TAG_NAME, "mjx-container")]
    assert unset == []
    assert article(page).find_elements(By.CSS_SELECTOR, "mjx-merror, [data-mjx-error]") == []


def test_the_text_has_no_traceback_placeholder_or_nan(page):
    text = page.execute_script(
        "const copy = document.querySelector('article').cloneNode(true);"
        "copy.querySelectorAll('.cell_input').forEach(n => n.remove()); return copy.textContent"
    )
    assert "Traceback (most recent call last)" not in text
    for placeholder in ("{{", "}}", "{ref}", "{numref}", "{glue", "{cite"):
        assert placeholder not in text
    assert not re.search(r"(?<![\w.])nan(?![\w.-])", text)
    assert not re.search(r"(/home/|/root/|/tmp/|/work/)", text), "a local path"


def test_there_is_one_search_box_and_a_button_for_the_source(page):
    boxes = page.execute_script(
        "return [...document.querySelectorAll('input[type=search]')].filter(i => i.checkVisibility() && !i.closest('dialog')).length"
        " + [...document.querySelectorAll('.search-button-field, .search-button__button')].filter(b => b.checkVisibility()).length"
    )
    assert boxes == 1
    sources = page.execute_script(
        "return [...document.querySelectorAll('a.btn-download-source-button')].map(a => a.href)"
    )
    assert len(sources) == 1 and Path(unquote(urlparse(sources[0]).path)).is_file()


def test_the_theme_switches_between_light_and_dark(page):
    button = page.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
    shades = {}
    for _ in range(3):
        page.execute_script("arguments[0].click()", button)
        theme = page.execute_script("return document.documentElement.dataset.theme")
        shades[theme] = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert set(shades) == {"light", "dark"}
    assert shades["light"] != shades["dark"]


def test_tables_can_be_read_in_light_and_dark(page):
    """Contrast of text and ground, as WCAG defines it, of every cell that code printed: at least 3 to 1."""
    script = """
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
      const v = c[i] / 255; return sum + share * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
    const ground = n => { for (; n; n = n.parentElement) {
      const c = numbers(getComputedStyle(n).backgroundColor); if (c.length < 4 || c[3] > 0.5) return c; } return [255, 255, 255]; };
    const cells = [...document.querySelectorAll('.cell_output td, .cell_output th')].filter(n => n.textContent.trim());
    return cells.map(n => { const [a, b] = [light(numbers(getComputedStyle(n).color)), light(ground(n))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), n.textContent]; }).filter(pair => pair[0] < 3).slice(0, 5);
    """
    button = page.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
    for _ in range(3):
        page.execute_script("arguments[0].click()", button)
        assert page.execute_script(script) == []


def test_a_phone_shows_the_article_without_sideways_scrolling(page):
    size(page, *PHONE)
    try:
        WebDriverWait(page, 10).until(lambda p: p.execute_script("return innerWidth") == PHONE[0])
        wide = page.execute_script("return document.scrollingElement.scrollWidth")
        over = page.execute_script(
            "const inside = n => { for (let p = n.parentElement; p && p.tagName != 'ARTICLE'; p = p.parentElement)"
            " if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX)) return true; return false };"
            "return [...document.querySelectorAll('article *')].filter(n => n.checkVisibility() &&"
            " n.getBoundingClientRect().right > innerWidth + 1 && !inside(n)).map(n => n.outerHTML.slice(0, 120)).slice(0, 5)"
        )
        assert over == []
        assert wide <= PHONE[0]
    finally:
        size(page, *WIDE)


def test_a_search_finds_the_chapter_on_overlaps(browser):
    browser.get((HTML / "search.html").as_uri() + "?q=overlap")
    WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    found = [a.get_attribute("href") for a in browser.find_elements(By.CSS_SELECTOR, "#search-results li a")]
    assert any("05_overlaps" in link for link in found)


def test_the_front_door_leads_to_the_book(browser):
    browser.get((HTML / "index.html").as_uri())
    WebDriverWait(browser, 10).until(lambda b: b.find_elements(By.CSS_SELECTOR, "article.bd-article h1"))
