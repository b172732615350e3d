"""Schemathesis against the OpenAPI document: no 5xx, no hang. schema_fuzz.py BASE_URL MODEL"""
import os
import pathlib
import subprocess
import sys
import tempfile

base_url, model = sys.argv[1:]
here = pathlib.Path(__file__).parent
schemathesis = pathlib.Path(sys.executable).with_name("schemathesis")
# Every boundary of every schema takes minutes: that is for a run of its own.
examples = os.environ.get("MLXD_FUZZ_EXAMPLES")
arguments = ["run", f"{base_url}/openapi.json", "--checks", "not_a_server_error",
             "--phases", "examples,coverage,fuzzing" if examples else "examples,fuzzing", "--max-examples", examples or "8",
             "--request-timeout", "20", "--workers", "2", "--seed", "1", "--no-color",
             "--generation-database", "none",
             # Few texts are ids, so most are filtered out.
             "--suppress-health-check", "filter_too_much",
             # The stream of events does not end by itself. These admin calls do work: the model would be gone, which is a
             # 503 for other requests meanwhile, or stay unusable. Ids are taken from answers, so they do meet it.
             # A change of the server's settings replaces the gateway. Made-up models must not be asked for at the hub. Changes of Ollama's store are a 501. The first key or password would close the server to all other requests.
             "--exclude-path-regex", r"^(/admin/v1/(downloads(/\{id\})?|events|settings|requests/tail|hub/search|keys|password|models/\{id\}(/(unload|restart|settings))?)|/api/(pull|create|copy|push|delete|blobs/.*))$"]
environment = os.environ | {"SCHEMATHESIS_HOOKS": str(here / "schema_fuzz_hooks.py"), "FUZZ_MODEL": model, "FUZZ_DOCUMENT": f"{base_url}/openapi.json"}
# It keeps a cache where it runs.
with tempfile.TemporaryDirectory() as folder:
    run = subprocess.run([schemathesis, *arguments], env=environment, cwd=folder, capture_output=True, text=True,
                         timeout=3600 if examples else 400)
print(run.stdout[-6000:], run.stderr[-2000:])
assert run.returncode == 0, run.returncode
print("all checks passed")
