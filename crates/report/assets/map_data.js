// The data of the page, and the cells of a map unpacked from it.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => document.documentElement.dataset.theme === "dark" && !matchMedia("print").matches;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function rgb(hex) {
  const v = parseInt(hex.slice(1), 16);
  return [v >> 16, (v >> 8) & 255, v & 255];
}

// Dark colours are lifted on a dark page, where they could not be seen.
function onPage(color) {
  if (!isDark()) return color;
  const light = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2];
  const lift = light < 110 ? (110 - light) / 200 : 0;
  return color.map((c) => Math.round(c + (255 - c) * lift));
}

const cssOf = (c) => `rgb(${c[0]} ${c[1]} ${c[2]})`;

function codesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return new Uint16Array(bytes.buffer);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes[2 * i] | (bytes[2 * i + 1] << 8));
}

const NOTHING = 65535;
const STEPS = 65534;

function written(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}

// Coordinates, colours and the search grid are unpacked when first shown.
function unpackMap(map) {
  if (map.px) return;
  map.px = codesOf(map.x.codes);
  map.py = codesOf(map.y.codes);
  const names = map.cells ? map.cells.split("\n") : [];
  map.nameOf = (i) => names[i] || "";
  // A fixed mixed order, so that no category always covers another.
  map.order = new Uint32Array(map.n);
  for (let i = 0; i < map.n; i++) map.order[i] = i;
  let seed = 12345;
  for (let i = map.n - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    const t = map.order[i];
    map.order[i] = map.order[j];
    map.order[j] = t;
  }
  // Cells by square of a 128 × 128 grid.
  const start = new Uint32Array(128 * 128 + 1);
  const square = (i) => (map.py[i] >> 9) * 128 + (map.px[i] >> 9);
  for (let i = 0; i < map.n; i++) start[square(i) + 1]++;
  for (let k = 0; k < 128 * 128; k++) start[k + 1] += start[k];
  const cells = new Uint32Array(map.n);
  const next = start.slice();
  for (let i = 0; i < map.n; i++) cells[next[square(i)]++] = i;
  map.grid = { start, cells };
}

// Cells of each category among those that show their colour.
function count(map, color) {
  color.count.fill(0);
  const from = map.reference && byId("map-reference").value !== "coloured" ? map.reference : 0;
  for (let i = from; i < map.n; i++) color.count[color.level[i] === NOTHING ? color.levels.length : color.level[i]]++;
}

// Whether a cell is drawn, and can be pointed at and selected.
function isShown(map, color, i) {
  if (i < map.reference && byId("map-reference").value !== "coloured") return byId("map-reference").value === "grey";
  return !color.levels || !color.hidden.has(color.level[i] === NOTHING ? color.levels.length : color.level[i]);
}

function unpackColor(map, color) {
  if (color.level) return;
  if (color.levels) {
    color.level = codesOf(color.codes);
    color.count = new Uint32Array(color.levels.length + 1);
    color.hidden = new Set();
    color.order = map.order;
    return;
  }
  const codes = codesOf(color.values.codes);
  const step = color.values.span / STEPS;
  color.valueOf = (i) => (codes[i] === NOTHING ? NaN : color.values.lo + codes[i] * step);
  color.level = new Uint16Array(map.n);
  for (let i = 0; i < map.n; i++) {
    const t = (color.valueOf(i) - color.lo) / (color.hi - color.lo);
    color.level[i] = codes[i] === NOTHING ? 256 : Math.max(0, Math.min(255, Math.round(t * 255)));
  }
  // Missing first; low scores below high ones, unless both ends matter.
  const rank = (i) => (color.level[i] === 256 ? 0 : color.scale === "diverging" ? 1 : 1 + color.level[i]);
  const start = new Uint32Array(259);
  for (let i = 0; i < map.n; i++) start[rank(i) + 1]++;
  for (let k = 0; k < 258; k++) start[k + 1] += start[k];
  color.order = new Uint32Array(map.n);
  for (const i of map.order) color.order[start[rank(i)]++] = i;
}

function paletteOf(color) {
  if (color.levels) return [...color.colors.map((c) => onPage(rgb(c))), missing()];
  const anchors = data.scales[color.scale].map(rgb);
  const shades = [];
  for (let k = 0; k < 256; k++) {
    const at = (k / 255) * (anchors.length - 1);
    const i = Math.min(Math.floor(at), anchors.length - 2);
    shades.push(onPage(anchors[i].map((a, c) => Math.round(a + (anchors[i + 1][c] - a) * (at - i)))));
  }
  shades.push(missing());
  return shades;
}

const missing = () => (isDark() ? [64, 70, 80] : rgb(data.missing));
