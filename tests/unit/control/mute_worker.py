"""A worker that hangs before its first word."""

import signal


def main(argv: list[str]) -> int:
    while True:
        signal.pause()
