//! What arrives is passed on without asking for memory: everything up to the sink lives in what is there.

#[path = "../benches/prepared/mod.rs"]
mod prepared;

use notify_trace::select::Rules;

use prepared::{Nowhere, Stages, batches};

/// Until all tables have grown to their size; the largest forgets the half of 65,536 at a time.
const WARM: usize = 70_000;
const COUNTED: usize = 10_000;

#[test]
fn no_record_asks_for_memory_once_all_is_warm() {
    let batches = batches(WARM + COUNTED, 10).unwrap();
    let rules = Rules::new(&[], &[], false).unwrap();
    let mut stages = Stages::new(&rules);
    let datagrams: usize = batches.iter().map(|batch| batch.datagrams).sum();
    let mut batches = batches.iter();
    while stages.events < WARM {
        let batch = batches.next().unwrap();
        stages.take(batch, &mut Nowhere).unwrap();
    }
    let (before, mut records) = (stages.events, 0);
    let asked = allocation_counter::measure(|| {
        for batch in batches {
            records += stages.take(batch, &mut Nowhere).unwrap();
        }
    });
    assert_eq!(stages.events, datagrams);
    assert!(datagrams - before > COUNTED - 100);
    assert!(records > 2 * COUNTED);
    assert_eq!(asked.count_total, 0, "for {records} records");
}
