"""There is a report for every run that can be trained.

The commands that it names make the same runs again.
"""

import json
import re
import sys

import pytest
import yaml
from conftest import ROOT, TINY, command, pairs, places, sh

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
    told = command('report', *pairs(recipe='odd', **out), cwd=tmp_path)
    text = (tmp_path / 'reports/embedded.html').read_text()
    assert told.stdout.strip().endswith('embedded.html') and 'Traceback' not in text
    assert 'an entry has moved by' in text
    assert 'aria-label="Attention between 20 joints' in text or 'alt="Attention between 20' in text
    assert_page(text, 'embedded, recipe odd')


def assert_page(text, title):
    "Heading and title say what it is; every figure has words; tables scroll; no section is empty."
    body = re.sub(
        r'<script\b.*?</script>', '', text[text.index('<body') :], flags=re.S
    )  # the explorer
    assert f'<title>{title}</title>' in text and re.search(rf'<h1[^>]*>{title}<', body)
    assert re.search(r'<strong>[\d.]+ % of \d+ test clips</strong>', body)
    figures = re.findall(r'<figure><(svg|img)\b([^>]*)>', body)
    assert len(figures) >= 3 and body.count('<svg') + body.count('<img') == len(figures)
    words = [re.search(r'(?:aria-label|alt)="([^"]{30,})"', f[1])[1] for f in figures]
    assert len(set(words)) == len(words)  # each says something of its own
    assert body.count('<table>') == len(re.findall('<div class="?scroll"?><table>', body)) > 3
    sections = re.findall(r'<h([1-6])[ >].*?</h\1>(.*?)(?=<h[1-6][ >]|</body>)', body, re.S)
    for (level, content), (following, _) in zip(sections, [*sections[1:], ('0', '')]):
        said = re.search('<(p|table|figure|pre)[ >]', content)
        assert said or following > level, (level, content)  # or a subsection says it
    assert 'prefers-color-scheme: dark' in text and 'var(--ink, #000' in body


def test_a_report_of_msg3d_on_data_of_ones_own(tmp_path):
    "Nothing held out, nobody known, no attention, no paper: and no section stands empty."
    pytest.importorskip('papermill')
    import numpy as np

    from msagcn.cli import main
    from msagcn.data.synthetic import generate_clip
    from msagcn.experiments.folds import COLUMNS

    own = tmp_path / 'own_clips'
    for k, action in enumerate(('throw', 'sit down')):
        for part, views in dict(train=(1, 2, 3), test=(1, 2)).items():
            for view in views:
                folder = own / part / action.replace(' ', '_')
                folder.mkdir(parents=True, exist_ok=True)
                clip = generate_clip(action, subject=1 + (part == 'test'), episode=k, view=view)
                np.save(folder / f'{action[:3]}_{part}_{view}.npy', clip * [1, -1, -1])
    (own / 'own.yaml').write_text('joints: ucla20\nchannels: xyz\n')
    out = places(tmp_path)
    prepared = dict(source=own / 'own.yaml', data_dir=out['data_dir'])
    assert main(['prepare', *pairs(benchmark='own_clips', **prepared)]) == 0
    small = dict(steps=2, warmup_steps=0, batch_size=4, frames=8, device='cpu')
    custom = ['-f', ROOT / 'params/custom.yaml', '--no-notebook']
    given = pairs(benchmark='own_clips', **small, **out)
    assert main([str(w) for w in ('train', *custom, *given)]) == 0
    folds = dict.fromkeys(COLUMNS, '') | dict(benchmark='own_clips', model='msg3d', folds='3')
    folds |= dict(streams='joint', low='50.00', high='90.00', by_fold='60.00 70.00 80.00')
    rows = [','.join(COLUMNS), ','.join(folds.values())]
    (tmp_path / 'reports/own_clips.csv').write_text('\n'.join(rows) + '\n')
    assert main(['report', *pairs(benchmark='own_clips', recipe='custom', **out)]) == 0
    text = (tmp_path / 'reports/own_clips.html').read_text()
    assert_page(text, 'own_clips, recipe custom')
    assert 'Wilson over 4 clips' in text and 'an entry has moved by' in text
    assert '70.0 ± 10.0' in text and 'In folds over people' in text
    assert 'Training clips have' in text and ' frames, half of them at most ' in text
    for absent in ('not stated', 'Person by person', 'What it attends to', 'Fusions', 'Ablations'):
        assert absent not in text, absent
    assert '<th>clean</th>' not in text  # where all test clips are


def test_the_committed_pages_are_the_present_ones(tmp_path):
    "As `make pages` writes them: from the files in reports/, whatever data and weights are here."
    pytest.importorskip('papermill')
    for f in (ROOT / 'reports').iterdir():
        if f.name != 'nw_ucla.html':
            (tmp_path / f.name).symlink_to(f)
    (tmp_path / 'params').symlink_to(ROOT / 'params')
    line = re.search(r'msagcn report (.+nw_ucla.+)', (ROOT / 'Makefile').read_text())[1]
    given = line.replace('docs/made', str(tmp_path / 'made')).split()
    command('report', *given, '-p', 'reports_dir', tmp_path, cwd=tmp_path)
    page = (tmp_path / 'nw_ucla.html').read_text()
    assert page == (ROOT / 'reports/nw_ucla.html').read_text(), 'run make pages'
    assert_page(page, 'nw_ucla, recipe cpu30')
    readme = (ROOT / 'README.md').read_text()
    best = re.search(
        r'Of all recipes here.+? %, has (.+?) \((.+?), <code>.+?: ([\d.]+) % of the test clips',
        page,
    )
    model, streams, accuracy = best.groups()  # the row that README's sentence is about
    assert f'{model} ({streams}), reach {accuracy} %' in readme


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
