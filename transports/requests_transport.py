"""The transport over requests: blocking, its connections from the session's pool."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any, Final

import requests
from requests.cookies import extract_cookies_to_jar
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.util import Timeout

from .base import (
    DRAIN_BYTES,
    DRAIN_S,
    Cut,
    Endpoint,
    Phase,
    Piece,
    PlanLike,
    Reply,
    Stream,
    Timeouts,
    reply_headers,
    request_headers,
    upload,
)
from .decoding import ContentDecoder, UndecodableError
from .faults import NOT_HTTP, broken_body, causes, phrase, timed_out, too_large, unsendable

_READ_BYTES: Final = 64 * 1024


class RequestsTransport:
    """Sends plans through a ``requests.Session``, which stays the caller's to close.

    The session gives its adapters (pool, TLS, proxies), its headers and its
    cookies. Its hooks are not called, and its credentials, those in ``.netrc``
    included, are not used: ``Authorization`` is the endpoint's alone.
    """

    __slots__ = ("_endpoint", "_session")

    def __init__(self, session: requests.Session, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint

    def send(self, plan: PlanLike) -> Reply:
        """The whole answer. ``total_s`` is watched between reads, not within one."""
        clock, limit, body = _Clock(self._endpoint.timeouts.total_s), self._endpoint.reply_limit, bytearray()
        with self._exchange(plan, clock, streaming=False) as (head, pieces):
            cut = head.cut
            for piece in pieces:
                body += piece.data
                cut = piece.cut
                if len(body) > limit:
                    cut = too_large(limit)
                    break
        return head._replace(body=bytes(body[:limit]), elapsed_ms=clock.ms(), cut=cut)

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        """The answer as it comes. Leaving the context before its end closes the connection."""
        with self._exchange(plan, _Clock(None), streaming=True) as stream:
            yield stream

    @contextmanager
    def _exchange(self, plan: PlanLike, clock: "_Clock", streaming: bool) -> Iterator[Stream]:
        answer = self._open(plan, clock, streaming)
        if isinstance(answer, Cut):
            yield Stream(Reply(0, {}, b"", clock.ms(), answer), iter(()))
            return
        headers = reply_headers(answer.raw.headers.items())
        decoder = ContentDecoder(headers.get("content-encoding", ""))
        pieces = _Pieces(answer, decoder, clock, self._endpoint.timeouts.idle_s)
        try:
            yield Stream(Reply(answer.status_code, headers, b"", clock.ms()), pieces)
        finally:
            pieces.close()

    def _open(self, plan: PlanLike, clock: "_Clock", streaming: bool) -> requests.Response | Cut:
        url, session, limits = self._endpoint.join(plan.path), self._session, self._endpoint.timeouts
        headers = request_headers(self._endpoint, plan, streaming)
        if fault := unsendable(url, headers):
            return fault
        data = upload(plan.body) if plan.body else None
        # None takes away what the session has under that name.
        own: dict[str, str | None] = {"Authorization": None, **headers}
        try:
            request = requests.Request(plan.method, url, headers=own, data=data, auth=_no_auth)
            prepared = session.prepare_request(request)
            options: dict[str, Any] = dict(session.merge_environment_settings(url, {}, True, None, None))
            options["timeout"] = Timeout(clock.total_s, limits.connect_s, limits.first_byte_s)
            # Not session.send(), which reads the body of a redirect even when it does not follow it.
            answer = session.get_adapter(url).send(prepared, **options)
        except (requests.RequestException, HTTPError) as error:
            return _no_head(error, clock, limits)
        extract_cookies_to_jar(session.cookies, prepared, answer.raw)  # type: ignore[no-untyped-call]
        return answer


class _Pieces(Iterator[Piece]):
    """The body of one answer, one piece for each read that brought something."""

    __slots__ = ("_answer", "_clock", "_decoder", "_ended", "_idle_s", "_phase")

    def __init__(
        self, answer: requests.Response, decoder: ContentDecoder, clock: "_Clock", idle_s: float | None
    ) -> None:
        self._answer, self._decoder, self._clock, self._idle_s = answer, decoder, clock, idle_s
        self._phase: Phase = "idle"
        self._ended = False
        _set_timeout(answer, idle_s)

    def __next__(self) -> Piece:
        if self._ended:
            raise StopIteration
        try:
            data = self._decoder.take()
            while not data and (wire := self._read()):
                data = self._decoder.feed(wire)
            if not data:
                self._decoder.close()
        except (TimeoutError, ReadTimeoutError):
            return self._last(
                timed_out(self._phase, self._clock.total_s if self._phase == "total" else self._idle_s)
            )
        except UndecodableError as error:
            return self._last(Cut("read", str(error)))
        except (HTTPError, HTTPException, OSError) as error:
            return self._last(broken_body(error))
        if not data:
            self.close()
            raise StopIteration
        return Piece(data, self._clock.ms())

    def finish(self) -> None:
        """Read what is left, if it is little and comes soon, so that the connection can be used again."""
        deadline, allowance = time.monotonic() + DRAIN_S, DRAIN_BYTES
        with suppress(HTTPError, HTTPException, OSError):
            while allowance > 0 and (left := deadline - time.monotonic()) > 0:
                if not _set_timeout(self._answer, left) or not (wire := self._answer.raw.read1(allowance)):
                    break
                allowance -= len(wire)
        self.close()

    def close(self) -> None:
        """Give the connection back to the pool, or close it when the body is not at its end."""
        self._ended = True
        self._answer.close()

    def _read(self) -> bytes:
        left = self._clock.left()
        if left is not None:
            self._phase = "total" if self._idle_s is None or left < self._idle_s else "idle"
            if left <= 0:
                raise TimeoutError
            _set_timeout(self._answer, left if self._phase == "total" else self._idle_s)
        # Not iter_content() nor iter_lines(): both wait until their buffer is full.
        data: bytes = self._answer.raw.read1(_READ_BYTES)
        return data

    def _last(self, cut: Cut) -> Piece:
        self.close()
        return Piece(b"", self._clock.ms(), cut)


class _Clock:
    """The time of one call."""

    __slots__ = ("_started", "total_s")

    def __init__(self, total_s: float | None) -> None:
        self._started = time.monotonic()
        self.total_s = total_s

    def ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    def left(self) -> float | None:
        return None if self.total_s is None else self._started + self.total_s - time.monotonic()


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """What requests asks for credentials instead of the session, ``.netrc`` and the address."""
    return request


def _set_timeout(answer: requests.Response, seconds: float | None) -> bool:
    """Limit the wait of the next reads; false when the socket is out of reach."""
    sock = getattr(getattr(answer.raw, "connection", None), "sock", None)
    if sock is None:
        # After "Connection: close" the socket belongs to http.client's response alone.
        stream = getattr(getattr(answer.raw, "_original_response", None), "fp", None)
        sock = getattr(getattr(stream, "raw", None), "_sock", None)
    if sock is None:
        return False
    sock.settimeout(seconds)
    return True


def _no_head(error: Exception, clock: _Clock, limits: Timeouts) -> Cut:
    """The cut of an exchange that broke off before the headers were in."""
    chain = list(causes(error))
    late = [
        cause for cause in chain if isinstance(cause, TimeoutError | ConnectTimeoutError | ReadTimeoutError)
    ]
    if late and not any(isinstance(cause, NewConnectionError) for cause in chain):
        left = clock.left()
        if left is not None and left <= 0:
            return timed_out("total", clock.total_s)
        if any(isinstance(cause, ReadTimeoutError) for cause in late):
            # urllib3 says "read" also of a TLS handshake, for which the connect timeout holds.
            if limits.first_byte_s is not None and clock.ms() >= int(limits.first_byte_s * 1000):
                return timed_out("first byte", limits.first_byte_s)
            return timed_out("connect", limits.connect_s)
        if any(isinstance(cause, ConnectTimeoutError) for cause in late):
            return timed_out("connect", limits.connect_s)
        return timed_out("sending", limits.connect_s)
    if any(isinstance(cause, InvalidHeader) for cause in chain):  # two lengths, say
        return Cut("read", NOT_HTTP)
    spoke = any(isinstance(cause, ProtocolError) for cause in chain)
    return Cut("read" if spoke else "connect", phrase(error))
