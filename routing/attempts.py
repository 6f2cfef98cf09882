"""Which key is tried when, and when to give up: the course of one request as a state machine.

``first`` says what to try; after a failure, ``after`` says what to try next.
Both give a ``Try``, or ``GiveUp`` with the error for the client. ``first`` is
``opening``, which is the same for equal requests as long as the configuration
is, and then ``begin``. In between,
whoever sends the requests waits and sends; nothing here does.

A request goes to its own model first and then to its fallbacks. With each it
has a budget of ``1 + max_retries`` tries. A failure that rules its key out (a
rejected credential, an exhausted quota, a model that is not there) is paid
back, since another key is no repetition; each key can be ruled out once, so
this ends. The rules are Bifrost's
(https://docs.getbifrost.ai/features/retries-and-fallbacks); where ours differ,
it is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from . import keys, refusals, selection
from .failures import OF_THE_MODEL, PERMANENT, Failed, FailureClass, classify, ends_the_chain, reason
from .fallbacks import PROVIDER, Fallback
from .fleet import Fleet, Share
from .keys import NO_PIN, Pin, Refusal
from .model_names import Alias
from .settings import Config, Key, Retries

_LOWEST_JITTER: Final = 0.8
_JITTER_SPAN: Final = 0.4
_MOST_DOUBLINGS: Final = 62
_PASSING: Final = frozenset({"rate_limit", "transient"})


class Moment(NamedTuple):
    """What a decision needs from outside: the time, and two draws from 0 up to but not 1."""

    now_s: float
    chance: float = 0.0
    jitter: float = 0.5


class Ask(NamedTuple):
    """What a client wants. ``session`` keeps its requests with one key, as long as that can be used."""

    provider: str
    model: str
    pin: Pin = NO_PIN
    session: str = ""
    fallbacks: tuple[Fallback, ...] = ()


class Attempted(NamedTuple):
    """A try that failed, for logs and metrics; ``rotated``: the next one used another key."""

    key_id: str
    key_name: str
    model: str
    fallback_index: int
    failure_class: FailureClass
    reason: str
    status: int | None
    retry_after_s: float | None
    rotated: bool = False


class Course(NamedTuple):
    """How far a request has come; only this module looks inside.

    ``position`` is 0 for the request's own model and counts its fallbacks from 1;
    ``pool``, ``used``, ``tries`` and ``retries`` belong to that one. ``dead``
    holds the ids of keys that are out, ``dead_models`` those that are out for
    one model.
    """

    config: Config
    ask: Ask
    target: Fallback
    position: int = 0
    pool: tuple[Key, ...] = ()
    used: frozenset[str] = frozenset()
    tries: int = 0
    retries: int = 0
    dead: frozenset[str] = frozenset()
    dead_models: frozenset[tuple[str, str]] = frozenset()
    model_error: "GiveUp | None" = None
    of_primary: "GiveUp | None" = None
    trail: tuple[Attempted, ...] = ()

    def at(self, position: int) -> "Course":
        """The same course at a fallback, counted from 1."""
        return self._replace(position=position, target=self.ask.fallbacks[position - 1])

    def opened(self, pool: tuple[Key, ...]) -> "Course":
        """The same course with nothing done yet at its target."""
        config, ask, target, position, *_ = self
        return Course(
            config, ask, target, position, pool,
            dead=self.dead, dead_models=self.dead_models, of_primary=self.of_primary, trail=self.trail,
        )  # fmt: skip

    @property
    def in_session(self) -> bool:
        """Bifrost keeps only the request's own model with the key of its session."""
        return bool(self.ask.session) and not self.position

    @property
    def alive(self) -> tuple[Key, ...]:
        if not self.dead and not self.dead_models:
            return self.pool
        model = self.target.model
        return tuple(
            key for key in self.pool if key.id not in self.dead and (key.id, model) not in self.dead_models
        )


class Try(NamedTuple):
    """Send the request to ``key`` after ``wait_s``, asking for ``model``; ``params`` go over its own.

    ``reason`` is why this key, where the load decided; ``shares`` is for
    ``Fleet.started``.
    """

    key: Key
    model: str
    alias: Alias | None
    wait_s: float
    course: Course
    reason: str = ""
    shares: tuple[Share, ...] = ()

    def __repr__(self) -> str:
        return f"Try({self.key.name!r}, {self.model!r}, wait_s={self.wait_s})"

    @property
    def fallback_index(self) -> int:
        """0 for the request's own model; its fallbacks count from 1."""
        return self.course.position

    @property
    def counts(self) -> bool:
        """Whether ``Fleet`` is to be told of it."""
        return self.course.config.selection.counts

    @property
    def asked_model(self) -> str:
        """The model before its alias is resolved."""
        return self.course.target.model

    @property
    def params(self) -> Mapping[str, object]:
        """The parameters that come with a fallback."""
        return self.course.target.params

    @property
    def original_model(self) -> str | None:
        """The model that the client named, when another one is asked for."""
        original = self.course.ask.model
        return None if original == self.model else original

    def applied(self, request: Mapping[str, object]) -> dict[str, object]:
        """``request``, a Bifrost request, as this try wants it sent."""
        sent = {**request, "provider": PROVIDER, "model": self.model}
        if self.params:
            own = request.get("params")
            sent["params"] = {**(own if isinstance(own, Mapping) else {}), **self.params}
        return sent

    @property
    def trail(self) -> tuple[Attempted, ...]:
        """What failed up to now."""
        return self.course.trail

    @property
    def routing_info(self) -> dict[str, object]:
        """What ``extra_fields.routing_info`` says beside provider and model."""
        info: dict[str, object] = {"key": self.key.name}
        if self.alias is not None:
            info |= {"model": self.asked_model, "resolved_key_alias": self.alias.described()}
        if self.fallback_index:
            info |= {
                "is_fallback": True,
                "primary_provider": PROVIDER,
                "primary_model": self.course.ask.model,
            }
        if self.reason:
            info |= {"strategy": self.course.config.selection.strategy, "reason": self.reason}
        return info


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The request failed with ``error``.

    ``tried``: the try that ended with it, ``None`` when no server was asked.
    ``own``: the error was made here and says nothing yet about the request.
    """

    error: Mapping[str, object] = field(repr=False)
    tried: Try | None = None
    own: bool = False
    trail: tuple[Attempted, ...] = ()


class Opening(NamedTuple):
    """Where a request begins: among which keys, or why nowhere.

    ``only`` is the one thing to try first, where the load has no say.
    """

    course: Course | GiveUp
    only: Try | None = None


def opening(config: Config, ask: Ask) -> Opening:
    """What is certain of a request. One without a model is refused, whatever its fallbacks."""
    if not ask.model:
        ask = ask._replace(fallbacks=())
    course = _opened_up(Course(config, ask, Fallback(ask.provider, ask.model)))
    if isinstance(course, GiveUp) or len(course.alive) > 1 or config.selection.strategy == "round_robin":
        return Opening(course)
    return Opening(course, _picked(course, course.alive, Fleet(), Moment(0.0)))


def begin(opening: Opening, fleet: Fleet, moment: Moment) -> Try | GiveUp:
    """What to try first."""
    course, only = opening
    if only is not None:
        return only
    if isinstance(course, GiveUp):
        return course
    return _picked(course, course.alive, fleet, moment)


def first(config: Config, ask: Ask, fleet: Fleet, moment: Moment) -> Try | GiveUp:
    """What to try first, all in one."""
    return begin(opening(config, ask), fleet, moment)


def after(tried: Try, failed: Failed, fleet: Fleet, moment: Moment) -> Try | GiveUp:
    """What to try after ``tried`` ended with ``failed``."""
    failure_class = classify(failed)
    course = _noted(tried, failed, failure_class)
    said = GiveUp(failed.error, tried, trail=course.trail)
    if failed.begun or failure_class == "cancelled":
        return said
    if failure_class in PERMANENT:
        return _without(course, tried.key, failure_class, said, fleet, moment)
    if failure_class in _PASSING and course.retries < course.config.retries.max_retries:
        return _again(course, tried, failed, failure_class, fleet, moment)
    if not course.position and ends_the_chain(failed):
        return said
    return _next_target(course, said, fleet, moment)


def wait_to_repeat_s(retries: Retries, number: int, failed: Failed, jitter: float) -> float | None:
    """How long to wait before retry ``number``, from 1, of a request that only this one server can answer.

    ``None``: no retry, since it would fare no better or there were enough.
    ``jitter`` is a draw from 0 up to but not 1.
    """
    if number > retries.max_retries or classify(failed) not in _PASSING:
        return None
    return _polite_s(backoff_s(retries, number, jitter), failed, retries)


def backoff_s(retries: Retries, number: int, jitter: float) -> float:
    """The wait before retry ``number``, from 1; ``jitter`` is a draw from 0 up to but not 1."""
    grown = retries.backoff_initial_s * float(2 ** min(number - 1, _MOST_DOUBLINGS))
    jittered = min(grown, retries.backoff_max_s) * (_LOWEST_JITTER + _JITTER_SPAN * jitter)
    return min(jittered, retries.backoff_max_s)


def _polite_s(wait_s: float, failed: Failed, retries: Retries) -> float:
    """The wait that the server asked for, if that is longer and not too long."""
    return max(wait_s, min(failed.retry_after_s or 0.0, retries.backoff_max_s))


def _noted(tried: Try, failed: Failed, failure_class: FailureClass) -> Course:
    attempted = Attempted(
        tried.key.id,
        tried.key.name,
        tried.asked_model,
        tried.fallback_index,
        failure_class,
        reason(failed, failure_class),
        failed.status,
        failed.retry_after_s,
    )
    return tried.course._replace(tries=tried.course.tries + 1, trail=(*tried.trail, attempted))


def _begun(course: Course, fleet: Fleet, moment: Moment) -> Try | GiveUp:
    """The first try where the course stands or, when there is nobody to ask, further on."""
    opened = _opened_up(course)
    return opened if isinstance(opened, GiveUp) else _picked(opened, opened.alive, fleet, moment)


def _opened_up(course: Course) -> Course | GiveUp:
    """The course where it stands or, when there is nobody to ask, further on."""
    while True:
        opened = _opened(course)
        if isinstance(opened, Course):
            return opened
        of_primary = course.of_primary or opened
        if course.position >= len(course.ask.fallbacks):
            return replace(of_primary, trail=course.trail)
        course = course._replace(of_primary=of_primary).at(course.position + 1)


def _opened(course: Course) -> Course | GiveUp:
    target = course.target
    pin = NO_PIN if course.position else course.ask.pin
    found = keys.candidates(course.config, target.provider, target.model, pin)
    if isinstance(found, Refusal):
        error = refusals.no_url() if found.reason == "no_url" else refusals.unroutable(found.message)
        return GiveUp(error, own=True)
    course = course.opened(found)
    # Ours: a key that was turned away is not asked again for a fallback.
    return course if course.alive else GiveUp(refusals.credentials_exhausted(), own=True)


def _next_target(course: Course, said: GiveUp, fleet: Fleet, moment: Moment) -> Try | GiveUp:
    """The next fallback; when there is none, what the request's own model ended with."""
    of_primary = course.of_primary or said
    if course.position >= len(course.ask.fallbacks):
        return replace(of_primary, trail=course.trail)
    return _begun(course._replace(of_primary=of_primary).at(course.position + 1), fleet, moment)


def _without(
    course: Course, key: Key, failure_class: FailureClass, said: GiveUp, fleet: Fleet, moment: Moment
) -> Try | GiveUp:
    """On with another key, at once; this one is out."""
    if failure_class in OF_THE_MODEL:
        dead_models = course.dead_models | {(key.id, course.target.model)}
        course = course._replace(dead_models=dead_models, model_error=said)
    else:
        course = course._replace(dead=course.dead | {key.id})
    if course.alive:
        return _picked(_rotated(course), _unused(course), fleet, moment)
    if course.model_error is not None:  # what the client can do something about
        said = course.model_error
    elif course.tries <= course.config.retries.max_retries:
        said = GiveUp(refusals.credentials_exhausted(), said.tried, own=True)
    return _next_target(course, said, fleet, moment)


def _again(
    course: Course, tried: Try, failed: Failed, failure_class: FailureClass, fleet: Fleet, moment: Moment
) -> Try:
    """Once more, with another key where that promises more."""
    course = course._replace(retries=course.retries + 1)
    limits = course.config.retries
    wait_s = backoff_s(limits, course.retries, moment.jitter)
    polite_s = _polite_s(wait_s, failed, limits)
    rotates = course.config.selection.rotates or (failure_class == "rate_limit" and not course.in_session)
    if not rotates or len(course.alive) == 1:
        reason = "the same key again" if tried.reason else ""
        return tried._replace(course=course, wait_s=polite_s, reason=reason, shares=())
    course = course._replace(used=course.used | {tried.key.id})
    if all(key.id in course.used for key in course.alive):  # everybody had a turn: a new round
        course = course._replace(used=frozenset())
    picked = _picked(course, _unused(course), fleet, moment)
    if picked.key.id == tried.key.id:
        return picked._replace(wait_s=polite_s)
    if failure_class == "transient" and picked.key.url != tried.key.url:
        wait_s = 0.0  # the other server has nothing to recover from
    return picked._replace(wait_s=wait_s, course=_rotated(course))


def _unused(course: Course) -> tuple[Key, ...]:
    return tuple(key for key in course.alive if key.id not in course.used) or course.alive


def _rotated(course: Course) -> Course:
    return course._replace(trail=(*course.trail[:-1], course.trail[-1]._replace(rotated=True)))


def _picked(course: Course, pool: tuple[Key, ...], fleet: Fleet, moment: Moment) -> Try:
    model = course.target.model
    if course.in_session:
        picked = selection.for_session(pool, model, course.ask.session, fleet, moment.now_s)
    else:
        picked = selection.pick(pool, model, course.config.selection, fleet, moment.chance, moment.now_s)
    choice = keys.chosen(picked.key, model)
    return Try(choice.key, choice.model, choice.alias, 0.0, course, picked.reason, picked.shares)
