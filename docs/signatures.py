"""Signatures of a module's public functions and classes, as Markdown for its page.

A table of parameters has the comments that stand beside them in the code (docments).
"""

import inspect
import re
from importlib import import_module

import pandas as pd
from fastcore.docments import docments
from pydantic import BaseModel

from msagcn.experiments.reading import explained
from msagcn.report.table_forms import to_markdown

NOTHING = inspect.Parameter.empty


def type_name(kind) -> str:
    "A type as it is written in code, without its modules; empty if there is none."
    if kind is NOTHING:
        return ''
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, '__args__') else str(kind)
    return re.sub(r'\b(?:[A-Za-z_]\w*\.)+(\w+)', r'\1', text)


def code(text: str) -> str:
    return f'`{text}`' if text else ''


def signature(name: str, call) -> str:
    "`name(a: int, b=1) -> str` as a block of code, a parameter a line if it is long."
    found = inspect.signature(call)
    parts, star = [], False
    for p in found.parameters.values():
        if p.name == 'self':
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append('*')
        star = star or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        text = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '') + p.name
        text += f': {type_name(p.annotation)}' if p.annotation is not NOTHING else ''
        parts.append(text + (f' = {default(p.default)}' if p.default is not NOTHING else ''))
    ends = type_name(found.return_annotation)
    ends = f') -> {ends}' if ends and ends != 'None' and not inspect.isclass(call) else ')'
    line = f'{name}({", ".join(parts)}{ends}'
    if len(line) > 88:
        line = f'{name}(\n' + ''.join(f'    {p},\n' for p in parts) + ends
    return f'```python\n{line}\n```'


def default(value) -> str:
    "A default as it is written; a function by its name, what is long by dots."
    text = getattr(value, '__name__', None) or repr(value)
    return '...' if len(text) > 60 or ' at 0x' in text or text == '<factory>' else text


def parameters(thing) -> str:
    "The table of parameters and the result, of those that have a comment or a default; or nothing."
    if inspect.isclass(thing) and issubclass(thing, BaseModel):
        rows = [(code(n), code(d), what) for n, d, what in explained(thing)]
        return to_markdown(pd.DataFrame(rows, columns=['parameter', 'by default', 'what it is']))
    found = docments(thing, full=True)
    result = found.pop('return', None)
    found.pop('self', None)
    rows = [
        (
            code(name),
            code(type_name(p.anno)),
            '' if p.default is NOTHING else code(default(p.default)),
            p.docment or '',
        )
        for name, p in found.items()
    ]
    out = ''
    if any(row[3] for row in rows):
        columns = ['parameter', 'type', 'by default', 'what it is']
        out = to_markdown(pd.DataFrame(rows, columns=columns))
    if result and result.docment:
        out += '\n\n' * bool(out) + f'Returns {code(type_name(result.anno))}: {result.docment}'
    return out


def methods(kind: type) -> str:
    "The public methods of a class that say what they do, a line each."
    lines = []
    for name, f in vars(kind).items():
        if name.startswith('_') or not (inspect.isfunction(f) or isinstance(f, property)):
            continue
        if f.__doc__:
            first = inspect.cleandoc(f.__doc__).splitlines()[0]
            lines.append(f'- `{name}{"()" * inspect.isfunction(f)}`: {first}')
    return '\n'.join(lines)


def entry(name: str, thing) -> str:
    "Signature, docstring, parameters and methods of one function or class."
    parts = [f'### `{name}`']
    is_class = inspect.isclass(thing)
    if is_class and issubclass(thing, (BaseModel, Exception, str)):
        parts.append(f'```python\nclass {name}({thing.__base__.__name__})\n```')
    else:
        parts.append(signature(name, thing))
    if thing.__doc__ and not thing.__doc__.startswith(f'{name}('):  # not a dataclass's own
        parts.append(inspect.cleandoc(thing.__doc__))
    if is_class and issubclass(thing, (Exception, str)):
        return '\n\n'.join(parts)
    own_init = is_class and '__init__' in vars(thing) and not hasattr(thing, '__dataclass_fields__')
    parts += [parameters(thing.__init__ if own_init else thing), methods(thing) if is_class else '']
    return '\n\n'.join(filter(None, parts))


def signatures(name: str) -> str:
    "All of a module, in the order of its code; empty if it has no public function or class."
    module = import_module(f'msagcn.{name}')
    things = {n: getattr(module, n) for n in getattr(module, '__all__', [])}
    of_code = {n: t for n, t in things.items() if inspect.isfunction(t) or inspect.isclass(t)}
    if not of_code:
        return ''
    return '## Signatures\n\n' + '\n\n'.join(entry(n, t) for n, t in of_code.items()) + '\n'
