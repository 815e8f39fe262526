//! The page about metrics, generated from the table.

use std::fmt::Write;

use super::histogram::BOUNDS_US;
use super::table::{self, Kind};

/// The text of docs/metrics.md.
pub fn write_reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Generated from src/telemetry/table.rs: UPDATE=1 cargo test --lib telemetry::reference -->\n\n\
         `/metrics` answers in Prometheus' text format. Label `shard` counts threads of the data plane from 0, \
         `runner` says which threads of the worker pool ran \
         a job, `engine` names an engine as the configuration does; label `code` shows only codes that occurred.\n\n\
         | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for metric in table::all() {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, labels, help) = (metric.name, labels.join(", "), metric.help);
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").expect("a string takes every text");
    }
    let bounds: Vec<_> = BOUNDS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string()).collect();
    write!(page, "\nUpper bounds of all histograms, in seconds: {}.\n", bounds.join(", "))
        .expect("a string takes every text");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let fresh = write_reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &fresh).expect("docs/metrics.md is writable");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == fresh, "docs/metrics.md is stale: run UPDATE=1 cargo test --lib telemetry::reference");
    }

    #[test]
    fn names_follow_prometheus_rules() {
        for metric in table::all() {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "the help of {} is a sentence", metric.name);
        }
    }
}
