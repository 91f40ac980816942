"""The `ttsfarm-worker` command: puts the commands of `worker/commands` together."""

from importlib.metadata import version

import click

from worker.commands.doctor import doctor
from worker.commands.run import run

COMMANDS = (run, doctor)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("ttsfarm"), prog_name="ttsfarm-worker")
def main() -> None:
    """Speak what a ttsfarm has to be spoken."""


for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="ttsfarm-worker")
