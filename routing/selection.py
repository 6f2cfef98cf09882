"""Picking one key among several. Chance is a number that is passed in."""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from .fleet import Fleet, Share
from .settings import Key, Selection


class Picked(NamedTuple):
    """A key, and how it came to be picked.

    ``reason`` is for people, and only strategies that look at the load give
    one. ``shares`` is what ``Fleet.started`` must be told.
    """

    key: Key
    reason: str = ""
    shares: tuple[Share, ...] = ()


def rested(keys: Sequence[Key], model: str, fleet: Fleet, now_s: float) -> Sequence[Key]:
    """The keys that need not be left alone; all of them when all would."""
    if not fleet.resting:
        return keys
    return [key for key in keys if not fleet.rests(key, model, now_s)] or keys


def pick(
    keys: Sequence[Key], model: str, selection: Selection, fleet: Fleet, chance: float, now_s: float
) -> Picked:
    """One of ``keys``, of which there is at least one.

    ``chance`` is a number from 0 up to but not 1, drawn uniformly.
    """
    able = rested(keys, model, fleet, now_s)
    match selection.strategy:
        case "round_robin":
            return _round_robin(able, selection.sticky_limit, fleet)
        case "least_used":
            return Picked(min(able, key=lambda key: (_load(key, fleet), fleet.served.get(key.id, 0))))
        case "fill_first":
            return Picked(able[0])
        case "power_of_two_choices":
            return _of_two(able, fleet, chance)
    return Picked(_by_weight(able, chance))


def for_session(keys: Sequence[Key], model: str, session: str, fleet: Fleet, now_s: float) -> Picked:
    """The key of a session: always the same one while the keys are and while it need not be left alone.

    Rendezvous hashing by weight: nothing is remembered, every process and
    every replica of the gateway comes to the same key, and a key that comes or
    goes moves only its share of the sessions
    (https://en.wikipedia.org/wiki/Rendezvous_hashing).
    """
    able = rested(keys, model, fleet, now_s)
    return Picked(max(able, key=lambda key: _attraction(key, session)))


def _attraction(key: Key, session: str) -> tuple[bool, float]:
    words = f"{len(key.id)}:{key.id}:{session}".encode(errors="surrogatepass")
    draw = (int.from_bytes(blake2b(words, digest_size=6).digest()) + 1) / (2**48 + 1)
    return key.weight > 0, -(key.weight or 1.0) / math.log(draw)


def _share(key: Key) -> int:
    """Bifrost's precision: hundredths, cut off."""
    return int(key.weight * 100)


def _by_weight(keys: Sequence[Key], chance: float) -> Key:
    if len(keys) == 1:
        return keys[0]
    shares = [_share(key) for key in keys]
    total = sum(shares)
    if not total:
        return keys[_index(chance, len(keys))]
    drawn = _index(chance, total)
    for key, share in zip(keys, shares, strict=True):
        if drawn < share:
            return key
        drawn -= share
    return keys[-1]


def _index(chance: float, count: int) -> int:
    return min(int(chance * count), count - 1)


def _round_robin(keys: Sequence[Key], sticky_limit: int, fleet: Fleet) -> Picked:
    """Smooth weighted round robin: in proportion over any stretch, and never in bursts."""
    last, times = fleet.streak
    if times < sticky_limit:
        for key in keys:
            if key.id == last:
                return Picked(key)
    shares = [Share(key.id, _share(key)) for key in keys]
    if not any(share.weight for share in shares):
        shares = [Share(key.id, 1) for key in keys]
    taking_part = [(key, share) for key, share in zip(keys, shares, strict=True) if share.weight]
    key, _ = max(taking_part, key=lambda one: fleet.turns.get(one[0].id, 0) + one[1].weight)
    return Picked(key, shares=tuple(share for _, share in taking_part))


def _of_two(keys: Sequence[Key], fleet: Fleet, chance: float) -> Picked:
    """Two different keys at random, and of these the one with less to do for its weight
    (https://www.eecs.harvard.edu/~michaelm/postscripts/mythesis.pdf)."""
    keys = [key for key in keys if key.weight > 0] or keys
    if len(keys) == 1:
        return Picked(keys[0], "the only key")
    others = len(keys) - 1
    first, second = divmod(_index(chance, len(keys) * others), others)
    one, other = keys[first], keys[second + (second >= first)]
    better, worse = (one, other) if _burden(one, fleet) <= _burden(other, fleet) else (other, one)
    counts = [f"{_load(key, fleet)} with {key.name}" for key in (better, worse)]
    return Picked(better, f"requests in flight: {', '.join(counts)}")


def _burden(key: Key, fleet: Fleet) -> float:
    return (_load(key, fleet) + 1) / (key.weight or 1.0)


def _load(key: Key, fleet: Fleet) -> int:
    return fleet.in_flight.get(key.id, 0)
