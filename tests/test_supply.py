"""What is installed: the readable pins and the locks with hashes say the same."""

import re

import pytest
import yaml

from georep_utils.io import REPOSITORY

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(file):
    """{package: version} of a file of requirements, names as PyPI compares them."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_lock_holds_every_pin_at_its_version(python):
    locked = pins(f"locks/python-{python}.txt")
    assert pins("requirements.txt").items() <= locked.items()


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_every_package_of_the_lock_has_a_hash(python):
    text = (REPOSITORY / f"locks/python-{python}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_every_requirement_is_pinned_to_one_version():
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert len(pins("requirements.txt")) == len(wanted)


@pytest.mark.parametrize("job", ["tests", "audit"])
def test_both_pythons_are_tested_and_audited_on_a_schedule(job):
    text = (REPOSITORY / ".github/workflows/checks.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    about = workflow["jobs"][job]
    assert about["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert about.get("if", "github.event_name == 'schedule'") == "github.event_name == 'schedule'"
    # YAML takes the word "on" for true.
    assert workflow[True]["schedule"][0]["cron"]
    commands = " ".join(step.get("run", "") for step in about["steps"])
    wanted = {"tests": ".ci/run", "audit": "-r locks/python-${{ matrix.python }}.txt"}
    assert wanted[job] in commands
