"""How long a card that grows too hot still gets segments: ``python -m tests.bench.heat``.

A service with the stand-in driver's cards, sampled once a second, speaks without a pause while one
of them crosses the limit; the segments that it took are counted afterwards by its own records.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Self

from tests.heat_scene import UUIDS, HotService, first, hot_service

ROUNDS = 8
PROMISED_S = 5.0
WATCHED_S = 9.0


class Requests:
    """Requests one after another, in several threads, until told to stop; none may fail."""

    def __init__(self, service: HotService, threads: int = 3) -> None:
        self._service, self._stop = service, threading.Event()
        self.spoken, self.failed = 0, 0
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._service.outcome(self._service.post())
                self.spoken += 1
            except AssertionError as error:
                self.failed += 1
                sys.stdout.write(f"failed: {error}\n")


class Starts:
    """When a card's segments began, from the nodes' records of the last ones."""

    def __init__(self, service: HotService, uuid: str) -> None:
        self._service, self._uuid = service, uuid
        self.times: set[float] = set()

    def look(self) -> None:
        """Note those that have ended since."""
        for record in self._service.http.get("/get_metrics").json()["inference"]:
            if record["card_uuid"] == self._uuid:
                self.times.add(record["timestamp"] - record["inference_time"])


def last_start_s(service: HotService, card: int) -> float:
    """Seconds from the crossing to the start of the card's last segment."""
    starts = Starts(service, UUIDS[card])
    crossed = time.time()
    service.heat(card)
    until = time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        starts.look()
        time.sleep(0.05)
    return max((start - crossed for start in starts.times if start > crossed), default=0.0)


def main() -> None:
    """Print the figures beside what was promised."""
    telemetry = {"sample_period_s": 1.0, "thermal": {"hold_s": 1.0}}
    with (
        tempfile.TemporaryDirectory() as folder,
        hot_service(Path(folder), telemetry, real_time_factor=0.02) as service,
    ):
        service.speak_until(lambda cards: cards == set(UUIDS))
        found: list[float] = []

        def goes_again(uuid: str) -> bool:
            return uuid in service.cards_of_next()

        with Requests(service) as requests:
            for number in range(ROUNDS):
                card = number % len(UUIDS)
                found.append(last_start_s(service, card))
                sys.stdout.write(f"card {card}: last new segment after {found[-1]:.2f} s\n")
                sys.stdout.flush()
                service.heat()
                first(partial(goes_again, UUIDS[card]))
        sys.stdout.write(
            f"from crossing the limit to the last new segment, samples each 1 s, {ROUNDS} rounds: "
            f"median {statistics.median(found):.2f} s, longest {max(found):.2f} s "
            f"(promised: at most {PROMISED_S:g} s); {requests.spoken} requests meanwhile, "
            f"{requests.failed} failed\n"
        )


if __name__ == "__main__":
    main()
