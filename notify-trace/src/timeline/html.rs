//! The page: one file, which loads nothing and sends nothing.
//!
//! What others chose (payloads, names) is in it as JSON that can end no element (`embed`), and the
//! script makes text nodes of it and nothing else. Should that ever fail, the page's policy lets a browser
//! run the one script and use the one style whose hashes it names.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::embed;
use super::model::Timeline;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order of their use; one function around all of it keeps it to itself.
const SCRIPT: &str = concat!(
    "(() => {\n'use strict';\n",
    include_str!("page/data.js"),
    include_str!("page/state.js"),
    include_str!("page/draw.js"),
    include_str!("page/signs.js"),
    include_str!("page/overview.js"),
    include_str!("page/panel.js"),
    include_str!("page/input.js"),
    "})();\n"
);

/// Writes the page.
///
/// # Errors
/// If it can't be written.
pub fn write(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let data = embed::json(timeline).map_err(io::Error::other)?;
    let mut rest = PAGE;
    // In one pass and in this order, so that nothing is looked for in what was put in.
    for (place, text) in [
        ("{{style-hash}}", &*hash(STYLE)),
        ("{{script-hash}}", &*hash(SCRIPT)),
        ("{{style}}", STYLE),
        ("{{data}}", &*data),
        ("{{script}}", SCRIPT),
    ] {
        let (before, after) = rest
            .split_once(place)
            .ok_or_else(|| io::Error::other(format!("the page has no {place}")))?;
        out.write_all(before.as_bytes())?;
        out.write_all(text.as_bytes())?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// As a `Content-Security-Policy` names what may be used.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text.as_bytes())))
}
