"""Forms as they go out, byte for byte."""

from hashlib import sha256

import pytest

from tests.forms import Part, parts_of
from translate import multipart
from translate.multipart import File
from translate.plan import Body

AUDIO = File(b"RIFF\r\n--", "a.wav", "audio/wav")


def test_a_form_is_its_fields_in_their_order_and_the_file() -> None:
    body = multipart.body([("model", "m"), ("x[]", "1"), ("x[]", "")], AUDIO)
    start = (
        'name="model"\r\n\r\nm\r\n',
        'name="x[]"\r\n\r\n1\r\n',
        'name="x[]"\r\n\r\n\r\n',
        'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n',
    )
    boundary = sha256(AUDIO.data + "".join(start).encode()).hexdigest()
    assert body == Body(
        f"multipart/form-data; boundary={boundary}",
        "".join(f"--{boundary}\r\nContent-Disposition: form-data; {part}" for part in start).encode(),
        (b"RIFF\r\n--", f"\r\n--{boundary}--\r\n".encode()),
    )


@pytest.mark.parametrize(
    ("filename", "sent"),
    [
        ("a.wav", "a.wav"),
        ("grüße 入.wav", "grüße 入.wav"),
        ('a"\r\nX: y.wav', "a%22%0D%0AX: y.wav"),
        ("100%.wav", "100%.wav"),
        ("C:\\a;b\\", "C:\\a;b\\"),
        ("caf\udce9.wav", "caf\udce9.wav"),
    ],
)
def test_a_name_is_escaped_as_browsers_do(filename: str, sent: str) -> None:
    body = multipart.body([(filename, "1")], AUDIO._replace(filename=filename))
    assert parts_of(body.content_type, b"".join((body.data, *body.rest))) == [
        Part(sent, b"1"),
        Part("file", AUDIO.data, sent, "audio/wav"),
    ]


def test_bytes_that_are_not_utf8_come_out_as_they_came_in() -> None:
    body = multipart.body([("x", b"caf\xe9".decode(errors="surrogateescape"))], AUDIO)
    assert b'name="x"\r\n\r\ncaf\xe9\r\n' in body.data


@pytest.mark.parametrize(
    ("text", "holds"), [("", True), ("入\x00", True), ("\udce9", True), ("\ud83d", False)]
)
def test_what_a_form_can_hold(text: str, holds: bool) -> None:
    assert multipart.can_hold(text) is holds


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("audio/wav", True),
        ("a/b; c=é", True),
        ("", False),
        ("a\r\nX: y", False),
        ("a\x7f", False),
        ("\ud83d", False),
    ],
)
def test_what_a_content_type_can_be(text: str, sound: bool) -> None:
    assert multipart.is_type(text) is sound
