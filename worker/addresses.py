"""Resolves a webhook's host once, to the addresses the guard lets the courier connect to."""

import socket
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Thread

from shared.addresses import Address, AddressGuard, Target
from shared.errors import ForbiddenAddress

_Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One checked network address; what a socket connects to, without another look-up."""

    family: socket.AddressFamily
    address: Address
    port: int


def resolve(target: Target, guard: AddressGuard, timeout_s: float) -> list[Endpoint]:
    """The target's addresses that the guard lets through, in the resolver's order.

    Raises `ForbiddenAddress` when it has addresses but none is open, `TimeoutError` when the
    resolver takes too long and `OSError` when it finds nothing.
    """
    trusted = guard.opens(target.host)
    endpoints, refusals = [], []
    for family, _, _, _, where in _look_up(target.host, target.port, timeout_s):
        address = ip_address(str(where[0]).partition("%")[0])
        why = None if trusted else guard.refusal(address)
        if why is None:
            endpoints.append(Endpoint(family=family, address=address, port=target.port))
        else:
            refusals.append(f"{address} is {why}")
    if not endpoints:
        raise ForbiddenAddress(f"{target.host} is not called: {'; '.join(refusals)}.")
    return endpoints


def _look_up(host: str, port: int, timeout_s: float) -> _Found:
    # The system's resolver takes no time limit; a thread of its own can be left behind.
    answer: Future[_Found] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[arg-type]  # narrower tuples
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)

    Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return answer.result(timeout_s)
    except FutureTimeout as error:
        raise TimeoutError(f"the name was not resolved in {timeout_s:.1f} s") from error
    except UnicodeError as error:
        raise OSError("the name can not be resolved") from error
