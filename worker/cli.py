"""The `ttsfarm-worker` command: names the commands of `worker/commands`."""

from importlib.metadata import version

import click

from shared.commands import Commands

COMMANDS = {
    "run": "worker.commands.run",
    "doctor": "worker.commands.doctor",
    "explain": "worker.commands.explain",
    "fetch": "worker.commands.fetch",
    "synth": "worker.commands.synth",
}


@click.group(
    cls=Commands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(version("ttsfarm"), prog_name="ttsfarm-worker")
def main() -> None:
    """Speak what a ttsfarm has to be spoken."""


if __name__ == "__main__":
    main(prog_name="ttsfarm-worker")
