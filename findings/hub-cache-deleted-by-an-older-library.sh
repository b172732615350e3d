#!/usr/bin/env bash
# Guess: the Hugging Face cache has one layout; a revision that one release of huggingface_hub deletes takes nothing from the other
#   repositories, whoever downloaded them.
# Reality: newer releases keep one copy of equal files for the whole cache, in `blobs/` at its root, and a repository's `blobs/HASH`
#   is a link to it. Releases up to 1.31.0, which Transformers 5.24 still accepts, follow that link to its end: they delete the
#   shared file, and the other repository's weights are a dangling link. Their sizes count the file once a repository, and so do
#   those of the JavaScript library.
# Versions: huggingface_hub 2.4.0 and 1.31.0 (PyPI), @huggingface/hub 2.17.5 (npm). The cache is laid by 2.4.0's own functions
#   of `utils/_shared_blobs.py`, the part of a download that does not need the network.
# For a server author: "delete the old revision" in a tool with an older library breaks a model that nobody touched. Do not delete
#   by resolved paths; go by `huggingface_hub` >= 2, or remove links alone. A model that was whole at start may be gone at load.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 2.4.0 1.31.0; do
    python3 -m venv "v$version"
    "v$version/bin/pip" install -q --disable-pip-version-check "huggingface_hub==$version"
done
v2.4.0/bin/pip download -q --disable-pip-version-check --no-deps -d wheel transformers==5.24.0
unzip -p wheel/transformers-*.whl '*/METADATA' | grep '^Requires-Dist: huggingface-hub' | head -1
unzip -p wheel/transformers-*.whl '*/METADATA' | grep -q '^Requires-Dist: huggingface-hub.*>=1.31.0'
npm install --silent --no-fund --no-audit @huggingface/hub@2.17.5 > /dev/null
npm ls --depth=0 | grep @huggingface
cat > lay.py <<'PY'
import hashlib, os, sys
from pathlib import Path
from huggingface_hub.utils import _shared_blobs as shared

cache = Path(sys.argv[1])
cache.mkdir()

def add(repository, commit, weights):
    folder = cache / f"models--{repository}"
    blob = folder / "blobs" / hashlib.sha256(weights).hexdigest()
    blob.parent.mkdir(parents=True, exist_ok=True)
    file = {"blob_path": str(blob), "xet_hash": hashlib.sha256(b"xet" + weights).hexdigest(), "cache_dir": str(cache),
            "expected_size": len(weights)}
    if not shared.try_link_from_shared_store(**file):
        blob.write_bytes(weights)
        assert shared.publish_blob_to_shared_store(**file)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    os.symlink(f"../../blobs/{blob.name}", snapshot / "model.safetensors")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs/main").write_text(commit)

add("org--base", "1" * 40, b"old" * 1000)
add("org--base", "2" * 40, b"new" * 1000)
add("org--copy", "3" * 40, b"old" * 1000)
PY
cat > delete.py <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path
from huggingface_hub import scan_cache_dir

cache, size, freed, kept = Path(sys.argv[1]), *map(int, sys.argv[2:])
found = scan_cache_dir(cache)
plan = found.delete_revisions("1" * 40)
copy = cache / "models--org--copy/snapshots" / ("3" * 40) / "model.safetensors"
assert copy.read_bytes() == b"old" * 1000
plan.execute()
print(f"huggingface_hub {version('huggingface_hub')}: {found.size_on_disk} bytes; base's old revision would free "
      f"{plan.expected_freed_size}; afterwards copy's weights can be read: {copy.exists()}, still a link: {copy.is_symlink()}")
assert (found.size_on_disk, plan.expected_freed_size, copy.exists()) == (size, freed, bool(kept))
assert copy.is_symlink()
PY
cat > scan.mjs <<'JS'
import { scanCacheDir } from "@huggingface/hub";
const found = await scanCacheDir(process.argv[2]);
console.log(`@huggingface/hub: ${found.size} bytes`);
if (found.size !== 9000) process.exit(1);
JS
v2.4.0/bin/python lay.py cache1 && node scan.mjs cache1 && v2.4.0/bin/python delete.py cache1 6000 0 1
v2.4.0/bin/python lay.py cache2 && v1.31.0/bin/python delete.py cache2 9000 3000 0
