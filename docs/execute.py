"""Run the library's notebooks, each in a process of its own: their checks, and what their cells show.

Without an option, as `make test` does, a notebook fails if a cell fails or shows something else than
what is kept in it. With `--write` (`make figures`) what it shows is kept: pictures, text and tables of
library notebooks, and pictures of runners. Nothing is kept of cells with `#| varies`, whose result is
another one each time (a duration); `#| slow` ones are not run. Paths name single notebooks.
"""

import argparse
import base64
import gc
import io
import json
import multiprocessing
import os
import random
import re
import sys
import tempfile
from contextlib import chdir
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {'slow', 'gpu', 'notest', 'eval:false'}  # as nbdev-test, by `tst_flags` in settings.ini
RUNS = [  # runners in their order, with parameters besides their own; of two trainings the last is kept
    ('prepare', {}),
    ('train', dict(stream='bone')),
    ('train', {}),
    ('fuse', {}),
    ('report', {}),
]
IMAGE = 'image/png'
HERE = {str(ROOT), tempfile.gettempdir(), str(Path.home())}  # folders that no output may name
# those that take longest come first, so that at the end no core waits for one of them
LONGEST = ['20_loop', '43_worth', '20_msagcn', '40_explorer']
# imported once, before the processes begin
IMPORTED_BY_MANY = ['msagcn.report.explorer', 'torch._dynamo', 'execnb.shell', 'fastcore.test']
NUMBER = re.compile(r'[-+]?\d+\.?\d*(?:e[-+]?\d+)?')


def library() -> list[Path]:
    "The notebooks that are run: those of modules, and the README's; no runner."
    found = sorted((ROOT / 'nbs').rglob('*.ipynb'))
    found = [
        p for p in found if re.match(r'\d|index', p.name) and '.ipynb_checkpoints' not in p.parts
    ]
    return sorted(found, key=lambda p: LONGEST.index(p.stem) if p.stem in LONGEST else len(LONGEST))


def flags(cell: dict) -> set[str]:
    "What a cell's lines that begin with #| say, without spaces: their first words, or `eval:false`."
    lines = re.findall(r'^#\| ?(.*)', ''.join(cell['source']), re.M)
    return {'eval:false' if line.startswith('eval:') else line.split()[0] for line in lines if line}


def new_shell():
    "A shell whose pictures are PNG files of 100 dots an inch, without the program's version in them."
    import matplotlib.pyplot as plt
    from execnb.shell import CaptureShell
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    shell = CaptureShell(mpl_format='png')
    plt.rcParams['figure.dpi'] = 100
    set_matplotlib_formats('png', metadata={'Software': None})
    return shell


def seed_all() -> None:
    "Start the global generators at 0: a check of random numbers that passes will pass again."
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def in_few_colours(png: str) -> str:
    "A picture with at most 256 colours, which needs a third of the bytes."
    picture, small = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB'), io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(small, 'png', optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def kept(output: dict) -> dict | None:
    """What is kept of one output: the picture, else the table or text.

    None for objects without a text, and for what names a folder of this machine."""
    data = output.get('data', {})
    text = ''.join(
        [*output.get('text', ()), *data.get('text/plain', ()), *data.get('text/html', ())]
    )
    if any(len(folder) > 1 and folder in text for folder in HERE):
        return None
    if output['output_type'] == 'stream':
        return output if output['name'] == 'stdout' else None
    if IMAGE in data:
        best = {IMAGE: in_few_colours(data[IMAGE])}
    elif re.match(r'\W*<', ''.join(data.get('text/plain', '<'))) and 'text/html' not in data:
        return None
    else:
        best = {k: v for k, v in data.items() if k in ('text/plain', 'text/html')}
    return dict(data=best, metadata={}, output_type='display_data')


def shown(cells: list[dict], folder: Path) -> dict[int, list[dict]]:
    "What each code cell shows, by its place; `RuntimeError` with the traceback if one fails."
    shell, out = new_shell(), {}
    seed_all()
    sys.path[:0] = [str(ROOT), str(folder)]
    with chdir(folder):
        for i, cell in enumerate(cells):
            if cell['cell_type'] != 'code' or flags(cell) & SKIPPED:
                continue
            outputs = shell.run(''.join(cell['source']))
            if shell.exc:  # its traceback, and then perhaps the figure that was being drawn
                error = next(o for o in outputs if o['output_type'] == 'error')
                raise RuntimeError(f'cell {i}:\n' + '\n'.join(error['traceback']))
            out[i] = [] if 'varies' in flags(cell) else [k for k in map(kept, outputs) if k]
            if pictures := [k for k in out[i] if IMAGE in k.get('data', {})]:
                out[i] = pictures  # and not what the last call for drawing returned
    return out


def pixels(png: str) -> np.ndarray:
    "A picture as an array (height, width, 3) from 0 to 1."
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB')) / 255


def difference(old: dict, new: dict) -> str:
    """Why one output is not the other, or nothing.

    Exactly equal, or as near as another processor's rounding brings them: pictures of one size whose
    pixels differ by 0.2 % on average, text of the same words whose numbers differ by 0.1 %."""
    if old == new:
        return ''
    old, new = ({'stdout': o['text']} if 'text' in o else o['data'] for o in (old, new))
    if old.keys() != new.keys():
        return f'{"".join(new)} instead of {"".join(old)}'
    for kind in old:
        if kind == IMAGE:
            a, b = pixels(old[kind]), pixels(new[kind])
            if a.shape != b.shape:
                return f'a picture of {b.shape[:2]} instead of {a.shape[:2]} pixels'
            if (by := float(abs(a - b).mean())) > 0.002:
                return f'another picture: pixels differ by {by:.2%}'
            continue
        a, b = ''.join(old[kind]), ''.join(new[kind])
        x, y = (np.array(NUMBER.findall(t), float) for t in (a, b))
        if NUMBER.sub('#', a) != NUMBER.sub('#', b) or not np.allclose(x, y, 1e-3, 1e-6):
            return f'{b[:200]!r} instead of {a[:200]!r}'
    return ''


def differences(cells: list[dict], outputs: dict[int, list[dict]]) -> list[str]:
    "A line for each cell that shows something else than what is kept."
    found = []
    for i, new in outputs.items():
        old = cells[i]['outputs']
        if not new and ''.join(cells[i]['source']).startswith('if '):
            continue  # what this machine lacks: a compiler
        if len(old) != len(new):
            why = f'{len(new)} outputs, and {len(old)} are kept'
        else:
            why = next(filter(None, map(difference, old, new)), '')
        found += [f'cell {i} shows {why}'] if why else []
    return found


def run(path: Path, write: bool) -> None:
    "Run one notebook and write or compare its outputs; exits with 1 if it fails or they differ."
    notebook = json.loads(path.read_text(encoding='utf-8'))
    cells = notebook['cells']
    try:
        outputs = shown(cells, path.parent)
    except RuntimeError as e:
        sys.exit(f'{path}: {e}')
    if path.stem == 'index':  # README is made of it, by nbconvert
        return
    if not write:
        if found := differences(cells, outputs):
            sys.exit(
                '\n'.join(f'{path}: {line}' for line in found) + '\nTo keep that: make figures'
            )
        return
    for i, new in outputs.items():
        cells[i]['outputs'] = new
    write_notebook(path, notebook)


def compile_all() -> None:
    "Compile what several notebooks call; without a compiler they go on without."
    from msagcn.native import SOURCES, can_compile

    can_compile(*SOURCES)


def run_all(paths: list[Path], write: bool, n: int) -> list[Path]:
    "Run notebooks, n at a time; returns those that failed."
    fork = multiprocessing.get_context('fork')
    waiting, running, failed = list(paths), {}, []

    def begin(path, work, *args):
        process = fork.Process(target=work, args=args)
        process.start()
        running[process.sentinel] = process, path

    if len(paths) > 1:
        begin(ROOT / 'msagcn/cpp', compile_all)
        for name in IMPORTED_BY_MANY:
            import_module(name)
        gc.freeze()  # what is imported stays: no process looks through it again
    while waiting or running:
        while waiting and len(running) < n:
            path = waiting.pop(0)
            begin(path, run, path, write)
        for sentinel in wait(list(running)):
            process, path = running.pop(sentinel)
            process.join()
            failed += [path] if process.exitcode else []
    return failed


def draw_runners() -> None:
    "Run the runners, with the parameters that they have, in another folder; keep what they draw."
    import papermill

    nbs = ROOT / 'nbs/runs'
    with tempfile.TemporaryDirectory() as folder:
        for name, more in RUNS:
            out = papermill.execute_notebook(
                nbs / f'{name}.ipynb',
                None,
                more,
                cwd=folder,
                kernel_name='python3',
                progress_bar=False,
            )
            keep_pictures(nbs / f'{name}.ipynb', {c.id: c.get('outputs', []) for c in out.cells})


def keep_pictures(path: Path, outputs: dict[str, list]) -> None:
    "Write into a notebook the pictures among its cells' outputs, by the cells' ids."
    notebook = json.loads(path.read_text(encoding='utf-8'))
    for cell in notebook['cells']:
        if cell['cell_type'] == 'code':
            found = [k for k in map(kept, outputs[cell['id']]) if k]
            cell['outputs'] = [k for k in found if IMAGE in k.get('data', {})]
    write_notebook(path, notebook)


def write_notebook(path: Path, notebook: dict) -> None:
    "Write a notebook as nbdev does."
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + '\n', encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='*', type=Path)
    parser.add_argument('--write', action='store_true', help='keep what the cells show')
    parser.add_argument('-n', type=int, default=2, help='processes')
    args = parser.parse_args()
    os.environ['IN_TEST'] = '1'  # as nbdev-test says it
    paths = [p.resolve() for p in args.paths] or library()
    failed = run_all(paths, args.write, args.n)
    if args.write and not args.paths:
        draw_runners()
    if failed:
        sys.exit('\nFailed: ' + ', '.join(os.path.relpath(p, ROOT) for p in failed))
    print(f'{len(paths)} notebooks ' + ('written' if args.write else 'show what is kept in them'))


if __name__ == '__main__':
    main()
