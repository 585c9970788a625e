"""What a model's folder wants of vLLM: drafting with its multi-token-prediction (MTP) block, where that is right.

Speculative decoding does not change what is said, only how fast: drafts that the model would not have drawn are
rejected (Leviathan et al. 2023). The report finds about 90 % of the first block's drafts accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipeline.errors import RequestError
from pipeline.models import FOLDERS, model_folder
from pipeline.server import devices, mtp_blocks, serve

REPAIR = "reasonmill.speculation_worker.RepairedSampling"


class Speculation(NamedTuple):
    """Options of vLLM, none where it does not draft, and a sentence about it."""

    options: dict[str, Any]
    why: str


def speculation(model: str, wanted: bool | None = None, *, device: str = "auto") -> Speculation:
    """How a server of this model folder drafts. wanted: None drafts where the checkpoint has an MTP block.

    One token a step, by the first block: the one that is right most often. Raises `RequestError` where drafts are
    wanted and there is nothing to draft with, or vLLM is not there.
    """
    blocks = mtp_blocks(model)
    if wanted is False:
        return Speculation({}, "no drafts: --no-mtp")
    if not blocks:
        if wanted:
            raise RequestError(
                f"{model}: its config.json knows of no MTP block (num_nextn_predict_layers) to draft with; leave --mtp out."
            )
        return Speculation({}, "no drafts: the checkpoint has no MTP block")
    options: dict[str, Any] = {"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}}
    if devices(device)[0] == "cpu":
        # Greedy decoding is right without, but a server does not know what it will be asked.
        options["worker_extension_cls"] = REPAIR
    return Speculation(options, "drafts one token a step with its MTP block")


def serve_model(
    model: str,
    port: int = 8000,
    *,
    mtp: bool | None = None,
    options: Mapping[str, Any] | None = None,
    echo: Callable[[str], None] = print,
) -> None:
    """Serves a folder or a known model until Ctrl-C. The user's own vLLM options win over ours."""
    given = {name.replace("-", "_"): value for name, value in (options or {}).items()}
    folder = str(model_folder(model)) if model in FOLDERS else model
    if "speculative_config" in given:
        serve(folder, port, options=given, echo=echo)
        return
    drafting = speculation(folder, mtp)
    echo(f"{model}: {drafting.why}")
    serve(folder, port, options=drafting.options | given, echo=echo)
