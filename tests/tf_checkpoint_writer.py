"""Write TensorFlow V2 checkpoints for tests. Shares no code with the reader, so that the two can check each other."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9}
TYPES |= {"bool": 10, "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23}
BFLOAT16, STRING = 14, 7


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

    `shards` says which shard a variable goes to (otherwise in turn); `slices` cuts a variable into parts, written in
    order; `bfloat16` names float32 arrays to be stored with their lower halves cut off. Bytes of a shard are in the
    order of the names, as TensorFlow writes them.
    """
    slices, records, used = slices or {}, {b"": header(n_shards)}, [0] * n_shards
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    paths = [Path(f"{prefix}.data-{shard:05d}-of-{n_shards:05d}") for shard in range(n_shards)]
    for path in paths:
        path.write_bytes(b"")
    for i, name in enumerate(sorted(arrays, key=str.encode)):
        array, key = np.asarray(arrays[name]), name.encode()
        shard = shards[name] if shards else i % n_shards
        kind = BFLOAT16 if name in bfloat16 else TYPES[array.dtype.name]
        places = slices.get(name, [])
        if places:
            full = [[(part.start, part.stop - part.start) for part in place] for place in places]
            records[key] = entry(kind, array.shape, slices=full)
        for place in places or [...]:
            part = np.ascontiguousarray(array[place]).reshape(np.shape(array[place]))
            raw = (part.view("<u4") >> 16).astype("<u2").tobytes() if kind == BFLOAT16 else part.tobytes()
            part_key = key if place is ... else slice_key(name, [(cut.start, cut.stop - cut.start) for cut in place])
            records[part_key] = entry(kind, part.shape, shard, used[shard], len(raw), masked_crc(raw))
            with paths[shard].open("ab") as stream:
                used[shard] += stream.write(raw)
    Path(f"{prefix}.index").write_bytes(table(sorted(records.items()), block_size))


def masked_crc(raw: bytes) -> int:
    crc = google_crc32c.value(raw)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    value, out = value % 2**64, bytearray()
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
    return number(1, n_shards) + number(2, endianness) + message(3, number(1, 1) + number(2, min_consumer))


def entry(
    kind: int,
    shape: Iterable[int],
    shard: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: int | None = None,
    slices: Iterable[Iterable[tuple[int, int | None]]] = (),
) -> bytes:
    """A BundleEntryProto. Each slice is (start, length) a dimension; None as length is the whole dimension."""
    body = number(1, kind) + message(2, b"".join(message(2, number(1, dim)) for dim in shape))
    body += number(3, shard) + number(4, offset) + number(5, size)
    body += b"" if crc is None else varint(6 << 3 | 5) + struct.pack("<I", crc)
    for spans in slices:
        extents = [number(1, start) + (b"" if n is None else b"\x10" + varint(n)) for start, n in spans]
        body += message(7, b"".join(message(1, extent) for extent in extents))
    return body


def slice_key(name: str, spans: Sequence[tuple[int, int]]) -> bytes:
    """TensorFlow's ordered code of (0, name, rank, start, length, start, length, ...)."""
    escaped = b"".join({0: b"\0\xff", 255: b"\xff\0"}.get(byte, bytes([byte])) for byte in name.encode())
    return b"\0" + escaped + b"\0\x01\x01" + bytes([len(spans)]) + b"".join(ordered(n) for span in spans for n in span)


def ordered(value: int) -> bytes:
    """A signed number: sign bit, one more such bit for each further byte, a delimiter, the payload."""
    size = 1
    while not -(2 ** (7 * size - 1)) <= value < 2 ** (7 * size - 1):
        size += 1
    sign = "1" if value >= 0 else "0"
    payload = format(value % 2 ** (7 * size), f"0{7 * size}b")
    assert size < 9 and (payload[0] != sign)
    return int(sign * size + payload, 2).to_bytes(size, "big")


def table(items: Iterable[tuple[bytes, bytes]], block_size: int = 262144, kind: int = 0) -> bytes:
    """A table file of `items`, in the order given, whether or not that is allowed."""
    out, handles, pending, filled = b"", [], [], 0
    items = list(items)
    for i, (key, value) in enumerate(items):
        pending.append((key, value))
        filled += len(key) + len(value)
        if filled >= block_size or i + 1 == len(items):
            last = i + 1 == len(items)
            separator = bytes([key[0] + 1]) if last and key[:1] not in (b"", b"\xff") else key
            handles.append((separator, place(out, raw := block(pending))))
            out, pending, filled = out + sealed(raw, kind), [], 0
    return close(out, handles)


def close(out: bytes, handles: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The end of a table file after its data blocks: an empty meta block, the index of `handles`, the footer."""
    meta = place(out, block([]))
    out += sealed(block([]))
    index = place(out, raw := block(handles, restart_interval=1))
    out += sealed(raw)
    return out + (meta + index).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def place(out: bytes, raw: bytes) -> bytes:
    return varint(len(out)) + varint(len(raw))


def sealed(raw: bytes, kind: int = 0) -> bytes:
    raw += bytes([kind])
    return raw + struct.pack("<I", masked_crc(raw))


def block(items: Iterable[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    """Keys share their beginning with the key before; every `restart_interval`-th is spelled out."""
    out, restarts, before = b"", [0], b""
    for i, (key, value) in enumerate(items):
        shared = 0
        if i % restart_interval == 0:
            restarts[i // restart_interval :] = [len(out)]
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + b"".join(struct.pack("<I", restart) for restart in [*restarts, len(restarts)])
