"""The models of all keys as one list: what each key shows, merged, sorted and cut into pages.

The rules are Bifrost's
(https://github.com/maximhq/bifrost/blob/main/core/providers/utils/models.go). A
key shows the models of its server that it allows, under their own names, and
its aliases, allowed or not. What it allows by name is shown even when its
server does not list it, since servers load models later or list only some.
A blacklist wins over everything, and case never matters. ``model_name``
chooses keys and hides nothing.
"""

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import unquote

from .config import ANY_MODEL, Key

Document = Mapping[str, object]

PREFIX: Final = "vllm/"
"""What every model's name begins with."""

_LONGEST_NUMBER: Final = 18  # digits of a page size
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_WORD: Final = re.compile(r"[^\W_]+")


class Answer(NamedTuple):
    """What came of asking one key: the document of its server's models, or that of an error.

    The names in ``models`` have their prefix. ``error`` is shown as it is.
    """

    key: Key
    models: Document | None = None
    error: object = None


@dataclass(frozen=True, slots=True)
class Listing:
    """All that is known after every key has answered or failed.

    No two of ``rows`` have the same ``id``, and they are sorted by it.
    """

    rows: Sequence[Document]
    key_statuses: Sequence[Document]
    extra_fields: Document

    def page(self, size: str = "", token: str = "") -> dict[str, object]:
        """The answer to a client, from the model after the one that ``token`` remembers.

        A ``size`` that is no whole number above zero means the whole list, and
        a ``token`` that none of our answers held means the start. Following
        ``next_page_token`` shows every model once; when models come and go
        meanwhile, every model that stays.
        """
        most = _whole_number(size)
        rows, next_token = self.rows, ""
        if most:
            start = self._start(token)
            rows = self.rows[start : start + most]
            if start + most < len(self.rows):
                next_token = _token(start + most, _name(rows[-1]))
        document: dict[str, object] = {"data": rows, "key_statuses": self.key_statuses}
        if next_token:
            document["next_page_token"] = next_token
        return document | {"extra_fields": self.extra_fields}

    def model(self, name: str, provider: str = "") -> dict[str, object] | None:
        """The answer to a client that asks for one model, if it is listed.

        Who names the provider may leave out the prefix; so may who does not,
        as there is no other one.
        """
        whole = PREFIX + name
        candidates = (whole, name) if provider else (name,) if name.startswith(PREFIX) else (whole,)
        for candidate in candidates:
            place = bisect_right(self.rows, candidate, key=_name) - 1
            if place >= 0 and self.rows[place]["id"] == candidate:
                return {**self.rows[place], "extra_fields": self.extra_fields}
        return None

    def _start(self, token: str) -> int:
        offset, last = _cursor(token)
        return bisect_right(self.rows, last, key=_name) if last else offset


def merge(answers: Sequence[Answer]) -> Listing:
    """One list out of those that the keys gave; of models with the same name the first key's is kept.

    What a server lists goes before what is only configured. At least one key
    must have answered. ``latency`` is that of the slowest answer, and
    ``raw_response``, where it was wanted, a list.
    """
    given = [(answer.key, answer.models) for answer in answers if answer.models is not None]
    seen = [shown(key, _rows(models)) for key, models in given]
    rows: dict[str, Document] = {}
    for row in chain.from_iterable([*(listed for listed, _ in seen), *(added for _, added in seen)]):
        rows.setdefault(_name(row), row)
    fields = [_fields(models) for _, models in given]
    extra_fields = {**fields[0], "latency": max(_latency(each) for each in fields)}
    if any("raw_response" in each for each in fields):
        extra_fields["raw_response"] = [each.get("raw_response") for each in fields]
    return Listing([rows[name] for name in sorted(rows)], key_statuses(answers), extra_fields)


def key_statuses(answers: Iterable[Answer]) -> list[dict[str, object]]:
    """How each key fared."""
    statuses: list[dict[str, object]] = []
    for answer in answers:
        failed = answer.models is None
        status: dict[str, object] = {
            "key_id": answer.key.id,
            "provider": PREFIX.removesuffix("/"),
            "status": "list_models_failed" if failed else "success",
        }
        statuses.append(status | {"error": answer.error} if failed else status)
    return statuses


def shown(key: Key, rows: Iterable[Document]) -> tuple[list[Document], list[Document]]:
    """What ``key`` shows: of what its server lists, and what is only configured.

    Aliases come first, because a request for a name that is an alias and a
    model's goes to the alias.
    """
    listed: list[Document] = []
    added: list[Document] = []
    if ANY_MODEL in key.blacklisted_models:
        return listed, added
    denied = {name.lower() for name in key.blacklisted_models}
    allowed = {name.lower() for name in key.models}
    served = [(_short(row), row) for row in rows]
    first = dict(reversed(served))
    for name, alias in key.aliases.items():
        if name.lower() not in denied:
            row = first.get(alias.model_id.lower())
            named = {"id": PREFIX + name, "alias": alias.model_id}
            if row is None:
                added.append({**named, "name": _display_name(name)})
            else:
                listed.append({**row, **named})
    listed += [
        row for name, row in served if name not in denied and (name in allowed or ANY_MODEL in allowed)
    ]
    known = denied.union(first, (name.lower() for name in key.aliases), (ANY_MODEL,))
    added += [
        {"id": PREFIX + name, "name": _display_name(name)} for name in key.models if name.lower() not in known
    ]
    return listed, added


def named(raw_path: str) -> str | None:
    """The model that the path ``.../models/NAME`` names, percent-decoded once; ``None`` if that fails."""
    encoded = raw_path.partition("/models/")[2]
    if _BAD_ESCAPE.search(encoded):
        return None
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None


def _rows(models: Document) -> Iterator[Document]:
    """The models that have a name; nobody could ask for the others."""
    rows = models.get("data")
    for row in rows if isinstance(rows, list | tuple) else ():
        if isinstance(row, Mapping) and isinstance(row.get("id"), str):
            yield row


def _fields(models: Document) -> Document:
    fields = models.get("extra_fields")
    return fields if isinstance(fields, Mapping) else {}


def _latency(fields: Document) -> int:
    latency = fields.get("latency")
    return latency if isinstance(latency, int) else 0


def _name(row: Document) -> str:
    return str(row["id"])


def _short(row: Document) -> str:
    return _name(row).removeprefix(PREFIX).lower()


def _display_name(name: str) -> str:
    spaced = re.sub(r"[-_]+", " ", name).strip()
    return _WORD.sub(lambda word: word[0].capitalize(), spaced)


def _whole_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else 0


def _token(offset: int, last: str) -> str:
    cursor = json.dumps({"o": offset, "l": last}, separators=(",", ":"))
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def _cursor(token: str) -> tuple[int, str]:
    """Offset and last name that a token holds; those of the start when it holds none."""
    try:
        cursor = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        return 0, ""
    offset, last = (cursor.get("o"), cursor.get("l", "")) if isinstance(cursor, dict) else (0, "")
    if type(offset) is not int or offset < 0 or not isinstance(last, str):
        return 0, ""
    return offset, last
