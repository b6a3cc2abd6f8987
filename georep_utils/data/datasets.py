"""Named data sets: tokens, images, proteins or texts, with their labels. Nothing here runs a model.

`load` is the one way in. A run file names a data set and gives its options:

    dataset: table
    dataset_options: {path: reviews.csv, input_column: text, label_column: mood}

The names that it may use are those of `LOADERS`, and the options of each are the keyword arguments
of its function below. What every data set has in common (which split, which classes, how many of
each, where the files lie) travels in a `Request`.

A loader checks what it can without a model: a file that is damaged, a column or a class that is
not there, labels that could not be compared with anything. It says so in one line, before hours of
computing depend on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from georep_utils.data import fasta as proteins
from georep_utils.data import texts
from georep_utils.data.files import existing, read_npz, read_text
from georep_utils.data.images import (
    Rows,
    check_tokens,
    open_rows,
    quantize,
    read_labels,
    read_palette,
    square_image,
)
from georep_utils.data.samples import (
    Dataset,
    class_list,
    first_per_class,
    is_count,
    number_names,
)
from georep_utils.data.tables import columns, read_cells, table_format
from georep_utils.io import REPOSITORY, UserError, note_read

SPLITS = {"train": "tr", "valid": "va", "test": "te"}  # ours and OpenAI's
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
PALETTE = "color-clusters/kmeans_centers.npy"
IMAGENET_CLASSES = "book/reference/imagenet_300_classes.txt"
FILTER_MINIMA = ("min_per_family", "min_families", "min_per_superfamily")


@dataclass(frozen=True)
class Request:
    """What every loader is asked for, whatever its data.

    Attributes
    ----------
    split
        "train", "valid" or "test".
    data_dir
        The folder of downloads; files of the user lie in `datasets` below it.
    classes
        The classes to keep, as `load` takes them.
    n_per_class
        How many samples of each class are wanted at most, or None. `load` sees to it; a loader
        may use it to read less.
    """

    split: str
    data_dir: Path
    classes: object
    n_per_class: int | None

    def find(self, path: str | Path) -> Path:
        """A file or folder of the user: below the repository, or else below the data folder."""
        return existing(path, self.data_dir / "datasets")


def load(
    name: str,
    split: str = "test",
    n_per_class: int | None = None,
    data_dir: str | Path = "data",
    classes=None,
    n_samples: int | None = None,
    **options,
) -> Dataset:
    """The data set `name`.

    Parameters
    ----------
    name
        One of `LOADERS`.
    split
        "train", "valid" or "test"; matters for OpenAI's arrays only.
    n_per_class
        At most the first so many samples of each class, class by class, as the authors select
        them; None for all.
    data_dir
        The folder of downloads, relative to the repository. Relative paths of the user are below
        the repository, or else below `datasets` in this folder.
    classes
        Those to keep, in this order: a list of numbers, names or SCOPe prefixes, a file with one
        a line, or None or "all".
    n_samples
        At most the first so many samples of what is left; None for all.
    options
        Those of the loader.

    Raises
    ------
    UserError
        For an unknown name, split or option, a missing file, and content that is not what the
        loader expects.
    """
    loader = _one_of(LOADERS, name, "data set")
    _one_of(SPLITS, split, "split")
    for key, value in {"n_per_class": n_per_class, "n_samples": n_samples}.items():
        if value is not None and not is_count(value):
            raise UserError(
                f"{key} is {value!r}; expected a whole number of at least 1, or null for all"
            )
    _check_options(name, loader, options)
    request = Request(split, REPOSITORY / data_dir, classes, n_per_class)
    dataset = loader(request, **options)
    if n_per_class is not None:
        dataset = _first_of_each_class(dataset, n_per_class)
    if n_samples is not None:
        dataset = dataset.take(np.arange(min(n_samples, len(dataset))))
    return dataset


def _one_of(known: dict, name, what: str):
    if not isinstance(name, str) or name not in known:
        raise UserError(f"{what} {name!r} is not known; expected one of {', '.join(known)}")
    return known[name]


def _check_options(name: str, loader: Callable, options: dict) -> None:
    parameters = inspect.signature(loader).parameters.values()
    known = {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for key in options:
        if key not in known:
            raise UserError(
                f"data set {name} has no option {key!r}; expected one of {', '.join(known)}"
            )
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in options:
            raise UserError(f"data set {name} needs the option {key!r}; name it in the run file")


def _first_of_each_class(dataset: Dataset, n_per_class: int) -> Dataset:
    if dataset.labels is None:
        raise UserError(
            f"data set {dataset.name} has no labels, but n_per_class is given; "
            "leave it out or name the labels"
        )
    # The order of the classes is the one in which the loader put them.
    present = dict.fromkeys(dataset.labels.tolist())
    return dataset.take(first_per_class(dataset.labels, present, n_per_class))


# --------------------------------------------------------------------------------- images in tokens


def fashion_mnist_14(
    request: Request, *, path: str | Path = "assets/fashion-mnist-14.npz"
) -> Dataset:
    """The bundled test images of Fashion-MNIST: 10,000 of 14 x 14 tokens from 16 grey levels.

    Parameters
    ----------
    request
        Its classes are numbers; its split can only be "test".
    path
        Another archive of the same form.
    """
    if request.split != "test":
        raise UserError(
            "fashion-mnist-14 bundles the test images only; "
            f"split is {request.split!r}, expected 'test'"
        )
    path = existing(path)
    arrays = read_npz(path, ("tokens", "labels", "palette", "label_names"))
    tokens = arrays["tokens"]
    palette = arrays["palette"]
    for key, kinds in {"labels": "ui", "palette": "uif", "label_names": "U"}.items():
        if arrays[key].ndim != 1 or arrays[key].dtype.kind not in kinds:
            raise UserError(f"{path} can't be read ({key} are no such list); restore the file")
    check_tokens(tokens, 196, len(palette), path)
    labels = arrays["labels"].astype(np.int64)
    names = tuple(map(str, arrays["label_names"]))
    dataset = Dataset("fashion-mnist-14", "tokens", tokens, labels, names, palette=palette)
    chosen = class_list(request.classes, int) or np.unique(labels)
    return dataset.take(first_per_class(labels, chosen))


def imagenet32(request: Request, *, n_px: int = 32, n_vocab: int = 512) -> Dataset:
    """OpenAI's ImageNet in colour tokens, which stay on disk.

    Parameters
    ----------
    request
        Its classes are numbers; None stands for the 300 of the paper, "all" for all 1,000.
    n_px
        Pixels on a side.
    n_vocab
        Entries of the palette.
    """
    if request.classes is None:
        request = replace(request, classes=IMAGENET_CLASSES)
    return _openai_tokens("imagenet", request, n_px, n_vocab)


def cifar10_32(request: Request, *, n_px: int = 32, n_vocab: int = 512) -> Dataset:
    """OpenAI's CIFAR-10 in colour tokens, which stay on disk.

    Parameters
    ----------
    request
        Its classes are numbers.
    n_px
        Pixels on a side.
    n_vocab
        Entries of the palette.
    """
    return _openai_tokens("cifar10", request, n_px, n_vocab)


def _openai_tokens(stem: str, request: Request, n_px: int, n_vocab: int) -> Dataset:
    """Tokens (N, n_px * n_px) and one-hot labels, left on disk: {stem}_{trX,trY,...}.npy."""
    _check_counts(n_px=n_px, n_vocab=n_vocab)
    folder = request.data_dir / "datasets"
    prefix = f"{stem}_{SPLITS[request.split]}"
    token_path = existing(folder / f"{prefix}X.npy")
    label_path = existing(folder / f"{prefix}Y.npy")
    note_read(token_path)
    labels = read_labels(label_path)
    n_rows = len(open_rows(token_path, (2,)))
    if n_rows != len(labels):
        raise UserError(
            f"{token_path} has {n_rows} rows and {label_path.name} {len(labels)}; "
            "download both again"
        )
    chosen = class_list(request.classes, int) or np.unique(labels)
    # Chosen before the tokens are checked: of 11 GB, only the rows of this run are read.
    rows = Rows(token_path, first_per_class(labels, chosen, request.n_per_class))
    check_tokens(rows, n_px * n_px, n_vocab, token_path)
    palette = None
    if (request.data_dir / PALETTE).exists():
        palette = read_palette(request.data_dir / PALETTE)
    name = f"{stem}32-{request.split}"
    return Dataset(name, "tokens", rows, labels[rows.index], ids=rows.index, palette=palette)


def image_folder(
    request: Request, *, path: str | Path, clusters: str | Path | None = None, n_px: int = 32
) -> Dataset:
    """An image folder as colour tokens (N, n_px * n_px).

    The central square of each image is reduced by averaging, and each pixel becomes the nearest
    colour of OpenAI's palette.

    Parameters
    ----------
    request
        Its classes are names of folders.
    path
        The folder with one folder a class. Files are taken in the order of their names.
    clusters
        The file of the palette; by default the one among the downloads.
    n_px
        Pixels on a side.
    """
    _check_counts(n_px=n_px)
    palette = read_palette(existing(clusters or request.data_dir / PALETTE))
    files = hf_image(request, path=path)
    # Before, and not after, the images are opened.
    if request.n_per_class is not None:
        files = _first_of_each_class(files, request.n_per_class)
    tokens = [quantize(square_image(file, n_px), palette).ravel() for file in files.inputs]
    return replace(
        files, name="image-folder", kind="tokens", inputs=np.stack(tokens), palette=palette
    )


def _check_counts(**values) -> None:
    for key, value in values.items():
        if not is_count(value):
            raise UserError(f"{key} is {value!r}; expected a whole number of at least 1")


# -------------------------------------------------------------------------------------- image files


def hf_image(request: Request, *, path: str | Path) -> Dataset:
    """Image files in class folders, for a vision transformer that has its own preprocessing.

    Parameters
    ----------
    request
        Its classes are names of folders.
    path
        The folder with one folder a class. Files are taken in the order of their names.
    """
    root = request.find(path)
    if not root.is_dir():
        raise UserError(
            f"{root} is a file; expected a folder of class folders, "
            f"such as {root.stem}/class/one.png"
        )
    note_read(root)
    names = class_list(request.classes)
    if names is None:
        names = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    if not names:
        raise _no_image(root, root)
    files = []
    labels = []
    for label, name in enumerate(names):
        found = _images_in(root / name, root)
        files += found
        labels += [label] * len(found)
    ids = np.array([f"{file.parent.name}/{file.name}" for file in files])
    return Dataset("hf-image", "image", files, np.array(labels), tuple(names), ids=ids)


def _images_in(folder: Path, root: Path) -> list[Path]:
    if not folder.is_dir():
        raise _no_image(folder, root)
    note_read(folder)
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise _no_image(folder, root)
    return found


def _no_image(folder: Path, root: Path) -> UserError:
    return UserError(f"{folder} holds no image; expected files such as {root.name}/class/one.png")


# ----------------------------------------------------------------------------------------- proteins


def fasta(
    request: Request,
    *,
    path: str | Path,
    max_length: int | None = None,
    too_long: str = "error",
    exclude: str | list[str] = (),
    min_per_family: int = 1,
    min_families: int = 1,
    min_per_superfamily: int = 1,
) -> Dataset:
    """Sequences of a FASTA file. With Astral SCOPe headers: superfamilies as labels, and families.

    Parameters
    ----------
    request
        Its classes are SCOPe prefixes (["a", "b"], ["c.2"]).
    path
        The file, plain or gzip.
    max_length
        The most residues that a sequence may have; None for any number.
    too_long
        What becomes of a longer one: "error", "drop" or "truncate".
    exclude
        SCOPe prefixes to leave out; "disputed" stands for folds of disputed kinship.
    min_per_family
        Families of fewer sequences are left out first.
    min_families, min_per_superfamily
        Then superfamilies are left out that have fewer families, or fewer sequences.
    """
    path = request.find(path)
    minima = (min_per_family, min_families, min_per_superfamily)
    for key, value in zip(FILTER_MINIMA, minima, strict=True):
        if not is_count(value):
            raise UserError(
                f"a minimum of the SCOPe filter is {value!r}; "
                f"expected a whole number of at least 1 for {key}"
            )
    classes = class_list(request.classes)
    excluded = proteins.DISPUTED_FOLDS if exclude == "disputed" else class_list(exclude or None)
    records = _of_suitable_length(proteins.read_fasta(path), max_length, too_long)
    with_class = [record for record in records if record.sccs]
    if not with_class:
        if classes or excluded or minima != (1, 1, 1):
            raise UserError(
                f"{path} has no SCOPe classes to filter by; "
                "expected '>id a.1.1.1 ...', or drop the filters"
            )
        return _unlabelled("fasta", records)
    if len(with_class) < len(records):
        bare = next(record for record in records if not record.sccs)
        raise UserError(
            f"{path}: {bare.id} has no SCOPe class though others have; "
            "expected '>id a.1.1.1 ...' in all"
        )
    return _superfamilies(proteins.scope_filter(records, classes, excluded or (), *minima))


def _superfamilies(records: list[proteins.Record]) -> Dataset:
    labels, names = number_names([record.superfamily for record in records])
    families, _ = number_names([record.sccs for record in records])
    ids = np.array([record.id for record in records])
    sequences = [record.sequence for record in records]
    return Dataset("fasta", "protein", sequences, labels, names, families, ids)


def proteinnet(
    request: Request,
    *,
    path: str | Path,
    max_length: int | None = None,
    too_long: str = "error",
) -> Dataset:
    """Sequences of a ProteinNet text file, without labels.

    Parameters
    ----------
    request
        Nothing of it but where files lie is used.
    path
        The file, plain or gzip.
    max_length
        The most residues that a sequence may have; None for any number.
    too_long
        What becomes of a longer one: "error", "drop" or "truncate".
    """
    records = proteins.read_proteinnet(request.find(path))
    return _unlabelled("proteinnet", _of_suitable_length(records, max_length, too_long))


def _unlabelled(name: str, records: list[proteins.Record]) -> Dataset:
    ids = np.array([record.id for record in records])
    return Dataset(name, "protein", [record.sequence for record in records], ids=ids)


def _of_suitable_length(
    records: list[proteins.Record], max_length: int | None, too_long: str
) -> list[proteins.Record]:
    names = [record.id for record in records]
    sequences = [record.sequence for record in records]
    kept, sequences = proteins.limit_length(names, sequences, max_length, too_long)
    return [
        replace(records[i], sequence=sequence) for i, sequence in zip(kept, sequences, strict=True)
    ]


# ------------------------------------------------------------------------------------------- tables


def table(
    request: Request,
    *,
    path: str | Path,
    input_column: str,
    kind: str = "text",
    label_column: str | None = None,
    family_column: str | None = None,
    id_column: str | None = None,
    max_length: int | None = None,
    too_long: str = "error",
    words: str = "as written",
    words_seed: int = 0,
) -> Dataset:
    """The rows of a csv, tsv, jsonl or parquet file, plain or gzip.

    Parameters
    ----------
    request
        Its classes are values of `label_column`.
    path
        The table.
    input_column
        The column of texts, of protein sequences, or of paths of image files relative to the
        folder of the table.
    kind
        Which of them: "text", "protein" or "image".
    label_column
        The column of classes. Its values are numbered in sorted order.
    family_column
        The column of finer groups, whose members don't count as neighbours of each other in the
        overlap with the classes.
    id_column
        The column of names; without it, samples are numbered from 0.
    max_length
        For proteins, the most residues that a sequence may have; None for any number.
    too_long
        What becomes of a longer one: "error", "drop" or "truncate".
    words
        For texts, a control instead of the texts "as written": the words of each "shuffled", or as
        many "random" ones, drawn from all words of the column.
    words_seed
        Of the shuffled or random words.
    """
    path = request.find(path)
    if kind not in ("text", "protein", "image"):
        raise UserError(f"kind is {kind!r}; expected text, protein or image")
    if max_length is not None and kind != "protein":
        raise UserError(
            f"max_length is {max_length!r}, but kind is {kind!r}; it is for proteins, leave it out"
        )
    if words != "as written" and kind != "text":
        raise UserError(f"words is {words!r}, but kind is {kind!r}; it is for texts, leave it out")
    wanted = {
        "input": input_column,
        "label": label_column,
        "family": family_column,
        "id": id_column,
    }
    samples = columns(read_cells(path), wanted, path)
    if kind == "protein":
        samples = _sequences(samples, path, max_length, too_long)
    if kind == "image":
        samples["input"] = _image_files(samples["input"], path)
    if kind == "text":
        samples["input"] = texts.rewritten(samples["input"], words, words_seed)
    return _labelled("table", kind, samples, request, path)


def text(
    request: Request,
    *,
    path: str | Path,
    text_column: str = "text",
    label_column: str | None = None,
    words: str = "as written",
    words_seed: int = 0,
) -> Dataset:
    """Texts of a table, or of any other text file, one a line.

    Parameters
    ----------
    request
        Its classes are values of `label_column`.
    path
        The file. Blank lines of a file that is no table count for nothing.
    text_column
        Of a table, the column of texts.
    label_column
        Of a table, the column of classes.
    words
        A control instead of the texts "as written": the words of each "shuffled", or as many
        "random" ones, drawn from all words.
    words_seed
        Of the shuffled or random words.
    """
    path = request.find(path)
    if table_format(path):
        wanted = {"input": text_column, "label": label_column}
        samples = columns(read_cells(path), wanted, path)
        samples["input"] = texts.rewritten(samples["input"], words, words_seed)
        return _labelled("text", "text", samples, request, path)
    if label_column is not None:
        raise UserError(
            f"{path} is plain text without labels, but label_column is {label_column!r}; "
            "use csv, tsv or jsonl"
        )
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    lines = texts.rewritten(lines, words, words_seed)
    return _labelled("text", "text", {"input": lines}, request, path)


def _sequences(
    samples: dict[str, list[str]], path: Path, max_length: int | None, too_long: str
) -> dict[str, list[str]]:
    """The rows whose proteins have a suitable length, with their residues in capitals."""
    names = [f"row {row}" for row in range(1, len(samples["input"]) + 1)]
    sequences = [
        proteins.residues(letters.strip(), name, path)
        for letters, name in zip(samples["input"], names, strict=True)
    ]
    kept, sequences = proteins.limit_length(names, sequences, max_length, too_long)
    left = {name: [values[i] for i in kept] for name, values in samples.items()}
    return left | {"input": sequences}


def _image_files(names: list[str], path: Path) -> list[Path]:
    files = [path.parent / name for name in names]
    for row, file in enumerate(files, 1):
        if not file.is_file():
            raise UserError(
                f"{path}: row {row} names {file}, which is no file; "
                "expected a path relative to the folder of the table; correct it"
            )
    return files


def _labelled(
    name: str, kind: str, samples: dict[str, list], request: Request, path: Path
) -> Dataset:
    """A data set of columns, which may be `input`, `label`, `family` and `id`."""
    numbered = {key: number_names(samples[key]) for key in ("label", "family") if key in samples}
    labels, label_names = numbered.get("label", (None, None))
    families, _ = numbered.get("family", (None, None))
    ids = np.array(samples["id"]) if "id" in samples else None
    dataset = Dataset(name, kind, samples["input"], labels, label_names, families, ids)
    chosen = class_list(request.classes)
    if labels is None:
        if chosen:
            raise UserError(
                f"classes are given but {path.name} is read without labels; set label_column"
            )
        return dataset
    if chosen:
        dataset = _of_classes(dataset, chosen, path)
    _check_labels(dataset, path)
    return dataset


def _of_classes(dataset: Dataset, chosen: list[str], path: Path) -> Dataset:
    unknown = set(chosen) - set(dataset.label_names)
    if unknown:
        some = ", ".join(dataset.label_names[:10])
        raise UserError(f"class {min(unknown)!r} is not among the labels of {path.name}: {some}")
    numbers = [dataset.label_names.index(name) for name in chosen]
    return dataset.take(first_per_class(dataset.labels, numbers))


def _check_labels(dataset: Dataset, path: Path) -> None:
    """Labels are there to be compared: some samples must share one, and some must not."""
    n_classes = len(np.unique(dataset.labels))
    if n_classes == 1:
        only = dataset.label_names[dataset.labels[0]]
        raise UserError(
            f"all labels of {path.name} are {only!r}; expected at least two classes; "
            "name another label_column or leave it out"
        )
    if n_classes == len(dataset):
        raise UserError(
            f"all {n_classes} labels of {path.name} are different; expected classes of several "
            "samples; name another label_column or leave it out"
        )


LOADERS = {
    "fashion-mnist-14": fashion_mnist_14,
    "imagenet32": imagenet32,
    "cifar10-32": cifar10_32,
    "image-folder": image_folder,
    "hf-image": hf_image,
    "fasta": fasta,
    "proteinnet": proteinnet,
    "table": table,
    "text": text,
}
