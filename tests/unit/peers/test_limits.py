"""What one address may take."""

from megaphone.peers import limits
from megaphone.peers.limits import ATTEMPTS_AT_ONCE, CONNECTIONS_OF_AN_ADDRESS, AddressLimits


def test_an_address_has_so_many_connections_at_once() -> None:
    some = AddressLimits()
    assert all(some.enter("10.0.0.1", 0.0) for _ in range(CONNECTIONS_OF_AN_ADDRESS))
    assert not some.enter("10.0.0.1", 0.0)
    assert some.enter("10.0.0.2", 0.0)
    some.leave("10.0.0.1")
    assert some.enter("10.0.0.1", 0.0)


def test_an_address_that_comes_again_and_again_has_to_wait() -> None:
    some = AddressLimits()
    for _ in range(ATTEMPTS_AT_ONCE):
        assert some.enter("10.0.0.1", 0.0)
        some.leave("10.0.0.1")
    assert not some.enter("10.0.0.1", 0.5)
    assert some.enter("10.0.0.1", 1.0)
    some.leave("10.0.0.1")
    assert not some.enter("10.0.0.1", 1.5)


def test_addresses_that_are_remembered_are_bounded() -> None:
    some = AddressLimits()
    for number in range(limits.ADDRESSES_LIMIT + 10):
        assert some.enter(str(number), float(number))
        some.leave(str(number))
    assert len(some._buckets) == limits.ADDRESSES_LIMIT
    assert not some._open
