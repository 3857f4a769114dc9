"""Only public addresses are reached: by number, after resolution, and on the connection really made."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest
import trustme
from receivers import Receiver, receiving

from jobs_exec import Retry, Success
from jobs_exec.errors import ConfigurationError
from jobs_exec_webhooks.addresses import is_public
from jobs_exec_webhooks.errors import AddressRefused, UnresolvedHost
from jobs_exec_webhooks.network import VettedNetwork
from jobs_exec_webhooks.resolving import Resolver

REFUSED = [
    "0.0.0.0",  # noqa: S104  (nothing is bound to it)
    "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:0:1:2::3",
    "2001:db8::1", "2002:7f00:1::", "2002:0808:0808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "2606:4700::1%1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255",
          "2606:4700::1", "2a00:1450::1", "64:ff9b::8.8.8.8"]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_a_special_address_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


def answering(*answers: Sequence[str]) -> Any:
    """A `getaddrinfo` that gives one answer after another, the last for ever, and remembers being asked."""
    asked: list[tuple[str, int]] = []

    def getaddrinfo(host: str, port: int, **_options: Any) -> list[tuple[Any, ...]]:
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append((host, port))
        return [(None, None, None, "", (each, port)) for each in addresses]

    getaddrinfo.asked = asked  # type: ignore[attr-defined]
    return getaddrinfo


class Dialled(httpcore.AsyncNetworkBackend):
    """Remembers where connections were opened to, and opens none, or those to `through` on loopback."""

    def __init__(self, through: int | None = None) -> None:
        self.addresses: list[str] = []
        self._through = through

    async def connect_tcp(self, host: str, port: int, *_args: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        self.addresses.append(host)
        if self._through is None:
            raise httpcore.ConnectError("unreachable in this test")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self._through)


@pytest.fixture
def network_for() -> Any:
    resolvers: list[Resolver] = []

    def make(getaddrinfo: Any, dial: Dialled) -> VettedNetwork:
        resolvers.append(Resolver(False, getaddrinfo))
        return VettedNetwork(resolvers[-1], dial)

    yield make
    for resolver in resolvers:
        resolver.close()


async def test_the_address_that_was_judged_is_the_address_that_is_dialled(network_for) -> None:
    """DNS rebinding: the second answer is private, and nobody asks for it."""
    rebinding, dial = answering(["93.184.215.14"], ["127.0.0.1"]), Dialled()
    with pytest.raises(httpcore.ConnectError):
        await network_for(rebinding, dial).connect_tcp("rebind.example", 80)
    assert dial.addresses == ["93.184.215.14"]
    assert rebinding.asked == [("rebind.example", 80)]


async def test_a_name_that_turns_private_is_refused_on_its_next_connection(network_for) -> None:
    network = network_for(answering(["93.184.215.14"], ["10.0.0.1"]), dial := Dialled())
    with pytest.raises(httpcore.ConnectError):
        await network.connect_tcp("rebind.example", 80)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        await network.connect_tcp("rebind.example", 80)
    assert dial.addresses == ["93.184.215.14"]


async def test_private_addresses_among_public_ones_are_never_dialled(network_for) -> None:
    network = network_for(answering(["127.0.0.1", "8.8.8.8", "::1", "8.8.4.4"]), dial := Dialled())
    with pytest.raises(httpcore.ConnectError):
        await network.connect_tcp("mixed.example", 443)
    assert dial.addresses == ["8.8.8.8", "8.8.4.4"]


async def test_a_connection_that_ends_up_elsewhere_is_closed(network_for, receiver: Receiver) -> None:
    """The dialler really connects to loopback; what was judged was public."""
    network = network_for(answering(["8.8.8.8"]), Dialled(through=receiver.port))
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
        await network.connect_tcp("hijacked.example", receiver.port)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_loopback_is_refused_however_it_is_spelled(opened, receiver: Receiver, host: str) -> None:
    send = await opened(allow_private=False)
    with pytest.raises((AddressRefused, UnresolvedHost)):
        await send(receiver.url(host))
    assert receiver.connections == 0


async def test_the_refusal_names_the_setting(opened, receiver: Receiver) -> None:
    send = await opened(allow_private=False)
    with pytest.raises(AddressRefused, match="JOB_WEBHOOKS_ALLOW_PRIVATE=1"):
        await send(receiver.url())


async def test_private_is_allowed_on_request(send, receiver: Receiver) -> None:
    assert isinstance(await send(receiver.url("localhost")), Success)


async def test_a_rebinding_name_delivers_to_what_was_judged_only(opened) -> None:
    """The whole way: two receivers, one name that answers with the first and from then on with the second."""
    async with receiving("127.0.0.2") as first, receiving("127.0.0.3") as second:
        getaddrinfo = answering(["127.0.0.2"], ["127.0.0.3"])
        send = await opened(make_resolver=lambda allow: Resolver(allow, getaddrinfo))
        await send(first.url("rebind.example"))
        await send(first.url("rebind.example"))
        assert len(first.requests) == 2
        assert first.connections == 1
        assert first.requests[0].headers["host"] == f"rebind.example:{first.port}"
        assert second.requests == []


async def test_an_unknown_name_is_a_clear_failure(opened) -> None:
    def getaddrinfo(*_args: Any, **_options: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    send = await opened(make_resolver=lambda allow: Resolver(allow, getaddrinfo))
    with pytest.raises(UnresolvedHost, match=r"nowhere\.example cannot be resolved \(Name or service not known\)"):
        await send("https://nowhere.example/hook")


async def test_an_address_that_does_not_answer_gives_way_to_the_next(opened, receiver: Receiver) -> None:
    getaddrinfo = answering(["127.0.0.9", "127.0.0.1"])  # nobody listens on the first
    send = await opened(make_resolver=lambda allow: Resolver(allow, getaddrinfo))
    assert isinstance(await send(receiver.url("two.example")), Success)


async def test_a_name_server_that_hangs_ends_with_the_connect_timeout(opened) -> None:
    release = threading.Event()

    def getaddrinfo(*_args: Any, **_options: Any) -> list[tuple[Any, ...]]:
        release.wait(30)
        return []

    send = await opened(make_resolver=lambda allow: Resolver(allow, getaddrinfo), connect_seconds=0.05)
    outcome = await send("https://slow.example/hook")
    release.set()
    assert isinstance(outcome, Retry)
    assert "ConnectTimeout" in outcome.reason


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def served_by(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_is_about_the_name_while_the_socket_goes_to_the_address(opened, tmp_path, authority) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with receiving(tls=served_by(authority, "hooks.example")) as receiver:
        send = await opened(
            make_resolver=lambda allow: Resolver(allow, answering(["127.0.0.1"])), ca_file=tmp_path / "ca.pem"
        )
        assert isinstance(await send(receiver.url("hooks.example", scheme="https")), Success)
        assert receiver.server_names == ["hooks.example"]
        assert receiver.only.headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_certificate_for_another_name_is_a_failure(opened, tmp_path, authority) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with receiving(tls=served_by(authority, "other.example")) as receiver:
        send = await opened(
            make_resolver=lambda allow: Resolver(allow, answering(["127.0.0.1"])), ca_file=tmp_path / "ca.pem"
        )
        outcome = await send(receiver.url("hooks.example", scheme="https"))
        assert isinstance(outcome, Retry)
        assert "certificate verify failed" in outcome.reason
        assert receiver.requests == []


async def test_a_certificate_of_an_unknown_authority_is_a_failure(opened, authority) -> None:
    async with receiving(tls=served_by(authority, "hooks.example")) as receiver:
        send = await opened(make_resolver=lambda allow: Resolver(allow, answering(["127.0.0.1"])))
        assert isinstance(await send(receiver.url("hooks.example", scheme="https")), Retry)
        assert receiver.requests == []


async def test_a_file_of_authorities_that_cannot_be_read_stops_the_start(opened, tmp_path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ConfigurationError, match="JOB_WEBHOOKS_CA_FILE"):
            await opened(ca_file=tmp_path / name)
