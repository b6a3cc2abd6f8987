"""Protein records: FASTA with or without SCOPe classification, ProteinNet text records, and filters over them."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from georep_utils.io import UserError

# The letters of ESM's alphabet: 20 amino acids, X any, B and Z ambiguous, U and O rare, "." and "-" gaps.
RESIDUES = frozenset("LAGVSERTIDPKQNFYMHWCXBUZO.-")
SCCS = re.compile(r"^[a-z]\.\d+\.\d+\.\d+$")
PAPER_SEQUENCES, PAPER_SUPERFAMILIES = 10_256, 288
# Folds left out of homology benchmarks, because their superfamilies may be related: Rossmann-like folds, beta propellers.
DISPUTED_FOLDS = tuple(f"c.{n}" for n in (2, 3, 4, 5, 27, 28, 30, 31)) + tuple(f"b.{n}" for n in range(66, 71))


@dataclass(frozen=True)
class Record:
    """One sequence. `sccs` is its SCOPe class.fold.superfamily.family, such as a.1.1.1, or empty."""

    id: str
    sequence: str
    sccs: str = ""

    @property
    def superfamily(self) -> str:
        return self.sccs.rpartition(".")[0]


def read_text(path: Path) -> str:
    """The text of a plain or gzip file, told apart by its first bytes."""
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else open(path, encoding="utf-8-sig") as stream:
            return stream.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as text ({error}); expected a plain or gzip text file") from None


def read_fasta(path: Path) -> list[Record]:
    """FASTA records, letters in capitals. The second word of a header is kept where it is a SCOPe classification
    (">d1dlwa_ a.1.1.1 (A:) ..."). UserError for a file without records, a record without residues, an illegal letter."""
    blocks = read_text(path).split("\n>")
    if not blocks[0].startswith(">"):
        raise UserError(f"{path} is not FASTA: expected a first line that starts with '>', and at least one record")
    records = []
    for block in blocks:
        header, _, body = block.removeprefix(">").partition("\n")
        words = header.split()
        name = words[0] if words else f"record {len(records) + 1}"
        sccs = words[1] if len(words) > 1 and SCCS.match(words[1]) else ""
        records.append(checked(Record(name, "".join(body.split()).upper().rstrip("*"), sccs), path))
    return records


def read_proteinnet(path: Path) -> list[Record]:
    """ProteinNet text records: the [ID] and [PRIMARY] entries of each. UserError as for `read_fasta`."""
    blocks = read_text(path).split("[ID]\n")[1:]
    if not blocks:
        raise UserError(
            f"{path} holds no ProteinNet record; expected entries [ID] and [PRIMARY], each on a line of its own"
        )
    records = []
    for block in blocks:
        name, _, rest = block.partition("\n")
        found = re.search(r"^\[PRIMARY\]\n([^\[]*)", rest, re.MULTILINE)
        if not found:
            raise UserError(f"{path}: record {name.strip()!r} has no [PRIMARY] entry; expected its residues there")
        records.append(checked(Record(name.strip(), "".join(found[1].split()).upper()), path))
    return records


def checked(record: Record, path: Path) -> Record:
    """`record`, or UserError where it has no residue or a letter that is none."""
    if not record.sequence:
        raise UserError(f"{path}: {record.id} has no residues; remove the record")
    if illegal := set(record.sequence) - RESIDUES:
        at = min(record.sequence.index(letter) for letter in illegal)
        raise UserError(
            f"{path}: {record.id} has {record.sequence[at]!r} at residue {at + 1}; expected one of {''.join(sorted(RESIDUES))}"
        )
    return record


def limit_length(records: list[Record], max_length: int | None, too_long: str) -> list[Record]:
    """Apply the rule for sequences of more than `max_length` residues: "error", "drop" them, or "truncate" to the first."""
    if too_long not in ("error", "drop", "truncate"):
        raise UserError(f"too_long is {too_long!r}; expected error, drop or truncate")
    if max_length is None:
        return records
    if not isinstance(max_length, int) or max_length < 1:
        raise UserError(f"max_length is {max_length!r}; expected a whole number of residues of at least 1, or null")
    longest = max(records, key=lambda record: len(record.sequence))
    if too_long == "error" and len(longest.sequence) > max_length:
        raise UserError(
            f"{longest.id} has {len(longest.sequence)} residues, above max_length={max_length}; "
            "raise it, or set too_long to drop or truncate"
        )
    if too_long == "drop":
        return [record for record in records if len(record.sequence) <= max_length]
    return [Record(r.id, r.sequence[:max_length], r.sccs) for r in records]


def scope_filter(
    records: Iterable[Record],
    classes: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    min_per_family: int = 1,
    min_families: int = 1,
    min_per_superfamily: int = 1,
) -> list[Record]:
    """Records whose SCOPe classification passes, in their order.

    `classes` and `exclude` are SCOPe prefixes ("a", "c.2"). Then families of fewer than `min_per_family` sequences go,
    then superfamilies left with fewer than `min_families` families or `min_per_superfamily` sequences."""

    def below(sccs, prefixes):
        return any(f"{sccs}.".startswith(f"{prefix}.") for prefix in prefixes)

    wanted = None if classes is None else tuple(classes)
    kept = [r for r in records if (wanted is None or below(r.sccs, wanted)) and not below(r.sccs, exclude)]
    families = Counter(r.sccs for r in kept)
    kept = [r for r in kept if families[r.sccs] >= min_per_family]
    sizes = Counter(r.superfamily for r in kept)
    members = Counter(sccs.rpartition(".")[0] for sccs in {r.sccs for r in kept})
    return [r for r in kept if sizes[r.superfamily] >= min_per_superfamily and members[r.superfamily] >= min_families]


def scope_filter_table(
    records: list[Record], min_per_superfamily=(1, 2, 5, 10, 20), min_families=(1, 2, 3)
) -> pd.DataFrame:
    """How many sequences and superfamilies remain for every candidate filter, beside the paper's 10,256 and 288.

    The paper does not state its filter in full. Columns: classes ("all" or the seven true classes "a-g"), disputed_folds
    ("kept" or "left out": `DISPUTED_FOLDS`), min_per_superfamily, min_families, sequences, superfamilies, distance: the
    larger of the two relative differences from the paper. Nearest first."""
    rows = []
    for label, classes in {"all": None, "a-g": "abcdefg"}.items():
        for disputed, exclude in {"kept": (), "left out": DISPUTED_FOLDS}.items():
            pool = scope_filter(records, classes, exclude)
            for size in min_per_superfamily:
                for families in min_families:
                    kept = scope_filter(pool, min_families=families, min_per_superfamily=size)
                    rows.append((label, disputed, size, families, len(kept), len({r.superfamily for r in kept})))
    names = ["classes", "disputed_folds", "min_per_superfamily", "min_families", "sequences", "superfamilies"]
    table = pd.DataFrame(rows, columns=names).assign(
        paper_sequences=PAPER_SEQUENCES, paper_superfamilies=PAPER_SUPERFAMILIES
    )
    off = [(table.sequences / PAPER_SEQUENCES - 1).abs(), (table.superfamilies / PAPER_SUPERFAMILIES - 1).abs()]
    return table.assign(distance=pd.concat(off, axis=1).max(axis=1)).sort_values("distance", ignore_index=True)
