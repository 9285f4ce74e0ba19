"""A job read back from the store, as whoever ran it last has left it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from serve_app.core.job_take import TakeInfo
from serve_app.jobs.live import LiveJob
from serve_app.jobs.names import TakeName
from serve_app.jobs.store import JobStore
from serve_app.jobs.take_file import DamagedTakeError

_READERS: Final = 8


def load(store: JobStore, job_id: str, series: str, wall: Callable[[], float]) -> LiveJob:
    """A job as the store has it; blocks.

    Raises:
        NotFoundError: There is no such job.
        ServeError: Its record, plan or state is damaged.
        NotReadyError: The store can't be reached.
    """
    names, damaged = store.takes(job_id), store.cut_takes(job_id)
    with ThreadPoolExecutor(_READERS) as readers:
        infos = readers.map(lambda name: _info(store, job_id, name), names)
        kept = {name: info for name, info in zip(names, infos, strict=True) if info is not None}
    damaged |= {name.number for name in names if name not in kept}
    record, plan, state = store.job(job_id), store.plan(job_id), store.state(job_id)
    files = store.outputs(job_id)
    live = LiveJob(record, plan, state, kept, series=series, wall=wall, files=files)
    live.miss(damaged, state)
    return live


def _info(store: JobStore, job_id: str, name: TakeName) -> TakeInfo | None:
    try:
        return store.take_info(job_id, name)
    except DamagedTakeError:
        return None
