"""What is remembered of the keys from request to request, as a value.

Nothing here has a clock: ``now_s`` is any clock that only goes forward, the
same for all calls. Every change gives a new value.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from .failures import Failed, classify
from .settings import Key, Selection

_LONGEST_REST_S: Final = 86_400.0  # whatever a server says; also the longest cooldown_seconds
_MOST_RESTS: Final = 1_000
_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_COOLS_THE_KEY: Final = frozenset({"credential"})
_COOLS_THE_MODEL: Final = frozenset({"quota"})


class Rest(NamedTuple):
    """A key that is to be left alone, for one model or, with an empty one, for all."""

    key_id: str
    model: str = ""


_NO_RESTS: Final[Mapping[Rest, float]] = MappingProxyType({})


class Share(NamedTuple):
    """The weight with which a key took part in a round of ``round_robin``."""

    key_id: str
    weight: int


class Fleet(NamedTuple):
    """The keys as one gateway process has come to know them, by their ids.

    ``in_flight`` and ``served`` count requests; ``turns`` and ``streak`` are
    the memory of ``round_robin``; ``resting`` says until when a key is to be
    left alone.
    """

    in_flight: Mapping[str, int] = _NONE
    served: Mapping[str, int] = _NONE
    turns: Mapping[str, int] = _NONE
    streak: tuple[str, int] = ("", 0)
    resting: Mapping[Rest, float] = _NO_RESTS

    def rests(self, key: Key, model: str, now_s: float) -> bool:
        """Whether ``key`` is to be left alone for ``model``, as long as there is another."""
        if not self.resting:
            return False
        return any(self.resting.get(rest, now_s) > now_s for rest in (Rest(key.id), Rest(key.id, model)))

    def started(self, key: Key, shares: Sequence[Share] = ()) -> "Fleet":
        """A request goes out with ``key``, which was picked by the given shares."""
        return Fleet(
            _plus(self.in_flight, key.id, 1),
            _plus(self.served, key.id, 1),
            _after_round(self.turns, key.id, shares) if shares else self.turns,
            (key.id, self.streak[1] + 1 if self.streak[0] == key.id and not shares else 1),
            self.resting,
        )

    def ended(self, key: Key) -> "Fleet":
        """A request with ``key`` is over, in whatever way; to be told exactly once for every ``started``."""
        return Fleet(_plus(self.in_flight, key.id, -1), self.served, self.turns, self.streak, self.resting)

    def answered(self, key: Key, model: str) -> "Fleet":
        """``key`` proved that it can serve ``model``."""
        if not self.resting:
            return self
        over = {Rest(key.id), Rest(key.id, model)} & self.resting.keys()
        if not over:
            return self
        left = {rest: until for rest, until in self.resting.items() if rest not in over}
        return self._replace(resting=MappingProxyType(left))

    def failed(self, key: Key, model: str, failed: Failed, selection: Selection, now_s: float) -> "Fleet":
        """A request for ``model`` with ``key`` failed.

        A rejected credential makes the key rest for all models, a rate limit
        or an exhausted quota for this one; where failures of the server rotate,
        one that cannot be reached rests, too. The server's own wish says for
        how long, else ``selection``; with a cooldown of zero nothing rests.
        """
        cooldown_s = selection.cooldown_s or 0.0
        rest = _rest(key, model, failed, selection)
        if rest is None or cooldown_s <= 0:
            return self
        until = now_s + min(failed.retry_after_s or cooldown_s, _LONGEST_REST_S)
        resting = {one: end for one, end in self.resting.items() if end > now_s}
        resting[rest] = max(until, resting.get(rest, until))
        if len(resting) > _MOST_RESTS:  # clients name models, so that there may be any number
            del resting[min(resting, key=lambda one: resting[one])]
        streak = ("", 0) if self.streak[0] == key.id else self.streak
        return self._replace(resting=MappingProxyType(resting), streak=streak)


def _rest(key: Key, model: str, failed: Failed, selection: Selection) -> Rest | None:
    failure_class = classify(failed)
    if failure_class in _COOLS_THE_KEY or (failed.unreachable and selection.rotates):
        return Rest(key.id)
    # A text about a rate limit may come from anywhere; for later requests only the status counts.
    if failure_class in _COOLS_THE_MODEL or (failure_class == "rate_limit" and failed.status == 429):
        return Rest(key.id, model)
    return None


def _plus(counts: Mapping[str, int], key_id: str, change: int) -> Mapping[str, int]:
    count = counts.get(key_id, 0) + change
    if count > 0:
        return {**counts, key_id: count}
    return {other: number for other, number in counts.items() if other != key_id}


def _after_round(turns: Mapping[str, int], winner: str, shares: Iterable[Share]) -> Mapping[str, int]:
    """Everybody gains a weight; who was picked pays all of them."""
    after = dict(turns)
    total = 0
    for share in shares:
        after[share.key_id] = after.get(share.key_id, 0) + share.weight
        total += share.weight
    after[winner] = after.get(winner, 0) - total
    return MappingProxyType(after)
