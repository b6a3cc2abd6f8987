"""What a machine lacks costs nothing that is finished, and writing goes on when it is there."""

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from georep_utils import clouds, extraction, io
from georep_utils.data.samples import Dataset
from georep_utils.models import imagegpt

BIG = ["x" * 200_000]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def limited(kind, number):
    """A lower limit of this process."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextlib.contextmanager
def not_allowed(folder):
    """A folder in which this process may write nothing, root included."""
    before = os.geteuid()
    folder.chmod(0o555)
    try:
        if before == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(before)
        folder.chmod(0o755)


def read_only(folder):
    return subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def keeps_what_is_finished(folder, value, number, cause) -> None:
    """Writing `value` fails with this error while there is a cause, and leaves the former file."""
    path = folder / "a.json"
    io.write_json(path, [1])
    with cause, pytest.raises(OSError) as failed:
        io.write_json(path, value)
    assert failed.value.errno == number
    assert json.loads(path.read_text()) == [1]
    assert [found.name for found in folder.iterdir()] == ["a.json"], "half a file was left"


def test_a_full_disk(small_disk):
    keeps_what_is_finished(small_disk, BIG, errno.ENOSPC, contextlib.nullcontext())
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    io.write_json(small_disk / "a.json", BIG)
    assert io.read_json(small_disk / "a.json") == BIG


def test_a_read_only_file_system(small_disk):
    path = small_disk / "a.json"
    io.write_json(path, [1])
    read_only(small_disk)
    with pytest.raises(OSError) as failed:
        io.write_json(path, [2])
    assert failed.value.errno == errno.EROFS and io.read_json(path) == [1]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    io.write_json(path, [2])
    assert io.read_json(path) == [2]


def test_a_file_that_may_not_grow(tmp_path):
    cause = limited(resource.RLIMIT_FSIZE, 4096)
    keeps_what_is_finished(tmp_path, BIG, errno.EFBIG, cause)
    io.write_json(tmp_path / "a.json", BIG)
    assert io.read_json(tmp_path / "a.json") == BIG


def test_too_few_file_handles(tmp_path):
    # The next file would get this number, which is the first that the limit forbids.
    next_number = os.open(os.devnull, os.O_RDONLY)
    os.close(next_number)
    cause = limited(resource.RLIMIT_NOFILE, next_number)
    keeps_what_is_finished(tmp_path, [2], errno.EMFILE, cause)
    io.write_json(tmp_path / "a.json", [2])
    assert io.read_json(tmp_path / "a.json") == [2]


def test_no_permission(tmp_path):
    tmp_path.parent.chmod(0o755)
    keeps_what_is_finished(tmp_path, [2], errno.EACCES, not_allowed(tmp_path))
    io.write_json(tmp_path / "a.json", [2])
    assert io.read_json(tmp_path / "a.json") == [2]


# --------------------------------------------------------------------------------- an extraction


PAGE = 4096


def images(n=1024):
    tokens = np.random.default_rng(0).integers(0, 8, (n, 16)).astype(np.uint8)
    return Dataset("some images", "tokens", tokens, np.arange(n) % 4)


def small_model():
    net = imagegpt.initialise(imagegpt.ImageGPT(2, 16, 2, 8, 16), 0).eval()
    return imagegpt.ImageGPTModel("small", net, "ln_1", "mean", torch.device("cpu"), "float32")


def layers_in(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("layer_*.npy")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the images give where nothing lacks: four batches, of 256 images each."""
    folder = tmp_path_factory.mktemp("undisturbed") / "cloud"
    clouds.extract(small_model(), images(), folder, progress=False, batch_size=256)
    return layers_in(folder)


def goes_on(model, folder, n_left) -> dict[str, bytes]:
    """End an interrupted extraction, which has so many batches to do; its arrays."""
    todo = extraction.prepare(model, images(), folder, batch_size=256)
    assert len(todo) == n_left
    clouds.extract(model, images(), folder, progress=False, batch_size=256)
    return layers_in(folder)


def fill(disk, left) -> Path:
    """A file that leaves so many bytes of a disk free."""
    filler = disk / "filler"
    filler.write_bytes(bytes(os.statvfs(disk).f_bavail * PAGE - left))
    return filler


def test_a_disk_that_fills_up_during_an_extraction_loses_no_batch(small_disk, undisturbed):
    """Wherever it fills up: in the middle of a row, between two layers, in the last of them."""
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    model = small_model()
    batch = 256 * sum([16, 16, 16, 8]) * 4
    for pages in range(0, 2 * batch // PAGE, 3):
        folder = small_disk / f"cloud-{pages}"
        todo = extraction.prepare(model, images(), folder, batch_size=256)
        filler = fill(small_disk, pages * PAGE)
        with pytest.raises(OSError) as failed:
            extraction.work(model, images(), folder, todo)
        assert failed.value.errno == errno.ENOSPC
        filler.unlink()
        left = len(extraction.prepare(model, images(), folder, batch_size=256))
        assert 4 - left <= pages * PAGE // batch + 1
        assert goes_on(model, folder, left) == undisturbed
        subprocess.run(["rm", "-r", str(folder)], check=True)


def test_a_last_write_that_takes_half_is_not_taken_for_whole(tmp_path):
    """As on a disk where nearly nothing is free."""
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros((4, 2), np.float32))
    with extraction._ArrayRows(path) as rows:
        true = rows.stream

        class Halves:
            seek = true.seek
            close = true.close

            def write(self, content):
                return true.write(content[: max(1, len(content) // 2)])

        rows.stream = Halves()
        rows.write(np.arange(4), np.ones((4, 2)))
    assert np.load(path).tolist() == [[1, 1]] * 4


def test_too_few_file_handles_for_the_layers_lose_no_batch(tmp_path, undisturbed):
    model = small_model()
    todo = extraction.prepare(model, images(), tmp_path / "cloud", batch_size=256)
    extraction.work(model, images(), tmp_path / "cloud", todo[:1])
    next_number = os.open(os.devnull, os.O_RDONLY)
    os.close(next_number)
    cause = limited(resource.RLIMIT_NOFILE, next_number + 2)
    with cause, pytest.raises(OSError) as failed:
        extraction.work(model, images(), tmp_path / "cloud", todo)
    assert failed.value.errno == errno.EMFILE
    assert goes_on(model, tmp_path / "cloud", 3) == undisturbed


LIMITED = """
import re, resource, sys
from pathlib import Path
import numpy as np, torch
from test_starvation import images, layers_in, small_model
from georep_utils import clouds, extraction, io

class Greedy:
    "The small model, which takes some memory for each image of a batch while there is a limit."
    reentrant = False
    each = 0
    model = small_model()
    sizes = []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def forward(self, inputs):
        torch.empty(len(inputs) * self.each, dtype=torch.uint8)
        states = self.model.forward(inputs)
        self.sizes.append(len(inputs))
        return states

each, limit = (int(word) * 2**20 for word in sys.argv[1:3])
folder = Path(sys.argv[3])
greedy = Greedy()
todo = extraction.prepare(greedy, images(), folder, batch_size=256)
extraction.work(greedy, images(), folder, todo[:2])
greedy.sizes.clear()
used = re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
resource.setrlimit(resource.RLIMIT_AS, (int(used) * 1024 + limit,) * 2)
greedy.each = each
try:
    clouds.extract(greedy, images(), folder, progress=False, batch_size=256)
except io.UserError as error:
    sys.exit(f"error: {error}")
print(sum(greedy.sizes), max(greedy.sizes))
"""


def extract_with(each, limit, folder):
    """Extract all, the second half while an image takes so many megabytes and so many are there."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(each), str(limit), str(folder)],
        capture_output=True,
        text=True,
        cwd=io.REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{io.REPOSITORY}:{io.REPOSITORY / 'tests'}"},
        check=False,
    )


def test_a_batch_beyond_a_limit_of_memory_is_divided(tmp_path, undisturbed):
    """PyTorch itself finds no memory for 256 images, and for no more than some dozens."""
    # Between the memory of 32 images and of 64, so that it is the images that do not fit.
    done = extract_with(16, 800, tmp_path / "cloud")
    assert done.returncode == 0, done.stderr
    images_read, most = map(int, done.stdout.split())
    assert images_read == 512 + 1 and most <= 64
    found = layers_in(tmp_path / "cloud")
    assert found.keys() == undisturbed.keys()
    for name, content in found.items():
        arrays = [np.frombuffer(array[128:], np.float32) for array in (content, undisturbed[name])]
        assert np.abs(arrays[0] - arrays[1]).max() < 1e-5


def test_one_image_beyond_a_limit_of_memory_is_named_and_finished_batches_stay(
    tmp_path, undisturbed
):
    done = extract_with(800, 400, tmp_path / "cloud")
    assert done.returncode == 1
    assert "alone does not fit into the memory of cpu" in done.stderr
    assert done.stderr.startswith("error: sample 0 ") and done.stderr.count("\n") == 1
    assert goes_on(small_model(), tmp_path / "cloud", 2) == undisturbed
