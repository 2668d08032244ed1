//! What an expectation says. Pure.
//!
//! ```text
//! [never] WORD… [QUANTITY] [within TIME] [then WORD… …]
//! WORD:     unit=GLOB container=GLOB user=UID comm=GLOB class=GLOB, or KEY=GLOB, or KEY=
//! QUANTITY: once, N times, at least N, at most N
//! ```

use std::fmt;
use std::time::Duration;

/// An expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// As it was written.
    pub text: String,
    /// It must not happen.
    pub is_never: bool,
    /// What, one after the other.
    pub steps: Vec<Step>,
}

/// Messages of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Who sends them.
    pub senders: Vec<(Who, String)>,
    /// What they say: keys with globs of their values.
    pub assignments: Vec<(String, String)>,
    /// At least so many.
    pub least: usize,
    /// At most so many.
    pub most: Option<usize>,
    /// How long after the step before, or after the beginning.
    pub within: Option<Duration>,
}

/// Ways to name a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Its unit, of the host or of a user.
    Unit,
    /// Its container.
    Container,
    /// The user whose manager it is of.
    User,
    /// Its process's name.
    Comm,
    /// Kind of the notify socket.
    Class,
}

/// Why a text is no expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads an expectation.
///
/// # Errors
/// If it is none; the error says which word.
pub fn parse(text: &str) -> Result<Expectation, Unreadable> {
    let mut words = words(text)?.into_iter().peekable();
    let is_never = words.next_if(|word| word == "never").is_some();
    let mut steps = Vec::new();
    let mut step = Step {
        least: 1,
        ..Step::default()
    };
    let mut has_quantity = false;
    while let Some(word) = words.next() {
        let is_quantity =
            word == "once" || word == "at" || word.bytes().all(|byte| byte.is_ascii_digit());
        if is_quantity && std::mem::replace(&mut has_quantity, true) {
            return Err(Unreadable(
                "one quantity is enough: once, N times, at least N or at most N".to_owned(),
            ));
        }
        if is_quantity && is_never {
            return Err(Unreadable("\"never\" has no quantity".to_owned()));
        }
        match &*word {
            "once" => (step.least, step.most) = (1, Some(1)),
            "at" => match words.next().as_deref() {
                Some("least") => step.least = next_number(&mut words, "at least")?,
                Some("most") => {
                    step.most = Some(next_number(&mut words, "at most")?);
                    step.least = 0;
                }
                other => {
                    return Err(Unreadable(format!(
                        "after \"at\" comes least or most, not {:?}",
                        other.unwrap_or_default()
                    )));
                }
            },
            "within" if step.within.is_some() => {
                return Err(Unreadable("\"within\" stands there twice".to_owned()));
            }
            "within" => {
                let time = words.next().unwrap_or_default();
                step.within = Some(duration(&time)?);
            }
            "then" => {
                steps.push(finished(&mut step)?);
                has_quantity = false;
            }
            word if word.parse::<usize>().is_ok() => {
                let count = word.parse().unwrap_or(1);
                match words.next().as_deref() {
                    Some("times" | "time") => (step.least, step.most) = (count, Some(count)),
                    _ => {
                        return Err(Unreadable(format!(
                            "after {word:?} comes \"times\": {word} times"
                        )));
                    }
                }
            }
            word => assignment(word, &mut step)?,
        }
    }
    steps.push(finished(&mut step)?);
    if is_never && steps.len() > 1 {
        return Err(Unreadable(
            "\"never\" speaks of one message, without \"then\"".to_owned(),
        ));
    }
    Ok(Expectation {
        text: text.trim().to_owned(),
        is_never,
        steps,
    })
}

/// Reads a file of expectations: one a line; empty lines and those that begin with # say nothing.
///
/// # Errors
/// If a line is none; the error names it.
pub fn parse_file(text: &str) -> Result<Vec<Expectation>, Unreadable> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            parse(line).map_err(|error| Unreadable(format!("line {number}: {error}")))
        })
        .collect()
}

fn next_number(words: &mut impl Iterator<Item = String>, after: &str) -> Result<usize, Unreadable> {
    let word = words.next().unwrap_or_default();
    word.parse()
        .map_err(|_| Unreadable(format!("after {after:?} comes a number, not {word:?}")))
}

fn assignment(word: &str, step: &mut Step) -> Result<(), Unreadable> {
    let Some((name, value)) = word.split_once('=') else {
        return Err(Unreadable(format!(
            "{word:?} is no part of an expectation: unit=GLOB, KEY=GLOB, within TIME, at least N, then"
        )));
    };
    let who = match name {
        "unit" => Who::Unit,
        "container" => Who::Container,
        "user" => Who::User,
        "comm" => Who::Comm,
        "class" => Who::Class,
        key if !key.is_empty() && !key.chars().any(|it| it.is_ascii_lowercase()) => {
            // KEY= stands for any value. Values are no paths: * is any run at all.
            let value = match value {
                "" => "**".to_owned(),
                value => any_run(value),
            };
            step.assignments.push((key.to_owned(), value));
            return Ok(());
        }
        other => {
            return Err(Unreadable(format!(
                "{other:?} is neither a key (READY, STATUS, X_…) nor unit, container, user, comm or class"
            )));
        }
    };
    if value.is_empty() {
        return Err(Unreadable(format!("{name}= has no value")));
    }
    let glob = match who {
        Who::Unit => crate::view::filter::unit_pattern(value),
        _ => value.to_owned(),
    };
    step.senders.push((who, glob));
    Ok(())
}

/// The same glob with `**` for each run of stars.
fn any_run(glob: &str) -> String {
    let parts: Vec<&str> = glob.split('*').collect();
    let last = parts.len() - 1;
    let mut text = String::new();
    for (at, part) in parts.into_iter().enumerate() {
        text.push_str(part);
        // Several stars together are one.
        if at < last && !text.ends_with('*') {
            text.push_str("**");
        }
    }
    text
}

/// Takes the step as it is, and begins the next.
fn finished(step: &mut Step) -> Result<Step, Unreadable> {
    let done = std::mem::replace(
        step,
        Step {
            least: 1,
            ..Step::default()
        },
    );
    if done.senders.is_empty() && done.assignments.is_empty() {
        return Err(Unreadable(
            "it names no message: say unit=…, and what it sends, such as READY=1".to_owned(),
        ));
    }
    if done.most.is_some_and(|most| most < done.least) {
        return Err(Unreadable("it asks for more than it allows".to_owned()));
    }
    Ok(done)
}

/// 500ms, 5s, 2m.
fn duration(text: &str) -> Result<Duration, Unreadable> {
    let split = text
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| {
            Unreadable(format!(
                "after \"within\" comes a time such as 500ms, 5s or 2m, not {text:?}"
            ))
        })
}

/// Words between spaces; what stands in quotes belongs together: STATUS='all is well'.
fn words(text: &str) -> Result<Vec<String>, Unreadable> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(Unreadable("a quote is not closed".to_owned()));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn a_message_within_a_time() {
        let it = parse("unit=nginx READY=1 within 5s").expect("valid");
        assert!(!it.is_never);
        let step = &it.steps[0];
        assert_eq!(step.senders, [(Who::Unit, "nginx.service".to_owned())]);
        assert_eq!(step.assignments, [("READY".to_owned(), "1".to_owned())]);
        assert_eq!((step.least, step.most), (1, None));
        assert_eq!(step.within, Some(Duration::from_secs(5)));
    }

    #[test]
    fn quantities_and_orders() {
        let it = parse("unit=a READY=1 then unit=b STATUS='all is well' 2 times within 500ms")
            .expect("valid");
        assert_eq!(it.steps.len(), 2);
        assert_eq!(it.steps[1].assignments[0].1, "all is well");
        assert_eq!((it.steps[1].least, it.steps[1].most), (2, Some(2)));
        let most = parse("unit=a WATCHDOG= at most 3").expect("valid");
        assert_eq!((most.steps[0].least, most.steps[0].most), (0, Some(3)));
        assert_eq!(most.steps[0].assignments[0].1, "**");
        assert_eq!(
            parse("READY=1 at least 4").expect("valid").steps[0].least,
            4
        );
        assert_eq!(parse("READY=1 once").expect("valid").steps[0].most, Some(1));
        assert!(parse("never unit=a ERRNO=").expect("valid").is_never);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            why("unit=a READY").contains("READY"),
            "{}",
            why("unit=a READY")
        );
        assert!(why("unit=a READY=1 within soon").contains("soon"));
        assert!(why("within 5s").contains("names no message"));
        assert!(why("ready=1").contains("ready"));
        assert!(why("STATUS='x").contains("quote"));
        assert!(why("never READY=1 then STOPPING=1").contains("never"));
        assert!(why("READY=1 at last 3").contains("last"));
        assert!(why("READY=1 3").contains("times"));
        assert!(why("unit= READY=1").contains("no value"));
        assert!(why("READY=1 at least 2 at most 4").contains("one quantity"));
        assert!(why("never READY=1 at least 3").contains("never"));
        assert!(why("READY=1 within 1s within 2s").contains("twice"));
    }

    #[test]
    fn a_star_in_a_value_is_any_run_at_all() {
        let it = parse("STATUS='*error*'").expect("valid");
        assert_eq!(it.steps[0].assignments[0].1, "**error**");
        assert_eq!(any_run("a**b*"), "a**b**");
    }

    #[test]
    fn a_file_has_comments_and_names_its_lines() {
        let file = "# the web server\nunit=nginx READY=1\n\nnever unit=nginx ERRNO=\n";
        assert_eq!(parse_file(file).expect("valid").len(), 2);
        let error = parse_file("unit=a READY=1\nx").expect_err("a bad line");
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
