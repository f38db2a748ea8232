"""A Sphinx extension: pages of the reference, made from the options, the commands and the REST description.

A line `<!-- generated: NAME -->` in a page is replaced by the text of MAKERS[NAME] before the page is read.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from ipymesos import config, traits

PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
WIDTH = "92"  # columns of a command's help

# What is said of a type; the first that fits. Units are those in which a number without one is read.
TYPES: list[tuple[type, str]] = [
    (traits.Memory, "memory or disk: a text with MB, GB or TB"),
    (traits.Duration, "time: seconds, or a text like '5 min'"),
    (traits.Cpus, "cores: a number, thousandths are the finest"),
    (traits.Count, "whole number"),
    (traits.Master, "address"),
    (traits.Roles, "name, or several with commas"),
    (traits.Attributes, "dictionary of names and values"),
    (config.Bool, "True or False"),
    (config.List, "list of texts"),
    (config.Dict, "dictionary of names and values"),
    (config.Unicode, "text"),
]


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}


def fill(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = PLACE.sub(lambda match: MAKERS[match[1]](), source[0])


def sections() -> dict[str, list[str]]:
    """The names of all options, under the headings that `config` has above them as comments."""
    found: dict[str, list[str]] = {}
    for heading, name in re.findall(r"^    (?:# -- (.+)|(\w+) = )", inspect.getsource(config.MesosOptions), re.M):
        if heading:
            found[heading] = []
        elif name in config.MesosOptions.option_names():
            found[list(found)[-1]].append(name)
    return found


def options() -> str:
    lines: list[str] = []
    for heading, names in sections().items():
        lines += ["", f"## {heading[0].upper()}{heading[1:]}", ""]
        for name in names:
            trait = config.MesosOptions.class_traits()[name]
            kind = next(text for cls, text in TYPES if isinstance(trait, cls))
            lines += [f"### `{name}`", "", f"*{kind}{_bounds(trait)}{_default(trait)}*", "", trait.help, ""]
    return "\n".join(lines)


def _bounds(trait: Any) -> str:
    least, most = getattr(trait, "least", 0), getattr(trait, "most", None)
    return f", {least:g} to {most:g}" if most is not None else f", at least {least:g}{_unit(trait)}" if least else ""


def _unit(trait: Any) -> str:
    return " MB" if isinstance(trait, traits.Memory) else " s" if isinstance(trait, traits.Duration) else ""


def _default(trait: Any) -> str:
    """As one would write it, unless the help tells what it is."""
    value = trait.default() if isinstance(trait, (config.List, config.Dict)) else trait.default_value
    if isinstance(trait, traits.Duration):
        return f"; default: `{value:g}`, seconds"
    if "Default:" in trait.help:
        return ""
    return f"; default: `{value!r}`" if value or isinstance(value, (bool, int, float)) else "; default: none"


def commands() -> str:
    from ipymesos.cli.main import parser

    os.environ["COLUMNS"] = WIDTH
    main = parser()
    subcommands = list(_subcommands(main))
    lines = _help(main)
    for name, sub in subcommands:
        lines += [f"## {name}", "", *_help(sub)]
    return "\n".join(lines)


def _help(parser: argparse.ArgumentParser) -> list[str]:
    """What --help says, with its prose as prose."""
    before, after = parser.description or "", parser.epilog or ""
    parser.description = parser.epilog = None
    return [before, "", "```text", parser.format_help().rstrip(), "```", "", after, ""]


def _subcommands(main: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in main._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def rest() -> str:
    from ipymesos.daemon.web.openapi import document

    described = document()
    lines: list[str] = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines += [f"## {method.upper()} {path}", "", f"{operation['summary']}.", ""]
            for one in operation.get("parameters", []):
                schema = {**one["schema"], "description": one.get("description", "")}
                lines += [f"* `{one['name']}` in the {one['in']}: {_schema(schema)}"]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                lines += [f"* Body: {_schema(content['schema'])}"]
            for code, response in operation["responses"].items():
                if code.startswith("2"):
                    shapes = "; ".join(_schema(content["schema"]) for content in response.get("content", {}).values())
                    lines += [f"* {code}: {response['description']}{f': {shapes}' if shapes else ''}"]
            lines.append("")
    lines += ["## What goes wrong", "", *_failures(described), "", "## What answers look like", ""]
    for name, schema in described["components"]["schemas"].items():
        lines += [f"### {name}", "", *_fields(schema), ""]
    return "\n".join(lines)


def _failures(described: dict[str, Any]) -> Iterator[str]:
    """The answers that tell of a fault; they mean the same everywhere."""
    found: dict[str, str] = {}
    for operations in described["paths"].values():
        for operation in operations.values():
            for code, response in operation["responses"].items():
                if code[0] in "45":
                    found.setdefault(code, response["description"])
    yield from (f"* {code}: {found[code]}" for code in sorted(found))


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        yield _schema(schema)
    for name, field in schema.get("properties", {}).items():
        optional = "" if name in schema.get("required", []) else " (not always there)"
        yield f"* `{name}`{optional}: {_schema(field)}"


def _schema(schema: dict[str, Any]) -> str:
    """A schema in words."""
    said = schema.get("description", "")
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        kind = f"[{name}](#{name.lower()})"
    elif choices := schema.get("anyOf") or schema.get("oneOf"):
        kind = " or ".join(_schema(choice) for choice in choices)
    elif "enum" in schema:
        kind = "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    elif schema.get("type") == "array":
        kind = f"a list, each: {_schema(schema.get('items', {}))}"
    elif "properties" in schema:
        fields = [f"`{name}`: {_schema(field)}" for name, field in schema["properties"].items()]
        kind = f"an object of {'; '.join(fields)}"
    elif isinstance(schema.get("additionalProperties"), dict):
        kind = f"an object, each value: {_schema(schema['additionalProperties'])}"
    else:
        types = schema.get("type", "anything")
        kind = " or ".join(types) if isinstance(types, list) else types
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return f"{' '.join([kind, *bounds])}{f', {said}' if said else ''}"


MAKERS: dict[str, Callable[[], str]] = {"options": options, "commands": commands, "rest": rest}
