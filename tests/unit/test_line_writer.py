"""Lines of the access log: many in few writes, none lost."""

import io

from serving.line_writer import write_lines


class Stream(io.StringIO):
    """Remembers what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


class Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def written(*lines: str) -> list[str]:
    stream = Stream()
    write_lines(stream, lines)
    return stream.writes


def test_lines_go_out_together() -> None:
    assert written("a", "b", "c") == ["a\nb\nc\n"]


def test_a_write_is_no_longer_than_a_pipe_keeps_in_one_piece() -> None:
    lines = [f"{number:03}" + "x" * 97 for number in range(100)]
    writes = written(*lines)
    assert "".join(writes) == "\n".join([*lines, ""])
    assert [len(text) <= 4096 for text in writes] == [True] * len(writes)
    assert len(writes) == 3


def test_without_a_reader_requests_go_on() -> None:
    stream = Gone()
    write_lines(stream, ["a"])
    assert stream.getvalue() == ""
