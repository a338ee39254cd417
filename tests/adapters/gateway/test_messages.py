"""Messages of PCP and NAT-PMP: what is written is read, and what is none of them is a typed error."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gateway import natpmp, pcp
from adapters.gateway.errors import GatewayMessageError, GatewayVersionError
from domain.connectivity.address import Address
from tests.adapters.gateway.answers import of_nat_pmp, of_pcp

OURS = "10.0.0.2"
NONCE = b"nonce number"
ports = st.integers(0, 65_535)
seconds = st.integers(0, 2**32 - 1)
hosts = st.ip_addresses(v=4).map(str)
anywhere = st.builds(Address, hosts, ports)
mapped = st.builds(
    pcp.Mapped,
    nonce=st.binary(min_size=12, max_size=12),
    protocol=st.integers(0, 255),
    internal_port=ports,
    external=anywhere
    | st.builds(lambda host, port: Address.from_host(str(host), port), st.ip_addresses(v=6), ports),
)
pcp_responses = st.builds(
    pcp.Response,
    opcode=st.just(pcp.MAP),
    result=st.integers(0, 255),
    lifetime_s=seconds,
    epoch_s=seconds,
    mapped=mapped,
)
nat_pmp_responses = st.one_of(
    st.builds(
        natpmp.Response,
        opcode=st.just(natpmp.MAP_UDP),
        result=st.just(0),
        epoch_s=seconds,
        internal_port=ports,
        external_port=ports,
        lifetime_s=seconds,
    ),
    st.builds(
        natpmp.Response,
        opcode=st.just(natpmp.ADDRESS),
        result=st.just(0),
        epoch_s=seconds,
        host=hosts,
    ),
    st.builds(
        natpmp.Response,
        opcode=st.sampled_from((natpmp.ADDRESS, natpmp.MAP_UDP)),
        result=st.integers(1, 65_535),
        epoch_s=seconds,
    ),
)


@given(response=pcp_responses, options=st.integers(0, 10).map(lambda count: bytes(4 * count)))
def test_answer_of_pcp_is_read_as_it_was_written(response: pcp.Response, options: bytes) -> None:
    assert pcp.decode(of_pcp(response, options)) == response


@given(result=st.integers(1, 255), epoch_s=seconds)
def test_error_of_pcp_may_say_nothing_about_a_port(result: int, epoch_s: int) -> None:
    response = pcp.Response(
        opcode=pcp.MAP, result=result, lifetime_s=30, epoch_s=epoch_s, mapped=None
    )
    assert pcp.decode(of_pcp(response)) == response


@given(response=nat_pmp_responses)
def test_answer_of_nat_pmp_is_read_as_it_was_written(response: natpmp.Response) -> None:
    assert natpmp.decode(of_nat_pmp(response)) == response


@given(
    nonce=st.binary(min_size=12, max_size=12), port=ports, suggested=anywhere, lifetime_s=seconds
)
def test_request_of_pcp_is_laid_out_as_the_rfc_has_it(
    nonce: bytes, port: int, suggested: Address, lifetime_s: int
) -> None:
    data = pcp.encode_map(OURS, nonce, port, suggested, lifetime_s)
    assert len(data) == 60
    assert data[:8] == struct.pack("!BBHI", 2, 1, 0, lifetime_s)
    assert data[8:24] == bytes(10) + b"\xff\xff\x0a\0\0\x02"
    assert data[24:44] == nonce + struct.pack("!B3xHH", 17, port, suggested.port)
    assert data[44:] == bytes(10) + b"\xff\xff" + bytes(map(int, suggested.host.split(".")))


@given(port=ports, suggested=ports, lifetime_s=seconds)
def test_request_of_nat_pmp_is_laid_out_as_the_rfc_has_it(
    port: int, suggested: int, lifetime_s: int
) -> None:
    expected = b"\0\x01\0\0" + struct.pack("!HHI", port, suggested, lifetime_s)
    assert natpmp.encode_map(port, suggested, lifetime_s) == expected
    assert natpmp.encode_address() == b"\0\0"


@given(data=st.binary(max_size=1_200))
def test_any_bytes_end_in_an_answer_or_in_a_typed_error(data: bytes) -> None:
    with suppress(GatewayMessageError, GatewayVersionError):
        pcp.decode(data)
    with suppress(GatewayMessageError):
        natpmp.decode(data)


@given(response=pcp_responses, data=st.data())
def test_answer_that_was_cut_or_grew_is_none(response: pcp.Response, data: st.DataObject) -> None:
    whole = of_pcp(response)
    size = data.draw(
        st.integers(0, 1_200).filter(lambda size: size % 4 or size < 24 or size > 1_100)
    )
    with pytest.raises(GatewayMessageError):
        pcp.decode(whole[:size].ljust(size, b"\0"))


def test_request_is_no_answer() -> None:
    for request in (pcp.encode_announce(OURS), pcp.encode_map(OURS, NONCE, 1, pcp.ANYTHING, 1)):
        with pytest.raises(GatewayMessageError):
            pcp.decode(request)
    for request in (natpmp.encode_address(), natpmp.encode_map(1, 1, 1)):
        with pytest.raises(GatewayMessageError):
            natpmp.decode(request)


def test_success_about_no_port_is_none() -> None:
    with pytest.raises(GatewayMessageError):
        pcp.decode(struct.pack("!BBBBII12x", 2, 0x81, 0, 0, 3_600, 7))


@pytest.mark.parametrize("version", [0, 1, 3])
def test_router_of_another_version_says_so(version: int) -> None:
    with pytest.raises(GatewayVersionError):
        pcp.decode(struct.pack("!BBHI", version, 0x80, pcp.UNSUPPORTED_VERSION, 7))


@given(response=nat_pmp_responses, size=st.integers(0, 40))
def test_answer_of_nat_pmp_has_one_size(response: natpmp.Response, size: int) -> None:
    whole = of_nat_pmp(response)
    if response.result == 0 and size != len(whole):
        with pytest.raises(GatewayMessageError):
            natpmp.decode(whole[:size].ljust(size, b"\0"))
