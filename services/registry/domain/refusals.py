"""Why a change is not taken. Pure: the service turns them into problem details."""

from dataclasses import dataclass


@dataclass
class Refused(Exception):
    """`zh` and `en` say what is wrong and what to do next."""

    code: str
    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.code}: {self.en}"


@dataclass
class Conflict(Refused):
    """The request is well formed, what is recorded contradicts it (409)."""


@dataclass
class Invalid(Refused):
    """A field of the request is wrong (422); `pointer` is a JSON Pointer into the body."""

    pointer: str = ""
