"""The reference pages say what the code does; their generated parts are made from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import python_reference
import reference
from provisions import open_folder

PARTS = [(page, name) for page in sorted(reference.PAGES.glob("*.md")) for name in reference.names(page)]


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with open_folder() as folder, reference.migrated_database(folder / "postgres") as made:
        yield made


@pytest.mark.parametrize(("page", "name"), PARTS, ids=[name for _, name in PARTS])
def test_a_generated_part_is_up_to_date(page: Path, name: str, url: str) -> None:
    """Write it anew with `python tests/support/reference.py`."""
    assert reference.part(page, name) == reference.expected(name, url)


def test_everything_that_applications_import_and_plugins_are_given_is_in_the_reference() -> None:
    assert {name for _, name in PARTS if name.startswith("python of ")} == python_reference.wanted()


def test_every_option_and_every_attribute_of_a_context_explains_itself() -> None:
    explained = [*python_reference.OPTIONS, "jobs_exec.JobContext", "jobs_exec.contracts.PluginHost"]
    for name in explained:
        rows = [line for line in reference.python_text(name).splitlines() if line.startswith("| `")]
        assert rows, name
        assert not [row for row in rows if row.endswith("|  |")], name


def test_every_member_that_has_settings_or_hooks_is_in_the_reference() -> None:
    wanted = {f"settings of {name}" for name in reference.settings_classes()}
    wanted |= {f"hooks of {name}" for name in reference.hook_specs()}
    assert {name for _, name in PARTS if not name.startswith("python of ")} == wanted | {"commands", "schema"}


def test_every_command_and_setting_explains_itself() -> None:
    for name, command in reference.commands().items():
        assert command.help, name
        assert not [each.name for each in command.params if each.param_type_name == "option" and not each.help], name  # type: ignore[attr-defined]
    for cls in reference.settings_classes().values():
        assert not [name for name, info in cls.model_fields.items() if not info.description], cls
