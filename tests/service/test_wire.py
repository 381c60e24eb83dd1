"""Messages between gateway and engine: whole, in order, and nothing that is not one."""

import asyncio
import socket
import struct

import pytest

from deixis.errors import BackendError
from deixis.service.wire import Frame, Pipe, read_frame

FRAMES = [
    Frame({"id": 1, "op": "ask", "asked": {"question": "杯子在哪里?"}}, (b"\x00" * 100_000, b"", b"two")),
    Frame({"id": 2, "op": "stats"}),
    Frame({"event": "ready"}, (b"x",)),
]


def test_frames_arrive_as_they_were_sent() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        pipe = Pipe(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        sending = [asyncio.create_task(asyncio.to_thread(lambda: [pipe.write(frame) for frame in FRAMES]))]
        for frame in FRAMES:
            got = await read_frame(reader)
            assert got is not None and (dict(got.head), got.blobs) == (dict(frame.head), frame.blobs)
        await asyncio.gather(*sending)
        for frame in FRAMES:
            writer.writelines(frame.encoded())
        await writer.drain()
        for frame in FRAMES:
            got = await asyncio.to_thread(pipe.read)
            assert got is not None and (dict(got.head), got.blobs) == (dict(frame.head), frame.blobs)
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(pipe.read) is None
        theirs.close()

    asyncio.run(run())


def text_frame(text: bytes, rest: bytes = b"") -> bytes:
    return struct.pack(">II", len(text), len(rest)) + text + rest


@pytest.mark.parametrize(
    "data",
    [
        text_frame(b"not json"),
        text_frame(b"[]"),
        text_frame(b"{}"),
        text_frame(b'{"blobs": [5]}', b"abc"),
        text_frame(b'{"blobs": ["a"]}', b"abc"),
        struct.pack(">II", 2**31, 0),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        with pytest.raises(BackendError, match=r"message"):
            Pipe(theirs).read()


def test_a_message_that_was_cut_off_is_the_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(text_frame(b'{"blobs": [3]}', b"abc")[:-1])
        ours.close()
        assert Pipe(theirs).read() is None
