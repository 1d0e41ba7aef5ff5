"""What spoils bytes, texts and containers, and says what a reader makes of it; needs no PyTorch."""

import contextlib
import copy
import csv
import io
import json
import resource
import signal
import struct
import traceback

from msagcn.core import MsagcnError

SECONDS, GIB = 20, 1 << 30
DEEP = []
for _ in range(300):
    DEEP = [DEEP]
MANY = ['x']
for _ in range(40):
    MANY = [MANY, MANY]
ODD = [
    *(None, True, '', 'x', '=1+1', 'a\nb', '\ud800', '\0', 'nan', '../..', 'x' * 300, 'ü', '日本'),
    *(
        -1,
        0,
        1,
        77,
        1.5,
        2**31,
        2**63,
        10**20,
        -(2**70),
        10**400,
        float('nan'),
        float('inf'),
        1e300,
    ),
    *([], {}, [1], [[]], ['x'], {'a': 1}, {'': {}}, [None], DEEP),
]
WORDS = [
    '',
    'x',
    '-1',
    '1e9',
    'nan',
    'inf',
    '=1+1',
    '"',
    'a b',
    '1 2',
    '\0',
    '٣',
    '9' * 5000,
    ' ',
    ',',
]


def nodes(x, path=()):
    "The paths of all values in containers, but for what is repeated or nested without end."
    yield path
    if len(path) > 9:
        return
    inside = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    for k, v in inside:
        yield from nodes(v, (*path, k))


def changed(x, rng, odd=ODD):
    "A container with some of its values replaced, removed or doubled."
    x = copy.deepcopy(x)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        path = rng.choice(list(nodes(x)))
        if not path:
            return rng.choice(odd)
        holder = x
        for k in path[:-1]:
            holder = holder[k]
        how = rng.random()
        if how < 0.7:
            holder[path[-1]] = copy.deepcopy(rng.choice(odd))  # its own, to be changed again
        elif how < 0.85:
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.append(holder[path[-1]])
        else:
            holder[f'{path[-1]}s'] = holder[path[-1]]
    return x


def bent(data: bytes, rng) -> bytes:
    "Bytes with some flipped, replaced by numbers, cut out, doubled or cut off."
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        i = (
            rng.randrange(len(data) + 1)
            if rng.random() < 0.6
            else rng.randrange(min(len(data), 300) + 1)
        )
        how = rng.random()
        if how < 0.4 and i < len(data):
            data[i] ^= 1 << rng.randrange(8)
        elif how < 0.6:
            number = rng.choice((0, 1, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63))
            data[i : i + 8] = struct.pack('<Q', number)[: rng.choice((1, 2, 4, 8))]
        elif how < 0.75:
            del data[i : i + rng.choice((1, 4, 50))]
        elif how < 0.85:
            data[i:i] = data[i : i + rng.choice((1, 9, 100))]
        elif how < 0.95:
            data[i:i] = rng.choice(
                (b'[' * 3000, b'\0', b'\xff\xfe', b'-9', b'nan', b'"', b'}', b',')
            )
        else:
            del data[i:]
    return bytes(data)


def json_or_bytes(text, rng):
    if rng.random() < 0.3:
        return bent(text.encode(), rng)
    return json.dumps(changed(json.loads(text), rng)).encode()


def table(text, rng):
    if rng.random() < 0.3:
        return bent(text.encode(), rng)
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        if rng.random() < 0.8:
            row[rng.randrange(len(row))] = rng.choice(WORDS)
        else:
            row.append('x') if rng.random() < 0.5 else row.pop()
        if not row:
            row.append('')
    out = io.StringIO()
    with contextlib.suppress(csv.Error):
        csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def alarm(*_):
    raise TimeoutError(f'more than {SECONDS} s')


def one(read, path) -> tuple[str, str]:  # outcome, and a traceback where it is a bad one
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(path)
        return 'read', ''
    except MsagcnError as e:
        said = str(e)
        if '\n' in said or (path.name not in said and path.stem not in said):
            return 'another message', said[:300]
        return 'refused', ''
    except (Exception, TimeoutError) as e:
        return f'{type(e).__name__}', traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
