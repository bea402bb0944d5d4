"""Which URLs may stand in a setting, and which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ConfigError
from chartgate.formats.web_address import (
    NEVER,
    OWN_NETWORKS,
    Origin,
    address_refusal,
    check_url,
    host_flaw,
    is_loopback_name,
    origin_of,
    parse_networks,
)

OWN = parse_networks(OWN_NETWORKS, "own")
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INNER = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "fd12::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
]
ODD = [
    "192.0.0.9",
    "192.88.99.1",
    "64:ff9b:1::7f00:1",
    "::ffff:0:7f00:1",
    "fec0::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "2001:10::1",
    "2002:808:808::1",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "240.0.0.1",
    "::7f00:1",
    "2001:db8::1",
]
CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.1.1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert address_refusal(address, private=()) == ""


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_needs_its_network_opened(address: str) -> None:
    assert "private" in address_refusal(address, private=())
    assert address_refusal(address, private=OWN) == ""


@pytest.mark.parametrize("address", ODD)
def test_a_reserved_address_is_refused_even_where_own_networks_are_open(address: str) -> None:
    assert address_refusal(address, private=OWN)


@pytest.mark.parametrize("address", CLOSED)
def test_a_metadata_address_is_refused_whatever_is_opened(address: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert "metadata" in address_refusal(address, private=everything)


@pytest.mark.parametrize("text", ["", "host", "1.2.3", "127.1", "0x7f000001", "2130706433"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert address_refusal(text, private=OWN)


@given(address=st.ip_addresses(v=4))
def test_an_address_mapped_into_ipv6_is_judged_as_itself(address: IPv4Address) -> None:
    for private in ((), OWN):
        mapped = IPv6Address(0xFFFF00000000 | int(address))
        assert address_refusal(str(mapped), private=private) == address_refusal(
            str(address), private=private
        )


@given(address=st.ip_addresses())
def test_opening_a_network_never_closes_another(address: IPv4Address | IPv6Address) -> None:
    if address_refusal(str(address), private=()) == "":
        assert address_refusal(str(address), private=OWN) == ""


@given(data=st.data())
def test_no_address_of_a_closed_network_gets_through(data: st.DataObject) -> None:
    network = data.draw(st.sampled_from(NEVER))
    address = data.draw(st.ip_addresses(network=network))
    assert address_refusal(str(address), private=(network, *OWN))


def test_origins_are_scheme_host_and_port() -> None:
    assert origin_of("https://EHR.example/fhir") == Origin(
        scheme="https", host="ehr.example", port=443
    )
    assert str(origin_of("http://[::1]:8080/x")) == "http://[::1]:8080"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://host/1",
        "ftp://host/",
        "data:text/plain,x",
        "//host/",
        "https://",
        "https://:443/",
        "https://user@host/",
        "https://user:word@host/",
        "https://host:99999/",
        "https://host:0/",
        "https://host:x/",
        "https://ho st/",
        "https://host\\@other/",
        "https://host/\n",
        "https://0/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.0x1/",
        "https://localhost./",
        "https://a..b/",
        "https://-a/",
        "https://bücher.example/",
        "https://１２７.0.0.1/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://%31%32%37.0.0.1/",
    ],
)
def test_a_url_with_more_than_one_reading_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        origin_of(url)


@pytest.mark.parametrize("host", ["ehr", "ehr.example", "10.1.2.3", "::1", "a_b", "3com.example"])
def test_plain_hosts_are_taken(host: str) -> None:
    assert host_flaw(host) == ""


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.3.2.1", True), ("::1", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback_is_known_by_its_spelling(host: str, loopback: bool) -> None:
    assert is_loopback_name(host) is loopback


@pytest.mark.parametrize("text", ["10.0.0.1/8", "ten", "10.0.0.0/40"])
def test_a_network_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"10\.1\.0\.0/16"):
        parse_networks([text], "[egress] private")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://ehr.example", "https"),
        ("https://ehr.example/?a=b", "query"),
        ("https://ehr.example/#a", "fragment"),
        ("file:///etc/passwd", "https"),
        ("https://0x7f000001/", "disguise"),
    ],
)
def test_a_url_of_the_config_says_what_is_wrong_with_it(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\[clients\.x\] jwks_url.*{says}"):
        check_url(url, "[clients.x] jwks_url", allow_http=False)
