// Bars and signs. Each kind has a shape of its own; colours only help.

function barStyle(span, section) {
  if (span.kind === 'reload') return ['reload', 'reload-edge'];
  if (span.kind === 'stop') return ['stop', 'stop-edge'];
  if (span.end !== 'done') return ['failed', 'failed-edge'];
  return span.to - span.from >= section.slow_ns ? ['slow', 'slow-edge'] : ['start', 'start-edge'];
}

function drawBar(on, style, x, y, wide, tall, isOpen) {
  on.fillStyle = colours[style[0]];
  on.strokeStyle = colours[style[1]];
  on.lineWidth = 1;
  if (tall < 6) {
    on.fillStyle = colours[style[1]];
    on.fillRect(x, y, Math.max(wide, 1.5), tall);
    return;
  }
  on.beginPath();
  on.roundRect(x + 0.5, y + 0.5, Math.max(wide - 1, 2), tall - 1, 2);
  on.fill();
  if (isOpen) on.setLineDash([4, 3]);
  on.stroke();
  on.setLineDash([]);
}

// A failed or unfinished start is hatched, so that it is told without its colour.
function hatch(on, style, x, y, wide, tall) {
  on.save();
  on.beginPath();
  on.rect(x, y, wide, tall);
  on.clip();
  on.strokeStyle = colours[style[1]];
  on.globalAlpha = 0.55;
  on.beginPath();
  const from = Math.max(x, 0) - (Math.max(x, 0) - x) % 7 - tall;
  for (let at = from; at < Math.min(x + wide, 6000); at += 7) {
    on.moveTo(at, y + tall);
    on.lineTo(at + tall, y);
  }
  on.stroke();
  on.restore();
}

function drawSpans(row) {
  const { lane } = row;
  const y = AXIS + row.y - view.top;
  const tall = row.height < 12 ? Math.max(row.height - 1, 2) : Math.min(12, row.height - 5);
  const top = row.height < 12 ? y : Math.round(y + (row.height - tall) / 2);
  for (const span of lane.spans) {
    if (span.to < view.from || span.from > view.to) continue;
    const x = Math.max(toX(span.from), -20);
    const end = Math.min(toX(span.to), width + 20);
    const style = barStyle(span, lane.section);
    drawBar(ctx, style, x, top, end - x, tall, span.end === 'open');
    if (span.end !== 'done' && tall >= 6) hatch(ctx, style, x, top, end - x, tall);
  }
}

function drawBarTexts(row) {
  if (row.height < 12) return;
  const middle = AXIS + row.y - view.top + row.height / 2 + 0.5;
  for (const span of row.lane.spans) {
    if (span.to >= view.from && span.from <= view.to) drawBarText(row.lane, span, middle);
  }
}

// What is worth to be read at a glance stands behind its bar, else before it, else on it.
function drawBarText(lane, span, y) {
  const took = span.to - span.from;
  if (span.kind !== 'start' || (span.end === 'done' && took < lane.section.slow_ns)) return;
  const text = span.end === 'failed' ? `failed to start, after ${duration(took)}`
    : span.end === 'open' ? `not READY after ${duration(took)}` : duration(took);
  ctx.font = font(11, 650);
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  const wide = ctx.measureText(text).width;
  const [from, end] = [toX(span.from), toX(span.to)];
  let x = end + 11;
  if (x + wide > width - 18) x = from - wide - 12;
  if (x < labels + 4) {
    x = Math.min(end, width - 18) - wide - 20;
    ctx.fillStyle = colours.page;
    ctx.fillRect(x - 4, y - 6.5, wide + 8, 12);
  }
  ctx.fillStyle = span.end === 'done' ? colours.odd : colours.bad;
  ctx.fillText(text, x, y);
}

function cross(on, x, y, size) {
  // A light edge, so that it is seen on anything.
  for (const [colour, wide] of [[colours.page, 5], [colours['failed-edge'], 2.6]]) {
    on.strokeStyle = colour;
    on.lineWidth = wide;
    on.lineCap = 'round';
    on.beginPath();
    on.moveTo(x - size, y - size);
    on.lineTo(x + size, y + size);
    on.moveTo(x + size, y - size);
    on.lineTo(x - size, y + size);
    on.stroke();
  }
  on.lineCap = 'butt';
  on.lineWidth = 1;
}

// A triangle with a mark: something is wrong, and no message stands for it.
function alarm(on, x, y, isLoss) {
  on.beginPath();
  on.moveTo(x, y - 6);
  on.lineTo(x + 6.5, y + 5);
  on.lineTo(x - 6.5, y + 5);
  on.closePath();
  on.lineJoin = 'round';
  on.strokeStyle = colours.page;
  on.lineWidth = 3;
  on.stroke();
  on.fillStyle = isLoss ? colours['failed-edge'] : colours['slow-edge'];
  on.fill();
  on.lineWidth = 1;
  on.fillStyle = colours.page;
  on.fillRect(x - 0.8, y - 2.6, 1.6, 4);
  on.fillRect(x - 0.8, y + 2.2, 1.6, 1.6);
}

function sign(on, kind, x, y, isOpen) {
  on.lineWidth = 1.5;
  on.strokeStyle = colours.page;
  on.beginPath();
  if (kind === 'ready') {
    on.arc(x, y, 4.2, 0, 7);
    on.fillStyle = colours.ready;
  } else if (kind === 'reloading') {
    on.moveTo(x, y - 5);
    on.lineTo(x + 5, y);
    on.lineTo(x, y + 5);
    on.lineTo(x - 5, y);
    on.closePath();
    on.fillStyle = colours['reload-edge'];
  } else if (kind === 'stopping') {
    on.rect(x - 4, y - 4, 8, 8);
    on.fillStyle = colours['stop-edge'];
  } else if (kind === 'status') {
    on.arc(x, y, 2.8, 0, 7);
    on.fillStyle = colours.page;
    on.strokeStyle = colours.quiet;
  } else if (kind === 'watchdog') {
    on.rect(x - 1.5, y - 5, 3, 10);
    on.fillStyle = colours.quiet;
  } else {
    on.moveTo(x, y - 3.5);
    on.lineTo(x + 4, y + 3);
    on.lineTo(x - 4, y + 3);
    on.closePath();
    on.fillStyle = colours.faint;
  }
  if (isOpen) {
    on.fillStyle = colours.page;
    on.strokeStyle = colours['slow-edge'];
    on.setLineDash([2, 2]);
  }
  on.stroke();
  on.fill();
  on.setLineDash([]);
  if (kind === 'status' || isOpen) on.stroke();
  on.lineWidth = 1;
}

// The first of a sorted list that is not before a time.
function firstFrom(list, at, key) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list[middle]) < at) low = middle + 1; else high = middle;
  }
  return low;
}

const byTime = (mark) => mark.at;
const major = { ready: 1, reloading: 1, stopping: 1 };

// Whether one of the first so many, sorted, is within a sign's width.
function isNear(places, x, many) {
  let low = 0;
  let high = many;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < x - 7) low = middle + 1; else high = middle;
  }
  return low < many && places[low] <= x + 7;
}

function drawMark(mark, x, y, tall, isTiny) {
  const middle = y + tall / 2;
  if (isTiny) {
    if (mark.kind === 'ready') {
      ctx.fillStyle = colours.ready;
      ctx.fillRect(x - 1, y, 2, Math.max(tall - 1, 2));
    }
    return;
  }
  sign(ctx, mark.kind, x, middle, mark.state === 'open');
}

function drawMarks(row) {
  const { lane } = row;
  const y = AXIS + row.y - view.top;
  const middle = y + row.height / 2;
  const margin = (view.to - view.from) * 0.02;
  const isTiny = row.height < 12;
  if (!isTiny) drawPings(lane, middle);
  const begin = firstFrom(lane.marks, view.from - margin, byTime);
  // What matters more hides what stands too near to be told from it; zooming in parts them.
  const placed = [];
  const failed = [];
  const shown = [];
  for (let at = begin; at < lane.marks.length && lane.marks[at].at <= view.to + margin; at += 1) {
    const mark = lane.marks[at];
    if (mark.state === 'failed') failed.push(toX(mark.at));
    else shown.push(mark);
  }
  placed.push(...failed);
  for (const rank of [0, 1]) {
    let last = -100;
    placed.sort((one, other) => one - other);
    const before = placed.length;
    for (const mark of shown) {
      const isMajor = mark.kind in major || mark.state !== 'ok';
      if (isMajor !== (rank === 0)) continue;
      const x = toX(mark.at);
      if (x - last < (rank === 0 ? 2 : 6) || (rank === 1 && isNear(placed, x, before))) continue;
      last = x;
      placed.push(x);
      drawMark(mark, x, y, row.height, isTiny);
    }
  }
  for (const x of failed) {
    if (isTiny) {
      ctx.fillStyle = colours['failed-edge'];
      ctx.fillRect(x - 2, y, 4, row.height);
    } else cross(ctx, x, middle, 4);
  }
  if (isTiny) return;
  for (const verdict of lane.verdicts) {
    if (verdict.at < view.from - margin || verdict.at > view.to + margin || standsAtMark(verdict, lane)) continue;
    alarm(ctx, toX(verdict.at), middle, verdict.is_loss);
  }
}

// Whether a message's own sign says it.
function standsAtMark(verdict, lane) {
  verdict.atMark ??= lane.marks.some((mark) => mark.state === 'failed' && (mark.verdicts ?? []).includes(verdict.number))
    || (verdict.about.length === 0 && lane.marks.some((mark) => mark.kind === 'connect' && Math.abs(mark.at - verdict.at) < 1e6));
  return verdict.atMark;
}

function drawPings(lane, middle) {
  const { pings } = lane;
  if (pings.length === 0) return;
  ctx.fillStyle = colours.faint;
  let last = -10;
  for (let at = firstFrom(pings, view.from, (it) => it); at < pings.length && pings[at] <= view.to; at += 1) {
    const x = Math.round(toX(pings[at]));
    if (x - last < 2) continue;
    ctx.fillRect(x, middle - 3, 1.5, 6);
    last = x;
  }
}

function drawHops(first, last) {
  const done = new Set();
  for (let at = first; at < last; at += 1) {
    const lane = view.rows[at].lane;
    if (!lane || view.rows[at].height < 12) continue;
    for (const hop of lane.hops) {
      if (done.has(hop) || !hop.fromLane.row || !hop.toLane.row || hop.fromLane === hop.toLane) continue;
      done.add(hop);
      if (hop.to_at < view.from || hop.from_at > view.to) continue;
      drawHop(hop);
    }
  }
}

function drawHop(hop) {
  const place = (lane) => AXIS + lane.row.y - view.top + lane.row.height / 2;
  const [x, y, tx, ty] = [toX(hop.from_at), place(hop.fromLane), toX(hop.to_at), place(hop.toLane)];
  const bulge = Math.max(0, 14 - (tx - x));
  ctx.strokeStyle = colours['reload-edge'];
  ctx.fillStyle = colours['reload-edge'];
  ctx.lineWidth = 1.4;
  ctx.beginPath();
  ctx.moveTo(x + 4, y);
  const end = tx + (bulge > 0 ? 5 : -5);
  if (bulge > 0) ctx.bezierCurveTo(x + 6 + bulge, y, tx + 6 + bulge, ty, end + 4, ty);
  else ctx.bezierCurveTo((x + tx) / 2, y, (x + tx) / 2, ty, end - 4, ty);
  ctx.stroke();
  const side = bulge > 0 ? -1 : 1;
  ctx.beginPath();
  ctx.moveTo(end, ty);
  ctx.lineTo(end - side * 6, ty - 3);
  ctx.lineTo(end - side * 6, ty + 3);
  ctx.closePath();
  ctx.fill();
  ctx.lineWidth = 1;
}
