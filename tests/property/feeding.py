"""How property tests feed a fold, and what they compare of what it says."""

from collections.abc import Iterable, Sequence

from tests.property.judgement import wire
from translate.fold import Fold
from translate.plan import Chunk, Failure
from transports.base import Cut


def fed(fold: Fold, pieces: Iterable[bytes], cut: Cut | None, late: bytes) -> list[Chunk | Failure]:
    """All events of a stream. Whatever comes after the end, ``late`` too, must be silence."""
    out: list[Chunk | Failure] = []
    for at_ms, piece in enumerate(pieces):
        ended = fold.ended
        events = fold.feed(piece, at_ms)
        assert not (ended and events)
        out += events
    ended = fold.ended
    last = fold.close(99, cut)
    assert not (ended and last)
    assert fold.ended
    assert not fold.feed(late, 100)
    assert not fold.close(101, None)
    return [*out, *last]


def plainly(events: Sequence[Chunk | Failure]) -> list[object]:
    """Events as JSON, without what depends on the clock."""
    out: list[object] = []
    for event in events:
        document = wire(event.error if isinstance(event, Failure) else event.data)
        document["extra_fields"].pop("latency", None)
        out.append((document, isinstance(event, Chunk) and event.final))
    return out
