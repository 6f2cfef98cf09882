"""Makes the chat model that is recorded: a million parameters, one minute.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.chat_model DIRECTORY``. A Qwen3 of four layers
learns the dialogues by heart, so that at temperature 0 it answers them
sensibly: with thoughts, tool calls and several scripts; and so it does with
bare texts that are to be continued. It fails when one of them did not stick.
"""

import json
import math
import random
import sys
from pathlib import Path
from typing import Any, Final

# pyright: reportMissingImports=false
import torch  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (  # type: ignore[import-not-found]
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from recording.dialogues import CONTINUATIONS, DIALOGUES, Dialogue

VOCABULARY: Final = 900
STEPS: Final = 360
BATCH: Final = 12
PEAK_RATE: Final = 3e-3
WARM_UP: Final = 20
SEED: Final = 7
IGNORED: Final = -100
END: Final = "<|im_end|>"
SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", END)
MARKERS: Final = ("<think>", "</think>", "<tool_call>", "</tool_call>")

TEMPLATE: Final = """\
{%- set first = messages[0] if messages[0].role == 'system' else none %}
{%- if first or tools %}
{{- '<|im_start|>system\\n' + (first.content if first else '') }}
{%- if tools %}
{{- '\\n# Tools\\n' }}
{%- for tool in tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>tool\\n' + message.content + '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- set thought = message.reasoning or message.reasoning_content %}
{%- if thought %}{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}{%- endif %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content or not loop.first else '' }}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}"""


def rendered(tokenizer: Any, dialogue: Dialogue, thinking: bool) -> tuple[str, str]:
    """The prompt as the server will build it, and what is to follow."""
    prompt: str = tokenizer.apply_chat_template(
        dialogue.messages,
        tools=dialogue.tools or None,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=thinking,
    )
    blank = "" if dialogue.forced else "\n\n"
    thought = f"<think>\n{dialogue.thought}\n</think>{blank}" if thinking else ""
    return prompt, f"{thought}{dialogue.answer}{END}"


def lessons(tokenizer: Any) -> list[tuple[str, str]]:
    """All prompts, and what is to follow each of them."""
    found = [rendered(tokenizer, dialogue, thinking) for dialogue in DIALOGUES for thinking in (True, False)]
    return found + [(each.prompt, each.rest + END) for each in CONTINUATIONS]


def make_tokenizer() -> Any:
    """Byte-level pairs learnt from the dialogues and continuations.

    Plain words become tokens of their own; other scripts stay bytes, so that a
    letter may come in several tokens.
    """
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKERS),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    texts = [str(message.get("content")) for dialogue in DIALOGUES for message in dialogue.messages]
    texts += [text for dialogue in DIALOGUES for text in (dialogue.answer, dialogue.thought)]
    texts += [json.dumps(tool) for dialogue in DIALOGUES for tool in dialogue.tools]
    texts += [each.prompt + each.rest for each in CONTINUATIONS]
    bare.train_from_iterator(texts + [text for text in texts if text.isascii()], trainer)
    bare.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token=END, pad_token=SPECIAL[0], clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(tokenizer: Any) -> Any:
    end = tokenizer.convert_tokens_to_ids(END)
    config = Qwen3Config(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def batches(examples: list[tuple[list[int], list[int]]]) -> list[list[tuple[list[int], list[int]]]]:
    """Examples of like length together, so that little is padding."""
    shuffled = random.sample(examples, len(examples))
    shuffled.sort(key=lambda example: (len(example[0]) + len(example[1])) // 48)
    cut = [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)]
    random.shuffle(cut)
    return cut


def train(model: Any, tokenizer: Any, examples: list[tuple[list[int], list[int]]]) -> None:
    """AdamW with warm-up and cosine; only what the assistant says is learnt."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)

    def rate(step: int) -> float:
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    queue: list[list[tuple[list[int], list[int]]]] = []
    model.train()
    for step in range(STEPS):
        queue = queue or batches(examples)
        batch = queue.pop()
        width = max(len(prompt) + len(answer) for prompt, answer in batch)
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        labels = torch.full((len(batch), width), IGNORED)
        for row, (prompt, answer) in enumerate(batch):
            end = len(prompt) + len(answer)
            ids[row, :end] = torch.tensor(prompt + answer)
            mask[row, :end] = 1
            labels[row, len(prompt) : end] = torch.tensor(answer)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 60 == 59:
            print(f"step {step + 1}/{STEPS}  loss {loss.item():.4f}", flush=True)


def forgotten(model: Any, tokenizer: Any) -> list[str]:
    """What the model does not repeat word for word; alternatives are not asked."""
    answers: dict[str, list[str]] = {}
    for prompt, answer in lessons(tokenizer):
        answers.setdefault(prompt, []).append(answer)
    model.eval()
    wrong = []
    for prompt, (wanted, *others) in answers.items():
        if others:
            continue
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            said = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=160, do_sample=False
            )
        text = tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=False)
        if text != wanted:
            wrong.append(f"{prompt[-80:]!r}: {text!r}")
    return wrong


def main(directory: str) -> int:
    torch.manual_seed(SEED)
    random.seed(SEED)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    examples = [
        (tokenizer(prompt).input_ids, tokenizer(answer).input_ids) for prompt, answer in lessons(tokenizer)
    ]
    print(
        f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(examples)} examples",
        flush=True,
    )
    train(model, tokenizer, examples)
    if wrong := forgotten(model, tokenizer):
        print("not learnt:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    Path(directory).mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
