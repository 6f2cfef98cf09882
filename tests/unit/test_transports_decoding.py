"""A content encoding comes off, whatever the cuts, and never in more than a slice at a time."""

import gzip
import zlib

import pytest

from transports.decoding import ContentDecoder, UndecodableError

TEXT = bytes(range(256)) * 40 + bytes(300_000) + b"the end"
SLICE = 64 * 1024


def squeezed(wbits: int) -> bytes:
    squeezer = zlib.compressobj(wbits=wbits)
    return squeezer.compress(TEXT) + squeezer.flush()


ENCODED = {
    "none": ("", TEXT),
    "identity": (" Identity ", TEXT),
    "gzip": ("gzip", squeezed(31)),
    "x-gzip": ("X-GZip", squeezed(31)),
    "two gzip members": ("gzip", gzip.compress(TEXT[:5]) + gzip.compress(TEXT[5:])),
    "deflate": ("deflate", squeezed(15)),
    "raw deflate": ("deflate", squeezed(-15)),
}


@pytest.mark.parametrize(("encoding", "data"), ENCODED.values(), ids=ENCODED)
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_cuts_do_not_matter(encoding: str, data: bytes, size: int) -> None:
    decoder, decoded, largest = ContentDecoder(encoding), bytearray(), 0
    for start in range(0, len(data), size):
        piece = decoder.feed(data[start : start + size])
        while piece:
            decoded += piece
            largest = max(largest, len(piece))
            piece = decoder.take()
    decoder.close()
    assert decoded == TEXT
    assert largest <= SLICE or data is TEXT


def test_raw_deflate_may_be_stored_uncompressed() -> None:
    decoder = ContentDecoder("deflate")
    assert decoder.feed(b"\x01\x03\x00\xfc\xffabc") == b"abc"
    decoder.close()


@pytest.mark.parametrize("wbits", [31, 15, -15])
def test_what_was_flushed_comes_at_once(wbits: int) -> None:
    squeezer = zlib.compressobj(wbits=wbits)
    decoder = ContentDecoder("gzip" if wbits == 31 else "deflate")
    for event in (b"one", b"two", b"three"):
        assert decoder.feed(squeezer.compress(event) + squeezer.flush(zlib.Z_SYNC_FLUSH)) == event
        assert decoder.take() == b""
    with pytest.raises(UndecodableError, match="the body ended early"):
        decoder.close()


@pytest.mark.parametrize("missing", range(12))
def test_nothing_stays_behind_when_a_slice_is_just_full(missing: int) -> None:
    """All of what there is input for comes out, wherever in a repetition the slice ends."""
    squeezer = zlib.compressobj(wbits=31)
    data = squeezer.compress(bytes(SLICE + 200)) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    data = data[: len(data) - missing]
    decoder = ContentDecoder("gzip")
    size = len(decoder.feed(data))
    while piece := decoder.take():
        size += len(piece)
    assert size == len(zlib.decompressobj(wbits=31).decompress(data))


def test_no_body_at_all_is_whole() -> None:
    for encoding in ("", "gzip", "deflate", "br"):
        ContentDecoder(encoding).close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_encoded_is_refused(encoding: str) -> None:
    with pytest.raises(UndecodableError, match="content encoding is broken"):
        ContentDecoder(encoding).feed(b"data: not compressed\n\n" * 9)


def test_what_follows_the_encoded_body_is_refused() -> None:
    decoder = ContentDecoder("gzip")
    assert decoder.feed(gzip.compress(b"abc") + b"more of it") == b"abc"
    with pytest.raises(UndecodableError, match="content encoding is broken"):
        decoder.take()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "x-gzip, br"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(UndecodableError, match="content encoding is not supported"):
        ContentDecoder(encoding).feed(b"abc")
