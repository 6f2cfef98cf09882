"""``python -m fuzz.one TARGET FOLDER [libFuzzer option ...]``: puts bytes to one target.

The inputs to begin with are written into ``FOLDER/seeds``, those that were bred
are kept in ``FOLDER/corpus``, and one that broke something lies in ``FOLDER``.
The process ends with status 77 when something broke.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["translate", "routing"]):
    from .targets import TARGETS
from .mutation import mutated

_WORDS = re.compile(rb'"[ -~]{1,30}?"')
_OF_THE_PROTOCOLS = (
    *(b"data: ", b"\n\n", b"\r\n", b"event: ", b": ", b"[DONE]", b"\xef\xbb\xbf", b"\r\n--fuzz", b"--fuzz--"),
    *(b"null", b"true", b"false", b"NaN", b"-0", b"1e400", b"\\ud800", b"[]", b"{}", b'""'),
)


def dictionary(seeds: Iterable[bytes]) -> str:
    """The words that seeds are made of, in libFuzzer's form."""
    words = {word for seed in seeds for word in _WORDS.findall(seed)} | {*_OF_THE_PROTOCOLS}
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in sorted(words))
    return "".join(f'"{word}"\n' for word in escaped)


def mutate(data: bytes, limit: int, seed: int) -> bytes:
    """Every other change is one of JSON."""
    changed = mutated(data, seed) if seed % 2 else data
    return changed if changed != data and len(changed) <= limit else atheris.Mutate(data, limit)


def main(arguments: Sequence[str]) -> None:
    name, folder, *options = arguments
    target = TARGETS[name]
    seeds, corpus = Path(folder, "seeds"), Path(folder, "corpus")
    for place in (seeds, corpus):
        place.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (seeds / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = Path(folder, "words")
    words.write_text(dictionary(target.seeds()))
    own = [f"-artifact_prefix={folder}/", f"-dict={words}"]
    atheris.Setup([sys.argv[0], *own, *options, str(corpus), str(seeds)], target.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
