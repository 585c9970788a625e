"""Does a program do what its tests ask? Calls made in a sandbox, values compared out here.

Follows the form of HumanEval (Chen et al. 2021, arXiv:2107.03374): a prompt with the head of a Python function, and a
test with asserts. Its own runner executes program and test in one process and believes that process; a program then
passes by `os._exit(0)`, by objects that equal everything, or by reading the asserts. Here only arguments go in and only
plain values come out (`synth.verify.assertions`).

Asserts that cannot be read without running them never count for the program: when all others hold, the verdict is
undecided ("untrusted_test"); when one fails, it is wrong all the same.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from synth.verify import assertions, driver, sandbox
from synth.verify.answers import final_part
from synth.verify.assertions import Assertion
from synth.verify.peer import Gone, Peer, Silent
from synth.verify.verdict import Verdict, right, undecided, wrong

PROGRAM_CHARACTERS = 100_000
START_SECONDS = 30.0
_FENCE = re.compile(r"^([`~]{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Limits:
    """What one call may use. CPU time decides, so that a busy machine changes no verdict; wall time is the last resort."""

    cpu_seconds: int = 5
    wall_seconds: float = 30.0
    memory_bytes: int = 512 << 20
    processes: int = 12  # of one sandbox, threads included
    file_bytes: int = 16 << 20


@dataclass(frozen=True)
class Failure:
    """Why a call gave no value: `reason` is one of few words."""

    reason: str
    detail: str


class Infrastructure(Exception):
    """The sandbox, not the program, failed."""


def check(
    answer: str,
    prompt: str,
    function: str,
    test: str,
    limits: Limits = Limits(),
) -> Verdict:
    """The verdict on a generated answer. Without a sandbox it is undecided: nothing runs unprotected."""
    program = program_of(answer, prompt, function)
    if isinstance(program, Verdict):
        return program
    wanted = assertions.read(test, function)
    if not wanted.assertions:
        return undecided("untrusted_test", (wanted.unread or ["the test asserts nothing"])[0], program)
    if missing := sandbox.unavailable():
        return undecided("no_sandbox", missing, program)
    for last_try in (False, True):
        try:
            failed = first_failure(program, function, wanted.assertions, limits)
            break
        except assertions.Unread:
            return undecided("untrusted_test", "a condition is too big to work out", program)
        except Infrastructure as error:
            if last_try:
                return undecided("sandbox_failed", str(error), program)
    if failed is not None:
        return wrong(failed.reason, failed.detail, program)
    if wanted.unread:
        return undecided("untrusted_test", wanted.unread[0], program)
    return right(program, f"{len(wanted.assertions)} asserts")


def program_of(answer: str, prompt: str, function: str) -> str | Verdict:
    """The program in an answer: the last fenced block that defines the function, after the head of the prompt.

    The prompt's imports and other functions come first, so an answer need not repeat them. An answer without a
    fenced block may be the program itself, or the rest of the prompt.
    """
    text = final_part(answer)
    blocks = [match[3] for match in _FENCE.finditer(text)]
    head = _before(prompt, function)
    candidates = [head + block for block in reversed(blocks)]
    if not blocks:
        candidates = [head + text, prompt + text]
    broken = ""
    for program in candidates:
        if len(program) > PROGRAM_CHARACTERS:
            return wrong("too_long", f"{len(program)} characters of program")
        try:
            tree = ast.parse(program)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            broken = broken or f"{type(error).__name__}: {error}"[:200]
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == function and not _is_stub(node):
                return program
    if not blocks:
        return wrong("no_code", f"neither a code block nor a definition of {function}")
    return wrong("does_not_run" if broken else "no_function", broken or f"{function} is not defined")


def first_failure(program: str, function: str, tests: list[Assertion], limits: Limits) -> Failure | None:
    """Run the tests in one sandbox up to the first that fails. Raises `Infrastructure`, `assertions.Unread`."""
    return next((failure for failure in outcomes(program, function, tests, limits) if failure), None)


def outcomes(program: str, function: str, tests: list[Assertion], limits: Limits) -> Iterator[Failure | None]:
    """One by one what became of each test: None where it holds, or a `Failure`. One sandbox serves them all.

    Abandon the iterator after the first failure, or take all: a call that takes the sandbox down costs a new one.
    """
    peer: Peer | None = None
    try:
        for assertion in tests:
            values: list[Any] = []
            failure: Failure | None = None
            for call in assertion.calls:
                if peer is None or not peer.alive:
                    peer = _start(program, function, limits)
                value = _ask(peer, call, limits)
                if isinstance(value, Failure):
                    failure = Failure(value.reason, f"{assertion.text}: {value.detail}"[:500])
                    break
                values.append(value[0])
            if failure is None and not assertion.holds(values):
                failure = Failure("tests_failed", f"{assertion.text}: got {repr(values)[1:-1][:200]}")
            yield failure
    finally:
        if peer is not None:
            peer.kill()


def _start(program: str, function: str, limits: Limits) -> Peer:
    options = {key: value for key, value in asdict(limits).items() if key != "wall_seconds"}
    try:
        peer = sandbox.start(inspect.getsource(driver), [json.dumps(options)])
    except OSError as error:
        raise Infrastructure(str(error)) from None
    nonce = secrets.token_hex(8)
    job = {"program": program, "function": function, "imports": _imports(program), "nonce": nonce}
    try:
        answer = peer.ask(job, START_SECONDS)
    except (Silent, Gone) as error:
        raise Infrastructure(f"the sandbox did not start: {error}") from None
    if answer.get("nonce") != nonce:
        peer.kill()
        raise Infrastructure("the sandbox did not answer")
    return peer


def _ask(peer: Peer, call: assertions.Call, limits: Limits) -> tuple[Any] | Failure:
    nonce = secrets.token_hex(8)
    message = {
        "arguments": driver.encode(call.arguments),
        "keywords": driver.encode(call.keywords),
        "nonce": nonce,
    }
    try:
        answer = peer.ask(message, limits.wall_seconds)
        if answer.get("nonce") != nonce:
            raise Gone("an answer to a question that was not asked")
    except Silent:
        return Failure("timeout", f"more than {limits.wall_seconds:g} s")
    except Gone as error:
        peer.kill()
        return Failure("crashed", str(error))
    if "failed" in answer:
        known = (
            "does_not_run",
            "raised",
            "timeout",
            "crashed",
            "out_of_memory",
            "output_limit",
            "not_plain_value",
        )
        reason = answer["failed"] if answer["failed"] in known else "crashed"
        return Failure(reason, str(answer.get("detail", ""))[:300])
    try:
        return (driver.decode(answer["value"]),)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return Failure("not_plain_value", "what was sent is no encoded value")


def _before(prompt: str, function: str) -> str:
    """The prompt up to the definition of the function; "" if it cannot be read."""
    try:
        tree = ast.parse(prompt)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "".join(prompt.splitlines(keepends=True)[: first - 1])
    return ""


def _is_stub(node: ast.FunctionDef) -> bool:
    """Only a docstring, `pass` or `...`: the prompt repeated."""
    return all(
        isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in node.body
    )


def _imports(program: str) -> list[str]:
    """Modules of the standard library that the program imports at its top: safe to import before it runs."""
    names = set()
    for node in ast.parse(program).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names & sys.stdlib_module_names - {"antigravity", "this", "idlelib", "turtle", "tkinter"})
