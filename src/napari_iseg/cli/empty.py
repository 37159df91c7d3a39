"""Empty values, as of shell variables that are not set: a path "" would be the present folder, silently."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from napari_iseg.errors import InputError


class Commands(TyperGroup):
    """Commands none of whose options and arguments may be empty."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command and what it was given; InputError where that is empty."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not hasattr(command, "commands") and ("" in rest or _cut(rest)):
            _refuse_empty(command, rest)
        return name, command, rest


def _cut(given: list[str]) -> bool:
    """Whether an option ends with its "="."""
    return any(word.startswith("--") and word.endswith("=") for word in given)


def _refuse_empty(command: Any, given: list[str]) -> None:
    values: dict[str, Any] = {}
    with suppress(Exception):  # it says so in its own words soon
        values = command.make_parser(typer.Context(command)).parse_args(args=list(given))[0]
    for parameter in command.params:
        value = values.get(parameter.name)
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            option = parameter.param_type_name == "option"
            name = parameter.opts[0] if option else parameter.name.upper()
            fix = "give it a value, or leave it out" if option else "give it a value"
            raise InputError(f"{name} is empty, as of a shell variable that is not set; {fix}.")
