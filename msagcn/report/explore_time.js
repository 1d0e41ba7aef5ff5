// Class probabilities over time, and how much each frame counts.

import {clamp, extent, format, nearest, numbers, range} from './explore_numbers.js';
import {font, mark} from './explore_sheet.js';
import {colouring} from './explore_matrix.js';
import {span} from './explore_words.js';

const PLOT_TOP = 8, LANE = 30, ROW = 17;
const DASHES = [[6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [4, 1]];

const columnsOf = w => Math.max(1, Math.floor(w / 210));

export function heightOfTime(pane, w, most) {
  const rows = Math.ceil(pane.order.length / columnsOf(w));
  return clamp(most, 84, 240) + PLOT_TOP + 22 + rows * ROW + Math.max(pane.laneCount * LANE, 18);
}

function styleOf(pane, k, i) {                 // of a class's curve
  const {colours} = pane.owner;
  if (k === pane.clip.label) return {colour: colours.ink, width: 3, dash: []};
  if (i === 0) return {colour: colours.wrong, width: 2, dash: []};
  return {colour: colours.soft, width: 1.3, dash: DASHES[i % DASHES.length]};
}

function drawCurves(pane, c, {left, W, H, x}) {
  const {colours} = pane.owner, P = numbers(pane.P), K = pane.K, {at} = pane.inside, now = pane.step;
  const y = p => PLOT_TOP + H * (1 - p);
  c.font = font(10);
  c.textAlign = 'right';
  c.strokeStyle = colours.line;
  c.fillStyle = colours.soft;
  c.lineWidth = 1;
  for (const p of [0, 0.5, 1]) {
    c.beginPath();
    c.moveTo(left, y(p));
    c.lineTo(left + W, y(p));
    c.stroke();
    c.fillText(`${100 * p} %`, left - 5, y(p) + 4);
  }
  [...pane.order.entries()].reverse().forEach(([i, k]) => {      // the first on top
    const {colour, width, dash} = styleOf(pane, k, i), p = at.map((_, j) => pane.p[j * K + k]);
    c.strokeStyle = c.fillStyle = colour;
    c.lineWidth = width;
    c.setLineDash(dash);
    c.beginPath();
    at.forEach((n, j) => c[j ? 'lineTo' : 'moveTo'](x(n - 1), y(p[j])));
    const told = {kind: 'probability', class: pane.data.classes[k], frames: at.join(' ')};
    mark(c, {...told, values: p.map(q => q.toPrecision(6)).join(' ')});
    c.stroke();
    c.setLineDash([]);
    c.beginPath();
    c.arc(x(at[now] - 1), y(p[now]), 3, 0, 7);
    c.fill();
  });
}

function drawClasses(pane, c, w, top) {        // the curves' names
  const {colours} = pane.owner, columns = columnsOf(w), wide = w / columns, K = pane.K;
  pane.order.forEach((k, i) => {
    const {colour, width, dash} = styleOf(pane, k, i), mine = k === pane.clip.label;
    const x = wide * (i % columns), y = top + ROW * Math.floor(i / columns);
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.setLineDash(dash);
    c.beginPath();
    c.moveTo(x, y - 4);
    c.lineTo(x + 20, y - 4);
    c.stroke();
    c.setLineDash([]);
    c.fillStyle = colours.ink;
    c.textAlign = 'left';
    c.font = font(11, mine ? 600 : 400);
    c.fillText(`${(100 * pane.p[pane.step * K + k]).toFixed(0)} %`, x + 25, y, 38);
    c.fillText(pane.data.classes[k] + (mine ? ' ✓' : ''), x + 66, y, wide - 72);
  });
}

function drawLane(pane, c, lane, now, top, {left, W, x}) {
  const {colours, dark} = pane.owner, last = pane.clip.frames - 1 || 1, {T} = pane;
  const colour = colouring(lane.range, pane.data.colours, dark), at = f => pane.where(f);
  lane.values.forEach((value, f) => {
    const a = f ? (at(f) + at(f - 1)) / 2 : 0, b = f < T - 1 ? (at(f) + at(f + 1)) / 2 : last;
    c.fillStyle = colour(value);
    mark(c, {kind: lane.kind, frame: f + 1, value});
    c.fillRect(x(a), top, Math.max(x(b) - x(a), 1) + 0.5, 13);
  });
  c.strokeStyle = colours.line;
  c.lineWidth = 1;
  c.strokeRect(left, top, W, 13);
  c.font = font(10);
  c.fillStyle = colours.soft;
  c.textAlign = 'right';
  c.fillText(lane.name, left - 5, top + 10, left - 6);
  c.textAlign = 'left';
  const here = `here ${format(lane.values[now])}; ${lane.state || span(extent(lane.values))}`;
  c.fillText(`${here} (colours: ${span(lane.range)})`, left, top + 23, W);
}

export function drawTime(pane, c, w, most) {   // -> where the plot is
  const {colours} = pane.owner, left = Math.min(92, w * 0.24), W = w - left - 8, H = clamp(most, 84, 240);
  const last = pane.clip.frames - 1 || 1, x = t => left + W * clamp(t / last, 0, 1), plot = {left, W, H, x};
  drawCurves(pane, c, plot);
  c.font = font(10);
  c.fillStyle = colours.soft;
  c.textAlign = 'left';
  c.fillText('frame 1', left, PLOT_TOP + H + 13);
  c.textAlign = 'right';
  c.fillText(`${pane.clip.frames}`, left + W, PLOT_TOP + H + 13);
  const now = pane.T ? pane.now : 0, lanes = pane.lanes(now), top = PLOT_TOP + H + 22;
  lanes.forEach((lane, i) => drawLane(pane, c, lane, now, top + i * LANE, plot));
  if (!lanes.length) {
    c.textAlign = 'left';
    c.font = font(11);
    c.fillText(`${pane.run.model}: no weights of frames to show`, left, top + 10, W);
  }
  drawClasses(pane, c, w, top + Math.max(lanes.length * LANE, 18) + 12);
  c.strokeStyle = colours.ink;
  c.lineWidth = 1.5;
  c.beginPath();
  const bars = lanes.map((_, i) => top + i * LANE).map(y => [y - 2, y + 15]);
  for (const [from, to] of [[2, PLOT_TOP + H], ...bars]) {      // not through the words
    c.moveTo(x(pane.frame), from);
    c.lineTo(x(pane.frame), to);
  }
  c.stroke();
  return {left, W};
}

export const nowOf = pane => nearest(range(pane.T).map(t => pane.where(t)), pane.frame);
