//! What a comparison comes to: medians, ratios, goals.

use std::fmt;

use serde::Serialize;

use crate::compare::{Comparison, Runs};
use crate::report::FanoutReport;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub hub: Spread,
    /// `None` where the peer has nothing to compare.
    pub node_ws: Option<Spread>,
    /// Median of the hub by median of the peer.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
}

/// The median of some runs and what they moved between.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// What a figure may be at most.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Of the peer's.
    Ratio(f64),
    /// Of the hub's own unit.
    Value(f64),
}

impl Figure {
    pub fn all(hub: &Runs, node_ws: &Runs) -> Vec<Figure> {
        // Goals: the project's, set when the shards were designed.
        let (one_ratio_max, sixteen_ratio_max, idle_bytes_max) = (0.85, 0.15, 1536.0);
        let cpu = |report: &FanoutReport| report.server_cpu_us_per_delivery.unwrap_or(f64::NAN);
        let rate = |report: &FanoutReport| report.deliveries_per_second;
        let p99 = |report: &FanoutReport| report.latency_us.p99 as f64;
        let one = |name, unit, of: fn(&FanoutReport) -> f64, goal| {
            Figure::new(name, unit, spread(&hub.one_in_flight, of), spread(&node_ws.one_in_flight, of), goal)
        };
        let sixteen = |name, unit, of: fn(&FanoutReport) -> f64, goal| {
            Figure::new(name, unit, spread(&hub.sixteen_in_flight, of), spread(&node_ws.sixteen_in_flight, of), goal)
        };
        let bytes = |runs| spread(runs, |report: &crate::report::IdleReport| report.bytes_per_connection);
        let idle_goal = Some(Goal::Value(idle_bytes_max));
        vec![
            one("CPU of a delivery, 1 in flight", "us", cpu, Some(Goal::Ratio(one_ratio_max))),
            sixteen("CPU of a delivery, 16 in flight", "us", cpu, Some(Goal::Ratio(sixteen_ratio_max))),
            one("deliveries each second, 1 in flight", "1/s", rate, None),
            sixteen("deliveries each second, 16 in flight", "1/s", rate, None),
            one("latency p99, 1 in flight", "us", p99, None),
            sixteen("latency p99, 16 in flight", "us", p99, None),
            Figure::new("memory of an idle connection", "B", bytes(&hub.idle), bytes(&node_ws.idle), idle_goal),
            Figure::new("the same with presence", "B", bytes(&hub.idle_with_presence), None, None),
        ]
    }

    fn new(
        name: &'static str,
        unit: &'static str,
        hub: Option<Spread>,
        node_ws: Option<Spread>,
        goal: Option<Goal>,
    ) -> Figure {
        let hub = hub.expect("a comparison has at least one run of the hub");
        Figure { name, unit, hub, node_ws, ratio: node_ws.map(|peer| hub.median / peer.median), goal }
    }

    /// `None` without a goal.
    pub fn is_met(&self) -> Option<bool> {
        match self.goal? {
            Goal::Ratio(most) => Some(self.ratio? <= most),
            Goal::Value(most) => Some(self.hub.median <= most),
        }
    }
}

/// `None` without runs.
fn spread<Report>(runs: &[Report], value: impl Fn(&Report) -> f64) -> Option<Spread> {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let (&least, &most) = (values.first()?, values.last()?);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    };
    Some(Spread { median, least, most })
}

impl Comparison {
    /// Whether every delivery was exact.
    pub fn is_exact(&self) -> bool {
        let runs = [&self.hub, &self.node_ws];
        runs.iter().all(|runs| runs.one_in_flight.iter().chain(&runs.sixteen_in_flight).all(|run| run.faults.is_none()))
    }

    pub fn are_goals_met(&self) -> bool {
        self.figures.iter().all(|figure| figure.is_met() != Some(false))
    }
}

impl fmt::Display for Comparison {
    /// Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { machine, command_line, versions, figures, hub, .. } = self;
        let repeats = hub.idle.len();
        writeln!(f, "Medians of {repeats} runs made in turn [least to most].\n")?;
        writeln!(f, "| figure | hub | Node ws | ratio | goal |\n|---|---|---|---|---|")?;
        for figure in figures {
            let peer = figure.node_ws.map_or("–".into(), |peer| peer.to_string());
            let ratio = figure.ratio.map_or("–".into(), |ratio| format!("{ratio:.3}"));
            let goal = match figure.goal {
                None => String::new(),
                Some(Goal::Ratio(most)) => format!("ratio at most {most}"),
                Some(Goal::Value(most)) => format!("at most {most} {}", figure.unit),
            };
            let verdict = figure.is_met().map_or("", |is_met| if is_met { ": met" } else { ": **missed**" });
            writeln!(f, "| {} ({}) | {} | {peer} | {ratio} | {goal}{verdict} |", figure.name, figure.unit, figure.hub)?;
        }
        writeln!(
            f,
            "\n- exactness: {}",
            if self.is_exact() { "no delivery lost, duplicated or reordered" } else { "**faults**" }
        )?;
        writeln!(
            f,
            "- machine: {}, {} cores, {:.0} GiB, Linux {}, load {} at the start",
            machine.cpu, machine.cores, machine.memory_gib, machine.kernel, machine.load_at_start
        )?;
        writeln!(f, "- versions: {}", versions.join(", "))?;
        write!(f, "- command: `{command_line}`")
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 100.0 { 2 } else { 0 };
        write!(f, "{:.digits$} [{:.digits$} to {:.digits$}]", self.median, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let check = |values: &[f64], median| {
            assert_eq!(spread(values, |value| *value).map(|spread| spread.median), median, "{values:?}");
        };
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 2.0, 9.0], Some(3.0));
    }

    #[test]
    fn goals_are_upper_bounds() {
        let flat = |value| Some(Spread { median: value, least: value, most: value });
        let met = |hub, peer, goal| Figure::new("", "", flat(hub), flat(peer), goal).is_met();
        assert_eq!(met(8.0, 10.0, Some(Goal::Ratio(0.85))), Some(true));
        assert_eq!(met(9.0, 10.0, Some(Goal::Ratio(0.85))), Some(false));
        assert_eq!(met(9.0, 10.0, Some(Goal::Value(8.0))), Some(false));
        assert_eq!(met(9.0, 10.0, None), None);
    }
}
