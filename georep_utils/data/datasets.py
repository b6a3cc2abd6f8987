"""Named data sets: tokens, images, proteins or texts, with their labels. Nothing here runs a model."""

from __future__ import annotations

import csv
import inspect
import io
import json
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from georep_utils.data import fasta as proteins
from georep_utils.io import REPOSITORY, UserError
from georep_utils.data.samples import Dataset, class_list, existing, first_per_class, number_names
from georep_utils.data.images import Rows, check_tokens, open_rows, quantize, read_labels, read_palette

SPLITS = {"train": "tr", "valid": "va", "test": "te"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}


def load(name, split="test", n_per_class=None, data_dir="data", classes=None, n_samples=None, **options) -> Dataset:
    """The data set `name`, one of `LOADERS`; `options` are the arguments of its loader from the fifth on.

    classes: those to keep, in this order: a list of numbers, names or SCOPe prefixes, a file with one a line, or "all".
    n_per_class: at most the first so many samples of each class, class by class, as the authors select them.
    n_samples: at most the first so many samples of what is left.
    Relative paths are below the repository, or else below `data_dir`/datasets. `split` matters for OpenAI's arrays only.
    UserError for an unknown name, split or option, a missing file, and content that is not what the loader expects."""
    if name not in LOADERS:
        raise UserError(f"data set {name!r} is not known; expected one of {', '.join(LOADERS)}")
    if split not in SPLITS:
        raise UserError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
    for key, value in {"n_per_class": n_per_class, "n_samples": n_samples}.items():
        if value is not None and (not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1):
            raise UserError(f"{key} is {value!r}; expected a whole number of at least 1, or null for all")
    known = dict(list(inspect.signature(LOADERS[name]).parameters.items())[4:])
    if odd := [key for key in options if key not in known]:
        raise UserError(f"data set {name} has no option {odd[0]!r}; expected one of {', '.join(known)}")
    if missing := [key for key, option in known.items() if option.default is option.empty and key not in options]:
        raise UserError(f"data set {name} needs the option {missing[0]!r}; name it in the run file")
    dataset = LOADERS[name](split, REPOSITORY / data_dir, classes, n_per_class, **options)
    if n_per_class is not None:
        if dataset.labels is None:
            raise UserError(f"data set {name} has no labels, but n_per_class is given; leave it out or name the labels")
        dataset = dataset.take(first_per_class(dataset.labels, dict.fromkeys(dataset.labels.tolist()), n_per_class))
    return dataset if n_samples is None else dataset.take(np.arange(min(n_samples, len(dataset))))


def fashion_mnist_14(split, data_dir, classes, n_per_class, path="assets/fashion-mnist-14.npz") -> Dataset:
    """The bundled test images of Fashion-MNIST: 10,000 of 14x14 tokens from 16 grey levels."""
    if split != "test":
        raise UserError(f"fashion-mnist-14 bundles the test images only; split is {split!r}, expected 'test'")
    path = existing(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            tokens, labels, palette = file["tokens"], file["labels"].astype(np.int64), file["palette"]
            names = tuple(map(str, file["label_names"]))
    except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}); restore the bundled file") from None
    check_tokens(tokens, 196, len(palette), path)
    dataset = Dataset("fashion-mnist-14", "tokens", tokens, labels, names, palette=palette)
    return dataset.take(first_per_class(labels, class_list(classes, int) or np.unique(labels)))


def openai_tokens(stem: str, default_classes: str | None):
    """Loader of OpenAI's arrays {stem}_{trX,trY,vaX,vaY,teX,teY}.npy in `data_dir`/datasets, read row by row from disk."""

    def load_tokens(split, data_dir, classes, n_per_class, n_px=32, n_vocab=512) -> Dataset:
        x_path, y_path = (existing(data_dir / "datasets" / f"{stem}_{SPLITS[split]}{part}.npy") for part in "XY")
        labels, n_rows = read_labels(y_path), len(open_rows(x_path, (2,)))
        if n_rows != len(labels):
            raise UserError(f"{x_path} has {n_rows} rows and {y_path.name} {len(labels)}; download both again")
        chosen = class_list(default_classes if classes is None else classes, int) or np.unique(labels)
        rows = Rows(x_path, first_per_class(labels, chosen, n_per_class))
        check_tokens(rows, n_px * n_px, n_vocab, x_path)
        palette = data_dir / "color-clusters/kmeans_centers.npy"
        colors = read_palette(palette) if palette.exists() else None
        return Dataset(f"{stem}32-{split}", "tokens", rows, labels[rows.index], ids=rows.index, palette=colors)

    return load_tokens


def image_folder(split, data_dir, classes, n_per_class, path, clusters=None, n_px=32) -> Dataset:
    """An image folder as colour tokens (N, n_px * n_px): the central square, reduced by averaging (Pillow's box filter),
    each pixel the nearest colour of OpenAI's palette (`clusters`: its file)."""
    palette = read_palette(existing(clusters or data_dir / "color-clusters/kmeans_centers.npy"))
    files = hf_image(split, data_dir, classes, n_per_class, path)
    tokens = np.stack([quantize(square_image(file, n_px), palette).ravel() for file in files.inputs])
    return replace(files, name="image-folder", kind="tokens", inputs=tokens, palette=palette)


def square_image(path: Path, n_px: int) -> np.ndarray:
    """An image file as 8-bit RGB (n_px, n_px, 3)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (n_px, n_px), Image.Resampling.BOX))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as an image ({error}); remove or replace it") from None


def hf_image(split, data_dir, classes, n_per_class, path) -> Dataset:
    """The files root/class/*.png|jpg|... in the order of their names, for a vision transformer with its own preprocessing."""
    root = existing(path, data_dir / "datasets")
    if not root.is_dir():
        raise UserError(f"{root} is a file; expected a folder of class folders, such as {root.stem}/class/one.png")
    names = class_list(classes) or sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    files = [(f, i) for i, name in enumerate(names) if (root / name).is_dir()
             for f in sorted((root / name).iterdir()) if f.suffix.lower() in IMAGE_SUFFIXES]  # fmt: skip
    if empty := set(range(max(1, len(names)))) - {i for _, i in files}:
        where = root / names[min(empty)] if names else root
        raise UserError(f"{where} holds no image; expected files such as {root.name}/class/one.png")
    ids, labels = np.array([f"{f.parent.name}/{f.name}" for f, _ in files]), np.array([i for _, i in files])
    dataset = Dataset("hf-image", "image", [f for f, _ in files], labels, tuple(names), None, ids)
    return dataset.take(first_per_class(labels, range(len(names)), n_per_class))


def fasta(
    split, data_dir, classes, n_per_class, path, max_length=None, too_long="error",
    exclude=(), min_per_family=1, min_families=1, min_per_superfamily=1,
) -> Dataset:  # fmt: skip
    """Sequences of a FASTA file (plain or gzip). With Astral SCOPe headers: superfamilies as labels, and families.

    `classes` and `exclude` are SCOPe prefixes (["a", "b"], ["c.2"]; exclude="disputed": `proteins.DISPUTED_FOLDS`), the
    minima those of `proteins.scope_filter`. max_length in residues; too_long: "error", "drop" or "truncate"."""
    path = existing(path, data_dir / "datasets")
    exclude = proteins.DISPUTED_FOLDS if exclude == "disputed" else class_list(exclude or None) or ()
    filters = class_list(classes), exclude, min_per_family, min_families, min_per_superfamily
    for minimum in filters[2:]:
        if not isinstance(minimum, int) or minimum < 1:
            raise UserError(f"a minimum of the SCOPe filter is {minimum!r}; expected a whole number of at least 1")
    records = proteins.limit_length(proteins.read_fasta(path), max_length, too_long)
    if not any(record.sccs for record in records):
        if filters != (None, (), 1, 1, 1):
            raise UserError(
                f"{path} has no SCOPe classes to filter by; expected '>id a.1.1.1 ...', or drop the filters"
            )
        return Dataset("fasta", "protein", [r.sequence for r in records], ids=np.array([r.id for r in records]))
    if bare := [record.id for record in records if not record.sccs]:
        raise UserError(f"{path}: {bare[0]} has no SCOPe class though others have; expected '>id a.1.1.1 ...' in all")
    records = proteins.scope_filter(records, *filters)
    labels, names = number_names([r.superfamily for r in records])
    families, ids = number_names([r.sccs for r in records])[0], np.array([r.id for r in records])
    return Dataset("fasta", "protein", [r.sequence for r in records], labels, names, families, ids)


def proteinnet(split, data_dir, classes, n_per_class, path, max_length=None, too_long="error") -> Dataset:
    """Sequences of a ProteinNet text file (plain or gzip), without labels. Lengths as for `fasta`."""
    records = proteins.read_proteinnet(existing(path, data_dir / "datasets"))
    records = proteins.limit_length(records, max_length, too_long)
    return Dataset("proteinnet", "protein", [r.sequence for r in records], ids=np.array([r.id for r in records]))


def text(split, data_dir, classes, n_per_class, path, text_column="text", label_column=None) -> Dataset:
    """Texts of a csv, tsv or jsonl file (columns named here), or of any other text file, one a line without blank lines.

    Labels are the values of `label_column`, numbered in sorted order."""
    path = existing(path, data_dir / "datasets")
    content = proteins.read_text(path)
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if suffix in (".csv", ".tsv"):
        try:
            rows = list(csv.DictReader(io.StringIO(content), delimiter="," if suffix == ".csv" else "\t"))
        except csv.Error as error:
            raise UserError(f"{path} can't be read as a table ({error}); correct the file") from None
    elif suffix == ".jsonl":
        rows = [json_object(line, number, path) for number, line in lines]
    elif label_column is not None:
        raise UserError(
            f"{path} is plain text without labels, but label_column is {label_column!r}; use csv, tsv or jsonl"
        )
    else:
        rows = [{text_column: line} for _, line in lines]
    for column in (text_column,) if label_column is None else (text_column, label_column):
        for number, row in enumerate(rows, 1):
            if row.get(column) is None or not str(row[column]).strip():
                raise UserError(f"{path}: row {number} has no {column!r}; its columns are {', '.join(map(str, row))}")
    chosen, texts = class_list(classes), [str(row[text_column]) for row in rows]
    if label_column is None:
        if chosen:
            raise UserError(f"classes are given but {path.name} is read without labels; set label_column")
        return Dataset("text", "text", texts)
    labels, names = number_names([str(row[label_column]) for row in rows])
    dataset = Dataset("text", "text", texts, labels, names)
    if unknown := set(chosen or ()) - set(names):
        raise UserError(f"class {min(unknown)!r} is not among the labels of {path.name}: {', '.join(names[:10])}")
    return dataset.take(first_per_class(labels, map(names.index, chosen))) if chosen else dataset


def json_object(line: str, number: int, path: Path) -> dict:
    try:
        if isinstance(value := json.loads(line), dict):
            return value
    except json.JSONDecodeError:
        pass
    raise UserError(f"{path}: line {number} is no JSON object; expected {{...}} on each line")


LOADERS = {
    "fashion-mnist-14": fashion_mnist_14,
    "imagenet32": openai_tokens("imagenet", "book/reference/imagenet_300_classes.txt"),
    "cifar10-32": openai_tokens("cifar10", None),
    "image-folder": image_folder,
    "hf-image": hf_image,
    "fasta": fasta,
    "proteinnet": proteinnet,
    "text": text,
}
