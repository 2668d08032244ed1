use super::*;

const DOCUMENT: &str = include_str!("../../../docs/events.md");

/// The examples of the documentation, one of each type, as a recording.
fn recording() -> Vec<String> {
    let mut lines: Vec<String> = DOCUMENT
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|example| {
            let value: serde_json::Value = serde_json::from_str(example).expect(example);
            value.to_string()
        })
        .filter(|line| line.contains("\"type\""))
        .collect();
    lines.sort_by_key(|line| (!line.contains("\"session\""), line.contains("\"summary\"")));
    lines
}

fn read_all(text: &str) -> (Vec<Event>, Result<LeftOut, Trouble>) {
    let mut events = Vec::new();
    let result = read(&mut text.as_bytes(), &mut |event| {
        events.push(event);
        true
    });
    (events, result)
}

#[test]
fn all_types_of_events_are_known() {
    let lines = recording();
    let (events, result) = read_all(&(lines.join("\n") + "\n"));
    assert_eq!(result.expect("a recording"), LeftOut::default());
    assert_eq!(events.len(), lines.len());
    assert!(events.len() >= EVENTS.len());
}

#[test]
fn a_last_line_that_was_cut_off_is_left_out() {
    let lines = recording();
    let text = format!("{}\n{}", lines[0], &lines[1][..20]);
    let (events, result) = read_all(&text);
    let left_out = result.expect("a recording");
    assert!(left_out.is_cut_off && left_out.is_open);
    assert_eq!(events.len(), 1);
}

#[test]
fn what_is_no_event_is_named_by_its_line() {
    let lines = recording();
    let text = format!("{}\nnonsense\n{}\n", lines[0], lines[1]);
    let (events, result) = read_all(&text);
    let error = result.expect_err("it is corrupt");
    assert!(error.to_string().contains("line 2"), "{error}");
    assert_eq!(events.len(), 1);
}

#[test]
fn conclusions_and_unknown_types_are_passed_over() {
    let lines = recording();
    let text = format!(
        "{}\n{{\"type\":\"verdict\"}}\n{{\"type\":\"news\"}}\n",
        lines[0]
    );
    let (events, result) = read_all(&text);
    assert_eq!(result.expect("a recording").unknown, 1);
    assert_eq!(events.len(), 1);
}

#[test]
fn something_else_is_no_recording() {
    for text in ["", "hello\n", "{\"type\":\"exit\",\"pid\":1}\n"] {
        let (_, result) = read_all(text);
        assert!(result.is_err(), "{text}");
    }
    let newer = recording()[0].replace("\"format_version\":1", "\"format_version\":9");
    let (_, result) = read_all(&(newer + "\n"));
    assert!(matches!(result, Err(Trouble::Version(9))), "{result:?}");
}
