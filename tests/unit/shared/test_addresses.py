"""Which addresses a webhook may name, in every notation that hides one."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import AddressGuard, check_url
from shared.errors import ForbiddenAddress

PUBLIC = AddressGuard()

REFUSED_ADDRESSES = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
    *("127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1"),
    *("2607:f8b0::5efe:a00:1", "2607:f8b0::200:5efe:10.0.0.1", "3fff::1", "4000::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
]
PUBLIC_ADDRESSES = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1"),
    *("192.0.1.1", "192.167.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1"),
    *("::ffff:1.1.1.1", "64:ff9b::101:101"),
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_inside_is_refused(address: str) -> None:
    assert PUBLIC.refusal(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ForbiddenAddress, match="public address"):
        check_url(f"http://{host}/hook", PUBLIC)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_open(address: str) -> None:
    assert PUBLIC.refusal(ip_address(address)) is None
    host = f"[{address}]" if ":" in address else address
    assert check_url(f"http://{host}/hook", PUBLIC).host == address


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_wrapping(address: object) -> None:
    value = int(address)  # type: ignore[call-overload]
    plain = bool(PUBLIC.refusal(ip_address(value)))
    for prefix in (0xFFFF << 32, 0x0064FF9B << 96):
        assert bool(PUBLIC.refusal(ip_address(prefix | value))) is plain


@given(st.ip_addresses(v=4))
def test_what_is_open_is_also_global_to_the_standard_library(address: object) -> None:
    found = ip_address(str(address))
    if PUBLIC.refusal(found) is None:
        assert found.is_global
        assert not found.is_multicast


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "127.0.1", "0"),
        *("0177.0.0.1", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "2852039166", "0xA9FEA9FE", "10.1"),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "[::ffff:7f00:1]"),
        *("[0:0:0:0:0:0:0:1]", "[fe80::1%25eth0]"),
    ],
)
def test_another_notation_of_an_inner_address_is_refused(host: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"http://{host}/hook", PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        *("", "hook", "//a.example/", "ftp://a.example/", "file:///etc/passwd", "gopher://a/"),
        *("javascript:alert(1)", "http://", "http:///path", "http://a.example:0/"),
        *("http://a.example:65536/", "http://a.example:x/", "http://user@a.example/"),
        *("http://user:pw@a.example/", "http://@a.example/", "http://a.example\\@b.example/"),
        *(
            "http://a b.example/",
            "http://a.example/a b",
            "http://a.example/\r\nX: 1",
            "http://[::1",
        ),
        *("http://[nonsense]/", "http://-a.example/", "http://a..example/", "http://.a.example/"),
        *("http://127%2e0%2e0%2e1/", "http://a_b!.example/", "http://" + "a" * 64 + ".example/"),
        *("http://１２７.0.0.1/", "http://a.example/" + "x" * 2048, "http://例子.example/"),
        "http://" + "a." * 130 + "example/",
        *("http://[v1.a]/", "http://[2606:4700::1111%25eth0]/", "http://[2606:4700::1111%eth0]/"),
        *("http://a.example[2606:4700::1111]/", "http://[2606:4700::1111]a.example:80/"),
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(url, PUBLIC)


@given(st.text())
def test_any_text_is_refused_or_has_a_target(text: str) -> None:
    for url in (text, f"http://{text}", f"https://a.example{text}"):
        try:
            target = check_url(url, PUBLIC)
        except ForbiddenAddress:
            continue
        assert target.host
        assert target.path.startswith("/")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example", ("http", "a.example", 80, "/", "a.example")),
        ("HTTPS://A.Example./x?y=1#z", ("https", "a.example", 443, "/x?y=1", "a.example")),
        ("http://a.example:8080?q", ("http", "a.example", 8080, "/?q", "a.example:8080")),
        ("https://xn--fsqu00a.example/", ("https", "xn--fsqu00a.example", 443, "/", None)),
        ("http://[2606:4700::1111]:81/", ("http", "2606:4700::1111", 81, "/", None)),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: tuple[str, str, int, str, str | None]) -> None:
    target = check_url(url, PUBLIC)
    assert (target.scheme, target.host, target.port, target.path) == expected[:4]
    assert expected[4] in (None, target.authority)


def test_an_ipv6_authority_has_brackets() -> None:
    assert check_url("http://[2606:4700::1111]:81/", PUBLIC).authority == "[2606:4700::1111]:81"


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.1.2.3/", "http://[::1]/", "http://hooks.intranet/", "http://a.b.lan/"),
        *("http://10.2/", "http://192.168.7.7/", "http://[::ffff:10.1.2.3]/", "http://x.corp/"),
    ],
)
def test_the_operator_opens_networks_and_hosts(url: str) -> None:
    guard = AddressGuard.parse("10.0.0.0/8, ::1, Hooks.Intranet, .lan, *.corp,, 192.168.7.7")
    assert check_url(url, guard)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://11.0.0.1:x/", "http://192.168.7.8/", "http://localhost/"]
)
def test_the_rest_stays_closed(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(url, AddressGuard.parse("10.0.0.0/8,hooks.intranet,.lan"))


def test_a_suffix_opens_what_is_below_it_and_nothing_alike() -> None:
    guard = AddressGuard.parse(".lan")
    assert guard.opens("a.lan")
    assert not guard.opens("lan")
    assert not guard.opens("alan")
    assert not guard.opens("a.lan.example")


def test_an_open_loopback_opens_localhost() -> None:
    assert check_url("http://localhost:99/", AddressGuard.parse("127.0.0.0/8")).port == 99
