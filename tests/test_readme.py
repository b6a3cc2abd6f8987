"""The README shows what the tables that come with the repository say."""

from pathlib import Path

from georep_utils.paper import evidence, published

REPOSITORY = Path(__file__).resolve().parent.parent
RUNS = ["smollm2-135m", "dinov2-small", "dinov2-small-fashion", "antiberty", "igpt-mini-all"]


def verdict_lines() -> list[str]:
    """The verdict table over the paper's curves and the committed runs, as Markdown."""
    of_runs, _ = evidence.of_runs({}, REPOSITORY / "book/results")
    networks = evidence.of_paper(published.published_curves(None))
    networks += [one for name in RUNS for one in of_runs if one.model == name]
    verdicts, _ = evidence.judge(networks)
    table = evidence.first_page(evidence.together(verdicts))
    table.columns = [name.partition(" (same")[0] for name in table.columns]
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return [f"| {' | '.join(map(str, row))} |" for row in rows]


def test_the_readme_opens_with_the_verdicts_of_the_committed_tables():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [line for line in verdict_lines() if line not in text] == []
    assert text.index(verdict_lines()[0]) < text.index("## Two commands")


if __name__ == "__main__":
    print("\n".join(verdict_lines()))
