// What mouse and keyboard do on the map, and its legend.

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
        if (!isShown(map, color, i)) continue;
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
  if (view.map.reference && byId("map-reference").value === "grey") {
    const below = make("div", "below");
    const dot = make("i");
    dot.style.background = cssOf(missing());
    below.append(dot, make("span", "", "reference"), make("b", "", view.map.reference.toLocaleString("en")));
    box.append(below);
  }
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
  count(view.map, color);
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
  if (view.map !== data.maps[mapIndex]) view.taken = null;
  view.map = data.maps[mapIndex];
  unpackMap(view.map);
  view.color = view.map.colors[colorIndex];
  unpackColor(view.map, view.color);
  const words = `${view.map.name}: ${view.map.n.toLocaleString("en")} cells, coloured by ${view.color.name}`;
  byId("map-canvas").setAttribute("aria-label", words);
  byId("map-status").textContent = `${words}. Axes: ${view.map.axes.filter((a) => a).join(", ") || "none"}.${view.map.outside && ` ${view.map.outside}.`}`;
  byId("map-below").hidden = !view.map.reference;
  byId("map-labels").disabled = !view.color.apart?.includes(true);
  told();
  byId("map-tip").hidden = byId("map-ring").hidden = true;
  key();
  draw();
}

// Cells within a line around them, given in px of the canvas; without a line all that show.
function take(line) {
  const { map, color } = view;
  const inside = (x, y) => {
    let odd = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      const [xa, ya] = line[a];
      const [xb, yb] = line[b];
      if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) odd = !odd;
    }
    return odd;
  };
  view.taken = new Set();
  for (let i = 0; i < map.n; i++) {
    if (!isShown(map, color, i)) continue;
    if (!line || inside(view.x0 + map.px[i] * view.kx, view.y0 - map.py[i] * view.ky)) view.taken.add(i);
  }
  if (!view.taken.size) view.taken = null;
  told();
  draw();
}

// How many cells are selected.
function told() {
  byId("map-taken").hidden = !view.taken;
  byId("map-count").textContent = view.taken ? `${view.taken.size.toLocaleString("en")} cells` : "";
}

// Names of the selected cells, whose they are, and what they are coloured by.
function takenTable() {
  const { map, color, taken } = view;
  const plain = (text) => text.replace(/[\t\n\r]/g, " ");
  const rows = [...taken].map((i) => [map.nameOf(i) || String(i + 1), i < map.reference ? "reference" : "query", valueText(color, i)]);
  return [["cell", "data", color.name], ...rows].map((row) => row.map(plain).join("\t")).join("\n") + "\n";
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

// Colours the first map that has a colouring of this name by it.
function showColor(name) {
  const m = data.maps.findIndex((map) => map.colors.some((color) => color.name === name));
  if (m < 0) return;
  const c = data.maps[m].colors.findIndex((color) => color.name === name);
  byId("map-name").value = String(m);
  fillColors(m);
  byId("map-color").value = String(c);
  choose(m, c);
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
  byId("map-reference").addEventListener("change", () => { key(); draw(); });
  const select = byId("map-select");
  const selecting = () => select.getAttribute("aria-pressed") === "true";
  const press = (on) => {
    select.setAttribute("aria-pressed", String(on));
    canvas.classList.toggle("selecting", on);
  };
  select.addEventListener("click", () => press(!selecting()));
  byId("map-clear").addEventListener("click", () => { view.taken = null; told(); draw(); });
  byId("map-export").addEventListener("click", () => save("cells.tsv", "text/tab-separated-values", takenTable()));
  saveButtons(byId("map-plot").parentElement, "map", mapSvg);
  byId("map-in").addEventListener("click", () => zoom(1.6));
  byId("map-out").addEventListener("click", () => zoom(1 / 1.6));
  byId("map-reset").addEventListener("click", () => { reset(); draw(); });

  let dragged = null;
  let line = null;
  const onCanvas = (e) => {
    const box = canvas.getBoundingClientRect();
    return [(e.clientX - box.left) * view.ratio, (e.clientY - box.top) * view.ratio];
  };
  const drawLine = () => {
    const points = (line ?? []).map((p) => p.map((v) => v / view.ratio).join(","));
    byId("map-lasso").firstElementChild.setAttribute("points", points.join(" "));
  };
  canvas.addEventListener("pointerdown", (e) => {
    if (selecting()) {
      line = [onCanvas(e)];
      canvas.setPointerCapture(e.pointerId);
      return;
    }
    if (view.zoom > 1) {
      dragged = [e.clientX, e.clientY];
      canvas.setPointerCapture(e.pointerId);
    }
    point(e);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (line) {
      line.push(onCanvas(e));
      return drawLine();
    }
    if (!dragged) return point(e);
    move((e.clientX - dragged[0]) * view.ratio, (e.clientY - dragged[1]) * view.ratio);
    dragged = [e.clientX, e.clientY];
  });
  canvas.addEventListener("pointerup", () => {
    dragged = null;
    if (!line) return;
    if (line.length > 2) take(line);
    line = null;
    drawLine();
    press(false);
  });
  canvas.addEventListener("pointercancel", () => { dragged = line = null; drawLine(); });
  canvas.addEventListener("pointerleave", () => { byId("map-tip").hidden = byId("map-ring").hidden = true; });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(Math.exp(-e.deltaY / 300), e.clientX, e.clientY);
  }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const far = 60 * view.ratio;
    const keys = {
      Enter: () => { if (selecting()) { take(null); press(false); } },
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
