"""The questions that are put to vLLM as text completions.

They go to the server of the chat model. How a text goes on is in ``dialogues``:
one that is changed here has to be learnt there.
"""

from typing import Final

from translate.completions import PATH
from translate.plan import Body, Plan

from .dialogues import CAT, CODE, COUNT, FRANCE, MIXED, SCRIPTS, STORY
from .scenarios import Expected, Forms, FromClient, Scenario, ToServer, refused
from .server import CHAT, EMBED

JSON: Final = "application/json"
PLAIN: Final[Forms] = ("text_completion",)
STREAMED: Final[Forms] = ("text_completion_stream",)
BOTH: Final = PLAIN + STREAMED
FRANCE_IDS: Final = (340, 404, 306, 440, 329)
COUNT_IDS: Final = (19, 14, 382, 14, 483, 14)


def client(prompt: object, **parameters: object) -> FromClient:
    """A client's request, at temperature 0 unless it says otherwise."""
    return FromClient({"model": f"vllm/{CHAT.name}", "prompt": prompt, "temperature": 0} | parameters)


def server(**fields: object) -> ToServer:
    """A body for the server itself."""
    return ToServer({"model": CHAT.name} | fields)


ANSWERS: Final = (
    Scenario("capital", client(FRANCE), Expected(finish="stop", said=" Paris."), BOTH),
    Scenario(
        "story",
        client(STORY, max_tokens=60),
        Expected(finish="stop", said="small model.\nIt knew a few things by heart.\n\nThe end."),
        BOTH,
    ),
    Scenario("code", client(CODE, max_tokens=24), Expected(finish="stop", said="\n    return a + b\n"), BOTH),
    Scenario(
        "mixed_scripts",
        client(SCRIPTS, max_tokens=90),
        Expected(finish="stop", said=MIXED.removesuffix("!")),
        BOTH,
    ),
    Scenario("one_of_several", client([FRANCE], max_tokens=9), Expected(finish="stop", said=" Paris."), BOTH),
    Scenario(
        "two_prompts",
        client([FRANCE, COUNT], max_tokens=8),
        Expected(said=" Paris.", body='"finish_reason":"length"'),
        BOTH,
    ),
    Scenario("token_ids", client(FRANCE_IDS), Expected(finish="stop", said=" Paris."), BOTH),
    Scenario(
        "token_ids_of_two",
        client([FRANCE_IDS, COUNT_IDS], max_tokens=8),
        Expected(said=" Paris.", body='"finish_reason":"length"'),
        BOTH,
    ),
    Scenario(
        "two_choices",
        client(CAT, n=2, seed=5, temperature=1.0),
        Expected(finish="stop", said=".", body='"index":1'),
        BOTH,
    ),
    Scenario(
        "two_prompts_two_choices",
        client([CAT, FRANCE], n=2, seed=5, temperature=0.7),
        Expected(finish="stop", said=" Paris.", body='"index":3'),
        BOTH,
    ),
)

CUT_SHORT: Final = (
    Scenario("cut_short", client(STORY, max_tokens=4), Expected(finish="length", said=" there was"), BOTH),
    Scenario("cut_at_once", client(STORY, max_tokens=1), Expected(finish="length"), BOTH),
    Scenario(
        "cut_by_default",  # after 16 tokens
        client(STORY),
        Expected(finish="length", body='"completion_tokens":16'),
        BOTH,
    ),
    Scenario(
        "stop_string",
        client(COUNT, stop=["7", "never"]),
        Expected(finish="stop", said=" 4, 5, 6, ", body='"stop_reason":"7"'),
        BOTH,
    ),
    Scenario(
        "stop_string_kept",
        client(COUNT, stop="7", include_stop_str_in_output=True),
        Expected(finish="stop", said=" 4, 5, 6, 7", body='"stop_reason":"7"'),
        BOTH,
    ),
)

EXTRAS: Final = (
    Scenario("echo", client(FRANCE, echo=True), Expected(finish="stop", said=f"{FRANCE} Paris."), BOTH),
    Scenario(
        "echo_of_two",
        client([FRANCE, COUNT], echo=True, max_tokens=4),
        Expected(said=f"{FRANCE} Paris."),
        BOTH,
    ),
    Scenario(
        "echo_alone",
        client(FRANCE, echo=True, max_tokens=0),
        Expected(finish="length", said=FRANCE),
        BOTH,
    ),
    Scenario(
        "echo_with_logprobs",
        client(FRANCE, echo=True, logprobs=2),
        Expected(finish="stop", said=f"{FRANCE} Paris.", body='"token_logprobs":[null,'),
        BOTH,
    ),
    Scenario(
        "logprobs",
        client(FRANCE, logprobs=3),
        Expected(finish="stop", said=" Paris.", body='"top_logprobs":[{'),
        BOTH,
    ),
    Scenario(
        "logprobs_of_bytes",  # a token that is part of a letter
        client(SCRIPTS, logprobs=0, max_tokens=10),
        Expected(finish="length", said="🚀", body='"text_offset":['),
        BOTH,
    ),
    Scenario(
        "prompt_logprobs", client(FRANCE, prompt_logprobs=1), Expected(said=" Paris.", body='"rank":1'), PLAIN
    ),
    Scenario(
        "sampling",
        client(
            CAT,
            temperature=0.7,
            top_p=0.9,
            top_k=20,
            min_p=0.05,
            repetition_penalty=1.05,
            presence_penalty=0.1,
            frequency_penalty=0.1,
            seed=42,
            min_tokens=2,
            logit_bias={"3": 0.5},
            max_tokens=12,
            user="ada",
        ),
        Expected(said=" "),
        BOTH,
    ),
    Scenario("best_of", client(FRANCE, best_of=2), Expected(finish="stop", said=" Paris."), PLAIN),
    Scenario(
        "beams", client(CAT, use_beam_search=True, n=2), Expected(finish="stop", body='"index":1'), PLAIN
    ),
    Scenario(
        "structured_choice",
        client(FRANCE, structured_outputs={"choice": [" Rome", " Paris"]}),
        Expected(finish="stop", said=" Paris"),
        BOTH,
    ),
    Scenario(
        "guided_choice",
        client(FRANCE, guided_choice=[" Rome", " Paris"], seed=1),
        Expected(finish="stop", said=" Paris"),
        BOTH,
    ),
    Scenario(
        "returned_token_ids",
        client(FRANCE, return_token_ids=True),
        Expected(finish="stop", body='"prompt_token_ids":['),
        BOTH,
    ),
    Scenario(
        "usage_on_every_chunk",
        client(FRANCE, stream_options={"include_usage": True, "continuous_usage_stats": True}, stream=True),
        Expected(finish="stop", said=" Paris.", body='"completion_tokens":1}'),
        STREAMED,
    ),
    Scenario(
        "several_tokens_a_chunk",
        client(STORY, stream_interval=5, max_tokens=60),
        Expected(finish="stop", said="The end."),
        STREAMED,
    ),
)

UNUSABLE: Final = client(
    FRANCE,
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "odd", "schema": {"type": "nothing"}},
    },
)

REFUSALS: Final = (
    Scenario(
        "unknown_model",
        FromClient({"model": "vllm/tiny/nothing", "prompt": FRANCE}),
        refused("does not exist", 404),
        BOTH,
    ),
    Scenario("temperature_too_high", client(FRANCE, temperature=3), refused("must be in [0, 2]"), BOTH),
    Scenario("suffix", client(CODE, suffix="\n"), refused("FIM completion"), BOTH),
    Scenario("choices_without_chance", client(CAT, n=2), refused("greedy sampling"), PLAIN),
    Scenario("max_tokens_too_many", client(FRANCE, max_tokens=5000), refused("cannot be greater"), PLAIN),
    Scenario("max_tokens_zero", client(FRANCE, max_tokens=0), refused("must be at least 1"), PLAIN),
    Scenario("logprobs_too_many", client(FRANCE, logprobs=100), refused("max allowed: 20"), PLAIN),
    Scenario("prompt_too_long", client("the sea " * 600), refused("maximum context length"), BOTH),
    Scenario("token_unknown", client([999_999]), refused("out of vocabulary"), PLAIN),
    Scenario("prompt_embeds", client(FRANCE, prompt_embeds="AA=="), refused("--enable-prompt-embeds"), PLAIN),
    Scenario("schema_unusable", UNUSABLE, refused("Invalid type: nothing"), PLAIN),
    Scenario(  # noticed only when the stream has begun
        "schema_unusable", UNUSABLE, Expected(200, body="Invalid type: nothing"), STREAMED
    ),
    Scenario("prompt_missing", server(), refused("prompt_embeds must be provided"), BOTH),
    Scenario("prompt_empty", server(prompt=""), refused("must be provided and non-empty"), PLAIN),
    Scenario("no_prompts", server(prompt=[]), refused("at least one prompt"), PLAIN),
    Scenario("prompt_object", server(prompt={"text": FRANCE}), refused("4 validation errors"), PLAIN),
    Scenario(
        "stream_options_alone",
        server(prompt=FRANCE, stream_options={"include_usage": True}),
        refused("when `stream=True`"),
        PLAIN,
    ),
    Scenario("not_json", Plan("POST", PATH, Body(JSON, b'{"prompt":')), refused("json_invalid"), PLAIN),
    Scenario(
        "wrong_server",
        FromClient({"model": f"vllm/{EMBED.name}", "prompt": FRANCE}),
        refused("Not Found", 404),
        BOTH,
        elsewhere=EMBED,
    ),
    Scenario("wrong_method", Plan("GET", PATH), refused("Method Not Allowed", 405), PLAIN),
)

ENDLESS: Final = client(STORY, ignore_eos=True, max_tokens=900)

TROUBLE: Final = (
    Scenario(
        "unauthorized", client(FRANCE, user="nobody"), refused("Unauthorized", 401), BOTH, setting="locked"
    ),
    Scenario("overloaded", client(FRANCE, user="one of many"), refused("busy", 503), BOTH, setting="crowded"),
    Scenario("engine_killed", ENDLESS, Expected(500, body='"code":500'), PLAIN, setting="doomed"),
    Scenario(
        "engine_killed",
        ENDLESS,
        Expected(200, said=" there was", body='"code": 500'),
        STREAMED,
        setting="doomed",
    ),
)

SCENARIOS: Final = (*ANSWERS, *CUT_SHORT, *EXTRAS, *REFUSALS, *TROUBLE)
