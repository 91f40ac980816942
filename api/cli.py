"""The `ttsfarm` command: puts the commands of `api/commands` together, turns faults into words.

Exit codes: 0 done, 1 the job or this machine's set-up failed, 2 wrong use, 3 no farm answers,
4 the farm refuses the request, 5 the farm can not serve it now, 130 interrupted.
"""

from importlib.metadata import version
from typing import Any

import click

from api.commands.doctor import doctor
from api.commands.jobs import cancel, jobs, status
from api.commands.say import say
from api.commands.serve import serve
from api.commands.up import up
from api.commands.voices import voices
from api.farm_client import FarmProblem, FarmUnreachable
from api.problems import SetupProblem

SETUP, UNREACHABLE, REFUSED, UNAVAILABLE = 1, 3, 4, 5
COMMANDS = (up, say, jobs, status, cancel, voices, doctor, serve)


class Commands(click.Group):
    """Lists commands as they were added; known faults end in one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SetupProblem as problem:
            raise _failed(str(problem), SETUP) from problem
        except FarmUnreachable as problem:
            raise _failed(str(problem), UNREACHABLE) from problem
        except FarmProblem as problem:
            code = UNAVAILABLE if problem.status >= 500 else REFUSED
            raise _failed(problem.message, code) from problem


def _failed(message: str, exit_code: int) -> click.exceptions.Exit:
    click.echo(f"Error: {message}", err=True)
    return click.exceptions.Exit(exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("ttsfarm"), prog_name="ttsfarm")
def main() -> None:
    """Turn Chinese text into speech, in volume."""


for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="ttsfarm")
