"""Edge cases of single functions.

A folder where a file should be, numbers that do not fit, traces of a Mac, parts without clips, a
download that breaks off, and the global generator.
"""

import json
import os
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from msagcn.bench import contenders, roofline
from msagcn.core import MsagcnError, atomic_write, seeded, write_text
from msagcn.data import nw_ucla
from msagcn.data.clip_writer import ClipWriter
from msagcn.data.clips import load_clips
from msagcn.data.skeleton import NTU25, UCLA20
from msagcn.models.graph_conv import CONTEXTS, TOPOLOGIES
from msagcn.models.msagcn import MSAGCN, PARTS, initialise
from msagcn.models.msg3d import MSG3D
from msagcn.models.msg3d import initialise as initialise_msg3d


@pytest.mark.parametrize('folder', ['', '.', '/', '..', None])
def test_a_folder_where_a_file_should_be(folder, tmp_path):
    with pytest.raises(MsagcnError, match='is a folder$'):
        write_text(tmp_path if folder is None else folder, '')


def test_what_goes_wrong_while_writing_names_the_file(tmp_path):
    with pytest.raises(MsagcnError, match=r'x: cannot write \(No space left'):
        with atomic_write(tmp_path / 'x') as p:
            p.write_text('half')
            raise OSError(28, 'No space left on device')
    (tmp_path / 'file').write_text('')
    with pytest.raises(MsagcnError, match='inside: cannot write'):
        write_text(tmp_path / 'file/inside', '')
    assert os.listdir(tmp_path) == ['file']


class Stalls(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', str(1 << 22))
        self.end_headers()
        self.wfile.write(b'PK' + bytes(1 << 20))
        self.wfile.flush()
        self.server.done.wait(30)

    def log_message(self, *_):
        pass


def test_a_stalled_download_is_not_reported_as_a_failure_to_write(tmp_path, monkeypatch):
    server = HTTPServer(('127.0.0.1', 0), Stalls)
    server.done, real = threading.Event(), nw_ucla.urllib.request.urlopen
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setattr(
        nw_ucla.urllib.request, 'urlopen', lambda url, timeout: real(url, timeout=0.5)
    )
    try:
        with pytest.raises(MsagcnError) as e:
            nw_ucla.download(
                tmp_path / 'all_sqe.zip', f'http://127.0.0.1:{server.server_port}/all_sqe.zip'
            )
    finally:
        server.done.set()
        server.server_close()
    assert 'download failed (timed out); fetch all_sqe.zip' in str(
        e.value
    ) and 'cannot write' not in str(e.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('of', [None, 'a preparation'])
def test_a_coordinate_too_large_for_float16(of, tmp_path):
    good, far = np.ones((3, 1, 20, 3), np.float32), np.full((2, 1, 20, 3), 65504, np.float32)
    with pytest.raises(MsagcnError, match='^far: a coordinate of 70000 is too large for float16$'):
        with ClipWriter(tmp_path, shape=(1, 20, 3), storage='float16', of=of) as w:
            w.add('good', good, 0, 1, 'train')
            w.add('largest', far, 0, 1, 'train')
            far[1, 0, 7, 2] = 70000
            w.add('far', far, 0, 1, 'test')
    if of is None:
        assert not os.listdir(tmp_path)
        return
    with ClipWriter(
        tmp_path, shape=(1, 20, 3), storage='float16', of=of
    ) as w:  # goes on after what was good
        assert len(w) == 2
        w.finish('x', 'ucla20', ['a'])
    assert (
        load_clips(tmp_path).names == ['good', 'largest']
        and load_clips(tmp_path).frames.max() == 65504
    )


def raw(label):
    return json.dumps(dict(skeletons=np.ones((2, 20, 3)).tolist(), label=label))


def as_zip(folder, inner='all_sqe/'):
    with zipfile.ZipFile(folder.with_suffix('.zip'), 'w') as z:
        for p in folder.iterdir():
            z.write(p, f'{inner}{p.name}')
    return folder.with_suffix('.zip')


@pytest.mark.parametrize(
    'form',
    [Path, as_zip, lambda folder: as_zip(folder, '')],
    ids=['folder', 'zip', 'zip without a folder'],
)
def test_traces_of_a_mac_and_parts_without_clips(form, tmp_path):
    folder = tmp_path / 'raw'
    folder.mkdir()

    def write(v):
        (folder / f'a01_s01_e00_v0{v}.json').write_text(raw(1))
        (folder / f'._a01_s01_e00_v0{v}.json').write_bytes(b'\0\5\x16\7\0\2')

    write(1)
    write(2)
    with pytest.raises(MsagcnError, match=r'raw(\.zip)?: no clips of view 3, '):
        nw_ucla.read_nw_ucla(form(folder))
    write(3)
    assert nw_ucla.read_nw_ucla(form(folder)).names == [f'a01_s01_e00_v0{v}' for v in (1, 2, 3)]
    for v in (1, 2):
        (folder / f'a01_s01_e00_v0{v}.json').unlink()
    with pytest.raises(MsagcnError, match=r'raw(\.zip)?: no clips of views 1 and 2, '):
        nw_ucla.read_nw_ucla(form(folder))


def test_no_prepared_data_names_the_whole_command(tmp_path):
    with pytest.raises(
        MsagcnError, match=f'first run msagcn prepare -p benchmark nw_ucla -p data_dir {tmp_path}$'
    ):
        load_clips(tmp_path / 'nw_ucla')


MODELS = [
    (MSAGCN, initialise, dict(width=40, topology=t, context=c))
    for t in TOPOLOGIES
    for c in CONTEXTS
]
MODELS += [(MSAGCN, initialise, dict(width=40, without=(p,))) for p in PARTS] + [
    (MSAGCN, initialise, dict(width=40, stages=1))
]
MODELS += [
    (MSG3D, initialise_msg3d, dict(width=12, normalize=n, **more))
    for n in ('symmetric', 'column')
    for more in ({}, dict(masks=False), dict(disentangled=False), dict(windows=()))
]


@pytest.mark.parametrize(
    'kind, draw, how',
    MODELS,
    ids=lambda v: str(v) if isinstance(v, dict) else getattr(v, '__name__', ''),
)
def test_first_weights_are_a_function_of_the_seed_and_the_global_generator_is_left_alone(
    kind, draw, how
):
    before = torch.random.get_rng_state()
    for skeleton, M in ((UCLA20, 1), (NTU25, 2)):
        model, again = (kind(5, skeleton, 8, M, seed=s, **how) for s in (3, 4))
        with seeded(3, 'weights'):
            draw(again)
        assert all(p.equal(q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    assert before.equal(torch.random.get_rng_state())


def test_measuring_leaves_the_global_generator_alone():
    w = contenders.Work(
        'train',
        shape='nw_ucla',
        frames=8,
        width=40,
        batch=2,
    )
    before = torch.random.get_rng_state()
    for by in ('ours', 'literal'):
        assert contenders.network_step(replace(w, by=by))() > 0
    assert roofline.product_seconds('bf16', torch.device('cpu'), 64) > 0
    assert before.equal(torch.random.get_rng_state())
