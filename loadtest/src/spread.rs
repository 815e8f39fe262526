//! Medians and what runs moved between.

use std::fmt;

use crate::saved::Measured;
use crate::scenarios::{Figure, Goal, Scenario};

/// The median of some values, and the least and the most of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, least, most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, least, most } = *self;
        if least == most {
            return write!(f, "{}", number(median));
        }
        write!(f, "{} [{} to {}]", number(median), number(least), number(most))
    }
}

/// Three digits that count, thousands apart.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.find('.').map_or((text.as_str(), ""), |point| text.split_at(point));
    let groups: Vec<&str> = whole.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    let sign = if value < 0.0 { "-" } else { "" };
    let rest = rest.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{}{rest}", groups.join(","))
}

impl Measured {
    /// The values of one figure of one contender, with their rounds.
    pub fn values(&self, contender: &str, figure: &Figure) -> Vec<(u32, f64)> {
        let runs = self.runs.iter().filter(|run| run.contender == contender);
        runs.filter_map(|run| Some((run.round, (figure.value)(&run.report)?))).collect()
    }

    pub fn spread(&self, contender: &str, figure: &Figure) -> Option<Spread> {
        Spread::of(self.values(contender, figure).into_iter().map(|(_, value)| value))
    }
}

/// What a goal came to: the words for it, and whether it is met.
pub struct Verdict {
    pub text: String,
    pub is_met: bool,
}

impl Goal {
    /// `None` when a contender was not measured.
    pub fn judge(&self, scenario: &Scenario, measured: &Measured) -> Option<Verdict> {
        let figure = &scenario.figures[0];
        let (text, is_met) = match self {
            Goal::Ratio { of, against, at_most } => {
                let ratio = measured.spread(of, figure)?.median / measured.spread(against, figure)?.median;
                let others = measured.values(against, figure);
                let by_round = measured.values(of, figure).into_iter().filter_map(|(round, value)| {
                    let (_, other) = others.iter().find(|(other, _)| *other == round)?;
                    Some(value / other)
                });
                let by_round = Spread::of(by_round)?;
                let range = format!("{:.2} to {:.2} by round", by_round.least, by_round.most);
                (format!("{of} to {against}: {ratio:.3} [{range}], goal at most {at_most}"), ratio <= *at_most)
            }
            Goal::Value { of, at_most } => {
                let value = measured.spread(of, figure)?;
                let text = format!("{of}: {value} {}, goal at most {}", figure.unit, number(*at_most));
                (text, value.median <= *at_most)
            }
            Goal::Bound { of, figure, at_most } => {
                let value = measured.spread(of, figure)?;
                let Figure { title, unit, .. } = figure;
                let text = format!("{of}: {title} {value} {unit}, goal at most {}", number(*at_most));
                (text, value.median <= *at_most)
            }
            Goal::More { of, against, at_most } => {
                let more = measured.spread(of, figure)?.median - measured.spread(against, figure)?.median;
                let (unit, at_most_text) = (figure.unit, number(*at_most));
                (
                    format!("{of}: {} {unit} more than {against}, goal at most {at_most_text}", number(more)),
                    more <= *at_most,
                )
            }
            Goal::Beside { of, ratio, more_us } => {
                let alone = measured.spread(of, scenario.figures.get(1)?)?.median;
                let beside = measured.spread(of, figure)?.median;
                let bound = (alone * ratio).max(alone + more_us);
                let text = format!(
                    "{of}: p99 {} us beside, {} alone, goal at most {}",
                    number(beside),
                    number(alone),
                    number(bound)
                );
                (text, beside <= bound)
            }
        };
        Some(Verdict { text: format!("{text}: {}", if is_met { "met" } else { "**missed**" }), is_met })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let check = |values: &[f64], median| {
            assert_eq!(Spread::of(values.iter().copied()).map(|spread| spread.median), median, "{values:?}");
        };
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 2.0, 9.0], Some(3.0));
    }

    #[test]
    fn numbers_are_readable() {
        let texts = [0.384, 5.35, 12.34, 177_701.2, 1_000_000.0, -1234.0, 20.0].map(number);
        assert_eq!(texts, ["0.38", "5.35", "12.3", "177,701", "1,000,000", "-1,234", "20"]);
    }

    #[test]
    fn goals_are_upper_bounds() {
        let scenario = Scenario::find("fanout-1").expect("a scenario");
        let run = |contender: &str, round, us: f64| crate::saved::Run {
            contender: contender.into(),
            round,
            report: serde_json::json!({ "server_cpu_us_per_delivery": us }),
        };
        let measured = Measured {
            scenario: "fanout-1".into(),
            date: String::new(),
            machine: crate::machine::Machine::look().expect("a machine"),
            versions: vec![],
            command: String::new(),
            seconds: None,
            runs: vec![run("hub", 1, 8.0), run("uws", 1, 10.0), run("hub", 2, 9.0), run("uws", 2, 9.0)],
            problems: vec![],
        };
        let judge = |at_most| Goal::Ratio { of: "hub", against: "uws", at_most }.judge(scenario, &measured);
        let verdict = judge(0.9).expect("both are measured");
        assert!(verdict.is_met && verdict.text.contains("0.895 [0.80 to 1.00 by round]"), "{}", verdict.text);
        assert!(!judge(0.8).expect("both are measured").is_met);
        assert!(Goal::Ratio { of: "hub", against: "nats", at_most: 1.0 }.judge(scenario, &measured).is_none());
    }
}
