"""huggingface_hub against the tests' hub and a cache that mlxd has written. hub_client.py all OPEN GATED TOKEN | download MODEL |
read MODEL FOLDER; HF_ENDPOINT and HF_HOME name the hub and the cache"""
import os
import sys
from pathlib import Path

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url, scan_cache_dir, snapshot_download
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt"]
what, model, *rest = sys.argv[1:]
api = HfApi()


def refused(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def everything(gated, token):
    found = list(api.list_models(filter=["mlx"], search="small", sort="downloads", limit=1))
    assert [m.id for m in found] == [model] and found[0].pipeline_tag == "text-generation", found
    assert len(list(api.list_models(filter=["mlx"]))) == 3
    info = api.model_info(model, files_metadata=True)
    sizes = {s.rfilename: (s.size, s.lfs is not None) for s in info.siblings}
    assert sizes["model-00001-of-00002.safetensors"] == (3_000_000, True) and sizes["config.json"][1] is False, sizes
    tree = {e.path: getattr(e, "size", None) for e in api.list_repo_tree(model, recursive=True)}
    assert tree["1_Pooling/config.json"] == 2 and tree["folder"] is None, tree
    assert [p.path for p in api.get_paths_info(model, ["config.json"])] == ["config.json"]
    folder = Path(snapshot_download(model, allow_patterns=MODEL_FILES))
    assert (folder / "model-00002-of-00002.safetensors").stat().st_size == 1_000_001
    meta = get_hf_file_metadata(hf_hub_url(model, "model-00001-of-00002.safetensors"))
    assert meta.size == 3_000_000 and len(meta.etag) == 64 and "/cdn/" in meta.location, meta
    assert meta.commit_hash == folder.name, meta
    refused(GatedRepoError, lambda: hf_hub_download(gated, "config.json"))
    assert Path(hf_hub_download(gated, "config.json", token=token)).exists()
    refused(RepositoryNotFoundError, lambda: api.model_info("mlx-community/none"))
    refused(RevisionNotFoundError, lambda: api.model_info(model, revision="nothing"))
    refused(RemoteEntryNotFoundError, lambda: hf_hub_download(model, "none.json"))
    assert api.whoami(token=token)["name"] == "me"


def read(folder):
    found = snapshot_download(model, allow_patterns=MODEL_FILES, ignore_patterns=["onnx/*"], local_files_only=True)
    assert os.path.samefile(found, folder), (found, folder)
    again = snapshot_download(model, allow_patterns=MODEL_FILES, ignore_patterns=["onnx/*"])
    assert os.path.samefile(again, folder)
    cache = scan_cache_dir()
    assert not cache.warnings, cache.warnings
    (repository,) = cache.repos
    (revision,) = repository.revisions
    assert repository.repo_id == model and revision.refs == {"main"} and len(revision.files) == 5, revision
    assert repository.size_on_disk == 3_000_000 + 1_000_001 + 10_000 + 39 + 2, repository.size_on_disk


if what == "all":
    everything(*rest)
elif what == "read":
    read(*rest)
else:
    snapshot_download(model)
print("all checks passed")
