//! The numbers of reports that are compared.

use serde_json::Value;

use super::Figure;

pub const DELIVERY: &[Figure] = &[CPU_OF_DELIVERY, P50, P99, RATE, LINE];

pub const ECHO: &[Figure] = &[CPU_OF_ECHO, P50, P99, ECHOES];

pub const CPU_OF_ECHO: Figure =
    Figure { title: "server CPU for an echo", unit: "us", value: |report| report["server_cpu_us_per_echo"].as_f64() };
pub const ECHOES: Figure =
    Figure { title: "echoes", unit: "1/s", value: |report| report["echoes_per_second"].as_f64() };

pub const CPU_OF_DELIVERY: Figure = Figure {
    title: "server CPU for a delivery",
    unit: "us",
    value: |report| report["server_cpu_us_per_delivery"].as_f64(),
};
pub const P50: Figure =
    Figure { title: "latency p50", unit: "us", value: |report| report["latency_us"]["p50"].as_f64() };
pub const P99: Figure =
    Figure { title: "latency p99", unit: "us", value: |report| report["latency_us"]["p99"].as_f64() };
pub const RATE: Figure =
    Figure { title: "deliveries", unit: "1/s", value: |report| report["deliveries_per_second"].as_f64() };
pub const LINE: Figure = Figure { title: "message", unit: "B", value: |report| report["line_bytes"].as_f64() };

pub const P99_ALONE: Figure =
    Figure { title: "p99 alone", unit: "us", value: |report| report["alone_us"]["p99"].as_f64() };
pub const P99_BESIDE: Figure =
    Figure { title: "p99 beside", unit: "us", value: |report| report["beside_us"]["p99"].as_f64() };
pub const CPU_OF_CONNECTION: Figure = Figure {
    title: "server CPU for a connection",
    unit: "us",
    value: |report| count(report, "server_cpu_us_per_connection"),
};

pub const BACK: Figure =
    Figure { title: "until all are back", unit: "s", value: |report| count(report, "back_seconds") };

pub const CPU_TO_CONNECT: Figure = Figure {
    title: "server CPU to connect and subscribe",
    unit: "us",
    value: |report| report["server_cpu_us_per_connection"].as_f64(),
};
pub const RATE_OF_CONNECTIONS: Figure =
    Figure { title: "connections", unit: "1/s", value: |report| report["connections_per_second"].as_f64() };

pub const MEMORY_OF_PROCESS: Figure = Figure {
    title: "memory of the hub",
    unit: "KiB",
    value: |report| Some(report["server_pss_bytes_after"].as_f64()? / 1024.0),
};
pub const MEMORY_OF_CONNECTION: Figure =
    Figure { title: "for each connection", unit: "B", value: |report| report["bytes_per_connection"].as_f64() };
pub const MEMORY_OF_MACHINE: Figure = Figure {
    title: "of the whole machine, generators and kernel too",
    unit: "B",
    value: |report| report["machine_bytes_per_connection"].as_f64(),
};

pub const CONNECTIONS: Figure =
    Figure { title: "connections", unit: "1/s", value: |report| count(report, "connections_per_second") };

pub fn count(report: &Value, name: &str) -> Option<f64> {
    report["counts"][name].as_f64()
}

pub fn grown_kib(report: &Value) -> Option<f64> {
    let most = report["server_pss_bytes_most"].as_f64()?;
    Some((most - report["server_pss_bytes_alone"].as_f64()?) / 1024.0)
}

pub const TWO_SHARDS_FIGURES: &[Figure] = &[
    CPU_OF_DELIVERY,
    RATE,
    Figure {
        title: "generator CPU for a delivery",
        unit: "us",
        value: |report| report["generator_cpu_us_per_delivery"].as_f64(),
    },
    P99,
];
