//! Plots of saved runs, as SVG without outside help: readable on light and on dark ground.

use std::fmt::Write as _;

use crate::saved::Measured;
use crate::scenarios::Scenario;
use crate::spread::{self, Spread};

/// Colours for both grounds; the hub's stand out.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.axis { fill: #57606a; font-size: 12px }
.grid { stroke: #d0d7de; stroke-width: 1 }
.hub { fill: #0969da }
.peer { fill: #8c959f }
.range, .fit { stroke: #24292f; stroke-width: 1.5; fill: none }
.fit { stroke: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.axis { fill: #9198a1 }
.grid { stroke: #3d444d }
.hub { fill: #4493f8 }
.peer { fill: #6e7681 }
.range { stroke: #e6edf3 }
.fit { stroke: #ff7b72 }
}
</style>
";

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 610.0;
const TOP: f64 = 44.0;

/// The first figure of a scenario, of everybody.
pub fn draw(scenario: &Scenario, measured: &Measured) -> String {
    match scenario.is_line() {
        true => draw_line(scenario, measured),
        false => draw_bars(scenario, measured),
    }
}

/// A bar for each contender: the median, and a line from the least to the most.
fn draw_bars(scenario: &Scenario, measured: &Measured) -> String {
    const ROW: f64 = 28.0;
    let figure = &scenario.figures[0];
    let labels = scenario.contenders.iter().map(|contender| contender.label);
    let rows: Vec<(&str, Spread)> = labels.filter_map(|label| Some((label, measured.spread(label, figure)?))).collect();
    let bottom = TOP + ROW * rows.len() as f64;
    let axis = Axis::up_to(rows.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max));
    let x = |value: f64| LEFT + axis.share(value) * (RIGHT - LEFT);

    let mut svg = open(bottom + 52.0, &format!("{}: {} ({})", scenario.name, figure.title, figure.unit));
    for tick in axis.ticks() {
        line(&mut svg, "grid", [x(tick), TOP - 6.0, x(tick), bottom]);
        text(&mut svg, "axis", "middle", x(tick), bottom + 18.0, &spread::number(tick));
    }
    for (index, (label, spread)) in rows.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let class = if label.starts_with("hub") { "hub" } else { "peer" };
        let (height, width) = (ROW - 8.0, (x(spread.median) - LEFT).max(1.0));
        text(&mut svg, "", "end", LEFT - 8.0, y + 15.0, label);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"2\"/>"
        );
        line(&mut svg, "range", [x(spread.least), y + height / 2.0, x(spread.most), y + height / 2.0]);
        text(&mut svg, "", "start", x(spread.most) + 8.0, y + 15.0, &spread::number(spread.median));
    }
    let rounds = measured.runs.iter().map(|run| run.round).max().unwrap_or(0);
    let caption = format!("{}; bar: median of {rounds}, line: least to most", figure.unit);
    text(&mut svg, "axis", "middle", (LEFT + RIGHT) / 2.0, bottom + 40.0, &caption);
    svg + "</svg>\n"
}

/// A point for each run against its count, and the straight line that fits them best.
fn draw_line(scenario: &Scenario, measured: &Measured) -> String {
    const HEIGHT: f64 = 260.0;
    let figure = &scenario.figures[0];
    let points = points(scenario, measured);
    let most = |axis: fn(&(f64, f64)) -> f64| points.iter().map(axis).fold(0.0, f64::max);
    let (across, up) = (Axis::up_to(most(|point| point.0)), Axis::up_to(most(|point| point.1)));
    let bottom = TOP + HEIGHT;
    let x = |value: f64| LEFT + across.share(value) * (RIGHT - LEFT);
    let y = |value: f64| bottom - up.share(value) * HEIGHT;

    let mut svg = open(bottom + 52.0, &format!("{}: {} ({})", scenario.name, figure.title, figure.unit));
    for tick in across.ticks() {
        text(&mut svg, "axis", "middle", x(tick), bottom + 18.0, &spread::number(tick));
    }
    for tick in up.ticks() {
        line(&mut svg, "grid", [LEFT, y(tick), RIGHT, y(tick)]);
        text(&mut svg, "axis", "end", LEFT - 8.0, y(tick) + 4.0, &spread::number(tick));
    }
    if let Some(Fit { at_zero, of_each, .. }) = Fit::of(&points) {
        let end = most(|point| point.0);
        line(&mut svg, "fit", [x(0.0), y(at_zero.max(0.0)), x(end), y(at_zero + of_each * end)]);
    }
    for (count, value) in &points {
        let _ = writeln!(svg, "<circle class=\"hub\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>", x(*count), y(*value));
    }
    text(&mut svg, "axis", "middle", (LEFT + RIGHT) / 2.0, bottom + 40.0, "connections; each point is a run");
    svg + "</svg>\n"
}

/// Count and value of each run.
pub fn points(scenario: &Scenario, measured: &Measured) -> Vec<(f64, f64)> {
    let figure = &scenario.figures[0];
    let counted = scenario.contenders.iter().filter_map(|contender| Some((contender.label, contender.count?)));
    counted
        .flat_map(|(label, count)| {
            measured.values(label, figure).into_iter().map(move |(_, value)| (f64::from(count), value))
        })
        .collect()
}

/// The straight line of least squares.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    pub at_zero: f64,
    pub of_each: f64,
    /// The share of the variance that the line explains (R squared).
    pub explained: f64,
}

impl Fit {
    /// `None` of fewer than two counts.
    pub fn of(points: &[(f64, f64)]) -> Option<Fit> {
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>();
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let of_each = xy / xx;
        of_each.is_finite().then(|| Fit { at_zero: mean_y - of_each * mean_x, of_each, explained: xy * xy / (xx * yy) })
    }
}

/// From zero to a round number.
struct Axis {
    step: f64,
    end: f64,
}

impl Axis {
    fn up_to(most: f64) -> Axis {
        let most = most.max(1e-9);
        let rough = most / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        Axis { step, end: (most / step).ceil() * step }
    }

    fn share(&self, value: f64) -> f64 {
        value / self.end
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step, count) = (self.step, (self.end / self.step).round() as u32);
        (0..=count).map(move |index| f64::from(index) * step)
    }
}

fn open(height: f64, title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\">\n{STYLE}"
    );
    text(&mut svg, "title", "start", 12.0, 20.0, title);
    svg
}

fn line(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn text(svg: &mut String, class: &str, anchor: &str, x: f64, y: f64, text: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(svg, "<text{class} text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends = [0.4, 9.45, 47.0, 19_000.0].map(|most| Axis::up_to(most).end);
        for (end, most) in ends.into_iter().zip([0.4, 9.45, 47.0, 19_000.0]) {
            assert!(end >= most && end <= most * 1.35, "{most} ends at {end}");
        }
        assert_eq!(Axis::up_to(9.45).ticks().last(), Some(10.0));
    }

    #[test]
    fn a_straight_line_is_found() {
        let fit = Fit::of(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).expect("three counts");
        assert!((fit.at_zero - 3.0).abs() < 1e-9 && (fit.of_each - 2.0).abs() < 1e-9 && fit.explained > 0.999);
        assert!(Fit::of(&[(1.0, 5.0)]).is_none());
    }
}
