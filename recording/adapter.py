"""Makes a LoRA adapter for the chat model, so that one is in the list of models.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.adapter DIRECTORY MODEL``. It has learnt
nothing: its second factors are zero, as they are before training, so that it
changes no answer. https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

import json
import sys
from pathlib import Path
from typing import Final

# pyright: reportMissingImports=false
import torch  # type: ignore[import-not-found]
from safetensors.torch import save_file  # type: ignore[import-not-found]

from recording.server import ADAPTER_RANK as RANK

PROJECTIONS: Final = ("q_proj", "v_proj")


def main(directory: str, model: str) -> int:
    shape = json.loads((Path(model) / "config.json").read_text())
    rows = {
        "q_proj": shape["num_attention_heads"] * shape["head_dim"],
        "v_proj": shape["num_key_value_heads"] * shape["head_dim"],
    }
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for projection in PROJECTIONS:
            place = f"base_model.model.model.layers.{layer}.self_attn.{projection}"
            weights[f"{place}.lora_A.weight"] = torch.ones(RANK, shape["hidden_size"])
            weights[f"{place}.lora_B.weight"] = torch.zeros(rows[projection], RANK)
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(weights, Path(directory) / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": list(PROJECTIONS),
        "bias": "none",
    }
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
