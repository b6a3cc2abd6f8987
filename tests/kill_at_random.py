"""Kill the program at random moments, run it again, and see whether anything was lost.

    python tests/kill_at_random.py                 the whole campaign: `make chaos`
    python tests/kill_at_random.py downloads 5     one kind of work, so many kills

Work is started in a process group of its own, and after a random time the group gets SIGKILL,
which no program can catch. Then the same work is started again, and killed again, until it ends by
itself: its files must then be those of work that nobody disturbed, byte for byte. Meanwhile,
whatever was finished must stay the same file (its inode and its time of change), the built book
must be there at every moment, and two seconds after a kill nothing of the work may be alive.

Everything happens in a copy of the repository. The table goes to `book/results/chaos/chaos.csv`;
work that is killed as often as in KILLS takes the place of its row there.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

import psutil  # noqa: E402 (the path is set first when this is a program)
from campaign_table import keep_row  # noqa: E402
from loopback import serve_hub, serve_tree  # noqa: E402
from plant_faults import copy_of_the_tree  # noqa: E402

RESULT = "book/results/chaos/chaos.csv"
MARK = "GEOREP_KILLED"  # an environment variable, by which every process of the work is known
ORPHAN_SECONDS = 2.0
PATIENCE = 900  # seconds for work that nobody disturbs

SMALL = """n_per_class=12 extract.control_seeds=1 extract.n_completions=1 distances.range_max=16
overlaps.data_k=[5,10] overlaps.label_k=[5] overlaps.robustness_k=[1,30]""".split()
CHAPTERS = "01 02 03 04 05"
LOCAL = "-p scheduler=local -p extract.samples_per_task=40"
CHAPTER = "# %% [markdown]\n# # A chapter\n#\n# Some text.\n\n# %%\nprint(1 + 1)\n"
CONFIG = "title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"


@dataclass
class Work:
    """Something to be done in a folder, again and again.

    Attributes
    ----------
    name
        What the table calls it.
    longest
        The latest moment of a kill, in seconds.
    command
        From a folder and a number that counts the repetitions to the words of a command.
    finished
        From a folder to the files that must not be made again once they are there.
    results
        From a folder to the files that must be the same in the end.
    always
        From a folder to a file that must never be absent once it was there, if there is one.
    prepare
        What a folder needs before the work can begin.
    keeps_folder
        Whether the next repetition goes on in the same folder.
    undisturbed
        The command that makes what the results must be; None for `command` itself.
    environment
        Variables; {folder} in them stands for the folder.
    signs
        Lines of its output, of which each kill awaits the next one before its clock starts. So
        all stages are struck, on a slow machine too. None: the clock starts with the work.
    """

    name: str
    longest: float
    command: Callable[[Path, int], list[str]]
    finished: Callable[[Path], list[Path]]
    results: Callable[[Path], list[Path]]
    always: Callable[[Path], Path] | None = None
    prepare: Callable[[Path], None] = lambda folder: None
    keeps_folder: bool = False
    undisturbed: Callable[[Path, int], list[str]] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    signs: tuple[str, ...] = ()


@dataclass
class Counts:
    """What was seen; a row of the table.

    Attributes
    ----------
    kills, ended
        How often the work was killed, and came to its end.
    different
        Ends with other results than those of undisturbed work.
    finished, made_again
        Files that were finished when work was started again, added up, and those that it replaced.
    looks, absent
        How often somebody looked for a file that must always be there, and in vain.
    orphans
        Processes that were left after `ORPHAN_SECONDS`.
    failed
        Ends with an error.
    stages
        Which notebook, or else which work, was struck how often.
    """

    work: str
    kills: int = 0
    ended: int = 0
    different: int = 0
    finished: int = 0
    made_again: int = 0
    looks: int = 0
    absent: int = 0
    orphans: int = 0
    failed: int = 0
    seconds: int = 0
    stages: Counter = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        return self.different + self.made_again + self.absent + self.orphans + self.failed


# ---------------------------------------------------------------------------------------- one kill


def identities(files: list[Path]) -> dict[Path, tuple[int, int]]:
    """What tells a file from another that was put in its place."""
    found = {}
    for path in files:
        about = path.stat()
        found[path] = (about.st_ino, about.st_mtime_ns)
    return found


def digests(files: list[Path], folder: Path) -> dict[str, str]:
    """sha256 of files by their names below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def alive(mark: str) -> list[psutil.Process]:
    """The processes of the work that carries a mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def orphans(mark: str) -> int:
    """How many processes are left `ORPHAN_SECONDS` after a kill; they are ended then."""
    end = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < end:
        if not alive(mark):
            return 0
        time.sleep(0.1)
    left = alive(mark)
    for process in left:
        print(f"left: {' '.join(process.cmdline())[:200]}", file=sys.stderr)
        process.kill()
    return len(left)


@contextmanager
def watched(path: Path | None, counts: Counts) -> Iterator[None]:
    """Count how often a file was looked for, and was absent."""
    if path is None or not path.is_file():
        yield
        return
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            counts.looks += 1
            counts.absent += not path.is_file()
            time.sleep(0.002)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def output_of(folder: Path) -> Path:
    """Where the work that was started last writes its lines."""
    return folder.with_name("output.txt")


def start(work: Work, command: list[str], folder: Path, mark: str) -> subprocess.Popen:
    """Start a command of some work in a process group of its own."""
    given = {name: text.format(folder=folder) for name, text in work.environment.items()}
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", MARK: mark} | given
    with output_of(folder).open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def stage_of(work: Work, folder: Path) -> str:
    """The notebook that was being executed, or what the work is called."""
    said = output_of(folder).read_text(errors="replace")
    notebooks = re.findall(r"igpt-mini: (\d\d)_\w+$", said, re.MULTILINE)
    if notebooks:
        return notebooks[-1]
    return "start" if work.name.startswith("run") else work.name


def await_sign(sign: str, process: subprocess.Popen, folder: Path) -> None:
    """Wait until a process has written a line, or has ended."""
    while process.poll() is None:
        if sign in output_of(folder).read_text(errors="replace"):
            return
        time.sleep(0.05)


def strike(work: Work, folder: Path, number: int, seconds: float, counts: Counts) -> bool:
    """Do the work for some seconds and kill it; whether it ended before that."""
    before = identities(work.finished(folder))
    counts.finished += len(before)
    mark = uuid.uuid4().hex
    with watched(work.always(folder) if work.always else None, counts):
        process = start(work, work.command(folder, number), folder, mark)
        if work.signs and seconds < PATIENCE:
            await_sign(work.signs[counts.kills % len(work.signs)], process, folder)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            counts.kills += 1
            counts.stages[stage_of(work, folder)] += 1
        counts.orphans += orphans(mark)
    after = identities([path for path in before if path.is_file()])
    counts.made_again += sum(after.get(path) != identity for path, identity in before.items())
    if status:
        counts.failed += 1
        print(output_of(folder).read_text(errors="replace")[-2000:], file=sys.stderr)
    return status is not None


# ------------------------------------------------------------------------------------ the campaign


def campaign(work: Work, kills: int, quiet: Path, seed: int = 0) -> Counts:
    """Kill some work so many times; what was seen.

    Parameters
    ----------
    quiet
        Where the same work is done undisturbed. What is there already need not be done again.
    """
    counts = Counts(work.name)
    rng = random.Random(f"{work.name} {seed}")
    began = time.perf_counter()
    if not quiet.exists():
        _new_folder(work, quiet)
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        folder = _new_folder(work, Path(name) / "folder")
        expected: dict[int, dict] = {}
        number = 0
        if work.always:
            # Let there be something, so that it can be absent.
            _undisturbed(work, folder, 1)
        while counts.kills < kills:
            if number not in expected:
                expected[number] = _undisturbed(work, quiet, number)
            ended = False
            while not ended:
                # With enough kills, the last repetition is let go to its end.
                left = rng.uniform(0, work.longest) if counts.kills < kills else PATIENCE
                ended = strike(work, folder, number, left, counts)
            counts.ended += 1
            counts.different += digests(work.results(folder), folder) != expected[number]
            number = 1 - number if work.keeps_folder else 0
            if not work.keeps_folder:
                shutil.rmtree(folder)
                folder = _new_folder(work, folder)
    counts.seconds = round(time.perf_counter() - began)
    return counts


def _new_folder(work: Work, folder: Path) -> Path:
    folder.mkdir(parents=True)
    work.prepare(folder)
    return folder


def _undisturbed(work: Work, folder: Path, number: int) -> dict[str, str]:
    command = (work.undisturbed or work.command)(folder, number)
    status = start(work, command, folder, "undisturbed").wait(PATIENCE)
    if status:
        said = output_of(folder).read_text(errors="replace")[-2000:]
        raise SystemExit(f"{work.name} fails though nobody disturbs it:\n{said}")
    found = digests(work.results(folder), folder)
    if not found:
        raise SystemExit(f"{work.name} left no results")
    return found


# ----------------------------------------------------------------------------------- kinds of work


def clouds_in(folder: Path) -> list[Path]:
    """The arrays of finished clouds, and of finished searches for neighbours."""
    whole = folder.glob("data/clouds/[!.]*/*.npy")
    return [*whole, *folder.glob("data/clouds/[!.]*/neighbors-*/*.npy")]


def tables_in(folder: Path) -> list[Path]:
    return [*folder.glob("book/results/*/*.csv"), *clouds_in(folder)]


def first_tables_in(folder: Path) -> list[Path]:
    """What the chapters leave that workers share."""
    return [*folder.glob("book/results/*/distances.csv"), *clouds_in(folder)]


def command_of_run(notebooks: str, *words: str) -> list[str]:
    """Some chapters of the bundled model on 120 images."""
    small = [word for assignment in SMALL for word in ("-p", assignment)]
    chosen = [word for number in notebooks.split() for word in ("--only", number)]
    return [sys.executable, "-m", "georep_utils", "run", "igpt-mini", *chosen, *small, *words]


def a_run(
    name: str, longest: float, words: str = "", only: str = "", signs: tuple[str, ...] = ()
) -> Work:
    """Chapters in some way or other; the results must be those of one process without workers."""
    command = command_of_run(only or CHAPTERS, *words.split())
    return Work(
        name,
        longest,
        lambda folder, number: command,
        clouds_in,
        first_tables_in if only else tables_in,
        undisturbed=lambda folder, number: command_of_run(CHAPTERS),
        environment={"GEOREP_ROOT": "{folder}"},
        signs=signs,
    )


def the_book(longest: float) -> Work:
    """The build of a small book, whose first page has one of two texts."""

    def prepare(folder: Path) -> None:
        for place in ("notebooks/runs", "book/reference", "data"):
            (folder / place).mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "georep_utils", folder / "georep_utils", ignore=ignored)
        for file in ("CITATION.cff", "assets"):
            (folder / file).symlink_to(REPOSITORY / file)
        (folder / "notebooks/00_shown.py").write_text(CHAPTER)
        chapters = [{"file": "book/runs/training/00_shown"}]
        parts = [{"caption": "All", "chapters": chapters}]
        toc = {"format": "jb-book", "root": "book/index", "parts": parts}
        (folder / "_toc.yml").write_text(str(toc))
        (folder / "_config.yml").write_text(CONFIG)

    def command(folder: Path, number: int) -> list[str]:
        (folder / "book/index.md").write_text(f"# A book\n\nIts text number {number}.\n")
        program = (
            f"import sys; sys.path[:0] = [{str(folder)!r}]; "
            "from georep_utils.workflow.pages import build_html; build_html()"
        )
        return [sys.executable, "-c", program]

    return Work(
        "book",
        longest,
        command,
        lambda folder: [],
        lambda folder: sorted((folder / "_build/html").rglob("*.html")),
        lambda folder: folder / "_build/html/book/index.html",
        prepare,
        keeps_folder=True,
    )


@contextmanager
def downloads(longest: float, size: int = 40 * 2**20) -> Iterator[Work]:
    """Three files and a model of the hub from servers on the loopback address."""
    with tempfile.TemporaryDirectory(prefix="served-") as name:
        tree = Path(name) / "tree"
        model = Path(name) / "model"
        for folder in (tree, model):
            folder.mkdir()
        made = random.Random(1)
        for number in range(3):
            (tree / f"file-{number}.npy").write_bytes(made.randbytes(size))
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_bytes(made.randbytes(size))
        with serve_tree(tree, fault="drop", times=1) as files, serve_hub({"a/model": model}) as hub:
            program = (
                "import sys; from pathlib import Path\n"
                "from georep_utils.data.download import hub_model\n"
                "from georep_utils.data.transfer import RemoteFile, fetch\n"
                "files, hub, folder = sys.argv[1:]\n"
                "names = [f'file-{number}.npy' for number in range(3)]\n"
                "fetch([RemoteFile(name, f'{files}/{name}', name) for name in names], folder)\n"
                "hub_model('a/model', folder, endpoint=hub)\n"
            )

            def whole(folder: Path) -> list[Path]:
                return sorted([*folder.glob("*.npy"), *folder.glob("hub/a/model/model*")])

            yield Work(
                "downloads",
                longest,
                lambda folder, number: [
                    *(sys.executable, "-c", program),
                    *(files.url, hub.url, str(folder)),
                ],
                lambda folder: sorted(folder.glob("*.npy")),
                whole,
                environment={"HF_HUB_OFFLINE": "0"},
            )


@contextmanager
def kind(name: str) -> Iterator[Work]:
    if name == "downloads":
        with downloads(2.5) as work:
            yield work
        return
    if name == "book":
        yield the_book(4.0)
    elif name == "run":
        yield a_run(name, 20.0)
    elif name == "run, chapter by chapter":
        signs = tuple(f"igpt-mini: {number}_" for number in CHAPTERS.split() for _ in range(2))
        yield a_run(name, 8.0, signs=signs)
    elif name == "run, two at a time":
        yield a_run(name, 20.0, "--jobs 2")
    elif name == "run, local workers":
        signs = ("igpt-mini: 02_", "igpt-mini: 02_", "igpt-mini: 02_", "igpt-mini: 03_")
        yield a_run(name, 25.0, LOCAL, "01 02 03", signs)
    else:
        raise SystemExit(f"there is no work {name!r}; expected one of {', '.join(KILLS)}")


KILLS = {
    "downloads": 30,
    "book": 30,
    "run": 25,
    "run, chapter by chapter": 10,
    "run, two at a time": 12,
    "run, local workers": 13,
}


def keep(counts: Counts) -> None:
    """Put a row into the table, in the place of an earlier one of its kind."""
    struck = ", ".join(f"{stage}: {kills}" for stage, kills in sorted(counts.stages.items()))
    keep_row(REPOSITORY / RESULT, vars(counts) | {"stages": struck}, "work", KILLS)


def in_a_copy(words: list[str]) -> int:
    """Do the campaign in a copy of the repository, which nobody changes; keep its table here."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        copy = Path(name)
        copy_of_the_tree(copy)
        command = [sys.executable, str(copy / "tests" / Path(__file__).name), "--here", *words]
        status = subprocess.run(command, cwd=copy, check=False).returncode
        if (copy / RESULT).is_file():
            (REPOSITORY / RESULT).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / RESULT, REPOSITORY / RESULT)
    return status


def main() -> int:
    words = sys.argv[1:]
    if words[:1] != ["--here"]:
        return in_a_copy(words)
    words = words[1:]
    chosen = {words[0]: int(words[1])} if len(words) == 2 else KILLS
    faults = 0
    with tempfile.TemporaryDirectory(prefix="quiet-") as quiet:
        for name, kills in chosen.items():
            # All kinds of runs must give what one run does, which is made once.
            place = Path(quiet) / name.partition(",")[0] / "folder"
            with kind(name) as work:
                counts = campaign(work, kills, place)
            print(counts, flush=True)
            faults += counts.faults
            if kills >= KILLS[name]:
                keep(counts)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
