"""The clock and the entropy of the machine pass their contracts."""

from adapters.system.environment import SystemClock, SystemEntropy
from tests.contracts.environment import ClockContract, EntropyContract


class TestSystemClock(ClockContract):
    def clock(self) -> SystemClock:
        return SystemClock()


class TestSystemEntropy(EntropyContract):
    def entropy(self) -> SystemEntropy:
        return SystemEntropy()
