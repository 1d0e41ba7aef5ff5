// Packed arrays, slices of them, and how strong their entries are.

export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
export const range = n => [...Array(n).keys()];
export const sum = list => list.reduce((total, x) => total + x, 0);
export const nearest = (list, x) =>
  list.reduce((best, y, i) => (Math.abs(y - x) < Math.abs(list[best] - x) ? i : best), 0);

export function format(x) {
  const size = Math.abs(x);
  if (size >= 100) return x.toFixed(0);
  if (size >= 0.0995 || x === 0) return x.toFixed(2);
  return size < 0.0005 ? x.toExponential(0) : x.toPrecision(2);
}

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;

export function numbers(a) {                   // a packed array's values; unpacked when first asked for
  if (a.values) return a.values;
  const q = a.bits === 8 ? new Uint8Array(bytes(a.q)) : new Uint16Array(bytes(a.q));
  const scale = new Float32Array(bytes(a.scale));
  const size = q.length / (scale.length / 2) || 1;     // entries of a matrix, which share a scale
  a.values = Float32Array.from(q, (x, i) => {
    const m = 2 * Math.floor(i / size);
    return scale[m] + scale[m + 1] * x;
  });
  return a.values;
}

export const picked = (n, i) =>                // -1: all, for their mean
  n === 1 ? [0] : i < 0 ? range(n) : [Math.min(i, n - 1)];

export function slice(a, view) {               // (bodies, subsets, stages, heads, V, V) -> V·V
  const [B, S, G, H, V] = a.shape, x = numbers(a), out = new Float32Array(V * V);
  const b = Math.min(view.body, B - 1), s = Math.min(view.subset, S - 1);     // an axis of one serves all
  const stages = picked(G, view.stage), heads = picked(H, view.head);
  for (const g of stages) for (const i of heads) {
    const at = (((b * S + s) * G + g) * H + i) * V * V;
    for (let k = 0; k < V * V; k++) out[k] += x[at + k] / (stages.length * heads.length);
  }
  return out;
}

export function extent(m) {
  let low = Infinity, high = -Infinity;
  for (const x of m) { if (x < low) low = x; if (x > high) high = x; }
  return {low, high, most: Math.max(high, -low) || 1};
}

export function strengths(m, V) {              // of the connections between different joints
  const others = Float32Array.from(m, (x, i) => (i % (V + 1) ? Math.abs(x) : 0));
  const sorted = others.slice().sort(), all = extent(m), strongest = sorted.at(-1) || all.most;
  const twentieth = sorted.at(-20) || strongest;
  return {...all, strongest, twentieth, at: others.indexOf(sorted.at(-1))};
}

export function bounds(data, clip) {           // lowest and highest x, y, z of bodies that are there
  if (clip.box) return clip.box;
  const x = numbers(data.arrays[clip.pose]), row = 3 * data.skeleton.joints.length;
  const low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
  for (let k = 0; k < x.length; k++) if (clip.there[Math.floor(k / row)] === '1') {
    low[k % 3] = Math.min(low[k % 3], x[k]);
    high[k % 3] = Math.max(high[k % 3], x[k]);
  }
  clip.box = [low, high];
  return clip.box;
}
