// The look, and the legend. A colour means one thing: orange and purple are the sign of a number, blue and
// green are sides of the body, pink is a class that was wrongly chosen, grey is how far seeds agree.

export const COLOURS = ['ink', 'soft', 'line', 'back', 'left', 'right', 'trunk', 'plus', 'minus', 'wrong'];

export const CSS = `
.mx {
  --ink: #1c1c1c; --soft: #5c5c5c; --line: #d4d4d4; --back: #fff; --tile: #f6f6f6;
  --left: #0072b2; --right: #008a63; --trunk: #777; --plus: #b35806; --minus: #542788; --wrong: #c2185b;
  font: 13px/1.35 system-ui, sans-serif; color: var(--ink); background: var(--back); text-align: left;
  container-type: inline-size;
}
.mx[data-dark] {
  --ink: #e6e6e6; --soft: #a4a4a4; --line: #444; --back: #161616; --tile: #202020;
  --left: #56b4e9; --right: #2ec797; --trunk: #999; --plus: #fdb863; --minus: #b2abd2; --wrong: #ff7eb6;
}
.mx * { box-sizing: border-box }
.mx canvas { display: block; width: 100%; touch-action: none; border-radius: 3px }
.mx p { margin: 0 }
.mx-bar, .mx-row, .mx-legend { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: end }
.mx-bar {
  align-items: center; padding: 5px 8px; background: var(--tile); border-radius: 5px;
  position: sticky; top: 0; z-index: 2;
}
.mx-row { margin: 0 0 5px }
.mx-legend { align-items: center; margin: 5px 0; font-size: 12px; color: var(--soft); gap: 2px 14px }
.mx-legend span { display: inline-flex; gap: 5px; align-items: center; white-space: nowrap }
.mx-legend svg { flex: none }
.mx label { display: inline-flex; flex-direction: column; font-size: 11px; color: var(--soft) }
.mx-bar label { flex-direction: row; gap: 5px; align-items: center }
.mx select, .mx button {
  font: inherit; font-size: 13px; color: var(--ink); background: var(--back);
  border: 1px solid var(--line); border-radius: 4px; padding: 2px 5px; max-width: 17em;
}
.mx-bar .mx-play { min-width: 5.5em }
.mx-save { display: inline-flex; gap: 4px; align-items: center; font-size: 11px; color: var(--soft) }
.mx select:disabled { color: var(--soft); opacity: .7 }
.mx input { accent-color: var(--ink) }
.mx :focus-visible { outline: 2px solid var(--ink); outline-offset: 1px }
.mx-scrub { flex: 1 1 9em; min-width: 7em }
.mx-time { min-width: 7.5em; font-variant-numeric: tabular-nums; color: var(--soft) }
.mx-panes { display: grid; grid-template-columns: minmax(0, 1fr); gap: 18px }
.mx-panes.two { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) }
.mx-pane { min-width: 0 }
.mx-figures { display: grid; gap: 14px; align-items: start }
.mx-figures { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr) minmax(0, 5fr) }
.mx-figures > div, .mx-tile { min-width: 0 }
.two .mx-figures { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr); gap: 6px 10px }
.two .mx-figures > :last-child { grid-column: 1 / -1 }
@container (max-width: 1000px) {
  .mx-figures { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr) }
  .mx-figures > :last-child { grid-column: 1 / -1 }
}
@container (max-width: 820px) { .two .mx-figures { grid-template-columns: minmax(0, 1fr) } }
@container (max-width: 540px) {
  .mx-bar { position: static }
  .mx-panes.two, .mx-figures { grid-template-columns: minmax(0, 1fr) }
}
.mx-verdict { min-height: 1.35em; margin: 0 0 4px }
.two .mx-verdict { min-height: 2.7em }
.mx-said { color: var(--soft); font-variant-numeric: tabular-nums; min-height: 5.4em; margin: 4px 0 0 }
.mx-said b, .mx-verdict b { color: var(--ink) }
.mx-wrong { color: var(--wrong); font-weight: 600 }
.mx-parts { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0 }
.mx .mx-tile {
  display: block; padding: 4px; background: var(--tile); border: 1px solid var(--line); border-radius: 4px;
  text-align: left; font-size: 11px; flex: 1 1 104px; max-width: 150px; overflow: hidden;
  white-space: nowrap; text-overflow: ellipsis;
}
.mx .mx-tile[aria-pressed=true] { border-color: var(--ink); box-shadow: inset 0 0 0 1px var(--ink) }
.mx-tile small {
  display: block; color: var(--soft); font-size: 10px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis;
}
.mx .mx-apart { margin-left: 24px }
.mx-tile canvas { image-rendering: pixelated; max-width: 96px }
.mx-gallery { display: flex; flex-wrap: wrap; gap: 5px; max-height: 132px; overflow: auto; margin: 5px 0 }
.mx-gallery .mx-tile { flex: 0 0 104px }
.mx-help { color: var(--soft); margin: 8px 0 0 }
.mx-help p { margin: 6px 0 }
.mx-help summary { cursor: pointer }
.mx-notice { color: var(--wrong); margin: 4px 0 }
.mx-notice:empty { display: none }
.mx-heard {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}`;

export function legend(seeds) {                // [what, colour, words]; of what is drawn
  const list = [
    ['line', 'left', 'left side'],
    ['line', 'right', 'right side'],
    ['arrow', 'plus', 'positive, source → target joint'],
    ['arrow', 'minus', 'negative'],
    ['ring', 'soft', 'a joint to itself'],
    ['thick', 'ink', 'true class'],
    ['line', 'wrong', 'class chosen instead'],
  ];
  return seeds ? [...list.slice(0, 4), ['dashed', 'plus', 'not in every seed'], ...list.slice(4)] : list;
}

export function drawSymbol(c, what, colour, x, y) {   // 22 pixels wide; y is the middle
  c.strokeStyle = c.fillStyle = colour;
  c.lineWidth = {thick: 3, line: 2.5}[what] ?? 1.6;
  c.setLineDash(what === 'dashed' ? [3, 3] : []);
  c.beginPath();
  if (what === 'ring') c.arc(x + 11, y, 5, 0, 7);
  else { c.moveTo(x, y); c.lineTo(x + 20, y); }
  c.stroke();
  c.setLineDash([]);
  if (what !== 'arrow') return;
  c.beginPath();
  c.moveTo(x + 22, y);
  c.lineTo(x + 14, y - 4);
  c.lineTo(x + 14, y + 4);
  c.fill();
}
