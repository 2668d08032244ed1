//! What the user typed, and one file per verb. Clap is named nowhere else.

pub mod agent;
pub mod args;
pub mod capture;
pub mod compare;
pub mod derive;
pub mod doctor;
pub mod exit;
pub mod expect;
#[cfg(feature = "parquet")]
pub mod export;
pub mod output;
mod parse;
mod progress;
pub mod record;
pub mod replay;
pub mod report;
pub mod selection;
pub mod sockets;
pub mod timeline;
#[cfg(feature = "tui")]
pub mod top;
pub mod trace;
pub mod view;
