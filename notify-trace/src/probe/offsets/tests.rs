//! The candidates' rules by hand-made BTF, then every field on every kernel of `tests/btf`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use notify_trace_common::fields::{ABSENT, FIELDS, Feature};

use super::{Offsets, resolve};
use crate::probe::btf::builder::Builder;
use crate::probe::btf::{Btf, BtfError};

fn resolved(builder: &Builder) -> Offsets {
    resolve(&Btf::parse(&builder.build()).unwrap())
}

fn value(offsets: &Offsets, global: &str) -> u32 {
    offsets
        .iter()
        .find(|(field, _)| field.global == global)
        .unwrap()
        .1
}

fn reason(offsets: &Offsets, global: &str) -> String {
    let mut missing = offsets.missing();
    let found = missing.find(|(field, _)| field.global == global);
    found.unwrap().1.to_string()
}

/// A `task_struct` with one member of this name at 8.
fn task_with(member: &str) -> Builder {
    let mut builder = Builder::new();
    let int = builder.int(8);
    builder.structure("task_struct", 4096, &[(member, int, 64)]);
    builder
}

#[test]
fn every_candidate_is_a_member_or_a_size() {
    let word = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for candidate in FIELDS.iter().flat_map(|field| field.candidates) {
        let size_of = candidate
            .strip_prefix("sizeof(")
            .and_then(|rest| rest.strip_suffix(')'));
        let spelled_well = match size_of {
            Some(structure) => word(structure),
            None => candidate.contains('.') && candidate.split('.').all(word),
        };
        assert!(spelled_well, "{candidate}");
    }
}

#[test]
fn the_first_candidate_that_the_kernel_has_wins() {
    let old = resolved(&task_with("real_start_time"));
    assert_eq!(value(&old, "TASK_START_BOOTTIME"), 8);
    let mut both = Builder::new();
    let int = both.int(8);
    both.structure(
        "task_struct",
        4096,
        &[("real_start_time", int, 64), ("start_boottime", int, 128)],
    );
    assert_eq!(value(&resolved(&both), "TASK_START_BOOTTIME"), 16);
}

#[test]
fn a_missing_field_is_absent_and_its_feature_unsupported() {
    let offsets = resolved(&task_with("tgid"));
    assert_eq!(value(&offsets, "TASK_TGID"), 8);
    assert_eq!(value(&offsets, "TASK_START_BOOTTIME"), ABSENT);
    assert_eq!(offsets.missing().count(), FIELDS.len() - 1);
    assert!(offsets.unsupported().contains(&Feature::Process));
}

#[test]
fn the_reason_names_the_field_all_candidates_and_what_came_back() {
    let offsets = resolved(&task_with("tgid"));
    assert_eq!(
        reason(&offsets, "TASK_START_BOOTTIME"),
        "TASK_START_BOOTTIME is unknown on this kernel: looked for task_struct.start_boottime, \
         but struct task_struct has no member start_boottime, then for \
         task_struct.real_start_time, but struct task_struct has no member real_start_time"
    );
    assert_eq!(
        reason(&offsets, "UPID_SIZE"),
        "UPID_SIZE is unknown on this kernel: looked for sizeof(upid), but there is no struct upid"
    );
}

#[test]
fn a_candidate_that_exists_but_cannot_be_used_is_the_last_one_tried() {
    let mut builder = task_with("start_boottime");
    let int = builder.int(8);
    builder.structure(
        "task_struct",
        4096,
        &[("start_boottime", int, 128), ("real_start_time", int, 0)],
    );
    let offsets = resolved(&builder);
    let (_, missing) = offsets
        .missing()
        .find(|(field, _)| field.global == "TASK_START_BOOTTIME")
        .unwrap();
    assert!(matches!(
        missing.tried.as_slice(),
        [("task_struct.start_boottime", BtfError::Ambiguous { .. })]
    ));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/btf")
}

/// Kernel, then field or function, then the expected value: `expected.tsv` by columns.
fn expected() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t'));
    let kernels: Vec<_> = lines.next().unwrap().skip(1).collect();
    let mut columns = BTreeMap::<_, BTreeMap<_, _>>::new();
    for mut line in lines {
        let row = line.next().unwrap();
        let values: Vec<_> = line.collect();
        assert_eq!(values.len(), kernels.len(), "{row}");
        for (kernel, value) in kernels.iter().zip(values) {
            let column = columns.entry((*kernel).to_owned()).or_default();
            column.insert(row.to_owned(), value.to_owned());
        }
    }
    columns
}

/// What this crate makes of an extract, in the same form.
fn actual(path: &Path, functions: &[&str]) -> BTreeMap<String, String> {
    let bytes = std::fs::read(path).unwrap();
    let btf = Btf::parse(&bytes).unwrap();
    let offsets = resolve(&btf);
    let fields = offsets.iter().map(|(field, value)| match value {
        ABSENT => (field.global.to_owned(), "absent".to_owned()),
        value => (field.global.to_owned(), value.to_string()),
    });
    let functions = functions.iter().map(|name| {
        let answer = if btf.has_function(name) { "yes" } else { "no" };
        ((*name).to_owned(), answer.to_owned())
    });
    fields.chain(functions).collect()
}

#[test]
fn every_field_has_the_expected_offset_on_every_kernel() {
    let expected = expected();
    let functions: Vec<_> = expected
        .values()
        .next()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|row| FIELDS.iter().all(|field| field.global != *row))
        .collect();
    let mut kernels = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "btf") {
            let kernel = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let found = actual(&path, &functions);
            assert_eq!(Some(&found), expected.get(&kernel), "{kernel}");
            kernels.push(kernel);
        }
    }
    kernels.sort();
    assert_eq!(kernels, expected.into_keys().collect::<Vec<_>>());
}

#[test]
fn no_kernel_of_the_table_lacks_a_feature() {
    for kernel in expected().keys() {
        let bytes = std::fs::read(folder().join(format!("{kernel}.btf"))).unwrap();
        let offsets = resolve(&Btf::parse(&bytes).unwrap());
        assert_eq!(offsets.unsupported().len(), 0, "{kernel}");
    }
}
