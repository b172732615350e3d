#!/usr/bin/env bash
# Guess: safetensors.numpy writes the array that it is given, as it always has: a transposed or sliced view is written as what it
#   shows. (safetensors.torch refuses such tensors.)
# Reality: since 0.8.0 the bytes are taken from the array's address as if it were dense. A transposed matrix, a Fortran-ordered
#   one and a block of columns are written with the right shape and other values; nothing is raised. 0.7.0 wrote them rightly.
#   ("Tensors need to be contiguous and dense" stands in the documentation of both.)
# Versions: safetensors 0.8.0 and 0.7.0, numpy 2.3.5.
# For a server author: `save_file({"w": w.T})` is how converters turn Conv1D or GGUF weights around. With the new release the model
#   loads, has all its shapes, and talks noise. Wrap every array in numpy.ascontiguousarray before it is saved.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > t.py <<'PY'
import sys
from importlib.metadata import version
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

print("safetensors", version("safetensors"))
wrong = sys.argv[1] == "wrong"
matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
views = {"as it is": matrix, "transposed": matrix.T, "columns": matrix[:, :2], "Fortran order": np.asfortranarray(matrix)}
for name, view in views.items():
    save_file({"w": view}, "w.safetensors")
    read = load_file("w.safetensors")["w"]
    print(f"   {name}: given {view.tolist()}, read back {read.tolist()}")
    assert read.shape == view.shape and np.array_equal(read, load(save({"w": view}))["w"])
    assert np.array_equal(read, view) != (wrong and name != "as it is")
    save_file({"w": np.ascontiguousarray(view)}, "w.safetensors")
    assert np.array_equal(load_file("w.safetensors")["w"], view)
PY
for release in "0.7.0 right" "0.8.0 wrong"; do
    read -r number verdict <<< "$release"
    python3 -m venv "v$number"
    "v$number/bin/pip" install -q --disable-pip-version-check "safetensors==$number" numpy==2.3.5
    "v$number/bin/python" t.py "$verdict"
done
