//! Hostile bytes: whatever they are, the answer is a value or an error, and it comes soon.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::builder::Builder;
use super::types::index;
use super::{Btf, Sections};
use crate::probe::offsets;

/// For one case in a debug build on a busy machine; milliseconds are usual.
const SOON: Duration = Duration::from_secs(5);

/// Everything that can be asked. A panic or a long wait is the failure.
fn ask_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let begun = Instant::now();
    let parsed = Btf::parse(bytes);
    for names in [&["a", "unix_dgram_sendmsg", "b"][..], &["a"]] {
        let found = Sections::of(bytes).and_then(|sections| sections.functions(names));
        prop_assert!(found.is_ok() || parsed.is_err());
        let found = found.unwrap_or_default();
        prop_assert!(found.is_sorted_by_key(|(id, _)| *id) && found.len() <= names.len());
        prop_assert!(found.iter().all(|(id, _)| index(*id) <= bytes.len() / 12));
    }
    if let Ok(btf) = parsed {
        prop_assert!(btf.types().count() <= bytes.len() / 12);
        for found in btf.types().take(64) {
            let _ = btf.name(found.name_off);
            for member in found.members() {
                let _ = btf.get(member.type_id);
            }
        }
        for path in ["a", "a.a", "b.a.b.a"] {
            let _ = (
                btf.structure("a").member(path),
                btf.structure("b").member(path),
                btf.structure("a").size(),
            );
        }
        let _ = btf.has_function("unix_dgram_sendmsg");
        let found = offsets::resolve(&btf);
        let absent = found
            .iter()
            .filter(|(_, value)| *value == notify_trace_common::fields::ABSENT);
        prop_assert_eq!(absent.count(), found.missing().count());
    }
    prop_assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
    Ok(())
}

/// The extracts of real kernels in `tests/btf`.
fn extracts() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/btf");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "btf"))
        .collect();
    found.sort();
    found
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// A word that is small more often than not, so that it means something.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..16, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

/// A struct, union, modifier or int whose names are `a`, `b` or none and whose ids may be anything
/// nearby, so that there are circles, namesakes and nests.
fn node() -> impl Strategy<Value = (u32, &'static str, u32, Vec<(&'static str, u32, u32)>)> {
    let name = || prop::sample::select(vec!["a", "b", "", ""]);
    let kind = prop::sample::select(vec![1_u32, 4, 4, 4, 5, 8, 9, 10, 18]);
    let members = vec((name(), 0_u32..16, word()), 0..24);
    (kind, name(), 0_u32..16, members)
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in vec(any::<u8>(), 0..2048)) {
        ask_all(&bytes)?;
    }

    #[test]
    fn any_types_within_a_valid_header_give_an_answer(
        words in vec(word(), 0..256),
        strings in vec(any::<u8>(), 0..64),
    ) {
        let types = u32::try_from(words.len() * 4).unwrap();
        let length = u32::try_from(strings.len() + 2).unwrap();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, length].iter().chain(&words) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(strings);
        bytes.push(0);
        ask_all(&bytes)?;
    }

    #[test]
    fn any_graph_of_structs_gives_an_answer(nodes in vec(node(), 1..16)) {
        let mut builder = Builder::new();
        for (kind, name, id, members) in &nodes {
            match kind {
                1 => builder.int(4),
                4 => builder.structure(name, 64, members),
                5 => builder.union(name, 64, members),
                _ => builder.raw(name, (0, *kind, 0), *id, &[]),
            };
        }
        ask_all(&builder.build())?;
    }

    #[test]
    fn a_damaged_extract_gives_an_answer(
        which in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..64),
        cut in prop::option::of(any::<Index>()),
    ) {
        let mut all = extracts();
        let mut bytes = all.swap_remove(which.index(all.len()));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        ask_all(&bytes)?;
    }

    #[test]
    fn an_extract_with_other_words_gives_an_answer(
        which in any::<Index>(),
        changes in vec((any::<Index>(), word()), 1..8),
    ) {
        let mut all = extracts();
        let mut bytes = all.swap_remove(which.index(all.len()));
        // The header stays, so that most changes get past it.
        for (at, word) in changes {
            let at = 24 + at.index((bytes.len() - 28) / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        ask_all(&bytes)?;
    }
}
