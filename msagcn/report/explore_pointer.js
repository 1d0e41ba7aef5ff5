// What pointer and keys do on the canvases of a view.

import {clamp} from './explore_numbers.js';

function turnAndPoint({owner, body3d}, spotsOf) {
  body3d.addEventListener('pointermove', e => {
    if (e.buttons) return owner.turn(e.movementX * 0.01, e.movementY * 0.01);
    const far = ([x, y], v) => [Math.hypot(x - e.offsetX, y - e.offsetY), v];
    const [near] = spotsOf().map(far).sort((a, b) => a[0] - b[0]);
    return owner.point(near && near[0] < 16 ? near[1] : -1, -1);
  });
  body3d.addEventListener('keydown', e => {
    const turns = {ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12]};
    const zooms = {'+': 1.1, '=': 1.1, '-': 0.9};
    const [turn, zoom, space] = [turns[e.key], zooms[e.key], e.key === ' '];
    if (turn) owner.turn(...turn);
    if (zoom) owner.set({zoom: clamp(owner.state.zoom * zoom, 0.4, 4)});
    if (space) owner.set({playing: !owner.state.playing});
    if (turn || zoom || space) e.preventDefault();
  });
}

function walkTheMatrix(pane) {
  const {owner, heat} = pane;
  heat.addEventListener('pointermove', e => {
    const {left, top, cell, V} = pane.cell, there = x => x >= 0 && x < V;
    const row = Math.floor((e.offsetY - top) / cell), column = Math.floor((e.offsetX - left) / cell);
    owner.point(there(row) ? row : -1, there(row) && there(column) ? column : -1);
  });
  heat.addEventListener('keydown', e => {
    const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    const step = steps[e.key], last = pane.cell.V - 1;
    const to = (from, by) => clamp(Math.max(from, 0) + by, 0, last);
    if (!step) return;
    owner.point(to(owner.joint, step[0]), to(owner.column, step[1]));
    owner.changed(() => pane.said.textContent);
    e.preventDefault();
  });
}

export function listen(pane) {
  const {owner, body3d, heat, line} = pane;
  for (const canvas of [body3d, line]) {
    canvas.addEventListener('pointerdown', e => canvas.setPointerCapture(e.pointerId));
  }
  turnAndPoint(pane, () => pane.spots || []);
  walkTheMatrix(pane);
  for (const canvas of [body3d, heat]) for (const kind of ['pointerleave', 'blur']) {
    canvas.addEventListener(kind, () => owner.point(-1, -1));
  }
  const scrub = e => {
    const time = clamp((e.offsetX - pane.plot.left) / pane.plot.W, 0, 1);
    if (e.buttons) owner.set({time, playing: false});
  };
  for (const kind of ['pointerdown', 'pointermove']) line.addEventListener(kind, scrub);
}
