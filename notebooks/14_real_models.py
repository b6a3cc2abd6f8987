# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   georep:
#     after: []
#     reads:
#     - 03_distances
#     - 04_intrinsic_dimension
#     - 05_overlaps
#     - 06_training_dynamics
#     - 12_compare
#     - 18_language_controls
# ---

# %% [markdown]
# ({{run}}-real-models)=
# # Read real models
#
# In this chapter:
#
# - pretrained transformers of several kinds, on labelled data of their kind, stand side by side:
#   their profiles, their neighbourhoods, and samples that are near each other in them;
# - each is held against untrained networks of its own sizes and against its input;
# - the advice of the paper is scored against its rivals, and each finding has its verdict;
# - pairs of networks that read the same samples are compared layer by layer.
#
# Nothing is computed from representations here. Each of these runs left tables, which come with the
# repository, and this chapter reads them. The line under a figure draws it again from these tables;
# `python -m georep_utils run NAME` makes the tables of a run anew.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
results = "book/results"  # | Folder with a folder of tables for each run.
models = [
    "smollm2-135m",
    "dinov2-small",
    "dinov2-small-fashion",
    "antiberty",
    "igpt-mini-all",
]  # | Runs of this chapter, as far as they left tables.
pairs = [
    "compare-igpt-mini",
    "compare-igpt-dinov2",
    "compare-smollm2-pools",
]  # | Comparisons of two clouds, as far as they left tables.
k = 10  # at least 1 | Neighbours of the overlaps.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.paper import comparison, evidence

figures.use_style()
pd.set_option("display.max_colwidth", None)  # a text is shown whole

# %% [markdown]
# ## Who is here
#
# A language model, a vision transformer on two kinds of pictures, and a model of antibodies. None
# of them was read in the paper. They were chosen because they can be had by anyone, run on two
# cores, and differ in everything: what they read, how they were trained, and how many blocks they
# have. Beside them stands the small ImageGPT of this book, on all of its images. The columns
# `weights` and `inputs` are the first letters of the SHA-256 digests of what was read; a note on
# weights that are not quite the hub's stands behind the model's name.

# %%
of_runs, left_out = evidence.of_runs({}, results)
networks = [one for one in of_runs if one.model in models]
networks.sort(key=lambda one: models.index(one.model))
io.note_facts(some=len(networks) > 0, left_out=bool(set(models) & set(left_out)))

# %% tags=["hide-input"]
facts = {}
for one in networks:
    about = io.read_json(Path(results) / one.model / "provenance.json")
    n_untrained = one.untrained.control.nunique() if one.untrained is not None else 0
    facts[one.model] = {
        "model": about["model"],
        "blocks": one.n_blocks,
        "N": f"{one.n_samples:,}",
        "untrained": n_untrained,
        "weights": about["weights"][:8],
        "inputs": about["inputs"][:8],
    }
names = ", ".join(f"{name} (N = {about['N']})" for name, about in facts.items())
note = f"Measured here: {names}"

# %%
pd.DataFrame(facts).T.rename_axis("run")

# %% [markdown] tags=["only-left_out"]
# Runs that left tables on which nothing can be judged:

# %% tags=["only-left_out"]
reasons = {name: why for name, why in left_out.items() if name in models}
pd.Series(reasons, name="why").rename_axis("run").to_frame()

# %% [markdown] tags=["not-some"]
# No run of this chapter has left tables yet.

# %% [markdown] tags=["only-some"]
# ## The profiles
#
# In {numref}`{{run}}-fig-real-ids`, ask three things of each panel. Does the curve rise to a peak
# and fall, as the paper's do? Does it leave the band of the untrained networks, so that training
# has to do with it? And where does it lie beside the dimension of the input itself?


# %% tags=["only-some"]
def curves_of(one, quantity, number=0):
    """Layer, depth, value and joint error of one curve of a network, up to the final norm."""
    rows = one.curves[one.curves.quantity == quantity]
    rows = rows[(rows.k.fillna(0) == number) & (rows.layer <= one.n_blocks)]
    depth = rows.layer / one.n_blocks
    about = {"run": one.model, "layer": rows.layer, "depth": depth}
    return pd.DataFrame(about | {"value": rows.value, "error": rows.error})


# %% tags=["only-some"]
ids = pd.concat(curves_of(one, evidence.IDS) for one in networks)
bands = evidence.untrained_bands(networks).rename(columns={"model": "run"})
found = evidence.found_layers(networks).set_index("model")

# %% tags=["hide-input", "only-some"]
controls = comparison.tables("id_controls.csv", results)
given = controls[controls.run.isin(facts)]
of_input = ~given.control.str.startswith(("untrained", "shuffled", "Gaussian"))
given = given[of_input].rename(columns={"control": "name", "id": "value"})
clear = found[found.depth.notna()]
of_blocks = pd.DataFrame(facts).T.blocks.reindex(clear.index)
ends = pd.DataFrame({end: clear[end] / of_blocks for end in ("low", "high")})
marks = {name: (clear.depth[name], *ends.loc[name]) for name in clear.index}

# %% tags=["hide-input", "only-some"] mystnb={"figure": {"name": "{{run}}-fig-real-ids", "caption": "Intrinsic dimension against relative depth, up to the final norm, each panel on its own axis from zero. Bands around a curve are one standard error, from balanced halves of the samples; the grey band reaches from the lowest to the highest untrained network, one standard error included; dotted lines are the input itself. A dashed line marks a layer that the profile singles out, where it does."}, "image": {"alt": "Intrinsic dimension against relative depth, a panel for each pretrained model, with untrained networks and the input"}}
figures.runs_with_controls(ids, bands, given, marks, "intrinsic dimension", note)

# %% [markdown] tags=["only-some"]
# What `semantic_layer` makes of them ({ref}`{{run}}-report` has the rule's history). `visible` is
# the smallest relative difference between two layers that the errors of the run would show; with
# large errors "none" says little. `peak_layer` is the first peak that is more than noise, with a
# rise before it; where the ID falls from the first layer on and rises later, that is not the layer
# of the highest ID.

# %% tags=["only-some"]
columns = ["kind", "peak_layer", "layer", "low", "high", "p_value", "visible"]
shown = found[columns].astype(dict.fromkeys(columns[1:5], "Int64"))
formats = {"p_value": "{:.3f}", "visible": "{:.3f}"}
shown.style.format(formats, na_rep="–", escape="html")

# %% [markdown] tags=["only-some"]
# ### At other scales
#
# The profiles above are read at one scale. The other rules give other heights; whether they give
# other *shapes* is told by the correlation over the layers, and by the layer of the
# highest ID.

# %% tags=["only-some"]
profiles = comparison.tables("id_profile.csv", results)
profiles = profiles[profiles.run.isin(facts)]
comparison.rule_agreement(profiles).round(2)

# %% [markdown] tags=["only-some"]
# ## Whose neighbours mean the same?
#
# The share of the nearest neighbours that carry a sample's own label, layer by layer, in
# {numref}`{{run}}-fig-real-labels`. Look first at the dotted lines: what the input gives without
# any network. Then at where each curve is highest, and whether it stays there to the end.

# %% tags=["only-some"]
labels = pd.concat(curves_of(one, "label_overlap", k) for one in networks)
overlaps = comparison.tables("overlaps.csv", results)
inputs = comparison.tables("overlap_baselines.csv", results)

# %% tags=["hide-input", "only-some"]
blocks = {one.model: one.n_blocks for one in networks}
chosen = (overlaps.quantity == "label_overlap") & (overlaps.k == k)
untrained = overlaps[chosen & overlaps.network.str.startswith("untrained")]
untrained = untrained[untrained.run.isin(blocks)]
untrained = untrained[untrained.layer <= untrained.run.map(blocks)]
label_bands = untrained.groupby(["run", "depth"]).overlap.agg(low="min", high="max")
label_bands = label_bands.reset_index()
given_labels = inputs[inputs.run.isin(facts) & (inputs.k == k)]
given_labels = given_labels.rename(columns={"baseline": "name", "overlap": "value"})

# %% tags=["hide-input", "only-some"] mystnb={"figure": {"name": "{{run}}-fig-real-labels", "caption": "Share of the nearest neighbours that carry the sample's own label, against relative depth. Bands, dotted lines and dashed lines as in the figure of the profiles: errors from balanced halves, untrained networks in grey (here without their errors), the input, and the layer that the ID profile singles out."}, "image": {"alt": "Label overlap against relative depth, a panel for each pretrained model, with untrained networks and the input"}}
label = rf"label overlap, $k$ = {k}"
figures.runs_with_controls(labels, label_bands, given_labels, marks, label, note)

# %% [markdown] tags=["only-some"]
# In numbers: the highest overlap inside the network, and the best array of the input.

# %% tags=["only-some"]
highest = labels.groupby("run")[["value"]].max().rename(columns={"value": "best layer"})
of_given = given_labels.sort_values("value").groupby("run").tail(1).set_index("run")
highest["input"] = of_given.value
highest["which input"] = of_given.name
highest["untrained, best"] = label_bands.groupby("run").high.max()
highest.reindex(list(facts)).round(3).astype(object).fillna("–")

# %% [markdown] tags=["only-some"]
# ## Who is rearranged?
#
# The share of neighbours that each layer has in common with the next. The paper finds it low while
# the dimension rises and high afterwards.

# %% tags=["only-some"]
kept = pd.concat(curves_of(one, "consecutive_overlap", k) for one in networks)
kept = kept[kept.depth < 1]  # what follows the final norm is the output
nothing = pd.DataFrame(columns=["run", "depth", "low", "high", "name", "value"])

# %% tags=["hide-input", "only-some"] mystnb={"figure": {"name": "{{run}}-fig-real-kept", "caption": "Overlap of the neighbourhoods of each layer with those of the next, against relative depth, with joint errors. The paper's finding would be a low start and a high plateau behind the first 40 % of the depth."}, "image": {"alt": "Consecutive overlap against relative depth, a panel for each pretrained model"}}
label = rf"overlap with the next layer, $k$ = {k}"
figures.runs_with_controls(kept, nothing, nothing, {}, label, note)

# %% [markdown] tags=["only-some"]
# ## Who is near whom
#
# A few samples and their nearest neighbours, at the first layer, in the middle, and at the final
# norm: what a run's own chapter on distances shows. Class names stand in brackets. The models were
# told none of them.

# %% tags=["only-some", "hide-input"]
written = {name: Path(results) / name / "neighbours.csv" for name in facts}
written = {name: path for name, path in written.items() if path.is_file()}
drawn = {name: Path(results) / name / "neighbours.svg" for name in facts}
drawn = {
    name: path
    for name, path in drawn.items()
    if path.is_file() and path.with_name("neighbours-narrow.svg").is_file()
}


def kept_picture(path):
    """A picture that a run left, for wide pages and for phones."""
    slim = path.with_name(f"{path.stem}-narrow.svg")
    io.note_read(path)
    io.note_read(slim)
    display(
        {"image/svg+xml": path.read_text(), figures.PHONE: slim.read_text()}, raw=True
    )


io.note_facts(texts_shown=len(written) > 0)
for number in range(3):
    io.note_facts(**{f"pictures_{number}": len(drawn) > number})

# %% tags=["only-texts_shown"]
wide = "white-space: normal; min-width: 9rem; text-align: left"
long_texts = {"selector": "td", "props": f"{wide}; overflow-wrap: anywhere"}
for name, path in written.items():
    nearest = io.read_table(path).head(3).T.rename_axis(name)
    display(nearest.style.format(escape="html").set_table_styles([long_texts]))

# %% tags=["hide-input", "only-pictures_0"] mystnb={"figure": {"name": "{{run}}-fig-real-pictures", "caption": "Queries and their five nearest neighbours at the first layer, in the middle and at the final norm, for the first run on pictures above. The small print below the pictures names it."}, "image": {"alt": "Rows of pictures: a query followed by its nearest neighbours, for three layers of a vision transformer"}}
kept_picture(list(drawn.values())[0])

# %% tags=["hide-input", "only-pictures_1"] mystnb={"figure": {"name": "{{run}}-fig-real-pictures-2", "caption": "The same for the second run on pictures."}, "image": {"alt": "Rows of pictures: a query followed by its nearest neighbours, for three layers of a vision transformer, on other data"}}
kept_picture(list(drawn.values())[1])

# %% tags=["hide-input"]
in_words = comparison.tables("language_controls.csv", results)
io.note_facts(controlled=len(in_words) > 0)

# %% [markdown] tags=["only-controlled"]
# ## A language model and its words
#
# What does the profile of a language model owe to the order of the words, to the first token, and
# to the way of pooling? `18_language_controls` reads some of a run's texts again: with their words
# shuffled, as random words, without the first token, and at the last token. It also leaves out
# near-copies, and asks whether neighbours are texts of like length.

# %% tags=["hide-input", "only-controlled"] mystnb={"figure": {"name": "{{run}}-fig-real-words", "caption": "Intrinsic dimension and label overlap of a language model against relative depth: texts as written, with their words shuffled, and of random words; and texts as written without the first token, at the last token, and without near-copies. Right, the curve of length: groups of texts of like length in the place of the labels. A feature that random words have, too, does not come from what the texts say. Bands, left only, are one standard error."}, "image": {"alt": "Intrinsic dimension and label overlap against relative depth for texts as written and for controls without order"}}
of_runs = ", ".join(in_words.run.unique())
of_texts = f"Measured here, on some of the texts of {of_runs}"
figures.language_controls(in_words, k, of_texts)

# %% tags=["hide-input", "only-controlled"]
inner = in_words[(in_words.depth <= 1) & (in_words.run == in_words.run.iloc[0])]
tops = inner.groupby("control").id.max()
for short, control in {"written": "as written, mean", "last": "last token"}.items():
    glue(f"top-{short}", float(tops[control]), display=False)
for short in ("words shuffled", "random words", "first token left out"):
    glue(f"top-{short.partition(' ')[0]}", float(tops[short]), display=False)

# %% [markdown] tags=["only-controlled"]
# On this part of the texts, at a scale of its own, the highest dimension over the layers is
# {glue:text}`top-written:.1f` for the texts as they are written, {glue:text}`top-words:.1f` with
# their words shuffled, and {glue:text}`top-random:.1f` for random words. Of language models that
# are read at the last token it was reported that the peak is lower without the order of words
# {cite}`cheng2025`; these three are means over all tokens. Without the first token the highest
# dimension is {glue:text}`top-first:.1f`, and at the last token {glue:text}`top-last:.1f`.

# %% tags=["hide-input"]
plain = Path(results) / "agreement/agreement.csv"
io.note_facts(checked=plain.is_file())

# %% [markdown] tags=["only-checked"]
# ## Against plain code
#
# Are these the models' representations? `benchmarks/check_real_models.py` passes some samples once
# more through each model as its library loads it, one at a time, and takes the mean over the tokens
# in numpy; overlaps and dimensions are computed again by DADApy. The largest differences, relative
# for representations and dimensions:

# %% tags=["only-checked"]
against_plain = io.read_table(plain).set_index("run")
formats = dict.fromkeys(against_plain.columns, "{:.2g}")
formats |= {"samples": "{:,.0f}", "points": "{:,.0f}", "layers": "{:.0f}"}
against_plain.style.format(formats, escape="html")

# %% [markdown] tags=["only-some"]
# ## Read before
#
# The same networks were read once before, by an earlier version of this book: `before` in the table
# below. Do the numbers stand? `apart` is the distance in joint standard errors, after half a unit
# of the last digit that was written down is taken off; by chance about one in twenty is beyond 2.

# %% tags=["only-some"]
before = io.read_table(io.REPOSITORY / "book/reference/earlier_readings.csv")
everything = pd.concat(one.curves.assign(run=one.model) for one in networks)
everything = everything[(everything.k.fillna(k) == k)]
columns = ["run", "quantity", "layer", "value", "error"]
both = before.merge(
    everything[columns], on=["run", "quantity", "layer"], suffixes=("_before", "")
)

# %% tags=["only-some"]
off = (both.value - both.value_before).abs() - both.rounding / 2
both["apart"] = off.clip(lower=0) / both.error
both = both.rename(columns={"value_before": "before", "value": "now"})
both.drop(columns="rounding").set_index("run").round(3)

# %% [markdown] tags=["only-some"]
# Of {glue:text}`n-read-before` readings {glue:text}`n-stand` stand. Two differences are known. The
# label overlaps of AntiBERTy were read then without the alleles of a sample's own gene
# (`family_column: gene` with `exclude_family: after`), which the run here counts. And at the first
# layer of clip art the joint error is smaller than the spread of TwoNN over its random subsets
# (`spread_err` in the run's `id_profile.csv`): the number hangs on which pictures a subset holds,
# and this spread covers the difference.
#
# The rank correlation of ID and label overlap was read as well, and what the input gives:

# %% tags=["only-some"]
relations = evidence.relations(networks, k).set_index("model")
plain_input = given_labels[given_labels.name.isin(["pixels", "words"])].set_index("run")
now = {"rank_correlation": relations.rho, "input_overlap": plain_input.value}
of_runs = before[before.layer.isna()].set_index("run")
of_runs = of_runs.assign(
    now=[now[row.quantity].get(run) for run, row in of_runs.iterrows()]
)
of_runs = of_runs.rename(columns={"value": "before"}).dropna(subset="now")
of_runs[["quantity", "before", "now"]].round(2)

# %% [markdown] tags=["only-some"]
# The correlation on clip art is another one than before, because the IDs of its first layer are:
# they hang on the random subsets, as said above. It also hangs on the scale: see the table by scale
# rules below.

# %% [markdown] tags=["only-some"]
# ## The advice and its rivals
#
# The share of the best label overlap that each choice of a layer keeps. None of them needs a label.
# A dash means that the rule chose nothing: a profile without a clear minimum or plateau after a
# peak gives no advice. The *peak of the ID* is here the `peak_layer` of the table above and, where
# there is none, the layer of the highest ID; {ref}`{{run}}-meaning` always takes the latter.

# %% tags=["only-some"]
boards, _ = evidence.scoreboards(networks, k)
shares = pd.DataFrame({name: b.set_index("choice").share for name, b in boards.items()})
shares.style.format("{:.3f}", na_rep="–", escape="html")

# %% [markdown] tags=["only-some"]
# Does a low dimension go with a high overlap at all? Over the layers, the rank correlation of the
# two, with its interval for curves as smooth as these (`low`, `high`), and, for these very
# networks, the interval over samples:

# %% tags=["only-some"]
numbers = ["rho", "low", "high", "sample_low", "sample_high", "n_layers"]
relations[numbers].round(2)

# %% [markdown] tags=["only-some"]
# Where both intervals lie on one side of zero, the sign is known. {ref}`{{run}}-meaning` puts to
# the test on what it depends. Does it also depend on where the dimension is read? The correlation
# by each scale rule:

# %% tags=["only-some"]
read_by = profiles[profiles.layer <= profiles.n_blocks]
read_by = read_by.merge(labels[["run", "layer", "value"]])
by_rule = {
    pair: table.id.corr(table.value, method="spearman")
    for pair, table in read_by.groupby(["run", "rule"])
}
pd.Series(by_rule).unstack().reindex(list(facts)).round(2)

# %% [markdown] tags=["only-some"]
# ## The verdicts
#
# The statements of {ref}`what the paper finds <questions>`, judged on these networks by the tests
# that {ref}`the report <{{run}}-report>` applies to all.

# %% tags=["only-some"]
verdicts, _ = evidence.judge(networks, k)
table = evidence.words(pd.concat([evidence.together(verdicts), verdicts]))
table.columns = table.columns.droplevel("by")

# %% tags=["hide-input", "only-some"]
evidence.verdict_table(table)

# %% tags=["hide-input"]
tables = {name: Path(results) / name / "overlap_map.csv" for name in pairs}
tables = {name: path for name, path in tables.items() if path.is_file()}
io.note_facts(compared=len(tables) > 0)

# %% [markdown] tags=["only-compared"]
# ## Any two, layer by layer
#
# Two clouds of the same samples can be compared without a common coordinate: by the neighbours that
# they share. `12_compare` makes a chapter of that for any pair ({ref}`rerun` says how). Three pairs
# came with this book: a network and the same with random weights; a small ImageGPT and DINOv2 on
# the same pictures; and one language model, pooled in two ways.

# %% tags=["only-compared"]
maps = {}
rows = []
for name, path in tables.items():
    pair = io.read_table(path)
    measures = io.read_table(path.with_name("comparison.csv"))
    maps[name] = pair.pivot(
        index="first_layer", columns="second_layer", values="overlap"
    )
    place = pair.loc[pair.overlap.idxmax()]
    imbalance = measures[["forward", "backward"]].median()
    rows.append(
        {"pair": name, "first": measures["first"][0], "second": measures["second"][0]}
        | {"N": int(pair.n_samples[0]), "highest": place.overlap}
        | {"of layers": f"{place.first_layer:.0f}, {place.second_layer:.0f}"}
        | {"chance": pair.chance[0], "most by chance": measures.overlap_chance.max()}
        | {"forward": imbalance.forward, "backward": imbalance.backward}
        | {"CKA, highest": measures.cka.max()}
    )
pd.DataFrame(rows).set_index("pair").round(4)

# %% [markdown] tags=["only-compared"]
# `highest` is the highest overlap of the {glue:text}`k` nearest neighbours on the whole map, and
# `most by chance` the highest mean of a pair of layers when the samples of one cloud are dealt
# anew. `forward` and `backward` are medians of the information imbalance
# {cite}`glielmo2022imbalance`
# from the first to the second and back: the lower one is the direction in which distances predict
# better.

# %% tags=["hide-input", "only-compared"] mystnb={"figure": {"name": "{{run}}-fig-real-pairs", "caption": "Neighbourhood overlap of all pairs of layers, a panel a pair of networks: the first from left to right, the second upwards. The dot of a column is the layer of the second that is most like that layer of the first. A bright diagonal means that both go through the same arrangements in the same order."}, "image": {"alt": "Maps of the neighbourhood overlap between all pairs of layers, one for each pair of networks"}}
figures.overlap_maps(maps, k, f"Measured here; k = {k}")

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
glue("k", k, display=False)
glue("n-networks", len(networks), display=False)
glue("n-weights", len({one.weights for one in networks}), display=False)

# %% tags=["hide-input", "only-some"]
singled_out = found.kind[found.kind != "none"]
glue("n-singled", len(singled_out), display=False)
best_layers = labels.sort_values("value").groupby("run").tail(1).set_index("run")
apart = highest["best layer"] - highest["input"]
of_both = np.hypot(best_layers.error, of_given.error)
glue("n-above-input", int((apart > 2 * of_both).sum()), display=False)
glue("rho-low", float(relations.rho.min()), display=False)
glue("rho-high", float(relations.rho.max()), display=False)
glue("n-read-before", len(both), display=False)
glue("n-stand", int((both.apart <= 2).sum()), display=False)
of_findings = evidence.together(verdicts)
for word in ("yes", "partly", "no", "not testable"):
    count = int((of_findings.verdict == word).sum())
    glue(f"n-{word.replace(' ', '-')}", count, display=False)
middle = shares.loc["middle"]
glue("middle-low", float(middle.min()), display=False)
glue("middle-high", float(middle.max()), display=False)

# %% [markdown]
# - Runs with tables: {glue:text}`n-networks`, of {glue:text}`n-weights` networks.

# %% [markdown] tags=["only-some"]
# - **The profile.** A layer is singled out by the ID alone in {glue:text}`n-singled` of them. Where
#   it is not, the advice can't be followed.
# - **The input.** The best layer is above the best array of the input, by more than two standard
#   errors, in {glue:text}`n-above-input` of {glue:text}`n-networks`. (Both read the same samples;
#   the errors count as independent, so that a small difference may be missed.)
# - **The plainest rival.** The middle layer keeps {glue:text}`middle-low:.1%` to
#   {glue:text}`middle-high:.1%` of the best overlap.
# - **ID and meaning.** The rank correlation over layers goes from {glue:text}`rho-low:.2f` to
#   {glue:text}`rho-high:.2f`. Where an interval in the table reaches both sides of zero, or the
#   scale rules disagree, the sign is not settled.
# - **Findings.** Over runs and findings, the verdicts are {glue:text}`n-yes` yes,
#   {glue:text}`n-partly` partly, {glue:text}`n-no` no and {glue:text}`n-not-testable` not testable.
