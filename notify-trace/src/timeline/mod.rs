//! `timeline`: what a recording says, as a picture: an HTML page, an SVG, or a trace for Perfetto.
//!
//! ```text
//! Event, Outcome ──▶ collect (a Sink) ──▶ model::Timeline ──▶ html · svg · perfetto
//!                      │ lane: one unit's or container's row     │
//!                      │ facts: what is said of many, once       └ axis, embed
//!                      │ start: from a unit's start to READY=1
//!                      └ words: which sign, which sentence
//! ```
//!
//! It owns what stands where, and what is left out where there is too much of it. What happened, and why,
//! is said by the stages before; the three outputs conclude nothing of their own, so that they agree.
//! All text in the model has been made safe ([`crate::escape`]); each output quotes it for its format.

pub mod axis;
pub mod collect;
pub mod html;
pub mod model;
pub mod perfetto;
pub mod svg;

mod embed;
mod facts;
mod lane;
mod start;
#[cfg(test)]
mod tests;
mod words;
