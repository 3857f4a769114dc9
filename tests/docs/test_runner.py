"""The runner of the documentation sees what is wrong with a page."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from markdown_blocks import blocks
from snippets import Page, output_matches


def run(page: Page, text: str) -> None:
    path = page.folder / "page.md"
    path.write_text(dedent(text))
    for block in blocks(path):
        page.execute(block)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one", "one\ntwo\n", False),
        ("one\n...", "one\ntwo\nthree\n", True),
        ("...\nthree", "one\ntwo\nthree\n", True),
        ("id ... done", "id 7f3 done\n", True),
        ("id ... done", "id 7f3\ndone\n", False),
        ("a.c", "abc\n", False),
        ("one   ", "one\n", True),
    ],
)
def test_an_ellipsis_stands_for_text_or_lines_and_nothing_else_is_loose(shown: str, printed: str, same: bool) -> None:
    assert output_matches(shown, printed) is same


def test_python_blocks_share_a_namespace_and_may_await(page: Page) -> None:
    run(
        page,
        """
        ```python
        import asyncio
        x = await asyncio.sleep(0, 41)
        ```

        ```python
        print(x + 1)
        ```

        <!-- output -->
        ```text
        42
        ```
        """,
    )


def test_an_exception_points_at_the_line_of_the_page(page: Page) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        run(page, "\n```python\nx = 1\nx / 0\n```\n")
    last = raised.traceback[-1]
    assert (last.path.name, last.lineno + 1) == ("page.md", 4)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ false\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ false\n$ echo one\n```\n",
        "```console\necho one\n```\n",
        "<!-- exit: 2 -->\n```console\n$ true\n```\n",
        "```python\nprint(1)\n```\n\n<!-- output -->\n```text\n2\n```\n",
        "<!-- until: ready -->\n```console\n$ echo never\n```\n",
    ],
)
def test_a_page_that_is_wrong_fails(page: Page, text: str) -> None:
    with pytest.raises(AssertionError):
        run(page, text)


def test_commands_share_variables_and_files_of_the_page(page: Page) -> None:
    run(
        page,
        """
        <!-- file: greeting.txt -->
        ```text
        hello
        ```

        ```console
        $ export NAME=world
        $ cat greeting.txt && \\
        > echo "$NAME"
        hello
        world
        ```
        """,
    )


def test_a_command_without_end_is_interrupted_once_it_is_ready(page: Page) -> None:
    run(
        page,
        """
        <!-- file: server.sh -->
        ```text
        trap 'echo bye; exit 0' INT
        echo ready
        while :; do read -r -t 0.1 <> <(:); done
        ```

        <!-- until: ready -->
        ```console
        $ bash server.sh
        ready
        bye
        ```
        """,
    )


def test_a_python_file_of_the_page_can_be_imported(page: Page) -> None:
    run(page, "<!-- file: app_of_page.py -->\n```python\nx = 1\n```\n\n```python\nfrom app_of_page import x\n```\n")


def test_a_fence_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```python\nx = 1\n")
    with pytest.raises(ValueError, match="never closed"):
        blocks(path)
