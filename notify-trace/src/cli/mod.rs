//! What the user typed, and one file per verb. Clap is named nowhere else.

pub mod args;
pub mod doctor;
pub mod exit;
pub mod output;
pub mod record;
pub mod replay;
pub mod sockets;
pub mod timeline;
pub mod trace;
pub mod view;
