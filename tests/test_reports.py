"""There is a report for every run that can be trained.

The commands that it names make the same runs again.
"""

import json
import sys

import pytest
import yaml
from conftest import ROOT, TINY, pairs, places, sh

# prints the arguments that a shell makes of a line
ECHO = f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"
OTHER = dict(
    width=80,
    feed='padded',
    layout='ucla20',
    scales=4,
    windows=[3],
    without=['gating'],
    lr=0.3,
    milestones=[2],
    refit=False,
    stream='joint_motion',
)


def test_a_report_of_a_run_without_the_usual_parts(embedded, tmp_path):
    "The topology of the paper's figure, no attention over frames, and another feed than the data's."
    pytest.importorskip('papermill')
    pytest.importorskip('nbconvert')
    from msagcn.experiments.run import train
    from msagcn.experiments.train_parameters import TrainParameters

    out = places(tmp_path) | dict(data_dir=str(embedded))
    train(
        TrainParameters(
            recipe='odd',
            topology='figure',
            without=['frame_attention'],
            feed='padded',
            **TINY | out | dict(val_subjects=[1], refit=False),
        )
    )
    told = sh(
        sys.executable,
        '-m',
        'msagcn',
        'report',
        *pairs(recipe='odd', **out),
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )
    text = (tmp_path / 'reports/embedded.html').read_text()
    assert told.stdout.strip().endswith('embedded.html') and 'Traceback' not in text
    assert 'an entry has moved by' in text and 'alt="Figure: What it attends to"' in text


@pytest.mark.parametrize(
    'odd',
    [
        dict(width=None),
        dict(feed=''),
        dict(model='msg3d', width=6, layout='', scales=None, windows=[]),
        dict(recipe='null', stream='bone'),
        dict(recipe='1.0', refit=True),
        dict(without=['cross', 'edge']),
        dict(lr=1e-5, milestones=[3, 4]),
    ],
)
def test_a_command_reads_back_as_the_run_that_it_names(odd, tmp_path):
    """Pasted into a shell, and read as the command reads it.

    The parameter file that it starts from has other values.
    """
    from msagcn.cli import parser
    from msagcn.experiments.combinations import grid
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.report.words import command

    run, folder = TrainParameters(**dict(epochs=2, warmup=0) | odd), tmp_path / "it's here"
    folder.mkdir()
    (folder / 'near.yaml').write_text(
        yaml.safe_dump(run.model_dump() | {k: v for k, v in OTHER.items() if k in odd})
    )
    line = command(run.model_dump() | dict(top1=1.0), TrainParameters().model_dump(), folder)
    a = parser().parse_args(
        json.loads(sh('sh', '-c', f'{ECHO} {line.removeprefix("msagcn ")}').stdout)
    )
    assert a.file and grid(a.file, a.parameter, TrainParameters) == [run], line
