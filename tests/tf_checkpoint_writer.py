"""TensorFlow V2 checkpoints for tests, true and forged.

Shares no code with the reader, so that the two can check each other.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
STRING = 7
BFLOAT16 = 14


def write_tf_checkpoint(
    prefix: str | Path,
    arrays: Mapping[str, np.ndarray],
    n_shards: int = 1,
    shards: Mapping[str, int] | None = None,
    slices: Mapping[str, Sequence[tuple[slice, ...]]] | None = None,
    bfloat16: Collection[str] = (),
    block_size: int = 262144,
) -> None:
    """Write PREFIX.index and `n_shards` data files that hold `arrays`.

    `shards` says which shard a variable goes to (otherwise in turn); `slices` cuts a variable into
    parts, written in order; `bfloat16` names float32 arrays to be stored with their lower halves
    cut off. Bytes of a shard are in the order of the names, as TensorFlow writes them.
    """
    slices = slices or {}
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    contents = [bytearray() for _ in range(n_shards)]
    records = {b"": header(n_shards)}
    for i, name in enumerate(sorted(arrays, key=str.encode)):
        array = np.asarray(arrays[name])
        shard = shards[name] if shards else i % n_shards
        kind = BFLOAT16 if name in bfloat16 else TYPES[array.dtype.name]
        keys = {name.encode(): ...}
        if name in slices:
            places = slices[name]
            records[name.encode()] = entry(kind, array.shape, slices=map(_spans, places))
            keys = {slice_key(name, _spans(place)): place for place in places}
        for key, place in keys.items():
            part = array[place]
            raw = _bytes(part, kind)
            offset = len(contents[shard])
            records[key] = entry(kind, part.shape, shard, offset, len(raw), masked_crc(raw))
            contents[shard] += raw
    for shard, content in enumerate(contents):
        Path(f"{prefix}.data-{shard:05d}-of-{n_shards:05d}").write_bytes(content)
    Path(f"{prefix}.index").write_bytes(table(sorted(records.items()), block_size))


def _spans(place: tuple[slice, ...]) -> list[tuple[int, int]]:
    return [(cut.start, cut.stop - cut.start) for cut in place]


def _bytes(array: np.ndarray, kind: int) -> bytes:
    if kind != BFLOAT16:
        return array.tobytes()
    return (np.ascontiguousarray(array).view("<u4") >> 16).astype("<u2").tobytes()


def masked_crc(raw: bytes) -> int:
    crc = google_crc32c.value(raw)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


# ----------------------------------------------------------------------------------------- protobuf


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A protobuf field that is left out when zero, as proto3 does."""
    return varint(field << 3) + varint(value) if value else b""


def message(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def header(n_shards: int, endianness: int = 0, min_consumer: int = 0) -> bytes:
    versions = number(1, 1) + number(2, min_consumer)
    return number(1, n_shards) + number(2, endianness) + message(3, versions)


def entry(
    kind: int,
    shape: Iterable[int],
    shard: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: int | None = None,
    slices: Iterable[Iterable[tuple[int, int | None]]] = (),
) -> bytes:
    """A BundleEntryProto. Each slice is (start, length) a dimension; None is the whole of it."""
    dims = b"".join(message(2, number(1, dim)) for dim in shape)
    body = number(1, kind) + message(2, dims)
    body += number(3, shard) + number(4, offset) + number(5, size)
    if crc is not None:
        body += varint(6 << 3 | 5) + struct.pack("<I", crc)
    for spans in slices:
        extents = b""
        for start, length in spans:
            extent = number(1, start)
            if length is not None:
                extent += b"\x10" + varint(length)
            extents += message(1, extent)
        body += message(7, extents)
    return body


def slice_key(name: str, spans: Sequence[tuple[int, int]]) -> bytes:
    """TensorFlow's ordered code of (0, name, rank, start, length, start, length, ...)."""
    escapes = {0: b"\0\xff", 255: b"\xff\0"}
    key = b"\0"
    for byte in name.encode():
        key += escapes.get(byte, bytes([byte]))
    key += b"\0\x01\x01" + bytes([len(spans)])
    for start, length in spans:
        key += ordered(start) + ordered(length)
    return key


def ordered(value: int) -> bytes:
    """A signed number: sign bit, one more such bit for each further byte, delimiter, payload."""
    size = 1
    while not -(2 ** (7 * size - 1)) <= value < 2 ** (7 * size - 1):
        size += 1
    sign = "1" if value >= 0 else "0"
    payload = format(value % 2 ** (7 * size), f"0{7 * size}b")
    assert size < 9
    assert payload[0] != sign
    return int(sign * size + payload, 2).to_bytes(size, "big")


# ---------------------------------------------------------------------------------------- the table


def table(items: Iterable[tuple[bytes, bytes]], block_size: int = 262144, kind: int = 0) -> bytes:
    """A table file of `items`, in the order given, whether or not that is allowed."""
    out = b""
    handles = []
    pending = []
    items = list(items)
    for i, (key, value) in enumerate(items):
        pending.append((key, value))
        filled = sum(len(key) + len(value) for key, value in pending)
        last = i + 1 == len(items)
        if filled >= block_size or last:
            separator = key
            if last and key[:1] not in (b"", b"\xff"):
                separator = bytes([key[0] + 1])
            raw = block(pending)
            handles.append((separator, place(out, raw)))
            out += sealed(raw, kind)
            pending = []
    return close(out, handles)


def close(out: bytes, handles: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The end of a table after its data blocks: an empty meta block, index of `handles`, footer."""
    meta = place(out, block([]))
    out += sealed(block([]))
    raw = block(handles, restart_interval=1)
    index = place(out, raw)
    out += sealed(raw)
    return out + (meta + index).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def place(out: bytes, raw: bytes) -> bytes:
    """Where the block `raw` lies if it is put behind `out`."""
    return varint(len(out)) + varint(len(raw))


def sealed(raw: bytes, kind: int = 0) -> bytes:
    """A block with its compression `kind` and checksum."""
    raw += bytes([kind])
    return raw + struct.pack("<I", masked_crc(raw))


def block(items: Iterable[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    """Keys share their beginning with the key before; every `restart_interval`-th is whole."""
    out = b""
    restarts = [0]
    before = b""
    for i, (key, value) in enumerate(items):
        shared = 0
        if i % restart_interval == 0:
            restarts[i // restart_interval :] = [len(out)]
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    for restart in [*restarts, len(restarts)]:
        out += struct.pack("<I", restart)
    return out
