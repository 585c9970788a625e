"""A process that answers JSON messages over a socket, never trusted to be quick, alive or honest."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from typing import Any

MESSAGE_BYTES = 4 << 20  # the longest answer that is read


class Silent(Exception):
    """The process did not answer in time. It has been killed."""


class Gone(Exception):
    """The process has ended, or what it sent is no message. It has been killed."""


class Peer:
    """Our end: sends one JSON object a line, reads one JSON object a line, kills when in doubt."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process, self._channel, self._rest = process, channel, b""

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and wait for the answer, in all at most `seconds` (wall). Raises `Silent` or `Gone`."""
        self.send(message, seconds)
        return self.receive(seconds)

    def send(self, message: dict[str, Any], seconds: float) -> None:
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError:
            self.kill()
            raise Silent(f"did not take the message within {seconds:g} s") from None
        except OSError as error:
            self.kill()
            raise Gone(str(error)) from None

    def receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        received = [self._rest]
        size = len(self._rest)
        try:
            while b"\n" not in received[-1]:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._channel.settimeout(left)
                part = self._channel.recv(1 << 16)
                size += len(part)
                if not part or size > MESSAGE_BYTES:
                    raise Gone("the connection was closed" if not part else "the message is too long")
                received.append(part)
            line, _, self._rest = b"".join(received).partition(b"\n")
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("not an object")
            return answer
        except TimeoutError:
            self.kill()
            raise Silent(f"no answer within {seconds:g} s") from None
        except (OSError, ValueError, RecursionError) as error:
            self.kill()
            raise Gone(f"{type(error).__name__}: {error}"[:200]) from None
        except Gone:
            self.kill()
            raise

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        with contextlib.suppress(OSError):
            self._channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None and self._channel.fileno() >= 0
