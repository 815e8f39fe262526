//! What the scenarios found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::Faults;

/// One fan-out run. CPU figures are those of the measured phase; faults are of the whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FanoutReport {
    pub url: String,
    pub members: usize,
    pub payload_bytes: usize,
    /// Of one delivery, without the WebSocket frame's header, not compressed.
    pub line_bytes: usize,
    pub in_flight: usize,
    pub publisher: String,
    pub publications: u64,
    pub deliveries: u64,
    pub seconds: f64,
    pub deliveries_per_second: f64,
    /// All threads of the server process; `None` without `--server-pid`.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// What the generator itself cost; a whole core when it spins.
    pub generator_cpu_us_per_delivery: f64,
    /// From the publication's write to its receipt by a member, microseconds.
    pub latency_us: Percentiles,
    #[serde(flatten)]
    pub faults: Faults,
    /// Times that nothing came for so long that what was missing was given up.
    pub stalls: u64,
}

/// One run of rooms that are published to by the clock; figures as those of a fan-out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomsReport {
    pub url: String,
    pub rooms: usize,
    pub members_of_room: usize,
    pub payload_bytes: usize,
    pub line_bytes: usize,
    pub publications: u64,
    pub deliveries: u64,
    pub seconds: f64,
    pub deliveries_per_second: f64,
    pub server_cpu_us_per_delivery: Option<f64>,
    pub generator_cpu_us_per_delivery: f64,
    /// From when the publication was due, not from when it went out.
    pub latency_us: Percentiles,
    #[serde(flatten)]
    pub faults: Faults,
}

/// One echo run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EchoReport {
    pub url: String,
    pub connections: usize,
    pub payload_bytes: usize,
    pub line_bytes: usize,
    /// Whether an echo is a reply and a push, or the push alone.
    pub is_acknowledged: bool,
    pub echoes: u64,
    pub seconds: f64,
    pub echoes_per_second: f64,
    pub server_cpu_us_per_echo: Option<f64>,
    pub generator_cpu_us_per_echo: f64,
    pub latency_us: Percentiles,
    #[serde(flatten)]
    pub faults: Faults,
}

/// What a quiet room is like alone, and beside something that disturbs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BesideReport {
    pub url: String,
    pub disturbance: String,
    /// Latency of the quiet room, from when a publication was due.
    pub alone_us: Percentiles,
    pub beside_us: Percentiles,
    pub seconds_of_each: f64,
    /// CPU time of the server as a share of one core.
    pub server_cpu_share_alone: Option<f64>,
    pub server_cpu_share_beside: Option<f64>,
    /// Pss of the server at the end of the quiet phase, and the most of the other one.
    pub server_pss_bytes_alone: Option<u64>,
    pub server_pss_bytes_most: Option<u64>,
    /// What the disturbance counted.
    pub counts: BTreeMap<String, f64>,
    /// Of the quiet room, and of those of the disturbance's members that should miss nothing.
    #[serde(flatten)]
    pub faults: Faults,
}

/// One run of people who come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectReport {
    pub url: String,
    pub connections: usize,
    pub in_flight: usize,
    pub tokens: String,
    pub seconds: f64,
    pub connections_per_second: f64,
    /// Accept, upgrade, connect and subscribe; `None` without `--server-pid`.
    pub server_cpu_us_per_connection: Option<f64>,
    pub generator_cpu_us_per_connection: f64,
}

/// What a hub was like over a long time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoakReport {
    pub connections: usize,
    pub minutes: f64,
    pub publications: u64,
    pub deliveries: u64,
    /// Connections that came and went beside those that stayed.
    pub churned: u64,
    pub churn_failed: u64,
    pub latency_us: Percentiles,
    pub server_cpu_share: f64,
    /// From the end of the settling part on: the line through all readings of Pss.
    pub memory_slope_mib_per_hour: f64,
    pub memory_slope_mib_per_hour_max: f64,
    pub pss_bytes_settled: u64,
    pub pss_bytes_end: u64,
    /// Of the server, before anybody came, with everybody there, and after all had gone.
    pub descriptors_before: usize,
    pub descriptors_most: usize,
    pub descriptors_after: usize,
    #[serde(flatten)]
    pub faults: Faults,
}

impl SoakReport {
    /// Nothing was missed, nothing leaks.
    pub fn is_well(&self) -> bool {
        self.faults.is_none()
            && self.churn_failed == 0
            && self.descriptors_after <= self.descriptors_before
            && self.memory_slope_mib_per_hour <= self.memory_slope_mib_per_hour_max
    }
}

/// One idle run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdleReport {
    pub url: String,
    pub connections: usize,
    pub channel: String,
    pub connections_per_second: f64,
    /// Pss growth of the server process for each connection, after the hold.
    pub bytes_per_connection: f64,
    /// The same for each further subscription of a connection, where that was asked for.
    pub bytes_per_further_subscription: Option<f64>,
    pub server_pss_bytes_before: u64,
    pub server_pss_bytes_after: u64,
    /// CPU of the server to open one connection: upgrade, connect, subscribe.
    pub server_cpu_us_per_opening: f64,
    pub hold_seconds: f64,
    /// CPU of the server while nothing but pings happens, as a share of one core.
    pub server_cpu_share_idle: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Percentiles {
        Percentiles {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

impl fmt::Display for FanoutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p90, p99, p999, max } = self.latency_us;
        let Faults { lost, duplicated, reordered } = self.faults;
        let server_cpu = self.server_cpu_us_per_delivery.map_or("(no --server-pid)".into(), |us| format!("{us:.3} us"));
        writeln!(
            f,
            "fan-out          {} members, {} B, {} in flight",
            self.members, self.payload_bytes, self.in_flight
        )?;
        writeln!(f, "server           {}, published by {}", self.url, self.publisher)?;
        writeln!(f, "publications     {} in {:.2} s", self.publications, self.seconds)?;
        writeln!(f, "deliveries       {} ({:.0} each second)", self.deliveries, self.deliveries_per_second)?;
        writeln!(f, "server CPU       {server_cpu} for each delivery")?;
        writeln!(f, "generator CPU    {:.3} us for each delivery", self.generator_cpu_us_per_delivery)?;
        writeln!(f, "latency          p50 {p50} us, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")?;
        write!(
            f,
            "faults           {lost} lost, {duplicated} duplicated, {reordered} reordered, {} stalls",
            self.stalls
        )
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.server_pss_bytes_before / 1024, self.server_pss_bytes_after / 1024);
        writeln!(f, "idle             {} connections in {}", self.connections, self.channel)?;
        writeln!(f, "server           {}", self.url)?;
        writeln!(f, "opening          {:.0} each second", self.connections_per_second)?;
        writeln!(f, "server CPU       {:.1} us for each opening", self.server_cpu_us_per_opening)?;
        writeln!(f, "server memory    {:.0} B for each connection", self.bytes_per_connection)?;
        writeln!(f, "                 (Pss {before} KiB before, {after} KiB after)")?;
        if let Some(bytes) = self.bytes_per_further_subscription {
            writeln!(f, "                 {bytes:.0} B for each further subscription")?;
        }
        write!(f, "idle CPU         {:.3} of a core over {:.1} s", self.server_cpu_share_idle, self.hold_seconds)
    }
}

/// A line for each number of a report.
fn write_lines(f: &mut fmt::Formatter<'_>, head: &str, report: &impl Serialize) -> fmt::Result {
    let value = serde_json::to_value(report).map_err(|_| fmt::Error)?;
    write!(f, "{head}")?;
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
                write!(f, "\n{name:<32} {}", fields.join(", "))?;
            }
            Value::Number(number) if number.is_f64() => {
                write!(f, "\n{name:<32} {:.3}", number.as_f64().unwrap_or(f64::NAN))?;
            }
            other => write!(f, "\n{name:<32} {other}")?,
        }
    }
    Ok(())
}

impl fmt::Display for RoomsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "rooms", self)
    }
}

impl fmt::Display for ConnectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "connect and subscribe", self)
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "soak", self)
    }
}

impl fmt::Display for EchoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "echo", self)
    }
}

impl fmt::Display for BesideReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &format!("a quiet room beside {}", self.disturbance), self)
    }
}
