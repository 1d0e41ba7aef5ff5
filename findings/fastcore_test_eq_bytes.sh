#!/usr/bin/env bash
# fastcore 2.2.41, whose test_eq is what nbdev's notebooks compare with: two equal bytes objects are compared element by element,
# each number by the function that looks for arrays, frames and mappings. Equal strings are compared as strings.
# Expected: bytes compared like strings, at once. Observed: some 20 microseconds a byte (on a core of 2 GHz), so that the check that two files of
# 300 kB are equal takes seconds, more than most notebooks' other cells together; lists and tuples are as slow.
# Exit 0 while that is so, 1 if it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check fastcore==2.2.41
"$work/env/bin/python" - <<'P'
import time
from importlib.metadata import version

from fastcore.test import test_eq


def seconds(value, same):
    start = time.process_time()
    test_eq(value, same)
    return time.process_time() - start


n = 50_000
text, data = seconds('ab' * n, 'ab' * n), seconds(b'ab' * n, bytes(b'ab' * n))
print(f'fastcore {version("fastcore")}: {2 * n} characters {text * 1e6:.0f} µs, bytes {data * 1e6 / 2 / n:.1f} µs each')
assert data > 100 * text and data / 2 / n > 1e-6, 'changed: bytes are compared at once'
P
