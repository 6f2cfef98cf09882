"""translate.multipart and routing.forms: what goes into a form comes out of it."""

from collections.abc import Iterable, Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from routing import forms
from tests import strategies as some
from tests.forms import Part, parts_of, unescaped
from translate import multipart
from translate.multipart import File
from translate.plan import Body

_TEXT_PIECES = st.sampled_from(
    ['"', "\r", "\n", "\r\n", "-", "--", ":", ";", " ", "\\", "=", "name", "é", "入", "\x00", "\x85", "%22"]
)
_BYTE_PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"--", b"-", b"\x00", b"\xff", b"Content-Type: x\r\n\r\n", b'"', b" "]
)
texts = some.sane_texts | st.lists(_TEXT_PIECES, max_size=6).map("".join)
"""Any text, and text that looks like a piece of a form."""

contents = st.binary(max_size=40) | st.lists(_BYTE_PIECES, max_size=8).map(b"".join)
"""Any bytes, and bytes that look like a piece of a form."""

names = texts.filter(lambda name: name != "file")
fields = st.lists(st.tuples(names, texts), max_size=4)
types = st.sampled_from(["audio/wav", "application/octet-stream", "x; y=z"])
files = st.builds(File, contents, texts, types)

Fields = list[tuple[str, str]]


def whole(body: Body) -> bytes:
    return b"".join((body.data, *body.rest))


def boundary_of(body: Body) -> bytes:
    found = forms.boundary(body.content_type)
    assert isinstance(found, bytes)
    return found


def escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def read(pieces: Iterable[bytes], boundary: bytes) -> dict[str, object] | forms.Unreadable:
    reader = forms.Reader(boundary)
    for piece in pieces:
        reader.feed(piece)
    return reader.close()


def flat(given_fields: Fields, file: File) -> dict[str, object]:
    """The form as the reader gives it."""
    grouped: dict[str, list[str]] = {}
    for name, value in given_fields:
        grouped.setdefault(escaped(name), []).append(value)
    told = {"file": file.data, "filename": escaped(file.filename), "content_type": file.content_type}
    return {
        **{name: values if len(values) > 1 else values[0] for name, values in grouped.items()},
        "file": {name: value for name, value in told.items() if value or name == "file"},
    }


@given(fields, files)
@example([], File(b"", "", "x"))
@example([("a", "\r"), ("", "--")], File(b"\r\n--\r\n", "\r", "x"))
def test_a_standard_parser_reads_what_went_in(given_fields: Fields, file: File) -> None:
    body = multipart.body(given_fields, file)
    *others, last = parts_of(body.content_type, whole(body))
    # A name that looks escaped could be either; so compare with all escapes undone.
    assert [(unescaped(part.name), part.value.decode()) for part in others] == [
        (unescaped(name), value) for name, value in given_fields
    ]
    assert last == Part("file", file.data, last.filename, file.content_type)
    assert unescaped(last.filename or "") == unescaped(file.filename)


@given(fields, files)
def test_equal_forms_are_equal_bytes_and_none_holds_its_boundary(given_fields: Fields, file: File) -> None:
    body = multipart.body(given_fields, file)
    assert body == multipart.body(list(given_fields), File(bytes(bytearray(file.data)), *file[1:]))
    assert whole(body).count(boundary_of(body)) == len(given_fields) + 2
    assert body.rest[0] is file.data
    assert all("\n" not in text for text in [body.content_type, boundary_of(body).decode()])


@given(fields, files, contents)
def test_forms_that_differ_have_different_boundaries(given_fields: Fields, file: File, other: bytes) -> None:
    boundaries = {
        boundary_of(multipart.body(given_fields, file._replace(data=data))) for data in (file.data, other)
    }
    assert len(boundaries) == len({file.data, other})


@given(fields, files, contents.filter(lambda data: b"--" not in data), st.data())
def test_our_reader_reads_what_went_in_however_it_is_cut(
    given_fields: Fields, file: File, around: bytes, data: DataObject
) -> None:
    body = multipart.body(given_fields, file)
    sent = around + b"\r\n" + whole(body) + around
    expected = flat(given_fields, file)
    assert read([sent], boundary_of(body)) == expected
    assert read(some.one_by_one(sent), boundary_of(body)) == expected
    assert read(data.draw(some.pieces(sent)), boundary_of(body)) == expected


@given(fields, files, st.data())
def test_a_form_that_breaks_off_is_refused(given_fields: Fields, file: File, data: DataObject) -> None:
    body = multipart.body(given_fields, file)
    sent = whole(body)
    kept = data.draw(st.integers(0, len(sent) - len(b"-\r\n")))
    assert read([sent[:kept]], boundary_of(body)) == forms.Unreadable("the form ends early")


def mutated(sent: bytes, places: Sequence[int], junk: bytes) -> bytes:
    start, end = sorted(place % (len(sent) + 1) for place in places)
    return sent[:start] + junk + sent[end:]


@given(
    fields,
    files,
    st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
    contents | st.just(b"\r\n--b"),
    st.data(),
)
def test_anything_is_a_form_or_refused_and_cuts_do_not_matter(
    given_fields: Fields, file: File, places: tuple[int, int], junk: bytes, data: DataObject
) -> None:
    body = multipart.body(given_fields, file)
    boundary = data.draw(st.sampled_from([boundary_of(body), b"b", b"-", b"\r"]))
    sent = mutated(whole(body).replace(boundary_of(body), boundary), places, junk)
    outcome = read([sent], boundary)
    assert isinstance(outcome, dict | forms.Unreadable)
    assert read(some.one_by_one(sent), boundary) == outcome
    assert read(data.draw(some.pieces(sent)), boundary) == outcome


@given(some.texts | st.just("multipart/form-data;" + "a=b;" * 99 + "boundary=x"))
def test_any_content_type_has_a_boundary_or_none(content_type: str) -> None:
    found = forms.boundary(content_type)
    assert isinstance(found, forms.Unreadable) or found
