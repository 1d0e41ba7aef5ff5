// One view: of a run or all seeds of a recipe, a clip, a layer.

import {bounds, clamp, extent, nearest, numbers, range, slice, strengths, sum} from './explore_numbers.js';
import {correlationOf, meanOf, sharedByChance, sharedOf, signsOf, spreadOf} from './explore_seeds.js';
import {fit, h} from './explore_sheet.js';
import {
  hints, ofEntry, ofJoint, ofMatrix, ofSeeds, span, stateOfFrames, stateOfGate, stateOfPart, verdict,
  verdictText,
} from './explore_words.js';
import {drawSkeleton, heightOfSkeleton} from './explore_skeleton.js';
import {colouring, drawMatrix, layOut, paint} from './explore_matrix.js';
import {listen} from './explore_pointer.js';
import {drawTime, heightOfTime, nowOf} from './explore_time.js';

export const VIEW = ['layer', 'subset', 'stage', 'head', 'part', 'body', 'seeds'];   // shared by linked views
export const SEEDS = ['mean', 'standard deviation', 'agreement of sign', 'shared by all'];

export function membersOf(data, i) {           // of choice i of `run`: one run, or those of a group
  const runs = data.runs.length;
  return i < runs ? [data.runs[i]] : data.groups[i - runs].runs.map(k => data.runs[k]);
}

export function listsOf(data, view) {          // what can be chosen, given what is chosen
  const run = membersOf(data, view.run)[0], clip = data.clips[view.clip];
  const layer = run.layers[clamp(view.layer, 0, run.layers.length - 1)], {axes} = layer;
  const parts = run.clips[view.clip].layers[run.layers.indexOf(layer)].parts;
  return {
    run: [...data.runs.map(r => r.id), ...data.groups.map(g => g.name)],
    clip: data.clips.map(c => `${data.classes[c.label]} (${c.name})`),
    layer: run.layers.map(l => l.name), subset: axes[0][1], stage: axes[1][1], head: axes[2][1],
    part: [...Object.keys(parts), 'final'], body: range(clip.bodies).map(b => `body ${b + 1}`),
    seeds: view.run < data.runs.length ? SEEDS.slice(0, 1) : SEEDS,
  };
}

export const lowest = (key, list) =>           // -1 stands for the mean over all
  ((key === 'stage' || key === 'head') && list.length > 1 ? -1 : 0);

const inAll = words => (words.every(w => w === words[0]) ? words[0] : '');     // what all seeds have

export class Pane {
  constructor(owner, index) {
    Object.assign(this, {owner, data: owner.data, index, count: {edges: 0, rings: 0, from: 0, to: 0}});
    const select = k => h('select', {'data-control': k,
      onchange: e => owner.choose(index, k, Number(e.target.value))});
    this.selects = Object.fromEntries(['run', 'clip', ...VIEW].map(k => [k, select(k)]));
    this.labels = {};
    const label = k => (this.labels[k] = h('label', {}, h('span', {textContent: k}), this.selects[k]));
    this.verdict = h('p', {className: 'mx-verdict'});
    this.said = h('div', {className: 'mx-said'});
    this.body3d = h('canvas', {tabIndex: 0, role: 'img', 'data-canvas': 'skeleton'});
    this.heat = h('canvas', {tabIndex: 0, role: 'img', 'data-canvas': 'matrix'});
    this.line = h('canvas', {role: 'img', 'data-canvas': 'time'});
    this.parts = h('div', {className: 'mx-parts', role: 'group', 'aria-label': 'parts of the adjacency'});
    this.element = h('section', {className: 'mx-pane', 'aria-label': index ? 'right view' : 'view'},
      h('div', {className: 'mx-row'}, ...['run', 'clip', ...VIEW].map(label)), this.verdict,
      h('div', {className: 'mx-figures'}, h('div', {}, this.body3d), h('div', {}, this.heat),
        h('div', {}, this.line, this.said)), this.parts);
    listen(this);
  }
  get view() { return this.owner.state.panes[this.index]; }
  get members() { return membersOf(this.data, this.view.run); }
  get run() { return this.members[0]; }
  get clip() { return this.data.clips[this.view.clip]; }
  get layer() { return this.run.layers[this.view.layer]; }
  get inside() { return this.run.clips[this.view.clip]; }
  get partName() { return this.lists.part[this.view.part]; }
  get runName() { return this.lists.run[this.view.run]; }
  array(i) { return this.data.arrays[i]; }

  // -- what does not depend on time
  options() {
    const v = this.view;
    v.run = clamp(v.run, 0, this.data.runs.length + this.data.groups.length - 1);
    v.clip = clamp(v.clip, 0, this.data.clips.length - 1);
    for (const k of VIEW) {                    // in this order: later ones depend on earlier ones
      this.lists = listsOf(this.data, v);
      v[k] = clamp(v[k], lowest(k, this.lists[k]), this.lists[k].length - 1);
    }
    for (const [k, select] of Object.entries(this.selects)) {
      const low = lowest(k, this.lists[k]), texts = low < 0 ? ['mean', ...this.lists[k]] : this.lists[k];
      if (select.textContent !== texts.join('')) {
        select.replaceChildren(...texts.map((t, i) => h('option', {value: i + low, textContent: t})));
      }
      select.value = v[k];
      select.disabled = texts.length < 2;
      this.labels[k].style.display = (k === 'body' || k === 'seeds') && texts.length < 2 ? 'none' : '';
    }
    ['subset', 'stage', 'head'].forEach((k, i) => {
      this.labels[k].firstChild.textContent = this.layer.axes[i][0];
    });
  }
  compute() {
    this.options();
    const v = this.view, V = this.data.skeleton.joints.length, seen = this.members.map(r => r.clips[v.clip]);
    const inLayer = seen.map(s => s.layers[v.layer]), several = seen.length > 1;
    this.bySeed = inLayer.map(l => {
      const parts = Object.fromEntries(Object.entries(l.parts).map(([k, i]) => [k, slice(this.array(i), v)]));
      const terms = Object.values(parts);
      return {...parts, final: Float32Array.from({length: V * V}, (_, k) => sum(terms.map(m => m[k])))};
    });
    const names = this.lists.part, ranges = this.layer.ranges;
    this.matrices = Object.fromEntries(names.map(k => [k, meanOf(this.bySeed.map(m => m[k]))]));
    const state = k => inAll(this.bySeed.map(m => stateOfPart(m[k], ranges[k])));
    this.states = Object.fromEntries(names.map(k => [k, state(k)]));
    this.A = this.matrices[this.partName];
    this.scaling = strengths(this.A, V);
    const list = this.bySeed.map(m => m[this.partName]);
    this.seeds = several ? {list, spread: spreadOf(list), signs: signsOf(list)} : null;
    if (several) this.seeds.correlation = correlationOf(list, V);
    this.share();
    this.P = this.array(this.inside.p);
    this.K = this.P.shape[1];
    this.p = meanOf(seen.map(s => numbers(this.array(s.p))));
    this.end = this.p.slice(this.p.length - this.K);
    this.order = range(this.K).sort((a, b) => this.end[b] - this.end[a]).slice(0, 5);
    if (!this.order.includes(this.clip.label)) this.order[4] = this.clip.label;
    this.about = several ? `Mean of ${seen.length} seeds. ${this.run.about}` : this.run.about;
    this.frames(inLayer);
    const [a, b] = bounds(this.data, this.clip), wide = b.map((x, d) => x - a[d]);
    this.middle = a.map((x, d) => (x + b[d]) / 2);
    this.size = [Math.hypot(wide[0], wide[2]) || 1, Math.hypot(wide[1], 0.3 * wide[2]) || 1];
    this.tellVerdict();
    this.tiles();
  }
  share() {                                    // what all seeds have, above the threshold
    const {threshold} = this.owner.state, {twentieth, strongest} = this.scaling;
    this.least = threshold === null ? twentieth : threshold / 100 * strongest;
    if (!this.seeds) { this.shown = this.A; return; }
    const V = this.data.skeleton.joints.length, {list, spread, signs} = this.seeds;
    const shared = sharedOf(list, this.least), between = (_, k) => k % (V + 1);
    const only = this.A.map((x, k) => (shared[k] ? x : 0));
    Object.assign(this.seeds, {shared, chance: sharedByChance(list, this.least, V), only,
      sharedCount: sum([...shared].filter(between))});
    this.shown = [this.A, spread, signs, only][this.view.seeds];
  }
  frames(inLayer) {                            // weights of frames; the mean over seeds
    const of = key => {                        // of the body that is shown
      if (inLayer[0][key] === undefined) return null;
      return inLayer.map(l => {
        const a = this.array(l[key]), x = numbers(a), each = x.length / a.shape[0];
        const b = Math.min(this.view.body, a.shape[0] - 1);
        return x.subarray(b * each, (b + 1) * each);
      });
    };
    const [frames, gates] = [of('frames'), of('gate')];
    this.W = frames && meanOf(frames);
    this.gate = gates && meanOf(gates);
    const T = this.T = this.gate?.length ?? Math.round(Math.sqrt(this.W?.length ?? 0));
    const mean = t => sum([...this.W.subarray(t * T, (t + 1) * T)]) / T;
    this.weight = this.W && Float32Array.from({length: T}, (_, t) => mean(t));
    this.states.frames = frames ? inAll(frames.map(W => stateOfFrames(W, T))) : '';
    this.states.gate = gates ? inAll(gates.map(stateOfGate)) : '';
    this.ofFrames = this.W && this.laneRange('frames', this.W);
    this.ofGate = this.gate && this.laneRange('gate', this.gate);
  }
  laneRange(part, values) {                    // of colours: all that it can be, or all that it is
    const own = extent(values), [low, high] = this.layer.ranges[part];
    const some = own.high - own.low > 0.01 * (high - low);      // of one value nothing can be stretched
    if (this.owner.state.stretch && some) return {low: own.low, high: own.high, signed: false};
    return {low, high, signed: false};
  }
  get laneCount() { return (this.W ? 2 : 0) + (this.gate ? 1 : 0); }
  lanes(now) {                                 // of weights of frames; the first differs from frame to frame
    const {T, W, states, weight: mean} = this, list = [];
    if (W) {
      const column = Float32Array.from({length: T}, (_, t) => W[t * T + now]);
      const of = {range: this.ofFrames, state: states.frames};
      list.push({name: 'into this frame', kind: 'frame-weight', values: column, ...of},
        {name: 'into all frames', kind: 'mean-frame-weight', values: mean, ...of});
    }
    if (this.gate) {
      const of = {range: this.ofGate, state: states.gate};
      list.push({name: 'frame gate', kind: 'frame-gate', values: this.gate, ...of});
    }
    return list;
  }
  rangeOf(name, stretch) {                     // of colours, of a part
    const V = this.data.skeleton.joints.length, {strongest, low} = strengths(this.matrices[name], V);
    const bounds = this.members.map(r => r.layers[this.view.layer].ranges[name]);
    if (stretch) return {low: 0, high: strongest, signed: low < -1e-6, words: 'colours: this matrix alone'};
    if (!bounds[0]) {
      const {stage, head, subset} = this.view, mean = stage < 0 && head < 0;
      const high = this.data.scales[this.run.model][name][mean ? 'mean' : 'each'][subset];
      const words = `colours: strongest ${mean ? 'mean' : 'connection'} of all layers`;
      return {low: 0, high, signed: true, words};
    }
    const least = Math.min(...bounds.map(b => b[0])), high = Math.max(...bounds.map(b => b[1]));
    const most = Math.max(-least, high), words = `colours: ${bounds[0][2]}, ${span({low: least, high})}`;
    if (least < 0) return {low: -most, high: most, signed: true, words};
    return {low: least, high, signed: false, words};
  }
  range() {                                    // of the large picture; two views of one part have one
    const {stretch} = this.owner.state, alike = this.owner.alike() ? this.owner.panes : [this];
    const all = alike.map(p => p.rangeOf(p.partName, stretch)), high = Math.max(...all.map(r => r.high));
    const {words} = all[0], signed = all.some(r => r.signed);
    if (this.seeds && this.view.seeds === 1) {
      const most = stretch ? extent(this.seeds.spread).high || 1 : high;
      return {low: 0, high: most, signed: false, grey: true, words: 'grey: standard deviation over seeds'};
    }
    if (this.seeds && this.view.seeds === 2) {
      const of = 'grey: share of seeds with the commoner sign';
      return {low: 0.5, high: 1, signed: false, grey: true, words: of};
    }
    return {low: signed ? -high : Math.min(...all.map(r => r.low)), high, signed, words};
  }
  title() {
    const v = this.view, l = this.lists, axes = this.layer.axes;
    const mean = k => `mean ${axes[k === 'stage' ? 1 : 2][0]}`;
    const at = k => (v[k] < 0 ? mean(k) : l[k].length > 1 ? l[k][v[k]] : '');
    const seeds = this.seeds ? `${SEEDS[v.seeds]} (${this.seeds.list.length} seeds)` : '';
    const words = [seeds, this.partName, l.layer[v.layer], l.subset[v.subset], at('stage'), at('head')];
    return words.filter(Boolean).join(' · ');
  }
  tellVerdict() {
    const {truth, best, right, percent} = verdict(this);
    const judged = right ? '✓ right' : h('span', {className: 'mx-wrong', textContent: '✗ wrong'});
    const name = textContent => h('b', {textContent});
    this.verdict.replaceChildren('Is ', name(truth), ', taken for ', name(best), ` with ${percent}: `, judged,
      `. ${this.about}`);
  }
  lines() {                                    // what is drawn, in words
    const {joint, column} = this.owner, seeds = this.seeds ? [ofSeeds(this)] : [];
    if (joint < 0) return [...seeds, ofMatrix(this)];
    return column < 0 ? [...ofJoint(this, joint), ...seeds] : [ofEntry(this, joint, column), ...seeds];
  }
  say() {
    const lines = [...this.lines(), ...(this.owner.joint < 0 ? hints(this) : [])], {clip, frame} = this;
    this.said.replaceChildren(...lines.map(textContent => h('p', {textContent})));
    this.heat.setAttribute('aria-label', 'Adjacency matrix, rows are source joints, columns target joints: '
      + `${this.title()}. ${lines.join(' ')} Arrow keys move from entry to entry.`);
    this.body3d.setAttribute('aria-label', `Skeleton of clip ${clip.name}, frame ${frame + 1} of `
      + `${clip.frames}, with ${this.count.edges} connections of the matrix. `
      + 'Arrow keys turn it, plus and minus zoom, space plays.');
  }

  // -- small pictures of the parts
  tile(name, m, rows, range, words, more) {
    const canvas = h('canvas', {width: 96, height: 96, 'data-tile': name}), c = canvas.getContext('2d');
    canvas.picture = paint(m, rows, colouring(range, this.data.colours, this.owner.dark, range.grey));
    c.imageSmoothingEnabled = false;
    c.drawImage(canvas.picture, 0, 0, 96, 96);
    const attributes = {className: 'mx-tile', title: `${name}: ${words}`, ...more};
    return h(more ? 'button' : 'div', attributes, canvas, name, h('small', {textContent: words}));
  }
  choiceTile(name, m, range, key, i, state) {
    const words = state || span(extent(m)), V = this.data.skeleton.joints.length;
    const onclick = () => this.owner.choose(this.index, key, i), chosen = String(i === this.view[key]);
    const attributes = {type: 'button', 'aria-pressed': chosen, 'aria-label': `show ${name}, ${words}`};
    return this.tile(name, m, V, range, words, {...attributes, onclick});
  }
  tiles() {
    const {stretch} = this.owner.state, buttons = [...this.parts.querySelectorAll('button')];
    const old = buttons.indexOf(this.parts.getRootNode().activeElement), {seeds} = this;
    const ofPart = (name, i) => {
      const range = this.rangeOf(name, stretch);
      return this.choiceTile(name, this.matrices[name], range, 'part', i, this.states[name]);
    };
    const shown = this.lists.part.map(ofPart);
    if (this.W) {
      const words = this.states.frames || span(extent(this.W));
      shown.push(this.tile('frames', this.W, this.T, this.ofFrames, words));
      this.frameTile = shown.at(-1).firstChild;
    } else this.frameTile = null;
    if (seeds) {
      const own = this.rangeOf(this.partName, stretch), grey = {low: 0, high: own.high, grey: true};
      const share = {low: 0.5, high: 1, grey: true};
      const pictures = [[this.A, own], [seeds.spread, grey], [seeds.signs, share], [seeds.only, own]];
      shown.push(...pictures.map(([m, of], i) => this.choiceTile(SEEDS[i], m, of, 'seeds', i)));
      shown.at(-SEEDS.length).classList.add('mx-apart');
    }
    this.parts.replaceChildren(...shown);
    if (old >= 0) this.parts.querySelectorAll('button')[old]?.focus();
  }

  // -- time
  get frame() { return Math.round(this.owner.state.time * (this.clip.frames - 1)); }
  get step() { return Math.max(this.inside.at.findLastIndex(n => n <= this.frame + 1), 0); }
  here(t, body) { return this.clip.there[t * this.clip.bodies + body] === '1'; }
  where(t) {                                   // in the clip, of a frame of the layer
    const s = this.inside.seen, n = this.T || s.length;
    return s[clamp(Math.round(t * s.length / n), 0, s.length - 1)];
  }
  get now() { return nowOf(this); }            // the nearest of the layer's frames
  frameOf(i) {                                 // frame i of a window whose middle is now
    const s = this.inside.seen, {window, spacing} = this.layer;
    const n = nearest(s, this.frame), at = s[clamp(n + (i - (window - 1) / 2) * spacing, 0, s.length - 1)];
    return clamp(Math.round(this.frame + at - s[n]), 0, this.clip.frames - 1);
  }

  // -- drawing: 0 what moves, 1 also what is lit, 2 all
  arrange() {                                  // heights, for the width and the window
    const above = this.heat.getBoundingClientRect().top - this.owner.root.getBoundingClientRect().top;
    const V = this.data.skeleton.joints.length, taken = Math.max(270, above + 64);
    const most = clamp(window.innerHeight - taken, 300, 760);
    const matrix = layOut(V, this.heat.clientWidth || 400, most).height, w = this.body3d.clientWidth || 300;
    const beside = this.body3d.offsetTop === this.heat.offsetTop;
    const three = beside && this.line.offsetTop === this.heat.offsetTop;
    const rest = heightOfTime(this, this.line.clientWidth || 400, 0) + 110;
    const curves = three ? 84 + matrix - rest : 110;
    const time = heightOfTime(this, this.line.clientWidth || 400, curves);
    this.heights = {most, skeleton: beside ? matrix : heightOfSkeleton(w, most), curves, time};
  }
  draw(level) {
    if (level === 2) this.arrange();
    const {most, skeleton, curves, time} = this.heights;
    if (level >= 1) {
      this.share();
      const V = this.data.skeleton.joints.length, long = layOut(V, this.heat.clientWidth || 400, most).height;
      const [c, w] = fit(this.heat, long);
      this.cell = drawMatrix(this, c, w, most);
    }
    const [s, width, height] = fit(this.body3d, skeleton);
    this.spots = drawSkeleton(this, s, width, height);
    const [t, long] = fit(this.line, time);
    this.plot = drawTime(this, t, long, curves);
    this.drawFrameTile();
    if (level >= 1) this.say();
    if (!this.owner.state.playing) this.line.setAttribute('aria-label', this.probabilities());
  }
  drawFrameTile() {
    const c = this.frameTile?.getContext('2d'), k = 96 / this.T;
    if (!c) return;
    c.imageSmoothingEnabled = false;
    c.drawImage(this.frameTile.picture, 0, 0, 96, 96);
    c.strokeStyle = this.owner.colours.ink;
    c.lineWidth = 1;
    c.strokeRect(this.now * k, 0.5, k, 95);
  }
  probabilities() {
    const {step, K} = this, percent = k => (100 * this.p[step * K + k]).toFixed(0);
    const said = k => `${this.data.classes[k]} ${percent(k)} percent`;
    const gate = this.states.gate ? ` The frame gate is ${this.states.gate}.` : '';
    const list = this.order.map(said).join(', ');
    return `After ${this.inside.at[step]} of ${this.clip.frames} frames: ${list}.${gate}`;
  }

  read() {                                     // the numbers drawn, for tests and for the curious
    const c = this.clip, n = c.bodies * this.data.skeleton.joints.length * 3, list = a => a && Array.from(a);
    const {seeds, K, step} = this;
    return {matrix: list(this.A), shown: list(this.shown), range: this.range(), title: this.title(),
      parts: Object.fromEntries(Object.entries(this.matrices).map(([k, m]) => [k, list(m)])),
      frames: list(this.W), gate: list(this.gate), states: this.states, frame: this.frame,
      window: range(this.layer.window).map(i => this.frameOf(i)), now: this.T ? this.now : null,
      edges: this.count.edges, count: this.count, least: this.least, verdict: verdictText(this),
      said: this.lines(), seeds: seeds && {...seeds, list: seeds.list.map(list), spread: list(seeds.spread),
        signs: list(seeds.signs), shared: list(seeds.shared), only: list(seeds.only)},
      pose: list(numbers(this.array(c.pose)).subarray(this.frame * n, (this.frame + 1) * n)),
      probabilities: list(this.p.subarray(step * K, (step + 1) * K))};
  }
}
