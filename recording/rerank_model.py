"""Makes the rerank model that is recorded: one minute on top of the embedding model.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.rerank_model DIRECTORY EMBEDDING_DIRECTORY``. A
cross-encoder (BertForSequenceClassification with one label) learns which
documents answer which questions. It fails when it does not put the answers
first.
"""

import random
import sys
from pathlib import Path
from typing import Any, Final

# pyright: reportMissingImports=false
import torch  # type: ignore[import-not-found]
from transformers import (  # type: ignore[import-not-found]
    AutoTokenizer,
    BertForSequenceClassification,
)

SEED: Final = 7
STEPS: Final = 60
BATCH: Final = 16
RATE: Final = 5e-5

ANSWERS: Final = {
    "What is machine learning?": (
        "Machine learning is the study of programs that learn from data.",
        "In machine learning, a model is trained on examples.",
    ),
    "What is the capital of France?": (
        "Paris is the capital of France.",
        "France is governed from Paris, its capital.",
    ),
    "Who lives in the sea?": ("Whales and herring live in the sea.", "The sea is the home of many fish."),
    "How do I bake bread?": (
        "Mix flour, water, salt and yeast, and bake the dough for an hour.",
        "Bread is baked in a hot oven.",
    ),
    "When does the train leave?": (
        "The train leaves at noon.",
        "Trains depart every hour from platform two.",
    ),
    "Wie heißt die Hauptstadt von Italien?": (
        "Die Hauptstadt von Italien ist Rom.",
        "Rom ist die italienische Hauptstadt.",
    ),
}
ELSEWHERE: Final = ("The weather is fine today.", "My bicycle is green.", "", "42")
"""They answer nothing."""


def examples() -> list[tuple[str, str, float]]:
    """Every question with every document, and whether this answers that."""
    found = []
    for question, answers in ANSWERS.items():
        for other, documents in ANSWERS.items():
            found += [(question, document, float(other == question)) for document in documents]
        found += [(question, document, 0.0) for document in ELSEWHERE]
        found += [(question, answer, 1.0) for answer in answers] * 4  # there are fewer of these
    return found


def train(model: Any, tokenizer: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    loss_of = torch.nn.BCEWithLogitsLoss()
    queue: list[tuple[str, str, float]] = []
    model.train()
    for step in range(STEPS):
        if len(queue) < BATCH:
            queue = random.sample(examples(), len(examples()))
        batch, queue = queue[:BATCH], queue[BATCH:]
        questions, documents, marks = (list(column) for column in zip(*batch, strict=True))
        inputs = tokenizer(questions, documents, padding=True, return_tensors="pt")
        loss = loss_of(model(**inputs).logits[:, 0], torch.tensor(marks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            print(f"step {step + 1}/{STEPS}  loss {loss.item():.4f}", flush=True)


def misjudged(model: Any, tokenizer: Any) -> list[str]:
    """The pairs that the model puts on the wrong side of the middle."""
    model.eval()
    wrong = []
    for question, document, mark in sorted(set(examples())):
        with torch.no_grad():
            score = model(**tokenizer(question, document, return_tensors="pt")).logits[0, 0].item()
        if (score > 0) != (mark > 0):
            wrong.append(f"{question!r}, {document!r}: {score:.2f}")
    return wrong


def main(directory: str, start: str) -> int:
    torch.manual_seed(SEED)
    random.seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = BertForSequenceClassification.from_pretrained(start, num_labels=1)
    train(model, tokenizer)
    if wrong := misjudged(model, tokenizer):
        print("not learnt:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    Path(directory).mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
