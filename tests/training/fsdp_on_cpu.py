"""`training.pretrain` under FSDP2 on CPU ranks, for a test: accelerate offers FSDP on accelerators only, torch has it here.

Started by torchrun. Only accelerate's choice of strategy is overruled; model, sharding, training and checkpoints are real.
"""

import sys
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from training import pretrain

usual = pretrain.accelerator_for


def sharded(precision: str) -> Any:
    accelerator = usual(precision)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Block", "MTPBlock"],
        cpu_ram_efficient_loading=False,
    )
    AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin}
    assert accelerator.is_fsdp2
    return accelerator


pretrain.accelerator_for = sharded
sys.exit(pretrain.main())
