// The skeleton with the connections of the matrix that is shown.

import {clamp, numbers, picked, range} from './explore_numbers.js';
import {font, mark} from './explore_sheet.js';
import {counted} from './explore_words.js';

export function drawLimbs(c, {parents, sides, across = []}, colours, at) {      // at: joint -> x, y
  for (const side of ['left', 'right', 'trunk']) {
    c.strokeStyle = colours[side];
    c.beginPath();
    parents.forEach((p, v) => {
      if (sides[v] !== side || p === v) return;
      c.moveTo(...at(v));
      c.lineTo(...at(p));
    });
    if (side === 'trunk') {
      for (const [v, p] of across) {
        c.moveTo(...at(v));
        c.lineTo(...at(p));
      }
    }
    c.stroke();
  }
}

function camera(pane, w, height, gap) {        // frame, body, joint, shift -> x, y on the sheet
  const {data, clip, middle, size} = pane, {yaw, pitch, zoom} = pane.owner.state;
  const V = data.skeleton.joints.length, x = numbers(data.arrays[clip.pose]), {window} = pane.layer;
  const k = 0.88 * zoom * Math.min((w - gap * (window - 1)) / size[0], (height - 22) / size[1]);
  const [cosY, sinY, cosP, sinP] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return (t, b, v, shift = 0) => {
    const at = ((t * clip.bodies + b) * V + v) * 3, [X, Y, Z] = [0, 1, 2].map(d => x[at + d] - middle[d]);
    const depth = Z * cosY - X * sinY;
    return [w / 2 + k * (X * cosY + Z * sinY) + shift, (height - 18) / 2 - k * (Y * cosP - depth * sinP)];
  };
}

function drawBody(pane, c, at, second, alpha, width) {
  const {skeleton} = pane.data, {colours} = pane.owner;
  c.globalAlpha = alpha;
  c.lineWidth = width;
  c.lineCap = 'round';
  c.setLineDash(second ? [width * 0.4, width * 1.9] : []);
  drawLimbs(c, skeleton, colours, at);
  c.setLineDash([]);
  if (skeleton.head >= 0) {
    c.fillStyle = colours.trunk;
    c.beginPath();
    c.arc(...at(skeleton.head), width * 2.2, 0, 7);
    c.fill();
  }
  c.globalAlpha = 1;
}

function drawTrails(pane, c, point) {          // where the ends of the limbs and the chosen joint have been
  const {parents} = pane.data.skeleton, {clip, frame: t} = pane, b = pane.view.body;
  const isEnd = v => v === pane.owner.joint || !parents.some((p, u) => p === v && u !== v);
  const ends = range(parents.length).filter(isEnd), here = i => pane.here(i, b);
  c.lineWidth = 2;
  c.strokeStyle = pane.owner.colours.soft;
  for (let i = Math.max(1, t - 14); i <= t; i++) {
    if (!here(i) || !here(i - 1)) continue;
    c.globalAlpha = 0.5 * (1 - (t - i) / 15);
    c.beginPath();
    for (const v of ends) {
      c.moveTo(...point(i - 1, b, v));
      c.lineTo(...point(i, b, v));
    }
    c.stroke();
  }
  c.globalAlpha = 1;
}

export function edgesSeen(pane, same) {        // what is drawn: with a joint chosen, only what meets it
  const V = pane.data.skeleton.joints.length, {joint, column} = pane.owner, list = [];
  for (let u = 0; u < V; u++) for (let v = 0; v < V; v++) {
    const k = u * V + v, value = pane.A[k], pointed = u === joint && v === column;
    const met = joint < 0 || (column >= 0 ? pointed : u === joint || v === joint);
    if (!met || !value || (Math.abs(value) < pane.least && !pointed)) continue;
    if (pane.seeds && pane.view.seeds === 3 && !pane.seeds.shared[k]) continue;
    list.push({u, v, value, ring: u === v && same, shared: !pane.seeds || Boolean(pane.seeds.shared[k])});
  }
  return list;
}

function drawEdge(pane, c, {u, v, value, shared}, [x, y], [X, Y]) {      // an arrow from source to target
  const {plus, minus} = pane.owner.colours, {skeleton} = pane.data, {strongest} = pane.scaling;
  const size = Math.min(Math.abs(value) / strongest, 1), [dx, dy] = [X - x, Y - y];
  const [mx, my] = [(x + X) / 2 - dy * 0.18, (y + Y) / 2 + dx * 0.18], angle = Math.atan2(Y - my, X - mx);
  c.strokeStyle = c.fillStyle = value > 0 ? plus : minus;
  c.globalAlpha = 0.35 + 0.5 * size;
  c.lineWidth = 0.7 + 2.8 * size;
  const tip = Math.min(5 + c.lineWidth, (Math.hypot(dx, dy) || 1) * 0.4);
  c.setLineDash(shared ? [] : [4, 4]);
  c.beginPath();
  c.moveTo(x, y);
  c.quadraticCurveTo(mx, my, X, Y);
  mark(c, {kind: 'connection', source: skeleton.joints[u], target: skeleton.joints[v], value});
  c.stroke();
  c.setLineDash([]);
  c.beginPath();
  c.moveTo(X, Y);
  for (const to of [angle - 0.4, angle + 0.4]) c.lineTo(X - tip * Math.cos(to), Y - tip * Math.sin(to));
  c.fill();
}

function drawRing(pane, c, {u, value}, [x, y]) {
  const {plus, minus} = pane.owner.colours, {most} = pane.scaling, name = pane.data.skeleton.joints[u];
  c.strokeStyle = value > 0 ? plus : minus;
  c.globalAlpha = 0.8;
  c.lineWidth = 1;
  c.beginPath();
  c.arc(x, y, 3 + 4 * Math.min(Math.abs(value) / most, 1), 0, 7);
  mark(c, {kind: 'ring', source: name, target: name, value});
  c.stroke();
}

function drawEdges(pane, c, from, to, same) {
  const list = edgesSeen(pane, same), joint = pane.owner.joint, edges = list.filter(e => !e.ring);
  for (const e of list) e.ring ? drawRing(pane, c, e, from(e.u)) : drawEdge(pane, c, e, from(e.u), to(e.v));
  c.globalAlpha = 1;
  const count = test => edges.filter(test).length;
  pane.count = {edges: edges.length, rings: list.length - edges.length,
    from: count(e => e.u === joint), to: count(e => e.v === joint)};
}

function drawJoints(pane, c, spots, w) {
  const {skeleton} = pane.data, {colours, joint, column} = pane.owner;
  spots.forEach(([x, y], v) => {
    const lit = v === joint || v === column;
    c.fillStyle = colours.ink;
    c.beginPath();
    c.arc(x, y, lit ? 5 : 1.8, 0, 7);
    mark(c, {kind: 'joint', joint: skeleton.joints[v]});
    c.fill();
    if (!lit) return;
    const far = x > w - 110, at = [skeleton.joints[v], x + (far ? -9 : 9), y - 7];
    c.font = font(12, 600);
    c.textAlign = far ? 'right' : 'left';
    c.strokeStyle = colours.back;
    c.lineWidth = 3;
    c.strokeText(...at);
    c.fillText(...at);
  });
}

export function drawSkeleton(pane, c, w, height) {      // -> where the joints are
  const {clip, frame: t, layer: {window}, view} = pane, {state, colours} = pane.owner, b = view.body;
  const gap = window > 1 ? Math.min(w / window * 0.5, 70) : 0, point = camera(pane, w, height, gap);
  const middle = (window - 1) / 2, shift = i => (i - middle) * gap, here = pane.here(t, b);
  const from = picked(window, view.head), to = picked(window, view.stage), pose = i => [pane.frameOf(i), b];
  if (state.trails) drawTrails(pane, c, point);
  for (let body = 0; body < clip.bodies; body++) {
    if (!pane.here(t, body) || (body === b && window > 1)) continue;
    drawBody(pane, c, v => point(t, body, v), body > 0, 0.5, 4);
  }
  if (window > 1 && here) for (let i = 0; i < window; i++) {
    const seen = from.includes(i) || to.includes(i) ? 0.6 : 0.2;
    drawBody(pane, c, v => point(...pose(i), v, shift(i)), b > 0, seen, 3);
  }
  let spots = [];
  pane.count = {edges: 0, rings: 0, from: 0, to: 0};
  if (here) {                                  // a mean over frames is drawn within the middle one
    const one = list => (window === 1 || list.length > 1 ? Math.floor(middle) : list[0]);
    const [f, g] = [one(from), one(to)], place = i => v => point(...pose(i), v, shift(i));
    drawEdges(pane, c, place(f), place(g), f === g);
    spots = range(pane.data.skeleton.joints.length).map(place(f));
    drawJoints(pane, c, spots, w);
  }
  c.font = font(11);
  c.textAlign = 'left';
  c.fillStyle = colours.soft;
  c.fillText(here ? counted(pane) : `body ${b + 1} is not in this frame`, 4, height - 5, w - 8);
  return spots;
}

export const heightOfSkeleton = (w, most) => clamp(w * 1.2, 240, most);
