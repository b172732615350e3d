"""What the fake providers answer, in no protocol. The beginning of a model's name up to the first dot chooses the script."""
import base64
import dataclasses
import json

KEY = "sk-fake-upstream-0123456789"
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
SEALED = "gAAAAAsealed-reasoning"
IMAGE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
END = "END"
# Of a prompt's 20 tokens, 4 come from the cache and 3 go into it. Of 9 tokens of output, 5 may be reasoning.
PROMPT, CACHED, WRITTEN, OUTPUT, REASONING = 20, 4, 3, 9, 5
RETRY_AFTER = 7
LIMITS = {"requests": "99", "tokens": "12345"}


@dataclasses.dataclass(frozen=True)
class Script:
    text: str = ""
    reasoning: str = ""
    calls: tuple = ()
    # stop, length, calls, sequence, filter or refusal.
    finish: str = "stop"
    # An HTTP status that is an error.
    status: int = 0
    # reset, cut, malformed, trickle, report, late, flaky.
    fault: str = ""


WEATHER = ("weather", '{"city":"Oslo"}')
TIME = ("time", '{"zone":"Europe/Zürich"}')
TEXT = "Grüße, 世界! 🎉 All is well."
SCRIPTS = {
    "text": Script(TEXT),
    "think": Script("It is 4.", reasoning="Two and two — 四."),
    "call": Script(calls=(WEATHER,), finish="calls"),
    "say_and_call": Script("I ask. ", calls=(WEATHER,), finish="calls"),
    "calls": Script(calls=(WEATHER, TIME), finish="calls"),
    "bare": Script(calls=(("now", "{}"),), finish="calls"),
    "custom": Script(calls=(("shell", '{"input":"ls -l"}'),), finish="calls"),
    "think_and_call": Script(reasoning="A tool knows.", calls=(WEATHER,), finish="calls"),
    "json": Script(json.dumps({"city": "Zürich"}, ensure_ascii=False)),
    "length": Script("Once upon a", finish="length"),
    "sequence": Script("One two ", finish="sequence"),
    "filter": Script("I", finish="filter"),
    "refusal": Script("I cannot help with that.", finish="refusal"),
    "image": Script("A dot."),
    "late": Script(TEXT, fault="late"),
    "flaky": Script(TEXT, fault="flaky"),
    "trickle": Script(TEXT * 2, fault="trickle"),
    "trickle_call": Script(calls=(TIME, WEATHER), finish="calls", fault="trickle"),
    "reset": Script(TEXT, fault="reset"),
    "cut": Script(TEXT, fault="cut"),
    "malformed": Script(TEXT, fault="malformed"),
    "report": Script(TEXT, fault="report"),
    "long": Script(status=400, fault="long"),
    **{f"status_{status}": Script(status=status) for status in (400, 401, 404, 413, 429, 500, 503, 529)},
}


def script_of(model):
    return SCRIPTS.get(str(model).split(".")[0])


def pieces(text, count=4):
    """The text in a few pieces, as models send it."""
    size = max(1, -(-len(text) // count))
    return [text[at:at + size] for at in range(0, len(text), size)]


class Refused(Exception):
    """A request that the vendor would refuse."""


def demand(condition, why):
    if not condition:
        raise Refused(why)


def has_city(schema):
    """Whether a schema is that of the script `json`."""
    return "city" in (schema or {}).get("properties", {})


def check_strict_schema(schema, path, needs_all=False):
    """Both vendors demand closed objects, and OpenAI that all properties are required: `needs_all`."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        demand(schema.get("additionalProperties") is False, f"{path}: additionalProperties must be false")
        missing = set(schema.get("properties", {})) - set(schema.get("required", []))
        demand(not (needs_all and missing), f"{path}: required must name every property, and lacks {missing}")
    for name, inner in schema.get("properties", {}).items():
        check_strict_schema(inner, f"{path}.{name}", needs_all)


def choose_calls(script, names, forced, parallel, may_call):
    """The script's calls as far as the request allows them."""
    calls = script.calls if may_call else ()
    for name, _ in calls:
        demand(name in names, f"the script calls {name}, which is not among the tools {sorted(names)}")
    if forced:
        calls = tuple(call for call in calls if call[0] == forced)
    return calls if parallel else calls[:1]
