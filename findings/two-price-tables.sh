#!/usr/bin/env bash
# Guess: LiteLLM and genai-prices, the two tables that gateways and dashboards take their prices from, agree on one recorded answer within
#   rounding; for plain calls and caches of 5 minutes and an hour they do.
# Reality: they differ by factors. 300,000 tokens of Claude Sonnet 4.5 cost twice as much in genai-prices, which has a long-context price
#   that LiteLLM lacks; `mistral-large-latest` costs four times as much. In the other direction genai-prices does not read
#   `service_tier` (half or twice the price) and `inference_geo` (ten per cent). Neither raises or warns.
# Versions: litellm 1.110.2 with the table in its package, genai-prices 0.2.3 (PyPI).
# For a server author: a budget in dollars depends on whose table counts. Keep tokens, tier and place of each answer, and count
#   budgets in tokens.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export LITELLM_LOCAL_MODEL_COST_MAP=True
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2 genai-prices==0.2.3
cat > t.py <<'PY'
from importlib.metadata import version
import litellm
from genai_prices import extract_usage
from litellm.llms.anthropic.chat.transformation import AnthropicConfig
from litellm.llms.anthropic.cost_calculation import cost_per_token

print({name: version(name) for name in ("litellm", "genai-prices")})

def claude(model, **usage):
    usage = {"input_tokens": 1000, "output_tokens": 1000, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, **usage}
    answer = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": "end_turn", "usage": usage}
    counted = AnthropicConfig().calculate_usage(usage_object=usage, reasoning_content=None)
    return sum(cost_per_token(model=model, usage=counted)), extract_usage(answer, provider_id="anthropic").calc_price().total_price

def chat(model, provider, tokens, tier="default"):
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "service_tier": tier, "choices": [], "usage": usage}
    theirs = litellm.completion_cost(litellm.ModelResponse(**answer), model=model, custom_llm_provider=provider)
    read = extract_usage(answer, provider_id=provider, api_flavor="chat" if provider == "openai" else "default")
    return theirs, read.calc_price().total_price

hour = {"ephemeral_1h_input_tokens": 100_000, "ephemeral_5m_input_tokens": 0}
for name, pair, factor in [
    ("Claude Sonnet 4.5, 1,000 tokens", claude("claude-sonnet-4-5"), 1.0),
    ("Claude Sonnet 4.6, 100,000 tokens kept for an hour",
     claude("claude-sonnet-4-6", cache_creation_input_tokens=100_000, cache_creation=hour), 1.0),
    ("Claude Sonnet 4.5, 300,000 tokens", claude("claude-sonnet-4-5", input_tokens=300_000), 1.99),
    ("Claude Sonnet 4.6, 300,000 tokens", claude("claude-sonnet-4-6", input_tokens=300_000), 1.0),
    ("Claude Sonnet 4.6, inference_geo us", claude("claude-sonnet-4-6", inference_geo="us"), 0.91),
    ("GPT-5, service_tier default", chat("gpt-5", "openai", 100_000), 1.0),
    ("GPT-5, service_tier flex", chat("gpt-5", "openai", 100_000, "flex"), 2.0),
    ("GPT-5, service_tier priority", chat("gpt-5", "openai", 100_000, "priority"), 0.5),
    ("mistral-large-latest, 100,000 tokens", chat("mistral-large-latest", "mistral", 100_000), 4.0),
]:
    seen = round(float(pair[1]) / pair[0], 2)
    print(f"{name}: litellm {pair[0]:.4f}, genai-prices {float(pair[1]):.4f}, {seen} times as much")
    assert seen == factor, (name, seen)
PY
v/bin/python t.py
