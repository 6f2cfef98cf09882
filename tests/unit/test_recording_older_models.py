"""recording.older_models: the same models, told as the fourth transformers read them."""

import json
from pathlib import Path

from recording.older_models import converted


def test_what_stands_beside_the_weights_is_told_differently(tmp_path: Path) -> None:
    made = tmp_path / "made" / "chat"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_bytes(b"weights")
    config = {"model_type": "qwen3", "dtype": "float32", "rope_parameters": {"rope_theta": 10000.0}}
    (made / "config.json").write_text(json.dumps(config))
    tokenizer = {
        "backend": "tokenizers",
        "tokenizer_class": "TokenizersBackend",
        "extra_special_tokens": ["<a>"],
    }
    (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (tmp_path / "made" / "half.unfinished").mkdir()

    target = converted(tmp_path / "made", tmp_path / "older")
    assert [each.name for each in target.iterdir()] == ["chat"]
    assert (target / "chat" / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((target / "chat" / "config.json").read_text()) == {
        "model_type": "qwen3",
        "rope_theta": 10000.0,
        "torch_dtype": "float32",
    }
    assert json.loads((target / "chat" / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
    }
    assert json.loads((made / "config.json").read_text()) == config, "what they were made of is as it was"
