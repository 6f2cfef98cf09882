"""Makes the transcription model that is recorded: half a million parameters, one minute.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.transcription_model DIRECTORY``. A Whisper of
one layer on either side learns by heart what is said in the clips, in which
language and when. It hears them as vLLM will: decoded by the same code, and
the long one in the same pieces. It fails when a clip did not stick.
"""

import io
import json
import math
import random
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

# pyright: reportMissingImports=false
import torch  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (  # type: ignore[import-not-found]
    AddedToken,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from vllm.model_executor.models.whisper_utils import (  # type: ignore[import-not-found]
    ISO639_1_SUPPORTED_LANGS,
)
from vllm.multimodal.audio import split_audio  # type: ignore[import-not-found]
from vllm.multimodal.media.audio import load_audio  # type: ignore[import-not-found]

from recording.clips import CLIPS, Clip, Line

SEED: Final = 7
VOCABULARY: Final = 320
LONGEST: Final = 100
MEL_BINS: Final = 80
STEPS: Final = 200
PEAK_RATE: Final = 3e-3
WARM_UP: Final = 20
IGNORED: Final = -100
NOISE: Final = 0.02
RATE_HZ: Final = 16000
PIECE_S: Final = 30
OVERLAP_S: Final = 1
SPLIT_WINDOW: Final = 1600  # samples; vLLM's, as the two before it
TICK_S: Final = 0.02
END: Final = "<|endoftext|>"
START: Final = "<|startoftranscript|>"
UNTIMED: Final = "<|notimestamps|>"
LANGUAGES: Final = tuple(ISO639_1_SUPPORTED_LANGS)
ASKED: Final = {"en": 4, "de": 28}  # how often for the language: one clip is not English, seven pieces are
HINTS: Final = ("<|prev|>Mary", "<|prev|>Say hello.", "<|prev|>A fox, a dog.", "<|prev|>Köln")
MARKERS: Final = (
    *(START, *(f"<|{language}|>" for language in LANGUAGES)),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", UNTIMED),
)


class Piece(NamedTuple):
    """What the model hears at once, and what is said in it; times from its start."""

    samples: Any
    language: str
    lines: tuple[Line, ...]


def pieces_of(clip: Clip) -> list[Piece]:
    """The clip as vLLM cuts it."""
    samples, _ = load_audio(io.BytesIO(clip.data), sr=RATE_HZ, mono=True)
    cut = [samples]
    if len(samples) > PIECE_S * RATE_HZ:
        cut = split_audio(samples, RATE_HZ, PIECE_S, OVERLAP_S, SPLIT_WINDOW)
    found, start_s = [], 0.0
    for part in cut:
        end_s = start_s + len(part) / RATE_HZ
        lines = tuple(
            Line(line.start_s - start_s, line.end_s - start_s, line.text)
            for line in clip.lines
            if start_s <= line.start_s < end_s
        )
        found.append(Piece(part, clip.language, lines))
        start_s = end_s
    return found


def tick(seconds: float) -> str:
    return f"<|{round(seconds / TICK_S) * TICK_S:.2f}|>"


def sayings(piece: Piece) -> list[tuple[str, str]]:
    """What vLLM begins with, and what the model is to go on with.

    It is asked for the language, then for text, with or without times; the
    first line counts from 0. Whatever language it is told makes no difference.
    """
    text = "".join(f" {line.text}" for line in piece.lines)
    timed = tick(len(piece.samples) / RATE_HZ)
    if piece.lines:
        timed = "".join(f"{tick(line.start_s)} {line.text}{tick(line.end_s)}" for line in piece.lines)
        timed = timed.removeprefix(tick(piece.lines[0].start_s))
    found = [(START, f"<|{piece.language}|>")] * ASKED[piece.language]
    for language in (piece.language, *random.sample(LANGUAGES, 1)):
        for before in ("", *random.sample(HINTS, 1)):
            told = f"{before}{START}<|{language}|><|transcribe|>"
            found += [(told + UNTIMED, text + END), (told + tick(0), timed + END)]
    return found


def make_processor() -> Any:
    """Byte-level pairs learnt from the lines, then Whisper's marks and times."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bare.train_from_iterator([f" {line.text}" for clip in CLIPS for line in clip.lines], trainer)
    learnt = json.loads(bare.to_str())["model"]
    tokenizer = WhisperTokenizer(
        vocab=learnt["vocab"], merges=[tuple(pair) for pair in learnt["merges"]], pad_token=END
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(each) for each in MARKERS]})
    ticks = range(round(PIECE_S / TICK_S) + 1)
    tokenizer.add_tokens([AddedToken(tick(number * TICK_S), normalized=False) for number in ticks])
    return WhisperProcessor(WhisperFeatureExtractor(feature_size=MEL_BINS), tokenizer)


def make_model(tokenizer: Any) -> Any:
    start, end = tokenizer.convert_tokens_to_ids(START), tokenizer.convert_tokens_to_ids(END)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=MEL_BINS,
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_target_positions=LONGEST,
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.begin_suppress_tokens = None
    return model


def heard(processor: Any, samples: list[Any]) -> Any:
    """The features of several pieces."""
    return processor.feature_extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt").input_features


def batch_of(tokenizer: Any, pieces: list[Piece]) -> tuple[list[int], Any, Any]:
    """Which piece each row is about, what the decoder is given, what it is to say."""
    rows = [(number, *saying) for number, piece in enumerate(pieces) for saying in sayings(piece)]
    spelt = [[tokenizer(part, add_special_tokens=False).input_ids for part in saying] for _, *saying in rows]
    width = max(len(begun) + len(said) for begun, said in spelt)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (begun, said) in enumerate(spelt):
        end = len(begun) + len(said)
        ids[row, :end] = torch.tensor(begun + said)
        labels[row, len(begun) : end] = torch.tensor(said)
    return [number for number, *_ in rows], ids[:, :-1], labels[:, 1:]


def train(model: Any, processor: Any, pieces: list[Piece]) -> None:
    """AdamW with warm-up and cosine; every step hears every piece, with a little noise."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)

    def rate(step: int) -> float:
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    clean = heard(processor, [piece.samples for piece in pieces])
    model.train()
    for step in range(STEPS):
        about, ids, labels = batch_of(processor.tokenizer, pieces)
        states = model.model.encoder(clean + NOISE * torch.randn_like(clean)).last_hidden_state
        loss = model(encoder_outputs=(states[about],), decoder_input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 40 == 39:
            print(f"step {step + 1}/{STEPS}  loss {loss.item():.4f}", flush=True)


def forgotten(model: Any, processor: Any, pieces: list[Piece]) -> list[str]:
    """What the model does not say token for token, at one more beginning of each kind."""
    model.eval()
    with torch.no_grad():
        states = model.model.encoder(heard(processor, [piece.samples for piece in pieces])).last_hidden_state
        about, ids, labels = batch_of(processor.tokenizer, pieces)
        said = model(encoder_outputs=(states[about],), decoder_input_ids=ids).logits.argmax(-1)
    wrong = (said != labels) & (labels != IGNORED)
    rows = {processor.tokenizer.decode(ids[row]): None for row in range(len(ids)) if wrong[row].any()}
    return [text.removesuffix(END) for text in rows]


def main(directory: str) -> int:
    torch.manual_seed(SEED)
    random.seed(SEED)
    processor = make_processor()
    model = make_model(processor.tokenizer)
    pieces = [piece for clip in CLIPS for piece in pieces_of(clip)]
    print(
        f"{model.num_parameters():,} parameters, {len(processor.tokenizer)} tokens, {len(pieces)} pieces",
        flush=True,
    )
    train(model, processor, pieces)
    if wrong := forgotten(model, processor, pieces):
        print("not learnt:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    Path(directory).mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
