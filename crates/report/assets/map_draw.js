// Drawing the cells and their names onto the canvas.

const view = { map: null, color: null, taken: null, zoom: 1, cx: 0.5, cy: 0.5, scale: 1, x0: 0, y0: 0, ratio: 1 };

// Where a cell is on the canvas, in px of the screen's device.
function place() {
  const canvas = byId("map-canvas");
  const { map } = view;
  const margin = 14 * view.ratio;
  const w = map.x.span;
  const h = map.y.span;
  view.scale = Math.min((canvas.width - 2 * margin) / w, (canvas.height - 2 * margin) / h) * view.zoom;
  view.x0 = canvas.width / 2 - view.cx * w * view.scale;
  view.y0 = canvas.height / 2 + view.cy * h * view.scale;
  view.kx = (w * view.scale) / STEPS;
  view.ky = (h * view.scale) / STEPS;
}

function radius() {
  const canvas = byId("map-canvas");
  const share = (canvas.width * canvas.height * 0.3) / view.map.n;
  const base = 0.5 * Math.sqrt(share);
  return Math.max(0.7 * view.ratio, Math.min(3.2 * view.ratio, base)) * Math.min(2.2, Math.sqrt(view.zoom));
}

// How much of each pixel a dot covers, for 4 × 4 places of its middle within a pixel.
function stamps(r) {
  const all = [];
  for (let s = 0; s < 16; s++) {
    const fx = ((s & 3) + 0.5) / 4;
    const fy = ((s >> 2) + 0.5) / 4;
    const reach = Math.ceil(r + 1);
    const stamp = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const cover = Math.min(1, r + 0.5 - Math.hypot(x + 0.5 - fx, y + 0.5 - fy));
        if (cover > 0.02) stamp.push(x, y, cover * 0.9);
      }
    }
    all.push(stamp);
  }
  return all;
}

function draw() {
  const canvas = byId("map-canvas");
  if (!canvas || !view.map) return;
  const box = canvas.getBoundingClientRect();
  view.ratio = Math.min(2, window.devicePixelRatio || 1);
  const width = Math.max(1, Math.round(box.width * view.ratio));
  const height = Math.max(1, Math.round(box.height * view.ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  place();
  const { map, color } = view;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(width, height);
  const pixels = image.data;
  const paper = matchMedia("print").matches ? [255, 255, 255] : rgb(css("--paper"));
  for (let k = 0; k < pixels.length; k += 4) {
    pixels[k] = paper[0];
    pixels[k + 1] = paper[1];
    pixels[k + 2] = paper[2];
    pixels[k + 3] = 255;
  }
  const palette = paletteOf(color);
  const stamp = stamps(radius());
  const reach = Math.ceil(radius() + 1);
  const dot = (i, c) => {
    const x = view.x0 + map.px[i] * view.kx;
    const y = view.y0 - map.py[i] * view.ky;
    const ix = Math.floor(x);
    const iy = Math.floor(y);
    if (ix < reach || iy < reach || ix >= width - reach || iy >= height - reach) return;
    const s = stamp[(Math.floor((y - iy) * 4) << 2) | Math.floor((x - ix) * 4)];
    for (let k = 0; k < s.length; k += 3) {
      const p = ((iy + s[k + 1]) * width + ix + s[k]) << 2;
      const a = s[k + 2];
      pixels[p] += (c[0] - pixels[p]) * a;
      pixels[p + 1] += (c[1] - pixels[p + 1]) * a;
      pixels[p + 2] += (c[2] - pixels[p + 2]) * a;
    }
  };
  eachCell((i, level) => dot(i, palette[level]));
  context.putImageData(image, 0, 0);
  if (color.apart?.includes(true) && byId("map-labels").checked) names(context, width, height);
  canvas.classList.toggle("zoomed", view.zoom > 1);
}

// The shown cells from the lowest to the highest, each with its place in the palette: grey ones, then the coloured ones,
// those that are selected on top.
function eachCell(visit) {
  const { map, color, taken } = view;
  const last = paletteOf(color).length - 1;
  const below = byId("map-reference").value === "coloured" ? 0 : map.reference;
  const none = color.levels ? NOTHING : 256;
  const grey = (i) => i < below || color.level[i] === none || Boolean(taken && !taken.has(i));
  for (const layer of [true, false]) {
    for (const i of color.order) {
      if (isShown(map, color, i) && grey(i) === layer) visit(i, layer ? last : color.level[i]);
    }
  }
}

// The map as an SVG: dots of one colour are one path, the legend stands beside them.
function mapSvg() {
  const { map, color } = view;
  const w = 760;
  const h = 620;
  const fit = Math.min((w - 40) / map.x.span, (h - 40) / map.y.span) / STEPS;
  const at = (i) => `M${(20 + map.px[i] * map.x.span * fit).toFixed(1)} ${(h - 20 - map.py[i] * map.y.span * fit).toFixed(1)}h0`;
  const palette = paletteOf(color);
  const paths = new Map();
  eachCell((i, level) => paths.set(level, (paths.get(level) ?? "") + at(i)));
  const safe = (t) => t.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const size = Math.max(1.4, Math.min(6, Math.sqrt((w * h * 0.35) / map.n)));
  let key = `<text x="${w}" y="24" font-weight="600">${safe(color.name)}</text>`;
  const line = (k, c, t) => `<circle cx="${w + 5}" cy="${40 + 18 * k}" r="5" fill="${cssOf(c)}"/><text x="${w + 16}" y="${44 + 18 * k}">${safe(t)}</text>`;
  const levels = color.levels ? [...color.levels.keys()].filter((l) => color.count[l] && !color.hidden.has(l)) : [0, 128, 255];
  const value = (l) => (color.levels ? color.levels[l] : written(color.lo + (l / 255) * (color.hi - color.lo)));
  levels.forEach((l, k) => { key += line(k, palette[l], value(l)); });
  if (map.reference && byId("map-reference").value === "grey") key += line(levels.length, palette[palette.length - 1], "reference");
  const high = Math.max(h, 60 + 18 * (levels.length + 1));
  const dots = [...paths].map(([l, d]) => `<path d="${d}" stroke="${cssOf(palette[l])}"/>`).join("");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w + 240}" height="${high}" viewBox="0 0 ${w + 240} ${high}" font-family="Inter, Helvetica, Arial, sans-serif" font-size="12" fill="${css("--ink")}"><rect width="100%" height="100%" fill="${css("--paper")}"/><g fill="none" stroke-width="${size.toFixed(1)}" stroke-linecap="round">${dots}</g>${key}</svg>`;
}

// Category names on the cell nearest to the median of theirs, or near by where they would hide a group or another name; left out where
// none fits.
function names(context, width, height) {
  const { map, color } = view;
  const step = Math.max(1, Math.floor(map.n / 40000));
  const at = color.levels.map(() => [[], []]);
  for (let i = 0; i < map.n; i += step) {
    const level = color.level[i];
    if (level === NOTHING || !isShown(map, color, i) || (i < map.reference && byId("map-reference").value !== "coloured")) continue;
    at[level][0].push(view.x0 + map.px[i] * view.kx);
    at[level][1].push(view.y0 - map.py[i] * view.ky);
  }
  // What names would hide, in squares: each group weighs 1.
  const square = 6 * view.ratio;
  const columns = Math.ceil(width / square) + 1;
  const ground = new Float32Array(columns * (Math.ceil(height / square) + 1));
  const place = (x, y) => Math.floor(y / square) * columns + Math.floor(x / square);
  for (const [xs, ys] of at) {
    xs.forEach((x, k) => { if (x >= 0 && x < width && ys[k] >= 0 && ys[k] < height) ground[place(x, ys[k])] += 1 / xs.length; });
  }
  const size = 12 * view.ratio;
  const hidden = (cx, cy, half) => {
    let sum = 0;
    for (let y = Math.max(0, cy - size * 0.6); y < Math.min(height, cy + size * 0.6); y += square) {
      for (let x = cx - half; x < cx + half; x += square) sum += ground[place(x, y)];
    }
    return sum;
  };
  context.font = `600 ${size}px Inter, Helvetica, Arial, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  const order = at.map((_, l) => l).filter((l) => at[l][0].length && color.apart[l]).sort((a, b) => at[b][0].length - at[a][0].length);
  const median = (v) => [...v].sort((a, b) => a - b)[v.length >> 1];
  for (const level of order) {
    const [xs, ys] = at[level];
    const [mx, my] = [median(xs), median(ys)];
    const off = xs.map((x, k) => Math.hypot(x - mx, ys[k] - my));
    const middle = off.reduce((best, o, k) => (o < off[best] ? k : best), 0);
    if (xs[middle] < 0 || xs[middle] > width) continue;
    const half = context.measureText(color.levels[level]).width / 2 + 3;
    let best = null;
    for (const lines of [0, -1, 1, -2, 2, -3, 3]) {
      for (const aside of [0, 1, -1]) {
        const cx = Math.max(half, Math.min(width - half, xs[middle] + aside * (half + square)));
        const cy = ys[middle] + lines * size * 1.2;
        const free = taken.every((t) => Math.abs(t.cx - cx) > t.half + half || Math.abs(t.cy - cy) > size * 1.15);
        if (!free || cy < size || cy > height - size) continue;
        const away = (Math.abs(cx - xs[middle]) + Math.abs(cy - ys[middle])) / (size * 1.2);
        const cost = hidden(cx, cy, half) + 0.25 * Math.min(4, away);
        if (!best || cost < best.cost) best = { cx, cy, half, cost };
      }
    }
    if (!best) continue;
    taken.push(best);
    context.strokeStyle = isDark() ? "#181b21" : "#ffffff";
    context.lineWidth = 3.5 * view.ratio;
    context.strokeText(color.levels[level], best.cx, best.cy);
    context.fillStyle = isDark() ? "#e8eaee" : "#1f2430";
    context.fillText(color.levels[level], best.cx, best.cy);
  }
}
