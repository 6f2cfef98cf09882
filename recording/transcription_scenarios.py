"""The questions that are put to vLLM as transcriptions.

What is said in the files is in ``clips``; a refusal is heard best in silence,
which is short.
"""

from collections.abc import Sequence
from typing import Final

from translate.multipart import File, body
from translate.plan import Body, Plan
from translate.transcriptions import PATH

from .clips import COUNTING, FOX, GERMAN, HELLO, LONG, SILENCE, Clip
from .scenarios import Expected, Forms, FromClient, Scenario, refused
from .server import CHAT, TRANSCRIPTION

PLAIN: Final[Forms] = ("transcription",)
STREAMED: Final[Forms] = ("transcription_stream",)
BOTH: Final = PLAIN + STREAMED
MODEL: Final = ("model", TRANSCRIPTION.name)


def client(clip: Clip, **parameters: object) -> FromClient:
    return FromClient({"model": f"vllm/{TRANSCRIPTION.name}", "file": held(clip)} | parameters)


def held(clip: Clip) -> dict[str, object]:
    """A file as a request has it."""
    return {"file": clip.data, "filename": clip.file, "content_type": clip.content_type}


def server(*fields: tuple[str, str], data: bytes = SILENCE.data) -> Plan:
    """A form that the translator would not send, to the server itself."""
    return Plan("POST", PATH, body(fields, File(data, SILENCE.file, SILENCE.content_type)))


def without_file(lines: Sequence[str]) -> Plan:
    """A form that is made of ``lines`` between the boundaries."""
    text = "\r\n".join(["--edge", *lines, "--edge--", ""])
    return Plan("POST", PATH, Body("multipart/form-data; boundary=edge", text.encode()))


ANSWERS: Final = (
    Scenario("hello", client(HELLO), Expected(said=" Hello world."), BOTH),
    Scenario("fox", client(FOX), Expected(said=" fox jumps over the lazy dog."), BOTH),
    Scenario("another_language", client(GERMAN), Expected(said=" Schöne Grüße aus Köln."), BOTH),
    Scenario("two_lines", client(COUNTING), Expected(said=" Count with me. One, two, three."), BOTH),
    Scenario("silence", client(SILENCE), Expected(), BOTH),
    Scenario(
        "several_pieces",  # each begins with a space, and they are joined by one more
        client(LONG),
        Expected(said=" Nothing else happens.  Here the second part begins.  And this is the end."),
        BOTH,
    ),
    Scenario(
        "told_the_language",
        client(GERMAN, language="de", temperature=0),
        Expected(said=" Schöne Grüße aus Köln."),
        BOTH,
    ),
    Scenario("with_prompt", client(FOX, prompt="Say hello."), Expected(said=" The quick brown fox"), BOTH),
    Scenario(
        "sampling",
        client(FOX, temperature=0.3, top_p=0.9, top_k=5, seed=1, repetition_penalty=1.01, user="ada"),
        Expected(said=" "),
        BOTH,
    ),
    Scenario("cut_short", client(FOX, max_completion_tokens=3), Expected(said=" The"), BOTH),
    Scenario("as_text", client(FOX, response_format="text"), Expected(said=" The quick brown fox"), BOTH),
    Scenario("beams", client(SILENCE, use_beam_search=True, n=2, max_completion_tokens=2), Expected(), PLAIN),
    Scenario("without_model", server(data=FOX.data), Expected(said=" The quick"), PLAIN),
    Scenario(
        "verbose",
        client(COUNTING, response_format="verbose_json"),
        Expected(said=" Count with me.", body='"start":1.0'),
        PLAIN,
    ),
    Scenario(
        "verbose_in_words",
        client(FOX, response_format="verbose_json", timestamp_granularities=["word", "segment"]),
        Expected(said=" fox jumps", body='"words":null'),
        PLAIN,
    ),
    Scenario(
        "verbose_in_several_pieces",
        client(LONG, response_format="verbose_json"),
        Expected(body='"seek":29'),
        PLAIN,
    ),
    Scenario(
        "verbose_silence",
        client(SILENCE, response_format="verbose_json"),
        Expected(body='"duration":1.0'),
        PLAIN,
    ),
    Scenario(
        "usage_on_every_chunk",
        client(FOX, stream_include_usage=True, stream_continuous_usage_stats=True),
        Expected(said=" fox jumps", body='"completion_tokens":1}'),
        STREAMED,
    ),
    Scenario(
        "usage_nowhere", server(MODEL, ("stream", "true")), Expected(body='"finish_reason":"stop"'), STREAMED
    ),
)

REFUSALS: Final = (
    Scenario(
        "unknown_model",
        FromClient({"model": "vllm/tiny/nothing", "file": held(SILENCE)}),
        refused("does not exist", 404),
        BOTH,
    ),
    Scenario("subtitles", client(SILENCE, response_format="srt"), refused("only support"), BOTH),
    Scenario("web_subtitles", client(SILENCE, response_format="vtt"), refused("only support"), PLAIN),
    Scenario("speakers", client(SILENCE, response_format="diarized_json"), refused("not support"), PLAIN),
    Scenario("format_unknown", client(SILENCE, response_format="yaml"), refused("literal_error"), PLAIN),
    Scenario("language_unknown", client(SILENCE, language="xx"), refused("Unsupported language"), BOTH),
    Scenario(
        "not_audio",
        FromClient(
            {
                "model": f"vllm/{TRANSCRIPTION.name}",
                "file": {"file": b"not audio at all", "filename": "a.wav", "content_type": "audio/wav"},
            }
        ),
        refused("Invalid or corrupted audio data"),
        BOTH,
    ),
    Scenario("empty_file", server(MODEL, data=b""), refused("Invalid or corrupted audio data"), PLAIN),
    Scenario("temperature_too_high", client(SILENCE, temperature=3), refused("must be in [0, 2]"), BOTH),
    Scenario(
        "temperature_not_a_number", client(SILENCE, temperature="hot"), refused("body.temperature"), PLAIN
    ),
    Scenario("max_tokens_zero", client(SILENCE, max_completion_tokens=0), refused("at least 1"), PLAIN),
    Scenario("prompt_too_long", client(SILENCE, prompt="fox " * 60), refused("maximum context length"), BOTH),
    Scenario(
        "granularity_unknown",
        client(SILENCE, timestamp_granularities=["phrase"]),
        refused("'word' or 'segment'"),
        PLAIN,
    ),
    Scenario("arguments_unreadable", client(SILENCE, vllm_xargs="{"), refused("vllm_xargs"), PLAIN),
    Scenario("beams_streamed", client(SILENCE, use_beam_search=True), refused("beam search"), STREAMED),
    Scenario(
        "verbose_streamed",
        server(MODEL, ("response_format", "verbose_json"), ("stream", "true")),
        refused("verbose_json format doesn't support streaming"),
        STREAMED,
    ),
    Scenario(
        "usage_without_stream",
        server(MODEL, ("stream_include_usage", "true")),
        refused("when `stream=True`"),
        PLAIN,
    ),
    Scenario("stream_unclear", server(MODEL, ("stream", "perhaps")), refused("bool_parsing"), PLAIN),
    Scenario(
        "file_missing",
        without_file(['Content-Disposition: form-data; name="model"', "", TRANSCRIPTION.name]),
        refused("body.file"),
        PLAIN,
    ),
    Scenario(
        "file_as_text",
        without_file(['Content-Disposition: form-data; name="file"', "", "not a file"]),
        refused("Expected 'file' to be a file-like object", 422),
        PLAIN,
    ),
    Scenario(
        "boundary_missing",
        Plan("POST", PATH, Body("multipart/form-data", b"--edge--\r\n")),
        refused("Missing boundary"),
        PLAIN,
    ),
    Scenario("not_a_form", Plan("POST", PATH, Body("application/json", b"{}")), refused("body.file"), PLAIN),
    Scenario("wrong_method", Plan("GET", PATH), refused("Method Not Allowed", 405), PLAIN),
    Scenario(
        "wrong_server",
        FromClient({"model": f"vllm/{CHAT.name}", "file": held(SILENCE)}),
        refused("Not Found", 404),
        BOTH,
        elsewhere=CHAT,
    ),
    Scenario(  # no server looks at the request before it has seen the key
        "unauthorized",
        client(SILENCE, user="nobody"),
        refused("Unauthorized", 401),
        BOTH,
        "locked",
        CHAT,
    ),
)

SLOW: Final = client(FOX, use_beam_search=True, n=4)

TROUBLE: Final = (
    Scenario("engine_killed", SLOW, Expected(500, body='"code":500'), PLAIN, "doomed"),
    Scenario(
        "engine_killed",
        client(LONG, user="the last one"),
        Expected(200, said=" This is", body='"code": 500'),
        STREAMED,
        "doomed",
    ),
)

SCENARIOS: Final = (*ANSWERS, *REFUSALS, *TROUBLE)
