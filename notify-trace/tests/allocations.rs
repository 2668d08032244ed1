//! What arrives is passed on without asking for memory: everything up to the sink lives in what is there.

#[path = "../benches/prepared/mod.rs"]
mod prepared;

use notify_trace::select::Rules;

use prepared::{Nowhere, RECORDS_OF_A_DATAGRAM, Stages, batches};

/// Until all tables have grown to their size; the largest forgets the half of 65,536 at a time.
const WARM: usize = 70_000;
const COUNTED: usize = 10_000;

#[test]
fn no_record_asks_for_memory_once_all_is_warm() {
    let batches = batches(WARM + COUNTED, 10).unwrap();
    let rules = Rules::new(&[], &[], false).unwrap();
    let mut stages = Stages::new(&rules);
    let (mut records, mut counted) = (0, 0);
    let mut warm = batches.iter();
    for batch in warm.by_ref() {
        records += stages.take(batch, &mut Nowhere).unwrap();
        if records >= WARM * RECORDS_OF_A_DATAGRAM {
            break;
        }
    }
    let before = stages.events;
    let asked = allocation_counter::measure(|| {
        for batch in warm {
            counted += stages.take(batch, &mut Nowhere).unwrap();
        }
    });
    assert!(counted > COUNTED);
    assert_eq!(stages.events - before, counted / RECORDS_OF_A_DATAGRAM);
    assert_eq!(asked.count_total, 0, "for {counted} records");
}
