"""Validates every profile against the published JSON Schema: usage schema.py DEVICES"""

import json
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

devices = Path(sys.argv[1])
schema = json.loads((devices / "profile.schema.json").read_text())
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)

files = sorted(devices.glob("*/*.toml"))
assert len(files) > 30, "the profiles were not found"
wrong = []
for file in files:
    profile = tomllib.loads(file.read_text())
    wrong += [f"{file}: {list(error.path)}: {error.message}" for error in validator.iter_errors(profile)]
    for spoilt in (
        {**profile, "enginee": "text"},
        {**profile, "engine": "telepathy"},
        {**profile, "channel": [{**profile["channel"][0], "scale": True}]},
        {key: value for key, value in profile.items() if key != "test"},
    ):
        if validator.is_valid(spoilt):
            wrong.append(f"{file}: the schema takes a spoilt copy")
if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(files)} profiles are valid, and spoilt copies of them are not")
