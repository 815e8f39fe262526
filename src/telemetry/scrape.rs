//! The answer to `/metrics`: the table's rows, read and written in Prometheus' text format.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};

use super::NodeMetrics;
use super::histogram::{BOUNDS_US, Histogram, HistogramSample};
use super::process::ProcessSample;
use super::table::{self, Kind, Metric, View};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Reads all metrics of the node.
#[derive(Clone)]
pub struct Scrape {
    registry: Registry,
}

impl Scrape {
    pub fn new(metrics: Arc<NodeMetrics>) -> Scrape {
        let registry = Registry::new();
        registry.register(Box::new(Cells::new(metrics))).expect("names and labels of the table are valid and unique");
        Scrape { registry }
    }

    /// The whole text. Costs some hundred microseconds, and milliseconds on old kernels with very
    /// many descriptors.
    pub fn write(&self) -> String {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector takes every byte");
        String::from_utf8(text).expect("the encoder writes text")
    }
}

/// The counters are cells of their threads; this lends them to the registry while it gathers.
struct Cells {
    metrics: Arc<NodeMetrics>,
    descriptions: Vec<Desc>,
}

impl Cells {
    fn new(metrics: Arc<NodeMetrics>) -> Cells {
        let describe = |metric: &Metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new())
                .expect("names and labels of the table are valid")
        };
        Cells { metrics, descriptions: table::all().map(describe).collect() }
    }
}

impl Collector for Cells {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let view = View { metrics: &self.metrics, process: ProcessSample::take(), version: env!("CARGO_PKG_VERSION") };
        let families = table::all().map(|metric| collect_family(metric, &view));
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

fn collect_family(metric: &'static Metric, view: &View<'_>) -> MetricFamily {
    let mut samples = Samples { metric, taken: Vec::new() };
    metric.read(view, &mut samples);
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(samples.taken);
    family
}

/// Takes the samples of one metric.
pub(super) struct Samples {
    metric: &'static Metric,
    taken: Vec<proto::Metric>,
}

impl Samples {
    /// One value of a counter or gauge, with the values of the metric's labels in their order.
    pub fn add(&mut self, labels: &[&str], value: f64) {
        let mut sample = proto::Metric::from_label(self.pair(labels));
        match self.metric.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Kind::Histogram => unreachable!("histograms are added by add_histogram"),
        }
        self.taken.push(sample);
    }

    /// The sum of histograms that several threads write.
    pub fn add_histogram<'a>(&mut self, labels: &[&str], histograms: impl IntoIterator<Item = &'a Histogram>) {
        let read =
            histograms.into_iter().fold(HistogramSample::default(), |sum, histogram| sum.plus(&histogram.sample()));
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_US.len());
        for (bound, count) in BOUNDS_US.iter().zip(read.buckets) {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        let mut value = proto::Histogram::default();
        value.set_bucket(buckets);
        value.set_sample_count(read.buckets.iter().sum());
        value.set_sample_sum(read.sum_seconds);
        let mut sample = proto::Metric::from_label(self.pair(labels));
        sample.set_histogram(value);
        self.taken.push(sample);
    }

    /// One value for each code; the last label is the code, or `other`.
    pub fn codes(&mut self, labels: &[&str], codes: impl Iterator<Item = (Option<u16>, u64)>) {
        for (code, count) in codes {
            let code = code.map_or_else(|| "other".to_owned(), |code| code.to_string());
            self.add(&[labels, &[&code]].concat(), count as f64);
        }
    }

    fn pair(&self, values: &[&str]) -> Vec<proto::LabelPair> {
        assert_eq!(values.len(), self.metric.labels.len(), "labels of {}", self.metric.name);
        let pairs = self.metric.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::telemetry::{Counter, EngineCounter, Gauge, NamedEngine, Remedy, Stage};

    #[test]
    fn every_counter_and_gauge_of_a_shard_is_shown() {
        let metrics = Arc::new(NodeMetrics::new(2, 1, Instant::now()));
        for &counter in Counter::ALL {
            metrics.shards[1].add(counter, 7_000 + counter as u64);
        }
        for &gauge in Gauge::ALL {
            metrics.shards[1].set(gauge, 9_000 + gauge as u64);
        }
        let text = Scrape::new(metrics).write();
        let is_shown = |value: u64| text.lines().any(|line| line.ends_with(&format!(" {value}")));
        for &counter in Counter::ALL {
            assert!(is_shown(7_000 + counter as u64), "{counter:?} has no row in the table");
        }
        for &gauge in Gauge::ALL {
            // The heartbeat is shown as its age.
            assert!(gauge == Gauge::HeartbeatMs || is_shown(9_000 + gauge as u64), "{gauge:?} has no row in the table");
        }
    }

    #[test]
    fn what_slow_consumers_cost_is_shown_by_namespace() {
        let metrics = NodeMetrics::new(2, 1, Instant::now()).with_namespaces(vec!["chat".into(), "prices".into()]);
        let shard = &metrics.shards[1];
        for (count, remedy) in (1..).zip(Remedy::ALL) {
            shard.add_remedy(2, remedy, count);
        }
        shard.add_remedy(0, Remedy::Disconnect, 7);
        let text = Scrape::new(Arc::new(metrics)).write();
        for line in [
            "fanfare_publications_dropped_total{shard=\"1\",namespace=\"prices\",policy=\"drop_oldest\"} 1",
            "fanfare_publications_dropped_total{shard=\"1\",namespace=\"prices\",policy=\"conflate\"} 2",
            "fanfare_publications_dropped_total{shard=\"1\",namespace=\"prices\",policy=\"max_rate\"} 3",
            "fanfare_slow_consumers_closed_total{shard=\"1\",namespace=\"prices\"} 4",
            "fanfare_slow_consumers_closed_total{shard=\"1\",namespace=\"\"} 7",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("namespace=\"chat\""), "nothing happened there");
    }

    #[test]
    fn engines_are_shown_by_name_and_type() {
        let engines = vec![NamedEngine::new("ticks", "nats"), NamedEngine::new("engine", "redis")];
        let metrics = NodeMetrics::new(1, 1, Instant::now()).with_engines(engines);
        let engine = &metrics.engines[1].metrics;
        engine.set_up(true);
        engine.probed(Some(Duration::from_millis(2)));
        engine.add(EngineCounter::Foreign, 3);
        let text = Scrape::new(Arc::new(metrics)).write();
        for line in [
            "fanfare_engine_up{engine=\"ticks\",kind=\"nats\"} 0",
            "fanfare_engine_ready{engine=\"engine\",kind=\"redis\"} 1",
            "fanfare_engine_probe_seconds{engine=\"engine\",kind=\"redis\"} 0.002",
            "fanfare_engine_foreign_total{engine=\"engine\",kind=\"redis\"} 3",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn labels_codes_and_histograms_read_as_prometheus_wants_them() {
        let metrics = Arc::new(NodeMetrics::new(1, 2, Instant::now()));
        let shard = &metrics.shards[0];
        shard.count_command("presence_stats");
        shard.count_disconnect(3501);
        shard.count_disconnect(4321);
        shard.observe_turn(Duration::from_micros(30));
        shard.observe_turn(Duration::from_secs(9));
        shard.observe_gap(Duration::from_millis(11));
        shard.observe_stage(Stage::FanOut, Duration::from_micros(60));
        (0..4).for_each(|_| metrics.workers.count_submitted());
        (0..2)
            .for_each(|worker| metrics.workers.thread(worker).observe_wait("verify_token", Duration::from_micros(700)));
        metrics.workers.rescuer().observe_wait("verify_token", Duration::from_millis(120));
        metrics.workers.rescuer().observe_run("verify_token", Duration::from_micros(60));
        let text = Scrape::new(metrics).write();
        for line in [
            "# TYPE fanfare_turn_duration_seconds histogram",
            "fanfare_commands_total{shard=\"0\",command=\"presence_stats\"} 1",
            "fanfare_disconnects_total{shard=\"0\",code=\"3501\"} 1",
            "fanfare_disconnects_total{shard=\"0\",code=\"other\"} 1",
            "fanfare_turn_duration_seconds_bucket{shard=\"0\",le=\"0.00005\"} 1",
            "fanfare_turn_duration_seconds_bucket{shard=\"0\",le=\"5\"} 1",
            "fanfare_turn_duration_seconds_bucket{shard=\"0\",le=\"+Inf\"} 2",
            "fanfare_turn_duration_seconds_count{shard=\"0\"} 2",
            "fanfare_turn_gap_seconds_count{shard=\"0\"} 1",
            "fanfare_turn_stage_seconds_bucket{shard=\"0\",stage=\"fan_out\",le=\"0.0001\"} 1",
            "fanfare_stalls_total{shard=\"0\",longer_than=\"10ms\"} 2",
            "fanfare_stalls_total{shard=\"0\",longer_than=\"100ms\"} 1",
            "fanfare_jobs_total{runner=\"rescuer\",kind=\"verify_token\"} 1",
            "fanfare_job_wait_seconds_bucket{runner=\"workers\",kind=\"verify_token\",le=\"0.001\"} 2",
            "fanfare_job_wait_seconds_bucket{runner=\"rescuer\",kind=\"verify_token\",le=\"0.1\"} 0",
            "fanfare_job_wait_seconds_bucket{runner=\"rescuer\",kind=\"verify_token\",le=\"0.2\"} 1",
            "fanfare_jobs_waiting 1",
            concat!("fanfare_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
