"""Downloads by the official Ollama SDK: ollama_pull.py BASE_URL MODEL MISSING"""
import sys

import ollama

base_url, model, missing = sys.argv[1:]
client = ollama.Client(host=base_url, timeout=60)

steps = list(client.pull("hf.co/" + model, stream=True))
assert steps[0].status == "pulling manifest" and steps[-1].status == "success", steps
bars = [step for step in steps if step.digest]
assert len({step.digest for step in bars}) == 1 and {step.total for step in bars} == {bars[0].total}, bars
done = [step.completed for step in bars]
assert len(done) > 1 and done == sorted(done) and 0 < done[-1] <= bars[0].total, done

answer = client.generate(model=model, prompt="Hi", options={"num_predict": 2})
assert answer.eval_count == 2, answer
assert client.pull(model).status == "success", "it is here already"

for pull in (lambda: client.pull(missing), lambda: list(client.pull(missing, stream=True))):
    try:
        pull()
    except ollama.ResponseError as e:
        assert missing in e.error, e.error
    else:
        raise AssertionError("a model that the hub does not have")
print("all checks passed")
