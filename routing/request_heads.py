"""What the head of a request says to a gateway; the same for all requests that begin alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from . import auth, cors, header_settings, headers
from .headers import Misframed, Unsendable
from .keys import NO_PIN, Pin
from .refusals import ErrorDocument
from .settings import Config

_LENGTH: Final = "content-length"


@dataclass(frozen=True, slots=True, repr=False)
class RequestHead:
    """A head, read; it holds the client's key, and no printed form shows it.

    ``values`` are the first of every name, in lower case; ``pairs`` all, as sent.
    ``misframed``, ``unauthorized`` and ``unmet`` are why the request is not let
    in, where it is not. ``verdict`` is for pages of other origins.
    ``request_id`` is the client's own, if it has one. ``raw_request``,
    ``raw_response`` and ``dry_run`` are what it wants and may have.
    ``recurs``: a head with another ``content-length``, else the same, says the
    same.
    """

    method: str
    pairs: tuple[tuple[str, str], ...]
    values: Mapping[str, str]
    verdict: cors.Verdict
    misframed: Misframed | None
    unauthorized: ErrorDocument | None
    unmet: str
    let_in: bool
    request_id: str
    pin: Pin
    session: str
    raw_request: bool
    raw_response: bool
    dry_run: bool
    recurs: bool
    _beside_key: Mapping[str, str] | Unsendable
    _instead_of_key: Mapping[str, str] | Unsendable

    def upstream(self, request_id: str, key_has_value: bool) -> dict[str, str] | Unsendable:
        """The headers that go to a server besides those of the transport."""
        others = self._beside_key if key_has_value else self._instead_of_key
        return others if isinstance(others, Unsendable) else {"x-request-id": request_id, **others}


def read(
    config: Config, method: str, path: str, version: tuple[int, int], pairs: tuple[tuple[str, str], ...]
) -> RequestHead:
    """What a request with these headers says; ``path`` is without its query, ``version`` that of HTTP."""
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name.lower(), value)
    misframed = headers.misframed(version, pairs)
    verdict = cors.decide(
        config.cors, method, values.get("origin"), values.get("access-control-request-headers")
    )
    unauthorized = auth.refused(config.auth, method, path, pairs)
    unmet = header_settings.unmet(config.required_headers, pairs)
    by_id, by_name = values.get("x-bf-api-key-id", ""), values.get("x-bf-api-key", "")
    configured, rules = config.network.extra_headers, config.header_filter
    beside_key = headers.to_upstream(pairs, configured, True, rules)
    asks_to_replace_it = f"{headers.EXTRA_PREFIX}authorization" in values
    return RequestHead(
        method=method,
        pairs=pairs,
        values=values,
        verdict=verdict,
        misframed=misframed,
        unauthorized=unauthorized,
        unmet=unmet,
        let_in=misframed is None and verdict.status is None and unauthorized is None and not unmet,
        request_id=headers.request_id(values.get("x-request-id", "")),
        pin=Pin(by_id, by_name) if by_id or by_name else NO_PIN,
        session=values.get("x-bf-session-id", ""),
        raw_request=_wants(
            config, values.get("x-bf-send-back-raw-request"), configured=config.send_back_raw_request
        ),
        raw_response=_wants(
            config, values.get("x-bf-send-back-raw-response"), configured=config.send_back_raw_response
        ),
        dry_run=headers.flag(values.get("x-bf-dry-run")) or False,
        recurs=not any(
            name.lower() == _LENGTH
            for name in (*config.log.headers, *(required.name for required in config.required_headers))
        ),
        _beside_key=beside_key,
        _instead_of_key=headers.to_upstream(pairs, configured, False, rules)
        if asks_to_replace_it
        else beside_key,
    )


def _wants(config: Config, asked: str | None, configured: bool) -> bool:
    if not config.allow_raw_override:
        return configured
    flag = headers.flag(asked)
    return configured if flag is None else flag
