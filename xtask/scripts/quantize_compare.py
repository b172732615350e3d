"""Converts models by mlxd's worker and by mlx-lm, and compares: quantize_compare.py WORKER FOLDER JOBS.json

JOBS.json lists {"model": folder, "bits": n, "group_size": n, "mode": name}. For each there is a line of JSON: seconds and peak memory
in MiB of both, the bytes of the model's weights, the number of tensors, and the names of those that differ.
This process imports nothing large: the system counts its memory as that of its children before they start.
"""
import glob
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time

worker, folder, jobs = sys.argv[1:]


# The build's MLX is not that of mlx-lm, and cargo puts it into this variable.
plain = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}


def run(command, env=None):
    """Seconds, and peak memory in MiB."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    errors = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command} failed: {errors[-2000:]}")
    return {"seconds": time.perf_counter() - start, "mib": usage.ru_maxrss / 1024}


def digest(file, count):
    """Of the next bytes, a few at a time."""
    found = hashlib.sha256()
    while count > 0:
        part = file.read(min(count, 1 << 20))
        found.update(part)
        count -= len(part) or count
    return found.hexdigest()


def tensors(model):
    """The type, shape and digest of each tensor, by name."""
    found = {}
    for path in glob.glob(os.path.join(model, "model*.safetensors")):
        with open(path, "rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    start, end = entry["data_offsets"]
                    file.seek(8 + length + start)
                    found[name] = entry["dtype"], entry["shape"], digest(file, end - start)
    return found


def settings(model):
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        return json.load(file)


for job in json.load(open(jobs, encoding="utf-8")):
    ours, theirs = (os.path.join(folder, name) for name in ("ours", "theirs"))
    for path in (ours, theirs):
        shutil.rmtree(path, ignore_errors=True)
    model, bits, group, mode = job["model"], str(job["bits"]), str(job["group_size"]), job["mode"]
    row = {"job": job, "bytes": sum(map(os.path.getsize, glob.glob(os.path.join(model, "model*.safetensors"))))}
    row["ours"] = run([worker, "quantize", "--model", model, "--output", ours, "--bits", bits, "--group-size", group,
                       "--mode", mode])
    row["theirs"] = run([sys.executable, "-m", "mlx_lm", "convert", "--hf-path", model, "--mlx-path", theirs, "-q",
                         "--q-bits", bits, "--q-group-size", group, "--q-mode", mode], plain)
    a, b = tensors(ours), tensors(theirs)
    row["tensors"] = len(b)
    row["differ"] = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    a, b = settings(ours), settings(theirs)
    row["settings"] = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    print(json.dumps(row), flush=True)
