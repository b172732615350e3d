"""What the official SDKs do with providers beside the table: token counts, lists of models, conversations and helpers."""
import json
import urllib.request

import anthropic
import openai
import pydantic

import fake_scripts as scripts
from matrix_cells import KINDS

QUESTION = [{"role": "user", "content": "How is Zürich?"}]
TOOL = {"name": "weather", "description": "Weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


class City(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    city: str


class Beside:
    def __init__(self, server, fakes):
        self.server, self.fakes = server, fakes
        self.openai = openai.OpenAI(base_url=f"{server}/v1", api_key="none", timeout=30, max_retries=0)
        self.anthropic = anthropic.Anthropic(base_url=server, api_key="none", timeout=30, max_retries=0)

    def seen(self, provider, script):
        with urllib.request.urlopen(f"{self.fakes[provider]}/seen/{script}.beside.{provider}", timeout=10) as answer:
            return [entry["body"] for entry in json.loads(answer.read())]

    def name(self, provider, script="text"):
        return f"{provider}/{script}.beside.{provider}"

    def counts(self):
        """Only Anthropic counts tokens before a request."""
        for provider in KINDS:
            model = self.name(provider)
            calls = (lambda: self.anthropic.messages.count_tokens(model=model, messages=QUESTION, tools=[TOOL], system="Be brief."),
                     lambda: self.openai.responses.input_tokens.count(model=model, input="How is Zürich?"))
            for call in calls:
                if provider == "an":
                    assert call().input_tokens == scripts.PROMPT
                    continue
                try:
                    call()
                except (openai.BadRequestError, anthropic.BadRequestError) as error:
                    assert "does not count tokens" in str(error), error
                else:
                    raise AssertionError(f"{provider} counts tokens")

    def models(self):
        names = {self.name(provider, script) for provider in KINDS for script in ("text", "json")}
        listed = {model.id: model for model in self.openai.models.list()}
        assert names <= set(listed) and {listed[name].owned_by for name in names} == set(KINDS)
        assert names <= {model.id for model in self.anthropic.models.list(limit=1000)}
        for provider in KINDS:
            request = urllib.request.Request(f"{self.server}/admin/v1/providers/{provider}/test", b"{}", {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert '"text"' in answer.read().decode()

    def conversation(self):
        """A stored response goes on at each provider: the provider gets all turns."""
        for provider in KINDS:
            first = self.openai.responses.create(model=self.name(provider), input="One?", instructions="Be brief.")
            second = self.openai.responses.create(model=self.name(provider), input="Two?", previous_response_id=first.id)
            assert second.output_text == scripts.TEXT and self.openai.responses.retrieve(second.id).output_text == scripts.TEXT
            texts = json.dumps(self.seen(provider, "text")[-1]["messages"], ensure_ascii=False)
            places = [texts.find(text) for text in ("One?", scripts.TEXT, "Two?")]
            assert -1 not in places and places == sorted(places), texts

    def helpers(self):
        """The SDKs' own helpers take streams and schemas of any provider."""
        for provider in KINDS:
            model = self.name(provider, "json")
            parsed = self.openai.chat.completions.parse(model=model, messages=QUESTION, response_format=City)
            assert parsed.choices[0].message.parsed.city == "Zürich"
            assert self.openai.responses.parse(model=model, input="Where?", text_format=City).output_parsed.city == "Zürich"
            with self.openai.chat.completions.stream(model=model, messages=QUESTION, response_format=City) as stream:
                assert stream.get_final_completion().choices[0].message.parsed.city == "Zürich"
            with self.openai.responses.stream(model=model, input="Where?", text_format=City) as stream:
                assert stream.get_final_response().output_parsed.city == "Zürich"
            told = dict(model=self.name(provider, "call"), messages=QUESTION, max_tokens=64, tools=[TOOL])
            with self.anthropic.messages.stream(**told) as stream:
                final = stream.get_final_message()
            assert [block.input for block in final.content] == [{"city": "Oslo"}] and final.stop_reason == "tool_use"

    def round(self):
        """A call and its result in Messages, with the model's own thinking, signed or not."""
        for provider in KINDS:
            told = dict(model=self.name(provider, "think"), max_tokens=2048, thinking={"type": "adaptive"}, tools=[TOOL])
            first = self.anthropic.messages.create(**told, messages=QUESTION)
            kinds = [block.type for block in first.content]
            assert kinds == (["text"] if provider == "op" else ["thinking", "text"]), kinds
            turns = [*QUESTION, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And?"}]
            second = self.anthropic.messages.create(**told, messages=turns)
            assert second.stop_reason == "end_turn"
            sent = self.seen(provider, "think")[-1]["messages"]
            if provider == "an":
                assert sent[1]["content"][0] == {"type": "thinking", "thinking": scripts.SCRIPTS["think"].reasoning,
                                                 "signature": scripts.SIGNATURE}
            else:
                expected = scripts.SCRIPTS["think"].reasoning if provider == "co" else None
                assert sent[1].get("reasoning_content") == expected, sent


def run(server, fakes):
    beside = Beside(server, fakes)
    for check in (beside.counts, beside.models, beside.conversation, beside.helpers, beside.round):
        check()
