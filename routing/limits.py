"""How much the gateway holds at a time."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from .fields import Number, Setting

RETRY_AFTER_S: Final = 1
"""When a client that is turned away may come back."""

HELD_BYTES: Final = 64 * 1024 * 1024
"""How much of bodies is read for requests that do not run yet, all of them together."""

Admittance = Literal["run", "wait", "refuse"]


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many requests may run, and how many more may wait for their turn."""

    running: Annotated[
        int, Setting("concurrency", Number(1, whole=True), "Requests that may be with servers at a time.")
    ] = 1_000
    waiting: Annotated[
        int,
        Setting(
            "buffer_size", Number(1, whole=True), "Requests that may wait for their turn; more are refused."
        ),
    ] = 5_000


def admit(limits: Concurrency, running: int, waiting: int) -> Admittance:
    """What becomes of a request that finds so many ``running`` and so many ``waiting``.

    Nobody overtakes: while others wait, a newcomer waits behind them.
    """
    if running < limits.running and not waiting:
        return "run"
    return "wait" if waiting < limits.waiting else "refuse"
