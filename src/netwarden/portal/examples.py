"""Examples for the reference, where a route states none of its own: made from the shape of the answer."""

from __future__ import annotations

from typing import Any

_DEEPEST = 6
_BY_FORMAT = {"date-time": "2026-11-21T10:15:00Z", "date": "2026-11-21", "uri": "https://netwarden.example/"}
_BY_NAME = {
    "bundle_id": "65ed956f64122dc2",
    "schema_id": "nsl_kdd",
    "alert_id": "5f0c2a91d2c84d1cb1c95c7a4a9d0e11",
    "upload_id": "20261121-101500-000000-5f0c2a91",
    "family": "dos",
    "source": "192.0.2.7",
    "target": "198.51.100.4",
    "who": "ada",
    "name": "flows.csv",
    "feature": "count",
}
_PLAIN: dict[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "string": "text", "null": None}


def example_of(schema: dict[str, Any], parts: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value of a JSON schema; `parts` are the schemas that it may refer to, `name` is what it is called."""
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    for word in ("const", "default"):
        if schema.get(word) is not None:
            return schema[word]
    if "enum" in schema:
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return example_of(schema[word][0], parts, name, depth)
    return _of_type(schema, parts, name, depth)


def _of_type(schema: dict[str, Any], parts: dict[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type", "object")
    if kind == "array":
        return [] if depth > _DEEPEST else _items(schema, parts, name, depth)
    if kind == "object":
        fields = schema.get("properties", {}) if depth <= _DEEPEST else {}
        return {field: example_of(shape, parts, field, depth + 1) for field, shape in fields.items()}
    if kind == "string":
        return _BY_FORMAT.get(schema.get("format", "")) or _BY_NAME.get(name, _PLAIN[kind])
    value = _PLAIN[kind]
    if kind in ("integer", "number"):
        value = min(max(value, schema.get("minimum", value)), schema.get("maximum", value))
    return value


def _items(schema: dict[str, Any], parts: dict[str, Any], name: str, depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [example_of(shape, parts, name, depth + 1) for shape in schema["prefixItems"]]
    return [example_of(schema.get("items", {"type": "string"}), parts, name, depth + 1)]


def with_nulls(value: Any, schema: dict[str, Any], parts: dict[str, Any]) -> Any:
    """An example with the nulls that the framework takes out of what routes state."""
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        return [with_nulls(item, schema.get("items", {}), parts) for item in value]
    if not isinstance(value, dict):
        return value
    shapes = schema.get("properties", {})
    absent = {name: None for name in schema.get("required", ()) if name not in value}
    return {name: with_nulls(item, shapes.get(name, {}), parts) for name, item in value.items()} | absent
