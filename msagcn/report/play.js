// A recording as moving skeletons, with what each person does at the moment and a lane of time for each.

import {clamp, numbers, range} from './explore_numbers.js';
import {fit, font, h, isDark} from './explore_sheet.js';
import {COLOURS, CSS} from './explore_style.js';

const SPEEDS = [0.25, 0.5, 1, 2, 4], TOLD = 3;
const OWN_CSS = `
.mp-seen {
  display: grid; grid-template-columns: minmax(0, 3fr) minmax(12em, 1fr); gap: 6px 14px; margin: 6px 0;
}
.mp-table { border-collapse: collapse; align-self: start; font-variant-numeric: tabular-nums; width: 100% }
.mp-table th, .mp-table td { text-align: left; vertical-align: top; padding: 3px 6px 3px 0; font-weight: 400 }
.mp-table tr { border-top: 1px solid var(--line) }
.mp-table td b { display: block }
.mp-table small { display: block; color: var(--soft) }
.mx canvas.mp-lanes { cursor: ew-resize }
.mx canvas.mp-stage[data-solid] { cursor: grab }
@container (max-width: 640px) { .mp-seen { grid-template-columns: minmax(0, 1fr) } }
`;
const HELP = 'Space plays and pauses, the arrow keys go one frame, with Shift one second. Drag in the '
  + 'lanes, or the slider, to move in time; drag the skeletons, if they are in 3D, to rotate them.';

const secondsAt = (data, frame) => `${(frame / data.fps).toFixed(2)} s`;
const percent = p => `${(100 * p).toFixed(0)} %`;
const nameOf = number => (number ? `person ${number}` : 'all together');

function found(data) {                         // a byte for each frame, body and joint: 1 if it was seen
  const packed = Uint8Array.from(atob(data.clip.found), c => c.charCodeAt(0));
  const {frames, bodies} = data.clip, n = frames * bodies * data.skeleton.joints.length;
  return Uint8Array.from({length: n}, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
}

class Player {
  constructor(element, data) {
    Object.assign(this, {data, frame: 0, playing: false, speed: 1, yaw: 0.35, pitch: 0.12});
    this.found = found(data);
    this.pose = numbers(data.arrays[data.clip.pose]);
    this.build(element);
    this.listen();
    this.ask();
  }

  // -- the elements
  build(element) {
    const {data} = this, max = data.clip.frames - 1;
    this.play = h('button', {type: 'button', className: 'mx-play', 'data-control': 'play',
      onclick: () => this.set({playing: !this.playing})}, '▶ play');
    this.scrub = h('input', {type: 'range', className: 'mx-scrub', min: 0, max, value: 0, step: 1,
      'data-control': 'time', 'aria-label': 'time in the recording',
      oninput: e => this.set({frame: Number(e.target.value), playing: false})});
    this.clock = h('span', {className: 'mx-time'});
    const speeds = SPEEDS.map(v => h('option', {value: v, textContent: `${v}×`, selected: v === 1}));
    const speed = h('select', {'data-control': 'speed',
      onchange: e => this.set({speed: Number(e.target.value)})}, ...speeds);
    const bar = h('div', {className: 'mx-bar'}, this.play, this.scrub, this.clock,
      h('label', {}, 'speed', speed));
    this.stage = h('canvas', {className: 'mp-stage', role: 'img', 'aria-label': 'moving skeletons'});
    this.lanes = h('canvas', {className: 'mp-lanes', role: 'img', 'aria-label': 'answers over time'});
    if (data.solid) this.stage.dataset.solid = '';
    this.cells = data.people.map(() => h('td'));
    const head = p => h('th', {scope: 'row'}, nameOf(p.person));
    const rows = data.people.map((p, i) => h('tr', {}, head(p), this.cells[i]));
    const table = h('table', {className: 'mp-table', 'aria-label': 'answers at this moment'}, ...rows);
    this.root = h('div', {className: 'mx', role: 'group', 'aria-label': data.title},
      h('style', {textContent: CSS + OWN_CSS}), bar, h('div', {className: 'mp-seen'}, this.stage, table),
      this.lanes, h('details', {className: 'mx-help'},
        h('summary', {textContent: 'What is shown, and the keys'}), h('p', {textContent: data.words}),
        h('p', {textContent: HELP})));
    element.replaceChildren(this.root);
    element.player = this;
  }
  listen() {
    const again = () => this.ask();
    new ResizeObserver(again).observe(this.root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
    document.addEventListener('keydown', e => this.key(e));
    const moved = e => e.buttons && this.seek(e.offsetX);
    this.lanes.addEventListener('pointerdown', e => { this.lanes.setPointerCapture(e.pointerId); moved(e); });
    this.lanes.addEventListener('pointermove', moved);
    this.stage.addEventListener('pointerdown', e => this.stage.setPointerCapture(e.pointerId));
    this.stage.addEventListener('pointermove', e => e.buttons && this.data.solid && this.set({
      yaw: this.yaw + e.movementX * 0.01, pitch: clamp(this.pitch + e.movementY * 0.01, -1.5, 1.5)}));
  }
  key(e) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (e.altKey || e.ctrlKey || e.metaKey || ['SELECT', 'SUMMARY'].includes(e.target.tagName)) return;
    if (e.key === ' ' && e.target !== this.play) this.set({playing: !this.playing});
    else if (step) this.go(step * (e.shiftKey ? Math.round(this.data.fps) : 1));
    else return;
    e.preventDefault();
  }
  go(frames) { this.set({frame: this.frame + frames, playing: false}); }
  seek(x) {
    const share = (x - this.plot.left) / this.plot.W;
    this.set({frame: Math.floor(share * this.data.clip.frames), playing: false});
  }
  set(change) {
    const {frames} = this.data.clip, ended = change.playing && this.frame >= frames - 1;
    Object.assign(this, ended ? {frame: 0} : {}, change);
    this.frame = clamp(this.frame, 0, frames - 1);
    this.ask();
  }

  // -- what is known of a moment
  answer(person, frame) {                      // likeliest classes, best first; none outside of windows
    const i = person.at.findIndex(([a, b]) => a <= frame && frame < b);
    if (i < 0) return [];
    const K = this.data.classes.length, p = numbers(this.data.arrays[person.p]).slice(i * K, (i + 1) * K);
    const order = range(K).sort((a, b) => p[b] - p[a]).slice(0, TOLD);
    return order.map(k => ({class: this.data.classes[k], p: p[k]}));
  }
  read() {                                     // for tests and scripts
    const frame = Math.floor(this.frame);
    const people = this.data.people.map(p => ({person: p.person, told: this.answer(p, frame)}));
    return {frame, people, drawn: this.drawn};
  }

  // -- drawing
  get lane() { return this.data.people.length > 5 ? 32 : 46; }
  get bar() { return this.lane - 12; }
  ask() { this.request ??= requestAnimationFrame(t => this.paint(t)); }
  paint(now) {
    this.request = null;
    if (this.playing && this.last) this.frame += (now - this.last) / 1000 * this.data.fps * this.speed;
    this.last = this.playing ? now : null;
    const end = this.data.clip.frames - 1;
    if (this.frame >= end) Object.assign(this, {frame: end, playing: false});
    this.settle();
    this.drawStage();
    this.drawLanes();
    this.tell();
    if (this.playing) this.ask();
  }
  settle() {
    if (isDark(this.root.parentElement)) this.root.dataset.dark = '';
    else delete this.root.dataset.dark;
    const style = getComputedStyle(this.root);
    this.colours = Object.fromEntries(COLOURS.map(k => [k, style.getPropertyValue(`--${k}`).trim()]));
  }
  tell() {
    const frame = Math.floor(this.frame), {data} = this;
    this.scrub.value = frame;
    this.clock.textContent = `${secondsAt(data, frame)} of ${secondsAt(data, data.clip.frames)}`;
    this.scrub.setAttribute('aria-valuetext', this.clock.textContent);
    this.play.textContent = this.playing ? '❚❚ pause' : '▶ play';
    data.people.forEach((p, i) => {
      const [best, ...others] = this.answer(p, frame).map(a => `${a.class} ${percent(a.p)}`);
      const text = [best ?? 'not in a window', ...others].join('\n');
      if (this.cells[i].told === text) return;
      this.cells[i].told = text;
      this.cells[i].replaceChildren(h(best ? 'b' : 'small', {textContent: best ?? 'not in a window'}),
        ...others.map(o => h('small', {textContent: o})));
    });
  }
  camera(w, height) {                          // body, joint -> x, y on the stage; null where it was not seen
    const {clip, skeleton, solid} = this.data, V = skeleton.joints.length, [low, high] = clip.box;
    const frame = Math.floor(this.frame), middle = low.map((a, d) => (a + high[d]) / 2);
    const size = low.map((a, d) => high[d] - a), wide = solid ? Math.hypot(size[0], size[2]) : size[0];
    const k = 0.86 * Math.min(w / (wide || 1), (height - 40) / (size[1] || 1));
    const [yaw, pitch] = solid ? [this.yaw, this.pitch] : [0, 0];
    const [cosY, sinY, cosP, sinP] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    return (b, v) => {
      const n = (frame * clip.bodies + b) * V + v;
      if (!this.found[n]) return null;
      const [X, Y, Z] = [0, 1, 2].map(d => this.pose[3 * n + d] - middle[d]), depth = Z * cosY - X * sinY;
      return [w / 2 + k * (X * cosY + Z * sinY), (height + 16) / 2 - k * (Y * cosP - depth * sinP)];
    };
  }
  drawStage() {
    const room = window.innerHeight - 190 - this.lane * this.data.people.length;
    const most = clamp(Math.min(room, this.stage.clientWidth), 240, 560);
    const [c, w, height] = fit(this.stage, most), point = this.camera(w, height);
    this.drawn = [];
    for (const b of range(this.data.clip.bodies)) this.drawBody(c, v => point(b, v), b);
    c.fillStyle = this.colours.soft;
    c.font = font(11);
    c.textAlign = 'left';
    c.fillText(`frame ${Math.floor(this.frame) + 1} of ${this.data.clip.frames}`, 4, height - 5);
  }
  drawBody(c, at, b) {
    const {parents, across, sides, head} = this.data.skeleton, spots = parents.map((_, v) => at(v));
    const seen = spots.filter(Boolean);
    if (!seen.length) return;
    Object.assign(c, {lineWidth: 3, lineCap: 'round'});
    for (const [v, p] of [...parents.entries(), ...across]) if (v !== p && spots[v] && spots[p]) {
      c.strokeStyle = this.colours[across.some(a => a[0] === v && a[1] === p) ? 'trunk' : sides[v]];
      c.beginPath();
      c.moveTo(...spots[v]);
      c.lineTo(...spots[p]);
      c.stroke();
    }
    spots.forEach((s, v) => {
      if (!s) return;
      c.fillStyle = this.colours[v === head ? 'trunk' : 'ink'];
      c.beginPath();
      c.arc(...s, v === head ? 6 : 1.8, 0, 7);
      c.fill();
    });
    this.drawWords(c, b, seen);
  }
  drawWords(c, b, seen) {                      // above a body: who it is, and what it does
    const {people} = this.data, own = people.find(p => p.person === b + 1);
    const [best] = own ? this.answer(own, Math.floor(this.frame)) : [];
    const words = best ? `${b + 1}: ${best.class} ${percent(best.p)}` : `${b + 1}`;
    const mean = seen.reduce((total, [x]) => total + x, 0) / seen.length;
    const highest = Math.max(14, Math.min(...seen.map(s => s[1])) - 10);
    c.font = font(13, 600);
    const half = c.measureText(words).width / 2 + 4, most = Math.max(c.canvas.clientWidth - half, half);
    const x = clamp(mean, half, most), {back, ink} = this.colours, y = this.free(x, highest, half);
    Object.assign(c, {textAlign: 'center', strokeStyle: back, fillStyle: ink, lineWidth: 4});
    c.strokeText(words, x, y);
    c.fillText(words, x, y);
    this.drawn.push({body: b + 1, words, x, y, half});
  }
  free(x, y, half) {                           // the nearest line on which no other words stand
    const near = d => Math.abs(d.x - x) < d.half + half;
    const taken = line => this.drawn.some(d => near(d) && Math.abs(d.y - line) < 16);
    const steps = range(2 * this.drawn.length + 1).map(i => (i % 2 ? -1 : 1) * 16 * Math.ceil(i / 2));
    return steps.map(step => y + step).find(line => line >= 14 && !taken(line)) ?? y;
  }
  drawLanes() {
    const {data, colours} = this, n = data.people.length;
    const [c, w] = fit(this.lanes, n * this.lane + 20), left = Math.min(92, w * 0.22), W = w - left - 8;
    const x = frame => left + W * frame / data.clip.frames;
    this.plot = {left, W};
    data.people.forEach((p, i) => this.drawLane(c, p, i * this.lane + 4, x, left));
    c.font = font(10);
    c.fillStyle = colours.soft;
    c.textAlign = 'left';
    c.fillText('0 s', left, n * this.lane + 14);
    c.textAlign = 'right';
    c.fillText(secondsAt(data, data.clip.frames), left + W, n * this.lane + 14);
    c.strokeStyle = colours.ink;
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x(this.frame + 0.5), 0);
    c.lineTo(x(this.frame + 0.5), n * this.lane);
    c.stroke();
  }
  drawLane(c, person, top, x, left) {          // boxes of segments, their words, the probability as a line
    const {colours, data} = this, p = numbers(data.arrays[person.p]), K = data.classes.length;
    const best = person.at.map((_, i) => Math.max(...p.subarray(i * K, (i + 1) * K)));
    c.font = font(11);
    c.textAlign = 'right';
    c.fillStyle = colours.ink;
    c.fillText(nameOf(person.person), left - 6, top + this.bar / 2 + 4, left - 8);
    c.lineWidth = 1;
    for (const {first, last} of person.segments) {
      c.fillStyle = colours.line;
      c.globalAlpha = 0.35;
      c.fillRect(x(first), top, x(last) - x(first) - 2, this.bar);
      c.globalAlpha = 1;
    }
    c.strokeStyle = colours.soft;
    c.beginPath();
    person.at.forEach(([a, b], i) => {
      const y = top + this.bar * (1 - best[i]), joins = i && person.at[i - 1][1] === a;
      c[joins ? 'lineTo' : 'moveTo'](x(a), y);
      c.lineTo(x(b), y);
    });
    c.stroke();
    c.textAlign = 'left';
    for (const {first, last, label} of person.segments) {
      this.drawLabel(c, data.classes[label], x(first), x(last), top);
    }
  }
  drawLabel(c, words, a, b, top) {             // within its box, and left out where there is no room for it
    const room = b - a - 8;
    if (room < 22) return;
    let shown = words;
    while (shown.length > 1 && c.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
    Object.assign(c, {strokeStyle: this.colours.back, lineWidth: 3, fillStyle: this.colours.ink});
    c.strokeText(shown, a + 4, top + this.bar - 6);
    c.fillText(shown, a + 4, top + this.bar - 6);
  }
}

export default function play(element, data) { return new Player(element, data); }
