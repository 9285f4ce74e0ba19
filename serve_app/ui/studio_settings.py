"""The studio's settings and its example scripts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from serve_app.config import API_KEY, api_key
from serve_app.errors import ConfigError
from serve_app.strict import StrictModel


class StudioSettings(StrictModel):
    """The arguments of the application ``studio``."""

    service_url: str = "http://127.0.0.1:8000"
    """Base URL at which the studio calls the speech service."""
    monitor_url: str = "/monitor"
    """Where browsers find the monitor: a path of the same host that serves the studio."""
    example_files: tuple[str, ...] = ()
    """Scripts offered besides the built-in ones; read where the application is built."""
    max_recordings: int = Field(default=12, ge=1)
    """Recordings kept on disk; one more removes the oldest that has ended."""
    login: Literal["key", "off"] = "key"
    """``key``: who opens the page is asked for an API key of the service, and the studio works with
    its own. ``off``: nobody is asked, and the studio sends no key, so that it works only with a
    service that asks for none."""

    @field_validator("login", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value


def parse_studio_settings(args: dict[str, object]) -> StudioSettings:
    """Check the application's arguments.

    Raises:
        ConfigError: Names every wrong key.
    """
    try:
        return StudioSettings.model_validate(args)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("The studio's settings (args) are wrong:\n" + "\n".join(lines)) from None


def require_own_key(settings: StudioSettings) -> None:
    """Check that a studio with a login has a key to work with.

    Raises:
        ConfigError: It has none.
    """
    if settings.login == "key" and api_key() is None:
        raise ConfigError(
            f"The studio needs a key of its own: set {API_KEY} where it runs. Or, where the "
            'service asks for no keys, say login: "off" in the arguments of the studio.'
        )


def load_examples(files: Iterable[str]) -> dict[str, str]:
    """Scripts by title: the built-in ones, then *files*.

    Raises:
        ConfigError: A file can't be read.
    """
    folder = resources.files("serve_app.ui") / "examples"
    built_in = sorted(folder.iterdir(), key=lambda file: file.name)
    scripts = {_title(file.name): file.read_text(encoding="utf-8") for file in built_in}
    for name in files:
        try:
            scripts[_title(name)] = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The studio's example {name!r} can't be read here ({error}); give a path that "
                "exists where the application is built, or leave it out of example_files."
            ) from error
    return scripts


def _title(name: str) -> str:
    return Path(name).stem.replace("_", " ").capitalize()
