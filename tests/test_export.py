"""Exported models give our logits in onnxruntime and in PyTorch's exported graph, for any number of clips, and say what they take."""
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from conftest import ROOT
from msagcn import export
from msagcn.core import MsagcnError
from msagcn.export import check_onnx, check_torch, export_onnx, export_torch
from msagcn.msagcn import MSAGCN
from msagcn.msg3d import MSG3D
from msagcn.skeleton import UCLA20

ABOUT = dict(classes=['wave', 'sit', 'stand'], skeleton='ucla20', shape=[3, 4, 20, 1], parameters=dict(model='msagcn', stream='bone_motion', frames=4, lr=.1))


def settled(model):
    "The model after one batch, which every BatchNorm (and the context) takes as its average, and with logits of unit size."
    x = torch.rand(16, *model.shape, generator=torch.Generator().manual_seed(5))*2 - 1
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm): m.momentum = 1.
    with torch.no_grad():
        model.train()(x)
        model.classify.weight /= model.eval()(x).std()                           # without training they are in the tens, and so is their rounding
    return model


class Mean(nn.Module):
    "A network that is quickly exported."
    def __init__(self, classes=3, shape=(3, 4, 20, 1)):
        super().__init__()
        self.shape, self.classify = shape, nn.Linear(shape[0], classes)
    def forward(self, x): return self.classify(x.mean((2, 3, 4)))


def test_msagcn_in_onnx(tmp_path):
    pytest.importorskip('onnxruntime')
    import onnx
    model = settled(MSAGCN(3, UCLA20, 4, 1, width=40))
    model.train()                                                               # is exported as it predicts, and left as it was
    path = export_onnx(model, tmp_path / 'sub/m.onnx', ABOUT)
    assert model.training and all(p.requires_grad for p in model.parameters())
    model.eval()
    assert check_onnx(model, path) < 1e-4
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    said = {p.key: json.loads(p.value) for p in proto.metadata_props}
    assert said['classes'] == ABOUT['classes'] and said['skeleton'] == 'ucla20' and said['stream'] == 'bone_motion' and said['frames'] == 4
    assert said['parameters'] == ABOUT['parameters'] and said['input'] == ['N', 3, 4, 20, 1]
    assert str(ROOT).encode() not in path.read_bytes() and b'.py"' not in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ['m.onnx']                # one file, weights within
    changed = settled(MSAGCN(3, UCLA20, 4, 1, width=40, seed=1))
    assert check_onnx(changed, path) > 1e-2                                     # the check can fail


def test_msg3d_in_pytorch(tmp_path):
    model = settled(MSG3D(3, UCLA20, 4, 1, width=6))
    path = export_torch(model, tmp_path / 'm.pt2', ABOUT)
    assert check_torch(model, path) < 1e-4
    extra = {'msagcn.json': ''}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra['msagcn.json'])['parameters']['stream'] == 'bone_motion'
    alone = ('import sys, torch; m = torch.export.load(sys.argv[1]).module(); print(*m(torch.zeros(7, 3, 4, 20, 1)).shape); '
             'assert not [n for n in sys.modules if n.startswith("msagcn")]')     # needs PyTorch alone
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', alone, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ['7', '3'], done.stderr


def test_a_model_that_cannot_predict_is_not_exported(tmp_path):
    fresh = MSAGCN(3, UCLA20, 4, 1, width=40)                                   # context='running' without an average
    for f, name in ((export_torch, 'm.pt2'), (export_onnx, 'm.onnx')):
        if f is export_onnx: pytest.importorskip('onnxruntime')
        with pytest.raises(MsagcnError, match='calibrate'): f(fresh, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_same_model_gives_the_same_file(tmp_path):
    pytest.importorskip('onnxruntime')
    torch.manual_seed(0)
    m = Mean().double()                                                          # becomes float32
    a, b = (export_onnx(m, tmp_path / f'{n}.onnx').read_bytes() for n in 'ab')
    assert a == b and check_onnx(m, tmp_path / 'a.onnx') < 1e-6 and m.classify.weight.dtype == torch.double


def test_files_that_do_not_fit(tmp_path):
    pytest.importorskip('onnxruntime')
    m = Mean()
    good = {check_onnx: export_onnx(m, tmp_path / 'm.onnx'), check_torch: export_torch(m, tmp_path / 'm.pt2')}
    (tmp_path / 'bad').write_bytes(b'half')
    for check, path in good.items():
        for model, file, says in ((m, tmp_path / 'none', 'cannot read'), (m, tmp_path / 'bad', 'not an'), (Mean(shape=(3, 5, 20, 1)), path, 'does not take clips'),
                                  (Mean(classes=4), path, 'gives logits')):
            with pytest.raises(MsagcnError) as e: check(model, file)
            assert says in str(e.value) and file.name in str(e.value) and '\n' not in str(e.value)
    with pytest.raises(MsagcnError, match='bad'): export_torch(m, tmp_path / 'bad/m.pt2')


def test_without_the_packages(tmp_path, monkeypatch):
    find = export.find_spec
    monkeypatch.setattr(export, 'find_spec', lambda name: None if name == 'onnxscript' else find(name))
    for call in (lambda: export_onnx(Mean(), tmp_path / 'm.onnx'), lambda: check_onnx(Mean(), tmp_path / 'm.onnx')):
        with pytest.raises(MsagcnError, match=r"ONNX needs onnxscript: pip install 'msagcn\[export\]'"): call()
    assert check_torch(Mean(), export_torch(Mean(), tmp_path / 'm.pt2')) >= 0     # needs none of them
