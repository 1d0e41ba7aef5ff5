// The matrix as a heat map, and small pictures of matrices.

import {clamp, extent, format} from './explore_numbers.js';
import {colourAt, font, h, mark} from './explore_sheet.js';

export function colouring(range, tables, dark, grey) {      // a number -> its colour
  const {low, high, signed} = range, table = tables[(grey ? 'grey' : 'signed') + (dark ? '_dark' : '')];
  if (grey) return x => colourAt(table, (x - low) / (high - low || 1));
  if (signed) return x => colourAt(table, 0.5 + x / (2 * high));
  return x => colourAt(table, 0.5 + (x - low) / (2 * (high - low || 1)));      // the positive half
}

export function paint(m, rows, colour) {       // a picture with one pixel an entry
  const columns = m.length / rows, picture = h('canvas', {width: columns, height: rows});
  const c = picture.getContext('2d'), image = c.createImageData(columns, rows);
  for (let i = 0; i < m.length; i++) {
    const rgb = parseInt(colour(m[i]).slice(1), 16);
    image.data.set([rgb >> 16, rgb >> 8 & 255, rgb & 255, 255], 4 * i);
  }
  c.putImageData(image, 0, 0);
  return picture;
}

const MATRIX_TOP = 34, BAR = 60, WORDS = 14;   // pixels for the title, the scale, what the colours span

export function layOut(V, w, most) {           // where the cells are
  const left = Math.min(92, w * 0.24), under = left + 6;
  const cell = Math.max(5, Math.floor(Math.min(w - left - BAR, most - MATRIX_TOP - under - WORDS) / V));
  return {left, top: MATRIX_TOP, cell, V, side: cell * V, height: MATRIX_TOP + cell * V + under + WORDS};
}

function drawCells(pane, c, {left, top, cell, V}, colour) {
  const names = pane.data.skeleton.joints, m = pane.shown;
  for (let u = 0; u < V; u++) for (let v = 0; v < V; v++) {
    const more = {x: v < V - 1 ? 0.5 : 0, y: u < V - 1 ? 0.5 : 0}, value = m[u * V + v];     // no seams
    c.fillStyle = colour(value);
    mark(c, {kind: 'entry', source: names[u], target: names[v], value});
    c.fillRect(left + v * cell, top + u * cell, cell + more.x, cell + more.y);
  }
}

function drawNames(pane, c, {left, top, cell, V, side}) {
  const {colours, joint, column} = pane.owner, names = pane.data.skeleton.joints;
  const size = clamp(cell - 1, 7, 11);
  const write = (text, x, y, turn, strong) => {
    c.save();
    c.translate(x, y);
    c.rotate(turn);
    c.textAlign = 'right';
    c.font = font(size, strong ? 600 : 400);
    c.fillStyle = strong ? colours.ink : colours.soft;
    c.fillText(text, 0, 0, left - 6);
    c.restore();
  };
  const lit = column >= 0 ? column : joint;
  for (let v = 0, at = cell * 0.5 + size * 0.35; v < V; v++, at += cell) {
    write(names[v], left - 4, top + at, 0, v === joint);
    write(names[v], left + at, top + side + 4, -Math.PI / 2, v === lit);
  }
  c.font = font(10);
  c.fillStyle = colours.soft;
  c.textAlign = 'left';
  const brief = side < 230 ? '' : ' joint';
  c.fillText(`row: source${brief}`, left, top - 5, side / 2);
  c.textAlign = 'right';
  c.fillText(`column: target${brief} ↓`, left + side, top - 5, side / 2);
}

function drawScale(pane, c, {left, top, side}, range, colour) {      // a bracket: what this matrix has of it
  const {colours} = pane.owner, x = left + side + 8, long = side * 0.6, has = extent(pane.shown);
  const low = range.signed ? -range.high : range.low, part = value => (value - low) / (range.high - low || 1);
  const y = value => top + long * (1 - clamp(part(value), 0, 1));
  for (let i = 0; i < 64; i++) {
    c.fillStyle = colour(low + (range.high - low) * (1 - i / 63));
    c.fillRect(x, top + long * i / 64, 8, long / 64 + 0.5);
  }
  c.font = font(10);
  c.fillStyle = c.strokeStyle = colours.soft;
  c.textAlign = 'left';
  c.fillText((has.high > 1.001 * range.high ? '≥ ' : '') + format(range.high), x + 14, top + 8);
  c.fillText((has.low < low - 0.001 * range.high ? '≤ ' : '') + format(low), x + 14, top + long);
  c.lineWidth = 1.5;
  c.beginPath();
  c.moveTo(x + 11, y(has.low));
  c.lineTo(x + 11, y(has.high));
  c.stroke();
}

function outline(c, x, y, w, height) {         // seen on any colour
  for (const [colour, width] of [['#fff', 4], ['#000', 1.5]]) {
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.strokeRect(x - 1, y - 1, w + 2, height + 2);
  }
}

export function drawMatrix(pane, c, w, most) {      // -> where the cells are
  const {colours, joint, column, dark} = pane.owner, at = layOut(pane.data.skeleton.joints.length, w, most);
  const range = pane.range(), colour = colouring(range, pane.data.colours, dark, range.grey);
  drawCells(pane, c, at, colour);
  c.fillStyle = colours.ink;
  c.font = font(w < 420 ? 10 : 12, 600);
  c.textAlign = 'left';
  c.fillText(pane.title(), 0, 12, w);
  drawNames(pane, c, at);
  drawScale(pane, c, at, range, colour);
  const {left, top, cell, side} = at, target = column >= 0 ? column : joint;
  if (joint >= 0) outline(c, left, top + joint * cell, side, cell);
  if (target >= 0) outline(c, left + target * cell, top, cell, side);
  c.font = font(10);
  c.fillStyle = colours.soft;
  c.textAlign = 'right';
  c.fillText(range.words, w, at.height - 3, w - left);
  return at;
}
