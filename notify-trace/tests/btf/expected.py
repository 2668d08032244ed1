#!/usr/bin/env python3
"""Writes expected.tsv from whole BTF files, by bpftool's parser rather than this crate's.

    expected.py fields.rs btf-extract.rs whole/*.btf > expected.tsv
"""
import json
import pathlib
import re
import subprocess
import sys

MODIFIERS = ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG")


def member(types, within, name):
    for entry in within["members"]:
        if entry["name"] == name:
            return entry, entry["bits_offset"]
        if entry["name"] == "(anon)":
            nested = bare(types, entry["type_id"])
            found = nested.get("members") and member(types, nested, name)
            if found:
                return found[0], found[1] + entry["bits_offset"]
    return None


def bare(types, number):
    while types[number]["kind"] in MODIFIERS:
        number = types[number]["type_id"]
    return types[number]


def value(types, within, path):
    bits = 0
    for name in path.split("."):
        entry, at = member(types, within, name) or (None, 0)
        if entry is None:
            return None
        assert not entry.get("bitfield_size"), path
        bits += at
        within = bare(types, entry["type_id"]) if entry["type_id"] else None
    assert bits % 8 == 0, path
    return bits // 8


def column(path, fields, functions):
    dump = ["bpftool", "-j", "btf", "dump", "file", path, "format", "raw"]
    listed = json.loads(subprocess.run(dump, check=True, capture_output=True).stdout)["types"]
    types = {entry["id"]: entry for entry in listed}
    structures = {}
    for entry in listed:
        if entry["kind"] in ("STRUCT", "UNION") and entry["vlen"]:
            structures.setdefault(entry["name"], []).append(entry)
    for _, candidates in fields:
        for candidate in candidates:
            size_of = re.fullmatch(r"sizeof\((\w+)\)", candidate)
            name, _, rest = (size_of[1], "", "") if size_of else candidate.partition(".")
            found = {s["size"] if size_of else value(types, s, rest) for s in structures.get(name, [])}
            found.discard(None)
            assert len(found) < 2, f"{path}: {candidate} is one of {found}"
            if found:
                yield str(found.pop())
                break
        else:
            yield "absent"
    present = {entry["name"] for entry in listed if entry["kind"] == "FUNC"}
    for name in functions:
        yield "yes" if name in present else "no"


def main():
    fields_rs, extract_rs, *files = sys.argv[1:]
    rows = re.findall(r"\((\w+), \[(\".+?)\], \w+\)", pathlib.Path(fields_rs).read_text())
    fields = [(name, re.findall(r'"(.+?)"', candidates)) for name, candidates in rows]
    block = re.search(r"FUNCTIONS: .*?= \[(.*?)\]", pathlib.Path(extract_rs).read_text(), re.S)
    functions = re.findall(r'"(\w+)"', block[1])
    files.sort(key=lambda name: [int(n) for n in re.findall(r"\d+", pathlib.Path(name).stem)])
    print("", *(pathlib.Path(name).stem for name in files), sep="\t")
    columns = [column(name, fields, functions) for name in files]
    for name, *values in zip([f[0] for f in fields] + functions, *columns):
        print(name, *values, sep="\t")


main()
