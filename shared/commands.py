"""A command line whose commands are loaded when they are called, so that each starts quickly."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from shared.problems import WrongSetting


class Commands(click.Group):
    """Commands by name, each an attribute of that name, with `_` for `-`, in its module."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        """The names as they were written down, which is the order people meet them in."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = self.modules.get(cmd_name)
        if module is None:
            return None
        found = getattr(import_module(module), cmd_name.replace("-", "_"))
        if not isinstance(found, click.Command):
            raise TypeError(f"{module}.{cmd_name} is no command")
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a setting that does not fit ends it with one message and exit code 1."""
        try:
            return super().invoke(ctx)
        except WrongSetting as problem:
            raise click.ClickException(f"{problem}. docs/settings.md lists them all.") from problem
