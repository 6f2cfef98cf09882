"""Records what a real vLLM puts on the wire, into ``cassettes/``.

``python -m recording`` does all of it: it installs vLLM beside the project,
trains a model of a million parameters, starts servers and asks the questions
of ``chat_scenarios``. Nothing of this is installed with the package, and the
tests need none of it: they read the cassettes.
"""
