//! One rule of the format, or of the look-ups, per test.

use super::builder::Builder;
use super::{Btf, BtfError, Kind, Sections};

fn member(builder: &Builder, structure: &str, path: &str) -> Result<u32, BtfError> {
    Btf::parse(&builder.build())
        .unwrap()
        .structure(structure)
        .member(path)
}

/// A blob with one struct `s { int a; int b; }`.
fn simple() -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.structure("s", 8, &[("a", int, 0), ("b", int, 32)]);
    builder.build()
}

/// Overwrites one little-endian word.
fn patched(at: usize, word: u32) -> Vec<u8> {
    let mut bytes = simple();
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    bytes
}

#[test]
fn a_member_of_a_struct_has_its_offset_in_bytes() {
    let bytes = simple();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.structure("s").member("a"), Ok(0));
    assert_eq!(btf.structure("s").member("b"), Ok(4));
    assert_eq!(btf.structure("s").size(), Ok(8));
}

#[test]
fn a_struct_or_member_that_does_not_exist_is_absent() {
    let bytes = simple();
    let btf = Btf::parse(&bytes).unwrap();
    for error in [
        btf.structure("t").member("a"),
        btf.structure("s").member("c"),
        btf.structure("s").member(""),
        btf.structure("").member("a"),
        btf.structure("t").size(),
    ] {
        assert!(error.as_ref().unwrap_err().is_absent(), "{error:?}");
    }
    assert_eq!(
        btf.structure("s").member("c").unwrap_err().to_string(),
        "struct s has no member c"
    );
    assert_eq!(
        btf.structure("t").size().unwrap_err().to_string(),
        "there is no struct t"
    );
}

#[test]
fn a_name_is_compared_as_a_whole() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.structure("sock_common", 4, &[("family", int, 0)]);
    builder.structure("sock", 8, &[("family_of", int, 0), ("family", int, 32)]);
    assert_eq!(member(&builder, "sock", "family"), Ok(4));
}

#[test]
fn of_functions_with_one_name_the_first_counts() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.structure("function", 4, &[("a", int, 0)]);
    let proto = builder.raw("", (0, 13, 0), int, &[]);
    let first = builder.raw("function", (0, 12, 0), proto, &[]);
    builder.raw("other", (0, 12, 0), proto, &[]);
    let second = builder.raw("second", (0, 12, 0), proto, &[]);
    builder.raw("function", (0, 12, 0), proto, &[]);
    let bytes = builder.build();
    let functions = Sections::of(&bytes)
        .unwrap()
        .functions(&["second", "absent", "function"]);
    assert_eq!(functions, Ok(vec![(first, "function"), (second, "second")]));
}

#[test]
fn the_search_for_functions_ends_at_the_last_one() {
    let mut builder = Builder::new();
    let proto = builder.raw("", (0, 13, 0), 0, &[]);
    let first = builder.raw("first", (0, 12, 0), proto, &[]);
    builder.raw("unknown", (0, 31, 0), 0, &[]);
    builder.raw("second", (0, 12, 0), proto, &[]);
    let bytes = builder.build();
    let functions = |names| Sections::of(&bytes).unwrap().functions(names);
    assert_eq!(functions(&["first"]), Ok(vec![(first, "first")]));
    let unknown = BtfError::UnknownKind { number: 31, id: 3 };
    assert_eq!(functions(&["first", "second"]), Err(unknown));
}

#[test]
fn every_kind_is_stepped_over_by_its_own_length() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.raw("", (0, 2, 0), int, &[]);
    builder.raw("", (0, 3, 0), 0, &[int, int, 7]);
    builder.raw("u", (0, 5, 1), 4, &[0, int, 0]);
    builder.raw("e", (0, 6, 2), 4, &[0, 0, 0, 1]);
    builder.raw("f", (1, 7, 0), 0, &[]);
    for kind in [8, 9, 10, 11, 18] {
        builder.raw("t", (0, kind, 0), int, &[]);
    }
    builder.raw("", (0, 13, 2), int, &[0, int, 0, 0]);
    // A function's count is its linkage: nothing follows.
    builder.raw("function", (0, 12, 1), 12, &[]);
    builder.raw("v", (0, 14, 0), int, &[1]);
    builder.raw(".data", (0, 15, 2), 8, &[14, 0, 4, 14, 4, 4]);
    builder.raw("float", (0, 16, 0), 4, &[]);
    builder.raw("tag", (0, 17, 0), int, &[u32::MAX]);
    builder.raw("e64", (1, 19, 1), 8, &[0, 1, 2]);
    builder.structure("last", 4, &[("a", int, 16)]);
    let bytes = builder.build();
    let btf = Btf::parse(&bytes).unwrap();
    let numbers: Vec<_> = btf.types().map(|found| found.kind.number()).collect();
    let expected = [
        1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 18, 13, 12, 14, 15, 16, 17, 19, 4,
    ];
    assert_eq!(numbers, expected);
    assert_eq!(btf.structure("last").member("a"), Ok(2));
    assert!(btf.has_function("function"));
    assert!(!btf.has_function("float") && !btf.has_function("func"));
}

#[test]
fn a_path_leads_through_nested_structs() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let inner = builder.structure("inner", 8, &[("x", int, 0), ("y", int, 32)]);
    let middle = builder.union("middle", 16, &[("inner", inner, 64)]);
    builder.structure("outer", 64, &[("m", middle, 256)]);
    assert_eq!(member(&builder, "outer", "m.inner.y"), Ok(32 + 8 + 4));
    assert_eq!(member(&builder, "middle", "inner.y"), Ok(8 + 4));
}

#[test]
fn members_of_anonymous_structs_and_unions_count_as_their_parents() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let deepest = builder.structure("", 8, &[("x", int, 0), ("y", int, 32)]);
    let middle = builder.union("", 8, &[("z", int, 0), ("", deepest, 0)]);
    let named = builder.modifier(Kind::Const, "", middle);
    let outer = builder.structure("s", 24, &[("a", int, 0), ("", named, 64)]);
    builder.structure("t", 64, &[("s", outer, 128)]);
    assert_eq!(member(&builder, "s", "z"), Ok(8));
    assert_eq!(member(&builder, "s", "y"), Ok(12));
    assert_eq!(member(&builder, "t", "s.y"), Ok(16 + 12));
}

#[test]
fn a_path_leads_through_typedefs_and_qualifiers() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let mut inner = builder.structure("inner", 8, &[("y", int, 32)]);
    for kind in [
        Kind::Typedef,
        Kind::Const,
        Kind::Volatile,
        Kind::Restrict,
        Kind::TypeTag,
    ] {
        inner = builder.modifier(kind, "name", inner);
    }
    builder.structure("outer", 64, &[("named", inner, 64), ("", inner, 128)]);
    assert_eq!(member(&builder, "outer", "named.y"), Ok(12));
    assert_eq!(member(&builder, "outer", "y"), Ok(20));
}

#[test]
fn a_path_does_not_lead_through_pointers_ints_or_void() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let inner = builder.structure("inner", 8, &[("y", int, 32)]);
    let pointer = builder.raw("", (0, 2, 0), inner, &[]);
    builder.structure("s", 16, &[("p", pointer, 0), ("i", int, 64), ("v", 0, 0)]);
    for path in ["p.y", "i.y", "v.y"] {
        let error = member(&builder, "s", path).unwrap_err();
        assert!(matches!(error, BtfError::NotNested { .. }), "{error:?}");
        assert!(!error.is_absent());
    }
}

#[test]
fn with_the_kind_flag_offsets_share_their_word_with_a_width() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.bit_fields("s", &[("plain", int, 32, 0), ("bits", int, 64, 3)]);
    assert_eq!(member(&builder, "s", "plain"), Ok(4));
    let error = member(&builder, "s", "bits").unwrap_err();
    assert!(matches!(error, BtfError::BitField { .. }));
    assert_eq!(error.to_string(), "s.bits doesn't take up whole bytes");
}

#[test]
fn without_the_kind_flag_an_int_of_fewer_bits_is_a_bit_field() {
    let mut builder = Builder::new();
    let short = builder.raw("int", (0, 1, 0), 4, &[5]);
    let shifted = builder.raw("int", (0, 1, 0), 4, &[3 << 16 | 32]);
    let named = builder.modifier(Kind::Typedef, "t", short);
    builder.structure(
        "s",
        8,
        &[("a", short, 0), ("b", shifted, 0), ("c", named, 0)],
    );
    for path in ["a", "b", "c"] {
        let error = member(&builder, "s", path).unwrap_err();
        assert!(matches!(error, BtfError::BitField { .. }), "{error:?}");
    }
}

#[test]
fn an_offset_within_a_byte_is_an_error_also_as_a_sum() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let odd = builder.structure("", 8, &[("deep", int, 31)]);
    builder.structure("s", 16, &[("flat", int, 33), ("", odd, 64)]);
    for path in ["flat", "deep"] {
        let error = member(&builder, "s", path).unwrap_err();
        assert!(matches!(error, BtfError::BitField { .. }), "{error:?}");
    }
}

#[test]
fn namesakes_that_disagree_are_ambiguous() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.structure("s", 8, &[("a", int, 0), ("b", int, 32)]);
    builder.structure("s", 16, &[("b", int, 64), ("c", int, 0), ("a", int, 0)]);
    assert_eq!(member(&builder, "s", "a"), Ok(0));
    assert_eq!(member(&builder, "s", "c"), Ok(0));
    let error = member(&builder, "s", "b").unwrap_err();
    assert_eq!(
        error,
        BtfError::Ambiguous {
            structure: "s".to_owned(),
            path: "b".to_owned(),
            values: [4, 8],
        }
    );
    assert_eq!(
        error.to_string(),
        "there are structs s with b at 4 and at 8"
    );
    let bytes = builder.build();
    let error = Btf::parse(&bytes)
        .unwrap()
        .structure("s")
        .size()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are structs s of 8 and of 16 bytes"
    );
}

#[test]
fn forward_declarations_and_structs_without_members_say_nothing() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    builder.raw("s", (0, 7, 0), 0, &[]);
    builder.structure("s", 999, &[]);
    assert_eq!(
        member(&builder, "s", "a"),
        Err(BtfError::NoStruct {
            structure: "s".to_owned()
        })
    );
    builder.structure("s", 8, &[("a", int, 32)]);
    assert_eq!(member(&builder, "s", "a"), Ok(4));
    let bytes = builder.build();
    assert_eq!(Btf::parse(&bytes).unwrap().structure("s").size(), Ok(8));
}

#[test]
fn a_kind_that_is_not_known_is_named_with_its_type() {
    for number in [0, 20, 31, 64] {
        let mut builder = Builder::new();
        builder.int(4);
        builder.raw("new", (0, number, 0), 0, &[]);
        let bytes = builder.build();
        let error = Btf::parse(&bytes).unwrap_err();
        assert_eq!(error, BtfError::UnknownKind { number, id: 2 });
        assert!(error.to_string().contains(&format!("kind {number}")));
    }
}

#[test]
fn a_count_may_use_the_bits_that_older_kernels_leave_zero() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let many = 70_000;
    let tail = vec![0; many * 2];
    builder.raw("e", (0, 6, u32::try_from(many).unwrap()), 4, &tail);
    builder.structure("s", 8, &[("a", int, 32)]);
    assert_eq!(member(&builder, "s", "a"), Ok(4));
}

#[test]
fn what_is_not_little_endian_btf_version_1_is_refused_by_name() {
    let error = |bytes: &[u8]| Btf::parse(bytes).unwrap_err();
    assert_eq!(error(&[]), BtfError::TooShort { length: 0 });
    assert_eq!(error(&simple()[..23]), BtfError::TooShort { length: 23 });
    assert_eq!(
        error(b"\x7fELF"),
        BtfError::NotBtf {
            magic: [0x7f, b'E']
        }
    );
    assert_eq!(error(&[0xeb, 0x9f, 1, 0]), BtfError::BigEndian);
    let mut bytes = simple();
    bytes[2] = 2;
    assert_eq!(error(&bytes), BtfError::Version { version: 2 });
    assert!(error(&[0xeb, 0x9f]).to_string().contains("big-endian"));
}

#[test]
fn a_longer_header_is_skipped_and_a_shorter_one_refused() {
    let mut bytes = simple();
    bytes[4..8].copy_from_slice(&32_u32.to_le_bytes());
    bytes.splice(24..24, [0xff; 8]);
    assert_eq!(
        Btf::parse(&bytes).unwrap().structure("s").member("b"),
        Ok(4)
    );
    let error = Btf::parse(&patched(4, 23)).unwrap_err();
    assert_eq!(error, BtfError::Header { length: 23 });
}

#[test]
fn a_section_beyond_the_end_is_refused() {
    for (at, name) in [(8, "type"), (12, "type"), (16, "string"), (20, "string")] {
        for word in [10_000, u32::MAX] {
            let error = Btf::parse(&patched(at, word)).unwrap_err();
            assert_eq!(error, BtfError::Section { name }, "{at} {word}");
        }
    }
    assert!(Btf::parse(&patched(4, u32::MAX)).is_err());
}

#[test]
fn a_string_section_that_does_not_end_is_refused() {
    let mut bytes = simple();
    *bytes.last_mut().unwrap() = b'x';
    assert_eq!(Btf::parse(&bytes).unwrap_err(), BtfError::Strings);
    assert_eq!(Btf::parse(&patched(20, 0)).unwrap_err(), BtfError::Strings);
}

#[test]
fn a_type_that_claims_more_than_there_is_is_truncated() {
    let mut builder = Builder::new();
    builder.raw("s", (0, 4, 0xff_ffff), 8, &[0, 0, 0]);
    let bytes = builder.build();
    assert_eq!(
        Btf::parse(&bytes).unwrap_err(),
        BtfError::Truncated { id: 1 }
    );
    // The type section ends within the first type's common part.
    assert_eq!(
        Btf::parse(&patched(12, 11)).unwrap_err(),
        BtfError::Truncated { id: 1 }
    );
}

#[test]
fn a_name_beyond_the_strings_is_an_error() {
    let bytes = patched(24, 10_000);
    assert_eq!(
        Btf::parse(&bytes).unwrap_err(),
        BtfError::BadName { offset: 10_000 }
    );
}

#[test]
fn a_reference_to_no_type_is_an_error() {
    let mut builder = Builder::new();
    builder.structure("s", 8, &[("a", 77, 0), ("", 78, 0)]);
    let error = |path| member(&builder, "s", path).unwrap_err();
    assert_eq!(error("a"), BtfError::BadType { id: 77 });
    assert_eq!(error("a.b"), BtfError::BadType { id: 77 });
    assert_eq!(error("b"), BtfError::BadType { id: 78 });
}

#[test]
fn typedefs_in_a_circle_are_given_up() {
    let mut builder = Builder::new();
    builder.modifier(Kind::Typedef, "t", 2);
    builder.modifier(Kind::Const, "", 1);
    builder.structure("s", 8, &[("a", 1, 0)]);
    let error = member(&builder, "s", "a.b").unwrap_err();
    assert_eq!(error, BtfError::TooDeep { id: 1 });
}

#[test]
fn a_struct_that_contains_itself_is_given_up() {
    let mut builder = Builder::new();
    builder.structure("s", 8, &[("", 1, 0)]);
    let error = member(&builder, "s", "a").unwrap_err();
    assert_eq!(error, BtfError::TooDeep { id: 1 });
}

#[test]
fn anonymous_members_that_multiply_are_given_up() {
    let mut builder = Builder::new();
    let mut inner = builder.structure("", 8, &[("x", 0, 0)]);
    for _ in 0..20 {
        inner = builder.structure("", 8, &[("", inner, 0); 16]);
    }
    builder.structure("s", 8, &[("", inner, 0)]);
    assert_eq!(member(&builder, "s", "x"), Ok(0));
    assert_eq!(member(&builder, "s", "y"), Err(BtfError::TooComplex));
}

#[test]
fn offsets_and_sizes_that_do_not_fit_are_too_large() {
    let mut builder = Builder::new();
    let mut inner = builder.structure("s", u32::MAX, &[("a", 0, 0xffff_fff8)]);
    let mut path = "a".to_owned();
    for _ in 0..10 {
        inner = builder.structure("t", 8, &[("n", inner, 0xffff_fff8)]);
        path = format!("n.{path}");
    }
    builder.structure("u", 8, &[("n", inner, 0)]);
    let bytes = builder.build();
    let btf = Btf::parse(&bytes).unwrap();
    let too_large = |structure: &str| {
        Err(BtfError::TooLarge {
            structure: structure.to_owned(),
        })
    };
    assert_eq!(btf.structure("s").member("a"), Ok(u32::MAX / 8));
    assert_eq!(
        btf.structure("u").member(&format!("n.{path}")),
        too_large("u")
    );
    assert_eq!(btf.structure("s").size(), too_large("s"));
}
