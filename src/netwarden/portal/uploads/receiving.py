"""A multipart form read as it arrives: its file goes straight to the disk that keeps uploads, never through memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from netwarden.errors import InputError, StoreError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # exists for type checkers alone

_FIELDS = 4
_FIELD_BYTES = 1000


@dataclass
class Form:
    """What a form held: its fields, and the sender's name of its file (empty: there was none)."""

    fields: dict[str, str] = field(default_factory=dict)
    file_name: str = ""


async def receive_form(request: Request, path: Path, file_field: str = "file") -> Form:
    """The form of a request, with its one file written to `path`.

    Raises InputError in one sentence where the form is broken, and StoreError where the disk takes no more.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    if b"boundary" not in options:
        raise InputError("the form is broken: its content type names no boundary")
    with path.open("wb") as file:
        reader = _Reader(file, file_field)
        try:
            parser = MultipartParser(options[b"boundary"], reader.callbacks())
            async for chunk in request.stream():
                await run_in_threadpool(parser.write, chunk)
        except FormParserError:
            raise InputError("the form is broken: it does not follow its boundary") from None
        except OSError as error:
            raise StoreError(f"the upload cannot be kept in {path.parent}: {error.strerror}") from None
    if not reader.ended:
        raise InputError("the form is broken: it ends before its last boundary")
    return reader.form


class _Reader:
    """What the parser has met so far; a part is the file of the form, a field, or (with another name) passed over."""

    def __init__(self, file: BinaryIO, file_field: str) -> None:
        self.form = Form()
        self.ended = False
        self._file = file
        self._file_field = file_field
        self._parts = 0
        self._header = self._value = self._disposition = self._text = b""
        self._name = ""
        self._is_file = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _FIELDS + 1:
            raise InputError(f"the form is broken: it has more than {_FIELDS + 1} parts")
        self._disposition = self._text = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options
        if self._is_file and self._name == self._file_field:
            if self.form.file_name:
                raise InputError("the form holds several files; send one at a time")
            self.form.file_name = options[b"filename"].decode("utf-8", "replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            if self._name == self._file_field:
                self._file.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES:
            raise InputError(f"the form is broken: its field {self._name!r} is longer than {_FIELD_BYTES} bytes")

    def _part_end(self) -> None:
        if not self._is_file:
            self.form.fields[self._name] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True
