"""What can go wrong with a simulation itself, as opposed to what it simulates."""

from domain.errors import CulmError


class SimulationError(CulmError):
    """Something that cannot be simulated, or would not be the same the next time, was asked for."""


class DeadlockError(SimulationError):
    """Nothing will ever happen again, yet somebody waits."""


class RunawayError(SimulationError):
    """The scenario goes on for longer than it may, in virtual time or in turns of the loop."""
