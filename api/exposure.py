"""Whether a farm would stand open to people nobody meant to let in."""

from ipaddress import ip_address

from shared.problems import WrongSetting
from shared.settings import Settings


def require_guarded(settings: Settings) -> None:
    """Raise `WrongSetting` when anybody on the network could use this farm and nobody said so."""
    guarded = settings.auth != "none" or settings.open_to_network
    if not guarded and not is_loopback(settings.api_host):
        raise WrongSetting(
            f"TTSFARM_AUTH is none, and others can reach {settings.api_host or 'every address'} of "
            "this machine. Set TTSFARM_AUTH=keys and make a key with 'ttsfarm keys create', or "
            "listen on 127.0.0.1, or, where only the right people reach it, set "
            "TTSFARM_OPEN_TO_NETWORK=true"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; of names only localhost is known to be so."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
