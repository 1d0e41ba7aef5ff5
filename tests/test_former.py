"""Every public name of the flat modules that the package once was is found under its former name."""

import importlib
import warnings

import pytest

from msagcn.former import FORMER, RENAMED, find

# some of each, as scripts of users have them
FORMER_IMPORTS = """
    clips: load_clips save_clips leaked split
    skeleton: SKELETONS UCLA20 NTU25 skeleton_from
    custom: read_coordinates read_custom read_description
    streams: STREAMS store batch turn_xy
    msagcn: MSAGCN calibrate StageGraphConv StageTemporalConv
    msg3d: MSG3D RingGraphConv MSG3DBlock
    release: load_release
    msg3d_names: load_msg3d
    evaluate: Scores load_scores topk fuse
    statistics: right mcnemar
    experiment: train read_json
    prepare: prepare
    parameters: TrainParameters PrepareParameters read_parameters read_yaml
    weights: load_weights save_weights predict_file build_model
    train: fit Plan
    foreign_scores: read_scores fuse_files
    explore: opened explore alone
    viz: show_confusion find_up upright
    tables: result_table to_markdown answers
    quick: quick
    fold: fold
    ntu: prepare_ntu denoise
    mmaction: read_mmaction turn_to mmaction_batch
    distributed: world SyncBatchNorm torchrun_command
    bench: measure BenchParameters
"""
CASES = [
    (line.split(':')[0].strip(), name)
    for line in FORMER_IMPORTS.strip().splitlines()
    for name in line.split(':')[1].split()
]


@pytest.mark.parametrize('module, name', CASES)
def test_a_former_import_gives_what_is_there_now(module, name):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        value = getattr(importlib.import_module(f'msagcn.{module}'), name)
    text = str(told[-1].message)
    assert text.startswith(f'msagcn.{module}.{name} is msagcn.') and text.endswith(' now')
    home, _, now = text.split()[2].rpartition('.')
    assert value is getattr(importlib.import_module(home), now)


def test_a_name_that_never_was_is_refused():
    for module in FORMER:
        with pytest.raises(AttributeError, match=f'msagcn.{module} has no never_was'):
            find(module, 'never_was')
    assert not set(RENAMED) & set(RENAMED.values())
