"""A document is written in one piece, as aiohttp would have written it."""

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from routing import headers
from serving import answers
from serving.answers import Answer

SECURITY = "".join(f"{name}: {value}\r\n" for name, value in headers.SECURITY.items())
DATE = "Mon, 23 Nov 2026 03:06:22 GMT"


def written(version: HttpVersion, keeps: bool, closing: bool = False) -> str:
    """What goes out for a document."""
    transport, writer = Mock(asyncio.Transport), Mock(AbstractStreamWriter, drain=AsyncMock())
    transport.is_closing.return_value = closing
    request = Mock(web.BaseRequest, version=version, keep_alive=keeps, transport=transport, writer=writer)
    answer = Answer(b'{"a":"\xc3\xa9"}', {"x-request-id": "r"})

    async def answered() -> None:
        for _ in range(2):  # aiohttp may ask twice
            await answer.prepare(request)
        writer.drain.assert_not_awaited()
        await answer.write_eof()

    asyncio.run(answered())
    writer.drain.assert_awaited_once_with()
    [call] = transport.writelines.call_args_list
    assert answer.keep_alive is keeps
    return b"".join(call.args[0]).decode()


@pytest.mark.parametrize(
    ("version", "keeps", "status", "connection"),
    [
        (HttpVersion11, True, "HTTP/1.1 200 OK", ""),
        (HttpVersion11, False, "HTTP/1.1 200 OK", "connection: close\r\n"),
        (HttpVersion10, False, "HTTP/1.0 200 OK", ""),
        (HttpVersion10, True, "HTTP/1.0 200 OK", "connection: keep-alive\r\n"),
    ],
)
def test_what_is_written(
    monkeypatch: pytest.MonkeyPatch, version: HttpVersion, keeps: bool, status: str, connection: str
) -> None:
    monkeypatch.setattr(answers, "_date", lambda _second: DATE)
    assert written(version, keeps) == (
        f"{status}\r\n{SECURITY}server: bifrost-vllm\r\ncontent-type: application/json\r\n{connection}"
        f"x-request-id: r\r\ndate: {DATE}\r\ncontent-length: 10\r\n\r\n" + '{"a":"é"}'
    )


def test_a_client_that_has_left_gets_nothing() -> None:
    with pytest.raises(ConnectionResetError):
        written(HttpVersion11, keeps=True, closing=True)
