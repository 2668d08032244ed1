// What the page was given, and what follows of it. Texts of others only ever become text nodes.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($('data').textContent);
const many = data.sections.length > 1;

// Times.

const pad = (number, digits) => String(number).padStart(digits, '0');

function parts(at) {
  const ms = Math.floor(at / 1e6);
  return { date: new Date(data.origin_ms + ms + data.zone_seconds * 1000), ns: Math.round(at - ms * 1e6) };
}

// 03:00:06.515069, with so many digits of the second.
function clock(at, digits) {
  const { date, ns } = parts(at);
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map((it) => pad(it, 2)).join(':');
  const fraction = pad(date.getUTCMilliseconds(), 3) + pad(ns, 6);
  return digits > 0 ? `${time}.${fraction.slice(0, digits)}` : time;
}

function day(at) {
  const { date } = parts(at);
  return `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1, 2)}-${pad(date.getUTCDate(), 2)}`;
}

function zone() {
  const minutes = Math.abs(data.zone_seconds) / 60;
  if (minutes === 0) return 'UTC';
  return `UTC${data.zone_seconds < 0 ? '-' : '+'}${pad(Math.floor(minutes / 60), 2)}:${pad(Math.floor(minutes % 60), 2)}`;
}

function duration(ns) {
  const tenths = (unit) => (Math.floor(ns / unit * 10) / 10).toFixed(1);
  if (ns < 1e3) return '<1 µs';
  if (ns < 1e6) return `${Math.floor(ns / 1e3)} µs`;
  if (ns < 1e8) return `${tenths(1e6)} ms`;
  if (ns < 1e9) return `${Math.floor(ns / 1e6)} ms`;
  if (ns < 6e10) return `${tenths(1e9)} s`;
  const seconds = Math.floor(ns / 1e9);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const count = (number, one, others) => `${number.toLocaleString('en')} ${number === 1 ? one : others}`;

// Lanes, with what a glance needs.

const lanes = [];
const problems = [];
for (const section of data.sections) {
  section.lanes.forEach((lane, index) => {
    lane.section = section;
    lane.lower = lane.name.toLowerCase();
    lane.order = lanes.length;
    lane.spans ??= [];
    lane.marks ??= [];
    lane.pings ??= [];
    lane.notes ??= [];
    lane.verdicts = [];
    lane.hops = [];
    lane.below = [];
    lane.up = lane.parent === undefined ? null : section.lanes[lane.parent];
    lane.start = lane.spans.find((span) => span.kind === 'start');
    lane.took = lane.start ? lane.start.to - lane.start.from : -1;
    lane.never = Boolean(lane.start) && lane.start.end !== 'done';
    lane.slow = Boolean(lane.start) && !lane.never && lane.took >= section.slow_ns;
    lane.failed = lane.marks.filter((mark) => mark.state === 'failed').length;
    lane.index = index;
    lanes.push(lane);
  });
  for (const lane of section.lanes) lane.up?.below.push(lane);
  for (const verdict of section.verdicts ?? []) {
    verdict.about ??= [];
    verdict.owner = section.lanes[verdict.lane];
    verdict.owner.verdicts.push(verdict);
    problems.push({ at: verdict.at, lane: verdict.owner, verdict });
  }
  for (const hop of section.hops ?? []) {
    hop.fromLane = section.lanes[hop.from];
    hop.toLane = section.lanes[hop.to];
    hop.fromLane.hops.push(hop);
    if (hop.toLane !== hop.fromLane) hop.toLane.hops.push(hop);
  }
}
for (const lane of lanes) {
  // What failed without a verdict is a problem as well.
  for (const mark of lane.marks) {
    mark.lane = lane;
    const isTold = (it) => Math.abs(it.at - mark.at) < 1e6 || (it.repeats && mark.at >= it.at && mark.at <= it.last + 1e6);
    if (mark.state === 'failed' && !mark.verdicts && !lane.verdicts.some(isTold)) {
      problems.push({ at: mark.at, lane, mark });
    }
  }
  lane.losses = lane.verdicts.filter((it) => it.is_loss).length;
  lane.problems = lane.verdicts.length + (lane.losses === 0 ? lane.failed : 0) + (lane.never && lane.losses === 0 ? 1 : 0);
}
problems.sort((one, other) => one.at - other.at);

const slowest = lanes.filter((lane) => lane.start)
  .sort((one, other) => other.never - one.never || other.took - one.took)
  .slice(0, 8);

function findMark(section, id) {
  for (const lane of section.lanes) {
    const mark = lane.marks.find((it) => it.id === id);
    if (mark) return mark;
  }
  return null;
}

// The words of a message.
function title(mark) {
  if (mark.lines) return mark.lines.join('  ');
  return mark.kind === 'connect' ? 'connect failed' : '(no text)';
}
