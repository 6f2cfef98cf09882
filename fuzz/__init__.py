"""Bytes that were bred to break things, put to everything that reads bytes from outside (``make fuzz``).

Coverage-guided: atheris (https://github.com/google/atheris) keeps each input
that reaches code which none before it did, and breeds from it. It starts with
what a real vLLM said, taken from ``cassettes/``.
"""
