"""Does stock vLLM compute what we trained? The same greedy tokens from our forward pass, vLLM, and vLLM with MTP.

Three witnesses answer the same prompts: our own forward pass without a cache, vLLM, and vLLM that drafts with the model's
MTP block and verifies. Our pass also reads vLLM's answers and rates each of their tokens, so that every token is
compared after the same history even where the answers part. A token that differs is a *tie* if our pass rates it as
high as its own choice up to rounding; anything else is a difference, and the check fails.

Our pass also foretells which drafts vLLM will accept. As many accepted as foretold is the proof that vLLM wires the MTP
block as it was trained; how many that are says how well the block was trained. Each witness is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import RequestError, RunError
from pipeline.server import devices, start_group, stop_group

PROMPTS = (
    "The capital of France is",
    "To prove that the square root of two is irrational, suppose that",
    "def fibonacci(n):\n    ",
    "$$\\int_0^1 x^2 \\, dx =",
    "<|im_start|>user\nHow many primes are there below 30?<|im_end|>\n<|im_start|>assistant\n",
    "从前有一座山，",
)
# Nats by which our pass may rate two tokens apart that rounding alone can swap: sums in another order.
TIE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.25}

# Share of drafts whose fate may differ from what our pass foretells, for the same reason.
ALLOWED = {"float32": 0.01, "float16": 0.05, "bfloat16": 0.1}


@dataclass
class Difference:
    """A place where an answer of vLLM is not our choice after the same history."""

    witness: str  # "vllm" or "vllm_mtp"
    prompt: int
    position: int  # in the answer
    ours: int  # token ids
    theirs: int
    ours_logprob: float
    theirs_logprob: float  # as our forward pass rates it
    tie: bool


@dataclass
class CheckResult:
    """What the check found. `None` is what could not be had; `missing` says why."""

    model: str
    device: str
    dtype: str
    prompts: int
    new_tokens: int
    equal: bool | None = None  # vLLM's tokens are ours, literally
    mtp_equal: bool | None = None  # vLLM's tokens with MTP are those without
    differences: list[Difference] = field(default_factory=list)
    largest_logprob_difference: float | None = (
        None  # of sampled tokens, ours and vLLM's, after the same history
    )
    drafts: int | None = None  # tokens the MTP block proposed
    accepted: int | None = None
    foretold_drafts: int | None = None  # by our forward pass
    foretold_accepted: int | None = None
    acceptance: float | None = None
    missing: str | None = None
    answers: dict[str, list[list[int]]] = field(default_factory=dict)  # token ids of each witness

    @property
    def passed(self) -> bool:
        """vLLM ran, every token that differs is a tie, and it accepts the drafts that it should.

        A tie may turn a draft's fate and with it the rest of an answer's; each is allowed one draft in a hundred.
        """
        if self.equal is None or not all(difference.tie for difference in self.differences):
            return False
        if self.drafts is None or self.accepted is None:
            return True
        assert self.foretold_accepted is not None
        return abs(self.accepted - self.foretold_accepted) <= ALLOWED[self.dtype] * self.drafts


def check_export(
    model_folder: str | Path,
    prompts: Sequence[str | Sequence[int]] | None = None,
    *,
    new_tokens: int = 48,
    device: str = "auto",
    output: str | Path | None = None,
    timeout: float = 1800.0,
) -> CheckResult:
    """Compares our forward pass, vLLM, and vLLM with MTP on a model folder written by `training.export`.

    prompts: texts, or lists of token ids; `PROMPTS` if none. device: as `pipeline.server.devices`. On a CPU all compute in
    float32, whatever the weights' type; on a GPU in the model's own. output: a JSON file for the result.

    Without a usable vLLM the result holds our answers and says what is missing. Raises `RequestError` for a wrong folder
    or prompt, `RunError` with the end of its output if a process fails.
    """
    folder = Path(model_folder)
    config = _read_config(folder)
    ids = _encode(folder, PROMPTS if prompts is None else prompts)
    # One more than the answer needs, or the engine stops drafting one token early.
    length = max(len(prompt) for prompt in ids) + new_tokens + 1
    if length > config["max_position_embeddings"]:
        raise RequestError(
            f"the longest prompt and {new_tokens} new tokens need a context of {length} tokens, the model's is "
            f"{config['max_position_embeddings']}; give shorter prompts or fewer new tokens."
        )
    missing = None
    try:
        target = devices(device)[0]
    except RequestError as error:
        target, missing = "cpu", str(error)
    dtype = "float32" if target == "cpu" else config.get("torch_dtype") or config.get("dtype") or "bfloat16"
    result = CheckResult(str(folder), target, dtype, len(ids), new_tokens, missing=missing)
    request = {
        "model": str(folder.resolve()),
        "device": target,
        "dtype": dtype,
        "prompts": ids,
        "new_tokens": new_tokens,
        "context": length,
        "remote_code": "auto_map" in config,
    }

    witnesses: dict[str, Any] = {}
    if missing is None:
        wanted = ["vllm"] + (["vllm_mtp"] if config.get("num_nextn_predict_layers") else [])
        # Importing vLLM takes longer than a small engine, so a CPU process makes both; a GPU's memory is only surely
        # free again when the process has gone.
        for names in [wanted] if target == "cpu" else [[name] for name in wanted]:
            witnesses |= _ask("vllm", request | {"engines": names}, timeout)
        if "vllm_mtp" not in wanted:
            result.missing = "the model has no MTP blocks"
    answers = {name: witness["tokens"] for name, witness in witnesses.items()}
    ours = _ask("ours", request | {"answers": answers}, timeout)
    result.answers = {"ours": ours["tokens"], **answers}
    compare(result, ours, witnesses)
    if output is not None:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"passed": result.passed, **asdict(result)}, indent=1) + "\n", encoding="utf-8"
        )
    return result


def show(result: CheckResult, console: Console | None = None) -> None:
    """Prints the result as a table."""
    table = Table(title=f"{result.model} on {result.device} in {result.dtype}", show_header=False)
    asked = f"{result.prompts} prompts × {result.new_tokens} tokens, greedy"
    table.add_row("compared", asked)
    words = {True: "the same", False: "[yellow]not the same[/]", None: "not known"}
    table.add_row("vLLM and our forward pass", words[result.equal])
    table.add_row("vLLM with and without MTP", words[result.mtp_equal])
    if result.largest_logprob_difference is not None:
        table.add_row("largest difference of log-probabilities", f"{result.largest_logprob_difference:.2g}")
    if result.acceptance is not None:
        table.add_row("drafts accepted", f"{result.accepted} of {result.drafts}: {result.acceptance:.1%}")
        table.add_row(
            "foretold by our forward pass", f"{result.foretold_accepted} of {result.foretold_drafts}"
        )
    for difference in result.differences[:10]:
        table.add_row(
            f"{difference.witness}, prompt {difference.prompt}, token {difference.position}",
            f"{difference.theirs} ({difference.theirs_logprob:.4f}) instead of "
            f"{difference.ours} ({difference.ours_logprob:.4f}): {'a tie' if difference.tie else '[red]different[/]'}",
        )
    if result.missing:
        table.add_row("missing", result.missing)
    table.add_row("result", "[green]passed[/]" if result.passed else "[red]not passed[/]")
    (console or Console()).print(table)


def compare(result: CheckResult, ours: dict[str, Any], witnesses: dict[str, Any]) -> None:
    if not witnesses:
        return
    gaps = []
    for name, witness in witnesses.items():
        rated = ours["rated"][name]
        for prompt, (tokens, logprobs) in enumerate(zip(witness["tokens"], witness["logprobs"], strict=True)):
            for position, (token, logprob, rating) in enumerate(
                zip(tokens, logprobs, rated[prompt], strict=True)
            ):
                gaps.append(abs(logprob - rating["logprob"]))
                if token != rating["best"]:
                    tie = rating["best_logprob"] - rating["logprob"] <= TIE[result.dtype]
                    best, best_logprob = rating["best"], rating["best_logprob"]
                    place = (name, prompt, position, best, token, best_logprob, rating["logprob"], tie)
                    result.differences.append(Difference(*place))
    result.largest_logprob_difference = max(gaps)
    result.equal = witnesses["vllm"]["tokens"] == ours["tokens"]
    if "vllm_mtp" in witnesses:
        mtp = witnesses["vllm_mtp"]
        result.mtp_equal = mtp["tokens"] == witnesses["vllm"]["tokens"]
        result.drafts, result.accepted = mtp["drafts"], mtp["accepted"]
        result.foretold_drafts, result.foretold_accepted = ours["foretold"]
        result.acceptance = mtp["accepted"] / mtp["drafts"] if mtp["drafts"] else None


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder}: cannot read config.json ({error}); expected a model folder.") from None


def _encode(folder: Path, prompts: Sequence[str | Sequence[int]]) -> list[list[int]]:
    if not prompts:
        raise RequestError("no prompt to check with; give at least one.")
    ids: list[list[int]] = []
    tokenizer = None
    for number, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            if tokenizer is None:
                import tokenizers

                tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            ids.append(tokenizer.encode(prompt).ids)
        else:
            ids.append(list(prompt))
        if not ids[-1]:
            raise RequestError(f"prompt {number} is empty; a model needs at least one token to go on from.")
    return ids


def _ask(witness: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Runs this module as a process that answers the request, and that ends with this one however that ends."""
    with tempfile.TemporaryDirectory(prefix="check-export-") as folder:
        question, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(request), encoding="utf-8")
        environment = {"HF_HUB_OFFLINE": "1", **os.environ}
        if request["device"] == "cpu":
            environment |= {
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "CUDA_VISIBLE_DEVICES": "",
            }
        else:
            environment["CUDA_VISIBLE_DEVICES"] = request["device"]
        command = [sys.executable, "-m", "reasonmill.check_export", witness, str(question), str(answer)]
        log = Path(folder, "log")
        keeper = start_group(command, log, environment)
        try:
            keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RunError(f"{witness} did not answer in {timeout:g} s.") from None
        finally:
            stop_group(keeper)  # with all that it started
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if "the process ended with status 0" not in said or not answer.exists():
            end = "\n".join(f"    {line}" for line in said[-30:])
            raise RunError(f"the process that runs {witness} failed. Its output ends:\n{end}")
        return json.loads(answer.read_text(encoding="utf-8"))


def _ours(request: dict[str, Any]) -> dict[str, Any]:
    """Our own greedy answers, and our rating of every token of the others'."""
    import torch

    from training.export import DTYPES, load
    from training.model import generate_greedy, next_logprobs

    model = (
        load(request["model"])
        .to("cpu" if request["device"] == "cpu" else "cuda", DTYPES[request["dtype"]])
        .eval()
    )
    rated: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in request["answers"]}
    for name, answers in request["answers"].items():
        for prompt, tokens in zip(request["prompts"], answers, strict=True):
            logprobs_LV = next_logprobs(model, [*prompt, *tokens])[len(prompt) - 1 : -1]
            best_logprobs, best = logprobs_LV.max(-1)
            chosen = logprobs_LV.gather(1, torch.tensor(tokens, device=best.device)[:, None])[:, 0]
            columns = zip(chosen.tolist(), best.tolist(), best_logprobs.tolist(), strict=True)
            rated[name].append([{"logprob": a, "best": b, "best_logprob": c} for a, b, c in columns])
    answers = []
    for number, prompt in enumerate(request["prompts"]):
        choices = [rating["best"] for rating in rated["vllm"][number]] if rated else None
        if choices is None or choices != request["answers"]["vllm"][number]:
            choices, _ = generate_greedy(model, prompt, request["new_tokens"])
        answers.append(
            choices
        )  # each of vLLM's tokens is our choice after those before it: then so is the whole answer
    result: dict[str, Any] = {"tokens": answers, "rated": rated}
    if "vllm_mtp" in rated:
        result["foretold"] = foretell_drafts(model, request["prompts"], request["answers"]["vllm_mtp"])
    return result


def foretell_drafts(model: Any, prompts: list[list[int]], answers: list[list[int]]) -> tuple[int, int]:
    """How many drafts an engine makes with the MTP block on its way through the answers, and how many it accepts.

    One draft a step: after token i it drafts token i+1 from slot i-1. Accepted, the step yields i+1 and i+2; rejected,
    i+1 alone.
    """
    import torch

    drafts = accepted = 0
    for prompt, answer in zip(prompts, answers, strict=True):
        sequence = [*prompt, *answer]
        with torch.no_grad():
            tokens_BL = torch.tensor([sequence], device=model.lm_head.weight.device)
            guesses = model.lm_head(model(tokens_BL).mtp[0][0]).argmax(-1).tolist()  # at slot i: of token i+2
        newest = len(prompt)  # the first token of the answer came with the prompt
        while newest + 1 < len(sequence):
            drafts += 1
            right = guesses[newest - 1] == sequence[newest + 1]
            accepted += right
            newest += 2 if right else 1
    return drafts, accepted


def _vllm(request: dict[str, Any]) -> dict[str, Any]:
    """Greedy answers of one vLLM engine after the other."""
    import gc

    from vllm import LLM, SamplingParams

    options: dict[str, Any] = {
        "model": request["model"],
        "dtype": request["dtype"],
        "max_model_len": request["context"],
        "trust_remote_code": request["remote_code"],
        "disable_log_stats": False,  # the counters of accepted drafts
        "seed": 0,
    }
    if request["device"] == "cpu":
        # The default cache is a share of the whole memory, and compiling takes longer than a check.
        options |= {"kv_cache_memory_bytes": _cache_bytes(request), "enforce_eager": True}
    sampling = SamplingParams(temperature=0.0, max_tokens=request["new_tokens"], ignore_eos=True, logprobs=0)
    answer: dict[str, Any] = {}
    for name in request["engines"]:
        mtp = name == "vllm_mtp"
        engine: Any = LLM(
            **options, speculative_config={"method": "mtp", "num_speculative_tokens": 1} if mtp else None
        )
        outputs = engine.generate([{"prompt_token_ids": prompt} for prompt in request["prompts"]], sampling)
        completions = [output.outputs[0] for output in outputs]
        answer[name] = {
            "tokens": [list(completion.token_ids) for completion in completions],
            "logprobs": [
                [
                    step[token].logprob
                    for token, step in zip(completion.token_ids, completion.logprobs, strict=True)
                ]
                for completion in completions
            ],
        }
        if mtp:
            counters = {metric.name: getattr(metric, "value", 0) for metric in engine.get_metrics()}
            answer[name]["drafts"] = int(counters["vllm:spec_decode_num_draft_tokens"])
            answer[name]["accepted"] = int(counters["vllm:spec_decode_num_accepted_tokens"])
        del engine
        gc.collect()
    return answer


def _cache_bytes(request: dict[str, Any]) -> int:
    """Room for all prompts at once in float32, twice over, for blocks that are not full and the drafter's layer."""
    config = _read_config(Path(request["model"]))
    layers = config["num_hidden_layers"] + config.get("num_nextn_predict_layers", 0)
    per_token = layers * 2 * 4 * config["num_key_value_heads"] * config["head_dim"]
    blocks = -(-request["context"] // 128) + 1
    return max(64 << 20, 2 * len(request["prompts"]) * blocks * 128 * per_token)


if __name__ == "__main__":
    witness, question, answer = sys.argv[1:]
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    Path(answer).write_text(json.dumps({"ours": _ours, "vllm": _vllm}[witness](asked)), encoding="utf-8")
