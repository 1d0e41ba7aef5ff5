// Frames of pixels as an animated GIF: a palette of the most frequent colours, LZW, and of each frame only
// what has changed.

const CLEAR = 256, END = 257, SAME = 255;      // codes of LZW; the palette's last place is transparent

const small = (r, g, b) => (r >> 3) << 10 | (g >> 3) << 5 | b >> 3;      // 15 bits of a colour

function paletteOf(frames) {                   // -> 255 colours, and the nearest of each colour of 15 bits
  const count = new Uint32Array(32768), total = new Float64Array(3 * 32768);
  for (const {data} of frames) for (let i = 0; i < data.length; i += 4) {
    const k = small(data[i], data[i + 1], data[i + 2]);
    count[k]++;
    for (let c = 0; c < 3; c++) total[3 * k + c] += data[i + c];
  }
  const seen = [...count.keys()].filter(k => count[k]), byUse = (a, b) => count[b] - count[a];
  const mean = k => [0, 1, 2].map(c => Math.round(total[3 * k + c] / count[k]));
  const colours = seen.sort(byUse).slice(0, SAME).map(mean), place = new Uint8Array(32768);
  for (const k of seen) {
    const [r, g, b] = mean(k);
    let best = Infinity;
    colours.forEach(([R, G, B], i) => {
      const far = (r - R) ** 2 + (g - G) ** 2 + (b - B) ** 2;
      if (far < best) { best = far; place[k] = i; }
    });
  }
  return {colours, place};
}

function indexed({data, width, height}, place) {
  const out = new Uint8Array(width * height);
  for (let i = 0; i < out.length; i++) out[i] = place[small(data[4 * i], data[4 * i + 1], data[4 * i + 2])];
  return out;
}

function changedBox(now, last, width) {        // the rectangle outside which nothing differs
  let left = width, right = -1, top = -1, bottom = -1;
  for (let i = 0; i < now.length; i++) if (now[i] !== last[i]) {
    const x = i % width, y = (i - x) / width;
    if (top < 0) top = y;
    bottom = y;
    if (x < left) left = x;
    if (x > right) right = x;
  }
  return top < 0 ? [0, 0, 1, 1] : [left, top, right - left + 1, bottom - top + 1];
}

function compressed(pixels) {                  // LZW with codes of 9 to 12 bits, in blocks of 255 bytes
  const out = [];
  let held = 0, bits = 0, size = 9, next = END + 1, table = new Map(), code = pixels[0];
  const put = value => {
    held |= value << bits;
    for (bits += size; bits >= 8; bits -= 8, held >>>= 8) out.push(held & 255);
  };
  put(CLEAR);
  for (let i = 1; i < pixels.length; i++) {
    const key = code << 8 | pixels[i], known = table.get(key);
    if (known !== undefined) { code = known; continue; }
    put(code);
    if (next < 4096) {
      table.set(key, next);
      if (next++ === 1 << size) size++;
    } else {
      put(CLEAR);
      [size, next, table] = [9, END + 1, new Map()];
    }
    code = pixels[i];
  }
  put(code);
  put(END);
  if (bits) out.push(held & 255);
  const blocks = [];
  for (let i = 0; i < out.length; i += 255) {
    const block = out.slice(i, i + 255);
    blocks.push(block.length, ...block);
  }
  return [8, ...blocks, 0];
}

export function encodeGif(frames, hundredths) {      // ImageData of one size; time of each frame
  const {width, height} = frames[0], two = n => [n & 255, n >> 8], {colours, place} = paletteOf(frames);
  const table = new Uint8Array(768);
  table.set(colours.flat());
  const text = words => [...words].map(c => c.charCodeAt(0));
  const parts = [[...text('GIF89a'), ...two(width), ...two(height), 0xf7, 0, 0], table,
    [0x21, 0xff, 11, ...text('NETSCAPE2.0'), 3, 1, 0, 0, 0]];      // for ever
  let last = null;
  for (const frame of frames) {
    const now = indexed(frame, place);
    const [x, y, w, high] = last ? changedBox(now, last, width) : [0, 0, width, height];
    const box = new Uint8Array(w * high);
    for (let row = 0, i = 0; row < high; row++) for (let column = 0; column < w; column++, i++) {
      const at = (y + row) * width + x + column;
      box[i] = last && last[at] === now[at] ? SAME : now[at];
    }
    parts.push([0x21, 0xf9, 4, last ? 5 : 4, ...two(hundredths), SAME, 0],
      [0x2c, ...two(x), ...two(y), ...two(w), ...two(high), 0], compressed(box));
    last = now;
  }
  return new Blob([...parts.map(p => Uint8Array.from(p)), Uint8Array.of(0x3b)], {type: 'image/gif'});
}
