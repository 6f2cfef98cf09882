"""routing.listing, for any configuration and any answers."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from routing.config import Alias, Key, allows
from routing.listing import PREFIX, Answer, Listing, key_statuses, merge, named
from tests import strategies as some
from tests.property.judgement import same, wire

_NAMES = st.sampled_from(["a", "A", "b", "org/c", "/models/d", "é", "", "vllm/a"]) | some.texts
_ROWS = st.lists(
    st.fixed_dictionaries({}, optional={"id": _NAMES.map(PREFIX.__add__), "x_vendor": some.finite_values})
    | st.fixed_dictionaries({"id": some.json_values})
    | some.json_values,
    max_size=5,
)
_EXTRA_FIELDS = st.fixed_dictionaries(
    {}, optional={"latency": st.integers(0, 9) | some.json_values, "raw_response": some.json_values}
)
_MODELS = st.fixed_dictionaries({"data": _ROWS, "extra_fields": _EXTRA_FIELDS}) | some.json_objects


@st.composite
def keys(draw: st.DrawFn) -> Key:
    everything = st.just(("*",))
    names = st.lists(_NAMES, max_size=3).map(tuple)
    return Key(
        draw(some.texts),
        draw(some.texts),
        models=draw(everything | names),
        blacklisted_models=draw(st.just(()) | names | everything),
        aliases=draw(st.dictionaries(_NAMES, _NAMES.map(Alias), max_size=2)),
    )


_ANSWERED = st.builds(Answer, keys(), _MODELS, st.none())
_ANSWERS = st.lists(_ANSWERED | st.builds(Answer, keys(), st.none(), some.json_objects), max_size=4)
_SOME_ANSWERED = st.builds(lambda one, others: [one, *others], _ANSWERED, _ANSWERS)


def names(rows: Sequence[Mapping[str, object]]) -> list[str]:
    return [str(row["id"]) for row in rows]


@given(_SOME_ANSWERED)
def test_any_answers_make_a_sorted_list_without_duplicates_purely(answers: list[Answer]) -> None:
    before = copy.deepcopy([answer[1:] for answer in answers])
    listing = merge(answers)
    assert same([answer[1:] for answer in answers], before)
    assert repr(merge(answers)) == repr(listing)
    found = names(listing.rows)
    assert found == sorted(set(found))
    wire(listing.page())


@given(_SOME_ANSWERED, st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_neither_what_is_listed_nor_how_keys_fared(
    answers: list[Answer], random: Any
) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)
    assert names(merge(shuffled).rows) == names(merge(answers).rows)
    statuses = map(repr, key_statuses(shuffled))
    assert sorted(statuses) == sorted(map(repr, key_statuses(answers)))


@given(_ANSWERED)
def test_nothing_blacklisted_and_nothing_unasked_for_is_listed(answer: Answer) -> None:
    key = answer.key
    for row in merge([answer]).rows:
        name = str(row["id"]).removeprefix(PREFIX)
        assert not allows(key.blacklisted_models, name)
        assert allows(key.models, name) or name in key.aliases


@given(_ANSWERED)
def test_all_that_is_configured_is_listed_unless_blacklisted(answer: Answer) -> None:
    key = answer.key
    found = {name.removeprefix(PREFIX).lower() for name in names(merge([answer]).rows)}
    for name in {*key.models, *key.aliases} - {"*"}:
        assert name.lower() in found or allows(key.blacklisted_models, name)


@given(st.lists(_NAMES, max_size=8), some.finite_values)
def test_a_key_that_allows_all_changes_no_row(served: list[str], extra: object) -> None:
    rows = [{"id": PREFIX + name, "x_vendor": extra} for name in dict.fromkeys(served)]
    listing = merge([Answer(Key("k", "k", models=("*",)), {"data": rows})])
    assert listing.rows == sorted(rows, key=lambda row: str(row["id"]))


def listing_of(served: set[str]) -> Listing:
    return Listing([{"id": PREFIX + name} for name in sorted(served)], (), {})


@given(st.lists(st.sets(_NAMES, max_size=8), min_size=1, max_size=4), st.integers(1, 9))
@example([{"a", "b"}, {"b"}], 1)
def test_pages_show_every_model_that_stays_once_however_the_list_moves(
    moments: list[set[str]], size: int
) -> None:
    """Each page is of another moment; the last moment lasts."""
    shown: list[str] = []
    token = ""
    turn = 0
    while turn == 0 or token:
        page: dict[str, Any] = listing_of(moments[min(turn, len(moments) - 1)]).page(str(size), token)
        token = page.get("next_page_token", "")
        assert len(page["data"]) == size or not token
        shown += [name.removeprefix(PREFIX) for name in names(page["data"])]
        turn += 1
    during = moments[:turn]
    assert shown == sorted(set(shown))
    assert set.intersection(*during) <= set(shown) <= set.union(*during)
    if len(moments) == 1:
        assert shown == sorted(moments[0])


@given(some.texts, some.texts)
def test_any_size_and_any_token_give_a_part_of_the_list(size: str, token: str) -> None:
    listing = listing_of({"a", "b", "c"})
    found = "".join(name[-1] for name in names(listing.page(size, token)["data"]))  # type: ignore[arg-type]
    assert found in "abc"


@given(st.text(alphabet="%25Ff/avlm\u00e9\ud83d", max_size=12))
def test_any_path_names_a_model_or_none(path: str) -> None:
    name = named(f"/v1/models/{path}")
    if "%" not in path:
        assert name == path
