"""What a gateway decides before and after translation: pure functions and values.

Nothing here reads a file, a clock, a socket or the environment; who needs one
of these passes it in. ``translate`` and ``transports`` are not imported.
"""
