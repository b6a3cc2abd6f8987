"""Executed notebooks as pages of the book, and the strict build of its html. No science here.

The book is built from a copy of its sources, made for the occasion: prose from `book/`, pages of
the runs that were executed, and a table of contents that names what there is. The html appears in
one step, when it is whole; until then the former one stays.

Prose can show what a run left in its folder of results, by a comment on a line of its own:

    <!-- table: paper/first_page.csv -->

    <!-- figure: paper/first_page.svg
    :name: fig-first-page
    :alt: what the picture shows

    The caption.
    -->

The csv becomes a table, the picture a figure with these options; `first_page-narrow.svg` beside it
is shown on phones, and `first_page-data.csv` is offered below it. Where the run has not left the
file, one sentence says which run makes it. What is written from code or run files has a name:

    <!-- made: parameter-reference -->

The address of the repository stands in CITATION.cff alone. Prose has it by its placeholder; the
buttons for the repository, an issue, an edit or a launch get it from there, too.
"""

from __future__ import annotations

import ast
import csv
import os
import pprint
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
import yaml

from georep_utils import io
from georep_utils.io import REPOSITORY, UserError, atomic
from georep_utils.workflow import reference
from georep_utils.workflow.engine import LEFT_OUT
from georep_utils.workflow.finish import finish, how_to_make, prepare
from georep_utils.workflow.runs import Parameter, notebook_file, read_run, run_files

WIDTH = 88  # characters of a line of code on a page
SHOWN = "book/runs/training/"  # pages of notebooks that are shown, but not run for the book
NUMBERED = 2  # chapters and their sections
RUN_PAGES = re.compile(r"book/runs/(?P<run>[^/]+)/(?P<notebook>[^/]+)")
INSERTED = re.compile(
    r"^<!-- (?P<kind>table|figure): (?P<path>[\w./-]+)(?P<options>.*?)-->$",
    re.MULTILINE | re.DOTALL,
)
MADE = re.compile(r"^<!-- made: (?P<name>[\w-]+) -->$", re.MULTILINE)
MADE_HERE = {
    "brought-example": reference.brought_example,
    "parameter-reference": reference.parameter_reference,
    "effects": reference.effects_reference,
    "model-options": reference.model_option_reference,
    "dataset-options": reference.dataset_option_reference,
}
GITHUB = re.compile(r"https://github\.com/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?")
LAUNCHED = "launch"  # the branch with executed pages, which .github/workflows/pages.yml writes
ADDRESS = "{{repository}}"  # in prose: where the repository lies, which CITATION.cff says
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
BUILT_WITH = [
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "pydata-sphinx-theme",
    "sphinxcontrib-bibtex",
]
CODE_OF_PAGES = (
    "georep_utils.workflow.finish",
    "georep_utils.workflow.pages",
    "georep_utils.workflow.reference",
    "georep_utils.workflow.runs",
)


# ------------------------------------------------------------------------------------------- pages


def as_page(notebook, run: str, declared: Mapping[str, Parameter] | None = None):
    """An executed notebook as a page of the book.

    It has one cell of parameters, with the values that were used; labels named after the run; and
    no cell that was left out.
    """
    cells = []
    injected: dict[str, str] = {}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            injected = _assignments(cell.source)
        elif LEFT_OUT not in tags:
            cells.append(cell)
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = _parameters_shown(cell.source, injected, declared or {})
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("{{run}}", run)
        if "mystnb" in cell.metadata:
            cell.metadata["mystnb"] = _with_run(cell.metadata["mystnb"], run)
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
    notebook.cells = cells
    for name in ("papermill", "georep"):
        notebook.metadata.pop(name, None)
    return notebook


def _assignments(source: str) -> dict[str, str]:
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.unparse(node.value) for node in nodes}


def _with_run(value, run: str):
    """`value` with {{run}} in all of its texts replaced."""
    if isinstance(value, str):
        return value.replace("{{run}}", run)
    if isinstance(value, Mapping):
        return {key: _with_run(inner, run) for key, inner in value.items()}
    return value


def _parameters_shown(source: str, used: Mapping[str, str], declared: Mapping) -> str:
    """The parameters cell with the values that were used, and what each of them means."""
    lines = []
    for name, default in _assignments(source).items():
        code = _assignment(name, used.get(name, default))
        meaning = declared[name].meaning if name in declared else ""
        if not meaning:
            lines.append(code)
        elif "\n" not in code and len(code) + len(meaning) + 4 <= WIDTH:
            lines.append(f"{code}  # {meaning}")
        else:
            lines += [*_comment(meaning), code]
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    """`text` as comment lines that fit the page."""
    lines = ["#"]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > WIDTH:
            lines.append("#")
        lines[-1] += f" {word}"
    return lines


def _assignment(name: str, value: str) -> str:
    """`name = value`, on several lines where one is too long for the page."""
    line = f"{name} = {value}"
    if len(line) <= WIDTH:
        return line
    spread = pprint.pformat(ast.literal_eval(value), width=WIDTH - 8, sort_dicts=False)
    return f"{name} = {spread}"


def _shown_page(entry: str):
    """The page of a notebook that is shown but not run, such as that of the training."""
    notebook = jupytext.read(notebook_file(Path(entry).name))
    notebook.metadata.setdefault("language_info", {"name": "python"})
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return as_page(notebook, Path(entry).parent.name)


# ------------------------------------------------------------------------------- table of contents


def table_of_contents() -> dict:
    """`_toc.yml`, with the chapters that exist.

    Chapters of runs that were never executed are left out. Runs that have pages and are not named
    there get a part of their own, in the order of the run files, behind the last numbered part: so
    the chapters of `_toc.yml` keep their numbers.
    """
    toc = yaml.safe_load((REPOSITORY / "_toc.yml").read_text(encoding="utf-8"))
    named = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    for part in toc["parts"]:
        part["chapters"] = [c for c in part["chapters"] if _exists(c["file"])]
    own = []
    for name in run_files():
        run = read_run(name)
        entries = [f"book/runs/{run['name']}/{notebook}" for notebook in run["notebooks"]]
        chapters = [{"file": entry} for entry in entries if _exists(entry)]
        if chapters and not named.intersection(entries):
            own.append({"caption": run["title"], "numbered": NUMBERED, "chapters": chapters})
    numbered = [i for i, part in enumerate(toc["parts"], 1) if part.get("numbered")]
    behind = max(numbered, default=len(toc["parts"]))
    toc["parts"][behind:behind] = own
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    return toc


def _exists(entry: str) -> bool:
    """Whether a chapter can be shown; prose that is missing is left for `build_html` to name."""
    if not RUN_PAGES.fullmatch(entry) or entry.startswith(SHOWN):
        return True
    return _source_of(entry) is not None


def _source_of(entry: str) -> Path | None:
    """The file of a chapter, or None where there is none."""
    for base in (io.root(), REPOSITORY):
        for suffix in (".md", ".ipynb"):
            path = base / f"{entry}{suffix}"
            if path.is_file():
                return path
    return None


def entries_of(toc: Mapping) -> list[str]:
    """All chapters of a table of contents, the first page too."""
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


# ------------------------------------------------------------------------------------- the html


def build_html(made: Mapping[str, str] | None = None) -> Path:
    """Build the html strictly, unless the last good build had the same inputs; its folder.

    Parameters
    ----------
    made
        Name -> MyST, to stand in prose where `<!-- made: NAME -->` does.

    Raises
    ------
    UserError
        If a chapter of `_toc.yml` is missing.
    RuntimeError
        For any warning or error, unresolved reference or missing figure.
    """
    build = REPOSITORY / "_build"
    with io.lock(build / ".lock", "building the book"):
        return _build(build, made or {})


def _build(build: Path, made: Mapping[str, str]) -> Path:
    source = build / "next" / "source"
    shutil.rmtree(build / "next", ignore_errors=True)
    narrow = stage(table_of_contents(), source, made)
    key = _key(source, narrow)
    html = build / "html"
    # A name of its own each time: readers may still be in an earlier build of the same key.
    finished = build / f"html-{key[:12]}-{time.time_ns()}"
    if io.read_object(build / "built.json").get("key") == key and (html / "index.html").is_file():
        print("the book is up to date", flush=True)
        shutil.rmtree(build / "next")
        return html
    run_jupyter_book(source, build)
    finish(build / "next/output/_build/html", narrow)
    (build / "next/output/_build/html").rename(finished)
    _point(html, finished)
    io.write_json(build / "built.json", {"key": key})
    for old in build.glob("html-*"):
        if old != finished:
            shutil.rmtree(old)
    for link in build.glob(".html-*"):  # of builds that were killed
        link.unlink()
    shutil.rmtree(build / "next")
    return html


def stage(toc: Mapping, source: Path, made: Mapping[str, str]) -> dict[str, str]:
    """Copy everything that the book shows below `source`; the pictures for phones, by name."""
    source.mkdir(parents=True)
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text(encoding="utf-8"))
    config = with_repository(config, repository())
    (source / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    (source / "_toc.yml").write_text(yaml.safe_dump(dict(toc), sort_keys=False))
    skipped = shutil.ignore_patterns("runs", "results", ".*")
    shutil.copytree(REPOSITORY / "book", source / "book", ignore=skipped)
    narrow = {}
    for entry in entries_of(toc):
        target = source / f"{entry}.ipynb"
        if entry.startswith(SHOWN):
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(_shown_page(entry), target)
            continue
        found = _source_of(entry)
        if found is None:
            raise UserError(
                f"the book names {entry}, which is missing; restore the file, or correct _toc.yml"
            )
        if found.suffix == ".ipynb":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, target)
            narrow |= prepare(target, target.parent.name)
    for path in source.rglob("*.md"):
        _complete(path, source, made)
    _loosen_references(source)
    prose = "\n".join(path.read_text(encoding="utf-8") for path in source.rglob("*.md"))
    for path in (source / "book").rglob("*-narrow.svg"):
        stem = path.stem.removesuffix("-narrow")
        if f"/{stem}.svg" in prose:
            narrow[stem] = path.read_text(encoding="utf-8")
    return narrow


def _complete(path: Path, source: Path, made: Mapping[str, str]) -> None:
    """Put what a page of prose asks for in its place: parameters, results of runs, addresses."""
    before = path.read_text(encoding="utf-8")
    text = MADE.sub(lambda match: _made(match["name"], made), before)
    if ADDRESS in text:
        text = text.replace(ADDRESS, repository())
    text = INSERTED.sub(lambda match: _inserted(match, path.parent, source), text)
    if text != before:
        path.write_text(text, encoding="utf-8")


def _made(name: str, made: Mapping[str, str]) -> str:
    """What is written from code or run files under this name."""
    if name in made:
        return made[name]
    if name not in MADE_HERE:
        known = ", ".join(sorted({*made, *MADE_HERE}))
        raise UserError(f"nothing is made under the name {name}; expected one of {known}")
    return MADE_HERE[name]()


def repository() -> str:
    """The address of the repository, from CITATION.cff."""
    about = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    return about["repository-code"]


def with_repository(config: Mapping, address: str) -> dict:
    """The configuration of Jupyter Book with the buttons that the repository's address allows.

    An address on GitHub gives buttons for the repository, an issue and an edit, and a launch on
    Binder or Colab. They are links: nothing is loaded from elsewhere. At any other address the
    theme does not know where issues and files are, so that there are no buttons.

    A chapter is written as a script in `notebooks/`, and its page is executed from a copy. So the
    button for an edit leads to the script. What is launched must be an executed page, which the
    main branch does not have: a branch of its own has them.
    """
    found = GITHUB.fullmatch(address)
    config = dict(config)
    if found is None:
        return config
    edit = (
        f"https://github.com/{found['owner']}/{found['name']}/edit/main/"
        "{% if pagename.startswith('book/runs/') %}"
        "notebooks/{{ pagename.split('/')[-1] }}.py"
        "{% else %}{{ file_name }}{% endif %}"
    )
    # Among the options of the theme, because those of _config.yml take the place of what Jupyter
    # Book would make of `repository` and `launch_buttons`.
    options = {
        "repository_url": address,
        "repository_branch": LAUNCHED,
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }
    context = {"edit_page_url_template": edit, "edit_page_provider_name": "GitHub"}
    sphinx = dict(config.get("sphinx", {}))
    settings = dict(sphinx.get("config", {}))
    for name, more in {"html_theme_options": options, "html_context": context}.items():
        settings[name] = dict(settings.get(name, {})) | more
    return config | {"sphinx": sphinx | {"config": settings}}


def _inserted(match: re.Match, folder: Path, source: Path) -> str:
    """A table or figure of a run, as MyST for a page in `folder`."""
    short = match["path"]
    found = _result(short)
    if found is None:
        run = short.split("/")[0]
        return (
            f"*Here stands a {match['kind']} that the run {_escaped(run)} makes: "
            f"`python -m georep_utils run {run}`, then build the book again.*"
        )
    if match["kind"] == "table":
        return _table_of(found)
    target = source / "book/_results" / short
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target)
    for ending in ("-narrow.svg", "-data.csv"):
        beside = found.with_name(found.stem + ending)
        if beside.is_file():
            shutil.copyfile(beside, target.with_name(beside.name))
    about = how_to_make(short.split("/")[0], target.with_name(f"{found.stem}-data.csv"), folder)
    options = match["options"].strip()
    return f"```{{figure}} {os.path.relpath(target, folder)}\n{options}\n\n{about}\n```"


def _result(short: str) -> Path | None:
    """A file among the results of the runs, or None where there is none.

    Raises
    ------
    UserError
        If the path leads elsewhere.
    """
    if ".." in Path(short).parts or Path(short).is_absolute():
        raise UserError(f"{short} is no file of a run's results; expected RUN/FILE; correct it")
    for base in (io.root(), REPOSITORY):
        path = base / "book/results" / short
        if path.is_file():
            return path
    return None


def _table_of(path: Path) -> str:
    """A csv file as a Markdown table."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if not rows:
        raise UserError(f"{path} is empty; expected a table with a head; run its notebook again")
    return markdown_table(rows)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the head first, as a Markdown table; nothing in them is read as markup."""
    head, *body = [[_escaped(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def _loosen_references(source: Path) -> None:
    """Turn references to chapters and figures of runs that were not executed into plain text.

    Other unresolved references stay, and fail the build.
    """
    labels: set[str] = set()
    texts = [path for suffix in ("md", "ipynb") for path in source.rglob(f"*.{suffix}")]
    for path in texts:
        labels.update(_labels_in(path.read_text(encoding="utf-8")))
    missing = _labels_of_runs() - labels
    if not missing:
        return
    pattern = "|".join(map(re.escape, sorted(missing, key=len, reverse=True)))
    with_text = re.compile(rf"\{{(?:num)?ref\}}`([^`<]+?)\s*<(?:{pattern})>`")
    without = re.compile(rf"\{{(?:num)?ref\}}`({pattern})`")
    for path in texts:
        before = path.read_text(encoding="utf-8")
        after = without.sub(r"*\1*", with_text.sub(r"\1", before))
        if after != before:
            path.write_text(after, encoding="utf-8")


def _labels_in(text: str) -> set[str]:
    """The labels that a page of prose or a notebook defines: of sections, equations and figures."""
    label = r"((?:\{\{run\}\})?[\w.-]+)"
    forms = (rf"\({label}\)=", rf'"name": "{label}"', rf"^:name: {label}$", rf"\$\$ \({label}\)")
    return {found for form in forms for found in re.findall(form, text, re.MULTILINE)}


def _labels_of_runs() -> set[str]:
    """The labels that the chapters of all run files, and what prose shows of them, would have."""
    labels = set()
    for name in run_files():
        run = read_run(name)
        for notebook in run["notebooks"]:
            if notebook_file(notebook).is_file():
                text = notebook_file(notebook).read_text(encoding="utf-8")
                for label in _labels_in(text):
                    if label.startswith("{{run}}"):
                        labels.add(label.replace("{{run}}", run["name"]))
    for path in (REPOSITORY / "book").glob("*.md"):
        for shown in INSERTED.finditer(path.read_text(encoding="utf-8")):
            labels |= _labels_in(shown["options"])
    return labels


def _key(source: Path, narrow: Mapping[str, str]) -> str:
    """What the html depends on: staged files and pictures, the programs that build it, its code."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    content = [[str(path.relative_to(source)), io.file_digest(path)] for path in files]
    versions = {name: version(name) for name in BUILT_WITH}
    return io.digest(content, dict(narrow), versions, io.code_digest(*CODE_OF_PAGES))


def run_jupyter_book(source: Path, build: Path, builder: str = "html") -> None:
    """Build staged sources into next/output below `build`; RuntimeError for any warning."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    output = build / "next/output"
    options = ["--path-output", str(output), "--all", "-n", "-W", "--keep-going"]
    options += ["--builder", builder]
    done = subprocess.run(
        [program, "build", str(source), *options],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=REPOSITORY,
        check=False,
    )
    with atomic(build / "build.log") as temporary:
        temporary.write_text(done.stdout, encoding="utf-8")
    lines = done.stdout.splitlines()
    wrong = [line for line in lines if "WARNING" in line or "ERROR" in line]
    if done.returncode or wrong:
        print("\n".join(wrong or lines[-15:]), file=sys.stderr)
        raise RuntimeError(
            f"the book was not built: {len(wrong)} warnings or errors; all output is in "
            "_build/build.log"
        )


def _point(html: Path, finished: Path) -> None:
    """Let `html` be a link to the finished build: readers have the old one or the new one."""
    link = html.with_name(f".html-{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(finished.name)
    if html.is_dir() and not html.is_symlink():
        shutil.rmtree(html)
    link.replace(html)
