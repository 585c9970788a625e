"""Inside the sandbox: runs calls of a program and sends the values back. Standard library only, started from its source.

Arguments go in, values come out; what value would be right is never known in here. Each call runs in a forked child
with limits of its own. A program may take over this process too: all it gains is to answer what it likes, and a wrong
answer is a wrong answer. Each message carries a fresh nonce, so that nothing can be answered before it was asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import types
from collections.abc import Iterator
from typing import Any

VALUE_BYTES = 1 << 20  # the longest value that is sent


def encode(value: Any) -> Any:
    """A plain Python value as JSON that keeps its type. Raises TypeError for anything else.

    Subclasses are read with the methods of the class they inherit from, so that an object cannot lie about itself.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__getitem__(value, slice(None))
    if isinstance(value, int):
        number = int.__add__(value, 0)
        return number if abs(number) < 1 << 53 else {"int": hex(number)}
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, list):
        return [encode(item) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in tuple.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in dict.items(value)]}
    if isinstance(value, set):
        return {"set": [encode(item) for item in set.__iter__(value)]}
    if isinstance(value, frozenset):
        return {"frozenset": [encode(item) for item in frozenset.__iter__(value)]}
    if isinstance(value, bytes):
        return {"bytes": bytes.hex(value)}
    if isinstance(value, complex):
        return {"complex": [float.hex(complex.real.__get__(value)), float.hex(complex.imag.__get__(value))]}
    raise TypeError(f"a value of type {type(value).__name__} is not plain")


def decode(value: Any) -> Any:
    """The inverse of `encode`. Raises ValueError or TypeError for what `encode` never writes."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("not an encoded value")
    ((kind, body),) = value.items()
    if kind == "int":
        return int(body, 16)
    if kind == "float":
        return float.fromhex(body)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in body}
    if kind == "bytes":
        return bytes.fromhex(body)
    if kind == "complex":
        return complex(float.fromhex(body[0]), float.fromhex(body[1]))
    containers = {"tuple": tuple, "set": set, "frozenset": frozenset}
    return containers[kind](decode(item) for item in body)


def main(channel: int, limits: dict[str, int]) -> None:
    """First message: {"program", "function", "imports", "nonce"}; then calls {"arguments", "keywords", "nonce"}."""
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    messages = _messages(channel)
    job = next(messages)
    for name in job["imports"]:  # once here instead of once a call
        with contextlib.suppress(ImportError):
            __import__(name)
    _send(channel, {"nonce": job["nonce"]})
    for call in messages:
        _send(channel, {"nonce": call["nonce"], **_call_in_child(job, call, channel, limits)})


def _messages(channel: int) -> Iterator[dict[str, Any]]:
    rest = b""
    while part := os.read(channel, 1 << 16):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _send(channel: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(channel, data) :]


def _call_in_child(
    job: dict[str, Any], call: dict[str, Any], channel: int, limits: dict[str, int]
) -> dict[str, Any]:
    inward, outward = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(channel)
            os.close(inward)
            resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"],) * 2)
            result = json.dumps(_call(job, call)).encode()
            if len(result) > VALUE_BYTES:
                result = b'{"failed": "output_limit", "detail": "the value is too long"}'
            result = b"%12d" % len(result) + result
            while result:
                result = result[os.write(outward, result) :]
        finally:
            os._exit(0)
    os.close(outward)
    data = b""
    while len(data) < 12 or len(data) < 12 + int(data[:12]) <= 12 + VALUE_BYTES:
        part = os.read(inward, 1 << 16)
        if not part:
            break
        data += part
        if len(data) >= 12 and not data[:12].strip().isdigit():
            break
    os.close(inward)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # the child and whatever it left behind
    _, status, usage = os.wait4(child, 0)
    try:
        result = json.loads(data[12:])
        if isinstance(result, dict):
            return {key: result[key] for key in ("value", "failed", "detail") if key in result}
    except (ValueError, RecursionError):
        pass
    if usage.ru_utime + usage.ru_stime > limits["cpu_seconds"] - 0.5:
        return {"failed": "timeout", "detail": f"more than {limits['cpu_seconds']} s of CPU time"}
    return {"failed": "crashed", "detail": f"ended with status {status} and no value"}


def _call(job: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    stage = "does_not_run"
    try:
        module = types.ModuleType("solution")
        sys.modules["solution"] = module
        exec(compile(job["program"], "solution.py", "exec"), module.__dict__)
        function = module.__dict__[job["function"]]
        arguments, keywords = decode(call["arguments"]), decode(call["keywords"])
        stage = "raised"
        value = function(*arguments, **keywords)
        stage = "not_plain_value"
        return {"value": encode(value)}
    except MemoryError:
        return {"failed": "out_of_memory", "detail": "the memory limit was reached"}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are no way out
        return {"failed": stage, "detail": type(error).__name__ + ": " + str(error)[:200]}


if __name__ == "__main__":
    private = os.dup(0)
    os.closerange(private + 1, 256)
    for standard, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        null = os.open("/dev/null", flags)
        os.dup2(null, standard)
        os.close(null)
    main(private, json.loads(sys.argv[1]))
