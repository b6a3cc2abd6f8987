"""What the reference says of parameters and options is what the code takes."""

import inspect
from dataclasses import fields

import pytest

from georep_utils.data import datasets
from georep_utils.io import REPOSITORY
from georep_utils.models import huggingface, imagegpt, load
from georep_utils.workflow import reference, runs

NOTEBOOKS = sorted(file.stem for file in (REPOSITORY / "notebooks").glob("[0-9]*.py"))


def keyword_only(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def said_default(default):
    if default is inspect.Parameter.empty:
        return "required"
    return f"`{reference.in_yaml(default)}`"


@pytest.mark.parametrize("name", datasets.LOADERS)
def test_every_option_of_a_data_set_is_listed_with_its_default(name):
    listed = {option.name: option.default for option in reference.options_of_datasets()[name]}
    taken = keyword_only(datasets.LOADERS[name])
    assert listed == {key: said_default(default) for key, default in taken.items()}


def test_options_of_all_data_sets_are_those_that_load_takes_beside_the_loaders():
    given_by_the_run = {"name", "split", "n_per_class", "data_dir", "options"}
    taken = set(inspect.signature(datasets.load).parameters) - given_by_the_run
    assert {option.name for option in reference.options_of_datasets()[""]} == taken


@pytest.mark.parametrize(
    ("family", "options"),
    [*zip(reference.MODEL_FILES, (huggingface.Options, imagegpt.Options), strict=True)],
)
def test_every_option_of_a_model_is_listed_with_its_default(family, options):
    listed = {option.name: option.default for option in reference.options_of_models()[family]}
    assert listed == {field.name: said_default(field.default) for field in fields(options)}


def test_options_of_every_model_are_those_that_load_takes_beside_the_families():
    listed = {option.name for option in reference.options_of_every_model()}
    given_by_the_run = {"name_or_path", "checkpoint", "device", "dtype", "site", "pool"}
    given_by_the_run |= {"data_dir", "options"}
    taken = set(inspect.signature(load.load).parameters) - given_by_the_run
    assert listed == taken | set(load.SAID)


def test_every_option_has_a_meaning():
    every = [*reference.options_of_every_model()]
    for options in (*reference.options_of_models().values(),):
        every += options
    for options in reference.options_of_datasets().values():
        every += options
    assert [option.name for option in every if len(option.meaning) < 8] == []


def test_an_option_without_a_meaning_is_refused():
    with pytest.raises(reference.UserError, match="the option depth has no meaning"):
        reference._option(reference.ast.arg("depth", None), None, {"width": "the width"})


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_number_among_the_parameters_has_a_unit_and_every_parameter_a_meaning(notebook):
    for parameter in runs.declared_parameters(notebook).values():
        assert parameter.meaning, f"{notebook}: {parameter.name}"
        if reference._is_numeric(parameter.default):
            assert reference.unit(parameter), f"{notebook}: {parameter.name}"


def test_no_unit_and_no_effect_is_kept_for_a_parameter_that_is_gone():
    known = {name for notebook in NOTEBOOKS for name in runs.declared_parameters(notebook)}
    listed = reference.CHANGES_A_CLOUD | reference.CHANGES_A_SEARCH | reference.CHANGES_NO_NUMBER
    assert (listed | set(reference.UNIT_OF)) - known == set()


def test_what_changes_a_cloud_is_what_its_recipe_holds():
    # The recipe's words for the parameters of a model, which `ModelSource` has as fields.
    of_model = {field.name for field in fields(load.ModelSource)}
    in_recipe = {"dtype", "site", "pool"} & of_model
    for name in in_recipe:
        assert reference.effect("02_extract", name) == reference.CLOUD
    source = load.source("igpt", "assets/igpt-mini/trained.safetensors")
    recipe = source.recipe()
    assert (recipe["precision"], recipe["place"], recipe["pooling"]) == ("float32", "ln_1", "mean")
    for name in ("device", "data_dir"):
        assert name not in recipe
        assert reference.effect("02_extract", name) == reference.SPEED


def test_chapters_are_in_order_and_the_training_is_last():
    text = reference.parameter_reference()
    sections = [line for line in text.splitlines() if line.startswith("### ")]
    assert sections[:3] == ["### `two_measures`", "### `download`", "### `bring`"]
    assert sections[-1] == "### `train_mini_igpt`"
    assert "  - whole number, `50`\n  - neighbours, 1 or more\n" in text


def test_the_example_of_brought_arrays_is_the_chapters_own_and_names_no_run():
    shown = reference.brought_example()
    chapter = (REPOSITORY / "notebooks/02_bring.py").read_text(encoding="utf-8")
    lines = [line for line in shown.splitlines() if line]
    assert all(f"# {line}" in chapter for line in lines)
    assert "np.savez" in shown and "run my-llama" in shown and "{{run}}" not in shown
