// The view as one picture: vector, pixels, or moving.

import {range} from './explore_numbers.js';
import {SvgSheet, font, h, within} from './explore_sheet.js';
import {drawSymbol, legend} from './explore_style.js';
import {addressOf} from './explore_address.js';
import {drawSkeleton} from './explore_skeleton.js';
import {drawMatrix, layOut} from './explore_matrix.js';
import {drawTime, heightOfTime} from './explore_time.js';
import {encodeGif} from './explore_gif.js';
import {verdictText} from './explore_words.js';

const WIDTH = 1280, EDGE = 16, HEAD = 44, LINE = 16, MOST = 520, FRAMES = 120;

function wrapped(c, text, width) {             // lines of at most so many pixels
  const lines = [''];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (c.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function plan(explorer) {                      // widths and heights
  const inner = WIDTH - 2 * EDGE - 40, unit = inner / 14, V = explorer.data.skeleton.joints.length;
  const columns = [4, 5, 5].map(n => n * unit), {height} = layOut(V, columns[1], MOST);
  const each = HEAD + height + 12, legendHeight = 26;
  const panes = explorer.shown.length;
  return {columns, height, each, legendHeight, total: 2 * EDGE + legendHeight + panes * each + LINE};
}

function drawLegend(explorer, c, x, y) {
  c.font = font(12);
  c.textAlign = 'left';
  for (const [what, colour, words] of legend(explorer.data.groups.length)) {
    drawSymbol(c, what, explorer.colours[colour], x, y);
    c.fillStyle = explorer.colours.ink;
    c.fillText(words, x + 27, y + 4);
    x += 27 + c.measureText(words).width + 18;
  }
}

function drawPane(pane, c, {columns: [a, b, d], height}) {
  const {colours} = pane.owner, whole = a + b + d + 40;
  c.textAlign = 'left';
  c.fillStyle = colours.ink;
  c.font = font(14, 600);
  const {clip, frame, runName} = pane, when = `frame ${frame + 1} of ${clip.frames}`;
  c.fillText(`${runName}, clip ${clip.name}, ${when}`, 0, 14, whole);
  c.font = font(12);
  c.fillText(verdictText(pane), 0, 32, whole);
  const rest = heightOfTime(pane, d, 0), lines = pane.lines().flatMap(text => wrapped(c, text, d));
  const curves = 84 + height - rest - LINE * lines.length - 8, long = heightOfTime(pane, d, curves);
  within(c, 0, HEAD, a, height, () => drawSkeleton(pane, c, a, height));
  within(c, a + 20, HEAD, b, height, () => drawMatrix(pane, c, b, MOST));
  within(c, a + b + 40, HEAD, d, height, () => {
    drawTime(pane, c, d, curves);
    c.fillStyle = colours.soft;
    c.textAlign = 'left';
    c.font = font(12);
    lines.forEach((text, i) => c.fillText(text, 0, long + LINE * (i + 1), d));
  });
}

function drawAll(explorer, c, sizes) {
  const {colours, data} = explorer;
  c.fillStyle = colours.back;
  c.fillRect(0, 0, WIDTH, sizes.total);
  drawLegend(explorer, c, EDGE, EDGE + 6);
  explorer.shown.forEach((pane, i) => {
    const y = EDGE + sizes.legendHeight + i * sizes.each;
    within(c, EDGE, y, WIDTH - 2 * EDGE, sizes.each, () => drawPane(pane, c, sizes));
  });
  c.fillStyle = colours.soft;
  c.font = font(10);
  c.textAlign = 'left';
  c.fillText(`msagcn explorer: ${data.title}`, EDGE, sizes.total - 8, WIDTH - 2 * EDGE);
}

export function svgOf(explorer) {
  explorer.paint();
  const sizes = plan(explorer), title = explorer.shown.map(p => p.title()).join(' | ');
  const said = explorer.shown.map(p => `${verdictText(p)} ${p.lines().join(' ')}`);
  const words = `${said.join(' | ')} #${addressOf(explorer)}`;
  const sheet = new SvgSheet(WIDTH, sizes.total, {title: `${explorer.data.title}: ${title}`, words});
  drawAll(explorer, sheet, sizes);
  return sheet.text;
}

function canvasOf(sizes, scale) {
  const canvas = h('canvas', {width: WIDTH * scale, height: Math.round(sizes.total * scale)});
  const c = canvas.getContext('2d', {willReadFrequently: true});
  c.scale(scale, scale);
  return [canvas, c];
}

export function pngOf(explorer) {              // two pixels to one of the screen
  explorer.paint();
  const sizes = plan(explorer), [canvas, c] = canvasOf(sizes, 2);
  drawAll(explorer, c, sizes);
  return new Promise(done => { canvas.toBlob(done, 'image/png'); });
}

const pause = () => new Promise(done => { setTimeout(done); });

export async function gifOf(explorer, tell = () => {}) {      // the whole clip, at most 120 frames of it
  explorer.paint();
  const longest = Math.max(...explorer.shown.map(p => p.clip.frames)), n = Math.min(longest, FRAMES);
  const sizes = plan(explorer), [canvas, c] = canvasOf(sizes, 1), pictures = [];
  for (const i of range(n)) {
    const {time} = explorer.state;
    explorer.state.time = n > 1 ? i / (n - 1) : 0;
    drawAll(explorer, c, sizes);
    explorer.state.time = time;
    pictures.push(c.getImageData(0, 0, canvas.width, canvas.height));
    tell(`frame ${i + 1} of ${n}`);
    await pause();
  }
  explorer.ask(0);
  tell('packing');
  await pause();
  const seconds = longest / n / (30 * explorer.state.speed);
  return encodeGif(pictures, Math.max(3, Math.round(100 * seconds)));
}

export function fileName(explorer, ending) {
  const [pane] = explorer.shown, frame = ending === 'gif' ? [] : [`frame ${pane.frame + 1}`];
  const words = [pane.runName, pane.clip.name, pane.lists.layer[pane.view.layer], pane.partName, ...frame];
  return `${words.join('_').replace(/[^\w.-]+/g, '-')}.${ending}`;
}

export function download(blob, name) {
  const href = URL.createObjectURL(blob);
  h('a', {href, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}
