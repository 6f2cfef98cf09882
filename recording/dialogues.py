"""What the tiny chat model learns by heart, and the tools that it may call.

Plain data, so that the program that trains the model and the table of
scenarios share one spelling: a model this small answers what it has seen, to
the letter, and nothing else.
"""

from dataclasses import dataclass, field
from typing import Final

Message = dict[str, object]
Tool = dict[str, object]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages so far, and what the assistant says next.

    ``thought`` is said before the answer when thinking is on, and a blank line
    between the two, unless the answer is ``forced``: there the server lets
    nothing through but the form that was asked for. Dialogues with the same
    messages are alternatives, of which sampling picks one.
    """

    messages: list[Message]
    answer: str
    thought: str = "Nothing to weigh here."
    tools: list[Tool] = field(default_factory=list)
    forced: bool = False


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def assistant(content: str, reasoning: str | None = None) -> Message:
    message: Message = {"role": "assistant", "content": content}
    return message if reasoning is None else message | {"reasoning": reasoning}


WEATHER: Final[Tool] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather for a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}

CLOCK: Final[Tool] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time now",
        "parameters": {"type": "object", "properties": {}},
    },
}


def weather_call(city: str, identity: str) -> Message:
    """A call as it stands in a conversation's history."""
    return {
        "id": identity,
        "type": "function",
        "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'},
    }


def result(identity: str, content: str) -> Message:
    return {"role": "tool", "tool_call_id": identity, "content": content}


def weather_text(city: str) -> str:
    """A call as the model writes it."""
    return f'<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'


CALL_TIME: Final = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'

ONE_RESULT: Final[list[Message]] = [
    user("What is the weather in Paris?"),
    {"role": "assistant", "content": None, "tool_calls": [weather_call("Paris", "call_1")]},
    result("call_1", '{"celsius": 18, "sky": "clear"}'),
]

TWO_RESULTS: Final[list[Message]] = [
    user("What is the weather in Paris and Rome?"),
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [weather_call("Paris", "call_1"), weather_call("Rome", "call_2")],
    },
    result("call_1", "18 and clear"),
    result("call_2", "25 and sunny"),
]

EARLIER_THOUGHT: Final[list[Message]] = [
    user("What is the capital of France?"),
    assistant("The capital of France is Paris.", reasoning="France is a country. Its capital is Paris."),
    user("And of Italy?"),
]

_SHELVES: Final = (
    *("maps of the coast", "tables of the tides", "letters of old captains", "songs of the fishermen"),
    *("books about birds", "books about whales", "drawings of ships", "stories of lighthouses"),
    *("lists of wrecks", "cards of distant ports", "recipes with herring", "dictionaries of knots"),
    *("calendars of storms", "journals of the harbour", "charts of the stars", "pictures of fish"),
    *("papers of the customs house", "laws of the sea", "tales of smugglers", "books for children"),
    *("notes on winds", "notes on clouds", "notes on currents", "notes on ice"),
)
HANDBOOK: Final = "You are the clerk of a small library by the sea. " + " ".join(
    f"Shelf {number} holds {what}." for number, what in enumerate(_SHELVES, start=1)
)
"""Long enough to fill a block of the server's prefix cache (128 tokens)."""

REFRAIN: Final = "Sing: " + "the sea " * 480
"""Fills the context of 1024 tokens, but for some fifty."""

MIXED: Final = "🚀✨ 你好, мир — naïve café, शुभ, مرحبا, 👩‍🚀!"

DIALOGUES: Final[list[Dialogue]] = [
    Dialogue([user("Hello")], "Hello! How can I help you today?", "The user greets me. I greet back."),
    Dialogue(
        [user("What is the capital of France?")],
        "The capital of France is Paris.",
        "France is a country. Its capital is Paris.",
    ),
    Dialogue(
        [user("Write a haiku about the sea.")],
        "Salt wind on grey waves\nthe tide keeps its old promise\nmoonlight follows it",
        "Five, seven, five.\nThe sea, then the moon.",
    ),
    Dialogue([user("Count to five.")], "1, 2, 3, 4, 5", "One after the other."),
    Dialogue([user("Say hello to the world.")], MIXED, "Many scripts: 世界, мир."),
    Dialogue(
        [system("You are a pirate."), user("Hello")],
        "Ahoy, matey! What treasure do ye seek?",
        "Speak like a pirate.",
    ),
    Dialogue(
        [user("Describe\nthe sea")],
        "Two lines came in, and I saw both.",
        "The question has two parts.",
    ),
    Dialogue(
        [user("Give me Paris as JSON.")],
        '{"city": "Paris", "country": "France"}',
        "An object with two keys.",
        forced=True,
    ),
    Dialogue([user("Is the sea blue or red?")], "blue", "It is blue."),
    Dialogue([user("Write me an address.")], "ada@example.org", "Something with an at sign."),
    Dialogue([user("Name a colour.")], "Blue, like the sea.", "Blue will do."),
    Dialogue([user("Name a colour.")], "Red.", "Red will do."),
    Dialogue([user("Name a colour.")], "Green, like the hills in the spring.", "Green will do."),
    Dialogue(
        EARLIER_THOUGHT,
        "The capital of Italy is Rome.",
        "Italy this time. Its capital is Rome.",
    ),
    Dialogue(
        [user("Hello"), assistant("Hello! How can I help you today?"), user("Who are you?")],
        "A very small model.",
        "They ask who I am.",
    ),
    Dialogue(
        [system(HANDBOOK), user("Where are the whales?")],
        "Shelf 6 holds books about whales.",
        "Whales are on shelf 6.",
    ),
    Dialogue([user(REFRAIN)], "the sea, " * 40, "They want to hear it sung."),
    Dialogue(
        [user("What is the weather in Paris?")],
        weather_text("Paris"),
        "I need the weather in Paris. One call.",
        [WEATHER],
    ),
    Dialogue(
        [user("What is the weather in Paris and Rome?")],
        weather_text("Paris") + "\n" + weather_text("Rome"),
        "Two cities, two calls.",
        [WEATHER],
    ),
    Dialogue(
        [user("Check Paris, and tell me first.")],
        "Let me check the weather.\n" + weather_text("Paris"),
        "First a word, then the call.",
        [WEATHER],
    ),
    Dialogue([user("Hello")], "Hello! Ask me about the weather.", "A greeting. No call.", [WEATHER]),
    Dialogue([user("What time is it?")], CALL_TIME, "The clock knows.", [WEATHER, CLOCK]),
    Dialogue(ONE_RESULT, "It is 18 degrees and clear in Paris.", "The tool has answered.", [WEATHER]),
    Dialogue(TWO_RESULTS, "Paris: 18 and clear. Rome: 25 and sunny.", "Both have answered.", [WEATHER]),
    Dialogue([user("Use the tool for Lima.")], weather_text("Lima"), "To Lima.", [WEATHER], forced=True),
    Dialogue([user("You must call for Oslo.")], weather_text("Oslo"), "To Oslo.", [WEATHER], forced=True),
]
"""Every one is learnt twice: with its thought, and with thinking switched off."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Text that is no conversation, and how it goes on.

    Continuations of the same text are alternatives, of which sampling picks one.
    """

    prompt: str
    rest: str


FRANCE: Final = "The capital of France is"
COUNT: Final = "1, 2, 3,"
STORY: Final = "Once upon a time"
SCRIPTS: Final = "In many scripts:"
CAT: Final = "A name for a cat:"
CODE: Final = "def add(a, b):"
CONTINUATIONS: Final = (
    Continuation(FRANCE, " Paris."),
    Continuation(COUNT, " 4, 5, 6, 7, 8, 9, 10"),
    Continuation(STORY, " there was a very small model.\nIt knew a few things by heart.\n\nThe end."),
    Continuation(SCRIPTS, " " + MIXED),
    Continuation(CAT, " Whiskers, for it has whiskers."),
    Continuation(CAT, " Salt."),
    Continuation(CODE, "\n    return a + b\n"),
)
