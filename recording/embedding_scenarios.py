"""The questions that are put to vLLM as embeddings.

A vector of this model is 384 numbers, some 8 KB of text or 2 KB in base64.
"""

from typing import Final

from translate.embeddings import PATH
from translate.plan import Body, Plan

from .scenarios import Expected, Forms, FromClient, Scenario, ToServer, refused
from .server import CHAT, EMBED

JSON: Final = "application/json"
ONLY: Final[Forms] = ("embedding",)
HELLO_IDS: Final = (101, 7592, 102)
SEA: Final = "The sea is blue, and so is the sky."
VECTOR: Final = Expected(body='"embedding":[')
TEXT: Final = Expected(body='"embedding":"')


def client(source: object, **parameters: object) -> FromClient:
    return FromClient({"model": f"vllm/{EMBED.name}", "input": source} | parameters)


def short(source: object, **parameters: object) -> FromClient:
    """The same, with an answer that is short."""
    return client(source, encoding_format="base64", **parameters)


def server(**fields: object) -> ToServer:
    """A body for the server itself."""
    return ToServer({"model": EMBED.name} | fields)


ANSWERS: Final = (
    Scenario("one_text", client("Hello"), VECTOR, ONLY),
    Scenario("two_texts", client(["Hello", SEA]), Expected(body='{"index":1,'), ONLY),
    Scenario("token_ids", client(HELLO_IDS), VECTOR, ONLY),
    Scenario("token_ids_of_two", client([HELLO_IDS, (101, 102)]), Expected(body='{"index":1,'), ONLY),
    Scenario("floats", client("Hello", encoding_format="float", user="ada"), VECTOR, ONLY),
    Scenario("base64", short("Hello"), TEXT, ONLY),
    Scenario("base64_of_two", short(["Hello", SEA]), Expected(body='{"index":1,'), ONLY),
    Scenario("mixed_scripts", short("🚀 你好, naïve café"), TEXT, ONLY),
    Scenario("empty_text", short(""), TEXT, ONLY),
    Scenario("truncated", short(SEA, truncate_prompt_tokens=4), Expected(body='"prompt_tokens":4,'), ONLY),
    Scenario(
        "truncated_to_the_model",
        short("the sea " * 150, truncate_prompt_tokens=-1),
        Expected(body='"prompt_tokens":256,'),
        ONLY,
    ),
    Scenario("of_any_length", short("Hello", use_activation=False), TEXT, ONLY),
    Scenario("half_precision", short("Hello", embed_dtype="float16"), TEXT, ONLY),
    Scenario("big_endian", short("Hello", endianness="big"), TEXT, ONLY),
    Scenario("named", short("Hello", request_id="mine"), Expected(body='"id":"embd-mine"'), ONLY),
)

REFUSALS: Final = (
    Scenario(
        "unknown_model",
        FromClient({"model": "vllm/tiny/nothing", "input": "Hello"}),
        refused("does not exist", 404),
        ONLY,
    ),
    Scenario("too_long", client("the sea " * 150), refused("maximum context length"), ONLY),
    Scenario("dimensions", client("Hello", dimensions=8), refused("Matryoshka"), ONLY),
    Scenario(
        "truncated_to_too_much",
        client("Hello", truncate_prompt_tokens=9999),
        refused("greater than max_model_len"),
        ONLY,
    ),
    Scenario("token_unknown", client([99_999_999]), refused("out of vocabulary"), ONLY),
    Scenario("normalize", client("Hello", normalize=True), refused("use `use_activation`"), ONLY),
    Scenario("format_unknown", client("Hello", encoding_format="hex"), refused("literal_error"), ONLY),
    Scenario("user_not_text", client("Hello", user=5), refused("body.user"), ONLY),
    Scenario("input_missing", server(), refused("body.input"), ONLY),
    Scenario("input_empty", server(input=[]), refused("at least one prompt"), ONLY),
    Scenario("input_object", server(input={"text": "Hello"}), refused("list_type"), ONLY),
    Scenario("input_mixed", server(input=[[101, 102], "Hello"]), refused("body.input.0"), ONLY),
    Scenario(
        "conversation",  # the model has no template for one
        FromClient({"model": f"vllm/{EMBED.name}", "messages": [{"role": "user", "content": "Hello"}]}),
        refused("chat template"),
        ONLY,
    ),
    Scenario("not_json", Plan("POST", PATH, Body(JSON, b'{"input":')), refused("json_invalid"), ONLY),
    Scenario(
        "wrong_content_type",
        Plan("POST", PATH, Body("text/plain", b'{"input":"Hello"}')),
        refused("Unsupported Media Type"),
        ONLY,
    ),
    Scenario("wrong_method", Plan("GET", PATH), refused("Method Not Allowed", 405), ONLY),
    Scenario(
        "wrong_server",
        FromClient({"model": f"vllm/{CHAT.name}", "input": "Hello"}),
        refused("Not Found", 404),
        ONLY,
        elsewhere=CHAT,
    ),
    Scenario(  # no server looks at the request before it has seen the key
        "unauthorized",
        client("Hello", user="nobody"),
        refused("Unauthorized", 401),
        ONLY,
        "locked",
        CHAT,
    ),
)

SCENARIOS: Final = (*ANSWERS, *REFUSALS)
