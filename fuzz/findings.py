"""What was found by bytes that nobody would send, and the test that keeps it fixed."""

from typing import Final, NamedTuple


class Finding(NamedTuple):
    """One fault that is fixed; ``test`` is the name of a test function, or a case of one, in ``tests/``."""

    found_by: str
    what: str
    test: str


FINDINGS: Final[tuple[Finding, ...]] = (
    Finding(
        "responses stream",
        "`KeyError` on a token without bytes and without a log probability, after which nothing came",
        "test_the_rest_of_a_letter_without_its_probability_has_no_place_beside_the_text",
    ),
    Finding(
        "faults on sockets",
        "a reset right behind `[DONE]` raised `RuntimeError` out of a stream over aiohttp",
        "test_a_reset_on_a_socket_is_a_reset_in_a_replay",
    ),
    Finding(
        "faults on sockets",
        "over requests, an answer with two lengths was told as a failed connection, with the name of a class",
        "test_a_fault_comes_to_its_outcome",
    ),
)
