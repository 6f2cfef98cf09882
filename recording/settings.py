"""The servers that scenarios are put to, and how each is brought to its state."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import requests

from translate.types import RequestType
from transports.base import Endpoint, Timeouts
from transports.requests_transport import RequestsTransport

from .recorder import Exchange, RecordingError, is_streamed, perform, plan_of
from .scenarios import Key, Scenario, Setting
from .server import ADAPTED_FLAGS, Served, Server, serving

CROWD: Final = 40
FLAGS: Final[Mapping[Setting, tuple[str, ...]]] = {
    "crowded": ("--max-num-queued-reqs", "1"),
    "adapted": ADAPTED_FLAGS,
}
"""What the server of a setting is told besides its own flags."""
WRONG_KEY: Final = "another"
PIECES_BEFORE_DEATH: Final = 12
LONGEST_LIFE_S: Final = 60.0
LIFE_WITHOUT_STREAM_S: Final = 0.5
TIMEOUTS: Final = Timeouts(connect_s=5, first_byte_s=120, idle_s=120, total_s=120)


class Place(NamedTuple):
    """Where things are on this machine, the key of the server that wants one, and flags for every server."""

    python: Path
    models: Path
    key: str
    flags: tuple[str, ...] = ()


class Stage(NamedTuple):
    """A server that has to be started: what it serves, and its state."""

    served: Served
    setting: Setting


class Outcome(NamedTuple):
    """What became of one question."""

    scenario: Scenario
    form: RequestType
    result: Exchange | RecordingError


Asked = Sequence[tuple[Scenario, RequestType]]


def play(stage: Stage, asked: Asked, place: Place) -> Iterator[Outcome]:
    """Start the server of ``stage`` and ask everything of it."""
    served, setting = stage
    log = place.models / f"server-{served.folder}-{setting}.log"
    served = served._replace(flags=(*served.flags, *FLAGS.get(setting, ()), *place.flags))
    with serving(place.python, place.models, log, served, place.key if setting == "locked" else "") as server:
        if setting == "doomed":
            yield from _to_the_doomed(server, asked)
            return
        ask = _in_a_crowd if setting == "crowded" else _once
        for scenario, form in asked:
            yield Outcome(scenario, form, _result(server, scenario, form, ask))


Watch = Callable[[int], None]
Ask = Callable[[Server, Scenario, RequestType], Exchange]


def _result(server: Server, scenario: Scenario, form: RequestType, ask: Ask) -> Exchange | RecordingError:
    try:
        return ask(server, scenario, form)
    except RecordingError as error:
        return error


def _once(server: Server, scenario: Scenario, form: RequestType, watch: Watch | None = None) -> Exchange:
    plan = plan_of(scenario, form)
    keys: Mapping[Key, str] = {"none": "", "right": server.api_key, "wrong": WRONG_KEY}
    with requests.Session() as session:
        endpoint = Endpoint(server.url, keys[scenario.key], timeouts=TIMEOUTS)
        transport = RequestsTransport(session, endpoint)
        if scenario.again:
            perform(transport, form, plan)
        return perform(transport, form, plan, watch)


def _in_a_crowd(server: Server, scenario: Scenario, form: RequestType) -> Exchange:
    """The first answer with the status that is expected, of many askers at once."""
    with ThreadPoolExecutor(CROWD) as pool:
        answers = list(pool.map(lambda _: _once(server, scenario, form), range(CROWD)))
    wanted = [answer for answer in answers if answer.status == scenario.expected.status]
    return wanted[0] if wanted else answers[0]


def _to_the_doomed(server: Server, asked: Asked) -> Iterator[Outcome]:
    """Ask everything at once, and kill the engine as soon as a stream is well on its way."""
    talking = threading.Event()

    def watch(pieces: int) -> None:
        if pieces >= PIECES_BEFORE_DEATH:
            talking.set()

    def ask(server: Server, scenario: Scenario, form: RequestType) -> Exchange:
        return _once(server, scenario, form, watch)

    engine = server.engine()
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting: list[tuple[Scenario, RequestType, Future[Exchange | RecordingError]]] = [
            (scenario, form, pool.submit(_result, server, scenario, form, ask)) for scenario, form in asked
        ]
        talking.wait(LONGEST_LIFE_S if any(is_streamed(form) for _, form in asked) else LIFE_WITHOUT_STREAM_S)
        os.kill(engine, signal.SIGKILL)
    for scenario, form, future in waiting:
        yield Outcome(scenario, form, future.result())
