"""Several processes on one port: gunicorn starts, watches and replaces them (https://gunicorn.org)."""

import importlib.util
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

MakeRunner = Callable[[], Awaitable[web.AppRunner]]

_HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None
_METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_LAST_WORDS_S: Final = 8  # what a process needs beyond the time that its requests have to end
_LEAST_SILENCE_S: Final = 30  # gunicorn's own limit for a process that does not say that it lives
_PREFIX: Final = "bifrost-vllm-metrics-"


class _Application(BaseApplication):  # type: ignore[misc]
    """gunicorn with settings of our own, none of its command line."""

    def __init__(self, make: MakeRunner, settings: dict[str, object]) -> None:
        self._make = make
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        async def make() -> web.AppRunner:
            return await self._make()

        return make


def run(make: MakeRunner, host: str, port: int, workers: int, grace_s: float) -> int:
    """Serve until told to stop. Every process calls ``make``; the metrics of all are added up.

    ``grace_s`` is what ``make`` gives requests to end. A process that lets its
    requests end says nothing meanwhile, which is no reason to kill it.

    The first call starts the program anew: prometheus_client looks for the
    folder that the processes share when it is imported, and not later.
    """
    if _METRICS_FOLDER not in os.environ:
        os.environ[_METRICS_FOLDER] = tempfile.mkdtemp(prefix=_PREFIX)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves
    folder = Path(os.environ[_METRICS_FOLDER])
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    stopping_s = math.ceil(grace_s) + _LAST_WORDS_S
    settings: dict[str, object] = {
        "bind": [address],
        "workers": workers,
        "worker_class": f"aiohttp.Gunicorn{'UVLoop' if _HAS_UVLOOP else ''}WebWorker",
        "graceful_timeout": stopping_s,
        "timeout": max(_LEAST_SILENCE_S, stopping_s),
        "proc_name": "bifrost-vllm",
        "child_exit": _forget,
        "control_socket_disable": True,
    }
    starter = os.getpid()
    try:
        _Application(make, settings).run()
    finally:  # every process that was started comes here, too, when it ends
        if os.getpid() == starter and folder.name.startswith(_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _forget(_arbiter: object, worker: Any) -> None:
    """The gauges of a process that is gone count no more."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - it reads the environment when it is imported

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
