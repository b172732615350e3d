"""Golden file of a text that grows beyond the original context of Phi's longrope: goldens_longrope.py TOY_FOLDER

Reads the toy phi3 folder and writes transformers.json beside its weights: a prompt within the original context, and the greedy
text that Transformers makes of it. Each step runs the whole text without a cache, so that its length alone decides the factors.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import Phi3Config, Phi3ForCausalLM

STEPS = 48
PROMPT = 40
CLEAR_LEAD = 0.05


def greedy(model, prompt):
    ids, leads = list(prompt), []
    for _ in range(STEPS):
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        second, first = torch.log_softmax(logits, -1).topk(2).values.flip(0).tolist()
        ids.append(int(logits.argmax()))
        leads.append(round(first - second, 4))
    return ids[len(prompt):], leads


def main(folder):
    config = Phi3Config.from_pretrained(folder, pad_token_id=0, attn_implementation="eager")
    model = Phi3ForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False)
    assert not unexpected and not missing, (missing, unexpected)
    # The prompt whose text has clear leads for longest.
    def clear(seed):
        prompt = [(7 * i * i + 3 * i + seed) % 160 for i in range(PROMPT)]
        tokens, leads = greedy(model, prompt)
        return next((at for at, lead in enumerate(leads) if lead <= CLEAR_LEAD), STEPS), prompt, tokens, leads
    count, prompt, tokens, leads = max(map(clear, range(24)))
    with open(os.path.join(folder, "transformers.json"), "w", encoding="utf-8") as file:
        json.dump({"prompt": prompt, "greedy": tokens, "leads": leads}, file, indent=1)
        file.write("\n")
    print("longrope: clear leads in the first", count, "of", STEPS)


main(sys.argv[1])
