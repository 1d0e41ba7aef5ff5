// What is drawn, in words: for the line beside it, for files, and for those who hear it.

import {extent, format, range} from './explore_numbers.js';

const NEARLY = 0.01;                           // of the range that a sigmoid has

export function stateOfGate(values) {          // of sigmoids: whether anything passes at all
  const {low, high} = extent(values), n = values.length, shut = values.filter(x => x < NEARLY).length;
  if (shut === n) return 'closed in every frame';
  if (low > 1 - NEARLY) return 'open in every frame';
  if (high - low < NEARLY) return 'dead: the same in every frame';
  return shut ? `closed in ${shut} of ${n} frames` : '';
}

export function stateOfFrames(W, T) {          // of sigmoids of products that are not negative
  const idle = range(T).filter(t => extent(W.subarray(t * T, (t + 1) * T)).high < 0.5 + NEARLY / 2).length;
  if (idle === T) return 'dead: each frame counts half';
  return idle ? `${idle} of ${T} frames count half everywhere` : '';
}

export function stateOfPart(m, bounded) {      // of a matrix
  const {low, high} = extent(m);
  if (Math.max(-low, high) < 1e-6) return 'zero in every entry';
  if (high - low < NEARLY * Math.max(Math.abs(low), Math.abs(high))) return 'dead: the same in every entry';
  return bounded && high < NEARLY * bounded[1] ? 'closed: near zero everywhere' : '';
}

export const span = ({low, high}) => `${format(low)} to ${format(high)}`;

function strongestOf(pane, start, step) {      // joints and numbers along a row or a column of the matrix
  const A = pane.A, names = pane.data.skeleton.joints;
  const size = v => Math.abs(A[start + v * step]);
  const order = range(names.length).sort((a, b) => size(b) - size(a));
  return order.slice(0, 4).map(v => `${names[v]} ${format(A[start + v * step])}`).join(', ');
}

export function ofEntry(pane, u, v) {
  const names = pane.data.skeleton.joints, k = u * names.length + v;
  const words = `Source joint ${names[u]}, target joint ${names[v]}: ${format(pane.A[k])}`;
  if (!pane.seeds) return `${words}.`;
  return `${words} in the mean of the seeds, standard deviation ${format(pane.seeds.spread[k])}; `
    + `${pane.seeds.list.map(m => format(m[k])).join(', ')} in the seeds.`;
}

export function ofJoint(pane, j) {             // its row and its column
  const names = pane.data.skeleton.joints, V = names.length;
  return [`${names[j]} as source joint (row), to: ${strongestOf(pane, j * V, 1)}.`,
    `${names[j]} as target joint (column), from: ${strongestOf(pane, j, V)}.`];
}

export function ofMatrix(pane) {
  const names = pane.data.skeleton.joints, V = names.length, {at} = pane.scaling;
  const [source, target] = [names[Math.floor(at / V)], names[at % V]];
  const strongest = `Strongest: from ${source} to ${target}, ${format(pane.A[at])}.`;
  const state = pane.states[pane.partName];
  return state ? `${pane.partName} is ${state}.` : strongest;
}

export function hints(pane) {                  // what one may do; not for files
  const {high} = pane.range(), used = extent(pane.shown).most / high;
  const pale = `It uses ${format(100 * used)} % of the colours: "stretch colours" shows more.`;
  return [...(used < 0.15 ? [pale] : []), 'Point at a joint or an entry, or choose a joint.'];
}

export function ofSeeds(pane) {
  const {seeds} = pane, V = pane.data.skeleton.joints.length;
  const apart = seeds.list.length > 2 ? 'mean over pairs of seeds' : 'of the two seeds';
  const group = pane.view.head >= 0 && pane.layer.axes[2][0] === 'channel group'
    ? ' A channel group of one seed need not be that group of another: compare their mean.' : '';
  const of = seeds.sharedCount === 1 ? 'connection' : 'connections';
  return `All ${seeds.list.length} seeds share ${seeds.sharedCount} ${of} of at least ${format(pane.least)} `
    + `with one sign (${format(seeds.chance)} if they knew nothing of each other); `
    + `correlation of their ${V * (V - 1)} connections ${format(seeds.correlation)} (${apart}).${group}`;
}

export function counted(pane) {                // of what is drawn on the skeleton, and nothing else
  const {edges, rings, from, to} = pane.count, {joint} = pane.owner, name = pane.data.skeleton.joints[joint];
  const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
  if (pane.owner.column >= 0) return 'the entry pointed at';
  const parts = joint < 0 ? '' : ` (${from} from ${name}, ${to} to it)`;
  const loops = rings ? `, ${plural(rings, 'ring')}` : '';
  return `${plural(edges, 'connection')} of at least ${format(pane.least)}${parts}${loops}`;
}

export function verdict(pane) {                // true class, best class, its probability, right?
  const name = c => pane.data.classes[c], {label} = pane.clip, [best] = pane.order;
  return {truth: name(label), best: name(best), right: best === label,
    percent: `${(100 * pane.end[best]).toFixed(0)} %`};
}

export function verdictText(pane) {
  const {truth, best, right, percent} = verdict(pane);
  const judged = right ? '✓ right' : '✗ wrong';
  return `Is ${truth}, taken for ${best} with ${percent}: ${judged}. ${pane.about}`;
}
