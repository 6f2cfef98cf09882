"""What a standard parser makes of a form: Python's own, for mail, which knows nothing of ours."""

import email
import re
from email import policy
from email.message import MIMEPart
from typing import NamedTuple

from translate import Body, Plan

_DISPOSITION = re.compile(r'form-data; name="([^"\r\n]*)"(?:; filename="([^"\r\n]*)")?')
_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class Part(NamedTuple):
    """One part of a form. Names are as they are on the wire, escapes and all."""

    name: str
    value: bytes
    filename: str | None = None
    content_type: str | None = None


def parts_of(content_type: str, data: bytes) -> list[Part]:
    """The parts of a form, in order; an error if it is not a sound one."""
    source = b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), data)
    message = email.message_from_bytes(source, policy=policy.HTTP)
    assert message.get_content_type() == "multipart/form-data"
    assert (message.defects, message.preamble, message.epilogue) == ([], None, "")
    return [_part(part) for part in message.iter_parts()]


def _part(message: MIMEPart) -> Part:
    assert message.defects == []
    # Not by [], which would interpret what is in them.
    headers = {
        name.lower(): value.encode("ascii", "surrogateescape").decode(errors="surrogateescape")
        for name, value in message.raw_items()
    }
    found = _DISPOSITION.fullmatch(headers.pop("content-disposition"))
    assert found is not None
    content_type = headers.pop("content-type", None)
    assert headers == {}
    value = message.get_payload(decode=True)
    assert isinstance(value, bytes)
    return Part(found[1], value, found[2], content_type)


def unescaped(name: str) -> str:
    """A name as it was before it was escaped, if it did not look escaped then."""
    return re.sub("%22|%0D|%0A", lambda found: _ESCAPES[found[0]], name)


def parts_of_plan(plan: object) -> list[Part]:
    """The parts of the form that a plan sends; its body is in pieces, the file being one."""
    assert isinstance(plan, Plan)
    assert isinstance(plan.body, Body)
    return parts_of(plan.body.content_type, b"".join((plan.body.data, *plan.body.rest)))
