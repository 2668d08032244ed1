// The canvas: only what is in sight is drawn.
const canvas = $('canvas');
const ctx = canvas.getContext('2d');
let colours = {};
let isAsked = false;

function draw() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    paint();
  });
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ['page', 'raised', 'band', 'line', 'grid', 'text', 'quiet', 'faint', 'focus', 'hover', 'start',
    'start-edge', 'slow', 'slow-edge', 'failed', 'failed-edge', 'reload', 'reload-edge', 'stop', 'stop-edge', 'ready',
    'bad', 'odd', 'window']) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

const font = (size, weight) => `${weight ?? 400} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;

function size(of) {
  const box = of.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  of.width = Math.max(1, Math.round(box.width * scale));
  of.height = Math.max(1, Math.round(box.height * scale));
  of.getContext('2d').setTransform(scale, 0, 0, scale, 0, 0);
  return box;
}

function resize() {
  const box = size(canvas);
  width = box.width;
  height = box.height;
  labels = Math.round(Math.min(300, Math.max(180, width * 0.3)));
  layOut();
  resizeOverview();
}

// The longest beginning of a text that has room.
const cutTexts = new Map();
function cut(text, room) {
  const key = `${ctx.font}|${Math.round(room)}|${text}`;
  let found = cutTexts.get(key);
  if (found === undefined) {
    found = text;
    if (ctx.measureText(text).width > room) {
      let low = 0;
      let high = text.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (ctx.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle; else high = middle - 1;
      }
      found = `${text.slice(0, low)}…`;
    }
    if (cutTexts.size > 5000) cutTexts.clear();
    cutTexts.set(key, found);
  }
  return found;
}

function paint() {
  ctx.clearRect(0, 0, width, height);
  ctx.fillStyle = colours.page;
  ctx.fillRect(0, 0, width, height);
  const first = rowAt(view.top);
  let last = first;
  while (last < view.rows.length && view.rows[last].y < view.top + height - AXIS) last += 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, AXIS, width, height - AXIS);
  ctx.clip();
  for (let at = first; at < last; at += 1) {
    const row = view.rows[at];
    const y = AXIS + row.y - view.top;
    const isHovered = view.hover && row.lane && view.hover.lane === row.lane;
    const isSelected = view.selected && row.lane && view.selected.lane === row.lane;
    if (isHovered || isSelected) ctx.fillStyle = colours.hover;
    else if (row.lane && at % 2 === 0) ctx.fillStyle = colours.band;
    else continue;
    ctx.fillRect(0, y, width, row.height);
  }
  const ticks = axisTicks();
  ctx.strokeStyle = colours.grid;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const at of ticks.at) {
    const x = Math.round(toX(at)) + 0.5;
    ctx.moveTo(x, AXIS);
    ctx.lineTo(x, height);
  }
  ctx.stroke();
  ctx.save();
  ctx.beginPath();
  ctx.rect(labels, AXIS, width - labels, height - AXIS);
  ctx.clip();
  for (let at = first; at < last; at += 1) if (view.rows[at].lane) drawSpans(view.rows[at]);
  for (let at = first; at < last; at += 1) if (view.rows[at].lane) drawMarks(view.rows[at]);
  drawHops(first, last);
  for (let at = first; at < last; at += 1) if (view.rows[at].lane) drawBarTexts(view.rows[at]);
  drawSelected();
  ctx.restore();
  namedAt = -100;
  for (let at = first; at < last; at += 1) drawLabel(view.rows[at]);
  ctx.restore();
  drawAxis(ticks);
  drawOverview();
}

// A line through all lanes at the time of what is selected, and a ring around it.
function drawSelected() {
  const { selected } = view;
  if (!selected) return;
  const at = (selected.mark ?? selected.verdict)?.at ?? selected.ping;
  if (at === undefined) return;
  const x = toX(at);
  ctx.strokeStyle = colours.focus;
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  ctx.moveTo(Math.round(x) + 0.5, AXIS);
  ctx.lineTo(Math.round(x) + 0.5, height);
  ctx.stroke();
  ctx.setLineDash([]);
  const { row } = selected.lane;
  if (!row) return;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.arc(x, AXIS + row.y - view.top + row.height / 2, 9, 0, 7);
  ctx.stroke();
  ctx.lineWidth = 1;
}

function axisTicks() {
  const steps = [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 2e9, 5e9,
    1e10, 3e10, 6e10, 1.2e11, 3e11, 6e11, 1.8e12, 3.6e12, 7.2e12, 2.16e13, 4.32e13, 8.64e13];
  const most = Math.max(2, Math.floor((width - labels) / 110));
  const length = view.to - view.from;
  const step = steps.find((it) => it >= length / most) ?? Math.ceil(length / most / 8.64e13) * 8.64e13;
  const local = data.origin_ms % 86400000 * 1e6 + data.zone_seconds * 1e9;
  const at = [];
  for (let next = Math.ceil((view.from + local) / step) * step - local; next <= view.to; next += step) at.push(next);
  const digits = step < 1e6 ? 6 : step < 1e7 ? 3 : step < 1e8 ? 2 : step < 1e9 ? 1 : 0;
  return { at, digits };
}

function drawAxis(ticks) {
  ctx.fillStyle = colours.page;
  ctx.fillRect(0, 0, width, AXIS);
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'center';
  ctx.font = font(11);
  for (const at of ticks.at) {
    const x = toX(at);
    if (x < labels + 28 || x > width - 24) continue;
    ctx.fillStyle = colours.quiet;
    ctx.fillText(clock(at, ticks.digits), x, AXIS / 2 - 2);
    ctx.fillStyle = colours.line;
    ctx.fillRect(Math.round(x), AXIS - 6, 1, 6);
  }
  ctx.textAlign = 'left';
  ctx.fillStyle = colours.faint;
  ctx.fillText(cut(view.shownLanes === lanes.length ? count(lanes.length, 'lane', 'lanes')
    : `${view.shownLanes.toLocaleString('en')} of ${count(lanes.length, 'lane', 'lanes')}`, labels - 120), 16, AXIS / 2);
  ctx.textAlign = 'right';
  ctx.fillText('to READY', labels - 14, AXIS / 2);
  ctx.fillStyle = colours.line;
  ctx.fillRect(0, AXIS - 1, width, 1);
  ctx.fillRect(labels - 4, AXIS, 1, height - AXIS);
}

let namedAt = -100;
function drawLabel(row) {
  const y = AXIS + row.y - view.top;
  const middle = y + row.height / 2;
  ctx.textBaseline = 'middle';
  if (!row.lane) {
    ctx.fillStyle = colours.raised;
    ctx.fillRect(0, y, width, row.height);
    ctx.fillStyle = colours.line;
    ctx.fillRect(0, y + row.height - 1, width, 1);
    ctx.textAlign = 'left';
    ctx.fillStyle = colours.text;
    ctx.font = font(13, 650);
    const { section } = row;
    const name = `${view.closed.has(section) ? '▸' : '▾'} ${cut(section.host, width / 3)}`;
    ctx.fillText(name, 12, middle);
    const x = 12 + ctx.measureText(name).width + 14;
    ctx.font = font(12);
    ctx.fillStyle = colours.quiet;
    ctx.fillText(cut(`${day(section.began)} ${clock(section.began, 0)}, ${duration(section.ended - section.began)}, Linux ${section.kernel}, ${count(row.size, 'lane', 'lanes')}`, width - x - 190), x, middle);
    ctx.textAlign = 'right';
    ctx.fillStyle = colours.focus;
    ctx.fillText('zoom to this session (s)', width - 28, middle);
    return;
  }
  const { lane } = row;
  if (row.height < 12) {
    if (lane.losses > 0 || lane.never) {
      ctx.fillStyle = colours['failed-edge'];
      ctx.fillRect(labels - 12, y, 5, row.height);
    } else if (lane.slow) {
      ctx.fillStyle = colours['slow-edge'];
      ctx.fillRect(labels - 12, y, 5, row.height);
    } else return;
    // Names of those that matter, as far as they have room.
    if (y - namedAt < 13) return;
    namedAt = y;
    ctx.font = font(11, 650);
    ctx.textAlign = 'right';
    ctx.fillStyle = lane.slow ? colours.odd : colours.bad;
    ctx.fillText(cut(lane.name, labels - 34), labels - 18, middle);
    return;
  }
  const leftOut = (lane.pings_left_out ?? 0) + (lane.marks_left_out ?? 0);
  if (leftOut > 0) {
    ctx.font = font(10.5);
    ctx.textAlign = 'right';
    const more = `+${leftOut.toLocaleString('en')} not drawn`;
    const wide = ctx.measureText(more).width;
    ctx.fillStyle = colours.page;
    ctx.globalAlpha = 0.8;
    ctx.fillRect(width - 26 - wide, y + 1, wide + 6, row.height - 2);
    ctx.globalAlpha = 1;
    ctx.fillStyle = colours.quiet;
    ctx.fillText(more, width - 23, middle);
  }
  const text = row.height >= 18 ? 13 : 12;
  const indent = lane.up ? 32 : 16;
  ctx.textAlign = 'right';
  ctx.font = font(text - 1, lane.never || lane.slow ? 650 : 400);
  ctx.fillStyle = lane.never ? colours.bad : lane.slow ? colours.odd : colours.quiet;
  const took = lane.never ? (lane.start.end === 'failed' ? 'never' : `> ${duration(lane.took)}`) : lane.start ? duration(lane.took) : '';
  ctx.fillText(took, labels - 14, middle);
  let right = labels - 14 - Math.max(62, ctx.measureText(took).width + 10);
  if (lane.problems > 0) {
    ctx.font = font(text - 1, 650);
    const isLoss = lane.losses > 0 || lane.failed > 0 || lane.never;
    ctx.fillStyle = isLoss ? colours.bad : colours.odd;
    const sign = `${isLoss ? '✗' : '!'}${lane.problems > 1 ? lane.problems : ''}`;
    ctx.fillText(sign, right, middle);
    right -= ctx.measureText(sign).width + 8;
  }
  ctx.textAlign = 'left';
  ctx.font = font(text, lane.problems > 0 ? 650 : 400);
  const dot = lane.name.endsWith('.service') ? lane.name.length - 8 : lane.name.length;
  const name = cut(lane.name.slice(0, dot), right - indent);
  if (lane.up) {
    ctx.strokeStyle = colours.faint;
    ctx.beginPath();
    ctx.moveTo(21.5, y + 2);
    ctx.lineTo(21.5, middle);
    ctx.lineTo(28, middle);
    ctx.stroke();
  }
  ctx.fillStyle = colours.text;
  ctx.fillText(name, indent, middle);
  const x = indent + ctx.measureText(name).width;
  if (dot < lane.name.length && !name.endsWith('…')) {
    ctx.font = font(text);
    ctx.fillStyle = colours.faint;
    const rest = cut('.service', right - x);
    if (rest === '.service') ctx.fillText(rest, x, middle);
  }
}
