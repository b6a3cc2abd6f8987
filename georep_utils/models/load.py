"""One way to load every model, and to say what its representations depend on.

    model = load("igpt", "assets/igpt-mini/trained.safetensors")
    model = load("facebook/esm2_t12_35M_UR50D", site="attn", pool="last")

There are two families. ImageGPT (`imagegpt`) comes from OpenAI's checkpoints, from files with
OpenAI's names or from the hub; any other transformer comes from the Hugging Face hub
(`huggingface`). A model of either has

    .name .kind .device .dtype .site .pool       kind: tokens, text, protein or image
    .n_blocks .layers .layer_names               layers are numbered as in the paper
    .forward(inputs)                             one pooled (batch, width) float32 tensor a layer
    .lengths(inputs)                             number of tokens of each sample
    .check(dataset)                              UserError where the data don't suit the model
    .reentrant                                   whether several threads may call forward at once

A `ModelSource` is what a model is made from. It costs nothing, travels between processes, and knows
its recipe: everything that the representations depend on, in a dictionary that is equal for two
sources only if their arrays are. So representations that exist can be found again without loading a
network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from types import ModuleType

from georep_utils.io import REPOSITORY, UserError, code_digest, file_digest, note_read
from georep_utils.models import huggingface, imagegpt
from georep_utils.models.hooks import SITES
from georep_utils.models.hub_files import find_folder, read_config
from georep_utils.precision import DTYPES, find_device, say_if_slow

IMAGEGPT = "igpt"
POOLS = ("mean", "last", "cls")
UNTRAINED = "untrained"  # a checkpoint without a file

# Options that only say where files are found. What was found is in the digests of the files.
WHERE = ("revision", "local_files_only")
# Options that only say what readers are told.
SAID = ("title", "weights_note")

# The modules that decide the arrays.
IMAGEGPT_CODE = (
    "georep_utils.models.imagegpt",
    "georep_utils.models.pooling",
    "georep_utils.models.tf_checkpoint",
    "georep_utils.precision",
)
HUGGINGFACE_CODE = (
    "georep_utils.io:open_image",
    "georep_utils.models.hooks",
    "georep_utils.models.hub_files",
    "georep_utils.models.huggingface",
    "georep_utils.models.pooling",
    "georep_utils.precision",
)


def load(
    name_or_path: str,
    checkpoint: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    site: str = "ln_1",
    pool: str = "mean",
    random_init_seed: int | None = None,
    data_dir: str = "data",
    **options,
) -> imagegpt.ImageGPTModel | huggingface.HFModel:
    """Load a model in eval mode, ready to be read.

    Parameters
    ----------
    name_or_path
        "igpt"; or a model of the Hugging Face hub, by its name or as a folder. A name is looked for
        in `data_dir`/hub, then in the hub's cache, then on the hub. An ImageGPT of the hub becomes
        the same network as OpenAI's.
    checkpoint
        For "igpt": the prefix of a TensorFlow checkpoint, or a .safetensors file with OpenAI's
        names, below the repository or `data_dir`. Every size is read from it. Without one, "igpt"
        is OpenAI's untrained network of the option `size`.
    device
        "auto", "cpu", "cuda" or "cuda:N".
    dtype
        Of weights and states: "float32", "bfloat16", or "tf32", which is float32 with matrix
        products in TF32 on an NVIDIA GPU.
    site
        Where a block is read: "ln_1" behind its first norm (as in the paper), "input" before it,
        "attn" after attention was added, "mlp" at the block's output.
    pool
        The "mean" over the sequence (as in the paper), its "last" place, or the class token "cls"
        in front of it, where there is one.
    random_init_seed
        Random weights from this seed, in a network of the same sizes.
    data_dir
        Folder of downloaded files, relative to the repository.
    **options
        The options of the family: see `imagegpt.Options` and `huggingface.Options`. For every model
        there are two more, which change names and no array: `title` (str), what tables and captions
        call it, and `weights_note` (str), what they say of its weights, such as "4-bit weights
        dequantised".

    Raises
    ------
    UserError
        For a value that is not allowed, before anything is read; for what can't be loaded.
    """
    return source(
        name_or_path,
        checkpoint,
        device,
        dtype,
        site,
        pool,
        random_init_seed,
        data_dir,
        **options,
    ).load()


def source(
    name_or_path: str,
    checkpoint: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    site: str = "ln_1",
    pool: str = "mean",
    random_init_seed: int | None = None,
    data_dir: str = "data",
    **options,
) -> ModelSource:
    """Everything that `load` needs, checked, without loading anything.

    Parameters are those of `load`. The files need not be there yet.

    Raises
    ------
    UserError
        For a value that is not allowed, and for options that the model has not.
    """
    _require_one_of(DTYPES, dtype, "dtype")
    _require_one_of(SITES, site, "site")
    _require_one_of(POOLS, pool, "pool")
    said = {name: options[name] for name in SAID if name in options}
    for name, value in said.items():
        if not isinstance(value, str):
            raise UserError(f"{name} is {value!r}; expected text: correct model_options")
    options = {name: value for name, value in options.items() if name not in SAID}
    found = ModelSource(
        name_or_path=str(name_or_path),
        checkpoint=str(checkpoint) if checkpoint else None,
        dtype=dtype,
        site=site,
        pool=pool,
        random_init_seed=_seed(random_init_seed),
        data_dir=str(data_dir),
        device=str(device),
        options=tuple(sorted(options.items())),
        **said,
    )
    found.require_options_that_fit()
    return found


def split_revision(name: str) -> tuple[str, str | None]:
    """A hub name with a revision, "EleutherAI/pythia-160m@step1000", as its two parts.

    The second is None where none is named. A folder that exists is taken as it is.
    """
    if "@" not in name or Path(name).expanduser().is_dir():
        return name, None
    name, _, revision = name.rpartition("@")
    return name, revision


def revisions(model: str, revision: str, checkpoints: Mapping) -> list[tuple[str, str]]:
    """Every name and revision of the hub that a run reads, each once.

    Parameters
    ----------
    model, revision
        The model of the run.
    checkpoints
        Name -> a hub name, with a revision behind "@" or without; "untrained" or None has no file.
    """
    found = [(model, revision)]
    for checkpoint in checkpoints.values():
        if checkpoint not in (None, UNTRAINED):
            name, at = split_revision(checkpoint)
            found.append((name, at or "main"))
    return list(dict.fromkeys(found))


def source_of_checkpoint(model: str, checkpoint: str, **settings) -> ModelSource:
    """The source of one checkpoint of a training.

    Parameters
    ----------
    model
        "igpt", whose checkpoints are files; any other model's are models themselves.
    checkpoint
        A file; or a hub name, with a revision behind "@" or without, or a folder.
    settings
        The other parameters of `source`.
    """
    if model == IMAGEGPT:
        return source(model, checkpoint, **settings)
    name, revision = split_revision(checkpoint)
    if revision is not None:
        settings = settings | {"revision": revision}
    return source(name, **settings)


@dataclass(frozen=True)
class ModelSource:
    """A model by what it is made from: see `load` for the meaning of each field.

    Made by `source`, which checks the values. `options` are the pairs (name, value) that were given
    beside the fields.
    """

    name_or_path: str
    checkpoint: str | None = None
    dtype: str = "float32"
    site: str = "ln_1"
    pool: str = "mean"
    random_init_seed: int | None = None
    data_dir: str = "data"
    device: str = "auto"
    options: tuple[tuple[str, object], ...] = ()
    title: str = ""
    weights_note: str = ""

    @property
    def name(self) -> str:
        """The name of the model in tables, captions and messages.

        A folder outside the repository is called by its last part: where it lies says something of
        a machine, and nothing of the model.
        """
        name = self.title or self.checkpoint or without_place(self.name_or_path)
        if self.random_init_seed is not None:
            return f"{name} (untrained)"
        return f"{name} ({self.weights_note})" if self.weights_note else name

    def load(self) -> imagegpt.ImageGPTModel | huggingface.HFModel:
        """The model itself, on its device: see the function `load`."""
        device = find_device(self.device, self.dtype)
        say_if_slow(device, self.dtype)
        place = self._place()
        # A notebook that loads the model depends on these files.
        for file in self._files(place):
            note_read(file)
        return self._family().load(
            place,
            self.name,
            device=device,
            dtype=self.dtype,
            site=self.site,
            pool=self.pool,
            random_init_seed=self.random_init_seed,
            options=self._options(),
        )

    @property
    def in_one_pass(self) -> bool:
        """Whether the model can be read at several places in one pass (`forward_places`)."""
        return self._family() is imagegpt

    def untrained(self, seed: int) -> ModelSource:
        """The same network with random weights."""
        return replace(self, random_init_seed=_seed(seed))

    def recipe(self) -> dict:
        """Everything that the representations depend on but the data, as a dictionary for JSON.

        The device is no part of it, and neither are options that only say where files are found.
        Nothing is loaded; files are read once for their digests.

        Returns
        -------
        model : its name.
        family : "imagegpt" or "huggingface".
        files : name -> sha256, of weights, configuration, and what reads the inputs.
        place, pooling, precision, random_init_seed : as in `load`.
        options : those that change the arrays, defaults included.
        versions : of the libraries that compute.
        code : digest of the modules of this package that compute.

        Raises
        ------
        UserError
            If the model is not on this machine, or not whole.
        """
        family = self._family()
        place = self._place()
        if isinstance(place, str):
            raise UserError(
                f"model {self.name_or_path} is not on this machine; expected it in "
                f"{self.data_dir}/hub/{self.name_or_path}: run 01_download first, or correct the "
                "name"
            )
        from_hub = self.name_or_path != IMAGEGPT
        # What follows "+" names the build (for CPUs or a GPU), not another version.
        versions = {"torch": version("torch").partition("+")[0]}
        if from_hub:
            versions["transformers"] = version("transformers")
        code = set(IMAGEGPT_CODE if family is imagegpt else HUGGINGFACE_CODE)
        if from_hub:
            code.add("georep_utils.models.hub_files")
        return {
            "model": self.name,
            "family": family.__name__.rpartition(".")[2],
            "files": {file.name: file_digest(file) for file in self._files(place)},
            "place": self.site,
            "pooling": self.pool,
            "precision": self.dtype,
            "random_init_seed": self.random_init_seed,
            "options": self._options_that_change_arrays(place),
            "versions": versions,
            "code": code_digest(*code),
        }

    def require_options_that_fit(self) -> None:
        """Raise UserError for a checkpoint or an option that the model can't have."""
        family = self._family()
        given = dict(self.options)
        if self.name_or_path != IMAGEGPT and self.checkpoint is not None:
            raise UserError(
                f"checkpoint is {self.checkpoint!r}, but {self.name_or_path} is a Hugging Face "
                "model; leave it out, or set model to igpt"
            )
        if self.pool == "cls" and family is imagegpt:
            raise UserError(f"{self.name} has no class token; expected pool mean or last")
        known = [field.name for field in fields(family.Options)]
        for name in given:
            if name not in known:
                raise UserError(
                    f"model {self.name_or_path} has no option {name!r}; expected "
                    f"{', '.join(known)}, title, weights_note: correct model_options"
                )
        options = self._options()  # which checks their values
        if family is not imagegpt:
            return
        if self._is_openais_untrained():
            if options.size is None or self.random_init_seed is None:
                raise UserError(
                    f"model igpt has no checkpoint, size {options.size!r} and seed "
                    f"{self.random_init_seed!r}; expected a checkpoint, or a size of "
                    f"{', '.join(imagegpt.SIZES)} with random_init_seed for the untrained network"
                )
        elif "size" in given or "causal" in given:
            raise UserError(
                f"{self.name} has size and causal in its own files; leave both out of model_options"
            )

    def _family(self) -> ModuleType:
        """The module that loads this model."""
        if self.name_or_path == IMAGEGPT:
            return imagegpt
        folder = self.folder()
        if folder is None:
            # Nothing is there yet that could tell.
            is_imagegpt = self.name_or_path.startswith("openai/imagegpt-")
        else:
            is_imagegpt = read_config(folder).get("model_type") == "imagegpt"
        return imagegpt if is_imagegpt else huggingface

    def _options(self) -> imagegpt.Options | huggingface.Options:
        return self._family().Options(**dict(self.options))

    def _options_that_change_arrays(self, place: Path | None) -> dict:
        """Options with their defaults, so that it makes no difference to say a default."""
        if self._family() is imagegpt and place is not None:
            # Its files tell all that there is to choose.
            return {}
        options = asdict(self._options())
        return {name: value for name, value in options.items() if name not in WHERE}

    def _is_openais_untrained(self) -> bool:
        return self.name_or_path == IMAGEGPT and self.checkpoint is None

    def _place(self) -> Path | str | None:
        """What the network is made from.

        A checkpoint or a folder on this machine; the name of a model of the hub that is not on this
        machine; or None, where OpenAI's untrained network needs nothing.
        """
        if self._is_openais_untrained():
            return None
        if self.name_or_path == IMAGEGPT:
            return find_checkpoint(self.checkpoint, self.data_dir)
        return self.folder() or self.name_or_path

    def folder(self) -> Path | None:
        """Where a hub model lies on this machine, or None where it is not here yet."""
        revision = dict(self.options).get("revision")
        return find_folder(self.name_or_path, self.data_dir, revision)

    def _files(self, place: Path | str | None) -> list[Path]:
        """The files on this machine that the representations depend on."""
        if isinstance(place, str):
            return []
        return self._family().files(place, untrained=self.random_init_seed is not None)


def find_checkpoint(checkpoint: str, data_dir: str) -> Path:
    """Where a .safetensors file, or the TensorFlow checkpoint of a prefix, lies.

    It is looked for below the repository, then below `data_dir`.

    Raises
    ------
    UserError
        If it is in neither place.
    """
    ending = "" if checkpoint.endswith(".safetensors") else ".index"
    places = [REPOSITORY / checkpoint, REPOSITORY / data_dir / checkpoint]
    for place in places:
        if place.with_name(place.name + ending).is_file():
            return place
    expected = " or ".join(f"{place}{ending}" for place in dict.fromkeys(places))
    raise UserError(
        f"checkpoint {checkpoint} is missing: expected {expected}; run 01_download, or correct the "
        "run file"
    )


def without_place(name: str) -> str:
    """The last part of a folder that is named from the root or from home; other names as is."""
    return Path(name).name if name.startswith(("/", "~")) else name


def _require_one_of(allowed: tuple[str, ...], value: object, what: str) -> None:
    if value not in allowed:
        raise UserError(f"{what} is {value!r}; expected one of {', '.join(allowed)}: correct it")


def _seed(seed: object) -> int | None:
    """A seed that PyTorch's generators take, or None for trained weights; else a UserError."""
    if seed is None:
        return None
    is_number = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not is_number or not 0 <= seed < 2**63:
        raise UserError(
            f"random_init_seed is {seed!r}; expected a whole number from 0 on, or nothing for the "
            "trained network: correct it"
        )
    # numpy's whole numbers would not go into JSON.
    return int(seed)
