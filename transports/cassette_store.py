"""A folder of cassettes that recordings are written into, one file each.

A recording lies in ``<label>/<time>-<number>.yaml``: its label or else the
path of the request, when the request began, in UTC to the microsecond, and a
number, so that the names of a folder sort in the order of the requests and no
two are the same.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from .cassette import Files, Recording, cuts_path, written
from .redaction import Rule, Secrets, kept_headers, redact

Stored = Literal["written", "limit reached", "holds a secret"]

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME: Final = 80


class CassetteStore:
    """Writes recordings into a folder.

    What ``rules`` cover is blanked before anything reaches the disk. A
    recording that holds one of the ``secrets`` after that is not written, nor
    is one with which the folder would hold more than ``total_bytes``, or more
    than ``files`` recordings. Raises ``OSError`` when a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        rules: Sequence[Rule] = (),
        secrets: Sequence[str] = (),
        total_bytes: int = 2**62,
        files: int = 2**62,
    ) -> None:
        self._folder, self._rules, self._secrets = folder, tuple(rules), Secrets(secrets)
        self._number = 0
        present = [file for file in folder.rglob("*") if file.suffix in {".yaml", ".json"}]
        self._bytes_left = total_bytes - sum(file.stat().st_size for file in present)
        self._files_left = files - sum(file.suffix == ".yaml" for file in present)

    def learn(self, secrets: Sequence[str]) -> None:
        """From now on, these are secrets, too."""
        self._secrets.add(secrets)

    def write(self, recording: Recording, label: str, started: float) -> Stored:
        """Keep a recording of a request that began at ``started``, in seconds since 1970."""
        headers = kept_headers(recording.headers, self._secrets)
        recording = redact(replace(recording, headers=headers), self._rules)
        files = written(recording)
        # YAML escapes and folds what is in the file: look at what will be read from it, too.
        told = (recording.path, *recording.request_headers.values())
        bodies = recording.request_body or b"", recording.body
        if self._secrets.are_in(*files, *bodies, *(text.encode(errors="replace") for text in told)):
            return "holds a secret"
        size = len(files.cassette) + len(files.cuts)
        if size > self._bytes_left or self._files_left < 1:
            return "limit reached"
        self._store(files, self._folder / _file_name(label or recording.path), started)
        self._bytes_left -= size
        self._files_left -= 1
        return "written"

    def _store(self, files: Files, folder: Path, started: float) -> None:
        """Write both files; the cassette comes last and at once, so that nobody reads half of one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self._number += 1
            cassette = folder / f"{_time_name(started)}-{self._number:06d}.yaml"
            beside, unfinished = cuts_path(cassette), cassette.with_suffix(".unfinished")
            try:
                _create(beside, files.cuts)
                break
            except FileExistsError:
                continue  # another process records into this folder
        try:
            _create(unfinished, files.cassette)
            unfinished.replace(cassette)
        except OSError:
            for file in (beside, unfinished):
                with suppress(OSError):
                    file.unlink()
            raise


def _file_name(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text.partition("?")[0])[:_LONGEST_NAME].strip("-.") or "other"


def _time_name(started: float) -> str:
    return f"{datetime.fromtimestamp(started, UTC):%Y%m%dT%H%M%S.%fZ}"


def _create(file: Path, data: bytes) -> None:
    """A new file that its owner alone may read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(data)
