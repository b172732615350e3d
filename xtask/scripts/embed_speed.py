"""Embeds texts as sentence-transformers' users do: embed_speed.py MODEL_FOLDER TEXTS.json

For each line on standard input, a batch size, one line: seconds for all texts. A first line says that it is ready.
"""
import json
import sys
import time

from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
model.encode(texts[:8], show_progress_bar=False)
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    model.encode(texts, batch_size=int(line), show_progress_bar=False)
    print(time.perf_counter() - start, flush=True)
