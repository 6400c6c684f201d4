"""Are the links what they were configured to be? A plain socket's ping-pong and stream.

    python benchmarks/cluster/verify_links.py

For each setting: the round trip of 64 bytes and the rate of a long stream between two hosts,
beside what was configured. Knows sockets and hosts; no JAX.
"""

import json
import socket
import statistics
import sys
import time

from cluster_box import Box, Setting, address, box

__all__ = ["SETTINGS", "measure"]

SETTINGS = (
    Setting(25e6, 1e-3, 0.0),
    Setting(6.25e6, 5e-3, 0.0),
    Setting(125e6, 0.2e-3, 0.0),
)
PORT, PINGS, PING_BYTES, STREAM_S = 9000, 30, 64, 1.5
HEADERS = 9000 / (9000 - 52)
"""Bytes of a packet over those of its payload: IPv4, TCP and its time stamps."""


def measure(up: Box) -> tuple[float, float]:
    """Return (one-way delay, s; rate, bytes of packets/s) between hosts 0 and 1 of a box."""
    stream_bytes = str(int(up.setting.bytes_per_s * STREAM_S))
    mine = [sys.executable, __file__]
    _, printed = up.run([[*mine, "answer"], [*mine, "ask", stream_bytes]], limit_s=40.0)
    delay_s, rate = json.loads(printed)
    return delay_s, rate


def _read(peer: socket.socket, count: int) -> None:
    while count:
        count -= len(peer.recv(min(count, 1 << 18)))


def _answer() -> None:
    with socket.create_server((address(0), PORT)) as server:
        peer, _ = server.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            _read(peer, PING_BYTES)
            peer.sendall(bytes(PING_BYTES))
        while data := peer.recv(1 << 18):
            if data[-1] == 1:  # the last byte of a stream
                peer.sendall(b"1")


def _ask(stream_bytes: int) -> None:
    peer = _connected()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trips = []
    for _ in range(PINGS):
        start = time.perf_counter()
        peer.sendall(bytes(PING_BYTES))
        _read(peer, PING_BYTES)
        trips.append(time.perf_counter() - start)
    taken = []
    for part in (0.2, 1.0):  # the difference leaves out the start and the last delay
        start = time.perf_counter()
        peer.sendall(bytes(int(stream_bytes * part) - 1) + b"\x01")
        _read(peer, 1)
        taken.append(time.perf_counter() - start)
    rate = 0.8 * stream_bytes * HEADERS / (taken[1] - taken[0])
    print(json.dumps([statistics.median(trips) / 2.0, rate]))


def _connected() -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection((address(0), PORT), timeout=5.0)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("host 0 does not answer")


def main() -> None:
    """Print configured and measured for every setting."""
    print("| link | delay, ms: configured | measured | Mbit/s: configured | measured |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for setting in SETTINGS:
        with box(2, setting) as up:
            delay_s, rate = measure(up)
        print(
            f"| {setting.name} | {setting.delay_s * 1e3:.2f} | {delay_s * 1e3:.2f} "
            f"| {setting.bytes_per_s * 8e-6:.0f} | {rate * 8e-6:.1f} |"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["answer"]:
            _answer()
        case ["ask", count]:
            _ask(int(count))
        case _:
            main()
