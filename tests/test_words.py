"""Values are used as typed, or refused by name: each text parameter of each command.

Through the command, through YAML, as passed to other processes, and through papermill. Numbers,
switches and lists are read by their parameter's type.
"""

import ast
import functools
import itertools
import json
import re

import pytest
import yaml
from conftest import ROOT

from msagcn.bench.preparation import BenchPrepareParameters
from msagcn.cli import VERBS, parser
from msagcn.core import MsagcnError
from msagcn.experiments.combinations import grid
from msagcn.experiments.parameters import ExportParameters, PredictParameters
from msagcn.experiments.reading import as_arguments, is_path, read_parameters, read_yaml
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.values import NONE, alternatives, is_list

AWKWARD = [
    '1e3',
    '007',
    '01',
    '1',
    '0x1F',
    '1.10',
    '1_000',
    '.5',
    '1:30',
    '2024_06_01',
    '2024-06-01',
    '2024-06-01T10:00:00',
    'null',
    'Null',
    '~',
    'None',
    'true',
    'True',
    'yes',
    'off',
    'n',
    'nan',
    '.inf',
    'inf',
    '-1',
    '-x',
    '--no-notebook',
    '-p',
    '=',
    '<<',
    '*',
    '&a',
    '!',
    '!!int',
    '@',
    '%',
    '?',
    '|',
    '>',
    'out #1',
    'exp #2',
    '#',
    'd,e',
    'a, b',
    ',',
    '"q"',
    "it's",
    "'",
    '"',
    '[a]',
    '[a',
    'a]',
    '{a: b}',
    '{x}',
    'a: b',
    'a:',
    '- a',
    '---',
    ' x ',
    'x ',
    'ü/é',
    '日本',
    'a\\b',
    '\\n',
    'a\tb',
    'a\nb',
    '$HOME',
    'C:\\data',
    './1',
    '../up',
    '00',
    '1.',
    '+1',
    '٣',
]
grammar = functools.cache(parser)
KINDS = {verb: kind for verb, (kind, _, _) in VERBS.items()}


def is_text(kind, name):
    "Whether a parameter is text: a path, a name, or one of some words."
    first = alternatives(kind.model_fields[name].annotation)[0]
    return first is str or (
        hasattr(first, '__args__')
        and not is_list(first)
        and all(isinstance(c, str) for c in first.__args__)
    )


TEXTS = [
    (verb, name)
    for verb, kind in KINDS.items()
    for name in kind.model_fields
    if is_text(kind, name)
]
FREE = [(verb, name) for verb, name in TEXTS if is_path(KINDS[verb], name)]


def read(how, *told):
    "The values that a text gave, or the error."
    try:
        return how(*told)
    except MsagcnError as e:
        return str(e)


def by_command(verb, name, text):
    words = [verb, '-p', name, text, *(['RUN'] if verb == 'verify' else [])]
    a = grammar().parse_args(words)
    return [getattr(p, name) for p in grid(a.file, a.parameter, KINDS[verb])]


def by_papermill(verb, name, text):
    "What papermill's -p makes of a text, put into a cell that is run and read."
    from papermill.cli import _resolve_type
    from papermill.translators import PythonTranslator

    cell = PythonTranslator.codify({name: _resolve_type(text)})
    space = dict(__name__='__main__', In=['', cell, 'p = read_parameters(kind, globals())'])
    exec(cell, space)
    return [getattr(read_parameters(KINDS[verb], space), name)]


def test_there_are_text_parameters():
    assert len(TEXTS) > 40 and {
        'data_dir',
        'runs_dir',
        'source',
        'weights',
        'run',
        'file',
        'page',
    } <= {n for _, n in FREE}
    assert not {'recipe', 'benchmark', 'device', 'stream', 'model'} & {n for _, n in FREE}


@pytest.mark.parametrize('verb, name', TEXTS)
def test_a_text_is_used_as_typed_or_refused(verb, name, in_memory):
    "By the command, and in a YAML file: plain where YAML allows it, and in quotes."
    free, file = (verb, name) in FREE, in_memory / 'x.yaml'
    for text in AWKWARD:
        parts = [text] if free or ',' not in text else [t.strip() for t in text.split(',')]
        if text == '[a]' and not free:
            parts = ['a']  # a grid of one value
        if name == 'stream' and verb != 'train' and text.strip().lower() in NONE:
            continue  # a stream or none
        for found in (read(by_command, verb, name, text), read(by_papermill, verb, name, text)):
            assert found in (parts, [text]) or (
                isinstance(found, str) and found.startswith(f'{name}: ') and '\n' not in found
            ), (text, found)
        if free:
            assert read(by_command, verb, name, text) == [text]
        for written in {json.dumps(text), text}:
            file.write_text(f'{name}: {written}\n')
            try:
                plain = yaml.load(file.read_text(), yaml.BaseLoader)[name]
            except (yaml.YAMLError, KeyError, TypeError):
                continue
            if plain != text:
                continue  # YAML itself reads another text, as before a #
            found = read(lambda: [getattr(p, name) for p in grid([str(file)], [], KINDS[verb])])
            assert found == [text] if free else found == [text] or f' {name}: ' in found, (
                written,
                found,
            )


@pytest.mark.parametrize('verb, name', FREE)
def test_processes_get_the_exact_text(verb, name):
    for text in AWKWARD:
        p = KINDS[verb](**{name: text})
        words = as_arguments(p)
        a = grammar().parse_args([verb, *words, *(['RUN'] if verb == 'verify' else [])])
        assert grid(a.file, a.parameter, KINDS[verb]) == [p], text


@pytest.mark.parametrize(
    'more',
    [
        dict(recipe='1e3', benchmark='2024_06_01'),
        dict(recipe='null', benchmark='true'),
        dict(recipe='ablation/007', seed=0),
        dict(lr=1e-5, weight_decay=0.0, milestones=[]),
        dict(width=None, val_subjects=[3]),
        dict(without=['edge', 'cross'], refit=False),
        dict(model='msg3d', scales=3, windows=[], layout='ntu25', data_dir=''),
    ],
)
def test_processes_get_the_same_run(more):
    p = TrainParameters(**more)
    a = grammar().parse_args(['train', *as_arguments(p)])
    assert grid(a.file, a.parameter, TrainParameters) == [p]


def test_names_that_used_to_be_changed(tmp_path):
    """A benchmark `01` used to be the data set `1`.

    An underscore vanished, a # began a comment, and quotes were removed.
    """
    for name, text in (
        ('benchmark', '2024_06_01'),
        ('benchmark', '01'),
        ('recipe', '1e3'),
        ('recipe', '1.10'),
        ('recipe', '007'),
        ('recipe', '0x1F'),
        ('data_dir', 'out #1'),
        ('data_dir', 'd,e'),
        ('runs_dir', '"out"'),
        ('recipe', 'null'),
        ('recipe', 'true'),
    ):
        assert by_command('train', name, text) == [text]
        (tmp_path / 'x.yaml').write_text(
            f'{name}: {text if "#" not in text and chr(34) not in text else json.dumps(text)}\n'
        )
        assert [
            getattr(p, name) for p in grid([str(tmp_path / 'x.yaml')], [], TrainParameters)
        ] == [text]
    assert by_command('train', 'benchmark', '01,1') == ['01', '1']
    assert 'letters' in read(by_command, 'train', 'recipe', 'exp #2') and 'letters' in read(
        by_command, 'prepare', 'benchmark', '2024-06-01'
    )


LISTS = [
    ('train', 'val_subjects', ['1,2', '[1, 2]', '[1,2,]', ' 1 , 2 ', '["1", 2]'], [1, 2]),
    ('train', 'val_subjects', ['', '[]', '[ ]'], []),
    ('train', 'milestones', ['30', '[30]'], [30]),
    ('fuse', 'streams', ['joint,bone', '[joint, bone]', '["joint", \'bone\']'], ['joint', 'bone']),
    ('fuse', 'runs', ['1e3,007', '[1e3, 007]'], ['1e3', '007']),
    ('explore', 'clips', ['["a,b", "c #1"]', "['a,b', c #1]"], ['a,b', 'c #1']),
    ('bench', 'modes', ['eager,folded', '[eager, folded]'], ['eager', 'folded']),
    ('ablate', 'only', ['full', '[full]'], ['full']),
]


@pytest.mark.parametrize('verb, name, texts, value', LISTS)
def test_lists_in_either_spelling(verb, name, texts, value, tmp_path):
    for text in texts:
        assert by_command(verb, name, text) == [value] and by_papermill(verb, name, text) == [
            value
        ], text
        for written in {text, json.dumps(text)}:
            (tmp_path / 'x.yaml').write_text(f'{name}: {written}\n')
            if '#' in written or ("'" in written and written == text):
                continue  # YAML's own quotes
            assert [
                getattr(p, name) for p in grid([str(tmp_path / 'x.yaml')], [], KINDS[verb])
            ] == [value], written
    for wrong in ('[1', '1,,2', '[1], [2]', '1,', '"1'):
        assert f'{name}: ' in read(by_command, verb, name, wrong)


NUMBERS = {
    'epochs': dict(
        right={'3': 3, '1_000': 1000, '3.0': 3},
        wrong=[
            '010',
            '1:30',
            '0x10',
            'yes',
            'true',
            '2.5',
            '1e3',
            '',
            'null',
            '.inf',
            '2024-06-01',
            '٣',
        ],
    ),
    'lr': dict(
        right={'.1': 0.1, '1e-2': 0.01, '1E-2': 0.01, '1': 1.0, '2.': 2.0},
        wrong=[
            '.inf',
            'inf',
            '-.inf',
            '.nan',
            'nan',
            '1:30',
            '010',
            '0x1p3',
            'yes',
            '1e999',
            '1e-999',
            '',
        ],
    ),
    'refit': dict(
        right={
            'true': True,
            'False': False,
            'yes': True,
            'no': False,
            'on': True,
            'OFF': False,
            '1': True,
            '0': False,
        },
        wrong=['2', 'maybe', '', 'null', '1.5'],
    ),
    'width': dict(
        right={'null': None, 'None': None, '~': None, '': None, '40': 40},
        wrong=['none of it', '0x28', '040'],
    ),
    'stages': dict(right={'1': 1, '4': 4}, wrong=['3', 'true', '01', '1.5', 'null']),
}


@pytest.mark.parametrize('name', NUMBERS)
def test_numbers_and_switches_are_read_by_their_type(name, tmp_path):
    for text, value in NUMBERS[name]['right'].items():
        (tmp_path / 'x.yaml').write_text(f'{name}: {text}\n')
        for found in (
            by_command('train', name, text),
            [getattr(p, name) for p in grid([str(tmp_path / 'x.yaml')], [], TrainParameters)],
        ):
            assert found == [value] and type(found[0]) is type(value), text
    for text in NUMBERS[name]['wrong']:
        (tmp_path / 'x.yaml').write_text(f'{name}: {text}\n')
        for found in (
            read(by_command, 'train', name, text),
            read(grid, [str(tmp_path / 'x.yaml')], [], TrainParameters),
        ):
            assert isinstance(found, str) and f'{name}: ' in found and '\n' not in found, (
                text,
                found,
            )


@pytest.mark.parametrize(
    'told',
    [
        dict(recipe=1000.0),
        dict(recipe=7),
        dict(recipe=True),
        dict(data_dir=None),
        dict(stream=1),
        dict(epochs=True),
        dict(lr=float('inf')),
        dict(lr=float('nan')),
        dict(lr=False),
        dict(stages=True),
        dict(refit=2),
        dict(seed=2.0**60),
        dict(epochs=2.5),
        dict(val_subjects=None),
        dict(without=[1]),
    ],
)
def test_an_object_of_another_kind_is_refused(told):
    "From a notebook's cell, or by papermill."
    found = read(read_parameters, TrainParameters, told)
    assert isinstance(found, str) and found.startswith(next(iter(told))) and '\n' not in found
    if 'recipe' in told:
        assert '-r recipe' in found


OF_ANY_KIND = [
    *('', 'x', '-1', '0', '1e9', '1.5', 'null', '[1,', 'joint,', '[]', '[x, 0]'),
    *(-1, 0, 2.5, 10**9, None, True, [], {}, ['x'], [0], [1, 1], [None], {'a': 1}, object),
    *(float('nan'), float('inf')),
]
RAW = 'input should', 'valid ', 'pydantic', 'unable to parse', 'type='
ALL_KINDS = KINDS | dict(predict=PredictParameters, export=ExportParameters)


@pytest.mark.parametrize('verb', ALL_KINDS)
def test_whatever_is_wrong_is_put_in_words(verb):
    "Every parameter with values of every kind: refused by its name in one line, never in pydantic's words."
    kind, refused = ALL_KINDS[verb], 0
    for name, value in itertools.product(kind.model_fields, OF_ANY_KIND):
        found = read(read_parameters, kind, {name: value})
        if isinstance(found, str):
            refused += 1
            assert '\n' not in found and not any(w in found.lower() for w in RAW), found
            assert re.search(rf'\b{name}\b', found), found
    assert refused >= 8 * len(kind.model_fields)


def test_the_nearest_name_is_offered_for_each_parameter():
    "In capitals, in the plural, and with a dash, as other programs write it."
    for kind in ALL_KINDS.values():
        for name in kind.model_fields:
            for wrong in (name.upper(), name + 's', name.replace('_', '-') + 's'):
                if wrong in kind.model_fields:
                    continue
                found = read(read_parameters, kind, {wrong: '1'})
                assert found.startswith(f'{wrong}: no such parameter, did you mean '), found
            found = read(read_parameters, kind, {name.upper(): '1'})
            assert found.endswith(f'did you mean {name}?'), found


FILES = {
    'a key twice': ('lr: 0.1\nepochs: 2\nlr: 0.2\n', 'line 3: lr: is given twice'),
    'twice in quotes': ('lr: 0.1\n"lr": 0.2\n', 'lr: is given twice'),
    'twice within': ('lr: 0.1\nrecipe: {a: 1, a: 2}\n', 'a: is given twice'),
    'a mapping': ('recipe: {a: 1}\n', 'recipe: '),
    'a date': ('epochs: 2024-06-01\n', 'epochs: '),
    'a list of lists': ('windows: [[3]]\n', 'windows'),
    'tagged': ('recipe: !!float 1e3\n', 'recipe: '),
    'itself': ('windows: &a [*a]\n', 'line 1: contains itself'),
    'a set': ('windows: !!set {3}\n', 'windows'),
}


@pytest.mark.parametrize('case', FILES)
def test_files_that_are_refused(case, tmp_path):
    text, says = FILES[case]
    (tmp_path / 'x.yaml').write_text(text)
    found = read(grid, [str(tmp_path / 'x.yaml')], [], TrainParameters)
    assert (
        isinstance(found, str)
        and found.startswith(f'{tmp_path}/x.yaml: ')
        and says in found
        and '\n' not in found
    )


def test_parameter_files_of_the_project_mean_what_they_meant():
    "The text of each value, read by its type, is the value that YAML gave."
    for f in sorted((ROOT / 'params').glob('*.yaml')):
        before = yaml.safe_load(f.read_text())
        if 'variants' in before:
            continue
        p = read_parameters(TrainParameters, read_yaml(f) | dict(device='cpu'))
        assert all(
            getattr(p, k) == v and type(getattr(p, k)) is type(v) for k, v in before.items()
        ), f


def test_a_runner_keeps_its_parameters():
    "The parameter cell starts as it should, and no later cell gives its names another meaning."
    for f in itertools.chain(
        (ROOT / 'nbs/runs').glob('[a-z]*.ipynb'), (ROOT / 'nbs/bench').glob('[a-z]*.ipynb')
    ):
        cells = [c for c in json.loads(f.read_text())['cells'] if c['cell_type'] == 'code']
        mine = [c for c in cells if 'parameters' in c['metadata'].get('tags', [])]
        assert len(mine) == 1 and mine[0] is cells[0], f
        source = ''.join(mine[0]['source'])
        assert source.startswith('# The parameters'), f
        names = {t.id for s in ast.parse(source).body for t in s.targets}
        later = {
            n.id
            for c in cells[1:]
            for n in ast.walk(ast.parse(''.join(c['source'])))
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        assert not names & later, f'{f}: {names & later}'
    assert BenchPrepareParameters.model_fields
