#!/usr/bin/env python3
"""Published chat templates and Transformers' renderings of them: the reference for the templates' sweep test.

    chat_templates.py fetch CACHE_DIR             gets the templates: CACHE_DIR/llama.cpp and CACHE_DIR/vllm
    chat_templates.py render CACHE_DIR OUT.json   renders each with each case of chat_template_cases.py

`fetch` needs pip only. `render` needs transformers and jinja2 in the versions of REFERENCE.
The templates belong to their authors: they stay in the cache and are never committed.
"""
import argparse
import functools
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from chat_template_cases import cases


@dataclass(frozen=True)
class Source:
    """A package whose source archive carries templates."""
    package: str
    version: str
    sha256: str
    folder: str
    """Where the templates are, inside the archive's one top folder."""
    backend: str
    """The build backend's module."""


SOURCES = {
    "llama.cpp": Source("llama-cpp-python", "0.3.36",
                        "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
                        "vendor/llama.cpp/models/templates", "scikit_build_core.build"),
    "vllm": Source("vllm", "0.33.0",
                   "f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112",
                   "examples", "setuptools.build_meta"),
}
REFERENCE = {"transformers": "5.24.0", "jinja2": "3.1.6"}
NOW = datetime(2026, 11, 28, 9, 5, 7)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
PROCESSES = 2


# ---------------------------------------------------------------- fetching

# pip asks the build backend for a package's metadata even where it only downloads. The real backends want cmake, or
# torch, so this one stands in for them: it says the name and the version, and nothing is built.
BACKEND = '''
from email.parser import HeaderParser
from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    info = HeaderParser().parsestr(Path("PKG-INFO").read_text(encoding="utf-8"))
    folder = Path(metadata_directory, f"{info['Name'].replace('-', '_')}-{info['Version']}.dist-info")
    folder.mkdir()
    text = f"Metadata-Version: 2.1\\nName: {info['Name']}\\nVersion: {info['Version']}\\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
    return folder.name
'''


def write_backend(folder, module):
    """Puts BACKEND where `import module` finds it if the folder is in PYTHONPATH."""
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True)
    (path.parent / "__init__.py").touch()
    path.write_text(BACKEND, encoding="utf-8")


def download(source, folder):
    """The path of the source archive, which pip has compared with its sha256 before it looked inside."""
    pin, backends, archives = folder / "pin.txt", folder / "backends", folder / "archives"
    pin.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    write_backend(backends, source.backend)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
               "--no-deps", "--no-binary=:all:", "--no-build-isolation", "--ignore-requires-python",
               "--require-hashes", "--dest", str(archives), "--requirement", str(pin)]
    pip = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(backends)}, check=False)
    if pip.returncode != 0:
        sys.exit(f"pip cannot fetch the source archive of {source.package} {source.version}: its message is above")
    [archive] = archives.iterdir()
    return archive


def extract(archive, inside, folder):
    """Writes the templates below `inside` into the folder. Returns their number."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if not (member.isfile() and path.suffix == ".jinja" and path.is_relative_to(inside)):
                continue
            if ".." in path.parts:
                sys.exit(f"{archive.name}: {member.name} leaves the folder")
            target = folder / path.relative_to(inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tar.extractfile(member).read())
            count += 1
    return count


def fetch_source(name, source, cache):
    """Makes CACHE/name unless it exists. Its file SOURCE names the package."""
    target = cache / name
    mark = f"{source.package} {source.version} {source.sha256}\n"
    made_of = target / "SOURCE"
    if made_of.exists() and made_of.read_text(encoding="utf-8") == mark:
        print(f"{name}: {target} is there")
        return
    started = time.time()
    # The archives are large: each goes as soon as its templates are out.
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch, "templates")
        count = extract(download(source, Path(scratch)), source.folder, made)
        (made / "SOURCE").write_text(mark, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    print(f"{name}: {count} templates of {source.package} {source.version}, {time.time() - started:.1f} s")


def fetch(cache):
    cache.mkdir(parents=True, exist_ok=True)
    for name, source in SOURCES.items():
        fetch_source(name, source, cache)


# ---------------------------------------------------------------- rendering

class FixedClock(datetime):
    """The clock of `strftime_now`, fixed so that two runs agree."""

    @classmethod
    def now(cls, tz=None):
        return NOW


@functools.lru_cache
def transformers_module():
    """Transformers' own code. Imported late: `fetch` does without it."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers.utils import chat_template_utils
    chat_template_utils.datetime = FixedClock
    return chat_template_utils


def with_objects(message):
    """Arguments of calls as objects: Transformers' documentation and vLLM hand them to templates so."""
    if "tool_calls" not in message:
        return message
    calls = [call | {"function": call["function"] | {"arguments": json.loads(call["function"]["arguments"])}}
             for call in message["tool_calls"]]
    return message | {"tool_calls": calls}


def with_content(message):
    """An empty content where a turn only calls: some templates join it to text without a look."""
    if "tool_calls" in message and message.get("content") is None:
        return message | {"content": ""}
    return message


FORMS = {
    "objects": with_objects,
    "empty": lambda message: with_objects(with_content(message)),
    "text": lambda message: message,
    "empty-text": with_content,
}


def forms_of(messages):
    """(name, messages) of each form. One that looks to a template like an earlier one is left out."""
    normalize = transformers_module()._normalize_chat_messages
    seen = set()
    for form, change in FORMS.items():
        changed = normalize([change(message) for message in messages])
        # As text, because Python takes 1, 1.0 and True for the same.
        text = json.dumps(changed)
        if text not in seen:
            seen.add(text)
            yield form, changed


def outcome(template, messages, tools):
    """The rendering as `apply_chat_template` makes it, or why there is none."""
    try:
        [text], _ = transformers_module().render_jinja_template(
            conversations=[messages], tools=tools, chat_template=template, add_generation_prompt=True, **TOKENS)
    except Exception as error:  # Templates fail with whatever Python raises.
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": text}


def render_case(template, request):
    """All forms of one case. `same` means the result of the form before."""
    forms, before = [], None
    for form, messages in forms_of(request["messages"]):
        found = outcome(template, messages, request.get("tools"))
        forms.append({"form": form} | ({"same": True} if found == before else found))
        before = found
    return forms


def render_template(template):
    """All cases of one template; a process of the pool runs it."""
    return [{"template": template["name"], "case": case["name"],
             "forms": render_case(template["text"], case["request"])} for case in cases()]


def templates_of(cache):
    """Name and text of each template, read as Transformers reads its files."""
    paths = sorted(path for name in SOURCES for path in (cache / name).rglob("*.jinja"))
    if not paths:
        sys.exit(f"there are no templates in {cache}: run `chat_templates.py fetch {cache}` first")
    return [{"name": path.relative_to(cache).as_posix(), "text": path.read_text(encoding="utf-8")} for path in paths]


def check_versions():
    """Another version may render otherwise, so it is no reference."""
    for package, version in REFERENCE.items():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != version:
            sys.exit(f"{package} {version} is the reference, and here it is {found}: pip install {package}=={version}")


def write_json(path, value):
    """Writes beside the file and renames, so that a broken run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
    part.replace(path)


def render(cache, out):
    check_versions()
    started = time.time()
    templates = templates_of(cache)
    with ProcessPoolExecutor(PROCESSES) as pool:
        renderings = [one for each in pool.map(render_template, templates) for one in each]
    write_json(out, {"reference": REFERENCE, "now": NOW.isoformat(), "tokens": TOKENS, "templates": templates,
                     "cases": cases(), "renderings": renderings})
    print_summary(len(templates), renderings)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB in {time.time() - started:.1f} s")


# ---------------------------------------------------------------- the summary

def print_summary(templates, renderings):
    """Prints counts of each form, and the renderings that no other program can reproduce byte by byte."""
    tried, rendered, addresses = Counter(), Counter(), set()
    for rendering in renderings:
        found = {}
        for form in rendering["forms"]:
            found = found if "same" in form else form
            tried[form["form"]] += 1
            rendered[form["form"]] += "text" in found
            if re.search(r" at 0x[0-9a-f]{6,}>", found.get("text", "") + found.get("error", "")):
                addresses.add(f"{rendering['template']} with {rendering['case']}")
    print(f"{templates} templates, {len(cases())} cases, {len(renderings)} pairs")
    for form in FORMS:
        print(f"  {form:10} {rendered[form]:6} of {tried[form]:6} render")
    if addresses:
        print(f"  {len(addresses)} pairs show a memory address: {'; '.join(sorted(addresses))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("fetch", "get the templates"), ("render", "render them")):
        command = commands.add_parser(name, help=text)
        command.add_argument("cache", type=Path, metavar="CACHE_DIR")
        if name == "render":
            command.add_argument("out", type=Path, metavar="OUT.json")
    args = parser.parse_args()
    if args.command == "fetch":
        fetch(args.cache.absolute())
    else:
        render(args.cache.absolute(), args.out.absolute())


if __name__ == "__main__":
    main()
