// What is drawn on: canvases, and an SVG that takes the same calls. Elements and colours.

import {clamp} from './explore_numbers.js';

export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e) e[k] = v;
    else e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}

export const FONT = 'system-ui, sans-serif';
export const font = (size, weight = 400) => `${weight} ${size}px ${FONT}`;

export const colourAt = (table, t) =>          // t in [0, 1]
  `#${table.substr(6 * Math.round(clamp(t, 0, 1) * (table.length / 6 - 1)), 6)}`;

export function isDark(e) {                    // by what lies behind, so that a notebook's theme counts
  if (!e) return matchMedia('(prefers-color-scheme: dark)').matches;
  const [r, g, b, a = 1] = (getComputedStyle(e).backgroundColor.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  return a > 0.5 ? r + g + b < 380 : isDark(e.parentElement);
}

export function fit(canvas, height) {          // as many pixels as the screen has; a context in CSS pixels
  const w = canvas.clientWidth || 300, k = window.devicePixelRatio || 1;
  const size = {width: Math.round(w * k), height: Math.round(height * k)}, c = canvas.getContext('2d');
  if (canvas.width !== size.width || canvas.height !== size.height) {
    Object.assign(canvas, size);
    canvas.style.height = `${height}px`;
  }
  c.setTransform(k, 0, 0, k, 0, 0);
  c.clearRect(0, 0, w, height);
  return [c, w, height];
}

export function within(c, x, y, w, height, draw) {   // draw in a part of a sheet, and not beyond
  if (c.open) {
    c.open(x, y, w, height);
    draw();
    return c.close();
  }
  c.save();
  c.beginPath();
  c.rect(x, y, w, height);
  c.clip();
  c.translate(x, y);
  draw();
  c.restore();
}

export const mark = (c, facts) => c.mark?.(facts);   // what the next shape stands for; kept in an SVG

const round = x => String(Math.round(x * 100) / 100);
const escaped = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const attributes = list => Object.entries(list).map(([k, v]) => ` ${k}="${escaped(v)}"`).join('');
let ruler = null;

export class SvgSheet {
  constructor(width, height, describe) {
    this.head = `<svg xmlns="http://www.w3.org/2000/svg"${attributes({width, height, role: 'img',
      viewBox: `0 0 ${width} ${height}`, 'font-family': FONT})}>\n<title>${escaped(describe.title)}</title>\n`
      + `<desc>${escaped(describe.words)}</desc>\n`;
    Object.assign(this, {out: [], stack: [], facts: {}, turn: '', d: '', dash: ''});
    Object.assign(this, {fillStyle: '#000', strokeStyle: '#000', lineWidth: 1, globalAlpha: 1,
      font: font(10), textAlign: 'left', lineCap: 'butt'});
  }
  get text() { return `${this.head}${this.out.join('\n')}\n</svg>\n`; }
  element(tag, own, content) {
    const turned = this.turn ? {transform: this.turn} : {}, seen = this.globalAlpha < 1
      ? {opacity: round(this.globalAlpha)} : {};
    const start = `<${tag}${attributes({...own, ...seen, ...turned, ...this.facts})}`;
    this.out.push(content === undefined ? `${start}/>` : `${start}>${escaped(content)}</${tag}>`);
    this.facts = {};
  }
  mark(facts) {
    this.facts = Object.fromEntries(Object.entries(facts).map(([k, v]) => [`data-${k}`, v]));
  }
  get pen() {
    return {fill: 'none', stroke: this.strokeStyle, 'stroke-width': round(this.lineWidth),
      ...(this.dash ? {'stroke-dasharray': this.dash} : {}),
      ...(this.lineCap === 'round' ? {'stroke-linecap': 'round'} : {})};
  }
  open(x, y, width, height) { this.out.push(`<svg${attributes({x, y, width, height})}>`); }
  close() { this.out.push('</svg>'); }
  save() { this.stack.push(this.turn); }
  restore() { this.turn = this.stack.pop(); }
  translate(x, y) { this.turn += `translate(${round(x)} ${round(y)})`; }
  rotate(angle) { this.turn += `rotate(${round(angle * 180 / Math.PI)})`; }
  setLineDash(list) { this.dash = list.map(round).join(' '); }
  beginPath() { this.d = ''; }
  moveTo(x, y) { this.d += `M${round(x)} ${round(y)}`; }
  lineTo(x, y) { this.d += `L${round(x)} ${round(y)}`; }
  quadraticCurveTo(a, b, x, y) { this.d += `Q${round(a)} ${round(b)} ${round(x)} ${round(y)}`; }
  arc(x, y, r) {                               // whole circles only
    const half = to => `A${round(r)} ${round(r)} 0 1 1 ${round(to)} ${round(y)}`;
    this.d += `M${round(x + r)} ${round(y)}${half(x - r)}${half(x + r)}`;
  }
  stroke() { if (this.d) this.element('path', {d: this.d, ...this.pen}); }
  fill() { if (this.d) this.element('path', {d: this.d, fill: this.fillStyle}); }
  box(x, y, width, height) {
    return Object.fromEntries(Object.entries({x, y, width, height}).map(([k, v]) => [k, round(v)]));
  }
  fillRect(...box) { this.element('rect', {...this.box(...box), fill: this.fillStyle}); }
  strokeRect(...box) { this.element('rect', {...this.box(...box), ...this.pen}); }
  measureText(text) {
    ruler ??= document.createElement('canvas').getContext('2d');
    ruler.font = this.font;
    return ruler.measureText(text);
  }
  written(text, x, y, most, style) {
    const [, weight, size] = this.font.match(/(\d+) ([\d.]+)px/);
    const anchor = {right: 'end', center: 'middle'}[this.textAlign];
    const tight = most && this.measureText(text).width > most
      ? {textLength: round(most), lengthAdjust: 'spacingAndGlyphs'} : {};
    const bold = weight === '400' ? {} : {'font-weight': weight};
    const own = {x: round(x), y: round(y), 'font-size': size, ...bold, ...tight, ...style};
    this.element('text', {...own, ...(anchor ? {'text-anchor': anchor} : {})}, text);
  }
  fillText(text, x, y, most) { this.written(text, x, y, most, {fill: this.fillStyle}); }
  strokeText(text, x, y, most) { this.written(text, x, y, most, this.pen); }
}
