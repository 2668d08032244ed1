// The words beside the picture: all problems, or one thing in full.
const panel = $('panel');

// An element; texts of others come here, as text.
function el(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const child of children) if (child !== null && child !== undefined) made.append(child);
  return made;
}

function button(className, action, ...children) {
  const made = el('button', className, ...children);
  made.type = 'button';
  made.addEventListener('click', action);
  return made;
}

const spoken = (kind) => kind.replaceAll('_', ' ');

function select(selected) {
  view.selected = selected;
  showPanel();
  draw();
}

function goTo(selected) {
  view.selected = selected;
  const { lane, mark, span, verdict, ping } = selected;
  if (span) reveal(lane, span.from, span.to);
  else reveal(lane, (mark ?? verdict)?.at ?? ping ?? lane.first, (mark ?? verdict)?.at ?? ping ?? lane.first);
  showPanel();
}

// The message that a verdict is about, if it is of this lane.
const aboutMark = (lane, verdict) => verdict.about.map((id) => lane.marks.find((it) => it.id === id)).find(Boolean);

function goToProblem(problem) {
  const { lane, verdict, mark } = problem;
  goTo({ lane, mark: mark ?? (verdict && aboutMark(lane, verdict)), verdict, problem });
}

function showPanel() {
  panel.replaceChildren();
  panel.scrollTop = 0;
  const { selected } = view;
  if (!selected) {
    showSummary();
    return;
  }
  panel.append(button('back', () => select(null), '← All problems (Esc)'));
  if (selected.mark) showMark(selected.lane, selected.mark, selected.verdict);
  else if (selected.verdict) showVerdictOnly(selected.lane, selected.verdict);
  else if (selected.span) showSpan(selected.lane, selected.span);
  else if (selected.ping !== undefined) showPing(selected.lane, selected.ping);
  else showLane(selected.lane);
}

function showSummary() {
  const heading = (text, small) => el('h2', '', text, ' ', el('small', '', small));
  panel.append(heading('Problems', problems.length === 0 ? '' : count(problems.length, 'in all', 'in all, by time')));
  if (problems.length === 0) {
    panel.append(el('p', 'quiet', 'No notification was lost, as far as was seen.'));
  }
  const list = el('ul', 'list');
  for (const problem of problems.slice(0, 500)) list.append(el('li', '', problemRow(problem)));
  panel.append(list);
  if (problems.length > 500) panel.append(el('p', 'quiet', `and ${problems.length - 500} more; n goes through all`));
  if (slowest.length > 0) {
    panel.append(heading('Slowest to READY', `of ${count(lanes.filter((lane) => lane.start).length, 'start', 'starts')}`));
    const most = Math.max(...slowest.map((lane) => lane.took), 1);
    const starts = el('ul', 'list');
    for (const lane of slowest) {
      const meter = el('div', `meter${lane.never ? ' never' : lane.slow ? ' slow' : ''}`);
      meter.style.width = `${Math.max(lane.took / most * 100, 1)}%`;
      const took = lane.never ? `never (${duration(lane.took)})` : duration(lane.took);
      const row = el('div', 'row', el('span', 'grow', lane.name),
        el('span', `num${lane.never ? ' bad' : lane.slow ? ' odd' : ''}`, took));
      starts.append(el('li', '', button('', () => goTo({ lane, span: lane.start }), row, meter)));
    }
    panel.append(starts);
  }
  for (const section of data.sections) {
    if (!section.notes) continue;
    panel.append(heading('To be known', many ? section.host : ''));
    for (const note of section.notes) panel.append(el('p', 'quiet', note));
  }
}

function problemRow(problem) {
  const { lane, verdict, mark } = problem;
  const isLoss = verdict ? verdict.is_loss : true;
  const again = verdict?.repeats ? ` ×${verdict.repeats + 1}` : '';
  const row = el('div', 'row',
    el('span', `sign ${isLoss ? 'bad' : 'odd'}`, isLoss ? '✗' : '!'),
    el('span', 'grow', el('span', 'unit', lane.name)),
    el('time', '', clock(problem.at, 3)));
  const what = el('div', 'what', el('span', isLoss ? 'bad' : 'odd', (verdict ? spoken(verdict.kind) : 'failed') + again), ': ',
    verdict ? verdict.what : mark.fate ?? title(mark));
  return button('', () => goToProblem(problem), row, what);
}

// Facts.

function table(rows) {
  const list = el('dl', 'facts');
  for (const [name, value, style] of rows) {
    if (value === null || value === undefined || value === '') continue;
    list.append(el('dt', style, name), el('dd', style === 'sub' ? '' : style, value));
  }
  return list;
}

function times(at) {
  return [
    ['time', `${day(at)} ${clock(at, 6)} ${zone()}`],
    ['since begin', `${at < 0 ? '-' : '+'}${duration(Math.abs(at))}`],
  ];
}

const laneLink = (lane) => button('link', () => goTo({ lane }), lane.name);

const words = {
  ok: 'delivered', open: 'pending, or not known', warning: 'delivered; see below', failed: 'LOST or refused',
};

function showMark(lane, mark, verdict) {
  const name = mark.kind === 'connect' ? 'connect failed' : mark.id === undefined ? 'message' : `message #${mark.id}`;
  panel.append(el('h2', '', laneLink(lane), ' ', el('small', '', name)));
  if (mark.lines) panel.append(el('div', 'message', mark.lines.join('\n')));
  const own = (mark.verdicts ?? []).map((number) => lane.section.verdicts.find((it) => it.number === number)).filter(Boolean);
  if (verdict && !own.includes(verdict)) own.unshift(verdict);
  for (const it of own) panel.append(verdictCard(it));
  const at = lane.marks.indexOf(mark);
  const before = at > 0 ? lane.marks[at - 1] : null;
  const rows = [...times(mark.at)];
  if (before) rows.push(['delta', `+${duration(mark.at - before.at)} after ${before.id === undefined ? 'the one before' : `#${before.id}`} of this lane`]);
  if (lane.start && mark.at >= lane.start.from) rows.push(['since start', `+${duration(mark.at - lane.start.from)}`]);
  if (mark.clock) rows.push(['wall clock', mark.clock]);
  const state = el('span', mark.state === 'failed' ? 'bad' : mark.state === 'ok' ? 'good' : 'odd', words[mark.state]);
  rows.push(['state', state]);
  if (mark.took !== undefined) rows.push(['latency', `${duration(mark.took)} from the queue to the receiver`]);
  rows.push(['remarks', mark.fate]);
  for (const position of mark.facts ?? []) {
    const fact = data.facts[position];
    rows.push([fact.name, fact.text, fact.more ? 'gap' : '']);
    for (const [more, text] of fact.more ?? []) rows.push([more, text, 'sub']);
  }
  panel.append(table(rows));
  showHops(lane, mark);
}

function showHops(lane, mark) {
  const about = lane.hops.filter((hop) => hop.told === mark.id || hop.sent === mark.id);
  if (about.length === 0) return;
  panel.append(el('h2', '', 'Hops'));
  const list = el('ul', 'list');
  for (const hop of about) {
    const isFrom = hop.sent === mark.id;
    const other = isFrom ? hop.fromLane : hop.toLane;
    const id = isFrom ? hop.told : hop.sent;
    const row = el('div', 'row', el('span', 'sign', isFrom ? '←' : '→'), el('span', 'grow', `#${id} ${other.name}`),
      el('span', 'num', duration(hop.to_at - hop.from_at)));
    list.append(el('li', '', button('', () => {
      const found = findMark(lane.section, id);
      goTo(found ? { lane: other, mark: found } : { lane: other });
    }, row, el('div', 'what', hop.text))));
  }
  panel.append(list);
}

function verdictCard(verdict) {
  const card = el('div', `verdict${verdict.is_loss ? '' : ' warning'}`);
  card.append(el('h3', verdict.is_loss ? 'bad' : 'odd', `${verdict.is_loss ? '✗' : '!'} ${spoken(verdict.kind)} `,
    el('span', 'quiet', `(${verdict.certainty})`)), el('p', '', verdict.what));
  if (verdict.evidence) {
    const list = el('ul', '');
    for (const seen of verdict.evidence) list.append(el('li', '', `seen: ${seen}`));
    card.append(list);
  }
  if (verdict.repeats) {
    card.append(el('p', 'quiet', `the same ${count(verdict.repeats, 'time', 'times')} more, the last at ${clock(verdict.last, 3)}`));
  }
  if (verdict.remedy) card.append(el('p', 'helps', el('b', '', 'What helps: '), verdict.remedy));
  if (verdict.rule) card.append(el('p', 'rule', `rule: ${verdict.rule}`));
  return card;
}

function showVerdictOnly(lane, verdict) {
  panel.append(el('h2', '', laneLink(lane)), verdictCard(verdict), table(times(verdict.at)));
  showNotes(lane);
}

function showSpan(lane, span) {
  const names = { start: 'start to READY', reload: 'reload', stop: 'stop' };
  panel.append(el('h2', '', laneLink(lane), ' ', el('small', '', names[span.kind])));
  panel.append(el('p', span.end === 'done' ? '' : 'bad', span.text));
  panel.append(table([
    ['from', clock(span.from, 6)], ['to', clock(span.to, 6)], ['took', duration(span.to - span.from)],
    ['slow is', span.kind === 'start' ? `${duration(lane.section.slow_ns)} or more in this session` : null],
  ]));
  for (const verdict of lane.verdicts) {
    if (verdict.at >= span.from - 1e9 && verdict.at <= span.to + 1e9) panel.append(verdictCard(verdict));
  }
  showMessages(lane, (mark) => mark.at >= span.from - 1e6 && mark.at <= span.to + 1e6);
  showNotes(lane);
}

function showPing(lane, at) {
  panel.append(el('h2', '', laneLink(lane), ' ', el('small', '', 'watchdog ping, delivered')));
  const before = lane.pings[lane.pings.indexOf(at) - 1];
  panel.append(table([...times(at), ['delta', before === undefined ? null : `+${duration(at - before)} after the ping drawn before`]]));
  showNotes(lane);
}

function showLane(lane) {
  panel.append(el('h2', '', lane.name, ' ', el('small', '', many ? `on ${lane.section.host}` : '')));
  for (const verdict of lane.verdicts) panel.append(verdictCard(verdict));
  showNotes(lane);
  const spans = el('ul', 'list');
  for (const span of lane.spans) {
    spans.append(el('li', '', button('', () => goTo({ lane, span }), el('div', 'row',
      el('span', 'grow', span.text), el('time', '', clock(span.from, 3))))));
  }
  if (lane.spans.length > 0) panel.append(el('h2', '', 'Phases'), spans);
  showMessages(lane, () => true);
}

function showNotes(lane) {
  const notes = [...lane.notes];
  if (lane.pings_left_out) notes.push(`${count(lane.pings_left_out, 'more ping is', 'more pings are')} not drawn`);
  if (lane.marks_left_out) notes.push(`${count(lane.marks_left_out, 'more message', 'more messages')} that arrived not drawn`);
  for (const note of notes) panel.append(el('p', 'quiet', note));
}

function showMessages(lane, isWanted) {
  const wanted = lane.marks.filter(isWanted);
  if (wanted.length === 0) return;
  panel.append(el('h2', '', 'Messages ', el('small', '', String(wanted.length))));
  const list = el('ul', 'list');
  for (const mark of wanted.slice(0, 200)) {
    list.append(el('li', '', button('', () => goTo({ lane, mark }), el('div', 'row',
      el('span', `sign ${mark.state === 'failed' ? 'bad' : 'quiet'}`, mark.state === 'failed' ? '✗' : '·'),
      el('span', `grow${mark.state === 'failed' ? ' bad' : ''}`, title(mark).slice(0, 200)), el('time', '', clock(mark.at, 3))))));
  }
  panel.append(list);
  if (wanted.length > 200) panel.append(el('p', 'quiet', `and ${wanted.length - 200} more; j and k go through all`));
}
