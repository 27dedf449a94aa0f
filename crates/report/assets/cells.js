// The map of the cells: dots drawn into an image, coloured and hidden by the legend, named when pointed at.

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

function unpackColor(map, color) {
  if (color.level) return;
  if (color.levels) {
    color.level = codesOf(color.codes);
    color.count = new Uint32Array(color.levels.length + 1);
    for (const c of color.level) color.count[c === NOTHING ? color.levels.length : c]++;
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

const view = { map: null, color: null, zoom: 1, cx: 0.5, cy: 0.5, scale: 1, x0: 0, y0: 0, ratio: 1 };

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
  const last = palette.length - 1;
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
  for (const layer of color.levels ? [true, false] : [null]) {
    for (const i of color.order) {
      let level = color.level[i];
      if (layer !== null) {
        if ((level === NOTHING) !== layer) continue;
        if (level === NOTHING) level = last;
        if (color.hidden.has(level)) continue;
      }
      dot(i, palette[level]);
    }
  }
  context.putImageData(image, 0, 0);
  if (color.levels && byId("map-labels").checked) names(context, width, height);
  canvas.classList.toggle("zoomed", view.zoom > 1);
}

// Category names at the median of their cells, moved up or down where they would overlap, left out where none fits.
function names(context, width, height) {
  const { map, color } = view;
  const step = Math.max(1, Math.floor(map.n / 40000));
  const at = color.levels.map(() => [[], []]);
  for (let i = 0; i < map.n; i += step) {
    const level = color.level[i];
    if (level === NOTHING || color.hidden.has(level)) continue;
    at[level][0].push(map.px[i]);
    at[level][1].push(map.py[i]);
  }
  const size = 12 * view.ratio;
  context.font = `600 ${size}px Inter, Helvetica, Arial, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  const order = at.map((_, l) => l).filter((l) => at[l][0].length).sort((a, b) => at[b][0].length - at[a][0].length);
  const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];
  for (const level of order) {
    const x = view.x0 + median(at[level][0]) * view.kx;
    const y = view.y0 - median(at[level][1]) * view.ky;
    const half = context.measureText(color.levels[level]).width / 2 + 3;
    const cx = Math.max(half, Math.min(width - half, x));
    for (const shift of [0, -1, 1, -2, 2, -3, 3]) {
      const cy = y + shift * size * 1.1;
      const free = taken.every((t) => Math.abs(t.x - cx) > t.half + half || Math.abs(t.y - cy) > size * 1.15);
      if (!free || cy < size || cy > height - size) continue;
      taken.push({ x: cx, y: cy, half });
      context.strokeStyle = isDark() ? "#181b21" : "#ffffff";
      context.lineWidth = 3.5 * view.ratio;
      context.strokeText(color.levels[level], cx, cy);
      context.fillStyle = isDark() ? "#e8eaee" : "#1f2430";
      context.fillText(color.levels[level], cx, cy);
      break;
    }
  }
}

// The visible cell nearest to a place on the canvas, at most 10 px away.
function nearest(x, y) {
  const { map, color } = view;
  const reach = 10 * view.ratio;
  const squareX = (v) => Math.max(0, Math.min(127, Math.floor(((v - view.x0) / view.kx) / 512)));
  const squareY = (v) => Math.max(0, Math.min(127, Math.floor(((view.y0 - v) / view.ky) / 512)));
  let best = -1;
  let least = reach * reach;
  for (let b = squareY(y + reach); b <= squareY(y - reach); b++) {
    for (let a = squareX(x - reach); a <= squareX(x + reach); a++) {
      const k = b * 128 + a;
      for (let j = map.grid.start[k]; j < map.grid.start[k + 1]; j++) {
        const i = map.grid.cells[j];
        if (color.levels && color.hidden.has(color.level[i] === NOTHING ? color.levels.length : color.level[i])) continue;
        const dx = view.x0 + map.px[i] * view.kx - x;
        const dy = view.y0 - map.py[i] * view.ky - y;
        const d = dx * dx + dy * dy;
        if (d < least) {
          least = d;
          best = i;
        }
      }
    }
  }
  return best;
}

function valueText(color, i) {
  if (color.levels) return color.level[i] === NOTHING ? "missing" : color.levels[color.level[i]];
  const v = color.valueOf(i);
  return Number.isNaN(v) ? "missing" : written(v);
}

function point(event) {
  const canvas = byId("map-canvas");
  const box = canvas.getBoundingClientRect();
  const i = nearest((event.clientX - box.left) * view.ratio, (event.clientY - box.top) * view.ratio);
  const tip = byId("map-tip");
  const ring = byId("map-ring");
  tip.hidden = ring.hidden = i < 0;
  if (i < 0) return;
  const x = (view.x0 + view.map.px[i] * view.kx) / view.ratio;
  const y = (view.y0 - view.map.py[i] * view.ky) / view.ratio;
  ring.style.left = `${x}px`;
  ring.style.top = `${y}px`;
  tip.replaceChildren();
  if (view.map.nameOf(i)) tip.append(make("strong", "", view.map.nameOf(i)));
  const shown = [view.color, ...view.map.colors.filter((c) => c !== view.color && c.levels).slice(0, 5)];
  for (const color of shown) {
    unpackColor(view.map, color);
    const row = make("div");
    row.append(make("span", "", color.name), make("span", "", valueText(color, i)));
    tip.append(row);
  }
  const left = x + 16 + tip.offsetWidth > box.width ? Math.max(0, x - 16 - tip.offsetWidth) : x + 16;
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(0, Math.min(y + 10, box.height - tip.offsetHeight))}px`;
}

function key() {
  const box = byId("map-key");
  const { color } = view;
  box.replaceChildren(make("strong", "", color.name));
  const palette = paletteOf(color);
  if (!color.levels) {
    const bar = make("div", "scale");
    bar.style.background = `linear-gradient(to right, ${palette.slice(0, 256).filter((_, k) => k % 15 === 0).map(cssOf)})`;
    const ends = make("div", "ends");
    ends.append(make("span", "", (color.beyond[0] ? "≤ " : "") + written(color.lo)));
    ends.append(make("span", "", written((color.lo + color.hi) / 2)));
    ends.append(make("span", "", (color.beyond[1] ? "≥ " : "") + written(color.hi)));
    box.append(bar, ends);
    return;
  }
  const all = make("button", "", "All");
  const none = make("button", "", "None");
  const group = make("div", "buttons");
  group.append(all, none);
  const list = make("ul");
  const entries = [];
  const refresh = () => {
    for (const [level, button] of entries) button.setAttribute("aria-pressed", String(!color.hidden.has(level)));
    draw();
  };
  const levels = [...color.levels.keys()].filter((l) => color.count[l]);
  if (color.count[color.levels.length]) levels.push(color.levels.length);
  for (const level of levels) {
    const button = make("button");
    button.type = "button";
    const dot = make("i");
    dot.style.background = cssOf(palette[level]);
    const name = level < color.levels.length ? color.levels[level] : "missing";
    button.append(dot, make("span", "", name), make("b", "", color.count[level].toLocaleString("en")));
    button.addEventListener("click", () => {
      if (!color.hidden.delete(level)) color.hidden.add(level);
      refresh();
    });
    button.addEventListener("dblclick", () => {
      color.hidden = new Set(levels.filter((l) => l !== level));
      refresh();
    });
    entries.push([level, button]);
    const item = make("li");
    item.append(button);
    list.append(item);
  }
  all.type = none.type = "button";
  all.addEventListener("click", () => { color.hidden.clear(); refresh(); });
  none.addEventListener("click", () => { color.hidden = new Set(levels); refresh(); });
  for (const [level, button] of entries) button.setAttribute("aria-pressed", String(!color.hidden.has(level)));
  box.append(group, list);
}

function choose(mapIndex, colorIndex) {
  view.map = data.maps[mapIndex];
  unpackMap(view.map);
  view.color = view.map.colors[colorIndex];
  unpackColor(view.map, view.color);
  const words = `${view.map.name}: ${view.map.n.toLocaleString("en")} cells, coloured by ${view.color.name}`;
  byId("map-canvas").setAttribute("aria-label", words);
  byId("map-status").textContent = `${words}. Axes: ${view.map.axes.filter((a) => a).join(", ") || "none"}.`;
  byId("map-tip").hidden = byId("map-ring").hidden = true;
  key();
  draw();
}

function fillColors(mapIndex) {
  const select = byId("map-color");
  select.replaceChildren();
  for (const [label, wanted] of [["Categories", true], ["Scores", false]]) {
    const group = make("optgroup");
    group.label = label;
    data.maps[mapIndex].colors.forEach((c, i) => {
      if (Boolean(c.levels) !== wanted) return;
      const option = make("option", "", c.name);
      option.value = i;
      group.append(option);
    });
    if (group.children.length) select.append(group);
  }
  select.value = "0";
}

function zoom(factor, clientX, clientY) {
  const canvas = byId("map-canvas");
  const box = canvas.getBoundingClientRect();
  const x = ((clientX ?? box.left + box.width / 2) - box.left) * view.ratio;
  const y = ((clientY ?? box.top + box.height / 2) - box.top) * view.ratio;
  const fx = (x - view.x0) / (view.map.x.span * view.scale);
  const fy = (view.y0 - y) / (view.map.y.span * view.scale);
  const before = view.zoom;
  view.zoom = Math.max(1, Math.min(60, view.zoom * factor));
  const share = 1 - before / view.zoom;
  view.cx += (fx - view.cx) * share;
  view.cy += (fy - view.cy) * share;
  if (view.zoom === 1) view.cx = view.cy = 0.5;
  byId("map-tip").hidden = byId("map-ring").hidden = true;
  requestAnimationFrame(draw);
}

function move(dx, dy) {
  view.cx = Math.max(0, Math.min(1, view.cx - dx / (view.map.x.span * view.scale)));
  view.cy = Math.max(0, Math.min(1, view.cy + dy / (view.map.y.span * view.scale)));
  byId("map-tip").hidden = byId("map-ring").hidden = true;
  requestAnimationFrame(draw);
}

function startMap() {
  const canvas = byId("map-canvas");
  if (!canvas) return;
  const which = byId("map-name");
  data.maps.forEach((m, i) => {
    const option = make("option", "", m.name || `map ${i + 1}`);
    option.value = i;
    which.append(option);
  });
  byId("map-which").hidden = data.maps.length < 2;
  fillColors(0);
  choose(0, 0);
  const reset = () => Object.assign(view, { zoom: 1, cx: 0.5, cy: 0.5 });
  which.addEventListener("change", () => {
    reset();
    fillColors(Number(which.value));
    choose(Number(which.value), 0);
  });
  byId("map-color").addEventListener("change", () => choose(Number(which.value), Number(byId("map-color").value)));
  byId("map-labels").addEventListener("change", draw);
  byId("map-in").addEventListener("click", () => zoom(1.6));
  byId("map-out").addEventListener("click", () => zoom(1 / 1.6));
  byId("map-reset").addEventListener("click", () => { reset(); draw(); });

  let dragged = null;
  canvas.addEventListener("pointerdown", (e) => {
    if (view.zoom > 1) {
      dragged = [e.clientX, e.clientY];
      canvas.setPointerCapture(e.pointerId);
    }
    point(e);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (!dragged) return point(e);
    move((e.clientX - dragged[0]) * view.ratio, (e.clientY - dragged[1]) * view.ratio);
    dragged = [e.clientX, e.clientY];
  });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointercancel", () => { dragged = null; });
  canvas.addEventListener("pointerleave", () => { byId("map-tip").hidden = byId("map-ring").hidden = true; });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(Math.exp(-e.deltaY / 300), e.clientX, e.clientY);
  }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const far = 60 * view.ratio;
    const keys = {
      "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), "0": () => { reset(); draw(); },
      ArrowLeft: () => move(far, 0), ArrowRight: () => move(-far, 0),
      ArrowUp: () => move(0, far), ArrowDown: () => move(0, -far),
    };
    // Arrow keys scroll the page while the whole map shows.
    if (!keys[e.key] || e.ctrlKey || e.metaKey || (view.zoom === 1 && e.key.startsWith("Arrow"))) return;
    e.preventDefault();
    keys[e.key]();
  });
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(canvas);
  document.fonts.ready.then(draw);
}
