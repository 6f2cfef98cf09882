"""translate.models, for any reply."""

import copy

from hypothesis import example, given
from hypothesis import strategies as st

from routing.config import Key
from routing.listing import Answer, merge
from tests import strategies as some
from tests.property.judgement import same, wire
from translate import models
from translate.errors import http_status
from translate.plan import Call, Failure, Plan
from transports.base import Reply

LISTED = Call("list_models")

_ROWS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["org/name", "/models/x", ""]) | some.json_values,
        "max_model_len": some.json_values,
        "root": some.json_values,
        "x_vendor": some.finite_values,
    },
)
_BODIES = st.one_of(
    some.bodies(),
    st.builds(
        lambda rows: some.dumped({"object": "list", "data": rows}),
        st.lists(_ROWS | some.json_values, max_size=3),
    ),
    st.lists(_ROWS, max_size=3).map(some.dumped),
)
_REPLIES = st.builds(
    Reply, some.statuses, st.sampled_from(some.HEADERS), _BODIES, st.integers(0, 9), some.cuts
)


@given(some.json_objects, _REPLIES, st.booleans())
@example({}, Reply(200, {}, b'{"data":[{"id":null},{"id":[]}]}'), False)
def test_any_reply_is_a_list_or_a_well_formed_failure_purely(
    request: dict[str, object], reply: Reply, raw: bool
) -> None:
    call = Call("list_models", raw_response=raw)
    before = copy.deepcopy(request)
    outcome = models.parse(request, reply, 7, call)
    assert same(request, before)
    assert repr(models.parse(request, reply, 7, call)) == repr(outcome)
    if isinstance(outcome, Failure):
        assert outcome.error["error"]["message"].strip()
        assert 400 <= http_status(outcome.error) <= 599
        wire(outcome.error)
        return
    assert (reply.status, reply.cut) == (200, None)
    for row in wire(outcome)["data"]:
        name = row.get("id")
        assert name != "vllm/None"
        assert not isinstance(name, str) or name.startswith("vllm/")
    for row in wire(merge([Answer(Key("k", "k", models=("*",)), outcome)]).page())["data"]:
        assert row["id"].startswith("vllm/")


@given(st.sampled_from([body for body in some.ERROR_BODIES if body != b"[]"]))
def test_an_error_inside_http_200_is_never_a_list(body: bytes) -> None:
    assert isinstance(models.parse({}, Reply(200, {}, body), 0, LISTED), Failure)


@given(some.json_objects)
def test_listing_asks_one_thing_whatever_the_request(request: dict[str, object]) -> None:
    assert models.plan(request, LISTED) == Plan("GET", "/v1/models", None)
