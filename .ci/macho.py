#!/usr/bin/env python3
"""Two helps to link for macOS without a Mac: stubs of Apple's frameworks, and a check of the linked programs.

    macho.py stubs SOURCES OUT      writes OUT/NAME.framework/NAME.tbd and OUT/libNAME.tbd
    macho.py check PROGRAM...       fails unless each program can be loaded by every Mac with Apple Silicon
"""
import re
import struct
import sys
from pathlib import Path

# A stub lists the names that these crates declare, since Apple's own lists are not here. So the link does not show that
# a framework has a name. For libSystem it does: zig has Apple's list.
FRAMEWORKS = {
    "CoreFoundation": ("core-foundation-sys", "k?CF"),
    "Security": ("security-framework-sys", "k?Sec|k?SSL|errSec"),
    "SystemConfiguration": ("system-configuration-sys", "k?SC"),
}
# Programs of Rust 1.95 name it as the oldest system.
OLDEST_MACOS = (11, 0)
SYSTEM = ("/usr/lib/", "/System/Library/")

MAGIC, ARM64, EXECUTE, NO_UNDEFINED, PIE = 0xFEEDFACF, 0x0100000C, 2, 0x1, 0x200000
LIBRARIES = {0xC: "LC_LOAD_DYLIB", 0x80000018: "LC_LOAD_WEAK_DYLIB", 0x8000001F: "LC_REEXPORT_DYLIB"}
RPATH, BUILD_VERSION, CODE_SIGNATURE, MACOS = 0x8000001C, 0x32, 0x1D, 1


def stub(install_name, symbols):
    return (
        "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n"
        f"install-name: '{install_name}'\nexports:\n  - targets: [ arm64-macos ]\n    symbols: [ {', '.join(symbols)} ]\n...\n"
    )


def declared(sources, crate, prefix):
    """The names of C functions and constants in every version of a crate."""
    pattern = re.compile(rf"\b(?:fn|static)\s+((?:{prefix})\w+)\s*[(:]")
    files = [file for folder in sources.glob(f"*/{crate}-*/src") for file in folder.rglob("*.rs")]
    return sorted({f"_{name}" for file in files for name in pattern.findall(file.read_text())})


def stubs(sources, out):
    for name, (crate, prefix) in FRAMEWORKS.items():
        folder = out / f"{name}.framework"
        folder.mkdir(parents=True, exist_ok=True)
        install_name = f"/System/Library/Frameworks/{name}.framework/Versions/A/{name}"
        (folder / f"{name}.tbd").write_text(stub(install_name, declared(sources, crate, prefix)))
    # std links it on macOS, and uses nothing of it.
    (out / "libiconv.tbd").write_text(stub("/usr/lib/libiconv.2.dylib", []))


def text_at(command, offset):
    return command[offset:].split(b"\0")[0].decode()


def load_commands(program):
    """The header's fields, then (number, bytes) of each command."""
    data = program.read_bytes()
    magic, processor, _, kind, count, _, flags, _ = struct.unpack_from("<8I", data)
    commands, at = [], 32
    for _ in range(count if magic == MAGIC else 0):
        number, size = struct.unpack_from("<2I", data, at)
        commands.append((number, data[at : at + size]))
        at += size
    return (magic, processor, kind, flags), commands


def problems(program):
    (magic, processor, kind, flags), commands = load_commands(program)
    if (magic, processor, kind) != (MAGIC, ARM64, EXECUTE):
        yield f"no program for Apple Silicon (magic {magic:x}, processor {processor:x}, kind {kind})"
        return
    if not flags & NO_UNDEFINED or not flags & PIE:
        yield f"flags {flags:x}: MH_NOUNDEFS and MH_PIE are needed"
    numbers = [number for number, _ in commands]
    if CODE_SIGNATURE not in numbers:
        yield "no signature: Apple Silicon runs only signed programs"
    if numbers.count(BUILD_VERSION) != 1:
        yield f"{numbers.count(BUILD_VERSION)} build versions instead of one"
    for number, command in commands:
        if number in LIBRARIES:
            name = text_at(command, struct.unpack_from("<I", command, 8)[0])
            print(f"  {LIBRARIES[number]} {name}")
            if not name.startswith(SYSTEM):
                yield f"needs {name}, which is no part of macOS"
        elif number == RPATH:
            yield f"looks for libraries in {text_at(command, struct.unpack_from('<I', command, 8)[0])}"
        elif number == BUILD_VERSION:
            platform, version = struct.unpack_from("<2I", command, 8)
            oldest = (version >> 16, version >> 8 & 0xFF)
            print(f"  oldest macOS {oldest[0]}.{oldest[1]}")
            if platform != MACOS or oldest != OLDEST_MACOS:
                yield f"platform {platform}, oldest system {oldest}: {OLDEST_MACOS} is expected"


def check(programs):
    found = []
    for program in programs:
        print(f"{program.name}, {program.stat().st_size >> 20} MiB")
        found += [f"{program.name}: {problem}" for problem in problems(program)]
    return "\n".join(found) or 0


def main():
    match sys.argv[1:]:
        case ["stubs", sources, out]:
            stubs(Path(sources), Path(out))
        case ["check", first, *rest]:
            sys.exit(check([Path(program) for program in [first, *rest]]))
        case _:
            sys.exit(__doc__)


main()
