"""The `ttsfarm` command: names the commands of `api/commands`, turns faults into words.

Exit codes: 0 done, 1 the job or this machine's set-up failed, 2 wrong use, 3 no farm answers,
4 the farm refuses the request, 5 the farm can not serve it now, 130 interrupted.
"""

from importlib.metadata import version
from typing import Any

import click

from api.farm_client import FarmProblem, FarmUnreachable
from api.problems import SetupProblem
from shared.commands import Commands

SETUP, UNREACHABLE, REFUSED, UNAVAILABLE = 1, 3, 4, 5
COMMANDS = {
    "up": "api.commands.up",
    "say": "api.commands.say",
    "batch": "api.commands.batch",
    "jobs": "api.commands.jobs",
    "status": "api.commands.jobs",
    "cancel": "api.commands.jobs",
    "voices": "api.commands.voices",
    "alias": "api.commands.alias",
    "keys": "api.commands.keys",
    "doctor": "api.commands.doctor",
    "serve": "api.commands.serve",
    "prepare-store": "api.commands.prepare_store",
}


class FarmCommands(Commands):
    """Ends known faults in one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SetupProblem as problem:
            raise _failed(str(problem), SETUP) from problem
        except FarmUnreachable as problem:
            raise _failed(str(problem), UNREACHABLE) from problem
        except FarmProblem as problem:
            code = UNAVAILABLE if problem.status >= 500 else REFUSED
            advice = " Give a key with --key or TTSFARM_KEY." if problem.status == 401 else ""
            raise _failed(problem.message + advice, code) from problem


def _failed(message: str, exit_code: int) -> click.exceptions.Exit:
    click.echo(f"Error: {message}", err=True)
    return click.exceptions.Exit(exit_code)


@click.group(
    cls=FarmCommands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(version("ttsfarm"), prog_name="ttsfarm")
def main() -> None:
    """Turn Chinese text into speech, in volume."""


if __name__ == "__main__":
    main(prog_name="ttsfarm")
