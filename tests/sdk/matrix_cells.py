"""The table: each client's protocol, each provider's kind, each feature, streamed and not, and what is to be expected of it."""
import dataclasses
import itertools

import fake_scripts as scripts
from matrix_asks import CITY, HELLO, LOOSE, Ask, Turn

# The kinds of providers, by the names that they have in the server's settings.
KINDS = {"op": "openai", "co": "openai-compatible", "an": "anthropic"}
# A fake that the vendor's own SDK asks without a server between: it must be as the vendor's.
DIRECT = "direct"
CHATS = ("chat", "responses", "messages")
ALL = (*CHATS, "completions")


@dataclasses.dataclass(frozen=True, eq=False)
class Feature:
    name: str
    script: str
    ask: Ask = Ask()
    clients: tuple = CHATS
    # By (client, provider), or by provider for all of its clients that do not speak its protocol: the field that is refused.
    refused: dict = dataclasses.field(default_factory=dict)
    # By provider, of translated requests: fields, with dots, that the provider must get. None must be absent.
    sees: dict = dataclasses.field(default_factory=dict)
    # Whether the neutral part of translated requests is compared.
    compares: bool = True


@dataclasses.dataclass(frozen=True)
class Cell:
    feature: Feature
    client: str
    upstream: str
    stream: bool

    @property
    def model(self):
        """The name of the model at the provider. Its beginning is the script."""
        mode = "streamed" if self.stream else "whole"
        return f"{self.feature.script}.{self.feature.name}.{self.client}.{self.upstream}.{mode}"

    @property
    def is_direct(self):
        return self.upstream.startswith(DIRECT)

    @property
    def kind(self):
        return self.upstream.removeprefix(DIRECT + "-")

    @property
    def passes(self):
        """Whether the request and its answer pass as they come."""
        native = {"op": ("chat", "unstored"), "co": ("chat",), "an": ("messages",)}
        return self.is_direct or self.client in native[self.upstream]

    @property
    def is_response(self):
        return self.client in ("responses", "unstored")

    @property
    def refused(self):
        """The field that is refused by name, if any."""
        client = "responses" if self.client == "unstored" and not self.passes else self.client
        by_pair = self.feature.refused.get((client, self.upstream))
        by_kind = None if self.passes else self.feature.refused.get(self.upstream)
        default = "prompt" if self.client == "completions" and self.kind == "an" else None
        return by_pair or by_kind or default


CALL = Turn("assistant", "I ask.", calls=(("call_00", "weather", '{"city": "Oslo"}'), ("call_01", "time", "{}")))
ROUND = (HELLO, CALL, Turn("result", "sunny ☀", call="call_00"), Turn("result", "noon", call="call_01"))
THOUGHT = Turn("assistant", "It is 3.", reasoning="One and two.")
THOUGHT_CALL = Turn("assistant", calls=(("call_00", "weather", '{"city": "Oslo"}'),), reasoning="A tool knows.")
PROVIDER_TOOL = {"type": "web_search_20250305", "name": "web_search"}
SHELL = {"chat": {"tools": [{"type": "custom", "custom": {"name": "shell", "description": "A shell"}}]},
         "responses": {"tools": [{"type": "custom", "name": "shell", "description": "A shell"}]}}
OLDER = {"anthropic-version": "2023-06-01"}


def extra(**fields):
    return Ask(extra=fields)


FEATURES = [
    Feature("text", "text", clients=ALL),
    Feature("history", "text", Ask(turns=(HELLO, Turn("assistant", "Fine."), Turn("user", "And you?")))),
    Feature("no_system", "text", Ask(system="")),
    Feature("later_system", "text", Ask(turns=(HELLO, Turn("assistant", "Fine."), Turn("user", "And?"), Turn("system", "In verse.")))),
    Feature("developer", "text", extra(chat={"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": HELLO.text}]}),
            clients=("chat",)),
    Feature("parts", "text", extra(
        chat={"messages": [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                           {"role": "user", "content": [{"type": "text", "text": HELLO.text}]}]},
        responses={"input": [{"role": "user", "content": [{"type": "input_text", "text": HELLO.text}]}]},
        messages={"system": [{"type": "text", "text": "Be brief."}]})),
    Feature("settings", "text", Ask(temperature=0.3, max_tokens=99), clients=ALL),
    Feature("limit", "text", Ask(max_tokens=99), sees={
        "op": {"max_tokens": None, "max_completion_tokens": 99}, "co": {"max_tokens": 99, "max_completion_tokens": None}}),
    Feature("hot", "text", Ask(temperature=1.5), clients=("chat", "responses"), refused={"an": "temperature"}),
    Feature("top_p", "text", Ask(top_p=0.9), clients=ALL),
    Feature("newer_version", "text", extra(messages={"extra_body": {"temperature": 0.5}}), clients=("messages",), compares=False,
            refused={("messages", "an"): "temperature", ("messages", DIRECT + "-an"): "temperature"}),
    Feature("no_limit", "text", Ask(max_tokens=None), clients=("chat", "responses")),
    Feature("stop", "sequence", Ask(stop=(scripts.END,)), clients=("chat", "messages", "completions")),
    Feature("length", "length", Ask(max_tokens=scripts.OUTPUT), clients=ALL),
    Feature("call", "call", Ask(tools=("weather",))),
    Feature("say_and_call", "say_and_call", Ask(tools=("weather",))),
    Feature("calls", "calls", Ask(tools=("weather", "time"))),
    Feature("bare_call", "bare", Ask(tools=("now",))),
    Feature("one_call", "calls", Ask(tools=("weather", "time"), parallel=False)),
    Feature("required_call", "call", Ask(tools=("weather", "time"), choice="required")),
    Feature("forced_call", "calls", Ask(tools=("weather", "time"), choice="time")),
    Feature("no_call", "say_and_call", Ask(tools=("weather",), choice="none")),
    Feature("strict_call", "call", Ask(tools=("weather",), strict=True)),
    Feature("results", "text", Ask(turns=ROUND, tools=("weather", "time"))),
    Feature("results_and_question", "text", Ask(turns=(*ROUND, Turn("user", "So?")), tools=("weather", "time"))),
    Feature("custom_call", "custom", Ask(extra=SHELL), clients=("chat", "responses"), compares=False),
    Feature("schema", "json", Ask(schema=CITY), sees={kind: {"response_format.json_schema.strict": True} for kind in ("op", "co")}),
    Feature("loose_schema", "json", Ask(schema=LOOSE), sees={kind: {"response_format.json_schema.strict": False} for kind in ("op", "co")},
            refused={("messages", "an"): "additionalProperties", ("messages", DIRECT + "-an"): "additionalProperties"}),
    Feature("optional_strict_call", "call", Ask(tools=("weather", "post"), strict=True), refused={
        ("chat", "op"): "required", ("chat", DIRECT + "-op"): "required", ("responses", DIRECT + "-op"): "required"}),
    Feature("json_object", "json", Ask(json_object=True, system="Answer in JSON."), clients=("chat", "responses"),
            refused={("chat", "an"): "response_format", ("responses", "an"): "text.format"}),
    Feature("thinking", "think", Ask(effort="low", max_tokens=2048), sees={
        "op": {"reasoning_effort": "low", "chat_template_kwargs": None}, "co": {"reasoning_effort": "low"},
        "an": {"thinking.type": "adaptive", "output_config.effort": "low"}}),
    Feature("no_thinking", "think", Ask(effort="none"), sees={
        "op": {"reasoning_effort": "none"}, "co": {"reasoning_effort": "none", "chat_template_kwargs.enable_thinking": False},
        "an": {"thinking.type": "disabled"}}),
    Feature("thinking_budget", "think", Ask(budget=1024, max_tokens=2048), clients=("messages",),
            refused={("messages", "op"): "thinking.budget_tokens"}, sees={"co": {"thinking_token_budget": 1024}}),
    Feature("thinking_and_call", "think_and_call", Ask(effort="low", tools=("weather",), max_tokens=2048)),
    Feature("thinking_and_forced_call", "think_and_call", Ask(effort="low", tools=("weather",), choice="required", max_tokens=2048),
            clients=("chat", "responses"), sees={"an": {"thinking": None, "output_config.effort": "low"}}),
    Feature("thought", "think", Ask(turns=(HELLO, THOUGHT, Turn("user", "And 2 + 2?")), effort="low", max_tokens=2048),
            sees={"co": {"messages.2.reasoning_content": "One and two."}, "op": {"messages.2.reasoning_content": None}},
            clients=("messages",)),
    Feature("thought_and_results", "think",
            Ask(turns=(HELLO, THOUGHT_CALL, Turn("result", "sunny", call="call_00")), tools=("weather",), effort="low", max_tokens=2048),
            sees={"an": {"thinking": None}}),
    Feature("image", "image", Ask(turns=(Turn("user", "What is this?", image=True),))),
    Feature("seed", "text", extra(chat={"seed": 7}, completions={"seed": 7}), clients=("chat", "completions"),
            sees={"op": {"seed": 7}, "co": {"seed": 7}, "an": {"seed": None}}),
    Feature("penalty", "text", extra(chat={"presence_penalty": 0.5}), clients=("chat",), refused={"an": "presence_penalty"}),
    Feature("bias", "text", extra(chat={"logit_bias": {"5": 2}}, completions={"logit_bias": {"5": 2}}),
            clients=("chat", "completions"), refused={("chat", "an"): "logit_bias"},
            sees={"op": {"logit_bias.5": 2}, "co": {"logit_bias.5": 2}}),
    Feature("logprobs", "text", extra(chat={"logprobs": True, "top_logprobs": 1}, responses={"top_logprobs": 1}),
            clients=("chat", "responses"), refused={"an": "logprobs"},
            sees={"op": {"logprobs": True, "top_logprobs": 1}, "co": {"logprobs": True, "top_logprobs": 1}}),
    Feature("choices", "text", extra(chat={"n": 2}), clients=("chat",), refused={"an": "n"}),
    Feature("top_k", "text", extra(chat={"extra_body": {"top_k": 5}}, messages={"extra_body": {"top_k": 5}, "extra_headers": OLDER},
                                   responses={"extra_body": {"top_k": 5}}),
            refused={"op": "top_k", ("chat", "op"): "top_k", ("chat", DIRECT + "-op"): "top_k", ("responses", DIRECT + "-op"): "top_k"}, sees={"co": {"top_k": 5}, "an": {"top_k": 5}}),
    Feature("user", "text", extra(chat={"user": "ann"}, responses={"user": "ann"}, messages={"metadata": {"user_id": "ann"}})),
    Feature("cache_key", "text", extra(chat={"prompt_cache_key": "k"}, responses={"prompt_cache_key": "k"},
                                       messages={"cache_control": {"type": "ephemeral"}})),
    Feature("prefill", "text", Ask(turns=(HELLO, Turn("assistant", "Well,"))), clients=("messages",),
            refused={"op": "messages", "co": "messages"}),
    Feature("vendors_tool", "text", extra(chat={"web_search_options": {}}, messages={"tools": [PROVIDER_TOOL]}),
            clients=("chat", "messages"), refused={("chat", "an"): "web_search_options", "op": "tools", "co": "tools"}),
    Feature("filter", "filter"),
    Feature("refusal", "refusal"),
]
# The rows of the table in the documentation, each with the feature that proves it.
DOCUMENTED = {
    "Text, conversations, instructions": "history",
    "Limit of tokens, `temperature`, `top_p`": "settings",
    "Stop texts": "stop",
    "Functions: free, required, named, strict, one at a time": "forced_call",
    "Results of functions": "results",
    "Custom tools": "custom_call",
    "JSON schema of the answer": "schema",
    "Any JSON object": "json_object",
    "Reasoning with an effort, or none": "thinking_and_call",
    "Reasoning with a budget of tokens": "thinking_budget",
    "Images": "image",
    "`seed`": "seed",
    "`top_k`": "top_k",
    "Penalties": "penalty",
    "`logit_bias`": "bias",
    "Log probabilities": "logprobs",
    "Several choices": "choices",
    "Beginning of the answer": "prefill",
    "Tools that the provider runs": "vendors_tool",
}
STATUSES = (400, 401, 404, 413, 429, 500, 503, 529)
FAULTS = [
    *(Feature(f"status_{status}", f"status_{status}", clients=ALL) for status in STATUSES),
    Feature("too_long", "long"),
    Feature("late", "late"),
    Feature("flaky", "flaky", clients=ALL),
    Feature("trickle", "trickle", clients=ALL),
    Feature("trickle_calls", "trickle_call", Ask(tools=("weather", "time"))),
    Feature("reset", "reset"),
    Feature("cut", "cut"),
    Feature("malformed", "malformed"),
    Feature("error_in_stream", "report"),
]


# Responses with `store: false`, the form of agents.
UNSTORED = ("text", "settings", "length", "call", "calls", "forced_call", "strict_call", "results", "custom_call", "schema",
            "thinking", "filter", "refusal", "late", "flaky", "trickle_calls", "reset", "cut", "malformed", "error_in_stream",
            *(f"status_{status}" for status in STATUSES))
SEALED = [{"role": "user", "content": "What is 1 + 2?"},
          {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": scripts.SEALED},
          {"role": "assistant", "content": "It is 3."}, {"role": "user", "content": "And 2 + 2?"}]
# Only a provider that speaks Responses itself can do these.
ONLY_UNSTORED = [
    Feature("sealed_reasoning", "think", Ask(effort="low", max_tokens=2048, extra={
        "unstored": {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}}})),
    Feature("sealed_history", "think", Ask(effort="low", max_tokens=2048, extra={
        "unstored": {"input": SEALED, "include": ["reasoning.encrypted_content"]}})),
    Feature("unstored_image", "image", Ask(turns=(Turn("user", "What is this?", image=True),))),
    Feature("unstored_web_search", "text", extra(unstored={"tools": [{"type": "web_search"}]})),
]


def clients_of(feature):
    return feature.clients + ("unstored",) * (feature.name in UNSTORED)


def cells():
    made = []
    for feature in ONLY_UNSTORED:
        for stream in (False, True):
            made += [Cell(feature, "unstored", upstream, stream) for upstream in ("op", f"{DIRECT}-op")]
    for feature in FEATURES + FAULTS:
        for client, stream in itertools.product(clients_of(feature), (False, True)):
            made += [Cell(feature, client, upstream, stream) for upstream in KINDS]
            # No SDK asks again in these tests.
            if feature.name == "flaky":
                continue
            direct = {"messages": ("an",), "responses": ("op",), "unstored": ("op",)}.get(client, ("op", "co"))
            made += [Cell(feature, client, f"{DIRECT}-{kind}", stream) for kind in direct]
    return made


# The names of an answer's end in each client's protocol.
ENDS = {
    "chat": {"stop": "stop", "length": "length", "calls": "tool_calls", "sequence": "stop", "filter": "content_filter"},
    "responses": {"stop": "completed", "length": "max_output_tokens", "calls": "completed", "filter": "content_filter"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "sequence": "stop_sequence", "filter": "refusal"},
    "completions": {"stop": "stop", "length": "length", "sequence": "stop"},
}
# The status that a client gets for a provider's.
SHOWN = {400: 400, 401: 502, 404: 404, 413: 413, 429: 429, 500: 502, 503: 429, 529: 429}
# Providers are asked again for these.
RETRIED = (500, 503, 529)


def end_of(cell):
    """The reason of the end that the client must see."""
    script, ask = scripts.SCRIPTS[cell.feature.script], cell.feature.ask
    end = script.finish
    if end == "calls" and ask.choice == "none":
        end = "stop"
    if end == "refusal":
        # OpenAI's refusal is a text of its own, and Anthropic's a reason.
        end = "filter" if cell.kind == "an" else "stop"
    if end == "sequence" and cell.kind != "an":
        # OpenAI does not say that a stop text ended the answer.
        end = "stop"
    return ENDS["responses" if cell.is_response else cell.client][end]


def calls_of(cell):
    script, ask = scripts.SCRIPTS[cell.feature.script], cell.feature.ask
    calls = [call for call in script.calls if ask.choice in ("auto", "required", call[0])]
    return calls if ask.parallel else calls[:1]


def shows_thinking(cell):
    """Whether the provider's answer has the script's reasoning as text."""
    script, ask = scripts.SCRIPTS[cell.feature.script], cell.feature.ask
    if not script.reasoning or ask.effort == "none":
        return False
    if cell.kind == "an":
        # Within a round of calls Anthropic demands its signature, which no other protocol carries.
        asks = bool(ask.effort or ask.budget)
        return asks and (cell.passes or not (cell.feature.sees.get("an", {}).get("thinking", "") is None))
    return cell.kind == "co"


# The models of what stands beside the table, by their provider.
BESIDE = [f"{script}.beside.{provider}" for script in ("text", "json", "call", "think") for provider in KINDS]
