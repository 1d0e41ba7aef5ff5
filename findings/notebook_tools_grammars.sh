#!/usr/bin/env bash
# jsonschema 4.26.0 with what JupyterLab asks it for (jupyter-events wants `jsonschema[format-nongpl]`): to import it builds
# 39 grammars, one for each part of an internationalised address, by rfc3987-syntax 1.1.0 and lark 1.3.1. nbformat imports it,
# so papermill, nbconvert and nbclient pay more than a second of CPU at each start, though no schema of a notebook has an address.
# Expected: grammars made when an address is checked, if ever. Observed: 39 at import, most of the time of `import nbformat`;
# jsonschema 4.24.0, which jupyter-events takes as well, needs no such package and builds none.
# Exit 0 while that is so, 1 if it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/count.py" <<'P'
import sys
import time

built = 0
try:
    import lark
except ImportError:
    print('lark is not installed')
else:
    made = lark.Lark.__init__

    def counted(self, *args, **kwargs):
        global built
        built += 1
        made(self, *args, **kwargs)

    lark.Lark.__init__ = counted
start = time.process_time()
import nbformat
print(f'jsonschema {sys.argv[1]}: import nbformat: {built} grammars, {time.process_time() - start:.2f} s of CPU')
assert built == int(sys.argv[2]), f'changed: {built} grammars'
P
for pair in 4.26.0=39 4.24.0=0; do
    version=${pair%=*}
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q --disable-pip-version-check nbformat==5.11.1 jupyter-events==0.12.1 \
        "jsonschema==$version" $([ "$version" = 4.26.0 ] && echo rfc3987-syntax==1.1.0 lark==1.3.1)
    "$work/$version/bin/python" -c 'import nbformat'  # modules are compiled once
    "$work/$version/bin/python" "$work/count.py" "$version" "${pair#*=}"
done
