"""The sink that writes cassettes, in a process of its own.

To write YAML and to look for secrets takes longer than to pass a request on.
In a thread it would hold the interpreter's lock, and with it every request;
so a thread does no more here than to hand exchanges to another process, many
at a time where there are many.
"""

import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from .base import Endpoint, PlanLike, request_headers, whole
from .cassette import RECORDED_HOST, Recording
from .cassette_store import CassetteStore, Stored
from .recorder import Exchange
from .redaction import Rule

log: Final = logging.getLogger("bifrost_vllm.recording")

Outcome = Stored | Literal["unsampled", "too large", "queue full", "error"]

_SAID_ONCE: Final[Mapping[Outcome, str]] = {
    "too large": "an exchange is larger than the limit",
    "queue full": "exchanges come faster than they can be written",
    "limit reached": "the folder holds as much as it may",
    "holds a secret": "an exchange holds a known secret",
    "error": "it cannot be written",
}
_KEPT_REQUEST_HEADERS: Final = frozenset({"accept", "content-type"})
_WRITE: Final = f"from {__package__}.cassette_writer import write_what_comes; write_what_comes()"
_OVERHEAD: Final = 1024  # bytes of an exchange that waits, beside its bodies
_GATHERING_S: Final = 0.05
_PATIENCE_S: Final = 10.0
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is recorded.

    ``sample`` is the share of all exchanges, from 0 to 1. ``exchange_bytes``
    bounds one exchange, its request included, and ``queue_bytes`` those that
    wait to be written. ``total_bytes`` and ``files`` bound what the folder
    holds, with what was there before.
    """

    sample: float = 1.0
    exchange_bytes: int = 16 * _MIB
    queue_bytes: int = 64 * _MIB
    total_bytes: int = 1024 * _MIB
    files: int = 100_000


class CassetteWriter:
    """Writes exchanges into a folder, which it makes if need be, as ``CassetteStore`` says.

    What is beyond the ``limits`` is not recorded; the log tells the first of
    each kind, and ``tally`` counts them. ``draw`` gives a number from 0 to 1
    for every exchange, which is recorded if it is below ``limits.sample``.
    Raises ``OSError`` when the folder cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        rules: Sequence[Rule] = (),
        secrets: Sequence[str] = (),
        limits: Limits | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._folder, self._limits, self._draw = Path(folder).absolute(), limits or Limits(), draw
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        self._tally: Counter[Outcome] = Counter()
        self._waiting: list[Exchange] = []
        self._learned: list[str] = []
        self._unwritten_bytes = 0
        self._lock = threading.Lock()
        self._something_waits = threading.Event()
        self._closing = threading.Event()
        self._ended: Outcome | None = None  # why nothing more is wanted
        # Through the pipe, where nobody can list them, go the secrets, too.
        settings = self._folder, tuple(rules), tuple(secrets), self._limits.total_bytes, self._limits.files
        self._process: Any = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-P", "-c", _WRITE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            start_new_session=True,  # Ctrl-C is for this process; the other ends when its pipe does
        )
        self._thread = threading.Thread(target=self._work, args=[settings], name="cassettes", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tally(self) -> Mapping[Outcome, int]:
        """What became of the exchanges so far."""
        with self._lock:
            return dict(self._tally)

    def wants(self, plan: PlanLike) -> int:
        """How many bytes of an answer may be recorded, if any."""
        if self._ended:
            self._count(self._ended)
            return 0
        if self._limits.sample < 1 and self._draw() >= self._limits.sample:
            self._count("unsampled")
            return 0
        room = self._limits.exchange_bytes - _body_size(plan)
        if room <= 0:
            self.outgrown()
        return max(0, room)

    def put(self, exchange: Exchange) -> None:
        """Have an exchange written, soon."""
        size = _size(exchange)
        with self._lock:
            fits = self._unwritten_bytes + size <= self._limits.queue_bytes
            if fits:
                self._waiting.append(exchange)
                self._unwritten_bytes += size
                self._something_waits.set()
        if not fits:
            self._count("queue full")

    def learn(self, secrets: Sequence[str]) -> None:
        """From now on, these are secrets, too."""
        with self._lock:
            self._learned += secrets

    def outgrown(self) -> None:
        self._count("too large")

    def close(self) -> None:
        """Wait until everything is written, for some seconds at most, and tell in the log what was not."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._something_waits.set()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()
        with self._lock:
            told = [f"{number} {outcome}" for outcome, number in self._tally.items()]
        log.info("exchanges for %s: %s", self._folder, ", ".join(told) or "none")

    def _work(self, settings: tuple[object, ...]) -> None:
        with self._process as process:
            with suppress(OSError):  # the process is gone, as the first exchange will tell
                pickle.dump(settings, process.stdin)
            while exchanges := self._next():
                for outcome, detail in self._written(exchanges):
                    self._count(outcome, detail)
                with self._lock:
                    self._unwritten_bytes -= sum(map(_size, exchanges))
            with suppress(OSError):
                process.stdin.close()

    def _written(self, exchanges: Sequence[Exchange]) -> Sequence[tuple[Outcome, str]]:
        recordings: list[tuple[Recording, str, float]] = []
        outcomes: list[tuple[Outcome, str]] = []
        for exchange in exchanges:
            try:
                recordings.append((_recording_of(exchange), exchange.label, exchange.started))
            except Exception as error:  # a transport gave what is no exchange
                outcomes.append(("error", type(error).__name__))
        try:
            with self._lock:
                learned, self._learned = self._learned, []
            pickle.dump((learned, recordings), self._process.stdin)
            self._process.stdin.flush()
            answers: list[tuple[Outcome, str]] = pickle.load(self._process.stdout)  # noqa: S301 - our own
            outcomes += answers
        except (EOFError, OSError, pickle.UnpicklingError):
            self._ended = "error"
            outcomes.extend(("error", "the writing process is gone") for _ in recordings)
        if ("limit reached", "") in outcomes:
            self._ended = "limit reached"
        return outcomes

    def _next(self) -> Sequence[Exchange]:
        """The exchanges that wait, as soon as there are some; none when there will be none."""
        self._something_waits.wait()
        # A thread that wakes for each exchange costs the requests more than the writing.
        self._closing.wait(_GATHERING_S)
        with self._lock:
            exchanges, self._waiting = self._waiting, []
            if not self._closing.is_set():
                self._something_waits.clear()
        return exchanges

    def _count(self, outcome: Outcome, detail: str = "") -> None:
        with self._lock:
            self._tally[outcome] += 1
            first = self._tally[outcome] == 1
        if first and outcome in _SAID_ONCE:
            why = f"{_SAID_ONCE[outcome]}: {detail}" if detail else _SAID_ONCE[outcome]
            log.warning("not recorded: %s; more of this kind will only be counted", why)


def write_what_comes() -> None:
    """The other process: store what comes through the pipe, until that ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "win32":
        os.nice(10)  # requests come first
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, OSError, pickle.UnpicklingError):  # the process that started this one is gone
        store = CassetteStore(*pickle.load(source))  # noqa: S301 - from that process
        while True:
            learned, recordings = pickle.load(source)  # noqa: S301
            store.learn(learned)
            pickle.dump([_stored(store, *recording) for recording in recordings], answers)
            answers.flush()


def _stored(store: CassetteStore, recording: Recording, label: str, started: float) -> tuple[Outcome, str]:
    try:
        return store.write(recording, label, started), ""
    except OSError as error:
        return "error", error.strerror or type(error).__name__
    except Exception as error:  # its text may quote what was recorded
        return "error", type(error).__name__


def _recording_of(exchange: Exchange) -> Recording:
    plan, head = exchange.plan, exchange.head
    sent = request_headers(Endpoint(RECORDED_HOST), plan, exchange.streaming)
    last = exchange.pieces[-1] if exchange.pieces else None
    cut, cut_ms = (last.cut, last.at_ms) if last and last.cut else (head.cut, head.elapsed_ms)
    return Recording(
        name="",
        method=plan.method,
        path=plan.path,
        request_body=whole(plan.body) if plan.body else None,
        status=head.status,
        headers=dict(head.headers),
        body=b"".join(piece.data for piece in exchange.pieces),
        cuts=tuple((piece.at_ms, len(piece.data)) for piece in exchange.pieces if piece.data),
        request_headers={n: value for n, value in sent.items() if n.lower() in _KEPT_REQUEST_HEADERS},
        head_ms=head.elapsed_ms if head.status else None,
        cut=cut,
        cut_ms=cut_ms if cut else 0,
    )


def _size(exchange: Exchange) -> int:
    return _OVERHEAD + _body_size(exchange.plan) + sum(len(piece.data) for piece in exchange.pieces)


def _body_size(plan: PlanLike) -> int:
    return len(plan.body.data) + sum(map(len, plan.body.rest)) if plan.body else 0
