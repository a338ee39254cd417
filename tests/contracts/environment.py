"""What every clock and every source of entropy must pass."""

from abc import ABC, abstractmethod

from domain.ports.environment import Clock, Entropy

_YEAR_2020_US = 1_577_836_800_000_000
_YEAR_2200_US = 7_258_118_400_000_000


class ClockContract(ABC):
    """The laws of `Clock`."""

    @abstractmethod
    def clock(self) -> Clock:
        """Make a clock."""

    def test_now_never_goes_back(self) -> None:
        clock = self.clock()
        readings = [clock.now() for _ in range(1_000)]
        assert readings == sorted(readings)

    def test_the_timestamp_is_a_plausible_date_in_microseconds(self) -> None:
        timestamp_us = self.clock().timestamp_us()
        assert type(timestamp_us) is int
        assert _YEAR_2020_US < timestamp_us < _YEAR_2200_US


class EntropyContract(ABC):
    """The laws of `Entropy`."""

    @abstractmethod
    def entropy(self) -> Entropy:
        """Make a source of entropy."""

    def test_a_draw_has_the_length_asked_for(self) -> None:
        entropy = self.entropy()
        for count in (0, 1, 24, 32, 65_536):
            drawn = entropy.draw(count)
            assert type(drawn) is bytes
            assert len(drawn) == count

    def test_no_draw_repeats(self) -> None:
        entropy = self.entropy()
        assert len({entropy.draw(16) for _ in range(1_000)}) == 1_000

    def test_drawn_bits_are_set_half_of_the_time(self) -> None:
        drawn = self.entropy().draw(65_536)
        share = sum(byte.bit_count() for byte in drawn) / (8 * len(drawn))
        assert 0.49 < share < 0.51
