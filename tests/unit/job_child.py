"""A runner in a process of its own that a test kills: STORE LOG, until the job is done.

Appends to LOG a line for each task that goes to a card, before it goes.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from serve_app.engines.base import SpeakTask
from tests.unit.job_scene import FAST, TEXT, scene

CARD = replace(FAST, first_chunk_s=0.03, real_time_factor=0.01)
KEY = "killed"


async def main(store: Path, log: Path) -> None:
    async with scene(store, [CARD] * 2) as at:
        with log.open("a") as lines:

            def note(task: SpeakTask) -> None:
                lines.write(f"{task.tag}\n")
                lines.flush()

            at.cards.on_task = note
            job = await at.submit(TEXT, idempotency_key=KEY)
            print("ready", flush=True)
            await at.done(job)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
