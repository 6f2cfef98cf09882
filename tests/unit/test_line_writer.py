"""Lines of the access log: the first at once, many in few writes, none lost."""

import asyncio
import io

from serving.line_writer import LineWriter


class Stream(io.StringIO):
    """Remembers what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.twice = asyncio.Event()

    def write(self, text: str) -> int:
        self.writes.append(text)
        if len(self.writes) == 2:
            self.twice.set()
        return super().write(text)


class Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def written(*lines: str) -> list[str]:
    async def write() -> list[str]:
        stream = Stream()
        writer = LineWriter(stream)
        for line in lines:
            writer.write(line)
        writer.close()
        return stream.writes

    return asyncio.run(write())


def test_the_first_line_goes_out_at_once_and_the_rest_together() -> None:
    assert written("a", "b", "c") == ["a\n", "b\nc\n"]


def test_what_waits_goes_out_without_being_asked() -> None:
    async def later() -> list[str]:
        stream = Stream()
        writer = LineWriter(stream)
        for line in ("a", "b", "c"):
            writer.write(line)
        await asyncio.wait_for(stream.twice.wait(), 5)
        return stream.writes

    assert asyncio.run(later()) == ["a\n", "b\nc\n"]


def test_a_write_is_no_longer_than_a_pipe_keeps_in_one_piece() -> None:
    lines = [f"{number:03}" + "x" * 97 for number in range(100)]
    writes = written(*lines)
    assert "".join(writes) == "\n".join([*lines, ""])
    assert [len(text) <= 4096 for text in writes] == [True] * len(writes)
    assert len(writes) == 4


def test_so_many_lines_do_not_wait() -> None:
    async def waiting() -> str:
        stream = Stream()
        writer = LineWriter(stream)
        for number in range(513):
            writer.write(str(number))
        said = "".join(stream.writes)
        writer.close()
        return said

    assert asyncio.run(waiting()) == "".join(f"{number}\n" for number in range(513))


def test_without_a_reader_requests_go_on() -> None:
    async def write() -> str:
        writer = LineWriter(Gone())
        writer.write("a")
        writer.close()
        return "still here"

    assert asyncio.run(write()) == "still here"
