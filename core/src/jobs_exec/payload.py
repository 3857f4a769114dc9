"""The typed payload of a job type: what a handler's second parameter is annotated with.

Two forms of one payload must not be mixed up. What *identifies* a job is its data **as handed in**, before a
model converts or fills anything, so that every enqueuer and every deploy computes the same hash. What is
*stored* is the model's JSON form. A model instance counts as its JSON dump by alias without unset fields.

pydantic is imported when the first model is met, not with this module: it costs a tenth of a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs_exec.envelope import check_data, encode_payload
from jobs_exec.errors import InvalidJob, InvalidPayload, UndecodablePayload, plain
from jobs_exec.identity import canonical_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_PLAIN = (Any, dict, Mapping, dict[str, Any], Mapping[str, Any], dict[str, object], Mapping[str, object])


@dataclass(frozen=True, slots=True)
class EncodedPayload:
    """`text` is the JSON to store; `handed` and `canonical` (RFC 8785) are the data as handed in."""

    text: str = field(repr=False)
    canonical: bytes = field(repr=False)
    handed: str = field(repr=False)


class Payload:
    """Encodes and decodes the payload of one job type.

    `annotation` is a pydantic model, dataclass, TypedDict or ``dict``; for ``dict`` (and ``Any``) the JSON
    object itself is handed over.
    """

    __slots__ = ("_adapter", "annotation")

    def __init__(self, annotation: Any = dict) -> None:
        self.annotation = annotation
        self._adapter: TypeAdapter[Any] | None = None if annotation in _PLAIN else _adapter_for(annotation)

    def __repr__(self) -> str:
        return f"Payload({getattr(self.annotation, '__name__', self.annotation)})"

    def encode(self, data: Any, max_bytes: int) -> EncodedPayload:
        """Checks `data` against the envelope's rules and the model.

        Raises `InvalidJob` naming the field, or `PayloadTooLarge`; neither shows a value.
        """
        handed_in = as_json(data)
        check_data(handed_in)
        text = encode_payload(handed_in, max_bytes)
        canonical = canonical_json(handed_in)
        if self._adapter is None:
            return EncodedPayload(text, canonical, text)
        stored = self._through_model(self._adapter, text)
        return EncodedPayload(encode_payload(stored, max_bytes), canonical, text)

    def _through_model(self, adapter: TypeAdapter[Any], text: str) -> Mapping[str, Any]:
        from pydantic import ValidationError

        try:
            value = adapter.validate_json(text)
        except ValidationError as error:
            path, problem = _first_problem(error)
            raise InvalidJob(path, problem) from None
        stored: Mapping[str, Any] = adapter.dump_python(value, mode="json", by_alias=True)
        check_data(stored)
        return stored

    def decode(self, text: str) -> Any:
        """The handler's argument.

        Raises `UndecodablePayload` (nobody can read it) or `InvalidPayload` (this model does not take it).
        """
        data = decode_json_object(text)
        if self._adapter is None:
            return data
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            path, problem = _first_problem(error)
            raise InvalidPayload(f"{path}: {problem}") from None


def decode_json_object(text: str) -> dict[str, Any]:
    """Reads a stored payload; raises `UndecodablePayload` for what no enqueuer of ours would have stored."""
    from pydantic_core import from_json

    try:
        data = from_json(text)
        check_data(data)
    except (ValueError, RecursionError) as error:
        raise UndecodablePayload(_without_input(error)) from None
    assert isinstance(data, dict)  # noqa: S101  (check_data took it)
    return data


def _without_input(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidJob) else "data: is not JSON that can be read"


def as_json(data: Any) -> Any:
    """Data as handed in: a mapping as it is, a model instance as its dump by alias without unset fields, None as empty."""
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return data
    if hasattr(type(data), "model_dump"):
        return data.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _adapter_for(type(data)).dump_python(data, mode="json", by_alias=True)
    return data


def _adapter_for(annotation: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Where and what, never the value: payloads do not belong into messages."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    more = error.error_count() - 1
    return f"data{path}", plain(first["msg"]) + (f" (and {more} more problem(s))" if more else "")
