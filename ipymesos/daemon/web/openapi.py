"""The REST API as OpenAPI 3.1 says it: `GET /api/v1/openapi.json`, and a page of the documentation.

Every resource has its entry in PATHS; a test compares them with the handlers, another asks a running daemon whatever
the description allows and looks whether the answers are as described.
"""

from __future__ import annotations

from typing import Any

from ... import __version__
from ...client import LONGEST_REASON
from ...core.explain import WHY
from ..vocabulary import KINDS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def obj(required: dict[str, Schema], optional: dict[str, Schema] | None = None, closed: bool = False) -> Schema:
    """An object; a closed one has no other fields than these."""
    made: Schema = {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}
    return {**made, "additionalProperties": False} if closed else made


def each(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def about(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
SECONDS = {"type": "number", "description": "seconds"}
FLAG: Schema = {"type": "boolean"}

SCHEMAS: dict[str, Schema] = {
    "Error": obj({"error": about(TEXT, "a sentence that names what is wrong and what is allowed")}),
    "Controller": obj(
        {
            "state": about(TEXT, "waiting, failed, or the state of its task"),
            "task": TEXT,
            "agent": about(TEXT, "host name"),
            "agent_id": TEXT,
            "host": about(TEXT, "the address on which it listens"),
            "ports": each(COUNT),
            "message": TEXT,
        }
    ),
    "Engine": obj(
        {
            "task": TEXT,
            "state": {"enum": ["launching", "starting", "running", "unreachable", "killing"]},
            "agent": TEXT,
            "agent_id": TEXT,
            "container": about(TEXT, "the executor of its pack"),
            "engine_id": about({"type": ["integer", "null"]}, "the hub's number, once it is registered there"),
            "since": about(NUMBER, "of its state, in the scheduler's own seconds (see `now`)"),
            "message": TEXT,
        }
    ),
    "EngineSet": obj(
        {
            "wanted": COUNT,
            "running": about(COUNT, "registered with the controller that serves clients"),
            "state": {"enum": ["waiting", "running", "failed", "stopping"]},
            "message": TEXT,
            "tasks": each(ref("Engine")),
        }
    ),
    "Status": obj(
        {
            "version": about(COUNT, "grows with every change"),
            "name": TEXT,
            "cluster_id": TEXT,
            "pid": COUNT,
            "ipymesos": about(TEXT, "version"),
            "master": TEXT,
            "framework_id": TEXT,
            "connected": FLAG,
            "state": {"enum": ["starting", "running", "stopping"]},
            "error": about(TEXT, "why the scheduler ends"),
            "trouble": about(TEXT, "what can't be done at the moment, and is tried again"),
            "now": about(NUMBER, "seconds on the scheduler's own clock, which every other time of this answer is of"),
            "controller": ref("Controller"),
            "engines": mapping(ref("EngineSet")),
            "explain": about(TEXT, "one line: what is waited for"),
            "exits": each(obj({"task": TEXT, "group": TEXT, "agent": TEXT, "reason": TEXT, "message": TEXT})),
        }
    ),
    "Source": obj(
        {
            "task": TEXT,
            "group": about(TEXT, "controller, or the engine set"),
            "engine_id": {"type": ["integer", "null"]},
            "agent": about(TEXT, "host name"),
            "agent_id": TEXT,
            "container": about(TEXT, "the executor of its pack"),
            "state": about(TEXT, "as in the status, or ended"),
            "at": about(NUMBER, "since when, in the scheduler's own seconds"),
            "asked": about(FLAG, "its end was wanted"),
        }
    ),
    "Log": obj(
        {
            "task": TEXT,
            "group": TEXT,
            "engine_id": {"type": ["integer", "null"]},
            "state": TEXT,
            "stream": {"enum": ["log", "stdout", "stderr"]},
            "offset": about(COUNT, "where the text begins in the file, in bytes"),
            "next": about(COUNT, "the offset with which to ask for what follows"),
            "text": about(TEXT, "what is no UTF-8 has become U+FFFD"),
        }
    ),
    "Event": obj(
        {
            "seq": about(COUNT, "its number; they grow"),
            "at": about(TEXT, "when, UTC as ISO 8601 writes it"),
            "kind": {"enum": list(KINDS)},
            "text": about(TEXT, "one line for people"),
        },
        {
            "group": about(TEXT, "controller, or the engine set"),
            "tasks": each(TEXT),
            "agents": about(each(TEXT), "host names"),
            "reason": about(TEXT, "in words"),
            "cause": about(TEXT, "of an end or of waiting, in a word"),
            "asked": about(FLAG, "of an end: it was wanted"),
            "running": about(COUNT, "usable engines of the set, after this"),
            "wanted": COUNT,
            "seconds": about(NUMBER, "that it has taken, or will last"),
            "by": about(TEXT, "who wanted it"),
        },
        closed=True,
    ),
    "Best": obj({"agent": about(TEXT, "host name"), "reason": TEXT, "offered": TEXT, "wanted": TEXT}),
    "Waiting": obj(
        {
            "group": about(TEXT, "controller, or the engine set's name"),
            "why": about({"type": "string", "enum": list(WHY)}, "what it waits for, in a word"),
            "wanted": COUNT,
            "running": about(COUNT, "usable now"),
            "coming": about(COUNT, "launched, and not yet usable"),
            "since": about(NUMBER, "when it began, seconds since the epoch"),
            "waited": SECONDS,
            "offers": about(COUNT, "that Mesos has made since then"),
            "refused": about(mapping(COUNT), "agents that can't take the next one, per reason, in the funnel's order"),
            "best": about({"anyOf": [ref("Best"), {"type": "null"}]}, "the offer that came furthest"),
            "room": about({"type": ["integer", "null"]}, "engines that all agents could hold if nothing else ran"),
            "failures": about(COUNT, "in a row"),
            "next_try": about({"type": ["number", "null"]}, "of a group that rests, seconds since the epoch"),
            "message": about(TEXT, "one sentence"),
            "reason": about(TEXT, "the same without how many are missing"),
            "hint": about(TEXT, "what could help"),
            "words": about(TEXT, "what the container that failed last has written last, in lines"),
        }
    ),
    "Explanation": obj(
        {"summary": about(TEXT, "one line"), "text": about(TEXT, "all of it"), "groups": each(ref("Waiting"))}
    ),
}


def answer(schema: Schema, what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def operation(
    summary: str, good: dict[str, Any], failures: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """Whoever has the token may ask; the other answers, but for `failures`, are the same everywhere."""
    bad = {
        "400": "something in the request makes no sense",
        "401": "the token is missing or wrong",
        "403": "the Host or Origin header names another server",
        "429": "too many requests at once; Retry-After says when to come again, in seconds",
        **(failures or {}),
    }
    if "requestBody" in more:
        bad["415"] = "the body isn't declared as application/json"
    responses = {"200": good, **{code: answer(ref("Error"), what) for code, what in bad.items()}}
    return {"summary": summary, "responses": responses, **more}


def body(schema: Schema) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def query(name: str, schema: Schema, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def inpath(name: str, schema: Schema, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


NAME = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$"
ENGINE_SET = inpath("name", {"type": "string", "pattern": NAME}, "of the engine set")

PATHS: dict[str, dict[str, Any]] = {
    "/api/v1/cluster": {
        "get": operation(
            "The state of the cluster",
            answer(ref("Status"), "the state"),
            parameters=[
                query("after", COUNT, "wait until the version is another one"),
                query("timeout", {"type": "number", "minimum": 0}, "how long, at most; seconds (default 30, most 300)"),
            ],
        ),
    },
    "/api/v1/engines/{name}": {
        "put": operation(
            "Let an engine set have n engines; it is made if there is none of this name",
            answer(ref("EngineSet"), "the engine set"),
            parameters=[ENGINE_SET],
            requestBody=body(
                obj(
                    {"n": {"type": "integer", "minimum": 0, "maximum": 10_000}},
                    {
                        "options": about(
                            {"type": ["object", "null"]}, "options of MesosLauncher that differ for this set"
                        ),
                        "engine_args": about(
                            {"type": ["array", "null"], "items": TEXT}, "further arguments of ipengine"
                        ),
                    },
                    closed=True,
                )
            ),
        ),
        "delete": operation(
            "End an engine set", answer(ref("EngineSet"), "what is left of it"), parameters=[ENGINE_SET]
        ),
    },
    "/api/v1/engines/{name}/signal": {
        "post": operation(
            "Send a signal to every engine process of the set",
            answer(obj({"signal": WHOLE, "engines": COUNT}), "how many engines it was sent to"),
            parameters=[ENGINE_SET],
            requestBody=body(obj({"signal": {"type": "integer", "minimum": 0, "maximum": 64}}, closed=True)),
        ),
    },
    "/api/v1/explain": {
        "get": operation("Why something waits", answer(ref("Explanation"), "for each thing that is not complete")),
    },
    "/api/v1/logs": {
        "get": operation(
            "Whose logs there are: of all tasks, and of those that have ended lately",
            answer(obj({"scheduler": about(TEXT, "its own log file"), "logs": each(ref("Source"))}), "the list"),
        ),
    },
    "/api/v1/logs/{name}": {
        "get": operation(
            "A piece of a log, read from its agent; the end of it without offset and tail",
            answer(ref("Log"), "the piece"),
            failures={
                "410": "the agent has no such file, or no longer",
                "502": "the agent doesn't answer, or doesn't let the scheduler read",
            },
            parameters=[
                inpath(
                    "name",
                    {"type": "string", "pattern": NAME},
                    "scheduler, controller, an engine's number or a task's id",
                ),
                query(
                    "stream", {"enum": ["log", "stdout", "stderr"]}, "the task's own, or its container's (default log)"
                ),
                query("offset", COUNT, "the first byte"),
                query("length", COUNT, "how many bytes (default and most 65536)"),
                query("tail", COUNT, "instead of both: the last lines, as many as this, within 1 MB"),
            ],
        ),
    },
    "/api/v1/events": {
        "get": operation(
            "What has happened; docs/events.md describes the kinds of events",
            answer(
                obj({"events": each(ref("Event")), "last": about(COUNT, "the number of the newest event")}),
                "the oldest of those asked for, a thousand at most",
            ),
            parameters=[
                query("after", COUNT, "only events after this number (default 0)"),
                query(
                    "timeout",
                    {"type": "number", "minimum": 0},
                    "how long to wait if there are none, at most; seconds (default 0, most 300)",
                ),
            ],
        ),
    },
    "/api/v1/tasks/{task}/{what}": {
        "post": operation(
            "End one engine: `restart` has another one take its place, with `retire` its set wants one less",
            answer(ref("EngineSet"), "its engine set"),
            parameters=[
                inpath("task", {"type": "string", "pattern": NAME}, "the engine's Mesos task"),
                inpath("what", {"enum": ["retire", "restart"]}, "what shall become of it"),
            ],
        ),
    },
    "/api/v1/stream": {
        "get": operation(
            "What there is to see, and then whatever changes, as server-sent events; docs/dashboard.md says what",
            {"description": "JSON objects", "content": {"text/event-stream": {"schema": TEXT}}},
            parameters=[query("after", COUNT, "only events after this number, as with the header Last-Event-ID")],
        ),
    },
    "/api/v1/login": {
        "get": operation(
            "Is this browser logged in?", answer(obj({"logged_in": FLAG}), "whether it is"), security=[{}]
        ),
        "post": operation(
            "Log a browser in: it gets a cookie, which shows everything and changes nothing",
            answer(obj({"word": about(TEXT, "to be sent as X-IPyMesos-Word with what changes something")}), "it is in"),
            security=[{}],
            requestBody=body(obj({}, {"token": TEXT, "code": about(TEXT, "instead of the token")}, closed=True)),
        ),
        "delete": operation("Log this browser out", answer(obj({"logged_in": FLAG}), "it is out")),
    },
    "/api/v1/login/code": {
        "post": operation(
            "A code with which a browser can log in, once, within two minutes", answer(obj({"code": TEXT}), "the code")
        ),
    },
    "/api/v1/stop": {
        "post": operation(
            "End the cluster",
            answer(obj({"state": TEXT, "reason": TEXT}), "it is stopping"),
            requestBody=body(obj({}, {"reason": {"type": "string", "maxLength": LONGEST_REASON}}, closed=True)),
        ),
    },
    "/api/v1/openapi.json": {
        "get": operation("This description", answer({"type": "object"}, "an OpenAPI 3.1 document")),
    },
}


def document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ipymesos",
            "version": __version__,
            "description": "One cluster's scheduler. Its address and token are in the daemon file of the profile,"
            " security/ipymesos*.json. Fields may be added; none is taken away or changed within /api/v1.",
        },
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": SCHEMAS},
        "paths": PATHS,
    }
