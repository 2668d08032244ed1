//! What is traced, what was counted, what was lost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::cells::span;
use super::theme::{Role, Theme};
use crate::escape::escape_field;
use crate::sink::text::frame;
use crate::top::look::Look;
use crate::top::rate;
use crate::top::state::{Picture, UNITS};
use crate::words::{self, count, plan_name};

/// The header's rate is of so many seconds: shorter than that of a unit, to be up to date.
const RATE_SECONDS: u64 = 10;

/// How many lines it has.
#[must_use]
pub fn lines(picture: &Picture) -> u16 {
    if picture.totals.losses.in_all() > 0 {
        3
    } else {
        2
    }
}

/// How long has been counted, in nanoseconds.
#[must_use]
pub fn elapsed_ns(picture: &Picture) -> u64 {
    let began_ns = picture.session.as_ref().map(|it| it.monotonic_ns);
    picture
        .now_ns
        .saturating_sub(began_ns.unwrap_or(picture.now_ns))
}

/// Draws it. `units`: how many the filter lets through.
pub fn draw(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look,
    picture: &Picture,
    is_live: bool,
    units: usize,
    theme: Theme,
) {
    let rows = [
        (traced(picture, theme), state(look, picture, is_live, theme)),
        (
            counts(picture, theme),
            filtered(look, picture, units, theme),
        ),
    ];
    for (y, (left, right)) in (area.y..area.bottom()).zip(rows) {
        let right_width = u16::try_from(right.width())
            .unwrap_or(u16::MAX)
            .min(area.width);
        let left_width = (area.width - right_width).saturating_sub(2);
        buffer.set_line(area.x + 1, y, &left, left_width);
        buffer.set_line(area.right() - right_width, y, &right, right_width);
    }
    if area.height > 2 {
        let text = format!("lost: {}", frame::losses(&picture.totals.losses));
        let text = words::cut(text, area.width.saturating_sub(2).into());
        buffer.set_stringn(
            area.x + 1,
            area.y + 2,
            text,
            area.width.saturating_sub(2).into(),
            theme.style(Role::Bad),
        );
    }
}

fn traced(picture: &Picture, theme: Theme) -> Line<'static> {
    let mut parts = vec![Span::styled("notify-trace", theme.style(Role::Name))];
    if let Some(session) = &picture.session {
        let safe = |text: &str| escape_field(text.as_bytes()).to_string();
        let plan = plan_name(session.plan.name);
        let facts = [
            safe(&session.host),
            format!("Linux {}", safe(&session.kernel)),
            format!("plan {plan}"),
        ];
        for fact in facts {
            parts.push(Span::raw("  "));
            parts.push(Span::raw(fact));
        }
        let warnings = session.warnings.len();
        if warnings > 0 {
            let text = count(warnings as u64, "warning (?)", "warnings (?)");
            parts.push(Span::styled(format!("  {text}"), theme.style(Role::Odd)));
        }
    }
    Line::from(parts)
}

/// What of it is on the screen, and since when it goes on.
fn state(look: &Look, picture: &Picture, is_live: bool, theme: Theme) -> Line<'static> {
    let (text, role) = match (&look.paused, is_live) {
        (Some(_), _) => (" PAUSED ", Role::Alarm),
        (None, false) => (" RECORDING ", Role::Sorted),
        (None, true) if picture.totals.is_over => (" ENDED ", Role::Odd),
        (None, true) => (" LIVE ", Role::Good),
    };
    let elapsed = span(elapsed_ns(picture));
    Line::from(vec![
        Span::styled(text, theme.style(role)),
        Span::raw(format!(" {elapsed} ")),
    ])
}

fn counts(picture: &Picture, theme: Theme) -> Line<'static> {
    let totals = &picture.totals;
    let window_ns = elapsed_ns(picture).min(RATE_SECONDS * 1_000_000_000);
    let rate = totals.rate.count(picture.now_ns, RATE_SECONDS);
    let mut parts = vec![
        Span::raw(count(totals.notifications, "notification", "notifications")),
        Span::raw("  "),
        Span::raw(rate::words(rate, window_ns)),
    ];
    parts.push(Span::raw("  "));
    // Before what may be cut off.
    parts.push(match totals.losses.in_all() {
        0 => Span::styled("0 lost", theme.style(Role::Good)),
        lost => Span::styled(format!(" {lost} LOST "), theme.style(Role::Alarm)),
    });
    let numbers = [
        (
            format!("{} failed", totals.failed),
            totals.failed,
            Role::Bad,
        ),
        (
            format!("{} pending", totals.pending),
            totals.pending,
            Role::Odd,
        ),
        (
            count(totals.verdicts, "verdict", "verdicts"),
            totals.verdicts,
            Role::Bad,
        ),
    ];
    for (text, number, role) in numbers {
        let role = if number > 0 { role } else { Role::Quiet };
        parts.push(Span::styled(format!("  {text}"), theme.style(role)));
    }
    Line::from(parts)
}

/// How many units there are, and how many of them are shown.
fn filtered(look: &Look, picture: &Picture, units: usize, theme: Theme) -> Line<'static> {
    let all = picture.rows.len();
    let forgotten = picture.totals.forgotten;
    let mut parts = Vec::new();
    if !look.filter.is_empty() {
        let text = format!("{units} of ");
        parts.push(Span::styled(text, theme.style(Role::Sorted)));
    }
    parts.push(Span::raw(count(all as u64, "unit", "units")));
    if forgotten > 0 {
        let text = format!(" (most {UNITS}; {forgotten} forgotten)");
        parts.push(Span::styled(text, theme.style(Role::Odd)));
    }
    parts.push(Span::raw(" "));
    Line::from(parts)
}
