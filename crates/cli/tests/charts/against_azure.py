"""Compares resources with what the packages azure-mgmt-appcontainers and azure-mgmt-cosmosdb say of Azure's own types.

Standard input: a JSON array of {"at": where it stands, "package": "appcontainers", "type": "Job", "resource": {…}}. Each
difference is a line on standard output.
"""

import enum
import importlib
import json
import re
import sys
import typing

import typing_extensions

PLAIN = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def camel(name):
    """As it is called in JSON: Python's names are in snake case in one of the packages."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def is_computed(value):
    """An expression of a template; its value is known when it is deployed."""
    return isinstance(value, str) and value.startswith("[")


def differences(hint, value, at, names):
    if is_computed(value) or hint is typing.Any:
        return
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing_extensions.Required, typing_extensions.NotRequired):
        yield from differences(choices[0], value, at, names)
    elif origin is typing.Literal:
        if value not in [getattr(choice, "value", choice) for choice in choices]:
            yield f"{at}: {value!r} is none of {choices}"
    elif origin is typing.Union:
        enums = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, enum.Enum)]
        known = [member.value for choice in enums for member in choice]
        if known and value not in known:
            yield f"{at}: {value!r} is none of {known}"
        elif not known:
            found = [list(differences(choice, value, at, names)) for choice in choices]
            yield from min(found, key=len)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{at}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from differences(choices[0], item, f"{at}[{index}]", names)
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        for key, item in value.items():
            yield from differences(choices[1], item, f"{at}.{key}", names)
    elif typing_extensions.is_typeddict(hint):
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        hints = typing_extensions.get_type_hints(hint, names, names, include_extras=True)
        fields = {camel(name): of for name, of in hints.items()}
        for key in value.keys() - fields.keys():
            yield f"{at}: {hint.__name__} has no {key}"
        for key, of in fields.items():
            if key in value:
                yield from differences(of, value[key], f"{at}.{key}", names)
            elif typing.get_origin(of) is typing_extensions.Required:
                yield f"{at}: {hint.__name__} needs {key}"
    elif hint in PLAIN:
        accepted = (int, float) if hint is float else hint
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            yield f"{at}: {value!r} is not {PLAIN[hint]}"
    else:
        yield f"{at}: nobody knows how to compare with {hint}"


for given in json.load(sys.stdin):
    types = importlib.import_module(f"azure.mgmt.{given['package']}.types")
    models = importlib.import_module(f"azure.mgmt.{given['package']}.models")
    names = {**vars(models), **vars(types)}
    for difference in differences(getattr(types, given["type"]), given["resource"], given["at"], names):
        print(difference)
