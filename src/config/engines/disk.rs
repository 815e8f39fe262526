//! Settings of the log on this node's disk.

use std::path::PathBuf;

use super::super::source::Problems;
use super::table::Table;
use super::{EngineSettings, EnginesOptions};
use crate::limits::DISK_SEGMENTS_MIN;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    pub path: PathBuf,
    pub ack: DiskAck,
    pub segment_bytes: u64,
    pub bytes_max: u64,
}

/// What a publish waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskAck {
    /// The kernel has it.
    Memory,
    /// The disk has it.
    Fsync,
}

/// `None` without a path.
pub fn read(table: &Table<'_>, problems: &mut Problems<'_>) -> Option<DiskSettings> {
    let Some(path) = table.text("disk.path") else {
        table.refuse("disk.path", "is missing: where should the log be?", problems);
        return None;
    };
    let (segment_bytes, bytes_max) = (table.count("disk.segment_bytes"), table.count("disk.bytes_max"));
    let bytes_min = DISK_SEGMENTS_MIN * segment_bytes;
    if bytes_max < bytes_min {
        let message = format!(
            "is {bytes_max}; it should be at least {bytes_min}, {DISK_SEGMENTS_MIN} files of disk.segment_bytes \
             ({segment_bytes}), or these at most {}",
            bytes_max / DISK_SEGMENTS_MIN
        );
        table.refuse("disk.bytes_max", &message, problems);
    }
    let ack = match table.text("disk.ack").as_deref() {
        Some("fsync") => DiskAck::Fsync,
        _ => DiskAck::Memory,
    };
    Some(DiskSettings { path: path.into(), ack, segment_bytes, bytes_max })
}

/// One folder has one log.
pub fn check_paths(options: &EnginesOptions, problems: &mut Problems<'_>) {
    let disks: Vec<_> = options
        .started
        .iter()
        .filter_map(|engine| match &engine.settings {
            EngineSettings::Disk(settings) => Some((&engine.name, &settings.path)),
            _ => None,
        })
        .collect();
    for (at, (name, path)) in disks.iter().enumerate() {
        if let Some((other, _)) = disks[..at].iter().find(|(_, other)| other == path) {
            let message = format!(
                "the engines {other:?} and {name:?} have other settings and the same disk.path {}",
                path.display()
            );
            problems.add(None, message);
        }
    }
}
