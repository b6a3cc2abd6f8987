"""Coverage-guided fuzzing of everything that reads other people's files.

    pip install atheris            # not a requirement of the book
    python tests/fuzz_readers.py                    every reader, as often as in READERS
    python tests/fuzz_readers.py checkpoint 5000    one of them, so many times

Whatever the bytes are, a reader gives a value or raises `UserError` with one line. Anything else,
more than half a minute or more than two gigabytes, stops the fuzzer and is kept as a file. The
table goes to `book/results/fuzzing/fuzzing.csv`; a reader that is called as often as in READERS
takes the place of its row there.
"""

from __future__ import annotations

import io as text_io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from campaign_table import keep_row

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY)]
RESULT = "book/results/fuzzing/fuzzing.csv"
MEMORY_MB = 2048
SECONDS = 30
PARTED = b"\n--- data ---\n"
# The modules whose branches guide the fuzzer: ours, and what they give the bytes to.
WATCHED = ["georep_utils", "yaml", "zipfile", "gzip", "numpy.lib", "json", "ast"]

# How often each reader is called.
READERS = {
    "checkpoint": 1_000_000,
    "npy": 100_000,
    "npz": 100_000,
    "zip": 100_000,
    "gzip": 100_000,
    "fasta": 100_000,
    "proteinnet": 100_000,
    "csv": 100_000,
    "tsv": 100_000,
    "jsonl": 100_000,
    "yaml": 100_000,
    "manifest": 100_000,
}


# ------------------------------------------------------------------------------------- one reader


def reader_of(name: str, folder: Path):
    """The function that gives some bytes to a reader."""
    import atheris

    with atheris.instrument_imports(include=WATCHED):
        from georep_utils.data import archives, fasta, files, needs, tables
        from georep_utils.models import tf_checkpoint
        from georep_utils.workflow import runs

    def through(ending, read):
        path = folder / f"input.{ending}"

        def give(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

        return give

    def checkpoint(data: bytes) -> None:
        # The first byte says whether checksums count. A fuzzer finds none that are right, and what
        # lies behind them should be reached as well.
        index, _, shard = data[1:].partition(PARTED)
        (folder / "model.index").write_bytes(index)
        (folder / "model.data-00000-of-00001").write_bytes(shard)
        tf_checkpoint._masked = masked if data[:1] < b"\x80" else Anything
        tf_checkpoint.read_tf_checkpoint(folder / "model")

    def unpack(path: Path) -> None:
        target = folder / "unpacked"
        try:
            archives.unpack(path, target, max_bytes=1e6)
        finally:
            if target.exists():
                subprocess.run(["rm", "-rf", str(target)], check=True)

    def manifest(path: Path) -> None:
        needs.REPOSITORY = folder
        needs.verify_bundled(path.name)

    masked = tf_checkpoint._masked
    return {
        "checkpoint": checkpoint,
        "npy": through("npy", lambda path: files.open_npy(path)),
        "npz": through("npz", lambda path: files.read_npz(path, ["a", "b"])),
        "zip": through("zip", unpack),
        "gzip": through("gz", files.read_text),
        "fasta": through("fa", fasta.read_fasta),
        "proteinnet": through("txt", fasta.read_proteinnet),
        "csv": through("csv", tables.read_cells),
        "tsv": through("tsv", tables.read_cells),
        "jsonl": through("jsonl", tables.read_cells),
        "yaml": lambda data: runs.load_yaml(data.decode("utf-8", "replace"), "a.yml"),
        "manifest": through("json", manifest),
    }[name]


class Anything(int):
    """A checksum that equals every other."""

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def examples(name: str) -> list[bytes]:
    """Files that are right, to start from."""
    import gzip
    import zipfile

    import numpy as np

    sliced = REPOSITORY / "tests/data/sliced_variable"
    array = text_io.BytesIO()
    np.save(array, np.arange(6.0).reshape(2, 3))
    arrays = text_io.BytesIO()
    np.savez_compressed(arrays, a=np.arange(3), b=np.zeros((2, 2)))
    archive = text_io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("folder/a.txt", "some text " * 20)
    index = (sliced / "model.ckpt-7.index").read_bytes()
    shard = (sliced / "model.ckpt-7.data-00000-of-00001").read_bytes()
    table = 'a,b\n1,"x, ""y"""\n2,z\n'
    run_file = (REPOSITORY / "notebooks/runs/igpt-mini.yml").read_bytes()
    recorded = {"input.json": {"sha256": "0" * 64, "size": 3}}
    return {
        "checkpoint": [first + index + PARTED + shard for first in (b"\0", b"\xff")],
        "npy": [array.getvalue()],
        "npz": [arrays.getvalue()],
        "zip": [archive.getvalue()],
        "gzip": [gzip.compress(b"a line\n" * 5), b"plain\n"],
        "fasta": [b">d1 a.1.1.1 (A:) protein\nacdef\nghik\n>d2 b.2.1.3\nLMN*\n"],
        "proteinnet": [b"[ID]\n1A\n[PRIMARY]\nACDEF\n[EVOLUTIONARY]\n0.1\n\n"],
        "csv": [table.encode()],
        "tsv": [b'a\tb\n1\tx, "y"\n2\tz\n'],
        "jsonl": [b'{"a": "x", "b": 1.50}\n{"a": null, "b": [1, {"c": true}]}\n'],
        "yaml": [run_file, b"a: &x [1, 2]\nb: *x\n"],
        "manifest": [json.dumps(recorded).encode()],
    }[name]


def fuzz(name: str, times: int, corpus: Path) -> None:
    """Call one reader in this process, which ends with it."""
    import atheris

    folder = corpus.parent / "work"
    folder.mkdir(exist_ok=True)
    read = reader_of(name, folder)
    from georep_utils.io import UserError

    def once(data: bytes) -> None:
        try:
            read(data)
        except UserError as error:
            if "\n" in str(error):
                raise AssertionError(f"a message of several lines: {error}") from error

    limits = [f"-runs={times}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={SECONDS}"]
    options = [*limits, "-max_len=4096", f"-artifact_prefix={corpus.parent}/found-", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


# ------------------------------------------------------------------------------------ the campaign


def measure(name: str, times: int) -> dict:
    """Fuzz one reader in a process of its own; a row of the table."""
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-", dir=shared_memory()) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, example in enumerate(examples(name)):
            (corpus / str(number)).write_bytes(example)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, str(times), str(corpus)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        seconds = time.perf_counter() - began
        found = sorted(Path(folder).glob("found-*"))
        if found or done.returncode:
            kept = Path(tempfile.mkdtemp(prefix=f"found-{name}-"))
            for path in found:
                (kept / path.name).write_bytes(path.read_bytes())
            print(done.stderr[-3000:], f"kept in {kept}", sep="\n", file=sys.stderr)
    executed = re.findall(r"(?:Done (\d+) runs|^#(\d+)\s)", done.stderr, re.MULTILINE)
    memory = re.findall(r"rss: (\d+)Mb", done.stderr)
    return {
        "reader": name,
        "executions": max((int(a or b) for a, b in executed), default=0),
        "uncaught": len(found) or int(done.returncode != 0),
        "seconds": round(seconds),
        "memory_mb": max(map(int, memory), default=0),
    }


def shared_memory() -> str | None:
    """A folder in memory, where there is one: files are written hundreds of thousands of times."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def keep(row: dict) -> None:
    """Put a row into the table, in the place of an earlier one of its reader."""
    keep_row(REPOSITORY / RESULT, row, "reader", READERS)


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--one"]:
        fuzz(words[1], int(words[2]), Path(words[3]))
        return 0
    chosen = {words[0]: int(words[1])} if len(words) == 2 else READERS
    uncaught = 0
    for name, times in chosen.items():
        row = measure(name, times)
        print(row, flush=True)
        uncaught += row["uncaught"]
        if times >= READERS[name]:
            keep(row)
    return int(uncaught > 0)


if __name__ == "__main__":
    sys.exit(main())
