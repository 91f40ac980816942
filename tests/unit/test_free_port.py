"""The ports of the tests' own servers."""

from tests.conftest import free_port

FIRST_OF_THE_SYSTEM = 32_768  # as Linux gives them to who asks for any


def test_no_port_is_chosen_twice_or_given_to_another_by_the_system() -> None:
    ports = [free_port() for _ in range(200)]
    assert len({*ports}) == 200
    assert 1024 < min(ports) < max(ports) < FIRST_OF_THE_SYSTEM
