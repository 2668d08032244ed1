//! What stands around the notifications.

use serde_json::{Value, json};

use super::{event, send, text};
use crate::event::Event;

#[test]
fn a_new_day_gets_a_line() {
    let midnight = send(&json!({"time": "2026-11-23T23:00:00Z", "fds": 0}));
    let text = text(&[send(&json!({})), midnight.clone(), midnight]);
    let days: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(days, ["# 2026-11-24"]);
    assert!(
        text.contains("\n# 2026-11-24\n00:00:00.000000      85 µs"),
        "{text}"
    );
}

pub(super) fn session(plan: &str) -> Event {
    event(
        json!({
            "type": "session", "format_version": 1, "tool_version": "0.1.0",
            "command_line": ["notify-trace"], "time": "2026-11-23T14:42:00Z",
            "monotonic_ns": 1, "host": "web1", "kernel": "6.12.0", "machine": "x86_64",
            "cpus": 2, "ring_bytes": 4096, "rules": [],
            "plan": {
                "name": plan, "reason": "kprobes and trampolines work",
                "limits": ["who sends a datagram", "results"], "programs": {},
            },
            "warnings": ["1 CPU is offline"],
        }),
        &json!({}),
    )
}

#[test]
fn the_session_says_how_the_host_is_traced() {
    assert_eq!(
        text(&[session("full")]),
        "# notify-trace 0.1.0 on web1, Linux 6.12.0 x86_64, 2026-11-23 15:42:00 +01:00\n\
         # plan full: kprobes and trampolines work\n\
         # can't know: who sends a datagram\n# can't know: results\n\
         # warning: 1 CPU is offline\n\
         # TIME           DELIVERED  UNIT OR CONTAINER             SENDER                 → \
         RECEIVER      MESSAGE\n"
    );
}

#[test]
fn what_the_tracepoint_plan_never_knows_is_not_repeated() {
    let unknown = json!({"unknown": [
        "sender_at_this_send", "destination", "result", "send_times", "payload", "claimed",
    ]});
    let with = |plan| text(&[session(plan), send(&unknown)]);
    assert!(with("tracepoints").ends_with("[unknown: payload]\n"));
    assert!(with("full").ends_with(
        "[unknown: sender at this very send, destination, result, send times, payload, \
         claimed credentials]\n"
    ));
}

#[test]
fn the_summary_counts_and_says_what_was_lost() {
    let summary = |changes: Value| {
        let summary = json!({
            "type": "summary", "time": "2026-11-23T15:00:00Z", "monotonic_ns": 9,
            "notifications": 12, "delivered": 10, "failed": 1, "open": 1, "connect_failed": 0,
            "records_attempted": 40, "records_received": 40, "losses": {"programs_skipped": 0},
        });
        text(&[event(summary, &changes)])
    };
    assert_eq!(
        summary(json!({})),
        "# 12 notifications: 10 delivered, 1 failed, 1 open\n\
         # nothing lost: 40 records written, as many read\n"
    );
    assert_eq!(
        summary(json!({
            "notifications": 1, "delivered": 0, "failed": 0, "open": 0, "filtered": 1,
            "connect_failed": 2, "losses": {},
        })),
        "# 1 notification: 1 dropped by a receiver's filter; 2 failed connects\n\
         # nothing lost: 40 records written, as many read \
         (skipped program runs: not counted by this kernel)\n"
    );
    assert_eq!(
        summary(json!({"losses": {"ring_full": 2, "programs_skipped": 1, "join_evicted": 3}}))
            .lines()
            .last(),
        Some(
            "# LOST: 2 records for want of room in a ring (--ring-size); \
             3 notifications given up, too many open at once (1 program run skipped by the kernel)"
        )
    );
    assert_eq!(
        summary(json!({"records_attempted": 41})).lines().last(),
        Some("# LOST: 1 record of 41")
    );
}

#[test]
fn a_loss_is_told_when_it_is_noticed() {
    let loss = json!({
        "type": "loss", "time": "2026-11-23T15:00:00Z", "losses": {"ring_full": 1},
    });
    assert_eq!(
        text(&[event(loss, &json!({}))]),
        "# LOST since the last such line: 1 record for want of room in a ring (--ring-size)\n"
    );
}
