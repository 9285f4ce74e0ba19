"""Everything that can go wrong, as one tree.

::

    ServeError                     status  retry helps
    +-- InvalidInputError            400   no    the request is wrong; nothing was started
    |   +-- EmptyInputError          400
    |   +-- ScriptError              400         a pause or a turn that can't be read
    |   +-- TooManySpeakersError     400
    |   +-- UnknownVoiceError        400
    |   +-- VoiceAudioError          400         an upload that can't become a voice
    |   +-- UnknownFormatError       400
    |   +-- UnsupportedTextError     400         this engine can't speak this text
    |   +-- InputTooLongError        413
    |   +-- BodyTooLargeError        413         more bytes than a request may have
    |   +-- SlowBodyError            408         a body that does not come
    |   +-- SlowHeadError            408         neither do its address and headers
    |   +-- HeadTooLargeError        431         more address and headers than a request may have
    |   +-- ConflictError            409         the resource is not in the state for this
    |   +-- UnsupportedTypeError     415         a body that is neither JSON nor an upload
    |   +-- RangeError               416         a part that the file does not have
    +-- NotFoundError                404   no
    +-- UnauthorizedError            401   no    no key, or one that nobody knows
    +-- ForbiddenError               403   no    a key that may not do this
    +-- OverloadedError              429   yes   a queue is full
    |   +-- RateLimitedError         429   yes   a key has used what it may
    +-- NotReadyError                503   yes   no replica can speak right now
    |   +-- CardPausedError          503   yes   this card is too hot; another one may take it
    |   +-- AllPausedError           503   yes   every card is too hot
    |   +-- DrainingError            503   yes   this process ends; another one serves
    +-- ConfigError                  500   no    the settings contradict themselves
    +-- EngineError                  500   yes   one attempt at one segment failed
    |   +-- EngineCrashedError       500
    |   +-- EngineTimeoutError       504
    |   +-- EngineMemoryError        500
    +-- BadAudioError                500   yes   the signal is not speech (silence, NaN, cut off)
    +-- TakeMismatchError            500   no    a second take differs from what has already left
    +-- SegmentFailedError           500   yes   a segment stayed bad after all its retries

Each class carries its HTTP status, a stable ``code`` for machines, and whether the same request
may succeed later. Errors cross process borders, so every argument goes to the base constructor
(``Exception.__reduce__`` rebuilds from ``args``). A message says what, the value, the limit, and
what to do next. Only ``ingress`` turns an error into an HTTP answer.
"""

from __future__ import annotations

from typing import ClassVar


class ServeError(Exception):
    """Root of the tree.

    Args:
        message: What happened, the value, the limit, what to do.
        param: The request field at fault, if one is.
        retry_after_s: Seconds after which another try may help, where that is known.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry_helps: ClassVar[bool] = False

    def __init__(
        self, message: str, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, param, retry_after_s)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class InvalidInputError(ServeError):
    """The request can't be served as it stands; nothing was started."""

    status = 400
    code = "invalid_request"


class EmptyInputError(InvalidInputError):
    """There is nothing to speak."""

    code = "empty_input"


class ScriptError(InvalidInputError):
    """A script that can't be read, such as a pause of an hour."""

    code = "invalid_script"


class TooManySpeakersError(InvalidInputError):
    """More speakers than the model has voices for; the message names them."""

    code = "too_many_speakers"


class UnknownVoiceError(InvalidInputError):
    """A voice that no replica has."""

    code = "unknown_voice"


class VoiceAudioError(InvalidInputError):
    """Audio that can't become a voice: unreadable, too short, too long, silent or broken."""

    code = "invalid_voice_audio"


class UnknownFormatError(InvalidInputError):
    """An audio format that is not written here."""

    code = "unknown_format"


class UnsupportedTextError(InvalidInputError):
    """Text in a language or script that the engine can't speak."""

    code = "unsupported_text"


class InputTooLongError(InvalidInputError):
    """More text than one synchronous request may carry."""

    status = 413
    code = "input_too_long"


class BodyTooLargeError(InvalidInputError):
    """More bytes than a request may have."""

    status = 413
    code = "body_too_large"


class SlowBodyError(InvalidInputError):
    """A request whose body does not come."""

    status = 408
    code = "body_timeout"


class SlowHeadError(InvalidInputError):
    """A request whose address and headers do not come."""

    status = 408
    code = "head_timeout"


class HeadTooLargeError(InvalidInputError):
    """More bytes of address and headers than a request may have."""

    status = 431
    code = "head_too_large"


class ConflictError(InvalidInputError):
    """What is asked for does not fit the state that the resource is in."""

    status = 409
    code = "conflict"


class UnsupportedTypeError(InvalidInputError):
    """A body of a content type that is not read here."""

    status = 415
    code = "unsupported_media_type"


class RangeError(InvalidInputError):
    """A part of a file that lies outside of it."""

    status = 416
    code = "range_not_satisfiable"


class UnauthorizedError(ServeError):
    """No key, or one that nobody knows."""

    status = 401
    code = "invalid_api_key"


class ForbiddenError(ServeError):
    """A key that may not do this."""

    status = 403
    code = "insufficient_permissions"


class NotFoundError(ServeError):
    """The named resource does not exist."""

    status = 404
    code = "not_found"


class OverloadedError(ServeError):
    """A bounded queue is full."""

    status = 429
    code = "overloaded"
    retry_helps = True


class RateLimitedError(OverloadedError):
    """A key has used what it may for now."""

    code = "rate_limit_exceeded"


class NotReadyError(ServeError):
    """No replica can speak right now."""

    status = 503
    code = "not_ready"
    retry_helps = True


class CardPausedError(NotReadyError):
    """A card that takes no new work, since it is too hot; another one may take it."""

    code = "card_paused"


class AllPausedError(NotReadyError):
    """Every card is too hot to take new work."""

    code = "all_cards_paused"


class DrainingError(NotReadyError):
    """This process ends after its last stream; another one serves new requests."""

    code = "draining"


class ConfigError(ServeError):
    """Settings that contradict themselves or this machine."""

    code = "bad_config"


class EngineError(ServeError):
    """One attempt at one segment failed inside the engine; another attempt may succeed.

    Attributes:
        replica: Where it failed, once whoever sent the attempt has noted it.
    """

    code = "engine_error"
    retry_helps = True
    replica: str | None = None


class EngineCrashedError(EngineError):
    """The engine or its process died."""

    code = "engine_crashed"


class EngineTimeoutError(EngineError):
    """The engine gave no audio within its time."""

    status = 504
    code = "engine_timeout"


class EngineMemoryError(EngineError):
    """The card ran out of memory for this segment."""

    code = "engine_out_of_memory"


class BadAudioError(ServeError):
    """A segment's audio failed its quality check before any of it was sent."""

    code = "bad_audio"
    retry_helps = True


class TakeMismatchError(ServeError):
    """A second take differs from the part of the first that has already left."""

    code = "take_mismatch"


class SegmentFailedError(ServeError):
    """A segment could not be spoken after all its retries and splits."""

    code = "segment_failed"
    retry_helps = True
