"""Typed decisions by the official OpenAI SDK against mlxd: openai_decisions.py BASE_URL MODEL"""
import sys

import openai
from langchain_openai.decisions import Choice, OpenAIDecisions, Predicate, Score

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
TICKET = "I was charged twice for my order this month. Please refund the second payment."
COLORS = {"type": "choice", "name": "color", "instructions": "Which color is the wall?",
          "choices": [{"value": "red"}, {"value": "green"}, {"value": "blue"}]}
LEVELS = ["not at all", "a little", "very"]
SCORE = {"type": "score", "name": "warm", "instructions": "How warm is it?", "levels": [{"label": one} for one in LEVELS]}


def decide(text, *questions, **options):
    return client.decisions.create(model=model, input=text, questions=questions, **options)


def refused(field, **request):
    try:
        client.decisions.create(**({"model": model, "input": "a", "questions": [COLORS]} | request))
    except openai.BadRequestError as e:
        assert e.body["param"] == field, e.body
    else:
        raise AssertionError(f"{request} is taken")


def near(a, b):
    return abs(a - b) < 1e-6


# A choice follows the input, whatever the order of the values.
for color in ["red", "green", "blue"]:
    answer = decide(f"The wall is {color}.", COLORS).answers[0]
    assert (answer.type, answer.name, answer.choice) == ("choice", "color", color), answer
    assert [one.value for one in answer.probabilities] == ["red", "green", "blue"]
    assert near(sum(one.probability for one in answer.probabilities), 1)
    assert 0 < answer.confidence <= 1

# All types in one request give what each gives alone.
predicate = {"type": "predicate", "instructions": "The wall is red."}
typed = {"type": "choice", "instructions": "Is the wall red?", "choices": [{"value": True}, {"value": False}, {"value": "true"}]}
together = decide("The wall is red.", predicate, COLORS, SCORE, typed)
assert [one.type for one in together.answers] == ["predicate", "choice", "score", "choice"]
assert together.answers[0].name is None and 0 < together.answers[0].probability < 1
for question, answer in zip([predicate, COLORS, SCORE, typed], together.answers):
    alone = decide("The wall is red.", question).answers[0]
    if answer.type == "predicate":
        assert abs(alone.probability - answer.probability) < 1e-3
    else:
        for a, b in zip(alone.probabilities, answer.probabilities):
            assert abs(a.probability - b.probability) < 1e-3
score = together.answers[2]
assert [(one.label, one.value) for one in score.probabilities] == [(label, at) for at, label in enumerate(LEVELS)]
assert near(score.score, sum(one.value * one.probability for one in score.probabilities))
assert [one.value for one in together.answers[3].probabilities] == [True, False, "true"]
usage = together.usage
assert usage.output_tokens == 0 and usage.total_tokens == usage.input_tokens > 100

# The probability of a statement is higher where it is true.
def probability(text, statement):
    return decide(text, {"type": "predicate", "instructions": statement}).answers[0].probability


assert probability("The wall is red.", "The wall is red.") > probability("The wall is blue.", "The wall is red.")

# The input is computed once: the second question finds it in the prefix cache.
long = "The quick brown fox jumps over the lazy dog. " * 40
first = decide(long, COLORS).usage
again = decide(long, COLORS | {"instructions": "Which color is the fox?"}).usage
assert again.input_tokens_details.cached_tokens > 300, again
assert first.input_tokens_details.cache_write_tokens > 300, first

# Messages, calls and JSON are input too.
items = [
    {"role": "user", "content": [{"type": "input_text", "text": "The order: "},
                                 {"type": "input_json", "data": {"wall": "green"}}]},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "The wall is green."},
]
assert decide(items, COLORS).answers[0].choice == "green"

refused("questions", questions=[])
refused("questions[0].choices", questions=[COLORS | {"choices": [{"value": "red"}]}])
refused("input", input="")
try:
    decide("a" * 10, COLORS, extra_body={"model": "nothing"})
except openai.NotFoundError as e:
    assert e.body["code"] == "model_not_found", e.body
else:
    raise AssertionError("an unknown model answers")

decisions = OpenAIDecisions(model=model, api_key="none", base_url=base_url)
response = decisions.invoke({"input": TICKET, "questions": {
    "department": Choice(instructions="Which team?", choices={"billing": "Payments.", "technical": "Product bugs."}),
    "urgent": Predicate(instructions="Is this request urgent?"),
    "frustration": Score(instructions="How frustrated is the customer?", levels=["Calm", "Concerned", "Angry"])}})
assert response.choices["department"].choice in ("billing", "technical")
assert 0 <= response.predicates["urgent"].probability <= 1
assert 0 <= response.scores["frustration"].score <= 2

print("all checks passed")
