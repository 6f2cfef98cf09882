"""From start to end: new configurations, the signal to stop, several processes, clients that are slow."""

import asyncio
import json
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from aiohttp import web

import gateway
from routing import headers
from routing.config import Config, Key
from routing.limits import Concurrency
from routing.settings import Selection
from serving.front import BACKLOG
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    DONE,
    HELLO,
    PATIENCE_S,
    Exchange,
    LoopThread,
    Script,
    Signal,
    Upstream,
    chunk,
    frame,
    reply,
    stream,
    stream_head,
)
from tests.e2e.test_gateway_command_line import config_file, ready, started
from tests.e2e.test_gateway_framing import BODY, CHUNKED, CHUNKS, LENGTH, exchanged, post, statuses

CHAT = "/v1/chat/completions"
STOPPING = {
    "is_bifrost_error": True,
    "status_code": 503,
    "error": {"message": "the gateway is shutting down", "type": "server_shutdown"},
}


def served_by(url: str, name: str = "k", **more: object) -> dict[str, Any]:
    key = {"name": name, "models": ["*"], "vllm_key_config": {"url": url}}
    return {"providers": {"vllm": {"keys": [key]}}, **more}


def paused(go_on: Signal) -> Script:
    """A stream that says half of what it has to say, and the rest when it is told to."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])) + chunk(frame(HELLO[1])))
        await go_on.happened()
        for payload in HELLO[2:]:
            await exchange.send(chunk(frame(payload)))
        await exchange.send(chunk(b""))

    return script


def until(process: subprocess.Popen[str], *texts: str) -> None:
    """Read what a process complains of until each of ``texts`` stood in a line of its own."""
    assert process.stderr is not None
    missing, seen = list(texts), ""
    while missing:
        line = process.stderr.readline()
        assert line, seen
        seen += line
        if (found := next((text for text in missing if text in line), None)) is not None:
            missing.remove(found)


def counted(metrics: str) -> float:
    """How many chats were asked for, as metrics tell it."""
    (line,) = (
        line
        for line in metrics.splitlines()
        if line.startswith(f'http_requests_total{{method="POST",path="{CHAT}",status="200"')
    )
    return float(line.rsplit(" ", 1)[1])


def key_name(answer: requests.Response) -> object:
    return answer.json()["extra_fields"]["routing_info"]["key"]


def test_a_new_configuration_does_not_disturb_what_runs(
    upstream: Upstream, http: requests.Session, tmp_path: Path
) -> None:
    go_on = upstream.signal()
    upstream.answers(paused(go_on), reply(COMPLETION), reply(COMPLETION))
    file = config_file(tmp_path, served_by(upstream.url, "old"))
    with started("--config", file, "--port", "0") as process:
        url, _ = ready(process)
        with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
            lines = answer.iter_lines()
            assert b'"role":"assistant"' in next(lines)
            config_file(tmp_path, served_by(upstream.url, "new"))
            process.send_signal(signal.SIGHUP)
            until(process, "the configuration was reloaded: 1 key")
            assert key_name(requests.post(url + CHAT, json=ASK, timeout=PATIENCE_S)) == "new"
            go_on.set()
            assert [line for line in lines if line][-1] == b"data: [DONE]"
        config_file(tmp_path, b"{")
        process.send_signal(signal.SIGHUP)
        until(process, "the configuration was not reloaded")
        assert key_name(requests.post(url + CHAT, json=ASK, timeout=PATIENCE_S)) == "new"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    upstream: Upstream, folder: Path, processes: int, *more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway of one process or of several, and its address."""
    file, port = config_file(folder, served_by(upstream.url)), free_port()
    with started("--config", file, "--port", str(port), "--workers", str(processes), *more) as process:
        if processes == 1:
            ready(process)
        else:
            until(process, *["is ready (1 key)"] * processes)
        yield process, f"http://127.0.0.1:{port}"


def until_nobody_is_let_in(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    while True:
        try:
            socket.create_connection((host, int(port)), PATIENCE_S).close()
        except ConnectionResetError:  # let in by the system, and by nobody else
            continue
        except ConnectionRefusedError:
            return


def test_reloading_under_load_drops_no_request(
    upstream: Upstream, loop_thread: LoopThread, tmp_path: Path
) -> None:
    upstream.always_answers(reply(COMPLETION))
    quiet = {"client": {"enable_logging": False}}  # nobody reads what the process prints
    file = config_file(tmp_path, served_by(upstream.url, "k0", **quiet))
    with started("--config", file, "--port", "0") as process:
        url, _ = ready(process)
        enough = asyncio.Event()

        async def ask_on(session: aiohttp.ClientSession) -> list[tuple[int, object]]:
            seen = []
            while not enough.is_set():
                async with session.post(url + CHAT, json=ASK) as answer:
                    seen.append((answer.status, (await answer.json())["extra_fields"]["routing_info"]["key"]))
            return seen

        async def load() -> list[list[tuple[int, object]]]:
            async with aiohttp.ClientSession() as session:
                return await asyncio.gather(*(ask_on(session) for _ in range(8)))

        asking = loop_thread.start(load())
        upstream.request(8)
        for number in range(1, 6):
            config_file(tmp_path, served_by(upstream.url, f"k{number}", **quiet))
            process.send_signal(signal.SIGHUP)
            until(process, "the configuration was reloaded: 1 key")
            upstream.request(len(upstream.seen) + 8)
        loop_thread.loop.call_soon_threadsafe(enough.set)
        answers = asking.result(PATIENCE_S)
    assert {status for seen in answers for status, _ in seen} == {200}
    for seen in answers:
        keys = [str(key) for _, key in seen]
        assert keys == sorted(keys)
    assert {key for seen in answers for _, key in seen} == {f"k{number}" for number in range(6)}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_running_stream_comes_to_its_end_before_the_gateway_stops(
    upstream: Upstream, http: requests.Session, tmp_path: Path, processes: int
) -> None:
    go_on = upstream.signal()
    upstream.answers(paused(go_on))
    with serving(upstream, tmp_path, processes) as (process, url):
        with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
            lines = answer.iter_lines()
            assert b'"role":"assistant"' in next(lines)
            process.terminate()
            until_nobody_is_let_in(url)
            go_on.set()
            assert [line for line in lines if line][-1] == b"data: [DONE]"
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stream_that_outlasts_the_grace_is_cut_with_an_error_and_the_gateway_stops(
    upstream: Upstream, http: requests.Session, tmp_path: Path, processes: int
) -> None:
    async def begun(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await exchange.client_left()

    upstream.answers(begun)
    with serving(upstream, tmp_path, processes, "--grace", "0.01") as (process, url):
        with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
            lines = answer.iter_lines()
            assert b'"role":"assistant"' in next(lines)
            process.terminate()
            rest = [line for line in lines if line]
        assert process.wait(PATIENCE_S) == 0
    assert json.loads(rest[-1].removeprefix(b"data: ")) == STOPPING
    assert sum(b"error" in line or b"DONE" in line for line in rest) == 1
    upstream.request().left.wait()


@pytest.fixture
def stopped(loop_thread: LoopThread, upstream: Upstream) -> Callable[[], tuple[str, Callable[[], None]]]:
    """Starts a gateway that waits for nobody when it is told to stop; gives its address and how to tell it."""

    def start() -> tuple[str, Callable[[], None]]:
        app = gateway.application(Config((Key("k", "k", url=upstream.url, models=("*",)),)))
        server = gateway.listening(app, "127.0.0.1", 0, 0.01)
        port = loop_thread.run(server.__aenter__())

        def stop() -> None:
            loop_thread.run(server.__aexit__(None, None, None))

        return f"http://127.0.0.1:{port}", stop

    return start


def test_a_stream_that_takes_too_long_is_cut_with_an_error(
    stopped: Callable[[], tuple[str, Callable[[], None]]], upstream: Upstream, http: requests.Session
) -> None:
    url, stop = stopped()
    upstream.answers(paused(upstream.signal()))
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        lines = answer.iter_lines()
        assert b'"role":"assistant"' in next(lines)
        stop()
        rest = [line for line in lines if line]
    assert json.loads(rest[-1].removeprefix(b"data: ")) == STOPPING
    assert sum(b"error" in line or b"DONE" in line for line in rest) == 1


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_request_without_an_answer_gets_an_error(
    stopped: Callable[[], tuple[str, Callable[[], None]]],
    upstream: Upstream,
    loop_thread: LoopThread,
    http: requests.Session,
    ask: dict[str, object],
) -> None:
    url, stop = stopped()

    async def silence(exchange: Exchange) -> None:
        await exchange.client_left()

    upstream.answers(silence)
    asking = loop_thread.start(asyncio.to_thread(http.post, url + CHAT, json=ask))
    upstream.request()
    stop()
    answer = asking.result(PATIENCE_S)
    assert (answer.status_code, answer.json()) == (503, STOPPING)
    upstream.request().left.wait()


def test_several_processes_add_up_what_they_count_and_drop_nothing_when_others_replace_them(
    upstream: Upstream, http: requests.Session, tmp_path: Path
) -> None:
    go_on = upstream.signal()
    upstream.answers(paused(go_on))
    upstream.always_answers(reply(COMPLETION))
    with serving(upstream, tmp_path, 2) as (process, url):
        with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
            lines = answer.iter_lines()
            assert b'"role":"assistant"' in next(lines)
            for _ in range(8):  # on connections of their own: either process may get them
                assert key_name(requests.post(url + CHAT, json=ASK, timeout=PATIENCE_S)) == "k"
            assert counted(requests.get(f"{url}/metrics", timeout=PATIENCE_S).text) == 8
            config_file(tmp_path, served_by(upstream.url, "new"))
            process.send_signal(signal.SIGHUP)
            until(process, "is ready (1 key)", "is ready (1 key)", "Worker exiting")
            asked = 9
            while key_name(requests.post(url + CHAT, json=ASK, timeout=PATIENCE_S)) != "new":
                asked += 1
            go_on.set()
            assert [line for line in lines if line][-1] == b"data: [DONE]"
        until(process, "Worker exiting")
        assert counted(requests.get(f"{url}/metrics", timeout=PATIENCE_S).text) == 1 + asked
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_a_body_that_does_not_come(loop_thread: LoopThread, upstream: Upstream) -> None:
    app = gateway.application(Config((Key("k", "k", url=upstream.url, models=("*",)),)))
    app[gateway.GATEWAY].body_s = 0.01
    server = gateway.listening(app, "127.0.0.1", 0)
    port = loop_thread.run(server.__aenter__())
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
            client.sendall(post(b"Content-Length: 100", body=b'{"model":'))
            head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
            assert statuses(head) == [b"408"]
            assert json.loads(body)["error"] == {
                "message": "the request body did not come within 0.01 s",
                "type": "invalid_request_error",
            }
    finally:
        loop_thread.run(server.__aexit__(None, None, None))
    assert upstream.seen == []


def test_a_body_that_comes_slowly_keeps_nobody_waiting(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    keys = (Key("k", "k", url=upstream.url, models=("*",)),)
    url = serve(Config(keys, concurrency=Concurrency(1, 1)))
    upstream.always_answers(reply(COMPLETION))
    host, port = url.removeprefix("http://").split(":")
    with ExitStack() as clients:
        slow = [
            clients.enter_context(socket.create_connection((host, int(port)), PATIENCE_S)) for _ in range(3)
        ]
        for client, framing in zip(slow, (LENGTH, LENGTH, CHUNKED), strict=True):
            client.sendall(post(framing, b"Connection: close", body=b"" if framing is CHUNKED else BODY[:10]))
        active = 'bifrost_active_requests{method="POST"} 3.0'
        while active not in http.get(f"{url}/metrics").text:
            pass
        assert http.post(url + CHAT, json=ASK).status_code == 200
        for client, rest in zip(slow, (BODY[10:], BODY[10:], CHUNKS), strict=True):
            client.sendall(rest)
            assert statuses(client.recv(65_536)) == [b"200"]


def test_a_burst_of_clients_may_wait_to_be_let_in_by_one_of_several_processes(
    loop_thread: LoopThread, upstream: Upstream, http: requests.Session
) -> None:
    most = Path("/proc/sys/net/core/somaxconn")
    if not most.exists() or int(most.read_text()) < BACKLOG:
        pytest.skip("the system lets fewer clients wait")
    server = gateway.runner(gateway.application(Config((Key("k", "k", url=upstream.url, models=("*",)),))))
    listener, too_busy = socket.create_server(("127.0.0.1", 0)), threading.Event()

    async def listen() -> None:
        await server.setup()
        await web.SockSite(server, listener).start()  # as gunicorn's worker does

    loop_thread.run(listen())
    host, port = listener.getsockname()
    loop_thread.loop.call_soon_threadsafe(too_busy.wait, PATIENCE_S)
    try:
        with ExitStack() as clients:
            for _ in range(BACKLOG - 1):
                clients.enter_context(socket.create_connection((host, port), PATIENCE_S / 2))
            too_busy.set()
            assert http.get(f"http://{host}:{port}/health").status_code == 200
    finally:
        too_busy.set()
        loop_thread.run(server.cleanup())


def test_a_connection_that_asks_nothing_is_closed(serve: Serve, upstream: Upstream) -> None:
    url = serve(Config((Key("k", "k", url=upstream.url, models=("*",)),), client_idle_s=0.05))
    host, port = url.removeprefix("http://").split(":")
    health = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
    for sent in (b"", health[:10], health, health + health[:10]):
        with socket.create_connection((host, int(port)), PATIENCE_S) as client:
            client.sendall(sent)
            received = b""
            while piece := client.recv(65_536):
                received += piece
            assert statuses(received) == [b"200"] * (len(sent) // len(health))


@pytest.fixture
def many_files() -> Iterator[Callable[[], None]]:
    """Lets this process have few open files, and then as many as it may."""
    resource = pytest.importorskip("resource")
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < IDLE + 1_000:
        pytest.skip("the system does not allow so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, most))
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 1_000, most))
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


IDLE = 10_000


def test_ten_thousand_connections_that_ask_nothing_do_not_stop_the_next_request(
    upstream: Upstream, http: requests.Session, tmp_path: Path, many_files: Callable[[], None]
) -> None:
    upstream.answers(reply(COMPLETION))
    with serving(upstream, tmp_path, 1) as (_, url), ExitStack() as within:
        many_files()
        address = url.removeprefix("http://").split(":")
        idle = [
            within.enter_context(socket.create_connection((address[0], int(address[1])), PATIENCE_S))
            for _ in range(IDLE)
        ]
        assert http.post(url + CHAT, json=ASK).status_code == 200
        for client in (idle[0], idle[-1]):  # nor are they closed to make room
            client.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
            assert statuses(client.recv(65_536)) == [b"200"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(post(b"X-Canary\x01: secret-canary", LENGTH, body=BODY), id="a header"),
        pytest.param(b"\x16\x03\x01secret-canary\r\n\r\n", id="no HTTP at all"),
        pytest.param(b"GET /" + b"secret-canary" * 10_000 + b" HTTP/1.1\r\n\r\n", id="a long line"),
    ],
)
def test_what_is_no_http_is_not_echoed(url: str, request_bytes: bytes) -> None:
    head, _, body = exchanged(url, request_bytes).partition(b"\r\n\r\n")
    assert b"canary" not in head + body
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert fields.pop("date")
    assert uuid.UUID(fields.pop("x-request-id"))
    assert fields.pop("connection", "close") == "close"
    assert fields == {
        **{name: value.lower() for name, value in headers.SECURITY.items()},
        "content-type": "application/json",
        "content-length": str(len(body)),
        "server": "bifrost-vllm",
    }
    assert json.loads(body) == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {"message": "malformed HTTP request", "type": "invalid_request_error"},
    }


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(post(LENGTH, body=BODY, line=b"POST " + CHAT.encode() + b" HTTP/2.0"), 505, id="HTTP/2"),
        pytest.param(post(LENGTH, body=BODY, line=b"POST " + CHAT.encode() + b" HTTP/0.9"), 505, id="HTTP/0"),
        pytest.param(
            post(CHUNKED, body=CHUNKS, line=b"POST " + CHAT.encode() + b" HTTP/1.0"), 400, id="1.0 and chunks"
        ),
        pytest.param(post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501, id="gzip and chunks"),
        pytest.param(
            post(LENGTH, body=BODY).replace(b"Host: h\r\n", b"Host: a/b@c\r\n"), 400, id="a strange host"
        ),
    ],
)
def test_what_is_framed_in_ways_not_spoken_here(
    url: str, upstream: Upstream, request_bytes: bytes, status: int
) -> None:
    upstream.always_answers(reply(COMPLETION))
    answer = exchanged(url, request_bytes)
    assert answer.split(b" ", 2)[1] == b"%d" % status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status_code"] == status
    assert upstream.seen == []


def test_health_tells_which_keys_rest(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    keys = (Key("k", "k", url=upstream.url, models=("*",)),)
    url = serve(Config(keys, selection=Selection(cooldown_s=60)))
    upstream.answers(reply({"error": {"message": "no", "type": "x", "code": 401}}, 401))
    assert http.post(url + CHAT, json=ASK).status_code in {401, 502}
    assert http.get(f"{url}/health").json() == {"status": "ok", "keys": [{"name": "k", "status": "resting"}]}


def test_a_key_rests_until_the_moment_that_its_server_names(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    """By the server's own clock, which is years behind; without its word the key would not rest."""
    keys = (Key("k", "k", url=upstream.url, models=("*",)),)
    url = serve(Config(keys, selection=Selection(cooldown_s=1e-9)))
    times = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry_after": "Wed, 21 Oct 2015 08:28:00 GMT"}
    upstream.answers(reply({"error": "Unauthorized"}, 401, **times))
    http.post(url + CHAT, json=ASK)
    assert http.get(f"{url}/health").json()["keys"] == [{"name": "k", "status": "resting"}]


def test_a_client_that_leaves_amid_a_stream_is_no_error_in_the_log(
    url: str, upstream: Upstream, http: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(stream_head())
        try:
            while True:
                await exchange.send(chunk(frame(HELLO[1])))
        except ConnectionError:
            exchange.seen.left.set()
            raise

    upstream.answers(endless, stream(*HELLO[:-1], DONE))
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        next(answer.iter_lines())
    upstream.request().left.wait()
    assert http.post(url + CHAT, json=ASK_STREAM).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
