"""Forms that clients upload: what is read from them, and what is refused."""

import gc
import tracemalloc

import pytest

from routing import forms
from routing.forms import Reader, Unreadable

FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n'
READ_FILE = {"file": b"RIFF", "filename": "a.wav", "content_type": "audio/wav"}


def field(value: bytes, disposition: bytes = b'form-data; name="x"', *more: bytes) -> bytes:
    lines = b"".join(b"%b\r\n" % line for line in (b"Content-Disposition: " + disposition, *more))
    return b"--b\r\n%b\r\n%b\r\n" % (lines, value)


def read(*parts: bytes, end: bytes = b"--b--\r\n") -> dict[str, object] | Unreadable:
    """The form of some parts, read three ways."""
    sent = b"".join(parts) + end
    outcomes = []
    for size in (len(sent), 1, 7):
        reader = Reader(b"b")
        for start in range(0, len(sent), size or 1):
            reader.feed(sent[start : start + size])
        outcomes.append(reader.close())
    assert outcomes[0] == outcomes[1] == outcomes[2]
    return outcomes[0]


FORMS: dict[str, tuple[list[bytes], dict[str, object]]] = {
    "fields and a file": (
        [field(b"m", b'form-data; name="model"'), FILE, field(b"true", b'form-data; name="stream"')],
        {"model": "m", "stream": "true", "file": READ_FILE},
    ),
    "a field that is repeated": ([field(b"1"), field(b""), field(b"3")], {"x": ["1", "", "3"]}),
    "no parts": ([], {}),
    "text before the first boundary": ([b"This is MIME.\r\n", field(b"1")], {"x": "1"}),
    "padding behind a boundary": ([b'--b \t\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'], {"x": "1"}),
    "a name without quotes": ([field(b"1", b"form-data; name=x")], {"x": "1"}),
    "other spellings of the header": (
        [b'--b\r\nCONTENT-disposition:FORM-data;NAME = "x" ;Other="1"\r\n\r\n1\r\n'],
        {"x": "1"},
    ),
    "line ends in a value": ([field(b"a\nb\r\n\r\n--c\r")], {"x": "a\nb\r\n\r\n--c\r"}),
    "a value in UTF-8": ([field("入".encode())], {"x": "入"}),
    "a value in no encoding": ([field(b"caf\xe9")], {"x": "caf\udce9"}),
    "a value in another encoding": (
        [field(b"caf\xe9", b'form-data; name="x"', b"Content-Type: text/plain; charset=ISO-8859-1")],
        {"x": "café"},
    ),
    "a transfer encoding that is none": (
        [field(b"1", b'form-data; name="x"', b"Content-Transfer-Encoding: 8bit")],
        {"x": "1"},
    ),
    "an input of a page that was left empty": (
        [field(b"", b'form-data; name="x"; filename=""', b"Content-Type: application/octet-stream")],
        {"x": ""},
    ),
    "a file without a name": (
        [field(b"RIFF", b'form-data; name="file"')],
        {"file": {"file": b"RIFF"}},
    ),
    "an empty file": ([field(b"", b'form-data; name="file"; filename="a"')], {"file": {"file": b"", "filename": "a"}}),
    "a file name in UTF-8": (
        [field(b"1", 'form-data; name="file"; filename="grüße 入.wav"'.encode())],
        {"file": {"file": b"1", "filename": "grüße 入.wav"}},
    ),
    "a file name in no encoding": (
        [field(b"1", b'form-data; name="file"; filename="caf\xe9"')],
        {"file": {"file": b"1", "filename": "caf\udce9"}},
    ),
    "a file name with escapes and separators": (
        [field(b"1", rb'form-data; name="file"; filename="a%22;\"b\".wav"')],
        {"file": {"file": b"1", "filename": 'a%22;"b".wav'}},
    ),
    "a file name with backslashes": (
        [field(b"1", b'form-data; name="file"; filename="C:\\new\\"')],
        {"file": {"file": b"1", "filename": "C:\\new\\"}},
    ),
    "a file name spelled for mail": (
        [field(b"1", b"form-data; name=file; filename=\"a\"; filename*=utf-8''gr%C3%BC%C3%9Fe")],
        {"file": {"file": b"1", "filename": "grüße"}},
    ),
    "a file name spelled for mail in no encoding": (
        [field(b"1", b"form-data; name=file; filename=\"a\"; filename*=x-none''%FF")],
        {"file": {"file": b"1", "filename": "a"}},
    ),
    "a file name spelled for mail, not in its encoding": (
        [field(b"1", b"form-data; name=file; filename*=UTF-8'en'%FF.wav")],
        {"file": {"file": b"1", "filename": "\udcff.wav"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "form"), FORMS.values(), ids=FORMS)
def test_what_is_read(parts: list[bytes], form: dict[str, object]) -> None:
    outcome = read(*parts)
    assert isinstance(outcome, dict)
    assert list(outcome.items()) == list(form.items())
    assert read(*parts, end=b"--b--") == form
    assert read(*parts, end=b"--b--\r\nwhatever\r\n--b\r\n") == form


REFUSED: dict[str, tuple[list[bytes], str]] = {
    "a boundary that goes on": ([field(b"1"), b"--bb\r\n"], "a boundary does not end its line"),
    "no head": ([b"--b\r\n\r\n1\r\n"], "a part has no name"),
    "no disposition": ([b"--b\r\nContent-Type: x\r\n\r\n1\r\n"], "a part has no name"),
    "no name": ([field(b"1", b'form-data; nam="x"')], "a part has no name"),
    "another disposition": ([field(b"1", b'attachment; name="x"')], "a part has no name"),
    "an encoding": (
        [field(b"MQ==", b'form-data; name="x"', b"Content-Transfer-Encoding: base64")],
        "x has a content transfer encoding",
    ),
    "a charset that nobody knows": (
        [field(b"1", b'form-data; name="x"', b"Content-Type: text/plain; charset=x-none")],
        "x is in x-none, not in UTF-8",
    ),
    "two files": ([FILE, FILE], "more than one file"),
    "a file by another name": (
        [field(b"1", b'form-data; name="x"; filename="a.wav"')],
        "x is a file, which only file may be",
    ),
    "a large head": ([field(b"1", b'form-data; name="%b"' % (b"x" * 17_000))], "the head of a part is too large"),
    "a head that does not end": ([b"--b\r\n", b"x" * 17_000], "the head of a part is too large"),
    "a large field": ([field(b"y" * (1024 * 1024 + 1))], "x is larger than 1048576 bytes"),
    "many parts": ([field(b"")] * 1001, "more than 1000 parts"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(parts: list[bytes], reason: str) -> None:
    reader = Reader(b"b")
    faults = [reader.feed(piece) for piece in (*parts, b"--b--\r\n", FILE)]
    assert faults[-1] == Unreadable(reason)
    assert reader.close() == Unreadable(reason)


@pytest.mark.parametrize(
    "sent", [b"", b"x", b"--b", b"--b-", b"--b\r\n", FILE, FILE[:-6], b"--b \t", b"--c--\r\n", b"-" * 99]
)
def test_a_form_that_ends_early_is_refused(sent: bytes) -> None:
    assert read(sent, end=b"") == Unreadable("the form ends early")


def test_what_is_at_a_limit_is_read() -> None:
    large = b"y" * 1024 * 1024
    assert read(field(large)) == {"x": large.decode()}
    assert read(*[field(b"")] * 1000) == {"x": [""] * 1000}


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=b", b"b"),
        (" Multipart/Form-Data;Charset=utf-8; BOUNDARY=a-b'c ", b"a-b'c"),
        ('multipart/form-data; boundary="a b;c"; charset=utf-8', b"a b;c"),
        ("multipart/form-data; x=boundary; boundary=b", b"b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ('multipart/form-data; boundary=""', None),
        ("multipart/form-data; xboundary=b", None),
        ("multipart/mixed; boundary=b", None),
        ("application/json", None),
        ("", None),
        ("multipart/form-data; boundary=" + "b" * 201, None),
    ],
)
def test_where_the_boundary_is(content_type: str, boundary: bytes | None) -> None:
    if boundary is None:
        assert forms.boundary(content_type) == Unreadable(
            "the content type is not multipart/form-data with a boundary"
        )
    else:
        assert forms.boundary(content_type) == boundary


@pytest.mark.parametrize("end", [b"", b"\r\n--b--\r\n"], ids=["refused", "read"])
def test_a_file_leaves_the_memory_with_its_reader(end: bytes) -> None:
    megabyte = bytes(1024 * 1024)
    gc.disable()  # a reader must not need it
    tracemalloc.start()
    try:
        reader = Reader(b"b")
        for piece in (FILE[:-2], *[megabyte] * 8, end):
            reader.feed(piece)
        form = reader.close()
        held, peak = tracemalloc.get_traced_memory()
        del form, reader
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert 8 * len(megabyte) < held < peak < 12 * len(megabyte)
    assert left < len(megabyte)
