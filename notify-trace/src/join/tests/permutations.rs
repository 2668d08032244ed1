//! Whatever the order of the records, each datagram is told of once, and the last word is right.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::records::{FULL, MS, Scene, TRACEPOINTS, dequeue, late_sender, outcome, send};
use crate::decode::Record;
use crate::event::{DeliveryState, Event};
use crate::join::JoinConfig;
use notify_trace_common::record::{Outcome, SEND_SENDER_UNKNOWN, Send};

/// What happens to a datagram, its records, and the last word on it.
#[derive(Clone, Copy, Debug)]
enum Fortune {
    Delivered,
    ResultMissed,
    Failed,
    Queued,
    Filtered,
    Blocked,
}

impl Fortune {
    fn records(self, id: u64, time_ns: u64) -> Vec<Record> {
        let sent = outcome(id, time_ns + MS, 7);
        let mut records = vec![Record::from(send(id, time_ns))];
        match self {
            Self::Delivered => {
                records.push(sent.into());
                records.push(dequeue(id, time_ns + 2 * MS).into());
            }
            Self::ResultMissed => records.push(dequeue(id, time_ns + 2 * MS).into()),
            Self::Failed => records.push(outcome(id, time_ns + MS, -111).into()),
            Self::Queued => records.push(sent.into()),
            Self::Filtered => records.push(
                Outcome {
                    queued_ns: 0,
                    ..sent
                }
                .into(),
            ),
            Self::Blocked => {}
        }
        records
    }

    const fn last_word(self) -> DeliveryState {
        match self {
            Self::Delivered | Self::ResultMissed => DeliveryState::Delivered,
            Self::Failed => DeliveryState::Failed,
            Self::Queued => DeliveryState::Queued,
            Self::Filtered => DeliveryState::Filtered,
            Self::Blocked => DeliveryState::Sending,
        }
    }
}

fn fortune() -> impl Strategy<Value = Fortune> {
    prop::sample::select(vec![
        Fortune::Delivered,
        Fortune::ResultMissed,
        Fortune::Failed,
        Fortune::Queued,
        Fortune::Filtered,
        Fortune::Blocked,
    ])
}

/// Pushes all records and says what the output said of each sender's pid.
fn last_words(
    config: JoinConfig,
    records: Vec<Record>,
) -> Result<(BTreeMap<u64, DeliveryState>, Scene), TestCaseError> {
    let mut scene = Scene::new(config);
    let mut expire_at = 0;
    for record in records {
        expire_at = expire_at.max(record.header().time_ns);
        scene.push(record);
    }
    scene.expire(expire_at + 240 * MS);
    scene.finish();
    let mut states = BTreeMap::new();
    for event in scene.take() {
        match event {
            Event::Send(send) => {
                prop_assert!(states.insert(send.id, send.delivery.state).is_none());
            }
            Event::Update(update) => {
                prop_assert!(states.insert(update.id, update.delivery.state).is_some());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
    prop_assert!(states.keys().copied().eq(1..=states.len() as u64));
    Ok((states, scene))
}

fn tally(states: impl IntoIterator<Item = DeliveryState>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for state in states {
        *tally.entry(format!("{state:?}")).or_default() += 1;
    }
    tally
}

proptest! {
    #[test]
    fn any_order_gives_one_send_each_and_the_right_last_word(
        (fortunes, records) in proptest::collection::vec((fortune(), 0_u64..200), 1..6)
            .prop_flat_map(|fortunes| {
                let records: Vec<Record> = (1_u64..)
                    .zip(&fortunes)
                    .flat_map(|(id, (fortune, at))| fortune.records(id * 1000, (300 + at) * MS))
                    .collect();
                (Just(fortunes), Just(records).prop_shuffle())
            }),
    ) {
        let (states, scene) = last_words(FULL, records)?;
        let expected = fortunes.iter().map(|(fortune, _)| fortune.last_word());
        prop_assert_eq!(tally(states.into_values()), tally(expected));
        let counters = scene.counters();
        prop_assert_eq!(counters.orphans, 0);
        prop_assert_eq!(counters.join_evicted, 0);
        prop_assert_eq!(counters.notifications, fortunes.len() as u64);
        let count = |state| fortunes.iter().filter(|(f, _)| f.last_word() == state).count() as u64;
        prop_assert_eq!(counters.delivered, count(DeliveryState::Delivered));
        prop_assert_eq!(counters.failed, count(DeliveryState::Failed));
        prop_assert_eq!(counters.filtered, count(DeliveryState::Filtered));
        prop_assert_eq!(
            counters.open,
            count(DeliveryState::Queued) + count(DeliveryState::Sending)
        );
    }

    #[test]
    fn in_the_tracepoint_plan_too(
        records in proptest::collection::vec((any::<bool>(), 0_u64..200), 1..6)
            .prop_flat_map(|senders| {
                let records: Vec<Record> = (1_u64..)
                    .zip(&senders)
                    .flat_map(|(id, (is_known, at))| {
                        let time_ns = (300 + at) * MS;
                        let flags = if *is_known { 0 } else { SEND_SENDER_UNKNOWN };
                        let mut records = vec![
                            Record::from(Send { flags, ..send(id, time_ns) }),
                            dequeue(id, time_ns).into(),
                        ];
                        if !is_known {
                            records.push(late_sender(id, time_ns + MS).into());
                        }
                        records
                    })
                    .collect();
                Just(records).prop_shuffle()
            }),
    ) {
        let (states, scene) = last_words(TRACEPOINTS, records)?;
        prop_assert!(states.values().all(|state| *state == DeliveryState::Delivered));
        prop_assert_eq!(scene.counters().orphans, 0);
        prop_assert_eq!(scene.counters().delivered, scene.counters().notifications);
    }
}
