"""OpenAI's TensorFlow checkpoints as numpy arrays, without TensorFlow.

A V2 checkpoint ("tensor bundle") is PREFIX.index and PREFIX.data-00000-of-000NN, ... The index is a sorted table in blocks
(prefix-compressed keys, a crc32c behind each block) from a variable's name to where its bytes lie and their crc32c.
A variable may be stored in slices, each under a key of its own. Every byte that is returned has passed its checksum.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from georep_utils.io import UserError

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER, TRAILER = 48, 5
MAX_INDEX, MAX_KEY, CHUNK = 2 << 20, 1024, 4 << 20
BOOL, BFLOAT16 = 10, 14
# TensorFlow's numbers for types -> the type of the bytes on disk.
STORED = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 8: "<c8", 9: "<i8", BOOL: "u1", BFLOAT16: "<u2"}
STORED |= {17: "<u2", 18: "<c16", 19: "<f2", 22: "<u4", 23: "<u8"}
VARINT = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or not of the kind read here. The message names the file."""


@dataclass(frozen=True)
class Entry:
    """Where a variable or a slice of one lies; or its slices and their places in it. `kind`: TensorFlow's type."""

    path: Path
    kind: int
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int
    crc: int
    slices: tuple[tuple[tuple[slice, ...], Entry], ...] = ()


def list_variables(prefix: str | Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Name -> (shape, dtype) of every variable, in the order of their names, from the index alone.

    dtype is what `read_tf_checkpoint` returns (float32 for bfloat16), and `object` for what it can't read (strings).
    Raises CheckpointError as `read_tf_checkpoint` does, but doesn't look at the data shards.
    """
    return {name: (entry.shape, entry.dtype) for name, entry in _read_index(prefix).items()}


def read_tf_checkpoint(prefix: str | Path, names: Callable | Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read a TensorFlow V2 checkpoint: name -> array, in the order of the names.

    `prefix` is the files' common path, such as `model.ckpt-1000000`. `names` picks variables: a predicate of the name
    (say, one that leaves out an optimiser's slots), or a collection of names that must all be there. The arrays are
    writable copies; memory is the picked variables plus one chunk. bfloat16 comes back as float32, which holds it exactly.
    Raises CheckpointError (one line, naming the file) when a file is missing, truncated or altered, when a picked
    variable has a type that numpy lacks, and when the index claims more bytes than the shards have, before it allocates.
    """
    variables = _read_index(prefix)
    picked = list(filter(names, variables)) if callable(names) else sorted(set(variables if names is None else names))
    for name in picked:
        if name not in variables or variables[name].dtype == object:
            raise CheckpointError(f"{prefix}.index: has no numbers named {name!r}, see list_variables; change `names`")
    parts = [part for name in picked for _, part in variables[name].slices or [((), variables[name])]]
    for part in sorted(parts, key=lambda part: part.path):
        with _reading(part.path):
            _need(part.path.is_file(), "the shard is missing")
            size, expected = part.path.stat().st_size, part.offset + part.size
            _need(size >= expected, f"is cut short at {size} bytes of at least {expected}")
    return {name: _read_variable(prefix, name, variables[name]) for name in picked}


def _need(condition: object, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


@contextlib.contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """What goes wrong inside becomes a CheckpointError that names `path`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}; expected a whole, unaltered V2 checkpoint: fetch it again") from error


def _read_index(prefix: str | Path) -> dict[str, Entry]:
    """All variables. As no two may share bytes, their arrays together are no larger than the files."""
    path = Path(f"{prefix}.index")
    with _reading(path):
        found = sorted((other.stem for other in path.parent.glob("*.index")), key=lambda stem: (len(stem), stem))
        _need(path.is_file(), f"no such checkpoint in its folder, which holds {', '.join(found) or 'none'}")
        _need(path.stat().st_size <= MAX_INDEX, f"is larger than {MAX_INDEX >> 20} MiB, too large for an index")
        records = dict(_read_table(path.read_bytes()))
        header, parts = _fields(records.pop(b"", b""))
        known = 1 <= header[1] <= 99999 and header[2] == 0 and _fields(b"".join(parts[3]))[0][2] <= 1
        _need(known, "its header tells of no shards, of big-endian numbers or of a newer version")
        table = {}
        for key, value in records.items():
            table[key] = _read_entry(key, value, prefix, header[1], table)
        ends = defaultdict(int)
        for entry in sorted((entry for entry in table.values() if not entry.slices), key=lambda entry: entry.offset):
            _need(not entry.size or entry.offset >= ends[entry.path], f"two variables share the byte {entry.offset}")
            ends[entry.path] = max(ends[entry.path], entry.offset + entry.size)
        return {key.decode(): entry for key, entry in table.items() if key[:1] != b"\0"}


def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values. Blocks must follow one another and keys ascend, so nothing is read twice and reading ends."""
    _need(len(data) >= FOOTER and data[-8:] == MAGIC, f"its {len(data)} bytes don't end in a table's footer")
    _, _, index, size, _ = _varints(data[-FOOTER:-8], 0, 4)
    end, last, spelled_out = 0, None, 0
    for _, handle in _read_block(data, index, size):
        start, size, handle_end = _varints(handle, 0, 2)
        in_place = end <= start and start + size + TRAILER <= index and handle_end == len(handle)
        _need(in_place, f"the block at {start} is out of its place")
        end = start + size + TRAILER
        for key, value in _read_block(data, start, size):
            in_order = (last is None or key > last) and spelled_out < 8 * MAX_INDEX
            _need(in_order, f"the key {key!r} is a duplicate, out of order or one too many")
            last, spelled_out = key, spelled_out + len(key)
            yield key, value


def _read_block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at `start`, after its checksum was verified."""
    _need(start + size + TRAILER + FOOTER <= len(data), f"the block at {start} reaches beyond the end")
    body, stored = data[start : start + size + 1], data[start + size + 1 : start + size + TRAILER]
    intact = int.from_bytes(stored, "little") == _masked(google_crc32c.value(body))
    _need(intact, f"the block at {start} doesn't match its checksum")
    _need(body[-1] == 0, f"the block at {start} is compressed (type {body[-1]}), which TensorFlow's are not")
    stop = size - 4 - 4 * int.from_bytes(body[-5:-1], "little")
    _need(stop >= 0, f"the block at {start} has no room for its restart points")
    at, key = 0, b""
    while at < stop:
        shared, fresh, length, at = _varints(body, at, 3)
        fits = shared <= len(key) and shared + fresh <= MAX_KEY and at + fresh + length <= stop
        _need(fits, f"an entry of the block at {start} doesn't fit into it")
        key = key[:shared] + body[at : at + fresh]
        yield key, body[at + fresh : at + fresh + length]
        at += fresh + length


def _varints(data: bytes, at: int, count: int) -> list[int]:
    """`count` unsigned numbers of seven bits a byte from `at` on, and where the last one ends."""
    found = []
    for _ in range(count):
        number = VARINT.match(data, at)
        _need(number, "it has a number that is cut short or longer than 64 bits")
        found.append(sum((byte & 127) << 7 * i for i, byte in enumerate(number[0])) & (1 << 64) - 1)
        at = number.end()
    return [*found, at]


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _fields(data: bytes) -> tuple[defaultdict[int, int], defaultdict[int, list[bytes]]]:
    """A protobuf message by field: the last of its numbers (signed), and all of its nested messages."""
    numbers, messages, at = defaultdict(int), defaultdict(list), 0
    while at < len(data):
        tag, at = _varints(data, at, 1)
        field, wire = tag >> 3, tag & 7
        value, at = _varints(data, at, 1) if wire in (0, 2) else ({1: 8, 5: 4}.get(wire, len(data)), at)
        size = value if wire else 0
        _need(at + size <= len(data), "it has a record that is cut short")
        if wire == 2:
            messages[field].append(data[at : at + size])
        else:
            numbers[field] = int.from_bytes(data[at : at + size], "little") if wire else value - (value >> 63 << 64)
        at += size
    return numbers, messages


def _read_entry(key: bytes, value: bytes, prefix: str | Path, n_shards: int, before: dict[bytes, Entry]) -> Entry:
    """A BundleEntryProto whose numbers agree with each other. The keys of slices come `before` those of variables."""
    numbers, messages = _fields(value)
    unknown, dims = _fields(b"".join(messages[2]))
    shape = tuple(_fields(dim)[0][1] for dim in dims[2][:33])
    known = len(shape) <= 32 and min(shape, default=0) >= 0 and not unknown[3]
    _need(known and math.prod(max(size, 1) for size in shape) < 1 << 58, f"{key!r} has the impossible shape {shape}")
    kind, shard, offset, size, crc = (numbers[field] for field in (1, 3, 4, 5, 6))
    _need(0 <= shard < n_shards and min(offset, size) >= 0, f"{key!r} is at {offset} in shard {shard} of {n_shards}")
    slices = {}
    for message in messages[7]:
        code, place = _read_slice(key, shape, message)
        cut = tuple(part.stop - part.start for part in place)
        fits = code in before and code not in slices and (before[code].kind, before[code].shape) == (kind, cut)
        _need(fits and not before[code].slices, f"{key!r} lacks the slice {cut}, or has it twice or of another type")
        slices[code] = place, before[code]
    size = sum(part.size for _, part in slices.values()) if slices else size
    full = kind not in STORED or size == math.prod(shape) * np.dtype(STORED[kind]).itemsize
    _need(full, f"{key!r} has {size} bytes, which are not its shape {shape}")
    path = Path(f"{prefix}.data-{shard:05d}-of-{n_shards:05d}")
    dtype = np.dtype({BOOL: "?", BFLOAT16: "<f4"}.get(kind, STORED.get(kind, "O")))
    return Entry(path, kind, dtype, shape, offset, size, crc, tuple(slices.values()))


def _read_slice(key: bytes, shape: tuple[int, ...], value: bytes) -> tuple[bytes, tuple[slice, ...]]:
    """A TensorSliceProto: the key of its entry, and its place. Its (start, length) are (0, -1) for a whole dimension.

    The key is 0, the name, the rank, starts and lengths, in TensorFlow's order-preserving code: a signed number has as
    many leading bits set as it takes bytes, and all bits inverted when it is negative.
    """
    extents = [_fields(extent)[0] for extent in _fields(value)[1][1]]
    spans = [(extent[1], extent.get(2, -1)) for extent in extents]
    fits = [span == (0, -1) or (min(span) >= 0 and sum(span) <= size) for span, size in zip(spans, shape)]
    _need(spans and len(spans) == len(shape) and all(fits), f"{key!r} has a slice outside its shape {shape}")
    code = b"\0" + key.replace(b"\0", b"\0\xff") + b"\0\1\1" + bytes([len(spans)])
    for number in (number for span in spans for number in span):
        size = max(number, ~number).bit_length() // 7 + 1
        code += ((number & (1 << 8 * size) - 1) ^ ((1 << size) - 1 << 7 * size)).to_bytes(size, "big")
    return code, tuple(slice(a, a + n if n >= 0 else size) for (a, n), size in zip(spans, shape))


def _read_variable(prefix: str | Path, name: str, entry: Entry) -> np.ndarray:
    if not entry.slices:
        return _read_array(name, entry)
    whole, covered = np.empty(entry.shape, entry.dtype), np.zeros(entry.shape, bool)
    for place, part in entry.slices:
        with _reading(f"{prefix}.index"):
            _need(not covered[place].any(), f"{name!r} has slices that overlap")
        whole[place], covered[place] = _read_array(name, part), True
    return whole


def _read_array(name: str, entry: Entry) -> np.ndarray:
    """The numbers of an entry, read by chunks; the bytes that are checked are the bytes that are kept."""
    raw, crc, at = np.empty(entry.size, np.uint8), 0, 0
    with _reading(entry.path), open(entry.path, "rb") as stream:
        stream.seek(entry.offset)
        while at < entry.size and (chunk := stream.read(min(CHUNK, entry.size - at))):
            raw[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            crc, at = google_crc32c.extend(crc, chunk), at + len(chunk)
        _need(at == entry.size and _masked(crc) == entry.crc, f"{name!r} doesn't match its checksum")
    stored = raw.view(STORED[entry.kind]).reshape(entry.shape)
    if entry.kind == BFLOAT16:
        return (stored.astype("<u4") << 16).view("<f4")
    return stored.astype(bool) if entry.kind == BOOL else stored
