"""`ttsfarm prepare-store`: the bucket, its lifecycle rule and who may use it."""

from pathlib import Path

import click

from api.problems import SetupProblem
from shared.errors import FarmError
from shared.settings import Settings, settings
from shared.storage import open_store


@click.command("prepare-store")
@click.option(
    "--grant",
    default="none",
    show_default=True,
    metavar="none|minio|ARN",
    help="Make the farm's user in a MinIO server, or admit one the store has, named by its ARN.",
)
@click.option(
    "--keys",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with ttsfarm_s3_access_key and ttsfarm_s3_secret_key of the user to make.",
)
def prepare_store(grant: str, keys: Path | None) -> None:
    """Make the S3 bucket and its lifecycle rule, and let the farm's own user use it.

    Called with the keys of the store's owner; running it again is harmless.
    """
    owner = settings()
    if owner.storage != "s3":
        raise SetupProblem("There is nothing to prepare: TTSFARM_STORAGE is not s3.")
    try:
        open_store(owner).ensure()
        click.echo(f"bucket {owner.s3_bucket} is ready")
        if grant == "minio":
            _make_user(owner, keys)
        elif grant != "none":
            from shared.storage_access import admit

            admit(owner, grant)
            click.echo(f"{grant} may use it")
    except FarmError as error:
        raise SetupProblem(error.message) from error


def _make_user(owner: Settings, keys: Path | None) -> None:
    # The client is slow to load, and no other command needs this part of it.
    from shared.storage_access import make_minio_user

    if keys is None:
        raise SetupProblem("Name the directory with the user's keys: --keys DIR.")
    access_key, secret_key = (
        _read(keys / f"ttsfarm_s3_{name}_key") for name in ("access", "secret")
    )
    if access_key == owner.s3_access_key.get_secret_value():
        raise SetupProblem("The farm's access key is the owner's: give the farm one of its own.")
    make_minio_user(owner, access_key, secret_key)
    click.echo(f"user {access_key} may use it")


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise SetupProblem(f"{file} can not be read: {error.strerror}.") from error
