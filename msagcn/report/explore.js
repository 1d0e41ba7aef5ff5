// What a network looks through, on moving skeletons. The live widget and the page on disk are both drawn by
// this module and those that it imports. `explore(element, data)` draws into an element what `msagcn.explore`
// packs, and leaves there `element.explorer` with `state`, `set`, `read`, `svg`, `png`, `gif`.

import {bounds, clamp, numbers} from './explore_numbers.js';
import {h, isDark} from './explore_sheet.js';
import {COLOURS, CSS, legend} from './explore_style.js';
import {drawLimbs} from './explore_skeleton.js';
import {Pane, VIEW} from './explore_pane.js';
import {addressOf, readAddress} from './explore_address.js';
import {download, fileName, gifOf, pngOf, svgOf} from './explore_save.js';

const SPEEDS = [0.25, 0.5, 1, 2];
const HELP = 'Drag the skeleton to turn it, or focus it and use the arrow keys, plus, minus and space. '
  + 'Drag in the curves, or the slider, to move in time. In the matrix the arrow keys move from entry '
  + 'to entry. '
  + '"Stretch colours" spends all colours on the matrix that is shown; else they span all that it can be, '
  + 'and the bracket beside the scale says how much of that it uses. '
  + "The page's address holds what is shown: a link to it opens the same view.";

const SYMBOLS = {
  line: 'M0 5H20', thick: 'M0 5H20', dashed: 'M0 5H20', arrow: 'M0 5H15M22 5L14 1V9Z',
  ring: 'M16 5A5 4.5 0 1 1 16 4.9Z',
};

function symbol(what, colour) {                // of the legend
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS(svg.namespaceURI, 'path');
  const set = (e, list) => Object.entries(list).forEach(([k, v]) => e.setAttribute(k, v));
  set(svg, {width: 22, height: 10, viewBox: '0 0 22 10', 'aria-hidden': 'true'});
  const ink = `var(--${colour})`, dashes = what === 'dashed' ? {'stroke-dasharray': '3 3'} : {};
  set(path, {d: SYMBOLS[what], stroke: ink, fill: what === 'arrow' ? ink : 'none',
    'stroke-width': {thick: 3, line: 2.5}[what] ?? 1.6, ...dashes});
  svg.append(path);
  return svg;
}

class Explorer {                               // all that the views share
  constructor(element, data, state = {}, {address = false} = {}) {
    Object.assign(this, {data, hover: [-1, -1], listeners: [], address, thumbs: []});
    const one = data.groups.length === 1 && data.groups[0].runs.length === data.runs.length;
    const start = {run: one ? data.runs.length : 0, clip: 0, layer: 0, subset: 0, stage: -1, head: -1,
      part: 99, body: 0, seeds: 0};
    const other = data.runs.length > 1 ? {run: 1} : {run: 0, clip: Math.min(1, data.clips.length - 1)};
    this.state = {time: 0, playing: false, speed: 1, joint: -1, threshold: null, trails: true, stretch: false,
      compare: false, linked: true, yaw: 0.45, pitch: 0.12, zoom: 1, panes: [start, {...start, ...other}]};
    this.build(element);
    this.panes = [0, 1].map(i => new Pane(this, i));
    this.holder.append(this.panes[0].element);
    this.merge(state);
    if (address) this.follow();
    this.watch();
    this.ask(2);
  }
  watch() {                                    // redraw in another size or theme
    const again = () => this.ask(2);
    new ResizeObserver(again).observe(this.root);
    window.addEventListener('resize', again);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
    const theme = {attributes: true, attributeFilter: ['data-jp-theme-light', 'class']};
    new MutationObserver(again).observe(document.body, theme);
  }

  // -- the elements
  check(key, text) {
    const onchange = e => this.set({[key]: e.target.checked});
    this[`${key}Box`] = h('input', {type: 'checkbox', 'data-control': key, onchange});
    return h('label', {}, this[`${key}Box`], text);
  }
  saver(kind, words) {
    const onclick = e => this.save(kind, e.currentTarget);
    const attributes = {type: 'button', 'data-control': `save-${kind}`, 'aria-label': words, title: words};
    return h('button', {...attributes, onclick}, kind.toUpperCase());
  }
  bar() {
    const choice = (key, list) => h('select', {'data-control': key,
      onchange: e => this.set({[key]: Number(e.target.value)})}, ...list.map(o => h('option', o)));
    const slider = (key, attributes, change) => h('input', {type: 'range', step: 1, min: 0,
      'data-control': key, oninput: e => this.set(change(Number(e.target.value))), ...attributes});
    this.play = h('button', {type: 'button', className: 'mx-play', 'data-control': 'play',
      onclick: () => this.set({playing: !this.state.playing})}, '▶ play');
    this.scrub = slider('time', {className: 'mx-scrub', max: 1000, 'aria-label': 'time in the clip'},
      v => ({time: v / 1000, playing: false}));
    this.clock = h('span', {className: 'mx-time'});
    this.speed = choice('speed', SPEEDS.map(v => ({value: v, textContent: `${v}×`})));
    const joints = ['none', ...this.data.skeleton.joints];
    this.jointSelect = choice('joint', joints.map((name, i) => ({value: i - 1, textContent: name})));
    this.threshold = slider('threshold', {max: 100, style: 'width: 6em'}, v => ({threshold: v}));
    this.linkedLabel = this.check('linked', 'linked');
    const labelled = (words, control) => h('label', {}, words, control);
    return h('div', {className: 'mx-bar'}, this.play, this.scrub, this.clock, labelled('speed', this.speed),
      labelled('joint', this.jointSelect), labelled('connections from', this.threshold),
      this.check('trails', 'trails'), this.check('stretch', 'stretch colours'),
      this.check('compare', 'compare'), this.linkedLabel,
      h('span', {className: 'mx-save'}, 'save ', this.saver('svg', 'save the view as SVG'),
        this.saver('png', 'save the view as PNG'), this.saver('gif', 'save the movement as GIF')));
  }
  build(element) {
    const {data} = this;
    this.holder = h('div', {className: 'mx-panes'});
    this.notice = h('p', {className: 'mx-notice', role: 'status'});
    this.live = h('div', {className: 'mx-heard', role: 'status', 'aria-live': 'polite'});
    const item = ([what, colour, words]) => h('span', {}, symbol(what, colour), words);
    const items = legend(data.groups.length).map(item);
    this.root = h('div', {className: 'mx', role: 'group', 'aria-label': `Explorer: ${data.title}`},
      h('style', {textContent: CSS}), this.bar(),
      h('div', {className: 'mx-legend', role: 'note', 'aria-label': 'legend'}, ...items), this.notice,
      this.gallery(), this.holder, this.live, h('details', {className: 'mx-help'},
        h('summary', {textContent: 'What is shown, and the keys'}), h('p', {textContent: data.words}),
        h('p', {textContent: HELP})));
    element.replaceChildren(this.root);
    element.explorer = this;
  }
  gallery() {                                  // many clips: a small moving picture of each
    if (!this.data.gallery) return '';
    const {arrays, classes, runs} = this.data, tile = (clip, i) => {
      const canvas = h('canvas', {width: 90, height: 84}), name = classes[clip.label];
      const P = arrays[runs[0].clips[i].p];
      const p = numbers(P).slice(-P.shape[1]), best = p.indexOf(Math.max(...p));
      const words = best === clip.label ? '✓ right' : `✗ ${classes[best]}`;
      const attributes = {type: 'button', className: 'mx-tile', 'data-thumb': i,
        'aria-label': `${name}, ${words}`};
      const onclick = () => this.choose(0, 'clip', i), small = h('small', {textContent: words});
      const button = h('button', {...attributes, onclick}, canvas, name, small);
      this.thumbs.push({clip, canvas, button});
      return button;
    };
    const tiles = this.data.clips.map(tile);
    return h('div', {className: 'mx-gallery', role: 'group', 'aria-label': 'clips'}, ...tiles);
  }
  drawThumbs() {
    const s = this.data.skeleton, V = s.joints.length;
    this.thumbs.forEach(({clip, canvas, button}, i) => {
      const x = numbers(this.data.arrays[clip.pose]), c = canvas.getContext('2d');
      const t = Math.round(this.state.time * (clip.frames - 1)), [[a, e], [b, f]] = bounds(this.data, clip);
      const k = Math.min(82 / (b - a || 1), 76 / (f - e || 1));
      button.setAttribute('aria-pressed', String(this.state.panes[0].clip === i));
      c.clearRect(0, 0, 90, 84);
      c.lineWidth = 2;
      for (let n = t * clip.bodies; n < (t + 1) * clip.bodies; n++) if (clip.there[n] === '1') {
        const of = (v, d) => x[(n * V + v) * 3 + d];
        const at = v => [45 + k * (of(v, 0) - (a + b) / 2), 42 - k * (of(v, 1) - (e + f) / 2)];
        drawLimbs(c, s, this.colours, at);
      }
    });
  }

  // -- state
  get joint() { return this.hover[0] >= 0 ? this.hover[0] : this.state.joint; }
  get column() { return this.hover[1]; }
  get shown() { return this.panes.slice(0, this.state.compare ? 2 : 1); }
  alike() {                                    // two views of one part have one colour scale
    const [a, b] = this.panes;
    return this.state.compare && a.run.model === b.run.model && a.partName === b.partName;
  }
  merge({panes = [], ...rest}) {
    Object.assign(this.state, rest);
    panes.forEach((p, i) => Object.assign(this.state.panes[i], p));
  }
  set(change) {                                // change part of the state, as the controls do
    this.merge(change);
    const moving = ['time', 'playing', 'speed', 'yaw', 'pitch', 'zoom', 'trails'];
    const level = k => (moving.includes(k) ? 0 : ['joint', 'threshold'].includes(k) ? 1 : 2);
    this.ask(Math.max(0, ...Object.keys(change).map(level)));
    this.changed();
  }
  choose(pane, key, value) {                   // in one view, and in the other if they are linked and alike
    this.state.panes[pane][key] = value;
    const [a, b] = [pane, 1 - pane], names = l => [l.name, l.axes];
    const layers = i => JSON.stringify(this.panes[i].run.layers.map(names));
    if (this.state.linked && VIEW.includes(key) && layers(a) === layers(b)) this.state.panes[b][key] = value;
    this.ask(2);
    this.changed(() => `${this.panes[pane].title()}. ${this.panes[pane].verdict.textContent}`);
  }
  turn(yaw, pitch) {
    const s = this.state;
    this.set({yaw: s.yaw + yaw, pitch: clamp(s.pitch + pitch, -1.5, 1.5)});
  }
  point(joint, column) {
    if (joint === this.hover[0] && column === this.hover[1]) return;
    this.hover = [joint, column];
    this.ask(1);
  }
  tell(text) { this.live.textContent = text; }
  changed(words) {                             // a moment later: heard, sent to Python, put into the address
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      if (words) this.tell(words());
      if (this.state.playing) return;
      this.listeners.forEach(f => f(structuredClone(this.state)));
      if (this.address) this.write();
    }, 250);
  }
  write() {                                    // replaces the address, so that "back" leaves the page
    this.paint();
    const text = `#${addressOf(this)}`;
    if (text !== location.hash) history.replaceState(null, '', text);
  }
  follow() {                                   // the address that the page was opened with, or is given later
    const go = () => {
      const [change, missing] = readAddress(this.data, location.hash.slice(1));
      if (!change) return;
      const words = `This page does not have what the link names: ${missing.join(', ')}.`;
      this.notice.textContent = missing.length ? words : '';
      this.merge(change);
      this.ask(2);
    };
    go();
    window.addEventListener('hashchange', go);
  }
  read(pane = 0) {
    this.paint();
    return this.panes[pane].read();
  }

  // -- files
  svg() { return svgOf(this); }
  png() { return pngOf(this); }
  gif(tell) { return gifOf(this, tell); }
  async save(kind, button) {
    button.disabled = true;
    const text = button.textContent, tell = words => { button.textContent = words; };
    try {
      const made = kind === 'svg' ? new Blob([this.svg()], {type: 'image/svg+xml'}) : await this[kind](tell);
      download(made, fileName(this, kind));
      this.tell(`saved as ${fileName(this, kind)}`);
    } finally {
      button.textContent = text;
      button.disabled = false;
    }
  }

  // -- drawing: 0 what moves, 1 also what is lit, 2 all
  ask(level) {
    this.level = Math.max(this.level ?? -1, level);
    this.request ??= requestAnimationFrame(t => this.paint(t));
  }
  advance(now) {                               // 30 frames a second
    const s = this.state, longest = Math.max(...this.shown.map(p => p.clip.frames));
    if (s.playing && now && this.last) s.time = (s.time + (now - this.last) * 0.03 * s.speed / longest) % 1;
    this.last = s.playing ? now : null;
  }
  paint(now) {
    const level = this.level ?? -1;
    cancelAnimationFrame(this.request);
    this.level = -1;
    this.request = null;
    if (!this.root.isConnected) return;
    this.advance(now);
    if (level === 2) this.settle();
    for (const pane of this.shown) pane.draw(level);
    this.drawThumbs();
    this.drawControls();
    this.opened ??= performance.now();
    if (this.state.playing) this.ask(0);
  }
  drawControls() {
    const s = this.state, [pane] = this.panes;
    this.scrub.value = Math.round(1000 * s.time);
    this.clock.textContent = `frame ${pane.frame + 1} of ${pane.clip.frames}`;
    this.scrub.setAttribute('aria-valuetext', this.clock.textContent);
    this.trailsBox.checked = s.trails;
    this.stretchBox.checked = s.stretch;
    this.speed.value = s.speed;
    this.play.textContent = s.playing ? '❚❚ pause' : '▶ play';
    this.jointSelect.value = s.joint;
    this.threshold.value = Math.round(100 * pane.least / pane.scaling.strongest);
  }
  settle() {
    const s = this.state;
    this.dark = isDark(this.root.parentElement);
    if (this.dark) this.root.dataset.dark = '';
    else delete this.root.dataset.dark;
    const style = getComputedStyle(this.root);
    this.colours = Object.fromEntries(COLOURS.map(k => [k, style.getPropertyValue(`--${k}`).trim()]));
    this.compareBox.checked = s.compare;
    this.linkedBox.checked = s.linked;
    this.linkedLabel.style.display = s.compare ? '' : 'none';
    this.holder.classList.toggle('two', s.compare);
    const elements = this.shown.map(p => p.element);
    if (elements.length !== this.holder.children.length) this.holder.replaceChildren(...elements);
    for (const pane of this.shown) pane.compute();
  }
}

export function explore(element, data, state, options) {
  return new Explorer(element, data, state, options);
}

export default {                               // what anywidget asks for
  render({model, el}) {
    const view = explore(el, JSON.parse(model.get('data')), model.get('state'));
    let own = '';
    view.listeners.push(s => {
      own = JSON.stringify(s);
      model.set('state', s);
      model.save_changes();
    });
    model.on('change:state', () => {
      if (JSON.stringify(model.get('state')) !== own) view.set(model.get('state'));
    });
  },
};
