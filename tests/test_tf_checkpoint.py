"""A TensorFlow checkpoint is read exactly, or refused with one line that names the file."""

import os
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tf_checkpoint_writer as writer
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.io import UserError
from georep_utils.models.tf_checkpoint import (
    CheckpointError,
    checkpoint_files,
    list_variables,
    read_tf_checkpoint,
)

DATA = Path(__file__).parent / "data"
SLICED = DATA / "sliced_variable/model.ckpt-7"
IGPT = {kind: DATA / f"igpt_{kind}_4shards/model.ckpt-1000000" for kind in ("ar", "bert")}
ENTRIES_END = 235  # where the last entry of its index ends
ROWS = [(slice(0, 4), slice(0, 6)), (slice(4, 7), slice(0, 6)), (slice(7, 10), slice(0, 6))]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def truth():
    with np.load(DATA / "sliced_variable/expected.npz") as file:
        return dict(file)


def same(read, expected):
    return list(read) == sorted(expected) and all(
        read[name].dtype == expected[name].dtype
        and read[name].tobytes() == expected[name].tobytes()
        and read[name].shape == expected[name].shape
        for name in expected
    )


def copied(prefix, folder):
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        shutil.copy(path, folder)
    return folder / prefix.name


def refused(prefix, *words):
    """The checkpoint raises CheckpointError whose one line holds `words`.

    Little memory and time are spent on it.
    """
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(CheckpointError) as caught:
            read_tf_checkpoint(prefix)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 30
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000
    for word in (prefix.name, *words):
        assert word in message
    return message


def hostile(folder, items, data=b"", n_shards=1, **options):
    """A checkpoint whose index holds `items` after a sound header, with one shard of `data`."""
    prefix = folder / "hostile"
    (folder / "hostile.index").write_bytes(
        writer.table([(b"", writer.header(n_shards)), *items], **options)
    )
    (folder / f"hostile.data-00000-of-{n_shards:05d}").write_bytes(data)
    return prefix


def floats(shape, offset=0, data=bytes(400), shard=0, **options):
    size = 4 * int(np.prod(shape))
    return writer.entry(
        1, shape, shard, offset, size, writer.masked_crc(data[offset : offset + size]), **options
    )


# ---------------------------------------------------------------------------- What TensorFlow wrote


def test_slices_half_precision_and_scalars_are_read_as_tensorflow_stored_them(truth):
    assert same(read_tf_checkpoint(SLICED), truth)


@pytest.mark.parametrize(("kind", "n_blocks"), [("ar", 3), ("bert", 2)])
def test_every_variable_of_an_image_gpt_is_read_from_four_shards(kind, n_blocks):
    block = {"ln_1/g": (32,), "ln_2/g": (32,), "mlp/c_fc/w": (32, 128), "mlp/c_proj/w": (128, 32)}
    block |= {f"attn/{part}_proj": (4, 8, 32) for part in "qkvc"}
    shapes = {f"model/h{i}/{name}": shape for i in range(n_blocks) for name, shape in block.items()}
    shapes |= {
        "model/wte": (64, 32),
        "model/wtet": (64, 32),
        "model/wpe": (64, 32),
        "model/ln_f/g": (32,),
    }
    shapes |= {"model/sos": (32,)} if kind == "ar" else {}
    arrays = read_tf_checkpoint(IGPT[kind])
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert all(
        array.dtype == np.float32 and np.isfinite(array).all() and array.std() > 0
        for array in arrays.values()
    )


@pytest.mark.parametrize("prefix", [SLICED, *IGPT.values()], ids=lambda prefix: prefix.parent.name)
def test_the_list_of_variables_needs_the_index_only(prefix, tmp_path):
    shutil.copy(f"{prefix}.index", tmp_path)
    listed = list_variables(tmp_path / prefix.name)
    assert listed == {
        name: (array.shape, array.dtype) for name, array in read_tf_checkpoint(prefix).items()
    }


def test_the_test_writer_repeats_tensorflows_files_byte_for_byte(tmp_path):
    places = {"model/half": 0, "model/ln_f/g": 0, "model/step": 0, "model/wte": 0}
    prefix = tmp_path / SLICED.name
    writer.write_tf_checkpoint(prefix, read_tf_checkpoint(SLICED), 1, places, {"model/wte": ROWS})
    for original in SLICED.parent.glob("model.ckpt*"):
        assert (tmp_path / original.name).read_bytes() == original.read_bytes()


def test_an_image_gpt_written_again_with_other_shards_and_blocks_is_the_same(tmp_path):
    arrays = read_tf_checkpoint(IGPT["ar"])
    writer.write_tf_checkpoint(tmp_path / "m", arrays, n_shards=3, block_size=200)
    assert same(read_tf_checkpoint(tmp_path / "m"), arrays)
    assert (
        len((tmp_path / "m.index").read_bytes()) > 1.2 * Path(f"{IGPT['ar']}.index").stat().st_size
    )


# ---------------------------------------------------------------------------- Types, shapes, slices


@pytest.mark.parametrize("name", sorted(writer.TYPES))
def test_every_type_that_numpy_has_comes_back_exactly(name, tmp_path):
    array = RNG.integers(0, 2, (3, 0, 5) if name == "int8" else (3, 2, 5)).astype(name) * np.ones(
        (), name
    )
    writer.write_tf_checkpoint(tmp_path / "m", {"x": array, "scalar": array.dtype.type(1)})
    read = read_tf_checkpoint(tmp_path / "m")
    assert same(read, {"x": array, "scalar": np.array(1, name)})
    assert read["x"].flags.writeable


def test_bfloat16_comes_back_as_float32_of_the_same_value(tmp_path):
    array = np.array([[1.0, -2.5, 3.140625], [np.inf, 0.0, 2.0**-130]], np.float32)
    writer.write_tf_checkpoint(tmp_path / "m", {"x": array}, bfloat16=["x"])
    assert same(read_tf_checkpoint(tmp_path / "m"), {"x": array})
    assert list_variables(tmp_path / "m") == {"x": ((2, 3), np.dtype("float32"))}


def test_slices_along_every_axis_and_beyond_one_byte_of_code_are_put_in_place(tmp_path):
    array = RNG.normal(size=(70, 9000)).astype(np.float32)
    columns = [slice(0, 63), slice(63, 8300), slice(8300, 9000)]
    places = [(rows, cut) for cut in columns for rows in (slice(0, 64), slice(64, 70))]
    writer.write_tf_checkpoint(
        tmp_path / "m", {"a/\0b": array, "other": array[0]}, slices={"a/\0b": places}
    )
    assert same(read_tf_checkpoint(tmp_path / "m"), {"a/\0b": array, "other": array[0]})


def test_a_slice_without_a_length_takes_the_whole_dimension(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    raw, halves = array.tobytes(), [[(0, 2), (0, -1)], [(2, 2), (0, -1)]]
    items = [
        (writer.slice_key("x", spans), floats((2, 3), 24 * i, raw))
        for i, spans in enumerate(halves)
    ]
    whole = writer.entry(1, (4, 3), slices=[[(0, 2), (0, None)], [(2, 2), (0, None)]])
    assert same(read_tf_checkpoint(hostile(tmp_path, [*items, (b"x", whole)], raw)), {"x": array})


def test_a_predicate_or_a_list_picks_variables_and_only_their_shards_are_needed(tmp_path):
    arrays = {"w": np.ones(3), "w/Adam": np.zeros(3), "w/Adam_1": np.zeros(3)}
    writer.write_tf_checkpoint(tmp_path / "m", arrays, 2, {"w": 0, "w/Adam": 1, "w/Adam_1": 1})
    os.remove(tmp_path / "m.data-00001-of-00002")
    assert list(read_tf_checkpoint(tmp_path / "m", lambda name: "Adam" not in name)) == ["w"]
    assert list(read_tf_checkpoint(str(tmp_path / "m"), ["w"])) == ["w"]
    with pytest.raises(CheckpointError, match=r"m\.index: has no numbers named 'v'"):
        read_tf_checkpoint(tmp_path / "m", ["w", "v"])


def test_the_files_of_a_checkpoint_are_those_that_hold_the_picked_variables(tmp_path):
    arrays = {"w": np.ones(3), "w/Adam": np.zeros(3)}
    writer.write_tf_checkpoint(tmp_path / "m", arrays, 2, {"w": 0, "w/Adam": 1})
    index, first, second = [
        tmp_path / f"m.{ending}"
        for ending in ("index", "data-00000-of-00002", "data-00001-of-00002")
    ]
    assert checkpoint_files(tmp_path / "m") == [index, first, second]
    assert checkpoint_files(tmp_path / "m", ["w"]) == [index, first]
    first.unlink()
    assert checkpoint_files(tmp_path / "m", lambda name: "Adam" not in name) == [index, first]
    index.unlink()
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint_files(tmp_path / "m")


def test_a_variable_larger_than_a_chunk_is_read_and_checked_whole(tmp_path):
    array = RNG.integers(0, 255, 9 << 20, np.uint8)
    writer.write_tf_checkpoint(tmp_path / "m", {"x": array})
    assert same(read_tf_checkpoint(tmp_path / "m"), {"x": array})
    with open(tmp_path / "m.data-00000-of-00001", "r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([array[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="'x' doesn't match its checksum"):
        read_tf_checkpoint(tmp_path / "m")


# ------------------------------------------------ Files that are missing or not what they should be


def test_an_absent_checkpoint_is_answered_with_those_that_are_there(tmp_path):
    for step in (131000, 1000000, 262000):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    refused(
        tmp_path / "model.ckpt-7", "holds model.ckpt-131000, model.ckpt-262000, model.ckpt-1000000"
    )
    refused(tmp_path / "none/model.ckpt-7", "which holds none")
    assert issubclass(CheckpointError, UserError)


def test_missing_and_short_shards_are_named(tmp_path):
    prefix = copied(IGPT["ar"], tmp_path)
    shard = tmp_path / "model.ckpt-1000000.data-00002-of-00004"
    raw = shard.read_bytes()
    shard.write_bytes(raw[:-1])
    refused(prefix, shard.name, "cut short at 41343 bytes of at least 41344")
    shard.unlink()
    refused(prefix, shard.name, "the shard is missing")
    shard.mkdir()
    refused(prefix, shard.name, "missing")


def test_a_folder_a_pipe_or_an_enormous_file_is_not_read_as_an_index(tmp_path):
    (tmp_path / "a.index").mkdir()
    os.mkfifo(tmp_path / "b.index")
    with open(tmp_path / "c.index", "wb") as file:
        file.truncate(1 << 40)
    refused(tmp_path / "a", "no such checkpoint")
    refused(tmp_path / "b", "no such checkpoint")
    refused(tmp_path / "c", "larger than 2 MiB")


def test_strings_are_listed_and_refused_unless_left_out(tmp_path):
    items = [(b"graph", writer.entry(writer.STRING, (), size=9)), (b"x", floats((2,), 9))]
    prefix = hostile(tmp_path, items, bytes(400))
    assert list_variables(prefix)["graph"] == ((), np.dtype(object))
    refused(prefix, "no numbers named 'graph'")
    assert list(read_tf_checkpoint(prefix, ["x"])) == ["x"]


# ------------------------------------------------------------------------------------------- Damage


def test_no_single_changed_bit_of_an_index_changes_an_array(tmp_path, truth):
    prefix = copied(SLICED, tmp_path)
    raw = bytearray(Path(f"{SLICED}.index").read_bytes())
    undetected = []
    for at in range(len(raw)):
        for bit in range(8):
            raw[at] ^= 1 << bit
            Path(f"{prefix}.index").write_bytes(raw)
            try:
                assert same(read_tf_checkpoint(prefix), truth)
                undetected.append(at)
            except CheckpointError:
                pass
            raw[at] ^= 1 << bit
    assert min(undetected) >= 248  # behind the entries: an empty block and a footer's padding


def test_no_single_changed_bit_of_a_shard_is_read(tmp_path):
    prefix = copied(SLICED, tmp_path)
    shard = Path(f"{prefix}.data-00000-of-00001")
    raw = bytearray(shard.read_bytes())
    for at in range(len(raw)):
        for bit in range(8):
            raw[at] ^= 1 << bit
            shard.write_bytes(raw)
            with pytest.raises(CheckpointError, match="doesn't match its checksum"):
                read_tf_checkpoint(prefix)
            raw[at] ^= 1 << bit


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_every_truncation_is_refused(suffix, tmp_path):
    prefix = copied(SLICED, tmp_path)
    raw = Path(f"{SLICED}.{suffix}").read_bytes()
    for size in range(len(raw)):
        Path(f"{prefix}.{suffix}").write_bytes(raw[:size])
        with pytest.raises(CheckpointError, match=rf"model\.ckpt-7\.{suffix}: "):
            read_tf_checkpoint(prefix)


edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=10_000)
@given(edits=edits, cut=st.integers(0, 40), tail=st.binary(max_size=60), target=st.integers(0, 3))
def test_changed_cut_and_lengthened_files_are_refused_or_read_right(
    tmp_path_factory, truth, edits, cut, tail, target
):
    prefix = copied(SLICED, tmp_path_factory.getbasetemp())
    path = Path(f"{prefix}.index" if target else f"{prefix}.data-00000-of-00001")
    raw = bytearray(path.read_bytes())
    for at, change in edits:
        raw[at % len(raw)] ^= change
    path.write_bytes(raw[: len(raw) - cut] + tail)
    try:
        assert same(read_tf_checkpoint(prefix), truth)
    except CheckpointError as error:
        assert prefix.name in str(error) and "\n" not in str(error)


def put_index(prefix, entries):
    """An index of one block of these entries, with right checksums."""
    body = bytes(entries) + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    handles = [(b"n", writer.place(b"", body))]
    Path(f"{prefix}.index").write_bytes(writer.close(writer.sealed(body), handles))


def test_entries_under_other_checksums_are_read(tmp_path, truth):
    prefix = copied(SLICED, tmp_path)
    put_index(prefix, Path(f"{SLICED}.index").read_bytes()[:ENTRIES_END])
    assert same(read_tf_checkpoint(prefix), truth)


@settings(max_examples=150, deadline=10_000)
@given(edits=edits, cut=st.integers(0, 3), tail=st.binary(max_size=3))
def test_an_index_altered_under_right_checksums_never_claims_more_than_the_shards_hold(
    tmp_path_factory, edits, cut, tail
):
    prefix = copied(SLICED, tmp_path_factory.getbasetemp())
    raw = bytearray(Path(f"{SLICED}.index").read_bytes()[:ENTRIES_END])
    for at, change in edits:
        raw[at % len(raw)] ^= change
    put_index(prefix, raw[: len(raw) - cut] + tail)
    try:
        arrays = read_tf_checkpoint(prefix)
    except CheckpointError as error:
        assert prefix.name in str(error) and "\n" not in str(error)
    else:
        assert sum(array.nbytes for array in arrays.values()) <= 2 * 290


@settings(max_examples=100, deadline=10_000)
@given(
    raw=st.binary(max_size=300),
    values=st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=30))),
)
def test_garbage_is_refused(tmp_path_factory, raw, values):
    prefix = tmp_path_factory.getbasetemp() / "garbage"
    for index in (
        raw,
        raw + bytes.fromhex("57fb808b247547db"),
        writer.close(b"", values),
        writer.table(values),
    ):
        Path(f"{prefix}.index").write_bytes(index)
        with pytest.raises(CheckpointError, match=r"garbage\.(index|data)"):
            read_tf_checkpoint(prefix, ["never there"])


# ---------------------------------------------------------- Malice: right checksums, wrong contents

HUGE = 1 << 40
HALF = writer.slice_key("x", [(0, 2)])
HALF_OF_HALF = (
    b"\0" + HALF.replace(b"\0", b"\0\xff") + b"\0\1\1\1" + writer.ordered(0) + writer.ordered(2)
)
NESTED = [(key, writer.entry(1, (2,), slices=[[(0, 2)]])) for key in (HALF, b"x")]
ENTRIES = {
    "more bytes than its shape": (
        [(b"x", writer.entry(1, (3,), size=8))],
        "8 bytes, which are not its shape (3,)",
    ),
    "a shape without bytes": (
        [(b"x", writer.entry(1, (HUGE,)))],
        "0 bytes, which are not its shape",
    ),
    "a negative dimension": (
        [(b"x", writer.entry(1, (-1, -4), size=16))],
        "impossible shape (-1, -4)",
    ),
    "a shape beyond 64 bits": ([(b"x", writer.entry(1, (1 << 40, 1 << 40)))], "impossible shape"),
    "a shape whose product wraps to 0": (
        [(b"x", writer.entry(1, (1 << 32, 1 << 32)))],
        "impossible shape",
    ),
    "an empty shape beyond 64 bits": (
        [(b"x", writer.entry(1, (0, 1 << 62), crc=0xA282EAD8))],
        "impossible shape",
    ),
    "a shape of unknown rank": (
        [(b"x", floats(()) + writer.message(2, writer.number(3, 1)))],
        "impossible shape ()",
    ),
    "too many dimensions": ([(b"x", floats((1,) * 100))], "impossible shape"),
    "a negative offset": ([(b"x", writer.entry(1, (1,), 0, -4, 4))], "at -4"),
    "a shard that isn't": ([(b"x", floats((1,), shard=1))], "shard 1 of 1"),
    "a negative shard": ([(b"x", floats((1,), shard=-1))], "shard -1 of 1"),
    "an offset beyond the shard": ([(b"x", writer.entry(1, (1,), 0, 398, 4))], "at least 402"),
    "an enormous array": (
        [(b"x", writer.entry(1, (HUGE,), size=4 * HUGE))],
        f"at least {4 * HUGE}",
    ),
    "no checksum": ([(b"x", writer.entry(1, (1,), size=4))], "doesn't match its checksum"),
    "bytes read twice": (
        [(b"x", floats((3,))), (b"y", floats((3,), 8))],
        "two variables share the byte 8",
    ),
    "a key twice": ([(b"x", floats((3,))), (b"x", floats((3,), 12))], "duplicate"),
    "keys out of order": ([(b"y", floats((3,))), (b"x", floats((3,), 12))], "out of order"),
    "a second header": ([(b"", writer.header(9))], "duplicate"),
    "a name that isn't text": ([(b"\xc3(", floats((3,)))], "utf-8"),
    "a name with a line break": ([(b"x\ny", writer.entry(1, (1,), size=4))], "x\\ny"),
    "a key of 2 kB": ([(b"x" * 2000, floats((3,)))], "doesn't fit"),
    "an endless number": ([(b"x", b"\x08" + b"\xff" * 20)], "longer than 64 bits"),
    "a message beyond its end": ([(b"x", b"\x12\xff\xff\xff\xff\x0f\x08")], "cut short"),
    "a field of no known kind": ([(b"x", b"\x0b\x0b\x0b")], "cut short"),
    "a slice that isn't there": (
        [(b"x", writer.entry(1, (4,), slices=[[(0, 4)]]))],
        "lacks the slice",
    ),
    "a slice outside": (
        [(b"x", writer.entry(1, (4,), slices=[[(2, 4)]]))],
        "slice outside its shape",
    ),
    "a slice of another rank": (
        [(b"x", writer.entry(1, (4,), slices=[[(0, 4), (0, 1)]]))],
        "slice outside its shape",
    ),
    "a slice of slices": ([(HALF_OF_HALF, floats((2,))), *NESTED], "lacks the slice"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_an_index_is_refused_that_has(case, tmp_path):
    items, words = ENTRIES[case]
    refused(hostile(tmp_path, items, bytes(400)), words)


@pytest.mark.parametrize(
    ("spans", "kinds", "words"),
    [
        ([(0, 3), (2, 2)], (1, 1), "bytes, which are not its shape (4,)"),
        ([(0, 2), (3, 1)], (1, 1), "bytes, which are not its shape (4,)"),
        ([(0, 2), (2, 2)], (1, 3), "another type"),
        ([(0, 2), (0, 2)], (1, 1), "twice"),
        ([(0, 2), (1, 2)], (1, 1), "overlap"),
    ],
)
def test_slices_must_fill_the_shape_once(spans, kinds, words, tmp_path):
    data = bytes(400)
    items = {}
    for i, (span, kind) in enumerate(zip(spans, kinds, strict=True)):
        size = 4 * span[1]
        crc = writer.masked_crc(data[:size])
        items[writer.slice_key("x", [span])] = writer.entry(kind, span[1:], 0, 100 * i, size, crc)
    whole = writer.entry(1, (4,), slices=[[span] for span in spans])
    refused(hostile(tmp_path, [*sorted(items.items()), (b"x", whole)], data), words)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        writer.header(0),
        writer.header(-1),
        writer.header(1 << 40),
        writer.header(1, 1),
        writer.header(1, 0, 2),
    ],
)
def test_headers_without_shards_of_other_byte_order_or_newer_versions_are_refused(header, tmp_path):
    (tmp_path / "m.index").write_bytes(writer.table([(b"", header), (b"x", floats((1,)))]))
    refused(tmp_path / "m", "its header")


def test_compressed_blocks_are_refused_by_name(tmp_path):
    refused(hostile(tmp_path, [(b"x", floats((1,)))], kind=1), "compressed (type 1)")


def test_a_block_whose_restart_points_outnumber_its_bytes_is_refused(tmp_path):
    sound, body = writer.block([(b"", writer.header(1)), (b"x", floats((1,)))]), b"abcd\xff\xff\0\0"
    handles = [(b"x", writer.place(b"", sound)), (b"y", writer.place(writer.sealed(sound), body))]
    (tmp_path / "m.index").write_bytes(
        writer.close(writer.sealed(sound) + writer.sealed(body), handles)
    )
    refused(tmp_path / "m", "no room for its restart points")


def test_blocks_that_repeat_overlap_or_point_at_the_index_itself_are_refused(tmp_path):
    body = writer.block([(b"", writer.header(1)), (b"x", floats((1,)))])
    sealed, here = writer.sealed(body), writer.place(b"", body)
    meta_end = len(sealed) + len(writer.sealed(writer.block([])))
    for handles in (
        [(b"a", here), (b"b", here)],
        [(bytes([n % 256]), here) for n in range(3000)],
        [(b"a", writer.varint(meta_end) + writer.varint(30))],
        [(b"a", writer.varint(1 << 63) + writer.varint(1 << 63))],
        [(b"a", here + b"\0")],
    ):
        (tmp_path / "m.index").write_bytes(writer.close(sealed, handles))
        refused(tmp_path / "m", "out of its place")


def numbered_keys():
    """262,144 keys that share their first 1,000 bytes: 1.8 MB of index, 263 MB of keys."""
    first = b"\0\xe8\7\0" + b"x" * 1000
    return first + b"".join(b"\xe8\7\3\0" + n.to_bytes(3, "big") for n in range(1 << 18))


def one_entry(value):
    return b"\0\1" + writer.varint(len(value)) + b"x" + value


DIMENSIONS = writer.message(2, b"\x12\0" * (1 << 19))
SLICES = writer.entry(1, (4,)) + writer.message(7, writer.message(1, b"\x10\4")) * (1 << 18)


@pytest.mark.parametrize(
    "entries, words",
    [
        (numbered_keys(), "one too many"),
        (one_entry(DIMENSIONS), "impossible shape"),
        (one_entry(SLICES), "lacks the slice"),
    ],
    ids=["keys", "dimensions", "slices"],
)
def test_an_index_made_to_be_slow_or_large_is_refused_in_time(entries, words, tmp_path):
    header = b"\0\0" + writer.varint(len(writer.header(1))) + writer.header(1)
    put_index(tmp_path / "m", header + entries)
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=f"m.index: .*{words}"):
        read_tf_checkpoint(tmp_path / "m")
    assert time.monotonic() - began < 30
