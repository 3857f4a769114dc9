"""Every Python and console block of the README and the documentation, executed as a reader would."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from markdown_blocks import Block, blocks, needs
from provisions import open_folder, provided
from snippets import Page
from workspace import ROOT, members

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *(each.folder / "README.md" for each in members())])
LANGUAGES = {"python", "console", "toml", "json", "sql", "text"}
NOT_EXECUTED = {"docs/howto/recipes.md": 2, "docs/howto/own-postgres-or-supabase.md": 2, "docs/quickstart.md": 1}
"""How many blocks of a page are for reading only; each has its reason above it."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands_of_the_tree() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.directive == "command"]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_snippets_of_a_page_do_what_it_says(path: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder() as folder, provided(needs(path), folder) as variables:
        page.environment = {**page.environment, **variables}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)  # Python blocks run in this process
        for block in blocks(path):
            if block.directive != "command":
                page.execute(block)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_block_says_what_it_is(path: Path) -> None:
    for block in blocks(path):
        assert block.language in LANGUAGES, f"{block.place}: {block.language or 'no language'}"
        if block.language == "json":
            json.loads(block.text)
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.directive == "not executed":
            assert len(block.value.split()) >= 4, f"{block.place}: a reason is a sentence"


def test_no_block_escapes_but_those_counted_here() -> None:
    found = {
        named(path): count
        for path in PAGES
        if (count := sum(block.directive == "not executed" for block in blocks(path)))
    }
    assert found == NOT_EXECUTED


def test_the_readme_has_one_command_for_the_demo_and_one_for_the_tests() -> None:
    found = {block.value: block for block in commands_of_the_tree()}
    assert set(found) == {"demo", "test"}
    assert found["demo"].text.strip().endswith("jobs-exec demo")
    assert found["test"].text.strip().endswith("python -m pytest")
    for block in found.values():
        assert len(block.text.strip().splitlines()) == 1


def test_the_readmes_handler_has_eight_lines() -> None:
    (handler,) = [block for block in blocks(ROOT / "README.md") if block.value == "app_jobs.py"]
    assert len(handler.text.splitlines()) == 8


def test_the_readme_tells_its_story_in_order() -> None:
    """First what a stranger does, then what a user decides, last what it is not."""
    headings = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("## ")]
    assert headings == [
        "## Two commands",
        "## A handler in eight lines",
        "## Once, or every time",
        "## Selecting a backend",
        "## Your own Postgres, or Supabase",
        "## Writing a plugin",
        "## How it compares",
        "## What it is not",
    ]


def test_the_demo_command_works_in_a_fresh_copy_of_the_tree(tmp_path: Path) -> None:
    """The other command runs this very suite: `.ci/run` takes it from the README word for word."""
    (command,) = [block.text.strip() for block in commands_of_the_tree() if block.value == "demo"]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target)
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path / "clone", capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "noisy" in done.stdout
