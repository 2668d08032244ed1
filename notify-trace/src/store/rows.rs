//! Rows of notifications, flows and verdicts, beside the events they are drawn from.

use rusqlite::{CachedStatement, ToSql, Transaction, params};

use super::signed;
use crate::event::DeliveryState;
use crate::study::row::{Change, Fate, Flow, MEASURES, Repetition, Row, Rows, VerdictRow};
use crate::words::serde_word;

/// Numbers of a session fit into so many bits of an id.
const NUMBER_BITS: u32 = 40;

/// The id of a number in a session.
pub(super) fn id(session: i64, number: u64) -> i64 {
    (session << NUMBER_BITS) | signed(number)
}

/// The session of an id.
pub(super) const fn session(id: i64) -> i64 {
    id >> NUMBER_BITS
}

/// Columns of a notification's times that conclusions give.
const COLUMNS: [&str; MEASURES.len()] = [
    "startup_ns",
    "startup_process_ns",
    "reload_ns",
    "stop_ns",
    "watchdog_ns",
    "watchdog_jitter_ns",
    "watchdog_margin_ns",
    "extend_ns",
    "extend_margin_ns",
    "status_ns",
    "hop_ns",
];

/// Writes all.
pub(super) fn write(
    transaction: &Transaction<'_>,
    session: i64,
    rows: &Rows,
) -> rusqlite::Result<()> {
    let Rows {
        flows,
        flows_since: _,
        notifications,
        changes,
        verdicts,
        repeats,
        manager_version,
    } = rows;
    for (number, it) in flows {
        flow(transaction, id(session, *number), it)?;
    }
    if !notifications.is_empty() {
        let mut insert = transaction.prepare_cached(
            "INSERT OR REPLACE INTO notification (id, flow, pid, at_us, at_ns, state, errno, \
             length_bytes, says, delivery_ns, blocked_ns, startup_ns, startup_process_ns, reload_ns, \
             stop_ns, watchdog_ns, watchdog_jitter_ns, watchdog_margin_ns, extend_ns, \
             extend_margin_ns, status_ns, hop_ns, told, told_class) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
             ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        )?;
        for it in notifications {
            notification(&mut insert, session, it)?;
        }
    }
    for it in changes {
        change(transaction, session, it)?;
    }
    for it in verdicts {
        verdict(transaction, session, it)?;
    }
    for Repetition {
        row,
        times,
        last_us,
    } in repeats
    {
        transaction
            .prepare_cached("UPDATE verdict SET times = times + ?2, last_us = ?3 WHERE id = ?1")?
            .execute([id(session, *row), signed(*times), *last_us])?;
    }
    if let Some(version) = manager_version {
        transaction
            .prepare_cached("UPDATE session SET manager_version = ?2 WHERE id = ?1")?
            .execute(params![session, version])?;
    }
    Ok(())
}

/// Deletes the rows of a session that are drawn from deleted events: those below the lowest id that
/// events which are left may speak of.
pub(super) fn delete(
    transaction: &Transaction<'_>,
    session: i64,
    below: i64,
    flows_below: i64,
) -> rusqlite::Result<()> {
    let first = id(session, 0);
    let execute = |sql: &str, below: i64| {
        transaction
            .prepare_cached(sql)?
            .execute([first, below])
            .map(|_| ())
    };
    execute("DELETE FROM notification WHERE id >= ?1 AND id < ?2", below)?;
    execute("DELETE FROM flow WHERE id >= ?1 AND id < ?2", flows_below)
}

/// Deletes all rows of a session.
pub(super) fn delete_all(transaction: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
    for table in ["notification", "flow", "verdict"] {
        transaction.execute(
            &format!("DELETE FROM {table} WHERE id >= ?1 AND id < ?2"),
            [id(session, 0), id(session + 1, 0)],
        )?;
    }
    Ok(())
}

fn flow(transaction: &Transaction<'_>, id: i64, it: &Flow) -> rusqlite::Result<()> {
    let Flow {
        owner: _,
        unit,
        user,
        container,
        runtime,
        comm,
        class,
        manager,
    } = it;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO flow (id, unit, uid, container, runtime, comm, class, manager) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            id, unit, user, container, runtime, comm, class, manager
        ])
        .map(|_| ())
}

/// Binds what there is: the rest is null, and binding is most of the work.
fn notification(insert: &mut CachedStatement<'_>, session: i64, it: &Row) -> rusqlite::Result<()> {
    let Row {
        number,
        flow,
        pid,
        at_us,
        at_ns,
        length_bytes,
        says,
        fate,
        measures,
        told,
    } = it;
    insert.clear_bindings();
    insert.raw_bind_parameter(1, id(session, *number))?;
    insert.raw_bind_parameter(2, id(session, *flow))?;
    bind(insert, 3, *pid)?;
    insert.raw_bind_parameter(4, at_us)?;
    insert.raw_bind_parameter(5, signed(*at_ns))?;
    insert.raw_bind_parameter(6, state(fate.state))?;
    bind(insert, 7, fate.errno)?;
    insert.raw_bind_parameter(8, length_bytes)?;
    insert.raw_bind_parameter(9, says)?;
    bind(insert, 10, fate.delivery_ns.map(signed))?;
    bind(insert, 11, fate.blocked_ns.map(signed))?;
    for (column, value) in (12..).zip(measures) {
        bind(insert, column, *value)?;
    }
    if let Some(told) = told {
        insert.raw_bind_parameter(23, id(session, told.notification))?;
        insert.raw_bind_parameter(24, &told.class)?;
    }
    insert.raw_execute().map(|_| ())
}

fn bind(
    statement: &mut CachedStatement<'_>,
    column: usize,
    value: Option<impl ToSql>,
) -> rusqlite::Result<()> {
    match value {
        Some(value) => statement.raw_bind_parameter(column, value),
        None => Ok(()),
    }
}

fn change(transaction: &Transaction<'_>, session: i64, it: &Change) -> rusqlite::Result<()> {
    let id = |number: u64| id(session, number);
    match it {
        Change::Fate {
            number,
            fate,
            sender,
        } => {
            let Fate {
                state: is,
                errno,
                delivery_ns,
                blocked_ns,
            } = *fate;
            transaction
                .prepare_cached(
                    "UPDATE notification SET state = ?2, errno = ?3, delivery_ns = ?4, blocked_ns = ?5, \
                     flow = coalesce(?6, flow), pid = coalesce(?7, pid) WHERE id = ?1",
                )?
                .execute(params![
                    id(*number),
                    state(is),
                    errno,
                    delivery_ns.map(signed),
                    blocked_ns.map(signed),
                    sender.map(|(flow, _)| id(flow)),
                    sender.map(|(_, pid)| pid)
                ])?;
        }
        Change::Measure {
            number,
            column,
            value_ns,
            told,
        } => {
            let column = COLUMNS[*column];
            transaction
                .prepare_cached(&format!(
                    "UPDATE notification SET {column} = ?2, told = coalesce(?3, told), told_class = \
                     coalesce(?4, told_class) WHERE id = ?1"
                ))?
                .execute(params![
                    id(*number),
                    value_ns,
                    told.as_ref().map(|told| id(told.notification)),
                    told.as_ref().map(|told| &told.class)
                ])?;
        }
    }
    Ok(())
}

fn verdict(transaction: &Transaction<'_>, session: i64, it: &VerdictRow) -> rusqlite::Result<()> {
    let VerdictRow {
        row,
        number,
        times,
        last_us,
        at_us,
        at_ns,
        kind,
        certainty,
        unit,
        user,
        container,
        pid,
        comm,
        notification,
        what,
    } = it;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO verdict (id, verdict, times, last_us, at_us, at_ns, kind, certainty, \
             unit, uid, container, pid, comm, notification, what) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
             ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            id(session, *row),
            signed(*number),
            signed(*times),
            last_us,
            at_us,
            signed(*at_ns),
            serde_word(kind),
            serde_word(certainty),
            unit,
            user,
            container,
            pid,
            comm,
            notification.map(|number| id(session, number)),
            what
        ])
        .map(|_| ())
}

/// As `schema.sql` has it.
const fn state(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Delivered => 0,
        DeliveryState::Failed => 1,
        DeliveryState::Sending => 2,
        DeliveryState::Queued => 3,
        DeliveryState::Filtered => 4,
        DeliveryState::Destroyed => 5,
        DeliveryState::Unknown => 6,
    }
}
