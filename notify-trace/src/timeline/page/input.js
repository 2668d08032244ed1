// Mouse, keys, and what the address asks for.
const scroller = $('scroll');
const tip = $('tip');

// What is at a place of the canvas.
function hit(x, y) {
  if (y < AXIS) return null;
  const row = view.rows[rowAt(view.top + y - AXIS)];
  if (!row) return null;
  if (!row.lane) return { section: row.section, isFit: x > width - 190 };
  const { lane } = row;
  if (x < labels - 4) return { lane };
  const near = (view.to - view.from) / (width - labels) * 7;
  const at = toTime(x);
  let best = null;
  const offer = (item, moment, weight) => {
    const far = Math.abs(moment - at) / near;
    if (far <= 1 && (!best || far - weight < best.far)) best = { far: far - weight, item };
  };
  for (let next = firstFrom(lane.marks, at - near, byTime); next < lane.marks.length && lane.marks[next].at <= at + near; next += 1) {
    const mark = lane.marks[next];
    offer({ lane, mark }, mark.at, mark.state === 'failed' ? 2 : mark.kind === 'ready' ? 0.5 : 0);
  }
  for (const verdict of lane.verdicts) if (!standsAtMark(verdict, lane)) offer({ lane, verdict, mark: aboutMark(lane, verdict) }, verdict.at, 1.5);
  if (best) return best.item;
  const span = lane.spans.findLast((it) => it.from - near <= at && at <= it.to + near);
  if (span) return { lane, span };
  for (let next = firstFrom(lane.pings, at - near, (it) => it); next < lane.pings.length && lane.pings[next] <= at + near; next += 1) {
    offer({ lane, ping: lane.pings[next] }, lane.pings[next], 0);
  }
  return best ? best.item : { lane };
}

function showTip(found, x, y) {
  if (!found || found.section) {
    tip.hidden = true;
    return;
  }
  const { lane, mark, span, verdict, ping } = found;
  tip.replaceChildren(el('b', '', lane.name), '\n');
  if (mark) {
    tip.append(clock(mark.at, 6), mark.took === undefined ? '' : `, taken after ${duration(mark.took)}`, '\n', title(mark).slice(0, 400));
    if (mark.state !== 'ok') tip.append('\n', el('span', mark.state === 'failed' ? 'bad' : 'odd', mark.fate ?? words[mark.state]));
    for (const number of mark.verdicts ?? []) {
      const about = lane.section.verdicts.find((it) => it.number === number);
      if (about) tip.append('\n', el('span', 'bad', `✗ ${about.what}`));
    }
  } else if (verdict) tip.append(clock(verdict.at, 3), '\n', el('span', 'bad', `✗ ${verdict.what}`));
  else if (span) tip.append(`${clock(span.from, 3)} to ${clock(span.to, 3)}\n`, span.text);
  else if (ping !== undefined) tip.append(`${clock(ping, 6)}\nWATCHDOG=1`);
  else tip.append(lane.start ? lane.start.text : 'no start was seen', lane.notes.length > 0 ? `\n${lane.notes[0]}` : '');
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18}px`;
}

const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

let drag = null;
const surface = $('lanes');
surface.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  const [x, y] = place(event);
  if (x > scroller.clientWidth && y > AXIS) return;
  drag = { x, y, from: view.from, to: view.to, top: view.top, isAxis: y < AXIS, moved: false };
});
addEventListener('pointermove', (event) => {
  const [x, y] = place(event);
  if (!drag) {
    const isOver = x >= 0 && y >= 0 && x < scroller.clientWidth && y < height && event.target.closest?.('#lanes');
    const found = isOver ? hit(x, y) : null;
    if (found?.lane !== view.hover?.lane) {
      view.hover = found?.lane ? found : null;
      draw();
    }
    surface.style.cursor = found && (found.mark || found.span || found.verdict || found.ping !== undefined || found.section || x < labels) ? 'pointer' : 'default';
    showTip(found, event.clientX, event.clientY);
    return;
  }
  tip.hidden = true;
  if (Math.abs(x - drag.x) + Math.abs(y - drag.y) > 4) drag.moved = true;
  if (!drag.moved) return;
  if (drag.isAxis) {
    drag.end = x;
    paint();
    ctx.fillStyle = colours.window;
    ctx.fillRect(Math.min(drag.x, x), 0, Math.abs(x - drag.x), height);
    return;
  }
  const by = (drag.x - x) / (width - labels - EDGE) * (drag.to - drag.from);
  scroller.scrollTop = drag.top + drag.y - y;
  setWindow(drag.from + by, drag.to + by);
});
addEventListener('pointerup', (event) => {
  if (!drag) return;
  const [x, y] = place(event);
  const was = drag;
  drag = null;
  if (was.moved && was.isAxis) {
    const inside = (it) => toTime(Math.max(labels, Math.min(it, width)));
    setWindow(inside(Math.min(was.x, x)), inside(Math.max(was.x, x)));
  } else if (!was.moved) click(hit(x, y));
});

function click(found) {
  if (found?.isFit) fitSection(found.section);
  else if (found?.section) {
    if (!view.closed.delete(found.section)) view.closed.add(found.section);
    layOut();
  } else select(found);
}

function fitSection(section) {
  const first = section.lanes.reduce((least, lane) => Math.min(least, lane.first), section.began);
  const length = Math.max(section.ended - first, 1e6);
  setWindow(first - length * 0.01, section.ended + length * 0.02);
}

// The next session, its heading at the top.
let session = -1;
function nextSession() {
  session = (session + 1) % Math.max(data.sections.length, 1);
  const section = data.sections[session];
  if (!section) return;
  fitSection(section);
  const row = view.rows.find((it) => it.section === section);
  if (row) scrollTo(row.y);
}

surface.addEventListener('dblclick', (event) => zoom(0.4, toTime(place(event)[0])));
addEventListener('pointerleave', () => { tip.hidden = true; });
scroller.addEventListener('scroll', () => {
  view.top = scroller.scrollTop;
  tip.hidden = true;
  draw();
});
surface.addEventListener('wheel', (event) => {
  const step = event.deltaMode === 1 ? 30 : 1;
  if (event.ctrlKey || event.metaKey || event.altKey) {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * step * 0.0025), toTime(place(event)[0]));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    pan((event.deltaX || event.deltaY) * step / (width - labels));
  }
}, { passive: false });

let brush = null;
strip.addEventListener('pointerdown', (event) => {
  strip.setPointerCapture(event.pointerId);
  brush = event.offsetX;
});
strip.addEventListener('pointermove', (event) => {
  if (brush !== null && Math.abs(event.offsetX - brush) > 4) {
    setWindow(stripTime(Math.min(brush, event.offsetX)), stripTime(Math.max(brush, event.offsetX)));
  }
});
strip.addEventListener('pointerup', (event) => {
  if (brush !== null && Math.abs(event.offsetX - brush) <= 4) {
    const length = view.to - view.from;
    setWindow(stripTime(event.offsetX) - length / 2, stripTime(event.offsetX) + length / 2);
    scrollTo((event.offsetY - 4) / (stripHeight - 8) * view.total - (height - AXIS) / 2);
  }
  brush = null;
});

// Keys.

function nextProblem(by) {
  if (problems.length === 0) return;
  const now = problems.indexOf(view.selected?.problem);
  goToProblem(problems[now < 0 ? (by > 0 ? 0 : problems.length - 1) : (now + by + problems.length) % problems.length]);
}

function nextMark(by) {
  const lane = view.selected?.lane ?? view.rows.find((row) => row.lane)?.lane;
  if (!lane || lane.marks.length === 0) return;
  const now = lane.marks.indexOf(view.selected?.mark);
  goTo({ lane, mark: lane.marks[now < 0 ? 0 : Math.max(0, Math.min(now + by, lane.marks.length - 1))] });
}

function setOnly(isOn) {
  view.only = isOn;
  $('problems').checked = isOn;
  layOut();
}

function setScheme(name) {
  document.documentElement.dataset.scheme = name;
  refresh();
}

function refresh() {
  readColours();
  drawLegend();
  drawPicture();
  draw();
}

function toggleScheme() {
  const set = document.documentElement.dataset.scheme;
  const isDark = set ? set === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  setScheme(isDark ? 'light' : 'dark');
}

function escape() {
  if (view.selected) select(null);
  else if (view.words || view.only) {
    view.words = '';
    $('filter').value = '';
    setOnly(false);
  }
}

const page = () => height - AXIS - view.height;
const keys = {
  ArrowLeft: () => pan(-0.12), ArrowRight: () => pan(0.12),
  ArrowUp: () => scrollTo(view.top - view.height * 3), ArrowDown: () => scrollTo(view.top + view.height * 3),
  PageUp: () => scrollTo(view.top - page()), PageDown: () => scrollTo(view.top + page()),
  Home: () => scrollTo(0), End: () => scrollTo(view.total),
  '+': () => zoom(0.6), '=': () => zoom(0.6), '-': () => zoom(1 / 0.6), _: () => zoom(1 / 0.6),
  0: () => setWindow(whole.from, whole.to), f: fitVisible, s: nextSession,
  '/': () => { $('filter').focus(); $('filter').select(); },
  n: () => nextProblem(1), p: () => nextProblem(-1), j: () => nextMark(1), k: () => nextMark(-1),
  x: () => setOnly(!view.only), d: toggleScheme, Escape: escape, '?': () => $('help').showModal(),
};
addEventListener('keydown', (event) => {
  if ($('help').open && (event.key === 'Escape' || event.key === '?')) {
    $('help').close();
    event.preventDefault();
    return;
  }
  if ($('help').open || event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches('input[type="search"], select');
  if (isTyping) {
    if (event.key === 'Escape' || (event.key === 'Enter' && event.target.id === 'filter')) {
      if (event.key === 'Escape' && event.target.id === 'filter') {
        view.words = '';
        event.target.value = '';
        layOut();
      }
      event.target.blur();
      surface.focus();
      event.preventDefault();
    }
    return;
  }
  const isInPanel = panel.contains(event.target) && ['ArrowUp', 'ArrowDown', 'PageUp', 'PageDown', 'Home', 'End'].includes(event.key);
  const action = Object.hasOwn(keys, event.key) && !isInPanel ? keys[event.key] : null;
  if (action) {
    event.preventDefault();
    tip.hidden = true;
    action();
  }
});

$('filter').addEventListener('input', (event) => { view.words = event.target.value; layOut(); scrollTo(0); });
$('problems').addEventListener('change', (event) => setOnly(event.target.checked));
$('sort').addEventListener('change', (event) => { view.sort = event.target.value; layOut(); scrollTo(0); });
$('rows').addEventListener('change', (event) => { view.mode = event.target.value; layOut(); });
$('in').addEventListener('click', () => zoom(0.6));
$('out').addEventListener('click', () => zoom(1 / 0.6));
$('fit').addEventListener('click', fitVisible);
$('reset').addEventListener('click', () => setWindow(whole.from, whole.to));
$('scheme').addEventListener('click', toggleScheme);
$('keys').addEventListener('click', () => $('help').showModal());
addEventListener('resize', resize);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', refresh);

// Words at the top, and the legend.

function drawHeader() {
  const [first] = data.sections;
  $('title').textContent = many ? `${data.sections.length} sessions` : first?.host ?? 'nothing was recorded';
  document.title = `${$('title').textContent} – notify-trace timeline`;
  const end = clock(data.end, 0);
  $('subtitle').textContent = first ? `${day(0)} ${clock(0, 0)} to ${end} ${zone()}` : '';
  const failed = lanes.reduce((sum, lane) => sum + lane.failed, 0);
  const never = lanes.filter((lane) => lane.never).length;
  const slow = lanes.filter((lane) => lane.slow).length;
  const items = [
    [lanes.length, lanes.length === 1 ? 'lane' : 'lanes', '', () => { escape(); escape(); }],
    [never, 'never READY', never > 0 ? 'bad' : '', () => setSort('slow')],
    [slow, 'slow to READY', slow > 0 ? 'odd' : '', () => setSort('slow')],
    [failed, failed === 1 ? 'failed message' : 'failed messages', failed > 0 ? 'bad' : '', () => setSort('problems')],
  ];
  for (const [number, text, style, action] of items) {
    $('counts').append(button(`count ${style}`, action, el('b', '', number.toLocaleString('en')), el('span', '', text)));
  }
}

function setSort(name) {
  view.sort = name;
  $('sort').value = name;
  layOut();
  scrollTo(0);
}

function drawLegend() {
  const bar = (style, isHatched) => (on) => {
    drawBar(on, style, 1, 3, 22, 10, false);
    if (isHatched) hatch(on, style, 1, 3, 22, 10);
  };
  const items = [
    [bar(['start', 'start-edge']), 'start to READY'], [bar(['slow', 'slow-edge']), 'slow start'],
    [bar(['failed', 'failed-edge'], true), 'failed, unfinished'], [bar(['reload', 'reload-edge']), 'reload'],
    [bar(['stop', 'stop-edge']), 'stop'],
    [(on) => sign(on, 'ready', 12, 8), 'READY=1'], [(on) => sign(on, 'status', 12, 8), 'STATUS='],
    [(on) => sign(on, 'reloading', 12, 8), 'RELOADING=1'], [(on) => sign(on, 'stopping', 12, 8), 'STOPPING=1'],
    [(on) => sign(on, 'other', 12, 8), 'other'],
    [(on) => { on.fillStyle = colours.faint; for (const x of [5, 11, 17]) on.fillRect(x, 5, 1.5, 6); }, 'watchdog'],
    [(on) => cross(on, 12, 8, 4), 'lost or refused'], [(on) => alarm(on, 12, 8, true), 'problem'],
    [drawArrow, 'hop'],
  ];
  $('legend').replaceChildren();
  for (const [paintSign, text] of items) {
    const made = el('canvas', '');
    $('legend').append(el('span', '', made, text));
    size(made);
    paintSign(made.getContext('2d'));
  }
}

function drawArrow(on) {
  on.strokeStyle = colours['reload-edge'];
  on.fillStyle = colours['reload-edge'];
  on.lineWidth = 1.4;
  on.beginPath();
  on.moveTo(2, 12);
  on.bezierCurveTo(10, 12, 10, 5, 17, 5);
  on.stroke();
  on.beginPath();
  on.moveTo(22, 5);
  on.lineTo(16, 2);
  on.lineTo(16, 8);
  on.closePath();
  on.fill();
}

// The address may ask: #dark, #light, #q=words, #sort=slow, #rows=tiny, #problem=1, #x=1, #fit, #from=1.5&to=3
// (seconds since the beginning).
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const scheme of ['dark', 'light']) if (asked.has(scheme)) document.documentElement.dataset.scheme = scheme;
  view.words = asked.get('q') ?? '';
  $('filter').value = view.words;
  if (asked.get('sort') in orders) view.sort = asked.get('sort');
  $('sort').value = view.sort;
  if (['auto', 'tall', 'tiny'].includes(asked.get('rows'))) view.mode = asked.get('rows');
  $('rows').value = view.mode;
  view.only = asked.has('x');
  $('problems').checked = view.only;
  return asked;
}

view.from = whole.from;
view.to = whole.to;
const asked = readAddress();
readColours();
drawHeader();
drawLegend();
resize();
showPanel();
if (asked.has('fit')) fitVisible();
if (asked.has('from')) setWindow(Number(asked.get('from')) * 1e9, Number(asked.get('to')) * 1e9);
if (asked.has('problem')) for (let at = 0; at < Number(asked.get('problem')); at += 1) nextProblem(1);
