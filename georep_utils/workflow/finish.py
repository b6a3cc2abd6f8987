"""What figures, tables and pages gain when the book is built. No science here.

A notebook keeps three things of each figure: a picture for wide pages, one for phones, and the
tables that it was drawn from. Before the build, `prepare` takes the second and the third out of the
notebook, offers the tables for download, and says below the caption how to make the figure again.
After the build, `finish` lets every page choose between the two pictures by its width, gives the
page a description, and puts wide tables in a box that scrolls, by the keyboard too.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat

WIDE = "image/svg+xml"
PHONE = "image/x-narrow+svg"  # as `georep_utils.figures` names it
DATA = "text/csv"
PHONE_WIDTH = 760  # pixels; on narrower pages type in the wide picture would be too small
DESCRIPTION = 200  # letters of a page's description
PICTURE = re.compile(r'<img [^>]*src="(?P<path>[^"]*_images/(?P<stem>[^"/]+)\.svg)"[^>]*>')
OPENING = re.compile(r"<article.*?<h1.*?</h1>.*?<p>(?P<text>.*?)</p>(?P<rest>.*)", re.DOTALL)
ITEM = re.compile(r"<li>(.*?)</li>", re.DOTALL)
TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
# Sphinx calls a bibliography a list, but not its entries list items: then it is better none.
NO_LIST = '<div role="list" class="citation-list">'
BOX = '<div class="scrolls" tabindex="0" role="region" aria-label="{name}">'


# ------------------------------------------------------------------------------- before the build


def prepare(page: Path, run: str) -> dict[str, str]:
    """Complete the figures of a staged notebook, in place.

    Returns
    -------
    dict
        Name of a wide picture in the built book, without its ending, to its picture for phones.
    """
    # Without validation, which takes most of the time: a page was valid when it was made.
    notebook = nbformat.v4.reads(page.read_text(encoding="utf-8"))
    narrow = {}
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            kept = output.get("data", {})
            if WIDE in kept and PHONE in kept:
                narrow[_name_in_book(kept[WIDE])] = kept.pop(PHONE)
                table = kept.pop(DATA, None)
                _say_how(cell, kept[WIDE], table, page, run, number)
    page.write_text(nbformat.v4.writes(notebook) + "\n", encoding="utf-8")
    return narrow


def _name_in_book(picture: str) -> str:
    """The name that MyST-NB gives to a picture, without its ending."""
    return hashlib.sha256(os.linesep.join(picture.splitlines()).encode()).hexdigest()


def _say_how(cell, picture: str, table: str | None, page: Path, run: str, number: int) -> None:
    """Offer what a figure was drawn from, and the command that makes it, below its caption."""
    figure = cell.metadata.get("mystnb", {}).get("figure")
    if not figure or not figure.get("caption"):
        return
    name = figure.get("name", f"{run}-{page.stem}-{number}")
    kind = "svg" if table is None else "csv"
    file = page.parent / "_drawn" / f"{name}.{kind}"
    file.parent.mkdir(exist_ok=True)
    file.write_text(picture if table is None else table, encoding="utf-8")
    figure["caption"] += "\n\n" + how_to_make(run, file, page.parent, page.stem.split("_")[0])


def how_to_make(run: str, file: Path, folder: Path, notebook: str = "") -> str:
    """One line of MyST: the run, what its figure was drawn from, and the command that makes it.

    Parameters
    ----------
    file : Path
        What is offered for download, to a page in `folder`; nothing, where it is missing.
    notebook : str
        The number of the notebook; the whole run, if empty.
    """
    parts = [f"Run {run}."]
    if file.is_file():
        what = "Data" if file.suffix == ".csv" else "Picture"
        place = os.path.relpath(file, folder)
        parts.append(f"{what}: {{download}}`{file.name} <{place}>`.")
    only = f" --only {notebook}" if notebook else ""
    parts.append(f"Make it again: `python -m georep_utils run {run}{only}`")
    return " ".join(parts)


# -------------------------------------------------------------------------------- after the build


def finish(built: Path, narrow: Mapping[str, str]) -> None:
    """Complete the pages of a built book.

    Parameters
    ----------
    narrow : mapping
        Of `prepare`, for all pages.

    Raises
    ------
    RuntimeError
        If a picture for phones belongs to no picture of a page.
    """
    used = set()
    for page in built.rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        text = PICTURE.sub(lambda image: _by_width(image, narrow, used), before)
        text = _described(_boxed(text)).replace(NO_LIST, NO_LIST.replace(' role="list"', ""))
        if text != before:
            page.write_text(text, encoding="utf-8")
    for stem in used:
        (built / "_images" / f"{stem}-narrow.svg").write_text(narrow[stem], encoding="utf-8")
    lost = sorted(set(narrow) - used)
    if lost:
        raise RuntimeError(
            f"{len(lost)} pictures for phones have no wide picture on a page, such as {lost[0]}; "
            "each was expected in _images; has MyST-NB another way to name pictures?"
        )


def _by_width(image: re.Match, narrow: Mapping[str, str], used: set[str]) -> str:
    """An image as a choice between two, by the width of the page."""
    if image["stem"] not in narrow:
        return image[0]
    used.add(image["stem"])
    other = image["path"].removesuffix(".svg") + "-narrow.svg"
    source = f'<source media="(max-width: {PHONE_WIDTH}px)" srcset="{other}">'
    return f"<picture>{source}{image[0]}</picture>"


def _boxed(text: str) -> str:
    """A page whose tables scroll inside boxes that the keyboard reaches."""
    numbers = iter(range(1, 1 + len(TABLE.findall(text))))
    return TABLE.sub(
        lambda table: BOX.format(name=f"Table {next(numbers)}") + table[0] + "</div>", text
    )


def _words(text: str) -> str:
    """What a reader sees of html, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def _described(text: str) -> str:
    """A page with its first sentence as its description, or the first item that it announces."""
    opening = OPENING.search(text)
    if opening is None or '<meta name="description"' in text:
        return text
    sentence = re.split(r"(?<=[.?!])\s", _words(opening["text"]))[0]
    item = ITEM.search(opening["rest"])
    if sentence.endswith(":") and item:
        announced = _words(item[1]).rstrip(";,")
        sentence = f"{sentence} {announced}"
    if len(sentence) > DESCRIPTION:
        sentence = sentence[:DESCRIPTION].rsplit(" ", 1)[0] + " …"
    meta = f'<meta name="description" content="{html.escape(sentence)}">'
    return text.replace("</title>", f"</title>\n    {meta}", 1)
