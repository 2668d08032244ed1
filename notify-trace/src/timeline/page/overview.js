// The strip above: all lanes over all time, and what of it is in sight.
const strip = $('overview');
const stripCtx = strip.getContext('2d');
const picture = document.createElement('canvas');
let stripWidth = 1;
let stripHeight = 1;

const stripX = (at) => (at - whole.from) / (whole.to - whole.from) * stripWidth;
const stripTime = (x) => whole.from + x / stripWidth * (whole.to - whole.from);

function resizeOverview() {
  const box = size(strip);
  stripWidth = box.width;
  stripHeight = box.height;
  drawPicture();
}

// It is drawn once; only the window moves.
function drawPicture() {
  const scale = window.devicePixelRatio || 1;
  picture.width = Math.max(1, Math.round(stripWidth * scale));
  picture.height = Math.max(1, Math.round(stripHeight * scale));
  const on = picture.getContext('2d');
  on.setTransform(scale, 0, 0, scale, 0, 0);
  on.fillStyle = colours.raised;
  on.fillRect(0, 0, stripWidth, stripHeight);
  const room = stripHeight - 8;
  const tall = Math.max(1, Math.min(4, room / lanes.length));
  const bad = [];
  lanes.forEach((lane, number) => {
    const y = 4 + number / lanes.length * room;
    for (const span of lane.spans) {
      const style = barStyle(span, lane.section);
      if (style[0] === 'failed' || style[0] === 'slow') {
        bad.push([style, span, y]);
        continue;
      }
      on.globalAlpha = tall > 1 ? 0.9 : 0.55;
      on.fillStyle = colours[style[1]];
      on.fillRect(stripX(span.from), y, Math.max(stripX(span.to) - stripX(span.from), 1), tall);
    }
    on.fillStyle = colours.quiet;
    on.globalAlpha = tall > 1 ? 0.45 : 0.12;
    let last = -1;
    for (const mark of lane.marks) {
      const x = Math.round(stripX(mark.at));
      if (x !== last) on.fillRect(x, y, 1, tall);
      last = x;
    }
    last = -1;
    on.globalAlpha = tall > 1 ? 0.25 : 0.06;
    for (const at of lane.pings) {
      const x = Math.round(stripX(at));
      if (x !== last) on.fillRect(x, y, 1, tall);
      last = x;
    }
  });
  for (const [style, span, y] of bad) {
    on.globalAlpha = tall > 1 ? 1 : style[0] === 'slow' ? 0.6 : 0.28;
    on.fillStyle = colours[style[1]];
    on.fillRect(stripX(span.from), y, Math.max(stripX(span.to) - stripX(span.from), 2), Math.max(tall, 1));
  }
  on.globalAlpha = 1;
  lanes.forEach((lane, number) => {
    const y = 4 + number / lanes.length * room;
    on.fillStyle = colours['failed-edge'];
    for (const mark of lane.marks) if (mark.state === 'failed') on.fillRect(stripX(mark.at) - 1.5, y - 1, 3, 3);
    for (const verdict of lane.verdicts) if (verdict.is_loss) on.fillRect(stripX(verdict.at) - 1.5, y - 1, 3, 3);
  });
}

function drawOverview() {
  stripCtx.drawImage(picture, 0, 0, stripWidth, stripHeight);
  const from = stripX(view.from);
  const to = stripX(view.to);
  // Which part of the lanes is in sight, where they stand as above.
  const isAll = view.sort === 'first' && view.shownLanes === lanes.length && view.closed.size === 0;
  const room = stripHeight - 8;
  const top = isAll ? 4 + view.top / Math.max(view.total, 1) * room : 1;
  const tall = isAll ? Math.min(1, (height - AXIS) / Math.max(view.total, 1)) * room : stripHeight - 2;
  stripCtx.fillStyle = colours.page;
  stripCtx.globalAlpha = 0.62;
  stripCtx.fillRect(0, 0, from, stripHeight);
  stripCtx.fillRect(to, 0, stripWidth - to, stripHeight);
  stripCtx.globalAlpha = 1;
  if (to - from < stripWidth - 2) {
    stripCtx.fillStyle = colours.window;
    stripCtx.fillRect(from, top, to - from, Math.max(tall, 3));
  }
  stripCtx.strokeStyle = colours.focus;
  stripCtx.lineWidth = 1;
  stripCtx.strokeRect(from + 0.5, Math.round(top) + 0.5, Math.max(to - from - 1, 2), Math.max(Math.round(tall) - 1, 3));
}
