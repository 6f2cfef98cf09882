"""The models as vLLM read them while it had the fourth transformers.

Weights are what they were; only the files beside them are told differently.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

_ROPE: Final = "rope_parameters"
_TOKENIZER: Final = "PreTrainedTokenizerFast"


def converted(models: Path, target: Path) -> Path:
    """Copies of the folders in ``models``, made in ``target`` when they are missing."""
    for model in sorted(models.iterdir()):
        copy = target / model.name
        if model.is_dir() and not copy.exists() and not model.name.endswith(".unfinished"):
            unfinished = target / f"{model.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(model, unfinished)
            _convert(unfinished)
            unfinished.rename(copy)
    return target


def _convert(model: Path) -> None:
    config = _read(model / "config.json")
    if isinstance(rope := config.pop(_ROPE, None), dict):
        config["rope_theta"] = rope["rope_theta"]
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    _write(model / "config.json", config)
    tokenizer = _read(model / "tokenizer_config.json")
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = _TOKENIZER
    if isinstance(special := tokenizer.pop("extra_special_tokens", None), list):
        tokenizer["additional_special_tokens"] = special
    tokenizer.pop("backend", None)
    _write(model / "tokenizer_config.json", tokenizer)


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return document


def _write(file: Path, document: dict[str, Any]) -> None:
    if document:
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False), "utf-8")
