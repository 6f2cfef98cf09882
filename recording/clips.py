"""What is said in the audio files of ``clips/``, and when.

Plain data, so that the program that makes the files, the one that trains the
model on them and the table of scenarios share one spelling.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "clips"
CONTENT_TYPES: Final = {
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
}


@dataclass(frozen=True, slots=True)
class Line:
    """Something said, between two times in seconds."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Clip:
    """An audio file: its length in seconds, its language, what is said in it."""

    file: str
    length_s: float
    lines: tuple[Line, ...]
    language: str = "en"

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[Path(self.file).suffix]

    @property
    def data(self) -> bytes:
        return (FOLDER / self.file).read_bytes()


HELLO: Final = Clip("hello.wav", 0.8, (Line(0.0, 0.8, "Hello world."),))
FOX: Final = Clip("fox.ogg", 2.6, (Line(0.0, 2.6, "The quick brown fox jumps over the lazy dog."),))
COUNTING: Final = Clip(
    "counting.flac", 2.4, (Line(0.0, 0.9, "Count with me."), Line(1.0, 2.4, "One, two, three."))
)
GERMAN: Final = Clip("german.mp3", 1.4, (Line(0.0, 1.4, "Schöne Grüße aus Köln."),), "de")
SILENCE: Final = Clip("silence.flac", 1.0, ())
LONG: Final = Clip(  # heard in pieces of no more than 30 s
    "long.ogg",
    70.0,
    (
        Line(1.0, 2.6, "This is the first half minute."),
        Line(20.0, 21.2, "Nothing else happens."),
        Line(40.0, 41.8, "Here the second part begins."),
        Line(65.0, 66.0, "And this is the end."),
    ),
)
CLIPS: Final = (HELLO, FOX, COUNTING, GERMAN, SILENCE, LONG)
