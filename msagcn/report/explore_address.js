// What is shown, as the part of an address after its `#`, by names, and back.

import {clamp} from './explore_numbers.js';
import {VIEW, listsOf, lowest} from './explore_pane.js';

const FIRST = ['run', 'clip'], ORDER = VIEW;
const ALWAYS = ['run', 'clip', 'layer', 'part'];
const CAMERA = ['yaw', 'pitch', 'zoom'];

const namesOf = (data, view, key) =>
  (key === 'clip' ? data.clips.map(c => c.name) : listsOf(data, view)[key]);

export function addressOf(explorer) {
  const {data, state} = explorer, words = new URLSearchParams();
  explorer.shown.forEach((pane, i) => {
    for (const k of [...FIRST, ...ORDER]) {
      const names = namesOf(data, pane.view, k), chosen = pane.view[k];
      if (names.length < 2 && !ALWAYS.includes(k)) continue;
      words.set(k + (i ? i + 1 : ''), chosen < 0 ? 'mean' : names[chosen]);
    }
    if (!i) words.set('frame', pane.frame + 1);
  });
  words.set('joint', state.joint < 0 ? 'none' : data.skeleton.joints[state.joint]);
  words.set('view', CAMERA.map(k => Number(state[k].toFixed(3))).join(' '));
  if (state.threshold !== null) words.set('least', state.threshold);
  if (!state.trails) words.set('trails', 'no');
  if (state.stretch) words.set('stretch', 'yes');
  if (state.compare) words.set('linked', state.linked ? 'yes' : 'no');
  return words.toString();
}

function readView(data, words, i, missing) {   // the choices of one view
  const view = {run: 0, clip: 0, layer: 0, subset: 0, stage: -1, head: -1, part: 99, body: 0, seeds: 0};
  for (const k of [...FIRST, ...ORDER]) {
    const name = words.get(k + (i ? i + 1 : ''));
    if (name === null) continue;
    const names = namesOf(data, view, k), at = names.indexOf(name);
    if (at >= 0) view[k] = at;
    else if (name === 'mean' && lowest(k, names) < 0) view[k] = -1;
    else missing.push(`${k} ${name}`);
  }
  return view;
}

export function readAddress(data, text) {      // -> [change of the state, what is not on this page]
  const words = new URLSearchParams(text), missing = [], change = {panes: []};
  if (!words.has('run') && !words.has('clip')) return [null, []];
  change.compare = words.has('run2');
  change.panes.push(readView(data, words, 0, missing));
  if (change.compare) change.panes.push(readView(data, words, 1, missing));
  const {frames} = data.clips[change.panes[0].clip], frame = Number(words.get('frame') ?? 1);
  change.time = clamp((frame - 1) / Math.max(frames - 1, 1) || 0, 0, 1);
  const joint = words.get('joint') ?? 'none';
  change.joint = data.skeleton.joints.indexOf(joint);
  if (change.joint < 0 && joint !== 'none') missing.push(`joint ${joint}`);
  const camera = (words.get('view') ?? '').split(' ').map(Number);
  const whole = camera.length === 3 && camera.every(Number.isFinite);
  if (whole) CAMERA.forEach((k, i) => { change[k] = camera[i]; });
  change.threshold = words.has('least') ? clamp(Number(words.get('least')) || 0, 0, 100) : null;
  change.trails = words.get('trails') !== 'no';
  change.stretch = words.get('stretch') === 'yes';
  change.linked = words.get('linked') !== 'no';
  change.playing = false;
  return [change, missing];
}
