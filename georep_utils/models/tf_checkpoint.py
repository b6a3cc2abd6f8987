"""OpenAI's TensorFlow checkpoints as numpy arrays, without TensorFlow.

A checkpoint of version 2 (a "tensor bundle") is a set of files whose names begin alike:

    model.ckpt-7.index                  which variables there are, and where their numbers lie
    model.ckpt-7.data-00000-of-00032    the numbers, one variable after another
    ...

The index is a sorted table of keys and values in the format of LevelDB: blocks of entries, a block
that says where those blocks are, and a footer that says where that block is.

    [entries] [entries] ... [meta block, empty] [where the blocks are] [footer, 48 bytes]

The entries of a block are sorted, so that neighbouring keys begin alike; an entry leaves out what
its key shares with the key before. Each block is followed by a checksum (crc32c). A value is a
protobuf message: the first one, whose key is empty, describes the checkpoint, and each of the
others a variable. A variable may be stored in slices. Then each slice has an entry too, whose key
begins with a zero byte, and the variable's own entry only lists them.

Files come from strangers, so nothing that they say is believed. `Reader` takes no byte from beyond
the end; whatever an entry claims is compared with its shape, with the other entries and with the
size of the files before memory is allocated; and no number is returned whose bytes have not passed
their checksum. Functions below raise ValueError where they find a fault, and `_reading` turns it
into one line that names the file.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from georep_utils.io import UserError

MAGIC = bytes.fromhex("57fb808b247547db")  # the last bytes of every table
FOOTER = 48  # bytes: four numbers, padding, MAGIC
TRAILER = 5  # bytes behind a block: how it is compressed, and its checksum
CHUNK = 4 << 20  # bytes of a shard that are read at once

# Far above what OpenAI's checkpoints need: bounds on the time and memory that a forgery can take.
MAX_INDEX = 2 << 20  # bytes
MAX_KEY = 1024  # bytes
MAX_KEYS = 8 * MAX_INDEX  # bytes of all keys, which can be written shorter than they are
MAX_RANK = 32  # dimensions of an array in numpy
MAX_COUNT = 1 << 58  # numbers in an array: of 16 bytes each, they still count in 64 bits

# TensorFlow's numbers for types, and the type of the bytes on disk.
BOOL = 10
BFLOAT16 = 14
STORED = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    BOOL: "u1",
    BFLOAT16: "<u2",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
# Types that are returned as another than they are stored in.
RETURNED = {BOOL: "?", BFLOAT16: "<f4"}


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or of another kind. The message names the file."""


@dataclass(frozen=True)
class Entry:
    """A variable, or one slice of a variable, as the index describes it.

    `kind` is TensorFlow's number of its type and `dtype` the numpy type that is returned (`object`
    for types that numpy lacks). Its `size` bytes begin at `offset` of the shard `path`, or lie in
    the entries of its `slices`, each with its place in the whole.
    """

    path: Path
    kind: int
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int
    crc: int
    slices: tuple[tuple[tuple[slice, ...], Entry], ...] = ()

    @property
    def stored(self) -> list[Entry]:
        """The entries whose bytes lie in shards."""
        return [part for _, part in self.slices] or [self]


# ---------------------------------------------------------------------------------- what is offered


def list_variables(prefix: str | Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of every variable, in the order of their names, from the index alone.

    Parameters
    ----------
    prefix
        What the names of the files have in common, such as `folder/model.ckpt-1000000`.

    Returns
    -------
    Name -> (shape, dtype). dtype is what `read_tf_checkpoint` returns (float32 for bfloat16), and
    `object` for what it can't read (strings).

    Raises
    ------
    CheckpointError
        As `read_tf_checkpoint` does, but the shards are not looked at.
    """
    return {name: (entry.shape, entry.dtype) for name, entry in _read_index(prefix).items()}


def read_tf_checkpoint(
    prefix: str | Path,
    names: Callable[[str], bool] | Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """Read the variables of a TensorFlow checkpoint of version 2.

    Parameters
    ----------
    prefix
        What the names of the files have in common, such as `folder/model.ckpt-1000000`.
    names
        Which variables: a function of the name (say, one that leaves out an optimiser's state), or
        names that must all be there. None for all.

    Returns
    -------
    Name -> array, in the order of the names. The arrays are writable and own their memory, which is
    all that is needed beside one chunk. bfloat16 comes back as float32, which holds it exactly.

    Raises
    ------
    CheckpointError
        If a file is missing, cut short or altered, if a variable has a type that numpy lacks, and
        if the index claims more bytes than there are, before anything is allocated.
    """
    variables = _pick(prefix, names)
    stored = [part for variable in variables.values() for part in variable.stored]
    for part in sorted(stored, key=lambda part: part.path):
        with _reading(part.path):
            _require(part.path.is_file(), "the shard is missing")
            size = part.path.stat().st_size
            end = part.offset + part.size
            _require(size >= end, f"is cut short at {size} bytes of at least {end}")
    return {name: _read_variable(prefix, name, entry) for name, entry in variables.items()}


def checkpoint_files(
    prefix: str | Path,
    names: Callable[[str], bool] | Collection[str] | None = None,
) -> list[Path]:
    """The files that `read_tf_checkpoint` reads for the same arguments: the index, then the shards.

    Raises
    ------
    CheckpointError
        As `list_variables` does.
    """
    variables = _pick(prefix, names)
    shards = {part.path for variable in variables.values() for part in variable.stored}
    return [Path(f"{prefix}.index"), *sorted(shards)]


def _pick(prefix, names) -> dict[str, Entry]:
    """The variables called `names`, in order, all of them of a type that numpy has."""
    variables = _read_index(prefix)
    if names is None:
        picked = list(variables)
    elif callable(names):
        picked = [name for name in variables if names(name)]
    else:
        picked = sorted(set(names))
    for name in picked:
        if name not in variables or variables[name].dtype == object:
            raise CheckpointError(
                f"{prefix}.index: has no numbers named {name!r}, see list_variables; change `names`"
            )
    return {name: variables[name] for name in picked}


# ----------------------------------------------------------------------------------- bytes in order


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


@contextlib.contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """What goes wrong inside becomes a CheckpointError that names `path`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: {error}; expected a whole, unaltered V2 checkpoint: fetch it again"
        ) from error


class Reader:
    """Bytes that are taken from front to back. None can be taken from beyond the end."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        _require(size <= self.left, "it has a record that is cut short")
        start = self.at
        self.at += size
        return self.data[start : self.at]

    def number(self) -> int:
        """The next unsigned number: seven bits a byte, lowest first, at most 64 bits in all."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            # The highest bit says that another byte follows.
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
        raise ValueError("it has a number that is longer than 64 bits")


class Message:
    """A protobuf message, by the numbers that its fields have in TensorFlow's definitions.

    `numbers[field]` is the last number given for a field (0 where there is none), with its sign,
    and `parts[field]` the bytes of everything else that was given for it.
    """

    def __init__(self, data: bytes):
        self.numbers: dict[int, int] = defaultdict(int)
        self.parts: dict[int, list[bytes]] = defaultdict(list)
        reader = Reader(data)
        while reader.left:
            field, wire_type = divmod(reader.number(), 8)
            if wire_type == 0:
                value = reader.number()
                # Negative numbers are written as 64 bits, the highest one set.
                self.numbers[field] = value - (value >> 63 << 64)
            elif wire_type == 2:
                size = reader.number()
                part = reader.take(size)
                self.parts[field].append(part)
            elif wire_type in (1, 5):
                fixed = reader.take(8 if wire_type == 1 else 4)
                self.numbers[field] = int.from_bytes(fixed, "little")
            else:
                raise ValueError("it has a record that is cut short, or of no known kind")

    def inner(self, field: int) -> Message:
        """The message in a field. Where it is given more than once, the parts make up one."""
        return Message(b"".join(self.parts[field]))


def _masked(crc: int) -> int:
    """Checksums are stored turned by 15 bits and shifted, as LevelDB does.

    The checksum of data that hold their own checksum would be a constant otherwise.
    """
    turned = (crc >> 15) | (crc << 17)
    return (turned + 0xA282EAD8) & 0xFFFFFFFF


# --------------------------------------------------------------------------- the table of the index


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a whole table.

    Blocks must follow one another and keys must ascend: so nothing is read twice, and a table whose
    blocks point at each other ends.
    """
    whole = len(data) >= FOOTER and data.endswith(MAGIC)
    _require(whole, f"its {len(data)} bytes don't end in a table's footer")
    footer = Reader(data[-FOOTER:])
    _meta_start, _meta_size, index_start, index_size = (footer.number() for _ in range(4))
    end = 0
    last_key = None
    spelled_out = 0
    for _, handle in _block(data, index_start, index_size):
        reader = Reader(handle)
        start = reader.number()
        size = reader.number()
        in_place = end <= start and start + size + TRAILER <= index_start and not reader.left
        _require(in_place, f"the block at {start} is out of its place")
        end = start + size + TRAILER
        for key, value in _block(data, start, size):
            in_order = last_key is None or key > last_key
            spelled_out += len(key)
            _require(
                in_order and spelled_out <= MAX_KEYS,
                f"the key {key!r} is a duplicate, out of order or one too many",
            )
            last_key = key
            yield key, value


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at `start`, after its checksum was verified."""
    end = start + size
    _require(end + TRAILER + FOOTER <= len(data), f"the block at {start} reaches beyond the end")
    summed = data[start : end + 1]  # the checksum is also over the byte that tells the compression
    crc = int.from_bytes(data[end + 1 : end + TRAILER], "little")
    _require(
        crc == _masked(google_crc32c.value(summed)),
        f"the block at {start} doesn't match its checksum",
    )
    compression = summed[-1]
    _require(
        compression == 0,
        f"the block at {start} is compressed (type {compression}), which TensorFlow's are not",
    )
    # A block ends in a list of places to begin a search at, and in the length of that list.
    n_restarts = int.from_bytes(summed[-5:-1], "little")
    entries = size - 4 * (n_restarts + 1)
    _require(entries >= 0, f"the block at {start} has no room for its restart points")
    reader = Reader(summed[:entries])
    key = b""
    while reader.left:
        shared = reader.number()
        fresh = reader.number()
        length = reader.number()
        fits = shared <= len(key) and shared + fresh <= MAX_KEY and fresh + length <= reader.left
        _require(fits, f"an entry of the block at {start} doesn't fit into it")
        key = key[:shared] + reader.take(fresh)
        value = reader.take(length)
        yield key, value


# ---------------------------------------------------------------------------- what the index claims


def _read_index(prefix: str | Path) -> dict[str, Entry]:
    """All variables by name. Their arrays together are no larger than the files."""
    path = Path(f"{prefix}.index")
    with _reading(path):
        others = {other.stem for other in path.parent.glob("*.index")}
        by_step = sorted(others, key=lambda stem: (len(stem), stem))
        listed = ", ".join(by_step) or "none"
        _require(path.is_file(), f"no such checkpoint in its folder, which holds {listed}")
        too_large = f"is larger than {MAX_INDEX >> 20} MiB, too large for an index"
        _require(path.stat().st_size <= MAX_INDEX, too_large)
        records = dict(_table(path.read_bytes()))
        n_shards = _shards(records.pop(b"", b""))
        # The keys of slices begin with a zero byte, so that they come before those of variables.
        table: dict[bytes, Entry] = {}
        for key, value in records.items():
            table[key] = _entry(key, value, prefix, n_shards, table)
        _require_bytes_of_their_own(table.values())
        return {key.decode(): entry for key, entry in table.items() if not key.startswith(b"\0")}


def _shards(header: bytes) -> int:
    """The number of shards, from a BundleHeaderProto."""
    message = Message(header)
    n_shards = message.numbers[1]
    little_endian = message.numbers[2] == 0
    oldest_reader = message.inner(3).numbers[2]
    _require(
        1 <= n_shards <= 99999 and little_endian and oldest_reader <= 1,
        "its header tells of no shards, of big-endian numbers or of a newer version",
    )
    return n_shards


def _require_bytes_of_their_own(entries: Collection[Entry]) -> None:
    """No two entries may share bytes: else a small file could ask for any amount of memory."""
    ends: dict[Path, int] = defaultdict(int)
    stored = [entry for entry in entries if not entry.slices]
    for entry in sorted(stored, key=lambda entry: entry.offset):
        free = entry.size == 0 or entry.offset >= ends[entry.path]
        _require(free, f"two variables share the byte {entry.offset}")
        ends[entry.path] = max(ends[entry.path], entry.offset + entry.size)


def _entry(
    key: bytes,
    value: bytes,
    prefix: str | Path,
    n_shards: int,
    before: dict[bytes, Entry],
) -> Entry:
    """An entry, from a BundleEntryProto, whose claims agree with each other.

    `before` are the entries with smaller keys, among them the slices of this one.
    """
    message = Message(value)
    kind, shard, offset, size, crc = (message.numbers[field] for field in (1, 3, 4, 5, 6))
    shape = _shape(key, message.inner(2))
    _require(
        0 <= shard < n_shards and offset >= 0 and size >= 0,
        f"{key!r} is at {offset} in shard {shard} of {n_shards}",
    )
    slices = _slices(key, kind, shape, message.parts[7], before)
    if slices:
        size = sum(part.size for _, part in slices)
    if kind in STORED:
        expected = math.prod(shape) * np.dtype(STORED[kind]).itemsize
        _require(size == expected, f"{key!r} has {size} bytes, which are not its shape {shape}")
    path = Path(f"{prefix}.data-{shard:05d}-of-{n_shards:05d}")
    dtype = np.dtype(RETURNED.get(kind) or STORED.get(kind, "O"))
    return Entry(path, kind, dtype, shape, offset, size, crc, slices)


def _shape(key: bytes, message: Message) -> tuple[int, ...]:
    """The shape in a TensorShapeProto: small enough that no product of it overflows in numpy."""
    # One dimension more than allowed is enough to see that there are too many.
    dims = message.parts[2][: MAX_RANK + 1]
    shape = tuple(Message(dim).numbers[1] for dim in dims)
    unknown_rank = message.numbers[3]
    possible = len(shape) <= MAX_RANK and min(shape, default=0) >= 0 and not unknown_rank
    # A zero hides how large the others are, but numpy multiplies them all the same.
    count = math.prod(max(size, 1) for size in shape)
    _require(possible and count < MAX_COUNT, f"{key!r} has the impossible shape {shape}")
    return shape


def _slices(
    key: bytes,
    kind: int,
    shape: tuple[int, ...],
    messages: list[bytes],
    before: dict[bytes, Entry],
) -> tuple[tuple[tuple[slice, ...], Entry], ...]:
    """The places and entries of the slices that a variable is stored in, from TensorSliceProtos."""
    found = {}
    for message in messages:
        spans = _spans(key, shape, Message(message))
        code = _slice_key(key, spans)
        place = []
        for (start, length), size in zip(spans, shape, strict=True):
            stop = start + length if length >= 0 else size
            place.append(slice(start, stop))
        cut = tuple(part.stop - part.start for part in place)
        entry = before.get(code)
        fits = entry is not None and (entry.kind, entry.shape) == (kind, cut)
        _require(
            fits and not entry.slices and code not in found,
            f"{key!r} lacks the slice {cut}, or has it twice or of another type",
        )
        found[code] = (tuple(place), entry)
    return tuple(found.values())


def _spans(key: bytes, shape: tuple[int, ...], message: Message) -> list[tuple[int, int]]:
    """(start, length) of a slice along each dimension; (0, -1) is the whole of one."""
    spans = []
    for part in message.parts[1]:
        extent = Message(part).numbers
        spans.append((extent[1], extent.get(2, -1)))
    inside = len(spans) == len(shape) > 0
    for (start, length), size in zip(spans, shape, strict=False):
        within = start >= 0 and length >= 0 and start + length <= size
        inside = inside and (within or (start, length) == (0, -1))
    _require(inside, f"{key!r} has a slice outside its shape {shape}")
    return spans


def _slice_key(name: bytes, spans: list[tuple[int, int]]) -> bytes:
    """The key of a slice: a zero, the variable's name, the rank, then starts and lengths.

    It is written in TensorFlow's order-preserving code, in which the bytes of two keys compare as
    their contents do. A text ends in the bytes 0 1, so that a zero byte in it is escaped; the rank
    has its own number of bytes, 1, in front.
    """
    key = b"\0" + name.replace(b"\0", b"\0\xff") + b"\0\1"
    key += bytes([1, len(spans)])
    for start, length in spans:
        key += _ordered(start) + _ordered(length)
    return key


def _ordered(number: int) -> bytes:
    """A signed number in that code.

    It has as many leading bits set as it takes bytes, then the number in two's complement: seven
    bits a byte are left for it, one of them its sign. A negative number has all its leading bits
    inverted, so that it sorts below.
    """
    size = max(number, ~number).bit_length() // 7 + 1
    payload = number & ((1 << 8 * size) - 1)
    leading_bits = ((1 << size) - 1) << (7 * size)
    return (payload ^ leading_bits).to_bytes(size, "big")


# --------------------------------------------------------------------------- the numbers themselves


def _read_variable(prefix: str | Path, name: str, entry: Entry) -> np.ndarray:
    if not entry.slices:
        return _read_array(name, entry)
    whole = np.empty(entry.shape, entry.dtype)
    # The slices have as many bytes as the variable (`_entry`). If none overlap, they cover it.
    covered = np.zeros(entry.shape, bool)
    for place, part in entry.slices:
        with _reading(f"{prefix}.index"):
            _require(not covered[place].any(), f"{name!r} has slices that overlap")
        covered[place] = True
        whole[place] = _read_array(name, part)
    return whole


def _read_array(name: str, entry: Entry) -> np.ndarray:
    """The numbers of an entry. The bytes that are checked are the bytes that are kept."""
    raw = np.empty(entry.size, np.uint8)
    crc = 0
    with _reading(entry.path), open(entry.path, "rb") as stream:
        stream.seek(entry.offset)
        for start in range(0, entry.size, CHUNK):
            chunk = raw[start : start + CHUNK]
            data = stream.read(len(chunk))
            _require(len(data) == len(chunk), f"{name!r} is cut short")
            chunk[:] = np.frombuffer(data, np.uint8)
            crc = google_crc32c.extend(crc, data)
        _require(_masked(crc) == entry.crc, f"{name!r} doesn't match its checksum")
    stored = raw.view(STORED[entry.kind]).reshape(entry.shape)
    if entry.kind == BFLOAT16:
        # bfloat16 is the upper half of a float32.
        return (stored.astype("<u4") << 16).view("<f4")
    return stored.astype(bool) if entry.kind == BOOL else stored
