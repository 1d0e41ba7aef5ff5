// How far networks of one recipe and different seeds agree on a matrix.

import {range, sum} from './explore_numbers.js';

export function meanOf(list) {                 // arrays of one length -> their mean
  if (list.length === 1) return list[0];
  return Float32Array.from(list[0], (_, k) => sum(list.map(m => m[k])) / list.length);
}

export function spreadOf(list) {               // standard deviation over seeds, with n - 1
  const mean = meanOf(list);
  const square = k => sum(list.map(m => (m[k] - mean[k]) ** 2));
  return Float32Array.from(mean, (_, k) => Math.sqrt(square(k) / (list.length - 1)));
}

export function signsOf(list) {                // share of the seeds that have the more frequent sign
  const share = k => {
    const plus = list.filter(m => m[k] > 0).length, minus = list.filter(m => m[k] < 0).length;
    return Math.max(plus, minus) / list.length;
  };
  return Float32Array.from(list[0], (_, k) => share(k));
}

export function sharedOf(list, least) {        // 1 where each seed has at least so much, of one sign
  const shared = k => list.every(m => m[k] >= least) || list.every(m => m[k] <= -least);
  return Uint8Array.from(list[0], (_, k) => Number(least > 0 && shared(k)));
}

export function sharedByChance(list, least, V) {     // connections, if the seeds knew nothing of each other
  const pairs = V * (V - 1), between = m => m.filter((_, k) => k % (V + 1));
  const product = side => list.reduce((p, m) => p * between(m).filter(side).length / pairs, 1);
  return pairs * (product(x => x >= least) + product(x => x <= -least));
}

export function correlationOf(list, V) {       // of connections between joints; mean over pairs of seeds
  const centred = list.map(m => {
    const x = m.filter((_, k) => k % (V + 1)), mean = sum([...x]) / x.length;
    return x.map(y => y - mean);
  });
  const dot = (a, b) => a.reduce((total, x, k) => total + x * b[k], 0);
  const of = (a, b) => dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);
  const pairs = range(list.length).flatMap(i => range(i).map(j => of(centred[i], centred[j])));
  return sum(pairs) / pairs.length;
}
