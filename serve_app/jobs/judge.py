"""The second judgement of a job's takes: whether a recogniser hears the words in them.

What it says counts like the signs of the signal: a take whose words are missing, or that says more
than its text, is spoken again. A take that can't be heard back, because the recogniser fails, is
judged by its signal alone and never held up for long; the job says so. Which take counts then
depends on the recogniser having failed, so such a segment does not go into the cache.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from hashlib import blake2b

from serve_app.core.asr_check import Hearing
from serve_app.core.estimate import language
from serve_app.core.job_take import WordCheck
from serve_app.core.plan import PlannedSegment
from serve_app.errors import ServeError
from serve_app.jobs.hearing import Ear
from serve_app.jobs.recorder import Heard

logger = logging.getLogger(__name__)


class Judge:
    """Listens to takes for all jobs of a runner; touched by one event loop only.

    Args:
        ear: Hears them.
    """

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    async def cache_key(self, key: str) -> str:
        """The key under which a take for *key* is cached, if this judge has judged it.

        A take that nobody has heard back, or another recogniser has, may be one that this one
        refuses: it is another entry.

        Raises:
            ServeError: It can't be told.
        """
        judged = f"{key}\0{await self._ear.revision()}"
        return blake2b(judged.encode(), digest_size=16).hexdigest()

    async def judged(self, heard: Heard, planned: PlannedSegment) -> Heard:
        """A take of a part with what the recogniser says of it; never raises for its failures."""
        if not heard.info.kept:
            return heard
        text = " ".join(said.text for said in planned.segment.utterances)
        try:
            answer = await self._ear.hear(heard.flac, text, language(text))
            by = await self._ear.revision()
        except ServeError as error:
            return replace(heard, unheard=error.message)
        except Exception as error:
            logger.exception("a take could not be heard back")
            return replace(heard, unheard=f"{type(error).__name__}: {error}")
        if answer.hearing is None:
            return heard
        return _with(heard, answer.hearing, by, answer.anchors)


def _with(heard: Heard, hearing: Hearing, by: str, anchors: str) -> Heard:
    info = replace(
        heard.info,
        findings=heard.info.findings + hearing.findings,
        lost_words=heard.info.lost_words or hearing.lost_words,
        check=WordCheck(by, hearing.words, hearing.heard, anchors),
    )
    return replace(heard, info=info)
