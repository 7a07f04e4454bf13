"""What GitHub published: its description of the API as validators, and its example payloads.

Says what is wrong with a request or an answer, in sentences; holds no state. `extract.py` made the
data. Nothing here is our opinion of GitHub, except DEVIATIONS and LIMITS, which say why.
"""

from __future__ import annotations

import copy
import functools
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import jsonschema

DATA = Path(__file__).parents[1] / "data"
Json = dict[str, Any]

#: Where GitHub's answers are known to differ from its description: a fork that was deleted is
#: null in pull requests and runs (their webhooks' schemas say so), and so is its owner.
DEVIATIONS = {
    "pull-request": (("head", "repo"), ("head", "user")),
    "pull-request-simple": (("head", "repo"), ("head", "user")),
    "workflow-run": (("head_repository",),),
}
#: Limits that the description does not hold, answered with 422. All but one are documented: that
#: descriptions of statuses take no character beyond the Basic Multilingual Plane, as emoji are, is
#: known from what GitHub answered to others ("doesn't accept 4-byte Unicode").
LAST_OF_DESCRIPTION = "\uffff"
MOST_DESCRIPTION = 140
MOST_COMMENT = 65_536
MOST_TITLE = 256
MOST_LABEL = 50
MOST_ANNOTATION_BYTES = 64 * 1024
MOST_ANNOTATION_TITLE = 255


@dataclass(frozen=True)
class Operation:
    """One verb and path, as published. `id` is GitHub's operationId without its prefix."""

    id: str
    verb: str
    path: str
    spec: Json

    def answer_schema(self, status: int) -> Json | None:
        """The JSON schema of an answer; an empty one where the body is free; None: unpublished."""
        answer = self.spec["responses"].get(str(status))
        if answer is None:
            return None
        content = resolve(answer).get("content", {})
        return cast(Json, content.get("application/json", {}).get("schema", {}))

    def example(self) -> Any:
        """The published answer of the first successful status that has one, to be filled."""
        for status in sorted(self.spec["responses"]):
            content = resolve(self.spec["responses"][status]).get("content", {})
            examples = content.get("application/json", {}).get("examples", {})
            for example in examples.values():
                if status.startswith("2"):
                    value = resolve(example)["value"]
                    # Some name another example in the place of their value.
                    named = isinstance(value, dict) and "$ref" in value
                    return copy.deepcopy(resolve(value)["value"] if named else value)
        return None


def load(path: Path) -> Json:
    return cast(Json, json.loads(gzip.decompress(path.read_bytes())))


@functools.cache
def description() -> Json:
    found = load(DATA / "openapi.json.gz")
    schemas = found["components"]["schemas"]
    for name, places in DEVIATIONS.items():
        for *above, last in places:
            owner = schemas[name]["properties"]
            for key in above:
                owner = owner[key]["properties"]
            owner[last] = {"anyOf": [owner[last], {"type": "null"}]}
    return cast(Json, _nullable(found))


@functools.cache
def _payloads() -> Json:
    return load(DATA / "events.json.gz")


def payload_examples(event: str) -> list[Json]:
    """The published payloads of an event; copy what you fill."""
    return cast(list[Json], _payloads()["examples"][event])


def resolve(value: Json) -> Json:
    while "$ref" in value:
        value = functools.reduce(
            lambda at, key: at[key], value["$ref"].split("/")[1:], description()
        )
    return value


def _nullable(value: Any, *, named: bool = False) -> Any:
    """OpenAPI 3.0's `nullable: true` as JSON Schema says it."""
    if isinstance(value, list):
        return [_nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {
        key: item if key in {"examples", "example", "value"} and not named
        else _nullable(item, named=key in {"properties", "schemas", "parameters"})
        for key, item in value.items()
    }  # fmt: skip
    if named or found.pop("nullable", False) is not True:
        return found
    return {"anyOf": [found, {"type": "null"}]}


@functools.cache
def operations() -> dict[str, Operation]:
    return {
        operation.id: operation
        for path, verbs in description()["paths"].items()
        for verb, spec in verbs.items()
        for operation in [Operation(spec["operationId"], verb.upper(), path, spec)]
    }


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], Operation]]:
    return [
        (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)), operation)
        for operation in operations().values()
    ]


def find(verb: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The published operation that a request means, and what its path names."""
    for pattern, operation in _patterns():
        match = pattern.fullmatch(path)
        if match and operation.verb == verb:
            return operation, {key: unquote(part) for key, part in match.groupdict().items()}
    return None


def request_faults(
    operation: Operation,
    names: Mapping[str, str],
    query: Mapping[str, str],
    accept: str,
    body: object,
) -> list[str]:
    """What the description does not know: parameters, their values, keys of the body, accept."""
    faults = []
    known = {item["name"]: item for item in map(resolve, operation.spec.get("parameters", []))}
    for place, given in (("path", names), ("query", query)):
        for name, text in given.items():
            if known.get(name, {}).get("in") != place:
                faults.append(f"{place} parameter {name}: not in the description")
            elif not any(_valid(value, known[name]["schema"]) for value in _readings(text)):
                faults.append(f"{place} parameter {name}: {text!r} is not as described")
    if int(query.get("per_page", "1")) > 100:
        faults.append("per_page: GitHub gives at most 100")
    if accept not in {"application/vnd.github+json", "application/json"}:
        faults.append(f"accept: {accept!r} asks for something else than described JSON")
    schema = body_schema(operation)
    if schema is None and body is not None:
        faults.append("body: the description knows none")
    if schema is not None and isinstance(body, dict):
        unknown = body.keys() - schema.get("properties", {}).keys()
        faults += [f"body.{key}: not in the description" for key in sorted(unknown)]
    return [f"{operation.id}: {fault}" for fault in faults]


def refused_body(operation: Operation, body: object) -> str | None:
    """Why GitHub answers 422 to this body; None where it is accepted."""
    spec = operation.spec.get("requestBody")
    schema = body_schema(operation)
    if spec is None or schema is None:
        return None
    if body is None:
        return "a body is required" if spec.get("required") else None
    error = _fault(body, schema)
    if error is None and isinstance(body, dict):
        error = _beyond_limits(operation.id, body)
    return error


def body_schema(operation: Operation) -> Json | None:
    content = operation.spec.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return None
    nullable = schema.get("anyOf")
    return cast(Json, nullable[0] if nullable else schema)


def _beyond_limits(operation: str, body: Json) -> str | None:
    if operation == "repos/create-commit-status":
        return _status_beyond_limits(body)
    if operation in {"issues/create-comment", "issues/update-comment"}:
        if len(body["body"]) > MOST_COMMENT:
            return f"body is too long (maximum is {MOST_COMMENT} characters)"
        if not body["body"].strip():
            return "body can't be blank"
    if operation in {"issues/create", "issues/update"}:
        return _issue_beyond_limits(body)
    if operation == "checks/create":
        if body.get("status") == "completed" and "conclusion" not in body:
            return "conclusion is required with the status completed"
        for line in body.get("output", {}).get("annotations", []):
            if len(line["message"].encode()) > MOST_ANNOTATION_BYTES:
                return "message of an annotation is too long (maximum is 64 KB)"
            if len(line.get("title", "")) > MOST_ANNOTATION_TITLE:
                return "title of an annotation is too long (maximum is 255 characters)"
    return None


def _issue_beyond_limits(body: Json) -> str | None:
    if "title" in body and not str(body["title"] or "").strip():
        return "title can't be blank"
    if len(str(body.get("title") or "")) > MOST_TITLE:
        return f"title is too long (maximum is {MOST_TITLE} characters)"
    if len(body.get("body") or "") > MOST_COMMENT:
        return f"body is too long (maximum is {MOST_COMMENT} characters)"
    if any(len(label) > MOST_LABEL for label in body.get("labels", ())):
        return f"name of a label is too long (maximum is {MOST_LABEL} characters)"
    return None


def _status_beyond_limits(body: Json) -> str | None:
    if len(body.get("description") or "") > MOST_DESCRIPTION:
        return f"description is too long (maximum is {MOST_DESCRIPTION} characters)"
    if max(body.get("description") or " ") > LAST_OF_DESCRIPTION:
        return "description doesn't accept 4-byte Unicode"
    if not body.get("context", "default"):
        return "context can't be blank"
    if not re.match(r"https?://", body.get("target_url") or "http://"):
        return "target_url must use http(s) scheme"
    return None


def answer_faults(operation: Operation, status: int, body: object) -> list[str]:
    """What the published schema does not allow in an answer of ours: the stand-in is wrong."""
    schema = operation.answer_schema(status)
    if schema is None and status < 400:
        return [f"{operation.id}: {status} is not in the description"]
    if schema is None:
        # Errors that any operation may give (401, 403, 422, 5xx) are described once.
        schema = {"$ref": "#/components/schemas/basic-error"}
    if not schema and body is None:
        return []
    error = _fault(body, schema)
    return [] if error is None else [f"{operation.id}: answer {status}: {error}"]


def _readings(text: str) -> list[object]:
    """What a parameter's text may mean: texts and numbers look alike in a path."""
    readings: list[object] = [text]
    if re.fullmatch(r"-?\d+", text):
        readings.append(int(text))
    if text in {"true", "false"}:
        readings.append(text == "true")
    return readings


def _valid(value: object, schema: Json) -> bool:
    return _fault(value, schema) is None


def _fault(value: object, schema: Json) -> str | None:
    validator = _validator(json.dumps(schema))
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    return None if error is None else f"{error.json_path}: {error.message[:300]}"


@functools.cache
def _validator(schema: str) -> Any:
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": _components()})


@functools.cache
def _components() -> Json:
    return {"schemas": description()["components"]["schemas"]}
