#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml and the route table of ha/api/api_call.c name the same paths and methods."""

import os
import re
import sys

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def documented():
    with open(os.path.join(TOP, "docs/openapi.yaml"), encoding="utf-8") as f:
        paths = yaml.safe_load(f)["paths"]
    return {(method.upper(), path.replace("{name}", "*"))
            for path, item in paths.items() for method in item if method in ("get", "post", "put", "delete")}


def served():
    with open(os.path.join(TOP, "ha/api/api_call.c"), encoding="utf-8") as f:
        text = f.read()
    rows = re.findall(r'^\t\{ "(\w+)", \{ ([^}]*) \}, API_', text, re.M)
    return {(method, "/v1/" + "/".join(re.findall(r'"([^"]+)"', words))) for method, words in rows}


doc, code = documented(), served()
for what, rows in (("served but not documented", code - doc), ("documented but not served", doc - code)):
    for method, path in sorted(rows):
        print(f"{method} {path}: {what}")
if len(code) < 20:
    print(f"only {len(code)} routes found in ha/api/api_call.c: has the table changed its looks?")
print(f"{len(code & doc)} routes agree")
sys.exit(doc != code or len(code) < 20)
