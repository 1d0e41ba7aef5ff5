// What a network looks through, on moving skeletons. The live widget and the page on disk are both drawn by this one module.
// `explore(element, data)` draws into an element what `msagcn.explore` packs, and leaves there `element.explorer = {state, set, read}`.

const CSS = `
.mx { --ink: #1c1c1c; --soft: #5c5c5c; --line: #d4d4d4; --back: #fff; --tile: #f6f6f6; --accent: #0060a0;
  --left: #0072b2; --right: #d55e00; --trunk: #666; --plus: #b35806; --minus: #542788;
  font: 13px/1.35 system-ui, sans-serif; color: var(--ink); background: var(--back); text-align: left; container-type: inline-size }
.mx[data-dark] { --ink: #e6e6e6; --soft: #a4a4a4; --line: #444; --back: #161616; --tile: #202020; --accent: #7cc0ff;
  --left: #56b4e9; --right: #e69f00; --trunk: #aaa; --plus: #fdb863; --minus: #b2abd2 }
.mx * { box-sizing: border-box } .mx canvas { display: block; width: 100%; touch-action: none; border-radius: 3px }
.mx-bar, .mx-row { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: end; margin: 0 0 6px }
.mx-bar { align-items: center; padding: 6px 8px; background: var(--tile); border-radius: 5px; position: sticky; top: 0; z-index: 2 }
.mx label { display: inline-flex; flex-direction: column; font-size: 11px; color: var(--soft) } .mx-bar label { flex-direction: row; gap: 5px; align-items: center }
.mx select, .mx button { font: inherit; font-size: 13px; color: var(--ink); background: var(--back); border: 1px solid var(--line); border-radius: 4px;
  padding: 2px 5px; max-width: 19em } .mx-bar button { min-width: 5.5em }
.mx select:disabled { color: var(--soft); opacity: .7 } .mx input { accent-color: var(--accent) }
.mx :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px } .mx-scrub { flex: 1 1 12em; min-width: 8em } .mx-time { min-width: 7.5em; font-variant-numeric: tabular-nums; color: var(--soft) }
.mx-panes { display: grid; grid-template-columns: 1fr; gap: 18px } .mx-panes.two { grid-template-columns: 1fr 1fr }
.mx-pane { min-width: 0 } .mx-figures { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 14px; align-items: start }
.two .mx-figures { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 6px } .mx-figures > div, .mx-tile { min-width: 0 }
@container (max-width: 1080px) { .two .mx-figures { grid-template-columns: 1fr } }
@container (max-width: 640px) { .mx-panes.two, .mx-figures { grid-template-columns: 1fr } }
.mx-verdict, .mx-said { margin: 0 0 5px; min-height: 1.35em } .mx-said { color: var(--soft); font-variant-numeric: tabular-nums; min-height: 2.7em }
.mx-said b, .mx-verdict b { color: var(--ink) } .mx-parts { display: flex; flex-wrap: wrap; gap: 8px; margin: 4px 0 8px }
.mx .mx-tile { display: block; padding: 4px; background: var(--tile); border: 1px solid var(--line); border-radius: 4px; text-align: left;
  font-size: 11px; flex: 1 1 84px; max-width: 150px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis }
.mx .mx-tile[aria-pressed=true] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent) }
.mx-tile small { display: block; color: var(--soft); font-size: 10px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.mx-tile canvas { image-rendering: pixelated } .mx-gallery { display: flex; flex-wrap: wrap; gap: 5px; max-height: 260px; overflow: auto; margin: 0 0 8px }
.mx-gallery .mx-tile { flex: 0 0 104px } .mx-help { color: var(--soft); margin: 8px 0 0 } .mx-help summary { cursor: pointer }
.mx-heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }`;

const LINES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];     // Okabe and Ito
const VIEW = ['layer', 'subset', 'stage', 'head', 'part', 'body'];                  // what two linked views share
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const format = x => Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= .0995 || x === 0 ? x.toFixed(2) : x.toPrecision(2);
function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) k.startsWith('on') ? e.addEventListener(k.slice(2), v) : k in e ? e[k] = v : e.setAttribute(k, v);
  e.append(...children); return e;
}

// ---- numbers
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
function numbers(a) {                                  // a packed array; unpacked when first asked for
  if (a.values) return a.values;
  const q = a.bits === 8 ? new Uint8Array(bytes(a.q)) : new Uint16Array(bytes(a.q)), scale = new Float32Array(bytes(a.scale));
  const size = q.length / (scale.length / 2) || 1;     // entries of a matrix, which share a scale
  return a.values = Float32Array.from(q, (x, i) => { const m = 2 * Math.floor(i / size); return scale[m] + scale[m + 1] * x; });
}
const range = n => [...Array(n).keys()], nearest = (list, x) => list.reduce((a, y, i) => Math.abs(y - x) < Math.abs(list[a] - x) ? i : a, 0);
const picked = (n, i) => n === 1 ? [0] : i < 0 ? range(n) : [Math.min(i, n - 1)];      // -1: all, for their mean
function slice(a, view) {                              // (bodies, subsets, stages, heads, V, V) -> V·V; an axis of one serves for all
  const [B, S, G, H, V] = a.shape, x = numbers(a), out = new Float32Array(V * V);
  const b = Math.min(view.body, B - 1), s = Math.min(view.subset, S - 1), gs = picked(G, view.stage), hs = picked(H, view.head);
  for (const g of gs) for (const i of hs) {
    const at = (((b * S + s) * G + g) * H + i) * V * V;
    for (let k = 0; k < V * V; k++) out[k] += x[at + k] / (gs.length * hs.length);
  }
  return out;
}
function extent(m) {
  const low = Math.min(...m), high = Math.max(...m);
  return {low, high, signed: low < -1e-6, most: Math.max(high, -low) || 1};
}
function scale(m, V) {                                 // as far as joints listen to others; what they keep of themselves may lie above
  const others = Float32Array.from(m, (x, i) => i % (V + 1) ? Math.abs(x) : 0), sorted = others.slice().sort(), all = extent(m);
  const strongest = sorted.at(-1) || all.most, twentieth = sorted.at(-20) || strongest;
  return {...all, strongest, twentieth, at: others.indexOf(sorted.at(-1)), clipped: strongest < .999 * all.most};
}
const under = (table, t) => `#${table.substr(6 * Math.round(clamp(t, 0, 1) * (table.length / 6 - 1)), 6)}`;
function bounds(data, clip) {                          // of the bodies that are there, over the whole clip: lowest and highest x, y, z
  if (clip.box) return clip.box;
  const x = numbers(data.arrays[clip.pose]), row = 3 * data.skeleton.joints.length, low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
  for (let k = 0; k < x.length; k++) if (clip.there[Math.floor(k / row)] === '1') {
    low[k % 3] = Math.min(low[k % 3], x[k]); high[k % 3] = Math.max(high[k % 3], x[k]);
  }
  return clip.box = [low, high];
}

// ---- canvases
function fit(canvas, height) {                         // as many pixels as the screen has; returns a context in CSS pixels, width, height
  const w = canvas.clientWidth || 300, k = window.devicePixelRatio || 1, size = {width: Math.round(w * k), height: Math.round(height * k)}, c = canvas.getContext('2d');
  if (canvas.width !== size.width || canvas.height !== size.height) { Object.assign(canvas, size); canvas.style.height = `${height}px`; }
  c.setTransform(k, 0, 0, k, 0, 0); c.clearRect(0, 0, w, height); return [c, w, height];
}
function drawLimbs(c, {parents, sides}, colours, at) {  // at: joint -> x, y
  for (const side of ['left', 'right', 'trunk']) {
    c.strokeStyle = colours[side]; c.beginPath();
    parents.forEach((p, v) => { if (sides[v] === side) { c.moveTo(...at(v)); c.lineTo(...at(p)); } });
    c.stroke();
  }
}
function paintMatrix(m, rows, low, high, table) {      // a picture with one pixel an entry
  const columns = m.length / rows, picture = h('canvas', {width: columns, height: rows}), c = picture.getContext('2d');
  const image = c.createImageData(columns, rows);
  for (let i = 0; i < m.length; i++) {
    const rgb = parseInt(under(table, (m[i] - low) / (high - low || 1)).slice(1), 16);
    image.data.set([rgb >> 16, rgb >> 8 & 255, rgb & 255, 255], 4 * i);
  }
  c.putImageData(image, 0, 0); return picture;
}
function isDark(e) {                                   // by what lies behind, so that a notebook's own theme counts
  const [r, g, b, a = 1] = e ? (getComputedStyle(e).backgroundColor.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number) : [];
  return !e ? matchMedia('(prefers-color-scheme: dark)').matches : a > .5 ? r + g + b < 380 : isDark(e.parentElement);
}

// ---- one view: a run, a clip, a layer

class Pane {
  constructor(owner, index) {
    this.owner = owner; this.data = owner.data; this.index = index;
    this.selects = Object.fromEntries(['run', 'clip', ...VIEW].map(k => [k, h('select', {'data-control': k, onchange: e => owner.choose(index, k, Number(e.target.value))})]));
    const label = k => this[k + 'Label'] = h('label', {}, h('span', {textContent: k}), this.selects[k]);
    this.verdict = h('p', {className: 'mx-verdict'}); this.said = h('p', {className: 'mx-said'});
    this.body3d = h('canvas', {tabIndex: 0, role: 'img', 'data-canvas': 'skeleton'});
    this.heat = h('canvas', {tabIndex: 0, role: 'img', 'data-canvas': 'matrix'}); this.line = h('canvas', {role: 'img', 'data-canvas': 'time'});
    this.parts = h('div', {className: 'mx-parts', role: 'group', 'aria-label': 'parts of the adjacency'});
    this.element = h('section', {className: 'mx-pane', 'aria-label': index ? 'right view' : 'view'}, h('div', {className: 'mx-row'}, ...['run', 'clip'].map(label)),
      this.verdict, h('div', {className: 'mx-row'}, ...VIEW.map(label)),
      h('div', {className: 'mx-figures'}, h('div', {}, this.body3d), h('div', {}, this.heat, this.said)), this.parts, this.line);
    this.listen();
  }
  get view() { return this.owner.state.panes[this.index]; }
  get run() { return this.data.runs[this.view.run]; } get clip() { return this.data.clips[this.view.clip]; }
  get layer() { return this.run.layers[this.view.layer]; } get inside() { return this.run.clips[this.view.clip]; }
  get seen() { return this.inside.layers[this.view.layer]; }
  array(i) { return this.data.arrays[i]; }
  options() {                                          // what can be chosen, given what is chosen
    const v = this.view, {bodies} = this.clip, axes = this.layer.axes;
    const lists = {run: this.data.runs.map(r => r.id), clip: this.data.clips.map(c => `${this.data.classes[c.label]} (${c.name})`),
      layer: this.run.layers.map(l => l.name), subset: axes[0][1], stage: axes[1][1], head: axes[2][1],
      part: [...Object.keys(this.seen.parts), 'final'], body: range(bodies).map(b => `body ${b + 1}`)};
    for (const [k, select] of Object.entries(this.selects)) {
      const mean = (k === 'stage' || k === 'head') && lists[k].length > 1, low = mean ? -1 : 0;
      v[k] = clamp(v[k], low, lists[k].length - 1);
      const texts = (mean ? ['mean'] : []).concat(lists[k]);
      if (select.textContent !== texts.join('')) select.replaceChildren(...texts.map((t, i) => h('option', {value: i + low, textContent: t})));
      select.value = v[k]; select.disabled = texts.length < 2; this[k + 'Label'].style.display = k === 'body' && texts.length < 2 ? 'none' : '';
    }
    [['subset', 0], ['stage', 1], ['head', 2]].forEach(([k, i]) => this[k + 'Label'].firstChild.textContent = axes[i][0]);
    this.partNames = lists.part; this.stepNames = lists;
  }
  compute() {                                          // everything that does not depend on time
    this.options();
    const v = this.view, V = this.data.skeleton.joints.length;
    this.matrices = Object.fromEntries(Object.entries(this.seen.parts).map(([k, i]) => [k, slice(this.array(i), v)]));
    const terms = Object.values(this.matrices);
    this.matrices.final = Float32Array.from({length: V * V}, (_, k) => terms.reduce((sum, m) => sum + m[k], 0));
    this.A = this.matrices[this.partNames[v.part]]; this.scaling = scale(this.A, V);
    const P = this.array(this.inside.p), K = P.shape[1], p = numbers(P), end = p.slice(p.length - K);
    this.order = range(K).sort((a, b) => end[b] - end[a]).slice(0, 5);
    if (!this.order.includes(this.clip.label)) this.order[4] = this.clip.label;
    const best = this.order[0], right = best === this.clip.label, name = c => this.data.classes[c];
    this.verdict.replaceChildren('Is ', h('b', {textContent: name(this.clip.label)}), ', taken for ',
      h('b', {textContent: name(best)}), ` with ${(100 * end[best]).toFixed(0)} %: ${right ? '✓ right' : '✗ wrong'}. ${this.run.about}`);
    const F = this.array(this.seen.frames), G = this.array(this.seen.gate), T = this.T = F ? F.shape[2] : G ? G.shape[1] : 0, ofBody = (a, n) => numbers(a).subarray(v.body * n, (v.body + 1) * n);
    this.W = F ? ofBody(F, T * T) : null; this.gate = G ? ofBody(G, T) : null;
    this.weight = F ? Float32Array.from({length: T}, (_, t) => this.W.subarray(t * T, (t + 1) * T).reduce((s, w) => s + w / T, 0)) : null;
    const [a, b] = bounds(this.data, this.clip), wide = b.map((x, d) => x - a[d]);
    this.middle = a.map((x, d) => (x + b[d]) / 2); this.size = [Math.hypot(wide[0], wide[2]) || 1, Math.hypot(wide[1], .3 * wide[2]) || 1];
    this.tiles();
  }

  // -- time
  get frame() { return Math.round(this.owner.state.time * (this.clip.frames - 1)); } get step() { return Math.max(this.inside.at.findLastIndex(n => n <= this.frame + 1), 0); }
  where(t) { const s = this.inside.seen, n = this.T || s.length; return s[clamp(Math.round(t * s.length / n), 0, s.length - 1)]; }
  get now() { return nearest(range(this.T).map(t => this.where(t)), this.frame); }     // the nearest of the layer's frames
  frameOf(i) { const s = this.inside.seen, n = nearest(s, this.frame), {window, spacing} = this.layer;     // frame i of a window whose middle is now
    return clamp(Math.round(this.frame + s[clamp(n + (i - (window - 1) / 2) * spacing, 0, s.length - 1)] - s[n]), 0, this.clip.frames - 1); }

  // -- the skeleton
  point(t, b, v, shift = 0) {                          // -> screen x, y
    const c = this.clip, V = this.data.skeleton.joints.length, x = numbers(this.array(c.pose)), at = ((t * c.bodies + b) * V + v) * 3;
    const {yaw, pitch, zoom} = this.owner.state, [X, Y, Z] = [0, 1, 2].map(d => x[at + d] - this.middle[d]);
    const depth = Z * Math.cos(yaw) - X * Math.sin(yaw), k = this.scale * zoom;
    return [this.cx + k * (X * Math.cos(yaw) + Z * Math.sin(yaw)) + shift, this.cy - k * (Y * Math.cos(pitch) - depth * Math.sin(pitch))];
  }
  limbs(c, t, b, shift, alpha, width) {
    const s = this.data.skeleton, at = v => this.point(t, b, v, shift);
    c.globalAlpha = alpha; c.lineWidth = width; c.lineCap = 'round'; c.setLineDash(b ? [width * .4, width * 1.9] : []);
    drawLimbs(c, s, this.owner.colours, at);
    c.setLineDash([]); c.fillStyle = this.owner.colours.trunk; c.beginPath();
    if (s.head >= 0) { c.arc(...at(s.head), width * 2.2, 0, 7); c.fill(); }
    c.globalAlpha = 1;
  }
  drawSkeleton() {
    const {state, colours} = this.owner, [c, w, height] = fit(this.body3d, clamp(this.body3d.clientWidth * (state.compare ? 1.5 : 1.1), 240, state.compare ? 400 : 560)), s = this.data.skeleton;
    const t = this.frame, clip = this.clip, win = this.layer.window, b = this.view.body, joint = this.owner.joint;
    const here = body => clip.there[t * clip.bodies + body] === '1', gap = win > 1 ? Math.min(w / win * .5, 70) : 0;
    Object.assign(this, {cx: w / 2, cy: height / 2, scale: .88 * Math.min((w - gap * (win - 1)) / this.size[0], height / this.size[1])});
    this.least = state.threshold === null ? this.scaling.twentieth : state.threshold / 100 * this.scaling.strongest;
    if (state.trails) this.drawTrails(c, t);
    for (let body = 0; body < clip.bodies; body++) if (here(body) && !(body === b && win > 1)) this.limbs(c, t, body, 0, .5, 4);
    const from = picked(win, this.view.head), to = picked(win, this.view.stage), middle = (win - 1) / 2, pose = i => [this.frameOf(i), b];
    if (win > 1 && here(b)) for (let i = 0; i < win; i++) this.limbs(c, ...pose(i), (i - middle) * gap, from.includes(i) || to.includes(i) ? .6 : .2, 3);
    if (here(b)) {                                     // a mean over frames is drawn within the middle one
      const one = list => win === 1 || list.length > 1 ? Math.floor(middle) : list[0], f = one(from), g = one(to);
      this.drawEdges(c, v => this.point(...pose(f), v, (f - middle) * gap), v => this.point(...pose(g), v, (g - middle) * gap), f === g);
      this.spots = s.joints.map((_, v) => this.point(...pose(f), v, (f - middle) * gap));
      for (const [v, [x, y]] of this.spots.entries()) {
        c.fillStyle = colours.ink; c.beginPath(); c.arc(x, y, v === joint ? 5 : 1.8, 0, 7); c.fill();
        if (v === joint) {
          const far = x > w - 100, at = [s.joints[v], x + (far ? -9 : 9), y - 7];
          c.font = '600 12px system-ui, sans-serif'; c.textAlign = far ? 'right' : 'left'; c.strokeStyle = colours.back; c.lineWidth = 3; c.strokeText(...at); c.fillText(...at);
        }
      }
    } else this.spots = [];
    c.font = '11px system-ui, sans-serif'; c.textAlign = 'left'; c.fillStyle = colours.soft;
    c.fillText(here(b) ? `${this.edges} connections of at least ${format(this.least)}` : `body ${b + 1} is not in this frame`, 6, height - 6);
  }
  drawTrails(c, t) {                                   // where the ends of the limbs, and the joint that is lit, have just been
    const {parents} = this.data.skeleton, clip = this.clip, joint = this.owner.joint, b = this.view.body;
    const ends = range(parents.length).filter(v => v === joint || !parents.some((p, u) => p === v && u !== v)), here = i => clip.there[i * clip.bodies + b] === '1';
    c.lineWidth = 2; c.strokeStyle = this.owner.colours.soft;
    for (let i = Math.max(1, t - 14); i <= t; i++) if (here(i) && here(i - 1)) {
      c.globalAlpha = .5 * (1 - (t - i) / 15); c.beginPath();
      for (const v of ends) { c.moveTo(...this.point(i - 1, b, v)); c.lineTo(...this.point(i, b, v)); }
      c.stroke();
    }
    c.globalAlpha = 1;
  }
  drawEdges(c, from, to, same) {                       // an arrow from the joint that is heard to the one that listens; itself: a ring
    const V = this.data.skeleton.joints.length, {strongest, most} = this.scaling, joint = this.owner.joint;
    this.edges = 0;
    for (let u = 0; u < V; u++) for (let v = 0; v < V; v++) {
      const a = this.A[u * V + v], itself = u === v && same, size = Math.min(Math.abs(a) / (itself ? most : strongest), 1), lit = joint < 0 || u === joint;
      if (!size || Math.abs(a) < this.least) continue;
      if (!itself) this.edges++;
      const [x, y] = from(u), [X, Y] = to(v), [dx, dy] = [X - x, Y - y], length = Math.hypot(dx, dy) || 1;
      c.strokeStyle = c.fillStyle = a > 0 ? this.owner.colours.plus : this.owner.colours.minus;
      c.globalAlpha = lit ? .3 + .5 * size : .06; c.lineWidth = .5 + 3 * size;
      c.beginPath();
      if (itself) { c.lineWidth = 1; c.arc(x, y, 3 + 4 * size, 0, 7); c.stroke(); continue; }
      const [mx, my] = [(x + X) / 2 - dy * .18, (y + Y) / 2 + dx * .18], angle = Math.atan2(Y - my, X - mx), tip = Math.min(5 + c.lineWidth, length * .4);
      c.moveTo(x, y); c.quadraticCurveTo(mx, my, X, Y); c.stroke();
      c.beginPath(); c.moveTo(X, Y);
      for (const turn of [-.4, .4]) c.lineTo(X - tip * Math.cos(angle + turn), Y - tip * Math.sin(angle + turn));
      c.fill();
    }
    c.globalAlpha = 1;
  }

  // -- the matrix, large and small
  table(signed) { const t = this.data.colours; return signed ? t[this.owner.dark ? 'signed_dark' : 'signed'] : t.one_way; }
  drawMatrix() {
    const {colours, joint, column} = this.owner, names = this.data.skeleton.joints, V = names.length, {limit, signed, clipped} = this.owner.scaleOf(this);
    const w0 = this.heat.clientWidth || 400, left = Math.min(96, w0 * .25), cell = Math.max(5, Math.floor((w0 - left - 46) / V)), font = clamp(cell - 1, 7, 11);
    const side = cell * V, top = 18, [c, , height] = fit(this.heat, side + top + left + 14);
    this.cell = {left, top, cell, V}; c.imageSmoothingEnabled = false;
    c.drawImage(paintMatrix(this.A, V, signed ? -limit : 0, limit, this.table(signed)), left, top, side, side);
    c.fillStyle = colours.ink; c.font = '600 12px system-ui, sans-serif'; c.textAlign = 'left'; c.fillText(this.title(), 0, 12, w0);
    const write = (text, x, y, turn, strong) => {
      c.save(); c.translate(x, y); c.rotate(turn); c.textAlign = 'right'; c.font = `${strong ? 600 : 400} ${font}px system-ui, sans-serif`;
      c.fillStyle = strong ? colours.ink : colours.soft; c.fillText(text, 0, 0); c.restore();
    };
    for (let v = 0, at = cell * .5 + font * .35; v < V; v++, at += cell) {
      write(names[v], left - 4, top + at, 0, v === joint); write(names[v], left + at, top + side + 4, -Math.PI / 2, v === column);
    }
    c.font = '10px system-ui, sans-serif'; c.fillStyle = colours.soft; c.textAlign = 'left';
    c.fillText('row: is heard', 0, height - 14); c.fillText('column: listens', 0, height - 2);
    const bar = paintMatrix(Float32Array.from({length: 64}, (_, i) => 63 - i), 64, 0, 63, this.table(signed)), x = left + side + 8;
    c.drawImage(bar, x, top, 8, side * .6);
    c.fillText((clipped ? '≥ ' : '') + format(limit), x + 11, top + 8); c.fillText(signed ? format(-limit) : '0', x + 11, top + side * .6);
    for (const [colour, width] of [['#fff', 4], ['#000', 1.5]]) {        // seen on any colour
      c.strokeStyle = colour; c.lineWidth = width; if (joint >= 0) c.strokeRect(left - 1, top + joint * cell - 1, side + 2, cell + 2);
      if (column >= 0) c.strokeRect(left + column * cell - 1, top - 1, cell + 2, side + 2);
    }
    this.say();
  }
  title() {
    const v = this.view, l = this.stepNames, at = k => v[k] < 0 ? `mean ${this.layer.axes[k === 'stage' ? 1 : 2][0]}` : l[k].length > 1 ? l[k][v[k]] : '';
    return [l.part[v.part], l.layer[v.layer], l.subset[v.subset], at('stage'), at('head')].filter(Boolean).join(' · ');
  }
  say() {                                              // the same in words
    const {joint, column} = this.owner, names = this.data.skeleton.joints, V = names.length;
    const top = (start, step) => range(V).sort((a, b) => Math.abs(this.A[start + b * step]) - Math.abs(this.A[start + a * step]))
      .slice(0, 3).map(v => `${names[v]} ${format(this.A[start + v * step])}`).join(', ');
    const at = this.scaling.at, most = `strongest: ${names[at % V]} listens to ${names[Math.floor(at / V)]}, ${format(this.A[at])}`;
    const text = joint < 0 ? `Point at a joint, or choose one above; ${most}.`
      : column < 0 ? `${names[joint]} is heard most by ${top(joint * V, 1)}; it listens most to ${top(joint, V)}.`
      : `${names[column]} listens to ${names[joint]}: ${format(this.A[joint * V + column])}.`;
    this.said.textContent = text;
    this.heat.setAttribute('aria-label', `Adjacency matrix, ${this.title()}. ${text} Arrow keys move from entry to entry.`);
    this.body3d.setAttribute('aria-label', `Skeleton of clip ${this.clip.name}, frame ${this.frame + 1} of ${this.clip.frames}, with ${this.edges ?? 0} connections of the matrix. Arrow keys turn it, plus and minus zoom, space plays.`);
  }
  tiles() {
    const V = this.data.skeleton.joints.length, tile = (name, m, rows, low, high, table, words, more) => {
      const canvas = h('canvas', {width: 96, height: 96, 'data-tile': name}), c = canvas.getContext('2d');
      canvas.picture = paintMatrix(m, rows, low, high, table); c.imageSmoothingEnabled = false; c.drawImage(canvas.picture, 0, 0, 96, 96);
      return h(more ? 'button' : 'div', {className: 'mx-tile', ...(more || {})}, canvas, name, h('small', {textContent: words}));
    };
    const old = [...this.parts.querySelectorAll('button')].indexOf(this.parts.getRootNode().activeElement);
    const shown = this.partNames.map((name, i) => {
      const {low, high, signed, strongest} = scale(this.matrices[name], V);
      return tile(name, this.matrices[name], V, signed ? -strongest : 0, strongest, this.table(signed), `${format(low)} to ${format(high)}`,
        {onclick: () => this.owner.choose(this.index, 'part', i), 'aria-pressed': String(i === this.view.part), 'aria-label': `show ${name}, ${format(low)} to ${format(high)}`});
    });
    const {low, high} = this.W ? extent(this.W) : {};
    if (this.W) shown.push(tile('frames', this.W, this.T, low, high, this.table(false), `${format(low)} to ${format(high)}, column: into`));
    this.frameTile = this.W && shown.at(-1).firstChild;
    this.parts.replaceChildren(...shown); if (old >= 0) shown[old]?.focus();
  }

  // -- time
  drawTime() {
    const [c, w, height] = fit(this.line, this.T ? 176 : 128), {colours, state} = this.owner, left = Math.min(96, w * .22), right = Math.min(190, w * .36);
    const W = w - left - right, L = this.clip.frames - 1 || 1, x = t => left + W * clamp(t / L, 0, 1), [top, H] = [6, 96], t = this.frame;
    this.plot = {left, W};
    c.font = '10px system-ui, sans-serif'; c.textAlign = 'right'; c.strokeStyle = colours.line; c.fillStyle = colours.soft; c.lineWidth = 1;
    for (const p of [0, .5, 1]) { const y = top + H * (1 - p); c.beginPath(); c.moveTo(left, y); c.lineTo(left + W, y); c.stroke(); c.fillText(`${100 * p} %`, left - 5, y + 4); }
    const P = this.array(this.inside.p), p = numbers(P), K = P.shape[1], at = this.inside.at, now = this.step;
    this.order.forEach((k, i) => {
      const isit = k === this.clip.label, y = top + 10 + i * 18;
      c.strokeStyle = c.fillStyle = LINES[i]; c.lineWidth = isit ? 3 : 1.6; c.setLineDash(i % 2 ? [5, 3] : []); c.beginPath();
      at.forEach((n, j) => c[j ? 'lineTo' : 'moveTo'](x(n - 1), top + H * (1 - p[j * K + k])));
      c.stroke(); c.beginPath(); c.moveTo(left + W + 10, y - 4); c.lineTo(left + W + 28, y - 4); c.stroke(); c.setLineDash([]);
      c.beginPath(); c.arc(x(at[now] - 1), top + H * (1 - p[now * K + k]), 3, 0, 7); c.fill();
      c.fillStyle = colours.ink; c.textAlign = 'left'; c.font = `${isit ? 600 : 400} 11px system-ui, sans-serif`;
      c.fillText(`${(100 * p[now * K + k]).toFixed(0)} %`, left + W + 33, y, 30); c.fillText(this.data.classes[k] + (isit ? ' ✓' : ''), left + W + 70, y, right - 72);
    });
    if (this.T) {
      const m = this.now, column = this.W && Float32Array.from({length: this.T}, (_, i) => this.W[i * this.T + m]), own = (name, v) => [name, v, v && extent(v)];
      [['heard now', column, column && extent(this.W)], own('heard at all', this.weight), own('frame gate', this.gate)].filter(lane => lane[1]).forEach(([name, values, {low, high}], i) => {
        const y = top + H + 10 + i * 20;
        values.forEach((value, f) => {
          const a = f ? (this.where(f) + this.where(f - 1)) / 2 : 0, b = f < this.T - 1 ? (this.where(f) + this.where(f + 1)) / 2 : L;
          c.fillStyle = under(this.table(false), (value - low) / (high - low || 1)); c.fillRect(x(a), y, Math.max(x(b) - x(a), 1) + .5, 15);
        });
        c.fillStyle = colours.soft; c.font = '10px system-ui, sans-serif'; c.textAlign = 'right'; c.fillText(name, left - 5, y + 11);
        c.textAlign = 'left'; c.fillText(`${format(low)} to ${format(high)}; here ${format(values[m])}`, left + W + 10, y + 11, right - 10);
      });
      const d = this.frameTile?.getContext('2d'), k = 96 / this.T;
      if (d) d.imageSmoothingEnabled = false, d.drawImage(this.frameTile.picture, 0, 0, 96, 96), d.strokeStyle = '#fff', d.lineWidth = 1, d.strokeRect(m * k, .5, k, 95);
    } else { c.fillStyle = colours.soft; c.textAlign = 'left'; c.font = '11px system-ui, sans-serif'; c.fillText(`${this.run.model} has no attention over frames`, left, top + H + 18); }
    c.strokeStyle = colours.ink; c.lineWidth = 1.5; c.beginPath(); c.moveTo(x(t), 2); c.lineTo(x(t), height - 2); c.stroke();
    if (!state.playing) this.line.setAttribute('aria-label', `After ${at[now]} of ${this.clip.frames} frames: ` + this.order.map(k => `${this.data.classes[k]} ${(100 * p[now * K + k]).toFixed(0)} percent`).join(', '));
  }

  // -- pointer and keys
  listen() {
    const o = this.owner;
    for (const canvas of [this.body3d, this.line]) canvas.addEventListener('pointerdown', e => canvas.setPointerCapture(e.pointerId));
    this.body3d.addEventListener('pointermove', e => {
      if (e.buttons) return o.turn(e.movementX * .01, e.movementY * .01);
      const near = (this.spots || []).map(([x, y], v) => [Math.hypot(x - e.offsetX, y - e.offsetY), v]).sort((a, b) => a[0] - b[0])[0];
      o.point(near && near[0] < 16 ? near[1] : -1, -1);
    });
    this.body3d.addEventListener('keydown', e => {
      const turns = {ArrowLeft: [-.12, 0], ArrowRight: [.12, 0], ArrowUp: [0, -.12], ArrowDown: [0, .12]}, zooms = {'+': 1.1, '=': 1.1, '-': .9};
      if (turns[e.key]) o.turn(...turns[e.key]);
      if (zooms[e.key]) o.set({zoom: clamp(o.state.zoom * zooms[e.key], .4, 4)});
      if (e.key === ' ') o.set({playing: !o.state.playing});
      if (turns[e.key] || zooms[e.key] || e.key === ' ') e.preventDefault();
    });
    this.heat.addEventListener('pointermove', e => {
      const {left, top, cell, V} = this.cell, u = Math.floor((e.offsetY - top) / cell), v = Math.floor((e.offsetX - left) / cell);
      o.point(u >= 0 && u < V ? u : -1, u >= 0 && u < V && v >= 0 && v < V ? v : -1);
    });
    this.heat.addEventListener('keydown', e => {
      const last = this.cell.V - 1, step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key];
      if (!step) return;
      o.point(clamp(Math.max(o.joint, 0) + step[0], 0, last), clamp(Math.max(o.column, 0) + step[1], 0, last)); o.changed(() => this.said.textContent); e.preventDefault();
    });
    for (const e of [this.body3d, this.heat]) for (const kind of ['pointerleave', 'blur']) e.addEventListener(kind, () => o.point(-1, -1));
    for (const kind of ['pointerdown', 'pointermove']) this.line.addEventListener(kind, e => { if (e.buttons) o.set({time: clamp((e.offsetX - this.plot.left) / this.plot.W, 0, 1), playing: false}); });
  }
  read() {                                             // the numbers drawn, for tests and for the curious
    const c = this.clip, V = this.data.skeleton.joints.length, n = c.bodies * V * 3, P = this.array(this.inside.p), list = a => a && Array.from(a);
    return {matrix: list(this.A), parts: Object.fromEntries(Object.entries(this.matrices).map(([k, m]) => [k, list(m)])), title: this.title(),
      frames: list(this.W), gate: list(this.gate), frame: this.frame, window: range(this.layer.window).map(i => this.frameOf(i)), now: this.T ? this.now : null, edges: this.edges, verdict: this.verdict.textContent,
      pose: list(numbers(this.array(c.pose)).subarray(this.frame * n, (this.frame + 1) * n)),
      probabilities: list(numbers(P).subarray(this.step * P.shape[1], (this.step + 1) * P.shape[1]))};
  }
}

// ---- everything that the views share

class Explorer {
  constructor(element, data, state = {}) {
    this.data = data; this.hover = [-1, -1]; this.listeners = [];
    const start = {run: 0, clip: 0, layer: 0, subset: 0, stage: -1, head: -1, part: 99, body: 0}, last = Math.max(data.runs.length - 1, 0);
    this.state = {time: 0, playing: false, speed: 1, joint: -1, threshold: null, trails: true, compare: false, linked: true, yaw: .45, pitch: .12, zoom: 1,
      panes: [{...start}, {...start, run: Math.min(1, last), clip: last ? 0 : Math.min(1, data.clips.length - 1)}]};
    this.controls(element);
    this.panes = [0, 1].map(i => new Pane(this, i));
    this.holder.append(this.panes[0].element);
    this.merge(state); new ResizeObserver(() => this.ask(2)).observe(this.root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.ask(2));
    new MutationObserver(() => this.ask(2)).observe(document.body, {attributes: true, attributeFilter: ['data-jp-theme-light', 'class']});
    this.ask(2);
  }
  controls(element) {
    const d = this.data, box = (k, text) => h('label', {}, this[k + 'Box'] = h('input', {type: 'checkbox', 'data-control': k, onchange: e => this.set({[k]: e.target.checked})}), text);
    this.play = h('button', {type: 'button', 'data-control': 'play', onclick: () => this.set({playing: !this.state.playing})}, '▶ play');
    this.scrub = h('input', {type: 'range', className: 'mx-scrub', min: 0, max: 1000, step: 1, 'data-control': 'time', 'aria-label': 'time in the clip',
      oninput: e => this.set({time: e.target.value / 1000, playing: false})});
    this.clock = h('span', {className: 'mx-time'}); this.speed = h('select', {'data-control': 'speed', onchange: e => this.set({speed: Number(e.target.value)})}, ...[.25, .5, 1, 2].map(v => h('option', {value: v, textContent: `${v}×`})));
    this.jointSelect = h('select', {'data-control': 'joint', onchange: e => this.set({joint: Number(e.target.value)})},
      ...['none', ...d.skeleton.joints].map((name, i) => h('option', {value: i - 1, textContent: name})));
    this.threshold = h('input', {type: 'range', min: 0, max: 100, step: 1, 'data-control': 'threshold', style: 'width: 7em', oninput: e => this.set({threshold: Number(e.target.value)})});
    this.holder = h('div', {className: 'mx-panes'}); this.live = h('div', {className: 'mx-heard', role: 'status', 'aria-live': 'polite'});
    this.root = h('div', {className: 'mx', role: 'group', 'aria-label': `Explorer: ${d.title}`}, h('style', {textContent: CSS}),
      h('div', {className: 'mx-bar'}, this.play, this.scrub, this.clock, h('label', {}, 'speed', this.speed), h('label', {}, 'joint', this.jointSelect),
        h('label', {}, 'connections from', this.threshold), box('trails', 'trails'), box('compare', 'compare'), this.linkedLabel = box('linked', 'same layer in both')),
      this.gallery(), this.holder, this.live, h('details', {className: 'mx-help'}, h('summary', {textContent: 'What is shown, and the keys'}), h('p', {textContent: d.words}),
        h('p', {textContent: 'Drag the skeleton to turn it, or focus it and use the arrow keys, plus, minus and space. Drag in the lower picture, or the slider, to move in time. In the matrix the arrow keys move from entry to entry.'})));
    element.replaceChildren(this.root); element.explorer = this;
  }
  gallery() {                                          // many clips: a small moving picture of each
    this.thumbs = [];
    if (!this.data.gallery) return '';
    return h('div', {className: 'mx-gallery', role: 'group', 'aria-label': 'clips'}, ...this.data.clips.map((clip, i) => {
      const canvas = h('canvas', {width: 90, height: 84}), name = this.data.classes[clip.label], P = this.data.arrays[this.data.runs[0].clips[i].p];
      const p = numbers(P).slice(-P.shape[1]), best = p.indexOf(Math.max(...p)), words = best === clip.label ? '✓ right' : `✗ ${this.data.classes[best]}`;
      const button = h('button', {type: 'button', className: 'mx-tile', 'data-thumb': i, 'aria-label': `${name}, ${words}`, onclick: () => this.choose(0, 'clip', i)}, canvas, name, h('small', {textContent: words}));
      return this.thumbs.push({clip, canvas, button}) && button;
    }));
  }
  drawThumbs() {
    const s = this.data.skeleton, V = s.joints.length;
    this.thumbs.forEach(({clip, canvas, button}, i) => {
      const x = numbers(this.data.arrays[clip.pose]), c = canvas.getContext('2d'), t = Math.round(this.state.time * (clip.frames - 1));
      button.setAttribute('aria-pressed', String(this.state.panes[0].clip === i));
      const [[a, e], [b, f]] = bounds(this.data, clip), k = Math.min(82 / (b - a || 1), 76 / (f - e || 1));
      c.clearRect(0, 0, 90, 84); c.lineWidth = 2;
      for (let n = t * clip.bodies; n < (t + 1) * clip.bodies; n++) if (clip.there[n] === '1')
        drawLimbs(c, s, this.colours, v => [45 + k * (x[(n * V + v) * 3] - (a + b) / 2), 42 - k * (x[(n * V + v) * 3 + 1] - (e + f) / 2)]);
    });
  }

  // -- state
  get joint() { return this.hover[0] >= 0 ? this.hover[0] : this.state.joint; } get column() { return this.hover[1]; }
  get shown() { return this.panes.slice(0, this.state.compare ? 2 : 1); }
  scaleOf(pane) {                                      // two views of one part have one colour scale
    const [a, b] = this.panes, alike = this.state.compare && a.run.model === b.run.model && a.partNames[a.view.part] === b.partNames[b.view.part], of = alike ? [a, b] : [pane];
    return {limit: Math.max(...of.map(p => p.scaling.strongest)), signed: of.some(p => p.scaling.signed), clipped: of.some(p => p.scaling.clipped)};
  }
  merge({panes = [], ...rest}) { Object.assign(this.state, rest); panes.forEach((p, i) => Object.assign(this.state.panes[i], p)); }
  set(change) {                                        // change part of the state, as the controls do
    this.merge(change);
    const level = k => ['time', 'playing', 'speed', 'yaw', 'pitch', 'zoom', 'trails'].includes(k) ? 0 : ['joint', 'threshold'].includes(k) ? 1 : 2;
    this.ask(Math.max(0, ...Object.keys(change).map(level))); this.changed();
  }
  choose(pane, key, value) {                           // in one view, and in the other if they are linked and alike
    this.state.panes[pane][key] = value;
    const [a, b] = [pane, 1 - pane].map(i => this.panes[i].view), layers = v => this.data.runs[v.run].layers;
    if (this.state.linked && VIEW.includes(key) && JSON.stringify(layers(a)) === JSON.stringify(layers(b))) b[key] = value;
    this.ask(2); this.changed(() => `${this.panes[pane].title()}. ${this.panes[pane].verdict.textContent}`);
  }
  turn(yaw, pitch) { this.set({yaw: this.state.yaw + yaw, pitch: clamp(this.state.pitch + pitch, -1.5, 1.5)}); }
  point(joint, column) { if (joint !== this.hover[0] || column !== this.hover[1]) { this.hover = [joint, column]; this.ask(1); } }
  tell(text) { this.live.textContent = text; }
  changed(words) {
    clearTimeout(this.later);
    this.later = setTimeout(() => { if (words) this.tell(words()); if (!this.state.playing) this.listeners.forEach(f => f(structuredClone(this.state))); }, 250);
  }
  read(pane = 0) { this.paint(); return this.panes[pane].read(); }

  // -- drawing: 0 what moves, 1 also what is lit, 2 all
  ask(level) { this.level = Math.max(this.level ?? -1, level); this.request ??= requestAnimationFrame(t => this.paint(t)); }
  paint(now) {
    const level = this.level ?? -1, s = this.state;
    cancelAnimationFrame(this.request); this.level = -1; this.request = null;
    if (!this.root.isConnected) return;
    if (s.playing && now && this.last) s.time = (s.time + (now - this.last) * .03 * s.speed / Math.max(...this.shown.map(p => p.clip.frames))) % 1;     // 30 frames a second
    this.last = s.playing ? now : null;
    if (level === 2) this.settle();
    for (const pane of this.shown) { pane.drawSkeleton(); pane.drawTime(); if (level >= 1) pane.drawMatrix(); }
    this.drawThumbs();
    this.scrub.value = Math.round(1000 * s.time);
    const {frame, clip} = this.panes[0];
    this.clock.textContent = `frame ${frame + 1} of ${clip.frames}`; this.scrub.setAttribute('aria-valuetext', this.clock.textContent);
    this.trailsBox.checked = s.trails; this.speed.value = s.speed;
    this.play.textContent = s.playing ? '❚❚ pause' : '▶ play'; this.jointSelect.value = s.joint;
    this.threshold.value = Math.round(100 * this.panes[0].least / this.panes[0].scaling.strongest);
    this.opened ??= performance.now(); if (s.playing) this.ask(0);
  }
  settle() {
    const s = this.state;
    if (this.dark = isDark(this.root.parentElement)) this.root.dataset.dark = ''; else delete this.root.dataset.dark;
    const style = getComputedStyle(this.root);
    this.colours = Object.fromEntries(['ink', 'soft', 'line', 'back', 'left', 'right', 'trunk', 'plus', 'minus'].map(k => [k, style.getPropertyValue(`--${k}`).trim()]));
    this.compareBox.checked = s.compare; this.linkedBox.checked = s.linked; this.linkedLabel.style.display = s.compare ? '' : 'none';
    this.holder.classList.toggle('two', s.compare);
    if (s.compare !== (this.holder.children.length === 2)) this.holder.replaceChildren(...this.shown.map(p => p.element));
    for (const pane of this.shown) pane.compute();
  }
}

export function explore(element, data, state) { return new Explorer(element, data, state); }

export default {                                       // what anywidget asks for
  render({model, el}) {
    const view = explore(el, JSON.parse(model.get('data')), model.get('state'));
    let own = '';
    view.listeners.push(s => { own = JSON.stringify(s); model.set('state', s); model.save_changes(); });
    model.on('change:state', () => { if (JSON.stringify(model.get('state')) !== own) view.set(model.get('state')); });
  },
};
