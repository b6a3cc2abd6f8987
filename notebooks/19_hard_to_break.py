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
# ---

# %% [markdown]
# ({{run}}-hard-to-break)=
# # See what was done to break it
#
# In this chapter:
#
# - runs, builds of the book and downloads are killed at random moments, and run again;
# - every reader of other people's files is given damaged ones, millions in all;
# - faults are planted in the code, one at a time, to see whether the tests notice;
# - what these campaigns found is told, too.
#
# Numbers that nobody can reproduce are worth little, and so are numbers that came through a crash
# by luck. Each campaign is a script in `tests/`, and left a table; this chapter reads the tables.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
results = "book/results"  # | Folder with the tables of the campaigns.

# %%
from pathlib import Path

import pandas as pd
from myst_nb import glue

from georep_utils import io

pd.set_option("display.max_colwidth", None)


# %%
def table_of(campaign):
    """The table of a campaign; None where it has not been run."""
    found = io.find(Path(results) / campaign, f"{campaign}.csv")
    return io.read_table(found[0]) if found else None


# %% [markdown]
# ## Killed at any moment
#
# `make chaos` starts some work, waits a random time, and ends all of its processes with a signal
# that no program can catch. Then it starts the same work again, kills it again, and so on until it
# comes to its end (`ended` counts how often it did). Five things must hold:
#
# - the tables and clouds are, byte for byte, those of work that nobody disturbed (`different`
#   counts the ends at which they were not);
# - what was finished stays the same file and is not made again (`made again`);
# - the built book can be opened at every moment (`absent` counts looks in vain);
# - nothing of the work lives two seconds after the kill (`orphans`);
# - no work ends with an error (`failed`).
#
# The runs are the first five chapters on 120 images of the bundled model: in one process, two
# chapters at a time, and with local workers, whose results are held against those of the one
# process. The downloads are files and a model from servers on this machine, which break off every
# first answer.

# %%
kills = table_of("chaos").set_index("work")
counted = ["kills", "ended", "different", "finished", "made_again"]
counted += ["looks", "absent", "orphans", "failed"]
shown = kills[counted].rename(columns=lambda name: name.replace("_", " "))
shown.style.format("{:,}")

# %% [markdown]
# Where the runs were struck: how many kills fell into each notebook, or before the first of them.

# %%
of_runs = kills[kills.index.str.startswith("run")]
of_runs[["stages"]]

# %% [markdown]
# ## Damaged files
#
# A reader of files gives a value or one line that says what is wrong, whatever the bytes are. A
# traceback, more than half a minute or more than two gigabytes count as `uncaught`. The fuzzer
# atheris changes files that were right, and prefers changes that reach branches of the code where
# none has been before. For the TensorFlow checkpoints half of the files have right checksums, so
# that what lies behind these is reached as well.

# %%
fuzzed = table_of("fuzzing").set_index("reader")
fuzzed["a second"] = (fuzzed.executions / fuzzed.seconds.clip(1)).round().astype(int)
fuzzed.rename(columns={"memory_mb": "memory, MB"}).style.format("{:,}")

# %% [markdown]
# ## Planted faults
#
# A test that can't fail says nothing. So faults that somebody might make were written into a copy
# of the code, one at a time: a norm that is not centred, a depth over $L + 1$, a seed that is
# ignored, a checksum that nobody looks at. A fault is caught if the tests pass without it and fail
# with it.

# %%
planted = table_of("planted_faults")
io.note_facts(planted=planted is not None)

# %% [markdown] tags=["not-planted"]
# This campaign has not been run for this version of the code: `python tests/plant_faults.py` takes
# an hour or two, and leaves the table that would stand here.

# %% tags=["only-planted"]
places = planted.file.str.extract(r"^(?:georep_utils/)?(\w+)")[0]
places = places.where(planted.file.str.count("/") > 1, "io, clouds and the like")
places = places.where(~planted.file.str.startswith("notebooks"), "notebooks")
by_place = pd.crosstab(places.rename("place"), planted.outcome)
by_place.style.format("{:,}")

# %% [markdown] tags=["only-planted"]
# Those that no test noticed, and why, where there is a reason:

# %% tags=["only-planted"]
survivors = planted[planted.outcome != "caught"].fillna({"reason": "none"})
survivors[["fault", "file", "reason"]].style.format(escape="html").hide()

# %% tags=["hide-input"]
glue("kills", int(kills.kills.sum()), display=False)
faults = ["different", "made_again", "absent", "orphans", "failed"]
glue("lost", int(kills[faults].sum().sum()), display=False)
glue("kept", int(kills.finished.sum()), display=False)
glue("executions", int(fuzzed.executions.sum()), display=False)
glue("checkpoints", int(fuzzed.executions["checkpoint"]), display=False)
glue("uncaught", int(fuzzed.uncaught.sum()), display=False)

# %% tags=["only-planted", "hide-input"]
glue("planted", len(planted), display=False)
glue("caught", int((planted.outcome == "caught").sum()), display=False)

# %% [markdown]
# ## What the campaigns found
#
# These faults were found by the campaigns or on the way to them. Each is mended, and has a test
# that fails without the mend.
#
# - On a disk that is nearly full, a write may take half of its bytes and say so. Nobody listened,
#   and a batch could count as whole whose last row was half zeros.
# - A batch that did not fit was divided on a GPU. On a processor, where PyTorch has another error
#   for it, the run ended in a traceback.
# - A build of the book that was killed between putting its pages in place and noting that it had
#   done so was followed by one that removed these pages first, and built new ones afterwards.
# - Local workers that were still starting when their run was killed outlived it by more than two
#   seconds, and a process of `--jobs` that was still starting would have waited for ever.
# - A killed run left folders of half-executed notebooks, which nothing removed.
# - The name of a downloaded file could carry HTML into a table of a page.

# %% [markdown]
# ## What we saw
#
# - In the campaign of the table {glue:text}`kills` kills led to {glue:text}`lost` faults of any of
#   the kinds counted there. Finished files were looked at {glue:text}`kept:,` times.
# - Of {glue:text}`executions:,` damaged files, {glue:text}`checkpoints:,` of them checkpoints,
#   {glue:text}`uncaught` led to anything but a value or one line of text.

# %% [markdown] tags=["only-planted"]
# - Of {glue:text}`planted` planted faults, {glue:text}`caught` were caught.
