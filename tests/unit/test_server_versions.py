"""serving.server_versions: versions are learnt beside the requests."""

import asyncio

from serving.server_versions import AGAIN_S, FRESH_S, ServerVersions
from transports import Endpoint

HERE, THERE = Endpoint("http://here"), Endpoint("http://there")


class Servers:
    """What servers say, and who was asked; ``now_s`` is the time."""

    def __init__(self, *says: str) -> None:
        self.says = [*says]
        self.asked: list[str] = []
        self.now_s = 0.0

    async def ask(self, endpoint: Endpoint) -> str:
        self.asked.append(endpoint.url)
        return self.says.pop(0)


def test_a_version_is_known_once_it_was_told_and_asked_anew_when_it_is_old() -> None:
    async def scenario() -> list[str]:
        servers = Servers("0.16.0", "0.32.0")
        versions = ServerVersions(servers.ask, lambda: servers.now_s)
        told = []
        for now_s in (0.0, FRESH_S - 1, FRESH_S, FRESH_S):
            servers.now_s = now_s
            told.append(versions.of(HERE))
            await versions.learnt()
        assert servers.asked == [HERE.url] * 2
        return told

    assert asyncio.run(scenario()) == ["", "0.16.0", "0.16.0", "0.32.0"]


def test_a_server_that_does_not_answer_is_unknown_and_left_alone_for_a_while() -> None:
    async def scenario() -> None:
        servers = Servers("", "0.16.0")
        versions = ServerVersions(servers.ask, lambda: servers.now_s)
        for now_s, known in ((0.0, ""), (AGAIN_S - 1, ""), (AGAIN_S, ""), (AGAIN_S, "0.16.0")):
            servers.now_s = now_s
            assert versions.of(HERE) == known
            await versions.learnt()
        assert servers.asked == [HERE.url] * 2

    asyncio.run(scenario())


def test_there_is_one_question_at_a_time_for_each_server() -> None:
    async def scenario() -> None:
        servers = Servers("0.16.0", "0.32.0")
        versions = ServerVersions(servers.ask, lambda: servers.now_s)
        assert [versions.of(each) for each in (HERE, HERE, THERE, HERE)] == [""] * 4
        await versions.learnt()
        assert servers.asked == [HERE.url, THERE.url]
        assert [versions.of(each) for each in (HERE, THERE)] == ["0.16.0", "0.32.0"]

    asyncio.run(scenario())


def test_a_question_under_way_is_given_up_at_the_end() -> None:
    async def scenario() -> None:
        async def never(_endpoint: Endpoint) -> str:
            await asyncio.Event().wait()
            return "0.16.0"

        versions = ServerVersions(never)
        assert versions.of(HERE) == ""
        await versions.close()
        await versions.learnt()

    asyncio.run(scenario())
