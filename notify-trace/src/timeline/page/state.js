// What is shown of it: the time, the lanes, the selection.
const view = {
  from: 0, to: 1, top: 0, rows: [], height: 20, words: '', only: false, sort: 'first', mode: 'auto',
  closed: new Set(), selected: null, hover: null,
};
const AXIS = 30;
const HEADING = 26;
// Room at the right, for the scroll bar and for what happens last.
const EDGE = 28;
let width = 0;
let height = 0;
let labels = 260;

const lastMoment = Math.max(data.end, 1e6);
const whole = { from: -lastMoment * 0.01, to: lastMoment * 1.02 };

function setWindow(from, to) {
  const least = 2e3;
  let length = Math.min(Math.max(to - from, least), whole.to - whole.from);
  const middle = (from + to) / 2;
  from = Math.max(whole.from, Math.min(middle - length / 2, whole.to - length));
  view.from = from;
  view.to = from + length;
  draw();
}

function zoom(factor, at) {
  const fixed = at ?? (view.from + view.to) / 2;
  setWindow(fixed - (fixed - view.from) * factor, fixed + (view.to - fixed) * factor);
}

const pan = (share) => setWindow(view.from + (view.to - view.from) * share, view.to + (view.to - view.from) * share);

const toX = (at) => labels + (at - view.from) / (view.to - view.from) * (width - labels - EDGE);
const toTime = (x) => view.from + (x - labels) / (width - labels - EDGE) * (view.to - view.from);

// Rows: headings, where there are several sessions, and lanes.

const orders = {
  first: (one, other) => one.order - other.order,
  name: (one, other) => (one.lower < other.lower ? -1 : one.lower > other.lower ? 1 : 0),
  slow: (one, other) => other.never - one.never || other.took - one.took || one.order - other.order,
  problems: (one, other) => (other.losses > 0) - (one.losses > 0) || other.problems - one.problems
    || other.slow - one.slow || one.order - other.order,
};

function matches(lane, words) {
  if (view.only && lane.problems === 0 && !lane.slow) return false;
  return words.every((word) => (word.startsWith('-') && word.length > 1
    ? !lane.lower.includes(word.slice(1)) : lane.lower.includes(word)));
}

// With a lane comes what it passes its messages on to, and what passes them on to it: hops stay whole.
const isWanted = (lane, words) => matches(lane, words) || (lane.up !== null && matches(lane.up, words))
  || lane.below.some((it) => matches(it, words));

function layOut() {
  const words = view.words.toLowerCase().split(/\s+/).filter(Boolean);
  view.rows = [];
  view.shownLanes = 0;
  for (const section of data.sections) {
    const wanted = section.lanes.filter((lane) => isWanted(lane, words));
    for (const lane of section.lanes) lane.row = null;
    view.shownLanes += wanted.length;
    if (many) view.rows.push({ section, size: wanted.length });
    if (view.closed.has(section)) continue;
    wanted.sort(orders[view.sort]);
    for (const lane of wanted) view.rows.push({ lane });
  }
  const headings = many ? data.sections.length : 0;
  const room = height - AXIS - headings * HEADING;
  const fits = Math.floor(room / Math.max(view.rows.length - headings, 1));
  view.height = { auto: Math.min(Math.max(fits, 15), 26), tall: 26, tiny: 4 }[view.mode];
  let y = 0;
  for (const row of view.rows) {
    row.y = y;
    row.height = row.lane ? view.height : HEADING;
    if (row.lane) row.lane.row = row;
    y += row.height;
  }
  view.total = y;
  $('spacer').style.height = `${y}px`;
  $('nothing').hidden = view.shownLanes > 0;
  view.top = $('scroll').scrollTop;
  draw();
}

// Position of the first row that ends below y.
function rowAt(y) {
  let low = 0;
  let high = view.rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (view.rows[middle].y + view.rows[middle].height <= y) low = middle + 1; else high = middle;
  }
  return low;
}

function scrollTo(y) {
  $('scroll').scrollTop = y;
  view.top = $('scroll').scrollTop;
  draw();
}

// Brings a lane and a time into sight.
function reveal(lane, from, to) {
  if (!lane.row) {
    view.words = '';
    view.only = false;
    $('filter').value = '';
    $('problems').checked = false;
    view.closed.delete(lane.section);
    layOut();
  }
  const row = lane.row;
  const room = height - AXIS;
  if (row.y < view.top || row.y + row.height > view.top + room) scrollTo(row.y - room / 2);
  const length = view.to - view.from;
  if (to - from > length * 0.9) setWindow(from - (to - from) * 0.2, to + (to - from) * 0.2);
  else if (from < view.from + length * 0.02 || to > view.to - length * 0.02) {
    setWindow((from + to) / 2 - length / 2, (from + to) / 2 + length / 2);
  }
  draw();
}

// The time in which the lanes in sight do something.
function fitVisible() {
  let from = Infinity;
  let to = -Infinity;
  const take = (at) => { from = Math.min(from, at); to = Math.max(to, at); };
  for (let at = rowAt(view.top); at < view.rows.length && view.rows[at].y < view.top + height - AXIS; at += 1) {
    const lane = view.rows[at].lane;
    if (!lane) continue;
    for (const span of lane.spans) if (span.kind === 'start') { take(span.from); take(span.to); }
    if (!lane.start) for (const mark of lane.marks) take(mark.at);
  }
  if (to >= from) setWindow(from - (to - from) * 0.05 - 1e4, to + (to - from) * 0.08 + 1e4);
}
