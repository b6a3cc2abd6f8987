"""Protein sequences: FASTA with or without SCOPe classes, ProteinNet records, and their filters.

SCOPe sorts protein domains into a tree. A domain's place in it is written `a.1.1.2`: class a, fold
a.1, superfamily a.1.1, family a.1.1.2. Domains of one *superfamily* have a common ancestor, those
of one *family* are so close that their sequences alone show it. The paper's remote homology asks
whether a representation brings domains of one superfamily together that are of different families;
so superfamilies are labels here, and families are kept beside them.

Some folds are left out of such benchmarks, because nobody knows whether their superfamilies are
related after all (`DISPUTED_FOLDS`). The paper keeps 10,256 sequences in 288 superfamilies, by a
filter that it does not state in full; `scope_filter_table` says what each candidate filter leaves.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from georep_utils.data.files import read_text
from georep_utils.data.samples import is_count
from georep_utils.io import UserError

# ESM's alphabet: 20 amino acids, X any, B and Z ambiguous, U and O rare, "." and "-" gaps.
RESIDUES = frozenset("LAGVSERTIDPKQNFYMHWCXBUZO.-")
# Not `str.upper`, which makes residues of other letters: "\u00df" would become "SS".
CAPITALS = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
SCCS = re.compile(r"[a-z]\.\d+\.\d+\.\d+", re.ASCII)
PAPER_SEQUENCES = 10_256
PAPER_SUPERFAMILIES = 288
# Rossmann-like folds and beta propellers: their superfamilies may be related.
ROSSMANN_LIKE = ("c.2", "c.3", "c.4", "c.5", "c.27", "c.28", "c.30", "c.31")
PROPELLERS = ("b.66", "b.67", "b.68", "b.69", "b.70")
DISPUTED_FOLDS = ROSSMANN_LIKE + PROPELLERS
LENGTH_RULES = ("error", "drop", "truncate")


@dataclass(frozen=True)
class Record:
    """One sequence.

    Attributes
    ----------
    id
        Its name.
    sequence
        Its residues, in capitals.
    sccs
        Its SCOPe class.fold.superfamily.family, such as "a.1.1.1", or nothing.
    """

    id: str
    sequence: str
    sccs: str = ""

    @property
    def superfamily(self) -> str:
        return self.sccs.rpartition(".")[0]


# ------------------------------------------------------------------------------------------ reading


def read_fasta(path: Path) -> list[Record]:
    """The records of a FASTA file, plain or gzip.

    The second word of a header is kept where it is a SCOPe class (">d1dlwa_ a.1.1.1 (A:) ...").

    Raises
    ------
    UserError
        For a file without records, a record without residues, and a letter that is no residue.
    """
    blocks = read_text(path).split("\n>")
    if not blocks[0].startswith(">"):
        raise UserError(
            f"{path} is not FASTA: expected a first line that starts with '>', "
            "and at least one record; correct or replace the file"
        )
    blocks[0] = blocks[0].removeprefix(">")
    return [_fasta_record(block, number, path) for number, block in enumerate(blocks, 1)]


def _fasta_record(block: str, number: int, path: Path) -> Record:
    header, _, body = block.partition("\n")
    words = header.split()
    name = words[0] if words else f"record {number}"
    sccs = ""
    if len(words) > 1 and SCCS.fullmatch(words[1]):
        sccs = words[1]
    # A final "*" marks the stop codon of a translated gene.
    letters = "".join(body.split()).rstrip("*")
    return Record(name, residues(letters, name, path), sccs)


def read_proteinnet(path: Path) -> list[Record]:
    """The [ID] and [PRIMARY] entries of a ProteinNet text file, plain or gzip.

    Raises
    ------
    UserError
        As for `read_fasta`, and for a record without [PRIMARY].
    """
    blocks = read_text(path).split("[ID]\n")[1:]
    if not blocks:
        raise UserError(
            f"{path} holds no ProteinNet record; expected entries [ID] and [PRIMARY], each on a "
            "line of its own; correct or replace the file"
        )
    return [_proteinnet_record(block, path) for block in blocks]


def _proteinnet_record(block: str, path: Path) -> Record:
    line, _, entries = block.partition("\n")
    name = line.strip()
    primary = re.search(r"^\[PRIMARY\]\n([^\[]*)", entries, re.MULTILINE)
    if primary is None:
        raise UserError(
            f"{path}: record {name!r} has no [PRIMARY] entry; expected its residues there"
        )
    letters = "".join(primary[1].split())
    return Record(name, residues(letters, name, path))


def residues(letters: str, name: str, path: Path) -> str:
    """`letters` in capitals, if each of them is a residue.

    Parameters
    ----------
    letters
        A sequence.
    name, path
        The record and the file that the message names.

    Raises
    ------
    UserError
        For no letter at all, and for the first that is no residue.
    """
    sequence = letters.translate(CAPITALS)
    if not sequence:
        raise UserError(f"{path}: {name} has no residues; remove the record")
    illegal = set(sequence) - RESIDUES
    if illegal:
        first = min(sequence.index(letter) for letter in illegal)
        expected = "".join(sorted(RESIDUES))
        raise UserError(
            f"{path}: {name} has {sequence[first]!r} at residue {first + 1}; "
            f"expected one of {expected}"
        )
    return sequence


# ------------------------------------------------------------------------------------------ filters


def limit_length(
    names: list[str], sequences: list[str], max_length: int | None, too_long: str
) -> tuple[list[int], list[str]]:
    """Apply the rule for sequences of more than `max_length` residues.

    Parameters
    ----------
    names, sequences
        The sequences, and what a message calls them.
    max_length
        The most residues that a sequence may have; None for any number.
    too_long
        What becomes of a longer one: "error", "drop" it, or "truncate" it to its first residues.

    Returns
    -------
    Which sequences are left, as indices, and these sequences.

    Raises
    ------
    UserError
        For a sequence that is too long under "error", and for arguments that are none of these.
    """
    if too_long not in LENGTH_RULES:
        raise UserError(f"too_long is {too_long!r}; expected error, drop or truncate")
    indices = range(len(sequences))
    if max_length is None:
        return list(indices), sequences
    if not is_count(max_length):
        raise UserError(
            f"max_length is {max_length!r}; "
            "expected a whole number of residues of at least 1, or null"
        )
    if too_long == "error":
        longest = max(indices, key=lambda i: len(sequences[i]), default=None)
        if longest is not None and len(sequences[longest]) > max_length:
            raise UserError(
                f"{names[longest]} has {len(sequences[longest])} residues, above "
                f"max_length={max_length}; raise it, or set too_long to drop or truncate"
            )
    kept = list(indices)
    if too_long == "drop":
        kept = [i for i in indices if len(sequences[i]) <= max_length]
    return kept, [sequences[i][:max_length] for i in kept]


def scope_filter(
    records: Iterable[Record],
    classes: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    min_per_family: int = 1,
    min_families: int = 1,
    min_per_superfamily: int = 1,
) -> list[Record]:
    """The records whose SCOPe class passes, in their order.

    Parameters
    ----------
    records
        Records with SCOPe classes.
    classes, exclude
        SCOPe prefixes to keep ("a", "c.2"; None for all) and to leave out.
    min_per_family
        Families of fewer sequences go first.
    min_families, min_per_superfamily
        Then superfamilies go that are left with fewer families, or fewer sequences.
    """
    wanted = None if classes is None else tuple(classes)
    unwanted = tuple(exclude)
    kept = []
    for record in records:
        chosen = wanted is None or _is_below(record.sccs, wanted)
        if chosen and not _is_below(record.sccs, unwanted):
            kept.append(record)

    family_sizes = Counter(record.sccs for record in kept)
    kept = [record for record in kept if family_sizes[record.sccs] >= min_per_family]

    sizes = Counter(record.superfamily for record in kept)
    families = {record.sccs: record.superfamily for record in kept}
    n_families = Counter(families.values())
    return [
        record
        for record in kept
        if sizes[record.superfamily] >= min_per_superfamily
        and n_families[record.superfamily] >= min_families
    ]


def _is_below(sccs: str, prefixes: tuple[str, ...]) -> bool:
    # The closing dots keep "c.2" from matching "c.23.1.1".
    return any(f"{sccs}.".startswith(f"{prefix}.") for prefix in prefixes)


def scope_filter_table(
    records: list[Record],
    min_per_superfamily: Sequence[int] = (1, 2, 5, 10, 20),
    min_families: Sequence[int] = (1, 2, 3),
) -> pd.DataFrame:
    """How many sequences and superfamilies every candidate filter leaves.

    Parameters
    ----------
    records
        Records with SCOPe classes.
    min_per_superfamily, min_families
        The minima to try.

    Returns
    -------
    One row a filter, nearest to the paper first: `classes` ("all", or the seven true classes
    "a-g"), `disputed_folds` ("kept" or "left out"), `min_per_superfamily`, `min_families`,
    `sequences`, `superfamilies`, the paper's numbers of both, and `distance`, the larger of the
    two relative differences from them.
    """
    rows = []
    for choice, pool in _pools(records):
        for size in min_per_superfamily:
            for number in min_families:
                kept = scope_filter(pool, min_families=number, min_per_superfamily=size)
                minima = {"min_per_superfamily": size, "min_families": number}
                left = {
                    "sequences": len(kept),
                    "superfamilies": len({record.superfamily for record in kept}),
                }
                rows.append(choice | minima | left)
    table = pd.DataFrame(rows)
    table["paper_sequences"] = PAPER_SEQUENCES
    table["paper_superfamilies"] = PAPER_SUPERFAMILIES
    off_sequences = (table.sequences / PAPER_SEQUENCES - 1).abs()
    off_superfamilies = (table.superfamilies / PAPER_SUPERFAMILIES - 1).abs()
    table["distance"] = off_sequences.combine(off_superfamilies, max)
    return table.sort_values("distance", ignore_index=True)


def _pools(records: list[Record]) -> Iterator[tuple[dict[str, str], list[Record]]]:
    """The choices that come before any minimum, and the records that each of them leaves."""
    for classes, letters in (("all", None), ("a-g", "abcdefg")):
        for disputed, exclude in (("kept", ()), ("left out", DISPUTED_FOLDS)):
            choice = {"classes": classes, "disputed_folds": disputed}
            yield choice, scope_filter(records, letters, exclude)
