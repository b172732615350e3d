"""Fake providers: fake_upstreams.py

Prints the settings of a server that has them as its providers, then the line `# ready OPENAI ANTHROPIC` with their addresses, and
serves until its standard input ends.
"""
import json
import sys

from fake_anthropic import FakeAnthropic
from fake_http import serve
from fake_openai import FakeOpenAi
from fake_scripts import KEY
from matrix_cells import BESIDE, KINDS, cells


def settings(openai, anthropic):
    urls = {"op": f"{openai}/v1", "co": f"{openai}/compat/v1", "an": anthropic}
    for name, kind in KINDS.items():
        models = sorted({cell.model for cell in cells() if cell.upstream == name})
        models += [model for model in BESIDE if model.endswith(f".{name}")]
        yield f'[providers.{name}]\nkind = "{kind}"\nurl = "{urls[name]}"\napi_key = "{KEY}"\nmodels = {json.dumps(models)}\n'


if __name__ == "__main__":
    addresses = [f"http://127.0.0.1:{serve(fake)}" for fake in (FakeOpenAi, FakeAnthropic)]
    print(*settings(*addresses), f"# ready {' '.join(addresses)}", sep="\n", flush=True)
    sys.stdin.read()
