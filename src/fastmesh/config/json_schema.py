"""The JSON Schema of the configuration, for completion and checking in editors.

It says what the models say. A value may also be a `${NAME}`, so everything that is not free text
allows that too.
"""

from typing import Any

from fastmesh.config.model import Config

_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
              "description": "A value from the environment: ${NAME} or ${NAME:-default}."}
_REFERENCE_LINK = {"$ref": "#/$defs/Reference"}
_KEPT = ("title", "description", "default", "examples")


def json_schema(version: str) -> dict[str, Any]:
    """A schema of draft 2020-12, that of a version of fastmesh."""
    schema = Config.model_json_schema()
    definitions = schema.pop("$defs")
    for definition in definitions.values():
        _rework(definition)
    _rework(schema)
    # An endpoint is most often just its address.
    endpoint = definitions["Endpoint"]
    definitions["Endpoint"] = {
        "description": endpoint["description"],
        "anyOf": [{key: value for key, value in endpoint["properties"]["address"].items() if key != "description"},
                  {key: value for key, value in endpoint.items() if key != "description"}]}
    definitions["Reference"] = _REFERENCE
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fastmesh:configuration:{version}",
        "title": "fastmesh configuration",
        **{key: value for key, value in schema.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _rework(section: dict[str, Any]) -> None:
    """In place: one mapping of the configuration."""
    section.pop("title", None)
    required = section.get("required", [])
    for key, field in section.get("properties", {}).items():
        field.pop("title", None)
        section["properties"][key] = _with_reference(_without_null(field, key in required))


def _without_null(field: dict[str, Any], is_required: bool) -> dict[str, Any]:
    """`X | None` is written by leaving the key out."""
    options = field.get("anyOf", [])
    kept = [option for option in options if option != {"type": "null"}]
    if len(kept) == len(options):
        return field
    rest = {key: value for key, value in field.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}


def _with_reference(field: dict[str, Any]) -> dict[str, Any]:
    """Lets `${NAME}` stand where not every text may."""
    outer = {key: value for key, value in field.items() if key in _KEPT}
    inner = {key: value for key, value in field.items() if key not in _KEPT}
    kind = inner.get("type")
    if kind == "array":
        return {**field, "items": _with_reference(inner["items"])}
    if kind == "object" or "$ref" in inner or (kind == "string" and not {"pattern", "enum"} & set(inner)):
        return field
    if "anyOf" in inner:
        return {**outer, "anyOf": [*inner["anyOf"], _REFERENCE_LINK]}
    return {**outer, "anyOf": [inner, _REFERENCE_LINK]}
