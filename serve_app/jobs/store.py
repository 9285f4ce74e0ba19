"""Jobs on disk or in a bucket; each step is one file that appears whole.

::

    owner/NUMBER.json                   the lease (see ``lease``)
    jobs/ID/job.json                    what was ordered; written last, it makes the job exist
    jobs/ID/plan.json, script.txt       its segments with keys and seeds; its text, for people
    jobs/ID/state.EPOCH.json            what the takes don't tell; the highest epoch counts
    jobs/ID/takes/N.EDITION.EPOCH.BYTES.take   one spoken segment; the highest epoch counts
    jobs/ID/cover                       the picture for its files, if it has one
    jobs/ID/output/EDITION.FORMAT.json  a finished file: what it is and its name beside this one
    forgotten/ID                        a job that is being removed; gone when all of it is
    cache/                              segments by content key (see ``cache``)

There is no journal and no index: what a job is can be told from these files alone. A folder that
has audio and no ``job.json`` is a job that was copied back in part, never rubbish. A take that is
shorter than its name says, or whose checksum is wrong, counts as not spoken. ``EPOCH`` is the
lease's number, so that what a replaced runner still writes never wins. Names of one job's files
are never those of another file with other content, but for ``state``.

Every method asks the store and blocks: call it from a thread, never from an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, TypeVar

from pydantic import ValidationError

from serve_app.core.job_take import TakeInfo
from serve_app.errors import NotFoundError, NotReadyError, ServeError
from serve_app.jobs.folder import Folder
from serve_app.jobs.names import (
    JOB_ID,
    TakeName,
    cut_takes,
    job_folder,
    output_folder,
    record_name,
    state_epochs,
    state_name,
    takes_folder,
    whole_takes,
)
from serve_app.jobs.records import FileRecord, JobRecord, PlanRecord, Record, StateRecord
from serve_app.jobs.take_file import (
    DamagedTakeError,
    Header,
    StoredTake,
    read_header,
    read_take,
    write_take,
)
from serve_app.jobs.writers import Writers

_HEAD_BYTES: Final = 16 * 1024
_FORGOTTEN: Final = "forgotten"
RESTORE: Final = "restore it from a copy of the store, or delete the job and submit it again"
"""What to do about a damaged job."""
_EDITIONS_KEPT: Final = 2
"""Of a finished file: who downloads the old one can go on when a new one is there."""
_R = TypeVar("_R", bound=Record)


class DamagedRecordError(ServeError):
    """A record of a job is not what was written."""


class JobStore:
    """The jobs of one folder; safe for many threads.

    Args:
        folder: The store.
        epoch: Tells the number under which to write, or raises if this process may not write.
    """

    def __init__(self, folder: Folder, epoch: Callable[[], int]) -> None:
        self._folder, self._epoch = folder, epoch
        self._writers = Writers()

    @property
    def folder(self) -> Folder:
        """Where the jobs are."""
        return self._folder

    def ids(self) -> list[str]:
        """Every job that exists.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return [name for name in self._folder.folders("jobs") if JOB_ID.fullmatch(name)]

    def create(
        self, job: JobRecord, plan: PlanRecord, script: str, cover: bytes | None = None
    ) -> None:
        """Add a job.

        Raises:
            NotReadyError: The store can't be reached or is full; the job does not exist.
        """
        place = job_folder(job.id)
        self._writers.begin(job.id)
        with self._writers.writing(job.id):
            self._epoch()
            self._folder.write(f"{place}/script.txt", script.encode())
            self._folder.write(f"{place}/plan.json", plan.model_dump_json().encode())
            if cover is not None:
                self._folder.write(f"{place}/cover", cover)
            self._epoch()
            self._folder.write(f"{place}/job.json", job.model_dump_json().encode())

    def job(self, job_id: str) -> JobRecord:
        """What was ordered.

        Raises:
            NotFoundError: There is no such job.
            ServeError: Its record is damaged.
            NotReadyError: The store can't be reached.
        """
        return self._record(job_id, "job.json", JobRecord)

    def plan(self, job_id: str) -> PlanRecord:
        """Its segments; errors as of :meth:`job`."""
        return self._record(job_id, "plan.json", PlanRecord)

    def cover(self, job_id: str) -> bytes:
        """Its picture; errors as of :meth:`job`."""
        return self._read(job_id, "cover")

    def state(self, job_id: str) -> StateRecord:
        """What is written down besides the takes; errors as of :meth:`job`."""
        epochs = state_epochs(self._folder.files(job_folder(job_id)))
        newest = state_name(epochs[-1]) if epochs else None
        return StateRecord() if newest is None else self._record(job_id, newest, StateRecord)

    def save_state(self, job_id: str, state: StateRecord) -> None:
        """Write down what the takes don't tell.

        Raises:
            NotReadyError: The store can't be reached or is full.
            LeaseLostError: Another runner owns it.
        """
        place = job_folder(job_id)
        with self._writers.writing(job_id):
            epoch = self._epoch()
            self._folder.write(f"{place}/{state_name(epoch)}", state.model_dump_json().encode())
            for older in state_epochs(self._folder.files(place)):
                if older < epoch:
                    self._folder.remove(f"{place}/{state_name(older)}")

    def takes(self, job_id: str) -> list[TakeName]:
        """Takes whose files have the length they should have; of equal ones the newest first.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return whole_takes(self._folder.files(takes_folder(job_id)))

    def cut_takes(self, job_id: str) -> set[int]:
        """Segments that have a take whose file is shorter or longer than it was.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return cut_takes(self._folder.files(takes_folder(job_id)))

    def keep(self, job_id: str, number: int, edition: int, header: Header, flac: bytes) -> TakeName:
        """Keep a spoken segment; once this returns it is never spoken again.

        Raises:
            NotReadyError: The store can't be reached or is full; nothing was kept.
            LeaseLostError: Another runner owns it.
        """
        data = write_take(header, flac)
        with self._writers.writing(job_id):
            name = TakeName(number, edition, self._epoch(), len(data))
            self._folder.write(f"{takes_folder(job_id)}/{name}", data)
        return name

    def take_info(self, job_id: str, name: TakeName) -> TakeInfo:
        """What is known of a take, without its audio.

        Raises:
            DamagedTakeError: Its header can't be read, or it is gone.
            NotReadyError: The store can't be reached.
        """
        needed = _HEAD_BYTES
        while True:
            found = read_header(self._take_bytes(job_id, name, needed))
            if isinstance(found, Header):
                return found.info
            if found <= needed or found > name.size_bytes:
                raise DamagedTakeError("its header is cut off")
            needed = found

    def take(self, job_id: str, name: TakeName, key: str) -> StoredTake:
        """A take with its audio, checked.

        Raises:
            DamagedTakeError: It is not what was written, or it is gone.
            NotReadyError: The store can't be reached.
        """
        return read_take(self._take_bytes(job_id, name, None), key)

    def drop_take(self, job_id: str, name: TakeName) -> None:
        """Take a damaged take away.

        Raises:
            NotReadyError: The store can't be reached.
            LeaseLostError: Another runner owns it.
        """
        self._epoch()
        self._folder.remove(f"{takes_folder(job_id)}/{name}")

    def outputs(self, job_id: str) -> list[FileRecord]:
        """The finished files; one whose record can't be read counts as not made.

        Raises:
            NotReadyError: The store can't be reached.
        """
        found = []
        for name in self._folder.files(output_folder(job_id)):
            if name.endswith(".json"):
                with suppress(DamagedRecordError, NotFoundError):
                    found.append(self._record(job_id, f"output/{name}", FileRecord))
        return found

    def keep_output(
        self, job_id: str, record: FileRecord, in_use: Collection[str] = frozenset()
    ) -> None:
        """A finished file is in place; of its format, this edition and the one before it stay.

        Args:
            job_id: The job.
            record: The file.
            in_use: Names of files that stay too.
        Raises:
            NotReadyError: The store can't be reached or is full.
            LeaseLostError: Another runner owns it.
        """
        place = output_folder(job_id)
        with self._writers.writing(job_id):
            self._epoch()
            named = f"{place}/{record_name(record)}"
            self._folder.write(named, record.model_dump_json().encode())
            same = [it for it in self.outputs(job_id) if it.audio_format == record.audio_format]
            for old in sorted(same, key=lambda it: it.edition)[:-_EDITIONS_KEPT]:
                if old.edition != record.edition and old.name not in in_use:
                    self._folder.remove(f"{place}/{record_name(old)}")
                    self._folder.remove(f"{place}/{old.name}")

    def forget(self, job_id: str) -> None:
        """Remove a job; it no longer exists once its record is gone, whatever happens then.

        What is being written for it is waited for, and nothing is written for it afterwards.

        Raises:
            NotReadyError: The store can't be reached or is too slow; removing it again goes on.
            LeaseLostError: Another runner owns it.
        """
        self._epoch()
        with self._writers.removing(job_id):
            with suppress(NotReadyError):  # a full disk has no room for it: that is why one forgets
                self._folder.write(f"{_FORGOTTEN}/{job_id}", b"")
            self._folder.remove(f"{job_folder(job_id)}/job.json")
            self._folder.remove_tree(job_folder(job_id))
            self._folder.remove(f"{_FORGOTTEN}/{job_id}")

    def forgotten(self) -> list[str]:
        """Jobs whose removal was begun and not ended.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return [name for name in self._folder.files(_FORGOTTEN) if JOB_ID.fullmatch(name)]

    def has_audio(self, job_id: str) -> bool:
        """Whether anything that was spoken for a job is there, also where its record is not.

        Raises:
            NotReadyError: The store can't be reached.
        """
        places = (takes_folder(job_id), output_folder(job_id))
        return any(self._folder.files(place) for place in places)

    def size_bytes(self, job_id: str) -> int:
        """What the files of a job take.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return sum(sum(self._folder.files(place).values()) for place in _places(job_id))

    def sweep(self, job_id: str) -> None:
        """Remove what a runner that died has left half written of a job.

        Only the owner may, and only while nothing is at work for the job.

        Raises:
            NotReadyError: The store can't be reached.
        """
        for place in _places(job_id):
            self._folder.sweep(place)

    def _take_bytes(self, job_id: str, name: TakeName, end: int | None) -> bytes:
        try:
            return self._folder.read(f"{takes_folder(job_id)}/{name}", 0, end)
        except FileNotFoundError:
            raise DamagedTakeError("its file is gone") from None

    def _read(self, job_id: str, name: str) -> bytes:
        if not JOB_ID.fullmatch(job_id):
            raise _unknown(job_id)
        try:
            return self._folder.read(f"{job_folder(job_id)}/{name}")
        except FileNotFoundError:
            raise _unknown(job_id) from None

    def _record(self, job_id: str, name: str, kind: type[_R]) -> _R:
        try:
            return kind.model_validate_json(self._read(job_id, name))
        except ValidationError as error:
            raise DamagedRecordError(
                f"{name} of job {job_id} is damaged ({error.error_count()} errors); {RESTORE}"
            ) from error


def _places(job_id: str) -> tuple[str, ...]:
    """The folders of a job that hold files."""
    return job_folder(job_id), takes_folder(job_id), output_folder(job_id)


def _unknown(job_id: str) -> NotFoundError:
    return NotFoundError(f"There is no job {job_id[:40]!r}.")
